"""Figures about learning: curves, confusion, loss shapes, what changed a class."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, signed
from rsprune_lib.plots.style import BLUES, ORANGES, Picture, beside, canvas, heading, legend

__all__ = ["class_changes", "confusion", "loss_shapes", "training_curves"]

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
        The figure: losses on the left (dashed is validation), accuracy on the right (a dot marks the best epoch).
    """
    runs = dict(history) if isinstance(history, Mapping) else {"": history}
    figure, axes = canvas(1, 2, height=3.3)
    left, right = axes[0]
    for (name, rows), colour in zip(runs.items(), COLOURS * 9, strict=False):
        _curve(left, rows, "train_loss", colour)
        _curve(left, rows, "val_loss", colour, linestyle=DASHED)
        _curve(right, rows, "val_accuracy", colour)
        _mark_best(right, rows, colour, name)
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
        ax.plot(*zip(*points, strict=True), color=colour, **style, **options)


def _mark_best(ax: Axes, rows: History, colour: str, name: str) -> None:
    """Puts a dot on the best epoch; the value stands beside it, or in the legend where there are several runs."""
    scored = [row for row in rows if row.get("val_accuracy") is not None]
    if not scored:
        return
    best = max(scored, key=lambda row: row["val_accuracy"])
    at = best["epoch"], best["val_accuracy"]
    label = f"{name}, best {at[1]:.1%}" if name else None
    ax.plot(*at, "o", color=colour, markersize=7, markeredgecolor="white", markeredgewidth=1.2, label=label)
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


def loss_shapes(
    p: np.ndarray,
    losses: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray] | None = None,
    *,
    title: str = "How hard a loss pulls at a sample",
) -> Picture:
    """Draws losses and the size of their slope against the probability of the true class.

    Args:
        p: (P,) probabilities of the true class, increasing, in (0, 1].
        losses: Name of a loss -> (P,) its values at ``p``.
        gradients: Name -> (P,) dL/dp; derived numerically where missing.
        title: Title of the figure.

    Returns:
        The figure: loss on the left, ``|dL/dp|`` on a logarithmic axis on the right; hard samples are at the left.
    """
    figure, axes = canvas(1, 2, height=3.5)
    left, right = axes[0]
    for (name, values), colour in zip(losses.items(), COLOURS * 9, strict=False):
        slope = (gradients or {}).get(name)
        slope = np.gradient(np.asarray(values), p) if slope is None else slope
        left.plot(p, values, color=colour, linewidth=1.9, label=name)
        right.plot(p, np.maximum(np.abs(slope), 1e-9), color=colour, linewidth=1.9)
    top = max(float(np.asarray(v)[np.searchsorted(p, 0.02)]) for v in losses.values())
    left.set(ylabel="loss", ylim=(0, 1.08 * top))
    right.set(ylabel="size of the slope |dL/dp|", yscale="log")
    low, high = right.get_ylim()
    right.set_ylim(max(low, 1e-2), min(high, 2e2))
    for ax in (left, right):
        ax.set(xlim=(0, 1), xlabel="probability of the true class   (hard ← → easy)")
    legend(left)
    heading(figure, title)
    return figure


def class_changes(
    classes: Sequence[str], before: Sequence[float], after: Sequence[float], *,
    names: tuple[str, str] = ("pruned", "fine-tuned"), title: str = "What changed for each class",
    synthetic: bool = False,
) -> Picture:  # fmt: skip
    """Draws the accuracy of each class before and after as two dots joined by a line, largest gain on top.

    Args:
        classes: K class names.
        before: K accuracies in [0, 1]; NaN where a class has no samples.
        after: K accuracies in [0, 1].
        names: What the two states are called.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; the change in points is written at the right.
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    order = np.argsort(np.nan_to_num(after - before), kind="stable")
    k = len(order)
    figure, axes = canvas(height=1.3 + max(0.3 if k <= 25 else 0.22, 0.1) * k, grid="x")
    ax, rows = axes[0, 0], np.arange(k)
    gain = after[order] >= before[order]
    ax.hlines(rows, before[order], after[order], colors=np.where(gain, KEPT, CUT), linewidth=2.4, alpha=0.55)
    ax.plot(before[order], rows, "o", color="white", markeredgecolor=MUTED, markeredgewidth=1.6, label=names[0])
    ax.scatter(after[order], rows, s=44, c=np.where(gain, KEPT, CUT), zorder=3)
    ax.plot([], [], "o", color=KEPT, label=f"{names[1]}, better")
    if not gain.all():
        ax.plot([], [], "o", color=CUT, label=f"{names[1]}, worse")
    _write_changes(ax, 100 * (after - before)[order])
    ax.set_yticks(rows, [classes[i] for i in order])
    ax.set(xlabel="accuracy", ylim=(-0.7, k - 0.3))
    ax.margins(x=0.04)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    heading(ax, title, synthetic=synthetic)
    return figure


def _write_changes(ax: Axes, points: np.ndarray) -> None:
    """Writes the change of each row, in percentage points, to the right of the axes."""
    place = {"transform": ax.get_yaxis_transform(), "va": "center", "color": INK}
    for y, change in enumerate(points):
        ax.text(1.015, y, signed(change) if np.isfinite(change) else "–", fontsize=9, **place)
    ax.text(1.015, len(points) - 0.4, "points", fontsize=8, **{**place, "va": "bottom", "color": MUTED})
