"""Small arrays with their numbers written in: what a reader checks by head before a library does it at scale."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from rsprune_lib.colours import CUT, INK
from rsprune_lib.plots.style import DIVERGING, Picture, canvas, heading

__all__ = ["number_grids"]

Box = tuple[int, int, int, int]


def number_grids(
    grids: Mapping[str, np.ndarray],
    signs: Sequence[str] = (),
    *,
    boxes: Mapping[str, Box] | None = None,
    digits: int = 0,
    title: str = "",
) -> Picture:
    """Draws small matrices side by side, each number in its cell, with a sign between neighbours.

    Args:
        grids: Name -> (rows, columns) numbers.
        signs: What stands between one grid and the next, e.g. ``["*", "="]``.
        boxes: Name of a grid -> (row, column, height, width) of a frame that points something out.
        digits: Digits behind the point.
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
    for i, (name, array) in enumerate(arrays.items()):
        top = (tall - array.shape[0]) / 2
        _grid(ax, array, x, top, digits, (boxes or {}).get(name))
        ax.text(x + array.shape[1] / 2, top - 0.3, name, ha="center", va="bottom", fontsize=9.5, color=INK)
        x += array.shape[1]
        if i < len(signs):
            ax.text(x + gap / 2, tall / 2, signs[i], ha="center", va="center", fontsize=15, color=INK)
        x += gap
    ax.set(xlim=(-0.3, x - gap + 0.3), ylim=(tall + 0.1, -1.0), aspect="equal")
    ax.axis("off")
    heading(figure, title)
    return figure


def _grid(ax: Axes, array: np.ndarray, left: float, top: float, digits: int, box: Box | None) -> None:
    most = max(float(np.abs(array).max()), 1e-9)
    for (r, c), value in np.ndenumerate(array):
        colour = DIVERGING(0.5 + 0.32 * value / most)
        ax.add_patch(Rectangle((left + c, top + r), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
        text = f"{value:.{digits}f}".replace("-", "−")
        ax.text(left + c + 0.5, top + r + 0.5, text, ha="center", va="center", fontsize=9.5, color=INK)
    if box is not None:
        row, column, height, width = box
        frame = {"facecolor": "none", "edgecolor": CUT, "linewidth": 2.4, "zorder": 5}
        ax.add_patch(Rectangle((left + column, top + row), width, height, **frame))
