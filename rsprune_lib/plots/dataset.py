"""Figures about a data set: how many images of each class lie in which part, what its channels look like."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter

from rsprune_lib.colours import COLOURS, INK, MUTED
from rsprune_lib.plots.style import Picture, axis_count, beside, canvas, heading, legend

__all__ = ["channel_histograms", "class_counts"]

RGB = ("#C23B3B", "#2E8B57", "#2F6DB5")


def class_counts(
    counts: Mapping[str, Sequence[int]], classes: Sequence[str], *, title: str = "", synthetic: bool = False
) -> Picture:
    """Draws how many images of each class lie in each part of the split.

    Args:
        counts: Part -> K numbers of images.
        classes: K class names.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure: one bar a class, cut into parts, with its total behind it.
    """
    k = len(classes)
    figure, axes = canvas(height=1.1 + max(0.27 if k <= 25 else 0.2, 0.1) * k, grid="x")
    ax, place, start = axes[0, 0], np.arange(k), np.zeros(k)
    for (part, numbers), colour in zip(counts.items(), COLOURS * 9, strict=False):
        numbers = np.asarray(numbers)
        ax.barh(place, numbers, 0.7, left=start, color=colour, edgecolor="white", linewidth=1.2,
                label=f"{part}, {int(numbers.sum()):,}")  # fmt: skip
        start = start + numbers
    for y, total in enumerate(start):
        beside(ax, f"{int(total):,}", (total, y))
    ax.set_yticks(place, classes)
    ax.set(xlabel="images", ylim=(k - 0.4, -0.6), xlim=(0, 1.1 * start.max()))
    ax.tick_params(axis="y", length=0)
    legend(ax, outside=True)
    heading(ax, title, synthetic=synthetic)
    return figure


def channel_histograms(
    histograms: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws the histograms of three colour channels, as they are and as the network sees them.

    Args:
        histograms: (3, 256) number of pixels with each value, one row a channel (red, green, blue).
        mean: Channel means in [0, 1].
        std: Channel standard deviations in [0, 1].
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure: left the share of pixels at each value, right the same after subtracting the mean and dividing by
        the deviation; a dashed line marks each mean.
    """
    share = histograms / histograms.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    figure, axes = canvas(1, 2, height=3.2, grid="")
    left, right = axes[0]
    for c, (name, colour) in enumerate(zip(("red", "green", "blue"), RGB, strict=True)):
        for ax, x, centre in ((left, values, mean[c]), (right, (values - mean[c]) / std[c], 0.0)):
            height = share[c] / (x[1] - x[0])  # a density: the area under every curve is 1
            ax.fill_between(x, height, color=colour, alpha=0.13, linewidth=0)
            ax.plot(x, height, color=colour, linewidth=1.4, label=f"{name}  {mean[c]:.3f} ± {std[c]:.3f}")
            ax.axvline(centre, color=colour, linewidth=1, linestyle=(0, (4, 2)))
    left.set(xlim=(0, 1), xlabel="value of a pixel, 0 to 1", ylabel="density")
    right.set(xlim=(-3.5, 4.5), xlabel="after (value − mean) / deviation")
    for ax, what in ((left, "as stored"), (right, "as the network gets it")):
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(FuncFormatter(axis_count))
        ax.set_title(what, loc="left", fontsize=9.5, color=MUTED, pad=6)
    legend(left, labelcolor=INK)
    heading(figure, title, synthetic=synthetic)
    return figure
