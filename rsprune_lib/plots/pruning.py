"""Figures about cutting channels: scores and cuts, what is kept, how sensitive a group is."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import Picture, beside, canvas, depth_colours, heading, legend, spread

__all__ = ["kept_channels", "score_histograms", "sensitivity"]


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
