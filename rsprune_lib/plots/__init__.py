"""Every figure of the course: data in, ``matplotlib.figure.Figure`` out, never pyplot state."""

from rsprune_lib.colours import short
from rsprune_lib.graph_layout import graph_places
from rsprune_lib.plots.attention import before_after, gate_heatmap, importance_bars
from rsprune_lib.plots.cost import ladder, layer_macs, pareto, pareto_front, time_shares
from rsprune_lib.plots.coupling import coupling_map, residual_channels, sensitivity_map
from rsprune_lib.plots.dataset import channel_histograms, class_counts
from rsprune_lib.plots.distinct import score_shift
from rsprune_lib.plots.effort import learning_rates, macs_and_time, share_left, speeds
from rsprune_lib.plots.gate_folding import freezing_costs, gate_and_relu, over_depth
from rsprune_lib.plots.gates import gate_profile, gate_spread, norm_scales, squeeze_excite, then_and_now
from rsprune_lib.plots.images import contact_sheet, hard_samples
from rsprune_lib.plots.judging import class_intervals, mistaken, reliability
from rsprune_lib.plots.losses import distance_toy, loss_views, pull_bars, slope_match
from rsprune_lib.plots.pruning import kept_channels, score_histograms, sensitivity
from rsprune_lib.plots.recovery import class_recovery, recovery_curves
from rsprune_lib.plots.refit import fit_against_target, ratio_curves, speedups
from rsprune_lib.plots.similarity import (
    cluster_maps,
    hash_steps,
    likeness_matrix,
    selector_curves,
    similarity_graphs,
)
from rsprune_lib.plots.style import Picture, beside, canvas, heading, legend, png
from rsprune_lib.plots.toys import number_grids
from rsprune_lib.plots.training import class_changes, confusion, loss_shapes, training_curves

__all__ = [
    "Picture",
    "before_after",
    "beside",
    "canvas",
    "channel_histograms",
    "class_changes",
    "class_counts",
    "class_intervals",
    "class_recovery",
    "cluster_maps",
    "confusion",
    "contact_sheet",
    "coupling_map",
    "distance_toy",
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
    "importance_bars",
    "kept_channels",
    "ladder",
    "layer_macs",
    "learning_rates",
    "legend",
    "likeness_matrix",
    "loss_shapes",
    "loss_views",
    "macs_and_time",
    "mistaken",
    "norm_scales",
    "number_grids",
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
    "speeds",
    "speedups",
    "squeeze_excite",
    "then_and_now",
    "time_shares",
    "training_curves",
]
