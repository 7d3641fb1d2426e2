"""Figures about learning: curves, confusion, loss shapes, what changed a class."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED
from rsprune_lib.plots.style import BLUES, MARKERS, ORANGES, Picture, beside, canvas, depth_colours, heading, legend

__all__ = ["Curve", "confusion", "distance_toy", "loss_views", "pull_bars", "slope_match", "training_curves"]

History = Sequence[Mapping[str, float]]
DASHED = (0, (4, 2))


def training_curves(
    history: History | Mapping[str, History], *, epochs: int | None = None, title: str = "", synthetic: bool = False
) -> Picture:
    """Draws the loss and the validation accuracy over the epochs of one run, or of several.

    Args:
        history: Rows with ``epoch``, ``train_loss``, ``val_loss`` and ``val_accuracy`` (in [0, 1]), as ``fit`` returns
            them; or a mapping from a run's name to its rows.
        epochs: Length of the horizontal axis, for a run that is still going.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure: losses on the left (dashed is validation), accuracy on the right (a large marker is the best epoch).
    """
    runs = dict(history) if isinstance(history, Mapping) else {"": history}
    figure, axes = canvas(1, 2, height=3.3)
    left, right = axes[0]
    for (name, rows), colour, marker in zip(runs.items(), COLOURS * 9, MARKERS * 9, strict=False):
        often = {"marker": marker, "markevery": max(1, len(rows) // 6)} if name else {}
        _curve(left, rows, "train_loss", colour, **often)
        _curve(left, rows, "val_loss", colour, linestyle=DASHED, **often)
        _curve(right, rows, "val_accuracy", colour, **often)
        _mark_best(right, rows, colour, name, marker)
    left.set(ylabel="loss a sample", xlabel="epoch")
    right.set(ylabel="validation accuracy", xlabel="epoch")
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    last = max([epochs or 1, *(row["epoch"] for rows in runs.values() for row in rows)])
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlim(0.5, last + 0.5)
    colour = COLOURS[0] if "" in runs else MUTED
    legend(left, handles=[Line2D([], [], color=colour), Line2D([], [], color=colour, linestyle=DASHED)],
           labels=["training", "validation"])  # fmt: skip
    if "" not in runs and right.get_legend_handles_labels()[0]:
        legend(right, loc="lower right")
    heading(figure, title, synthetic=synthetic)
    return figure


def _curve(ax: Axes, rows: History, key: str, colour: str, **options: object) -> None:
    points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
    if points:
        style = {"linewidth": 1.8, "marker": "o" if len(points) < 3 else None, "markersize": 4}
        ax.plot(*zip(*points, strict=True), color=colour, **style | options)


def _mark_best(ax: Axes, rows: History, colour: str, name: str, marker: str) -> None:
    """Marks the best epoch; its value stands beside it, or in the legend where there are several runs."""
    scored = [row for row in rows if row.get("val_accuracy") is not None]
    if not scored:
        return
    best = max(scored, key=lambda row: row["val_accuracy"])
    at = best["epoch"], best["val_accuracy"]
    label = f"{name}, best {at[1]:.1%}" if name else None
    ax.plot(*at, marker, color=colour, markersize=8, markeredgecolor="white", markeredgewidth=1.2, label=label)
    if not name:
        beside(ax, f"{at[1]:.1%}", at, dx=0, dy=6, ha="center", fontsize=9)
    ax.margins(y=0.14)


def confusion(
    matrix: np.ndarray, classes: Sequence[str], *, title: str = "Confusion matrix", synthetic: bool = False
) -> Picture:
    """Draws a confusion matrix in per cent of each true class: right answers in blue, mistakes in orange.

    Args:
        matrix: (K, K) counts; rows are the true class, columns the predicted one.
        classes: K class names.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; numbers stand in the cells up to 25 classes.
    """
    matrix = np.asarray(matrix, dtype=float)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    k = len(classes)
    size = float(np.clip(2.2 + 0.5 * k, 4.5, 10.5))
    figure, axes = canvas(width=size + 0.5, height=size, grid="")
    ax, diagonal = axes[0, 0], np.eye(k, dtype=bool)
    worst = max(share[~diagonal].max() if k > 1 else 0.0, 0.02)
    ax.imshow(np.ma.array(share, mask=diagonal), cmap=ORANGES, vmin=0, vmax=worst)
    ax.imshow(np.ma.array(share, mask=~diagonal), cmap=BLUES, vmin=0, vmax=1)
    small = 9 if k <= 15 else 7
    for i, j in np.argwhere(share >= 0.005) if k <= 25 else ():
        light = share[i, j] > (0.55 if i == j else 0.75 * worst)
        text = f"{100 * share[i, j]:.0f}" if share[i, j] >= 0.0095 else "·"
        ax.text(j, i, text, ha="center", va="center", fontsize=small, color="white" if light else INK)
    ax.set_xticks(range(k), classes, rotation=40, ha="right", rotation_mode="anchor", fontsize=small)
    ax.set_yticks(range(k), classes, fontsize=small)
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    heading(figure, f"{title} (% of each true class)", synthetic=synthetic)
    return figure


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
