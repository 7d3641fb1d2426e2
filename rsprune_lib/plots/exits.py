"""Figures about exits: accuracy against cost along a threshold, and where the images of each class leave."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from rsprune_lib.colours import BLUE_RAMP, COLOURS, GRID, INK, MUTED, shade
from rsprune_lib.measure import Outcome
from rsprune_lib.plots.cost import MARKERS, label_points
from rsprune_lib.plots.style import Picture, beside, canvas, heading, legend

__all__ = ["exit_curves", "exit_rates", "latency_front", "spectra"]

LINES = ("-", "--", "-.", ":")


def exit_curves(
    curves: Mapping[str, Sequence[Outcome]],
    *,
    alone: Sequence[tuple[float, float]] = (),
    oracle: Outcome | None = None,
    chosen: Outcome | None = None,
    title: str = "Accuracy against mean cost",
    synthetic: bool = False,
) -> Picture:
    """Draws what each exit rule reaches from its strictest threshold to its loosest.

    Args:
        curves: Rule -> its outcomes, as `rsprune_lib.measure.sweep` returns them.
        alone: (share of the MACs, accuracy in [0, 1]) of each exit if all images left there, the final one last.
        oracle: The outcome of leaving at the first exit that is right; drawn as a point.
        chosen: An outcome to mark.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; cost is a share of the whole network's MACs.
    """
    figure, axes = canvas(height=4.0, grid="both")
    ax = axes[0, 0]
    for (name, outcomes), colour, line in zip(curves.items(), COLOURS * 9, LINES * 9, strict=False):
        ax.plot(
            [o.cost for o in outcomes], [o.accuracy for o in outcomes], line, color=colour, linewidth=1.9, label=name
        )
    if alone:
        x, y = zip(*alone, strict=True)
        ax.plot(x, y, "s", color=MUTED, markersize=6, label="everyone leaves there", zorder=3)
        for number, point in enumerate(alone):
            beside(ax, "final" if number == len(alone) - 1 else f"exit {number + 1}", point, dx=8, dy=-11, color=MUTED)
    if oracle is not None:
        ax.plot(
            oracle.cost, oracle.accuracy, "*", color="#E0A100", markersize=13, label="oracle: first exit that is right"
        )
    if chosen is not None:
        ax.plot(chosen.cost, chosen.accuracy, "o", color=INK, markersize=9, markerfacecolor="none", markeredgewidth=2,
                label="chosen threshold", zorder=4)  # fmt: skip
    ax.set(xlabel="mean MACs of an image, share of the whole network", ylabel="accuracy", xlim=(0, 1.06))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    legend(ax, loc="lower right")
    heading(ax, title, synthetic=synthetic)
    return figure


def exit_rates(
    rates: Mapping[str, Sequence[float]],
    *,
    accuracies: Mapping[str, float] | None = None,
    title: str = "Where the images of each class leave",
    synthetic: bool = False,
) -> Picture:
    """Draws one bar a class, cut into the shares that leave at each exit; the class that leaves earliest comes first.

    Args:
        rates: Class -> share of its images that leave at each exit, the final one last.
        accuracies: Class -> accuracy with exits, written beside the bar.
        title: Title of the figure.
        synthetic: The data are synthetic.
    """
    names = sorted(rates, key=lambda name: rates[name][-1])
    figure, axes = canvas(height=1.3 + 0.34 * len(names), grid="")
    ax, start, count = axes[0, 0], np.zeros(len(names)), len(next(iter(rates.values())))
    for number in range(count):
        share = np.array([rates[name][number] for name in names])
        colour = shade(BLUE_RAMP, np.array(0.15 + 0.8 * number / max(count - 1, 1))) / 255
        label = "to the end" if number == count - 1 else f"exit {number + 1}"
        ax.barh(range(len(names)), share, 0.72, left=start, color=colour, edgecolor="white", linewidth=0.8, label=label)
        for y in np.flatnonzero(share > 0.07):
            light = colour.mean() < 0.55
            ax.text(start[y] + share[y] / 2, y, f"{share[y]:.0%}", ha="center", va="center", fontsize=8.5,
                    color="white" if light else INK)  # fmt: skip
        start += share
    for y, name in enumerate(names):
        if accuracies:
            beside(ax, f"{accuracies[name]:.1%} right", (1.0, y), dx=6)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6), xlabel="share of the images of the class")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.tick_params(axis="y", length=0)
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=count)
    ax.set_title("")
    heading(figure, title, synthetic=synthetic)
    return figure


def latency_front(
    points: Sequence[Mapping[str, object]], *, title: str = "What a millisecond buys", synthetic: bool = False
) -> Picture:
    """Draws networks in the plane of accuracy and measured time, one panel a batch size.

    Args:
        points: Rows with ``name``, ``series`` (chooses colour and marker), ``accuracy`` in [0, 1] and ``ms``: batch
            size -> milliseconds a batch, all timed in turn; with ``ci`` (low, high) its interval is drawn.
        title: Title of the figure.
        synthetic: The data are synthetic.
    """
    batches = list(points[0]["ms"])
    figure, axes = canvas(1, len(batches), width=10.5, height=4.2, grid="both", sharey=True)
    families = list(dict.fromkeys(str(p["series"]) for p in points))
    for ax, batch in zip(axes[0], batches, strict=True):
        x, y = [float(p["ms"][batch]) / int(batch) for p in points], [float(p["accuracy"]) for p in points]
        for family, colour, marker in zip(families, COLOURS * 9, MARKERS * 9, strict=False):
            own = [k for k, p in enumerate(points) if p["series"] == family]
            ax.scatter([x[k] for k in own], [y[k] for k in own], s=58, color=colour, marker=marker, label=family,
                       edgecolors="white", linewidths=1.0, zorder=3)  # fmt: skip
        for at, point in zip(x, points, strict=True):
            if point.get("ci"):
                ax.plot([at, at], point["ci"], color=GRID, linewidth=1.5, zorder=1)
        _time_axes(ax, f"ms an image, batch {batch} (one thread)", max(x) / min(x))
        label_points(
            ax, x, y, [str(p["name"]) if len(families) < len(points) else "" for p in points], range(len(points))
        )
    low, high = axes[0, 0].get_ylim()
    spare = max(0.0, 0.02 - (high - low)) / 2  # less than two points are noise, and drawn as such
    axes[0, 0].set(ylabel="test accuracy", ylim=(low - spare, min(high + spare, 1.002)))
    legend(axes[0, -1], outside=True)
    heading(figure, title, synthetic=synthetic)
    return figure


def _time_axes(ax: Axes, title: str, span: float) -> None:
    ax.set(xscale="log", xlabel=title)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_major_formatter(plain)
    if span < 30:
        ax.xaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if f"{v:.0e}"[0] in "25" else ""))
        ax.tick_params(which="minor", labelsize=8, labelcolor=MUTED)
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    ax.margins(x=0.12, y=0.12)


def spectra(pictures: Mapping[str, np.ndarray], *, title: str = "", synthetic: bool = False) -> Picture:
    """Draws images, amplitudes or kernels side by side.

    Args:
        pictures: Title -> (H, W, 3) uint8, or (H, W) real numbers: those are drawn in greys from least to largest.
        title: Title of the figure.
        synthetic: The data are synthetic.
    """
    figure, axes = canvas(1, len(pictures), width=1.9 * max(len(pictures), 3), height=2.5, grid="")
    for ax, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        ax.imshow(picture, cmap="gray", interpolation="nearest")
        ax.set_title(name, loc="left", fontsize=9, color=INK)
        ax.axis("off")
    heading(figure, title, synthetic=synthetic)
    return figure
