"""Every figure of the course: data in, ``matplotlib.figure.Figure`` out, never pyplot state."""

from rsprune_lib.colours import short
from rsprune_lib.graph_layout import graph_places
from rsprune_lib.plots.cam import class_map_grid, map_curves
from rsprune_lib.plots.cost import (
    ladder,
    learning_rates,
    macs_and_time,
    pareto,
    pareto_front,
    share_left,
    speeds,
    time_shares,
)
from rsprune_lib.plots.deployed import deployed_front, line_chart, number_line
from rsprune_lib.plots.exits import exit_curves, exit_rates, latency_front, spectra
from rsprune_lib.plots.gate_folding import freezing_costs, gate_and_relu, gate_heatmap, over_depth, score_shift
from rsprune_lib.plots.gates import gate_profile, gate_spread, norm_scales, squeeze_excite, then_and_now
from rsprune_lib.plots.images import channel_histograms, class_counts, contact_sheet, hard_samples, number_grids
from rsprune_lib.plots.judging import class_intervals, mistaken, reliability
from rsprune_lib.plots.masks import class_channels, class_iou, class_pixels, mask_grid
from rsprune_lib.plots.pruning import (
    coupling_map,
    kept_channels,
    residual_channels,
    score_histograms,
    sensitivity,
    sensitivity_map,
)
from rsprune_lib.plots.recovery import class_recovery, fit_against_target, ratio_curves, recovery_curves, speedups
from rsprune_lib.plots.similarity import (
    cluster_maps,
    hash_steps,
    likeness_matrix,
    selector_curves,
    similarity_graphs,
)
from rsprune_lib.plots.style import Picture, beside, canvas, heading, legend, png
from rsprune_lib.plots.training import confusion, distance_toy, loss_views, pull_bars, slope_match, training_curves

__all__ = [
    "Picture",
    "beside",
    "canvas",
    "channel_histograms",
    "class_channels",
    "class_counts",
    "class_intervals",
    "class_iou",
    "class_map_grid",
    "class_pixels",
    "class_recovery",
    "cluster_maps",
    "confusion",
    "contact_sheet",
    "coupling_map",
    "deployed_front",
    "distance_toy",
    "exit_curves",
    "exit_rates",
    "fit_against_target",
    "freezing_costs",
    "gate_and_relu",
    "gate_heatmap",
    "gate_profile",
    "gate_spread",
    "graph_places",
    "hard_samples",
    "hash_steps",
    "heading",
    "kept_channels",
    "ladder",
    "latency_front",
    "learning_rates",
    "legend",
    "likeness_matrix",
    "line_chart",
    "loss_views",
    "macs_and_time",
    "map_curves",
    "mask_grid",
    "mistaken",
    "norm_scales",
    "number_grids",
    "number_line",
    "over_depth",
    "pareto",
    "pareto_front",
    "png",
    "pull_bars",
    "ratio_curves",
    "recovery_curves",
    "reliability",
    "residual_channels",
    "score_histograms",
    "score_shift",
    "selector_curves",
    "sensitivity",
    "sensitivity_map",
    "share_left",
    "short",
    "similarity_graphs",
    "slope_match",
    "spectra",
    "speeds",
    "speedups",
    "squeeze_excite",
    "then_and_now",
    "time_shares",
    "training_curves",
]
