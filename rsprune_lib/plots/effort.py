"""Figures about effort: where MACs and time lie, how fast a loop is, what is left of a network, the learning rate."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import Picture, beside, canvas, heading, legend

__all__ = ["learning_rates", "macs_and_time", "share_left", "speeds"]


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
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
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
