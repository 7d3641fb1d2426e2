"""Figures about losses: the distance to a target, three views of a loss, and where its pull goes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED
from rsprune_lib.plots.style import Picture, beside, canvas, depth_colours, heading, legend

__all__ = ["Curve", "distance_toy", "loss_views", "pull_bars", "slope_match"]


class Curve(Protocol):
    """What `loss_views` draws; `rsprune_lib.training.loss_curve` makes one."""

    p: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    pull: np.ndarray


def distance_toy(p: Sequence[float], true: int, classes: Sequence[str], *, title: str = "") -> Picture:
    """Draws a prediction beside its one-hot target, with the gap between the two written on each class.

    Args:
        p: (K,) probabilities.
        true: Index of the true class.
        classes: K names.
        title: Title of the figure.

    Returns:
        The figure: bars are the prediction, the dashed outline is the target, orange is the gap.
    """
    p, y, place = np.asarray(p, dtype=float), np.eye(len(p))[true], np.arange(len(p))
    figure, axes = canvas(width=7.5, height=2.9)
    ax = axes[0, 0]
    ax.bar(place, y, 0.52, fill=False, edgecolor=INK, linewidth=1.4, linestyle=(0, (3, 2)), label="target y")
    ax.bar(place, p, 0.52, color=KEPT, label="prediction p")
    ax.vlines(place + 0.34, p, y, color=CUT, linewidth=5, label="gap |p − y|")
    for x, (a, b) in enumerate(zip(p, y, strict=True)):
        beside(ax, f"{abs(a - b):.2f}", (x + 0.38, (a + b) / 2), fontsize=10)
    ax.set_xticks(place, [f"{name}\n(true)" if i == true else name for i, name in enumerate(classes)])
    ax.set(ylim=(0, 1.06), xlim=(-0.6, len(p) - 0.2), ylabel="probability")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend(ax, outside=True)
    heading(ax, title)
    return figure


def slope_match(
    d: Sequence[float], digitised: Sequence[float], curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str
) -> Picture:
    """Draws points read off a published figure and formulas that may explain them.

    Args:
        d: (P,) where the points lie.
        digitised: (P,) their heights.
        curves: Name -> (x, y) of a formula.
        title: Title of the figure.

    Returns:
        The figure.
    """
    figure, axes = canvas(width=7.5, height=3.6, grid="both")
    ax = axes[0, 0]
    for (name, (x, y)), colour in zip(curves.items(), COLOURS * 9, strict=False):
        ax.plot(x, y, color=colour, linewidth=1.9, label=name)
    ax.plot(d, digitised, "o", color=INK, markersize=6.5, markeredgecolor="white", label="read off the paper's figure")
    ax.set(xlabel="distance d   (right ← → wrong)", ylabel="size of the slope", xlim=(0, 0.95))
    ax.set_ylim(0, 1.35 * max(digitised))
    legend(ax, loc="upper left")
    heading(ax, title)
    return figure


def loss_views(curves: Mapping[str, Curve], *, title: str = "Three views of a loss") -> Picture:
    """Draws each loss against the probability of the true class: its value, its slope, and its pull on the logit.

    Args:
        curves: Name -> its curve.
        title: Title of the figure.

    Returns:
        The figure; the slope has a logarithmic axis.
    """
    figure, axes = canvas(1, 3, height=3.5)
    for (name, curve), colour in zip(curves.items(), COLOURS * 9, strict=False):
        for ax, values in zip(axes[0], (curve.value, np.abs(curve.slope), curve.pull), strict=True):
            ax.plot(curve.p, values, color=colour, linewidth=1.9, label=name)
    value, slope, pull = axes[0]
    value.set_ylim(0, 1.05 * max(float(np.interp(0.02, c.p, c.value)) for c in curves.values()))
    slope.set_yscale("log")
    slope.set_ylim(0.05, 1.2 * max(float(np.interp(0.01, c.p, np.abs(c.slope))) for c in curves.values()))
    pull.set_ylim(0, None)
    names = ("loss", "size of the slope |dL/dp|", "pull on the logit |dL/dz|")
    for ax, label in zip(axes[0], names, strict=True):
        ax.set(xlim=(0, 1), xlabel="probability of the true class")
        ax.set_title(label, loc="left", fontsize=9.5, color=MUTED, pad=6)
    figure.legend(*value.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(curves), 4),
                  frameon=False, fontsize=9, labelcolor=INK)  # fmt: skip
    heading(figure, title)
    return figure


def pull_bars(shares: Mapping[str, Sequence[float]], *, title: str, synthetic: bool = False) -> Picture:
    """Draws, for each loss, how its total pull is divided among samples sorted from easy (left) to hard (right).

    Args:
        shares: Name of a loss -> (B,) shares that sum to 1, the easiest bin first.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; shares from 5 % on are written into the bar.
    """
    bins = len(next(iter(shares.values())))
    colours = depth_colours(bins)
    figure, axes = canvas(height=1.35 + 0.52 * len(shares), grid="x")
    ax = axes[0, 0]
    for y, values in enumerate(shares.values()):
        left = 0.0
        for i, (share, colour) in enumerate(zip(values, colours, strict=True)):
            label = (
                f"{100 * i // bins} to {100 * (i + 1) // bins} %" if y == 0 and i in (0, bins // 2, bins - 1) else None
            )
            ax.barh(y, share, 0.66, left=left, color=colour, edgecolor="white", linewidth=0.6, label=label)
            if share >= 0.05:
                ax.text(left + share / 2, y, f"{share:.0%}", ha="center", va="center", fontsize=8.5, color="white")
            left += share
    ax.set_yticks(range(len(shares)), list(shares))
    ax.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5), xlabel="share of the total pull")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend(ax, outside=True, title="difficulty rank", title_fontsize=9, alignment="left")
    heading(ax, title, synthetic=synthetic)
    return figure
