"""Figures about how far a classifier can be trusted: accuracy with its interval, confusion seen, calibration."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, REMOVED
from rsprune_lib.measure import wilson
from rsprune_lib.plots.images import contact_sheet
from rsprune_lib.plots.style import Picture, beside, canvas, heading, legend

__all__ = ["class_intervals", "mistaken", "reliability"]

GREEN = COLOURS[2]


def class_intervals(
    confusion: np.ndarray, classes: Sequence[str], *, title: str = "Accuracy of each class", synthetic: bool = False
) -> Picture:
    """Draws the accuracy of each class as a dot with its Wilson 95 % interval, worst class on top.

    Args:
        confusion: (K, K) numbers of images, rows the true class; a class without an image is left out.
        classes: K class names.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; the dotted line is the accuracy over all images.
    """
    right, counts = np.diagonal(confusion), confusion.sum(axis=1)
    rows = [(right[k] / counts[k], *wilson(int(right[k]), int(counts[k])), k) for k in np.flatnonzero(counts)]
    accuracy, low, high, order = map(np.array, zip(*sorted(rows), strict=True))
    place, overall = np.arange(len(rows)), right.sum() / counts.sum()
    figure, axes = canvas(height=1.2 + (0.29 if len(rows) <= 25 else 0.2) * len(rows), grid="x")
    ax = axes[0, 0]
    ax.hlines(place, low, high, color=KEPT, linewidth=3.2, alpha=0.35)
    ax.plot(accuracy, place, "o", color=KEPT, markersize=7, markeredgecolor="white")
    ax.axvline(overall, color=MUTED, linewidth=1.2, linestyle=":")
    for y, k in enumerate(order):
        text = f"{accuracy[y]:.1%} of {counts[k]}"
        ax.text(1.015, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=INK)
    ax.set_yticks(place, [classes[k] for k in order])
    ax.set(xlabel=f"accuracy with its 95 % interval; dotted: all classes, {overall:.1%}", xlim=(None, 1.003))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    heading(ax, title, synthetic=synthetic)
    return figure


def mistaken(
    images: np.ndarray,
    truth: Sequence[int],
    answer: Sequence[int],
    pair: tuple[int, int],
    classes: Sequence[str],
    *,
    columns: int = 8,
    synthetic: bool = False,
) -> Picture:
    """Draws why two classes are confused: the first recognised, the first mistaken, the second recognised.

    Args:
        images: (N, H, W, 3) uint8.
        truth: N true classes.
        answer: N predicted classes.
        pair: The true class, and the class that it is taken for.
        classes: K class names.
        columns: Images a row.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure, up to three rows; a row without an image is left out.
    """
    truth, answer, (a, b) = np.asarray(truth), np.asarray(answer), pair
    rows = {
        f"{classes[a]},\nrecognised": (truth == a) & (answer == a),
        f"{classes[a]},\nmistaken": (truth == a) & (answer == b),
        f"{classes[b]},\nrecognised": (truth == b) & (answer == b),
    }
    found = {name: np.flatnonzero(mask)[:columns] for name, mask in rows.items() if mask.any()}
    tiles = np.full((len(found), columns, *images.shape[1:]), 255, dtype=np.uint8)
    for row, members in zip(tiles, found.values(), strict=True):
        row[: len(members)] = images[members]
    tiles, title = tiles.reshape(-1, *images.shape[1:]), f"{classes[a]} taken for {classes[b]}"
    return contact_sheet(tiles, columns=columns, row_labels=list(found), title=title, synthetic=synthetic)


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
        The figure: bars are the accuracy; the gap to the confidence is orange where the network is too sure, green
        where it is too modest.
    """
    confidence, accuracy, counts = (np.asarray(v, dtype=float) for v in (confidence, accuracy, counts))
    figure, axes = canvas(1, 2, height=3.6, width_ratios=[1.15, 1])
    left, right = axes[0]
    centre = (np.arange(len(counts)) + 0.5) / len(counts)
    _gaps(left, centre, confidence, accuracy)
    right.bar(centre, counts / counts.sum(), 0.9 / len(counts), color=REMOVED)
    for x, n in zip(centre, counts, strict=True):
        if n:
            beside(right, f"{int(n)}", (x, n / counts.sum()), dx=0, dy=3, ha="center", fontsize=7.5)
    right.set(xlabel="confidence", ylabel="share of the images")
    for ax in (left, right):
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    heading(figure, title, synthetic=synthetic)
    return figure


def _gaps(ax: Axes, centre: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray) -> None:
    """Draws the accuracy of each bin and, in the colour of its sign, the gap to the confidence."""
    width = 0.9 / len(centre)
    ax.bar(centre, np.nan_to_num(accuracy), width, color=COLOURS[5], label="accuracy")
    for side, colour, word in ((confidence > accuracy, CUT, "too sure"), (accuracy > confidence, GREEN, "too modest")):
        if side.any():
            low, gap = np.minimum(accuracy, confidence)[side], np.abs(confidence - accuracy)[side]
            ax.bar(centre[side], gap, width, low, color=colour, label=word)
    ax.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="as sure as right")
    ax.set(ylim=(0, 1.02), xlabel="confidence", ylabel="share of right answers")
    legend(ax, loc="upper left")
