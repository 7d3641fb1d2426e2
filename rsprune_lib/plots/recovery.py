"""Figures about coming back after a cut: accuracy over fine-tuning, and what each class lost and regained."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, signed
from rsprune_lib.plots.style import LINES, MARKERS, Picture, beside, canvas, heading, legend

__all__ = ["class_recovery", "fit_against_target", "ratio_curves", "recovery_curves", "speedups"]

Curve = tuple[Sequence[float], Sequence[float]]


def recovery_curves(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    dense: float | None = None,
    floor: float | None = None,
    xlabel: str = "epochs of fine-tuning (0: before)",
    title: str = "Fine-tuning the pruned network",
    synthetic: bool = False,
) -> Picture:
    """Draws accuracy over the epochs of fine-tuning, one panel a starting point, one line a run.

    Args:
        panels: Title of a panel -> name of a run -> (epochs, accuracies in [0, 1]); epoch 0 is before training.
        dense: Accuracy of the dense network, a dotted line.
        floor: Lower end of the axis; below it a line leaves the picture.
        xlabel: What the horizontal axis counts.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; panels share the vertical axis.
    """
    names = list(dict.fromkeys(name for runs in panels.values() for name in runs))
    looks = dict(zip(names, zip(COLOURS * 9, LINES * 9, MARKERS * 9, strict=False), strict=False))
    figure, axes = canvas(1, len(panels), height=3.9, sharey=True)
    for ax, (start, runs) in zip(axes[0], panels.items(), strict=True):
        if dense is not None:
            ax.axhline(dense, color=MUTED, linewidth=1.2, linestyle=":")
        for name, (epochs, values) in runs.items():
            colour, line, marker = looks[name]
            ax.plot(
                epochs, values, color=colour, linestyle=line, linewidth=1.9, marker=marker, markersize=5, label=name
            )
        ax.set_xlabel(xlabel)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(start, loc="left", fontsize=9.5, color=MUTED, pad=6)
    first = axes[0, 0]
    if dense is not None:
        beside(first, f"dense {dense:.1%}", (first.get_xlim()[0], dense), dx=3, dy=3, color=MUTED)
    first.set(ylabel="validation accuracy", ylim=(floor, None))
    first.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _legend_below(figure, axes[0])
    heading(figure, title, synthetic=synthetic)
    return figure


def class_recovery(
    classes: Sequence[str],
    dense: Sequence[float],
    pruned: Sequence[float],
    tuned: Sequence[float],
    *,
    names: tuple[str, str, str] = ("dense", "pruned", "fine-tuned"),
    title: str = "Which classes came back",
    synthetic: bool = False,
) -> Picture:
    """Draws the accuracy of each class in three states: before the cut, after it, and after recovery.

    Args:
        classes: K class names.
        dense: K accuracies in [0, 1]; NaN where a class has no samples.
        pruned: K accuracies after the cut.
        tuned: K accuracies after recovery.
        names: What the three states are called.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure, the class that gained most on top; at the right what is still missing to dense, in points.
    """
    dense, pruned, tuned = (np.asarray(values, dtype=float) for values in (dense, pruned, tuned))
    order = np.argsort(np.nan_to_num(tuned - pruned), kind="stable")
    rows = np.arange(len(order))
    figure, axes = canvas(height=1.4 + (0.31 if len(order) <= 25 else 0.22) * len(order), grid="x")
    ax = axes[0, 0]
    better = tuned[order] >= pruned[order]
    ax.hlines(rows, pruned[order], tuned[order], colors=np.where(better, KEPT, CUT), linewidth=2.6, alpha=0.5)
    ax.plot(pruned[order], rows, "o", color="white", markeredgecolor=CUT, markeredgewidth=1.7, label=names[1])
    ax.plot(tuned[order], rows, "o", color=KEPT, markersize=7.5, label=names[2])
    ax.plot(dense[order], rows, "|", color=INK, markersize=15, markeredgewidth=2.0, label=names[0])
    for y, i in enumerate(order):
        gap = 100 * (tuned[i] - dense[i])
        ax.text(1.015, y, signed(gap) if np.isfinite(gap) else "–", transform=ax.get_yaxis_transform(), va="center",
                fontsize=9, color=INK)  # fmt: skip
    ax.text(1.015, len(order) - 0.4, f"points to {names[0]}", transform=ax.get_yaxis_transform(), fontsize=8,
            color=MUTED, va="bottom")  # fmt: skip
    ax.set_yticks(rows, [classes[i] for i in order])
    ax.set(xlabel="accuracy", ylim=(-0.7, len(order) - 0.3))
    ax.margins(x=0.04)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    heading(ax, title, synthetic=synthetic)
    return figure


_LOOKS = {"raw cut": ("#8A96A3", "o", (0, (1, 1.5))), "BN re-estimation": (COLOURS[4], "s", (0, (4, 2)))}


def fit_against_target(
    target: Sequence[float], fits: Mapping[str, Sequence[float]], *, title: str = "", unit: str = "value"
) -> Picture:
    """Draws what a layer sends on against what it should send on, one panel a way of computing it.

    Args:
        target: (N,) values of the dense layer.
        fits: Name -> (N,) values of the pruned layer.
        title: Title of the figure.
        unit: What the values are.

    Returns:
        The figure; on the diagonal both agree, and each panel says how much of the variance is explained.
    """
    target = np.asarray(target, dtype=float)
    fits = {name: np.asarray(values, dtype=float) for name, values in fits.items()}
    figure, axes = canvas(
        1, len(fits), width=min(9.0, 3.4 * len(fits)), height=3.3, grid="both", sharex=True, sharey=True
    )
    ends = [
        min(target.min(), *(np.min(f) for f in fits.values())),
        max(target.max(), *(np.max(f) for f in fits.values())),
    ]
    for ax, (name, values) in zip(axes[0], fits.items(), strict=True):
        explained = 1 - np.mean((values - target) ** 2) / np.var(target)
        ax.plot(ends, ends, color=MUTED, linewidth=1, linestyle=":")
        ax.plot(
            target, values, "o", color=KEPT, markersize=3.2 if len(target) > 40 else 6, alpha=0.55, markeredgewidth=0
        )
        ax.set_title(name, loc="left", fontsize=9.5, color=INK, pad=6)
        text = f"R² = {explained:.2f}".replace("-", "−")
        ax.text(0.04, 0.95, text, transform=ax.transAxes, va="top", fontsize=9, color=INK)
        ax.set_xlabel(f"dense {unit}")
    axes[0, 0].set_ylabel(f"pruned {unit}")
    heading(figure, title)
    return figure


def ratio_curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    dense: float | None = None,
    title: str = "Accuracy against the share of channels removed",
    synthetic: bool = False,
) -> Picture:
    """Draws accuracy over the pruning ratio, one panel a criterion, one line a recovery.

    Args:
        panels: Title of a panel -> name of a line -> (R ratios, R accuracies in [0, 1]).
        dense: Accuracy of the dense network, a dotted line.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; panels share both axes.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    free = (colour for colour in (KEPT, COLOURS[2], CUT, *COLOURS[3:] * 9))
    looks = {name: _LOOKS.get(name) or (next(free), "D^vP"[number % 4], "-") for number, name in enumerate(names)}
    figure, axes = canvas(1, len(panels), height=3.9, sharex=True, sharey=True)
    for ax, (panel, lines) in zip(axes[0], panels.items(), strict=True):
        if dense is not None:
            ax.axhline(dense, color=MUTED, linewidth=1.2, linestyle=":")
        for name, (ratios, values) in lines.items():
            colour, marker, dashes = looks[name]
            ax.plot(
                ratios, values, color=colour, linestyle=dashes, marker=marker, linewidth=1.9, markersize=5, label=name
            )
        ax.set_title(panel, loc="left", fontsize=9.5, color=INK, pad=6)
        ax.set_xlabel("channels removed")
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    first = axes[0, 0]
    if dense is not None:
        beside(first, f"dense {dense:.1%}", (first.get_xlim()[0], dense), dx=4, dy=3, color=MUTED)
    first.set(ylabel="accuracy", ylim=(0, 1.04))
    first.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _legend_below(figure, axes[0])
    heading(figure, title, synthetic=synthetic)
    return figure


def speedups(
    points: Mapping[str, Sequence[tuple[float, float, str]]], *, title: str = "Fewer MACs, how much faster?"
) -> Picture:
    """Draws measured speed-up against the factor by which the MACs fell.

    Args:
        points: Name of a way of measuring -> (MACs dense / pruned, time dense / pruned, what to write beside). Where
            the time is nan, it was not clear: no point is drawn, and a note says so.
        title: Title of the figure.

    Returns:
        The figure, logarithmic on both axes; on the dotted line time would follow the MACs.
    """
    figure, axes = canvas(width=6.6, height=4.4, grid="both")
    ax = axes[0, 0]
    far = max(x for rows in points.values() for x, _, _ in rows)
    ax.plot([1, far], [1, far], color=MUTED, linewidth=1.2, linestyle=":", label="time as MACs")
    for (name, rows), colour, marker in zip(points.items(), COLOURS * 9, "osD^vP" * 9, strict=False):
        rows = sorted(row for row in rows if not math.isnan(row[1])) or [(1.0, 1.0, "")]
        x, y, _ = zip(*rows, strict=True)
        ax.plot(x, y, color=colour, marker=marker, linewidth=1.8, markersize=6.5, markeredgecolor="white", label=name)
    tops: dict[float, tuple[float, str]] = {}  # one label above all points at the same place
    every = [(x, y, text) for rows in points.values() for x, y, text in rows]
    for x, y, text in (row for row in every if not math.isnan(row[1])):
        top, label = tops.get(x, (0.0, ""))
        tops[x] = max(y, top), label or text
    if unclear := sum(math.isnan(y) for _, y, _ in every):
        words = f"{unclear} of {len(every)} times are not clear: this machine is busy"
        ax.text(0.98, 0.03, words, transform=ax.transAxes, ha="right", color=MUTED, fontsize=8)
    for x, (y, text) in tops.items():
        beside(ax, text, (x, y), dx=0, dy=7, ha="center", color=MUTED)
    ax.set(xscale="log", yscale="log", xlabel="MACs: dense over pruned", ylabel="time: dense over pruned")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator([0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"×{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    legend(ax, loc="upper left")
    heading(ax, title)
    return figure


def _legend_below(figure: Picture, axes: Iterable[Axes]) -> None:
    """One legend for several axes, each label once."""
    handles = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False,
                  fontsize=9, labelcolor=INK)  # fmt: skip
