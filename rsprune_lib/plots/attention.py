"""Figures about attention: gates over classes, importance of each channel, what folding changed."""

from collections.abc import Sequence

import numpy as np

from rsprune_lib.colours import CUT, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import BLUES, DIVERGING, Picture, canvas, heading, legend

__all__ = ["before_after", "gate_heatmap", "importance_bars"]


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


def importance_bars(
    values: np.ndarray, *, kept: Sequence[int] | None = None, cut: float | None = None, sort: bool = True,
    title: str = "Importance of each channel", synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws one bar a channel: kept in blue, removed in grey.

    Args:
        values: (C,) importance of the channels of one group.
        kept: Indices of the channels that stay; without it, those at or above ``cut`` (or all).
        cut: Height of a dashed line.
        sort: Largest first; else in the order of the channels.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    values = np.asarray(values, dtype=float)
    stays = np.ones(len(values), dtype=bool) if cut is None else values >= cut
    if kept is not None:
        stays = np.isin(np.arange(len(values)), list(kept))
    order = np.argsort(-values, kind="stable") if sort else np.arange(len(values))
    figure, axes = canvas(height=2.9)
    ax = axes[0, 0]
    place = np.arange(len(values))
    width = 0.82 if len(values) <= 160 else 1.0
    for mask, colour, word in ((stays[order], KEPT, "kept"), (~stays[order], REMOVED, "removed")):
        if mask.any():
            ax.bar(place[mask], values[order][mask], width, color=colour, label=f"{int(mask.sum())} {word}")
    if cut is not None:
        ax.axhline(cut, color=CUT, linewidth=1.4, linestyle=(0, (4, 2)), label=f"cut at {cut:.3g}")
    ax.set(xlabel="channels, most important first" if sort else "channel", ylabel="importance")
    ax.set_xlim(-0.8, len(values) - 0.2)
    legend(ax, loc="upper right")
    heading(ax, title, synthetic=synthetic)
    return figure


def before_after(
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    *,
    labels: tuple[str, str] = ("before", "after"),
    axis: str = "",
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws one number a layer in two states as joined dots, e.g. how distinct channels are before and after folding.

    Args:
        names: Layer names, from the input (top) to the output.
        before: One number a layer.
        after: One number a layer.
        labels: What the two states are called.
        axis: What the number is, with its unit.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    figure, axes = canvas(height=1.2 + 0.27 * len(names), grid="x")
    ax, place = axes[0, 0], np.arange(len(names))
    ax.hlines(place, before, after, color="#B8C0C8", linewidth=2)
    ax.plot(before, place, "o", color="white", markeredgecolor=MUTED, markeredgewidth=1.6, label=labels[0])
    ax.plot(after, place, "o", color=KEPT, markersize=7, label=labels[1])
    ax.set_yticks(place, names)
    ax.set(xlabel=axis, ylim=(len(names) - 0.4, -0.6))
    legend(ax, outside=True)
    heading(ax, title, synthetic=synthetic)
    return figure
