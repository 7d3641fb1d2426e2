"""Figures about repairing without training: a fit against its target, accuracy over the ratio, speed against MACs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED
from rsprune_lib.plots.style import Picture, beside, canvas, heading, legend

__all__ = ["fit_against_target", "ratio_curves", "speedups"]

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
    handles = {label: line for ax in axes[0] for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False,
                  fontsize=9, labelcolor=INK)  # fmt: skip
    heading(figure, title, synthetic=synthetic)
    return figure


def speedups(
    points: Mapping[str, Sequence[tuple[float, float, str]]], *, title: str = "Fewer MACs, how much faster?"
) -> Picture:
    """Draws measured speed-up against the factor by which the MACs fell.

    Args:
        points: Name of a way of measuring -> (MACs dense / pruned, time dense / pruned, what to write beside).
        title: Title of the figure.

    Returns:
        The figure, logarithmic on both axes; on the dotted line time would follow the MACs.
    """
    figure, axes = canvas(width=6.6, height=4.4, grid="both")
    ax = axes[0, 0]
    far = max(x for rows in points.values() for x, _, _ in rows)
    ax.plot([1, far], [1, far], color=MUTED, linewidth=1.2, linestyle=":", label="time as MACs")
    for (name, rows), colour, marker in zip(points.items(), COLOURS * 9, "osD^vP" * 9, strict=False):
        rows = sorted(rows)
        x, y, _ = zip(*rows, strict=True)
        ax.plot(x, y, color=colour, marker=marker, linewidth=1.8, markersize=6.5, markeredgecolor="white", label=name)
    tops: dict[float, tuple[float, str]] = {}  # one label above all points at the same place
    for x, y, text in (row for rows in points.values() for row in rows):
        top, label = tops.get(x, (0.0, ""))
        tops[x] = max(y, top), label or text
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
