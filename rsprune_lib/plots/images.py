"""Pictures of the images themselves: contact sheets and the samples a network finds hard."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, MUTED
from rsprune_lib.plots.style import DIVERGING, LINES, Picture, axis_count, beside, canvas, heading, legend

__all__ = [
    "channel_histograms",
    "class_counts",
    "contact_sheet",
    "cut_text",
    "hard_samples",
    "number_grids",
    "tile",
    "wall",
]

GAP = 0.06  # white space between tiles, in tiles


def contact_sheet(
    images: np.ndarray,
    captions: Sequence[str] | None = None,
    *,
    columns: int = 10,
    row_labels: Sequence[str] | None = None,
    width: float = 9.0,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws images side by side, with a caption under each or a label before each row.

    Args:
        images: (N, H, W, 3) uint8.
        captions: One text an image; long ones are cut to the tile.
        columns: Images a row.
        row_labels: One text a row, e.g. the class that a row shows.
        width: Inches, at most; 9 fills a notebook.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure.
    """
    rows = -(-len(images) // columns)
    under = 0.26 if captions is not None else GAP
    margin = 1.35 if row_labels is not None else 0.0
    figure, ax = wall(rows, columns, under, title, synthetic, margin=margin, width=width)
    for i, image in enumerate(images):
        x, y = tile(ax, image, i, columns, under)
        if captions is not None:
            ax.text(x + 0.5, y + 1.15, cut_text(captions[i], columns), ha="center", fontsize=8, color=INK)
    for r, label in enumerate(row_labels or ()):
        ax.text(-0.12, r * (1 + under) + 0.5, label, ha="right", va="center", fontsize=9, color=INK)
    return figure


def hard_samples(
    images: np.ndarray,
    truth: Sequence[str],
    guess: Sequence[str],
    confidence: Sequence[float],
    *,
    columns: int = 8,
    title: str = "Samples the network finds hard",
    synthetic: bool = False,
) -> Picture:
    """Draws images with their true class, and what the network said instead.

    Args:
        images: (N, H, W, 3) uint8.
        truth: N names of the true class.
        guess: N names of the predicted class; a wrong one is written in colour.
        confidence: N probabilities in [0, 1] of the predicted class.
        columns: Images a row.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure.
    """
    above = [_broken(text, columns) for text in truth]
    below = [_broken(f"→ {text}", columns, f" {sure:.0%}") for text, sure in zip(guess, confidence, strict=True)]
    most = max((len(one) + len(other) for one, other in zip(above, below, strict=True)), default=2)
    rows, under = -(-len(images) // columns), 0.14 + 0.155 * most
    figure, ax = wall(rows, columns, under, title, synthetic)
    for i, image in enumerate(images):
        x, y = tile(ax, image, i, columns, under)
        for k, text in enumerate(above[i] + below[i]):
            colour = INK if k < len(above[i]) else MUTED if guess[i] == truth[i] else CUT
            ax.text(x + 0.02, y + 1.15 + 0.155 * k, text, fontsize=7.5, color=colour)
    return figure


def _broken(text: str, columns: int, tail: str = "") -> list[str]:
    """A caption in one line, or in two: broken where a word begins, as in ``HerbaceousVegetation``."""
    room = max(int(116 / columns), 6)
    starts = [m.start() for m in re.finditer(r"(?<=[a-z])(?=[A-Z])|(?<=[ _-])(?=\S)", text)]
    starts = [at for at in starts if at <= room and at > 2]
    if len(text + tail) <= room:
        return [text + tail]
    if not starts:
        return [cut_text(text, columns), tail.strip()] if tail else [cut_text(text, columns)]
    return [text[: starts[-1]].rstrip(), cut_text(text[starts[-1] :], columns, len(tail)) + tail]


def wall(
    rows: int, columns: int, under: float, title: str, synthetic: bool, margin: float = 0.0, width: float = 9.0
) -> tuple[Picture, Axes]:
    """Makes axes that hold a grid of unit tiles, y downwards."""
    across, down = columns * (1 + GAP) - GAP + margin, rows * (1 + under) - (under if under == GAP else 0)
    width = min(width, 1.5 * across)
    head = 0.42 if title or synthetic else 0.1
    figure, axes = canvas(width=width, height=down * width / across + head, grid="")
    ax = axes[0, 0]
    ax.set(xlim=(-margin, across - margin), ylim=(down, 0), aspect="equal")
    ax.axis("off")
    heading(figure, title, synthetic=synthetic)
    return figure, ax


def tile(ax: Axes, image: np.ndarray, index: int, columns: int, under: float) -> tuple[float, float]:
    """Draws one image at its place in the grid; returns its left and upper edge."""
    x, y = (index % columns) * (1 + GAP), (index // columns) * (1 + under)
    ax.imshow(image, extent=(x, x + 1, y + 1, y), interpolation="lanczos", aspect="auto")
    ax.set_autoscale_on(False)
    return x, y


def cut_text(text: str, columns: int, less: int = 0) -> str:
    """Shortens a caption to what fits under a tile when ``columns`` tiles share the width."""
    room = max(int(116 / columns) - less, 4)
    return text if len(text) <= room else text[: room - 1] + "…"


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
        the deviation; a vertical line marks each mean.
    """
    share = histograms / histograms.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    figure, axes = canvas(1, 2, height=3.2, grid="")
    left, right = axes[0]
    for c, (name, colour, line) in enumerate(zip(("red", "green", "blue"), RGB, LINES, strict=False)):
        for ax, x, centre in ((left, values, mean[c]), (right, (values - mean[c]) / std[c], 0.0)):
            height = share[c] / (x[1] - x[0])  # a density: the area under every curve is 1
            ax.fill_between(x, height, color=colour, alpha=0.13, linewidth=0)
            text = f"{name}  {mean[c]:.3f} ± {std[c]:.3f}"
            ax.plot(x, height, color=colour, linewidth=1.5, linestyle=line, label=text)
            ax.axvline(centre, color=colour, linewidth=0.9, linestyle=line, alpha=0.7)
    left.set(xlim=(0, 1), xlabel="value of a pixel, 0 to 1", ylabel="density")
    right.set(xlim=(-3.5, 4.5), xlabel="after (value − mean) / deviation")
    for ax, what in ((left, "as stored"), (right, "as the network gets it")):
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(FuncFormatter(axis_count))
        ax.set_title(what, loc="left", fontsize=9.5, color=MUTED, pad=6)
    handles, labels = left.get_legend_handles_labels()
    below = {"loc": "outside lower center", "ncols": 3, "frameon": False}  # inside, it would lie on the curves
    figure.legend(handles, labels, fontsize=9, labelcolor=INK, handlelength=2.6, **below)
    heading(figure, title, synthetic=synthetic)
    return figure


Box = tuple[int, int, int, int]


def number_grids(
    grids: Mapping[str, np.ndarray],
    signs: Sequence[str] = (),
    *,
    boxes: Mapping[str, Box] | None = None,
    digits: int = 0,
    one_scale: bool = False,
    title: str = "",
) -> Picture:
    """Draws small matrices side by side, each number in its cell, with a sign between neighbours.

    Args:
        grids: Name -> (rows, columns) numbers.
        signs: What stands between one grid and the next, e.g. ``["*", "="]``.
        boxes: Name of a grid -> (row, column, height, width) of a frame that points something out.
        digits: Digits behind the point.
        one_scale: The same number has the same colour in all matrices.
        title: Title of the figure.

    Returns:
        The figure; colour says the size of a number, orange below zero, blue above.
    """
    arrays = {name: np.atleast_2d(np.asarray(grid, dtype=float)) for name, grid in grids.items()}
    tall, wide = (max(a.shape[i] for a in arrays.values()) for i in (0, 1))
    cell = 0.5 if max(tall, wide) <= 6 else 0.36
    gap = 1.3  # cells between two grids
    width = cell * (sum(a.shape[1] for a in arrays.values()) + gap * (len(arrays) - 1) + 0.6)
    width = max(width, 0.2 + 0.095 * len(title))  # the title must fit
    figure, axes = canvas(width=min(9.0, width), height=cell * (tall + 1.1) + (0.35 if title else 0), grid="")
    ax, x = axes[0, 0], 0.0
    most = max(float(np.abs(array).max()) for array in arrays.values())
    for i, (name, array) in enumerate(arrays.items()):
        top = (tall - array.shape[0]) / 2
        _grid(ax, array, x, top, digits, (boxes or {}).get(name), most if one_scale else float(np.abs(array).max()))
        ax.text(x + array.shape[1] / 2, top - 0.3, name, ha="center", va="bottom", fontsize=9.5, color=INK)
        x += array.shape[1]
        if i < len(signs):
            ax.text(x + gap / 2, tall / 2, signs[i], ha="center", va="center", fontsize=15, color=INK)
        x += gap
    ax.set(xlim=(-0.3, x - gap + 0.3), ylim=(tall + 0.1, -1.0), aspect="equal")
    ax.axis("off")
    heading(figure, title)
    return figure


def _grid(ax: Axes, array: np.ndarray, left: float, top: float, digits: int, box: Box | None, most: float) -> None:
    most = max(most, 1e-9)
    for (r, c), value in np.ndenumerate(array):
        colour = DIVERGING(0.5 + 0.32 * value / most)
        ax.add_patch(Rectangle((left + c, top + r), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
        text = f"{value:.{digits}f}".replace("-", "−")
        ax.text(left + c + 0.5, top + r + 0.5, text, ha="center", va="center", fontsize=9.5, color=INK)
    if box is not None:
        row, column, height, width = box
        frame = {"facecolor": "none", "edgecolor": CUT, "linewidth": 2.4, "zorder": 5}
        ax.add_patch(Rectangle((left + column, top + row), width, height, **frame))
