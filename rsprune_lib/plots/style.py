"""One look for every figure: colour maps, type, axes, titles.

Nothing here touches pyplot or matplotlib's global settings, so figures can be drawn on a widget's worker thread.
"""

import io
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text

from rsprune_lib.colours import BLUE_RAMP, DIVERGING_RAMP, GRID, INK, MUTED, ORANGE_RAMP, short

__all__ = [
    "BLUES",
    "DIVERGING",
    "LINES",
    "MARKERS",
    "ORANGES",
    "Picture",
    "axis_count",
    "beside",
    "canvas",
    "depth_colours",
    "heading",
    "legend",
    "png",
    "spread",
]

BLUES: Colormap = LinearSegmentedColormap.from_list("house_blues", BLUE_RAMP)
ORANGES: Colormap = LinearSegmentedColormap.from_list("house_oranges", ORANGE_RAMP)
DIVERGING: Colormap = LinearSegmentedColormap.from_list("house_diverging", DIVERGING_RAMP)
DPI = 110
LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))  # lines differ without colour, too
MARKERS = "osD^vP"


class Picture(Figure):
    """A figure that a notebook shows without pyplot: no global state, safe on a widget's thread.

    Text is drawn as it stands: a ``$`` in the name of a class or a folder begins no formula.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draws the figure; only the powers of ten beside logarithmic axes are typeset as formulas."""
        axes = [axis for ax in self.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"]
        powers = {label for axis in axes for label in axis.get_ticklabels(which="both")}
        for text in self.findobj(Text):
            text.set_parse_math(text in powers)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Returns the figure as PNG bytes, e.g. for ``ipywidgets.Image.value``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def canvas(
    rows: int = 1, columns: int = 1, *, width: float = 9.0, height: float = 3.6, grid: str = "y", **options: object
) -> tuple[Picture, np.ndarray]:
    """Makes an empty figure in the house style.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Inches; 9 fills a notebook.
        height: Inches.
        grid: Which gridlines to draw: ``"x"``, ``"y"``, ``"both"`` or ``""``.
        **options: Passed on to ``Figure.subplots``, e.g. ``sharex=True``.

    Returns:
        The figure and its axes, always an array of shape (rows, columns).
    """
    figure = Picture(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for ax in axes.flat:
        dress(ax, grid)
    return figure, axes


def dress(ax: Axes, grid: str = "y") -> None:
    """Gives axes the house look: two thin spines, small grey ticks, gridlines behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color="#B8C0C8", linewidth=0.8)
    ax.tick_params(colors=MUTED, labelsize=9, length=3, width=0.8, labelcolor=INK)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, axis=grid, color=GRID, linewidth=0.8)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=MUTED, fontsize=9.5)


def heading(target: Figure | Axes, title: str, *, synthetic: bool = False) -> None:
    """Writes a title, left-aligned; it says so where the data are synthetic.

    Args:
        target: A figure (several axes) or one axes object.
        title: The title; empty writes only the synthetic mark, if there is one.
        synthetic: The data are drawn, not photographed.
    """
    text = " · ".join(part for part in (title, "synthetic data" if synthetic else "") if part)
    if isinstance(target, Figure):
        if text:
            target.suptitle(text, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    else:
        target.set_title(text, loc="left", fontsize=11, fontweight="bold", color=INK, pad=9)


def legend(ax: Axes, *, outside: bool = False, **options: object) -> None:
    """Adds a frameless legend, inside where there is room or to the right of the axes."""
    if outside:
        options |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    ax.legend(**{"frameon": False, "fontsize": 9, "labelcolor": INK, "handlelength": 1.6, **options})


def beside(ax: Axes, text: str, at: tuple[float, float], *, dx: float = 5, dy: float = 0, **style: object) -> None:
    """Writes a small text beside a data point, ``dx`` and ``dy`` printer's points away from it."""
    style = {"va": "center" if dy == 0 else "bottom", "fontsize": 8.5, "color": INK, "annotation_clip": False, **style}
    ax.annotate(text, at, xytext=(dx, dy), textcoords="offset points", **style)


def depth_colours(number: int) -> list[tuple[float, ...]]:
    """Returns one colour a layer, from light (first) to dark (last), so that colour reads as depth."""
    ramp = LinearSegmentedColormap.from_list("depth", ["#E0A100", "#D9600A", "#B0357C", "#4B3A9B", "#12284F"])
    return [ramp(x) for x in np.linspace(0, 1, max(number, 2))][:number]


def axis_count(number: float, _position: int = 0) -> str:
    """Returns a count for an axis tick: like ``short``, without zeros behind the point."""
    head, _, unit = short(number).partition(" ")
    head = head.rstrip("0").rstrip(".") if "." in head else head
    return f"{head} {unit}".strip()


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Moves label positions apart until neighbours are at least ``gap`` from one another, near where they were."""
    order = np.argsort(positions, kind="stable")
    out = np.asarray(positions, dtype=float).copy()
    for _ in range(200):
        moved = False
        for low, high in itertools.pairwise(order):
            lack = gap - (out[high] - out[low])
            if lack > 1e-9:
                out[low] -= lack / 2
                out[high] += lack / 2
                moved = True
        if not moved:
            break
    return out.tolist()
