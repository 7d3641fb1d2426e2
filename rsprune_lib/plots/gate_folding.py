"""Figures about gates held still: why they may be folded, what freezing costs, how a change travels through depth."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, GRID, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import BLUES, DIVERGING, Picture, beside, canvas, dress, heading, legend
from rsprune_lib.pruning.layers import channels_left

__all__ = ["freezing_costs", "gate_and_relu", "gate_heatmap", "over_depth", "score_shift"]


def gate_and_relu(gates: Sequence[float] = (0.4, -0.4)) -> Picture:
    """Draws s · ReLU(a) and ReLU(s · a) against a, for each factor s: the same curve only where s is positive."""
    a = np.linspace(-2, 2, 201)
    figure, axes = canvas(1, len(gates), height=2.7, width=3.6 * len(gates), sharey=True)
    for ax, s in zip(axes[0], gates, strict=True):
        ax.plot(a, s * np.maximum(a, 0), color="#9CC4E4", linewidth=6, label="s · ReLU(a)")
        ax.plot(a, np.maximum(s * a, 0), color=INK, linewidth=1.4, linestyle=(0, (4, 2)), label="ReLU(s · a)")
        ax.set(xlabel="a")
        heading(ax, f"s = {s:g}".replace("-", "−"))
        legend(ax, loc="upper center")
    return figure


def freezing_costs(
    names: Sequence[str],
    alone: Sequence[float],
    live: Mapping[int, float],
    *,
    band: tuple[float, float] | None = None,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws what it costs to freeze one gate alone (left), and how many gates must stay live (right).

    Args:
        names: L layer names, from the input (top) to the output.
        alone: Rise of the loss when this gate alone is frozen; on few images it says more than the accuracy does.
        live: Number of gates that stay live, the costliest first -> accuracy in [0, 1]; must hold 0 and L.
        band: Interval of the accuracy with all gates live.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    figure, axes = canvas(1, 2, height=1.3 + 0.24 * len(names), grid="x", width_ratios=[1.25, 1])
    left, right = axes[0]
    left.barh(range(len(names)), alone, 0.66, color=[CUT if v == max(alone) else KEPT for v in alone])
    for y, value in enumerate(alone):
        beside(left, f"{value:+.3f}".replace("-", "−"), (max(value, 0), y))
    low, high = min(*alone, 0.0), max(*alone, 0.01)
    left.set(xlim=(1.06 * low, high + 0.22 * (high - low)), ylim=(len(names) - 0.4, -0.6))
    left.set_yticks(range(len(names)), names)
    left.axvline(0, color="#B8C0C8", linewidth=0.8)
    left.set_xlabel("rise of the loss")
    heading(left, "one gate frozen, the others live")
    dress(right)
    if band:
        right.axhspan(*band, color=GRID, linewidth=0, zorder=0)
    counts = sorted(live)
    right.plot(range(len(counts)), [live[c] for c in counts], "o-", color=KEPT, linewidth=1.9)
    for x, count in enumerate(counts):
        rises = x + 1 < len(counts) and live[counts[x + 1]] > live[count]  # the line leaves upwards: write below it
        dy, va = (-7, "top") if rises else (7, "bottom")
        beside(right, f"{live[count]:.1%}", (x, live[count]), dx=0, dy=dy, ha="center", va=va)
    right.set_xticks(range(len(counts)), counts)
    right.set(xlabel="gates kept live, the costliest first", ylabel="accuracy", xlim=(-0.4, len(counts) - 0.6))
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    right.margins(y=0.15)
    heading(right, "all others frozen")
    heading(figure, title, synthetic=synthetic)
    return figure


def over_depth(
    names: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    references: Mapping[str, float] | None = None,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws numbers of every layer as lines from the input (left) to the output, one panel a quantity.

    Args:
        names: L layer names.
        panels: Quantity -> series name -> L numbers.
        references: Quantity -> height of a dotted line, e.g. 1 for a scale.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; a series has the same colour in every panel.
    """
    series = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colour = dict(zip(series, (CUT, COLOURS[4], KEPT, COLOURS[2], *COLOURS[3:]), strict=False))
    figure, axes = canvas(1, len(panels), height=4.3, width=max(9.0, 3.2 * len(panels)))
    for ax, (quantity, lines) in zip(axes[0], panels.items(), strict=True):
        dress(ax)
        if references and quantity in references:
            ax.axhline(references[quantity], color=MUTED, linewidth=1.2, linestyle=":")
        for name, values in lines.items():
            ax.plot(values, color=colour[name], linewidth=1.9, marker="o", markersize=3.5, label=name)
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        if not references or quantity not in references:
            ax.set_ylim(bottom=0)
        heading(ax, quantity)
    lines, words = axes[0, 0].get_legend_handles_labels()
    style = {"frameon": False, "fontsize": 9, "labelcolor": INK, "ncols": len(words)}
    figure.legend(lines, words, loc="outside lower center", **style)
    heading(figure, title, synthetic=synthetic)
    return figure


def gate_heatmap(
    gates: np.ndarray, classes: Sequence[str], *, relative: bool = False, title: str = "", synthetic: bool = False
) -> Picture:
    """Draws the mean gate of every channel for every class, channels sorted by their mean over the classes.

    Args:
        gates: (K, C) mean gate of each class, in (0, 1).
        classes: K class names.
        relative: Draw the difference to the channel's mean over the classes instead of the gate itself.
        title: Title of the figure, e.g. the layer's name.
        synthetic: The data are synthetic.

    Returns:
        The figure; the strip on top is the mean over the classes.
    """
    gates = np.asarray(gates, dtype=float)
    gates = gates[:, np.argsort(-gates.mean(0), kind="stable")]
    mean, (k, c) = gates.mean(0), gates.shape
    figure, axes = canvas(2, 1, height=1.6 + 0.25 * k, grid="", sharex=True, height_ratios=[0.55, 0.25 * k])
    top, ax = axes[:, 0]
    shown = gates - mean if relative else gates
    most = max(float(np.abs(shown).max()), 1e-6)
    limits = {"cmap": DIVERGING, "vmin": -most, "vmax": most} if relative else {"cmap": BLUES, "vmin": 0, "vmax": 1}
    image = ax.imshow(shown, aspect="auto", interpolation="nearest", extent=(0, c, k, 0), **limits)
    top.fill_between(np.arange(c + 1), np.append(mean, mean[-1]), step="post", color=KEPT, alpha=0.25, linewidth=0)
    top.step(np.arange(c + 1), np.append(mean, mean[-1]), where="post", color=KEPT, linewidth=1.2)
    top.set(ylim=(0, max(1.0, mean.max())), yticks=[0, 1], ylabel="mean")
    ax.set_yticks(np.arange(k) + 0.5, classes)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=f"{c} channels, sorted by their mean gate", xlim=(0, c))
    bar = figure.colorbar(image, ax=ax, pad=0.015, fraction=0.03)
    bar.set_label("gate − channel mean" if relative else "mean gate", color=MUTED, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2, colors=MUTED)
    heading(figure, title, synthetic=synthetic)
    return figure


def score_shift(
    before: np.ndarray,
    after: np.ndarray,
    ratio: float,
    *,
    labels: tuple[str, str] = ("before", "after"),
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws two scores of the same channels: histograms on a common scale, and rank against rank with both cuts.

    Args:
        before: (C,) scores, higher stays.
        after: (C,) scores.
        ratio: Share of the channels that is removed, in [0, 1).
        labels: What the two scores are called.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; every score is divided by its mean, so that a wider histogram means more distinct channels.
    """
    scores = [np.asarray(x, dtype=float) for x in (before, after)]
    figure, axes = canvas(1, 2, height=3.6, grid="", width_ratios=[1.35, 1])
    left, right = axes[0]
    shown = [x / x.mean() for x in scores]
    edges = np.linspace(min(map(np.min, shown)) - 1e-6, max(map(np.max, shown)) + 1e-6, 41)
    for x, colour, word in zip(shown, ("#8A96A3", KEPT), labels, strict=True):
        left.hist(x, edges, color=colour, alpha=0.62, label=f"{word}: deviation {x.std():.1%} of the mean")
    left.set(xlabel="score, as a multiple of its mean", ylabel="channels")
    left.locator_params(axis="x", nbins=6)
    left.set_ylim(top=1.32 * left.get_ylim()[1])
    legend(left, loc="upper left")
    _ranks(right, scores, ratio, labels)
    heading(figure, title, synthetic=synthetic)
    return figure


def _ranks(ax: object, scores: list[np.ndarray], ratio: float, labels: tuple[str, str]) -> None:
    count = len(scores[0])
    stay = channels_left(count, ratio, 1)
    one, other = (np.argsort(np.argsort(-x, kind="stable"), kind="stable") for x in scores)  # rank 0 is the best
    kept = (one < stay).astype(int) + (other < stay)
    size = 26 if count <= 128 else 10
    for number, colour, word in ((0, REMOVED, "kept by neither"), (1, CUT, "kept by one"), (2, KEPT, "kept by both")):
        chosen = kept == number
        ax.scatter(one[chosen], other[chosen], s=size, color=colour, linewidths=0, label=f"{chosen.sum()} {word}")
    for draw in (ax.axvline, ax.axhline):
        draw(stay - 0.5, color=MUTED, linewidth=1, linestyle=":")
    ax.set(xlabel=f"rank by {labels[0]} (0 is the best)", ylabel=f"rank by {labels[1]}", aspect="equal")
    legend(ax, outside=True, handlelength=0.8)
