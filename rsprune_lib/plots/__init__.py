"""Every figure of the course: data in, ``matplotlib.figure.Figure`` out, never pyplot state."""

from rsprune_lib.plots.attention import before_after, gate_heatmap, importance_bars
from rsprune_lib.plots.images import contact_sheet, hard_samples
from rsprune_lib.plots.pruning import kept_channels, score_histograms, sensitivity
from rsprune_lib.plots.style import COLOURS, Picture, beside, canvas, heading, legend, png, short
from rsprune_lib.plots.tradeoff import ladder, layer_macs, pareto, pareto_front, time_shares
from rsprune_lib.plots.training import class_changes, confusion, loss_shapes, training_curves

__all__ = [
    "COLOURS",
    "Picture",
    "before_after",
    "beside",
    "canvas",
    "class_changes",
    "confusion",
    "contact_sheet",
    "gate_heatmap",
    "hard_samples",
    "heading",
    "importance_bars",
    "kept_channels",
    "ladder",
    "layer_macs",
    "legend",
    "loss_shapes",
    "pareto",
    "pareto_front",
    "png",
    "score_histograms",
    "sensitivity",
    "short",
    "time_shares",
    "training_curves",
]
