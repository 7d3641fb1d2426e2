"""Figures about coming back after a cut: accuracy over fine-tuning, and what each class lost and regained."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, signed
from rsprune_lib.plots.style import Picture, beside, canvas, heading

__all__ = ["class_recovery", "recovery_curves"]

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
    colour = dict(zip(names, COLOURS * 9, strict=False))
    figure, axes = canvas(1, len(panels), height=3.9, sharey=True)
    for ax, (start, runs) in zip(axes[0], panels.items(), strict=True):
        if dense is not None:
            ax.axhline(dense, color=MUTED, linewidth=1.2, linestyle=":")
        for name, (epochs, values) in runs.items():
            ax.plot(epochs, values, color=colour[name], linewidth=1.9, marker="o", markersize=4, label=name)
        ax.set_xlabel(xlabel)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(start, loc="left", fontsize=9.5, color=MUTED, pad=6)
    first = axes[0, 0]
    if dense is not None:
        beside(first, f"dense {dense:.1%}", (first.get_xlim()[0], dense), dx=3, dy=3, color=MUTED)
    first.set(ylabel="validation accuracy", ylim=(floor, None))
    first.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles = {label: line for ax in axes[0] for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False,
                  fontsize=9, labelcolor=INK)  # fmt: skip
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
