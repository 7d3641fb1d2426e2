"""Figures about what is paid and what is got: accuracy against MACs, the recovery ladder, where time and MACs go."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter
from matplotlib.transforms import Bbox

from rsprune_lib.colours import COLOURS, INK, KEPT, MUTED, REMOVED, signed
from rsprune_lib.plots.style import Picture, axis_count, beside, canvas, heading, legend

__all__ = ["ladder", "learning_rates", "macs_and_time", "pareto", "pareto_front", "share_left", "speeds", "time_shares"]

MARKERS = "osD^vPX*"
PLACES = ((0, 8), (0, -8), (9, 0), (-9, 0), (8, 8), (-8, 8), (8, -8), (-8, -8), (0, 18), (0, -18), (16, 14), (-16, -14))


def pareto_front(cost: Sequence[float], gain: Sequence[float]) -> list[int]:
    """Returns the indices of the points that no other point beats (cheaper and at least as good), by rising cost."""
    order, best, front = sorted(range(len(cost)), key=lambda i: (cost[i], -gain[i])), -np.inf, []
    for i in order:
        if gain[i] > best:
            best = gain[i]
            front.append(i)
    return front


def pareto(
    points: Sequence[Mapping[str, object]], *, cost: str = "macs", gain: str = "accuracy", series: str = "series",
    title: str = "Accuracy against cost", synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws networks in the plane of accuracy and cost, with the front of those that nobody beats.

    Args:
        points: Rows with ``name``, the cost (e.g. ``macs``), the gain in [0, 1] (e.g. ``accuracy``) and, if several
            families are compared, ``series``.
        cost: Key of the horizontal axis (logarithmic).
        gain: Key of the vertical axis; a point with ``low`` and ``high`` gets a bar between them.
        series: Key of the family, which chooses colour and marker.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; names stand beside the points where there is room, those on the front first (a name equal to its
        series stands in the legend only).
    """
    x, y = [float(p[cost]) for p in points], [float(p[gain]) for p in points]
    families = list(dict.fromkeys(str(p.get(series, "")) for p in points))
    figure, axes = canvas(height=4.6, grid="both")
    ax, front = axes[0, 0], pareto_front(x, y)
    ax.step([x[i] for i in front], [y[i] for i in front], where="post", color="#9AA5B1", linewidth=1.2, zorder=1)
    for family, colour, marker in zip(families, COLOURS * 9, MARKERS * 9, strict=False):
        mine = [i for i, p in enumerate(points) if str(p.get(series, "")) == family]
        label = family if len(families) > 1 else None
        ax.scatter([x[i] for i in mine], [y[i] for i in mine], s=52, color=colour, marker=marker, label=label,
                   edgecolors="white", linewidths=1.0, zorder=3)  # fmt: skip
    for at, point in zip(x, points, strict=True):
        if point.get("low") is not None:
            ax.plot([at, at], [point["low"], point["high"]], color=MUTED, linewidth=1.6, zorder=2)
    _cost_axes(ax, cost, gain, max(x) / min(x))
    if len(families) > 1:
        legend(ax, outside=True)
    heading(ax, title, synthetic=synthetic)
    names = [str(p.get("name", "")) for p in points]
    label_points(ax, x, y, ["" if n == str(p.get(series)) else n for n, p in zip(names, points, strict=True)], front)
    return figure


def _cost_axes(ax: Axes, cost: str, gain: str, span: float) -> None:
    """Makes the horizontal axis logarithmic, with minor labels where it spans little more than a factor of ten."""
    title = {"macs": "MACs an image", "params": "parameters"}.get(cost, cost.replace("_", " "))
    ax.set(xscale="log", xlabel=title, ylabel=gain)
    ax.xaxis.set_major_formatter(FuncFormatter(axis_count))
    if span < 12:
        ax.xaxis.set_minor_formatter(FuncFormatter(lambda v, _: axis_count(v) if f"{v:.0e}"[0] in "25" else ""))
        ax.tick_params(which="minor", labelsize=8, labelcolor=MUTED)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    ax.margins(x=0.08, y=0.12)


def label_points(ax: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str], first: Sequence[int]) -> None:
    """Writes names beside points without overlap; a name that finds no room is left out."""
    figure = ax.figure
    figure.draw_without_rendering()
    renderer, frame = figure.canvas.get_renderer(), ax.get_window_extent()
    spots = ax.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_bounds(px - 6, py - 6, 12, 12) for px, py in spots]
    for i in [*first, *(i for i in range(len(names)) if i not in first)]:
        for dx, dy in PLACES:
            ha, va = (
                ("left", "center", "right")[1 - int(np.sign(dx))],
                ("bottom", "center", "top")[1 - int(np.sign(dy))],
            )
            text = ax.annotate(names[i], (x[i], y[i]), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va,
                               fontsize=8.5, color=INK)  # fmt: skip
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 + 8
            if inside and not any(box.overlaps(other) for k, other in enumerate(taken) if k != i):
                taken.append(box)
                break
            text.remove()


def ladder(
    steps: Sequence[tuple[str, float] | tuple[str, float, tuple[float, float]]],
    *,
    title: str = "From dense to recovered",
    synthetic: bool = False,
) -> Picture:
    """Draws the accuracy after each step as a bar, top to bottom, with its interval where there is one.

    Args:
        steps: (name, accuracy in [0, 1]) or (name, accuracy, (low, high)).
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; the first bar is the reference, the others show their distance to it.
    """
    figure, axes = canvas(height=1.0 + 0.42 * len(steps), grid="x")
    ax, reference = axes[0, 0], steps[0][1]
    for y, (_, value, *interval) in enumerate(steps):
        ax.barh(y, value, 0.62, color="#8A96A3" if y == 0 else KEPT)
        if interval and interval[0] is not None:
            ax.plot(interval[0], [y, y], color=INK, linewidth=1.3)
        away = "" if y == 0 else f"   ({signed(100 * (value - reference))} points)"
        edge = max(value, interval[0][1]) if interval and interval[0] is not None else value
        beside(ax, f"{value:.1%}{away}", (edge, y), dx=6, fontsize=9, bbox={"color": "white", "pad": 1.5})
    ax.axvline(reference, color=MUTED, linewidth=1, linestyle=":")
    ax.set_yticks(range(len(steps)), [step[0] for step in steps])
    ax.set(xlim=(0, 1.3), ylim=(len(steps) - 0.5, -0.5), xlabel="accuracy", xticks=np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    heading(ax, title, synthetic=synthetic)
    return figure


def time_shares(
    seconds: Mapping[str, float], *, title: str = "Where the time goes", unit: str = "ms a step"
) -> Picture:
    """Draws the parts of one step as one bar cut into shares.

    Args:
        seconds: Part name -> seconds; order is kept.
        title: Title of the figure.
        unit: Unit of the written numbers, ``"ms a step"`` multiplies by 1,000.

    Returns:
        The figure.
    """
    total = sum(seconds.values())
    scale = 1e3 if unit.startswith("ms") else 1.0
    figure, axes = canvas(height=1.6, grid="")
    ax, start = axes[0, 0], 0.0
    for (name, value), colour in zip(seconds.items(), COLOURS * 9, strict=False):
        share = value / total
        ax.barh(0, share, left=start, height=0.6, color=colour, edgecolor="white", linewidth=2,
                label=f"{name}  {scale * value:.3g} ({share:.1%})")  # fmt: skip
        if share > 0.06:
            ax.text(
                start + share / 2,
                0,
                f"{share:.0%}",
                ha="center",
                va="center",
                color="white",
                fontsize=9.5,
                fontweight="bold",
            )
        start += share
    ax.set(xlim=(0, 1), ylim=(-0.35, 0.35))
    ax.axis("off")
    legend(ax, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(len(seconds), 4))
    heading(ax, f"{title}: {scale * total:.3g} {unit}")
    return figure


def macs_and_time(
    macs: Mapping[str, float], times: Mapping[str, Mapping[str, float]], *, title: str = "MACs and time, layer by layer"
) -> Picture:
    """Draws the share of the MACs of each layer as a bar and its share of the measured time as dots.

    Args:
        macs: Layer (or kind of layer) -> MACs, from the input to the output.
        times: Name of a measurement -> (layer -> time); layers that are missing took none.
        title: Title of the figure.

    Returns:
        The figure; if MACs were time, every dot would sit at the end of its bar.
    """
    names, place = list(macs), np.arange(len(macs))
    figure, axes = canvas(height=1.2 + 0.25 * len(names), grid="x")
    ax, total = axes[0, 0], sum(macs.values())
    ax.barh(place, [macs[n] / total for n in names], 0.72, color=REMOVED, label="share of the MACs")
    offsets = np.linspace(-0.17, 0.17, len(times)) if len(times) > 1 else [0.0]
    looks = zip(COLOURS[1:] * 9, "oDs^" * 9, offsets, strict=False)
    for (name, seconds), (colour, marker, shift) in zip(times.items(), looks, strict=False):
        whole = sum(seconds.values())
        share = [seconds.get(n, 0.0) / whole for n in names]
        ax.plot(share, place + shift, marker, color=colour, markersize=6.5, markeredgecolor="white", label=name)
    ax.set_yticks(place, names, fontsize=8.5)
    ax.set(xlabel="share of the whole network", ylim=(len(names) - 0.4, -0.6), xlim=(-0.004, None))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    legend(ax, outside=True)
    heading(ax, title)
    return figure


def speeds(rates: Mapping[str, float], *, unit: str = "images a second", title: str = "") -> Picture:
    """Draws speeds as bars, each with its ratio to the first.

    Args:
        rates: Name -> speed, larger is better; the first is the baseline.
        unit: What is counted.
        title: Title of the figure.

    Returns:
        The figure.
    """
    names, base = list(rates), next(iter(rates.values()))
    figure, axes = canvas(height=1.0 + 0.42 * len(names), grid="x")
    ax = axes[0, 0]
    for y, name in enumerate(names):
        ax.barh(y, rates[name], 0.62, color="#8A96A3" if y == 0 else KEPT)
        times = "" if y == 0 else f"   (× {rates[name] / base:.2f})"
        beside(ax, f"{rates[name]:,.0f}{times}", (rates[name], y), dx=6, fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=unit, ylim=(len(names) - 0.5, -0.5), xlim=(0, 1.22 * max(rates.values())))
    ax.tick_params(axis="y", length=0)
    heading(ax, title)
    return figure


def share_left(
    before: Mapping[str, float], after: Mapping[str, float], *, texts: Mapping[str, str] | None = None, title: str = ""
) -> Picture:
    """Draws what is left of several quantities, each as a share of what it was.

    Args:
        before: Quantity -> its value before.
        after: Quantity -> its value after.
        texts: Quantity -> what to write beside its bar, e.g. both values with their unit.
        title: Title of the figure.

    Returns:
        The figure; the grey bar behind is the whole.
    """
    names = list(before)
    figure, axes = canvas(height=0.95 + 0.45 * len(names), grid="")
    ax = axes[0, 0]
    for y, name in enumerate(names):
        share = after[name] / before[name]
        ax.barh(y, 1, 0.6, color="#EEF1F4", edgecolor="#C3CBD3", linewidth=0.8)
        ax.barh(y, share, 0.6, color=KEPT)
        inside = {"ha": "right", "color": "white"} if share > 0.85 else {}  # beyond it the bar's own text begins
        beside(ax, f"{share:.1%}", (share, y), dx=-6 if inside else 6, fontsize=9.5, fontweight="bold", **inside)
        if texts and name in texts:
            ax.text(1.02, y, texts[name], transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=MUTED)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlim=(0, max(1.0, *(after[n] / before[n] for n in names)) * 1.001), ylim=(len(names) - 0.5, -0.5))
    ax.set_xlabel("share that is left")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.tick_params(axis="y", length=0)
    heading(ax, title)
    return figure


def learning_rates(
    schedules: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str = "The learning rate over a run"
) -> Picture:
    """Draws learning rates over the share of a run that is done, so that long and short runs lie side by side.

    Args:
        schedules: Name -> (epochs, learning rates).
        title: Title of the figure.

    Returns:
        The figure, one panel a schedule, each with its own epochs.
    """
    figure, axes = canvas(1, len(schedules), height=3.0)
    for ax, (name, (epochs, rates)), colour in zip(axes[0], schedules.items(), COLOURS * 9, strict=False):
        ax.plot(epochs, rates, color=colour, linewidth=2)
        ax.fill_between(epochs, rates, color=colour, alpha=0.12, linewidth=0)
        ax.set(xlabel="epoch", ylim=(0, 1.12 * max(rates)), xlim=(0, max(epochs)))
        ax.set_title(name, loc="left", fontsize=9.5, color=INK, pad=6)
    axes[0, 0].set_ylabel("learning rate")
    heading(figure, title)
    return figure
