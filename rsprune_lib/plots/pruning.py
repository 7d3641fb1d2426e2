"""Figures about cutting channels: scores and cuts, what is kept, how sensitive a group is."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import BLUES, ORANGES, Picture, beside, canvas, depth_colours, heading, legend, spread

__all__ = ["coupling_map", "kept_channels", "residual_channels", "score_histograms", "sensitivity", "sensitivity_map"]


def score_histograms(
    scores: Mapping[str, np.ndarray], *, cuts: Mapping[str, float] | float | None = None, columns: int = 4,
    bins: int = 24, title: str = "Scores of the channels, group by group", synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws a histogram of the scores of each group with the cut: what lies left of it is removed.

    Args:
        scores: Group name -> (C,) scores.
        cuts: One threshold for all, or one a group; None draws no cut.
        columns: Histograms a row.
        bins: Bars a histogram.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    columns = min(columns, len(scores))
    rows = -(-len(scores) // columns)
    figure, axes = canvas(rows, columns, width=9.0 if columns > 2 else 4.5 * columns, height=0.5 + 1.55 * rows, grid="")
    for ax in list(axes.flat)[len(scores) :]:
        ax.set_visible(False)
    for ax, (name, values) in zip(axes.flat, scores.items(), strict=False):
        values = np.asarray(values, dtype=float)
        cut = cuts.get(name) if isinstance(cuts, Mapping) else cuts
        edges = np.linspace(min(values.min(), 0), values.max() + 1e-12, bins + 1)
        stays = np.ones(len(values), dtype=bool) if cut is None else values >= cut
        stack = [values[~stays], values[stays]]
        ax.hist(stack, edges, stacked=True, color=[REMOVED, KEPT], rwidth=0.92)
        if cut is not None:
            ax.axvline(cut, color=CUT, linewidth=1.4)
        ax.set_title(name, loc="left", fontsize=8.5, color=INK, fontweight="bold", pad=3)
        ax.set_title(f"{int(stays.sum())} of {len(values)}", loc="right", fontsize=8, color=MUTED, pad=3)
        ax.tick_params(labelsize=7.5)
        ax.locator_params(nbins=4)
    figure.supxlabel("score of a channel", fontsize=9.5, color=MUTED)
    figure.supylabel("channels", fontsize=9.5, color=MUTED)
    heading(figure, title, synthetic=synthetic)
    return figure


def kept_channels(
    sizes: Mapping[str, int], kept: Mapping[str, int] | Mapping[str, Mapping[str, int]], *,
    title: str = "Channels kept in each group", synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws how many channels each group keeps beside how many it had.

    Args:
        sizes: Group name -> channels of the dense network.
        kept: Group name -> kept channels; or plan name -> such a mapping, to compare plans by their kept share.
        title: Title of the figure.
        synthetic: The scores came from synthetic data.

    Returns:
        The figure, groups from the input (top) to the output.
    """
    groups, place = list(sizes), np.arange(len(sizes))
    plans = kept if isinstance(next(iter(kept.values())), Mapping) else None
    figure, axes = canvas(height=1.2 + 0.29 * len(groups), grid="x")
    ax = axes[0, 0]
    if plans is None:
        ax.barh(place, [sizes[g] for g in groups], 0.74, color="#EEF1F4", edgecolor="#C3CBD3", label="dense")
        ax.barh(place, [kept[g] for g in groups], 0.74, color=KEPT, label="kept")
        for y, g in enumerate(groups):
            beside(ax, f"{kept[g]} of {sizes[g]} ({kept[g] / sizes[g]:.0%})", (sizes[g], y))
        ax.set(xlabel="channels", xlim=(0, 1.2 * max(sizes.values())))
    else:
        ax.hlines(place, 0, 1, color="#D5DBE1", linewidth=0.8)
        for (name, counts), colour, marker in zip(plans.items(), COLOURS * 9, "osD^vP" * 9, strict=False):
            share = [counts[g] / sizes[g] for g in groups]
            ax.plot(share, place, marker, color=colour, markersize=7, alpha=0.9, markeredgecolor="white", label=name)
        ax.set(xlabel="share of the channels kept", xlim=(-0.02, 1.04))
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_yticks(place, groups)
    ax.set_ylim(len(groups) - 0.4, -0.6)
    legend(ax, outside=True)
    heading(ax, title, synthetic=synthetic)
    return figure


def sensitivity(
    ratios: Sequence[float], curves: Mapping[str, Sequence[float]], *, dense: float | None = None,
    title: str = "What is lost when one group alone is pruned", synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws the accuracy against the pruning ratio of one group at a time, light to dark from input to output.

    Args:
        ratios: (R,) shares of the group's channels that are removed, increasing.
        curves: Group name -> (R,) accuracies in [0, 1], in execution order.
        dense: Accuracy of the dense network, drawn as a dotted line.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; each line is labelled at its end.
    """
    figure, axes = canvas(height=4.4)
    ax = axes[0, 0]
    if dense is not None:
        ax.axhline(dense, color=MUTED, linewidth=1.2, linestyle=":")
        beside(ax, f"dense {dense:.1%}", (ratios[0], dense), dx=0, dy=4, color=MUTED)
    colours = depth_colours(len(curves))
    for (name, values), colour in zip(curves.items(), colours, strict=True):
        ax.plot(ratios, values, color=colour, linewidth=1.8, marker="o", markersize=3.2, label=name)
    ax.set(xlabel="share of the group's channels removed", ylabel="accuracy")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_xlim(ratios[0] - 0.01, ratios[-1] + 0.005)
    low, high = ax.get_ylim()
    ends = [values[-1] for values in curves.values()]
    for name, end, y, colour in zip(curves, ends, spread(ends, 0.05 * (high - low)), colours, strict=True):
        line = {"arrowstyle": "-", "color": colour, "linewidth": 1.1, "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 3}
        ax.annotate(name, (ratios[-1], end), xytext=(1.04, y), textcoords=ax.get_yaxis_transform(), va="center",
                    fontsize=8.5, color=INK, annotation_clip=False, arrowprops=line)  # fmt: skip
    heading(ax, title, synthetic=synthetic)
    return figure


_FILL, _EDGE = "#DCE9F4", "#8FB6D6"


def residual_channels(channels: int = 8, marked: int = 7, *, title: str = "") -> Picture:
    """Draws the channels of a residual addition as stacks: conv1, conv2, their sum and the layer that reads it.

    Args:
        channels: Channels of the residual stream.
        marked: Channel that is followed through all layers, from 0.
        title: Title of the figure.

    Returns:
        The figure; the marked channel is orange wherever a tensor or weight belongs to it.
    """
    figure, axes = canvas(height=0.5 + 0.42 * channels, grid="")
    ax = axes[0, 0]
    tops = {"conv1": 2.3, "conv2": 6.2, "sum": 9.4}
    for name, x in tops.items():
        _stack(ax, x, channels, marked, name)
    middle = channels / 2
    _box(ax, 0.0, middle, "image")
    _box(ax, 11.9, middle, "fc")
    _arrow(ax, (0.95, middle), (2.2, middle), f"conv1\n{channels} maps")
    _arrow(ax, (3.2, middle), (6.1, middle), "ReLU, conv2\nreads all, makes as many")
    _arrow(ax, (10.3, middle), (11.8, middle), "mean, fc\nreads all")
    for row in range(channels):
        colour, width = (CUT, 2.4) if row == marked else (_EDGE, 0.9)
        y = row + 0.5
        ax.plot([7.1, 9.3], [y, y], color=colour, linewidth=width, solid_capstyle="round")
    y = marked + 0.5
    ax.plot([3.2, 3.7, 3.7, 8.2, 8.2], [y, y, channels + 0.75, channels + 0.75, y], color=CUT, linewidth=2.4)
    ax.text(8.2, y, "+", ha="center", va="center", fontsize=13, color=CUT, fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": CUT})  # fmt: skip
    ax.text(5.95, channels + 1.0, f"the shortcut carries channel {marked} past conv2", ha="center", va="top",
            fontsize=9, color=CUT)  # fmt: skip
    ax.set(xlim=(-0.2, 13.0), ylim=(channels + 1.5, -1.0))
    ax.axis("off")
    heading(figure, title)
    return figure


def _stack(ax: Axes, x: float, channels: int, marked: int, name: str) -> None:
    ax.text(x + 0.5, -0.25, name, ha="center", va="bottom", fontsize=10, color=INK, fontweight="bold")
    for row in range(channels):
        face, edge = (CUT, CUT) if row == marked else (_FILL, _EDGE)
        ax.add_patch(Rectangle((x, row + 0.08), 1.0, 0.84, facecolor=face, edgecolor=edge))
        ax.text(x + 0.5, row + 0.5, str(row), ha="center", va="center", fontsize=9,
                color="white" if row == marked else INK)  # fmt: skip


def _box(ax: Axes, x: float, y: float, name: str) -> None:
    ax.add_patch(Rectangle((x, y - 0.5), 0.95, 1.0, facecolor="white", edgecolor=MUTED))
    ax.text(x + 0.47, y, name, ha="center", va="center", fontsize=9.5, color=INK)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], text: str) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=MUTED, linewidth=1.3))
    ax.text((start[0] + end[0]) / 2, start[1] - 0.2, text, ha="center", va="bottom", fontsize=8, color=MUTED)


def coupling_map(
    groups: Mapping[str, tuple[int, Sequence[tuple[str, str]]]],
    layers: Sequence[str],
    *,
    title: str = "Which layers share which channels",
) -> Picture:
    """Draws the groups of a network against its layers: who makes a group's channels and who reads them.

    Args:
        groups: Group name -> (number of channels, its members as (layer, ``"out"`` or ``"in"``)).
        layers: Layers in execution order; members that are not in here (norms, say) are not drawn.
        title: Title of the figure.

    Returns:
        The figure; a full square makes the channels, an open one reads them.
    """
    figure, axes = canvas(height=1.9 + 0.27 * len(groups), grid="")
    ax, column = axes[0, 0], {name: number for number, name in enumerate(layers)}
    for row, (_, members) in enumerate(groups.values()):
        places = sorted(column[layer] for layer, _ in members if layer in column)
        ax.plot([places[0], places[-1]], [row, row], color="#D5DBE1", linewidth=1.2, zorder=1)
    for side, face, edge, label in (("out", KEPT, KEPT, "makes the channels"), ("in", "white", CUT, "reads them")):
        points = [
            (column[layer], row)
            for row, (_, members) in enumerate(groups.values())
            for layer, s in members
            if s == side and layer in column
        ]
        look = {"marker": "s", "s": 62, "color": face, "edgecolors": edge, "linewidths": 1.6}
        ax.scatter(*zip(*points, strict=True), **look, label=label, zorder=3 if side == "in" else 2)
    ax.set_xticks(range(len(layers)), layers, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(range(len(groups)), [f"{name} ({size})" for name, (size, _) in groups.items()], fontsize=8.5)
    ax.set(xlim=(-0.7, len(layers) - 0.3), ylim=(len(groups) - 0.4, -0.6))
    ax.tick_params(length=0)
    ax.vlines(
        [x - 0.5 for x in range(len(layers) + 1)], -0.6, len(groups) - 0.4, color="#EEF1F4", linewidth=0.8, zorder=0
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    heading(figure, title)
    return figure


def sensitivity_map(
    ratios: Sequence[float],
    accuracy: Mapping[str, Sequence[float]],
    *,
    dense: float,
    title: str = "Accuracy when one group alone is pruned",
    synthetic: bool = False,
) -> Picture:
    """Draws a sensitivity scan as a map: groups downwards, ratios across, the loss against dense as colour.

    Args:
        ratios: R shares of the group's channels that are removed.
        accuracy: Group name -> R accuracies in [0, 1], from the input to the output.
        dense: Accuracy of the whole network.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; the accuracy stands in each cell, a darker orange lost more (blue: gained).
    """
    figure, axes = canvas(
        width=min(9.0, max(6.4, 2.6 + 0.95 * len(ratios))), height=1.1 + 0.33 * len(accuracy), grid=""
    )
    ax = axes[0, 0]
    worst = max(dense - min(min(row) for row in accuracy.values()), 0.05)
    for y, row in enumerate(accuracy.values()):
        for x, value in enumerate(row):
            lost = dense - value
            colour = ORANGES(0.9 * lost / worst) if lost > 0 else BLUES(min(0.5, -2 * lost))
            ax.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
            ax.text(x + 0.5, y + 0.5, f"{value:.0%}", ha="center", va="center", fontsize=9,
                    color="white" if lost > 0.72 * worst else INK)  # fmt: skip
    ax.set_xticks([x + 0.5 for x in range(len(ratios))], [f"{ratio:.0%}" for ratio in ratios])
    ax.set_yticks([y + 0.5 for y in range(len(accuracy))], list(accuracy))
    ax.set(xlim=(0, len(ratios)), ylim=(len(accuracy), 0), xlabel="share of the group's channels removed")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    heading(figure, f"{title} (dense {dense:.0%})", synthetic=synthetic)
    return figure
