"""Figures about how far a classifier can be trusted: accuracy with its interval, confidence against accuracy."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from rsprune_lib.plots.style import COLOURS, CUT, INK, KEPT, MUTED, REMOVED, Picture, beside, canvas, heading, legend

__all__ = ["class_intervals", "reliability"]


def class_intervals(
    classes: Sequence[str],
    accuracy: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    counts: Sequence[int],
    *,
    overall: float | None = None,
    title: str = "Accuracy of each class",
    synthetic: bool = False,
) -> Picture:
    """Draws the accuracy of each class as a dot with its interval, worst class on top.

    Args:
        classes: K class names.
        accuracy: K accuracies in [0, 1]; NaN where a class has no image.
        intervals: K pairs (low, high).
        counts: K numbers of images.
        overall: Accuracy over all images, drawn as a dotted line.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    accuracy = np.asarray(accuracy, dtype=float)
    order = [i for i in np.argsort(accuracy, kind="stable") if np.isfinite(accuracy[i])]
    k = len(order)
    figure, axes = canvas(height=1.2 + max(0.29 if k <= 25 else 0.2, 0.1) * k, grid="x")
    ax, place = axes[0, 0], np.arange(k)
    low, high = (np.array([intervals[i][side] for i in order]) for side in (0, 1))
    ax.hlines(place, low, high, color=KEPT, linewidth=3.2, alpha=0.35)
    ax.plot(accuracy[order], place, "o", color=KEPT, markersize=7, markeredgecolor="white")
    if overall is not None:
        ax.axvline(overall, color=MUTED, linewidth=1.2, linestyle=":")
        ax.text(overall, -0.75, f"all classes {overall:.1%}", fontsize=8.5, color=MUTED, ha="center", va="bottom")
    for y, i in enumerate(order):
        ax.text(1.015, y, f"{accuracy[i]:.1%} of {counts[i]}", transform=ax.get_yaxis_transform(), va="center",
                fontsize=9, color=INK)  # fmt: skip
    ax.set_yticks(place, [classes[i] for i in order])
    ax.set(xlabel="accuracy, with its 95 % interval", ylim=(k - 0.4, -0.75), xlim=(None, 1.003))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    heading(ax, title, synthetic=synthetic)
    ax.title.set_position((0, 1))
    ax.set_title(ax.get_title(loc="left"), loc="left", pad=20, fontsize=11, fontweight="bold", color=INK)
    return figure


def reliability(
    confidence: Sequence[float],
    accuracy: Sequence[float],
    counts: Sequence[int],
    *,
    title: str = "Is the network as sure as it is right?",
    synthetic: bool = False,
) -> Picture:
    """Draws, bin by bin of confidence, how often the network was right, and how many images fell into each bin.

    Args:
        confidence: B mean confidences in [0, 1]; NaN where a bin is empty.
        accuracy: B accuracies; NaN where a bin is empty.
        counts: B numbers of images; the bins divide [0, 1] evenly.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure: bars are the accuracy, orange is the gap to the confidence.
    """
    confidence, accuracy, counts = (np.asarray(v, dtype=float) for v in (confidence, accuracy, counts))
    bins = len(counts)
    figure, axes = canvas(1, 2, height=3.6, width_ratios=[1.15, 1])
    left, right = axes[0]
    centre, width, full = (np.arange(bins) + 0.5) / bins, 0.9 / bins, counts > 0
    left.bar(centre[full], accuracy[full], width, color=COLOURS[5], label="accuracy")
    gap = confidence - accuracy
    left.bar(centre[full], gap[full], width, bottom=accuracy[full], color=CUT, alpha=0.45, label="gap to confidence")
    left.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="as sure as right")
    left.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share of right answers")
    legend(left, loc="upper left")
    right.bar(centre, counts / counts.sum(), width, color=REMOVED)
    for x, n in zip(centre, counts, strict=True):
        if n:
            beside(right, f"{int(n)}", (x, n / counts.sum()), dx=0, dy=3, ha="center", fontsize=7.5)
    right.set(xlim=(0, 1), xlabel="confidence", ylabel="share of the images")
    for ax in (left, right):
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    heading(figure, title, synthetic=synthetic)
    return figure
