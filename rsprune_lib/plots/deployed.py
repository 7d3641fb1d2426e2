"""Figures about networks at work: accuracy against measured time and against the size of the file."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from rsprune_lib.colours import COLOURS, GRID, INK, MUTED
from rsprune_lib.plots.cost import MARKERS, pareto_front
from rsprune_lib.plots.style import Picture, canvas, heading, legend

__all__ = ["deployed_front", "line_chart", "number_line"]


def deployed_front(
    rows: Sequence[Mapping], *, title: str = "Accuracy at measured time", synthetic: bool = False,
    chosen: Mapping | None = None,
) -> Picture:  # fmt: skip
    """Draws networks in their runtimes: one panel a batch size, and one for the size of the file.

    Args:
        rows: `rsprune_lib.deploy.BenchRow.to_dict` of each, timed in turn; with ``score`` in [0, 1].
        title: Title of the figure.
        synthetic: The data are synthetic.
        chosen: A row to put a ring around.

    Returns:
        The figure. Colour is the network, the marker the runtime; the grey line joins those that no other beats, thin
        bars are 95 % intervals. Where other programs had the processor, times are those of computing.
    """
    judged = [row for row in rows if row.get("score") is not None]
    panels = [*(("time", batch) for batch in judged[0]["times"]), ("size", "")]
    figure, axes = canvas(1, len(panels), width=11.0, height=4.9, grid="both", sharey=True)
    networks = dict(zip(dict.fromkeys(row["network"] for row in judged), COLOURS * 9, strict=False))
    runtimes = dict(zip(dict.fromkeys(row["title"] for row in judged), MARKERS * 9, strict=False))
    busy = any(took["busy"] for row in judged for took in row["times"].values())
    ms = "own_ms" if busy else "ms"
    for ax, (kind, batch) in zip(axes[0], panels, strict=True):
        x = [row["times"][batch][ms] / int(batch) if kind == "time" else row["bytes"] / 1e6 for row in judged]
        _front(ax, x, [row["score"] for row in judged])
        for at, row in zip(x, judged, strict=True):
            ax.plot([at, at], row["ci"], color=networks[row["network"]], linewidth=1, alpha=0.35, zorder=1)
            ax.scatter([at], [row["score"]], s=46, color=networks[row["network"]], marker=runtimes[row["title"]],
                       edgecolors="white", linewidths=0.8, zorder=3)  # fmt: skip
            if row is chosen:
                ax.scatter([at], [row["score"]], s=210, facecolors="none", edgecolors=INK, linewidths=1.6, zorder=4)
        _log_axis(
            ax, f"ms {'of computing ' * busy}an image, batch {batch}" if kind == "time" else "size of the file, MB"
        )
    low, high = axes[0, 0].get_ylim()
    spare = max(0.0, 0.03 - (high - low)) / 2  # less than three points are mostly noise, and drawn as such
    axes[0, 0].set(ylabel=judged[0].get("metric", "accuracy"), ylim=(low - spare, min(high + spare, 1.002)))
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    _keys(figure, networks, runtimes)
    heading(figure, title, synthetic=synthetic)
    return figure


def _front(ax: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    front = pareto_front(x, y)
    ax.step([x[i] for i in front], [y[i] for i in front], where="post", color="#9AA5B1", linewidth=1.2, zorder=0)


def _log_axis(ax: Axes, label: str) -> None:
    """Ticks of 1, 2 and 5, written as they are."""
    ax.set(xscale="log", xlabel=label)
    low, high = ax.get_xlim()
    minor = high / low < 30
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if minor and f"{v:.0e}"[0] in "25" else ""))
    ax.tick_params(which="minor", labelsize=8, labelcolor=MUTED)
    ax.margins(x=0.1, y=0.1)


def _keys(figure: Picture, networks: Mapping[str, str], runtimes: Mapping[str, str]) -> None:
    """Two lists below the panels: colours, and markers."""
    style = {"linestyle": "", "markersize": 7, "markeredgecolor": "white"}
    dots = [Line2D([], [], marker="o", color=colour, label=name, **style) for name, colour in networks.items()]
    signs = [Line2D([], [], marker=sign, color=MUTED, label=name, **style) for name, sign in runtimes.items()]
    for handles, columns, where in ((dots, 3, "outside lower left"), (signs, 2, "outside lower right")):
        figure.legend(handles=handles, loc=where, ncols=columns, frameon=False, fontsize=8.5, labelcolor=INK)


def number_line(
    values: Sequence[float], steps: Sequence[float], *, title: str = "", labels: tuple[str, str] = ("numbers", "steps")
) -> Picture:
    """Draws numbers, the steps of a scale below them, and for each number the step that stands for it.

    Args:
        values: The numbers.
        steps: All values that the scale can hold, rising.
        title: Title of the figure.
        labels: What the two rows are called.
    """
    figure, axes = canvas(height=2.3, grid="")
    ax = axes[0, 0]
    nearest = [min(steps, key=lambda step: abs(step - value)) for value in values]
    ax.vlines(steps, -0.16, 0.16, color="#B8C0C8", linewidth=0.9)
    ax.axhline(0, color=GRID, linewidth=1, zorder=0)
    for value, step in zip(values, nearest, strict=True):
        ax.plot([value, step], [1, 0.18], color=MUTED, linewidth=1, linestyle=":")
    ax.scatter(values, [1] * len(values), s=54, color=COLOURS[0], zorder=3)
    ax.scatter(nearest, [0] * len(values), s=40, color=COLOURS[1], marker="D", zorder=3)
    ax.set(yticks=(1, 0), ylim=(-0.6, 1.5))
    ax.set_yticklabels(labels)
    ax.tick_params(axis="y", length=0)
    heading(ax, title)
    return figure


def line_chart(
    series: Mapping[str, Sequence[float]], x: Sequence[float | str], *, xlabel: str, ylabel: str, title: str = "",
    log: bool = False, marks: Sequence[float] = (), synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws one or more lines over places that are numbers or names.

    Args:
        series: Name -> one value for each place.
        x: Places; texts stand at equal distances.
        xlabel: What the places are.
        ylabel: What the values are.
        title: Title of the figure.
        log: Whether the vertical axis is logarithmic.
        marks: Places with a vertical line.
        synthetic: The data are synthetic.
    """
    figure, axes = canvas(height=3.4, grid="y")
    ax, named = axes[0, 0], any(isinstance(place, str) for place in x)
    places = list(range(len(x))) if named else list(x)
    for mark in marks:
        ax.axvline(mark, color="#B8C0C8", linewidth=0.9, linestyle=":", zorder=0)
    for (name, values), colour, sign in zip(series.items(), COLOURS * 9, MARKERS * 9, strict=False):
        ax.plot(places, list(values), color=colour, marker=sign, markersize=5.5, linewidth=1.5, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    if named:
        ax.set_xticks(places, list(x))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if f"{v:.0e}"[0] in "25" else ""))
        ax.tick_params(which="minor", labelsize=8, labelcolor=MUTED)
    else:
        ax.set_ylim(0, None)
    if len(series) > 1:
        legend(ax, outside=True)
    heading(ax, title, synthetic=synthetic)
    return figure
