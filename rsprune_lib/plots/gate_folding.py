"""Figures about gates held still: why they may be folded, what freezing costs, how a change travels through depth."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, GRID, INK, KEPT, MUTED, signed
from rsprune_lib.plots.style import Picture, beside, canvas, dress, heading, legend

__all__ = ["freezing_costs", "gate_and_relu", "over_depth"]


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
        alone: Change of the accuracy in points when this gate alone is frozen.
        live: Number of gates that stay live, the costliest first -> accuracy in [0, 1]; must hold 0 and L.
        band: Interval of the accuracy with all gates live.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    figure, axes = canvas(1, 2, height=1.3 + 0.24 * len(names), grid="x", width_ratios=[1.25, 1])
    left, right = axes[0]
    left.barh(range(len(names)), alone, 0.66, color=[CUT if v == min(alone) else KEPT for v in alone])
    for y, value in enumerate(alone):
        beside(left, signed(value), (max(value, 0), y))
    low, high = min(*alone, -1.0), max(*alone, 0.0)
    left.set(xlim=(1.06 * low, high + 0.22 * (high - low)), ylim=(len(names) - 0.4, -0.6))
    left.set_yticks(range(len(names)), names)
    left.axvline(0, color="#B8C0C8", linewidth=0.8)
    left.set_xlabel("change of accuracy, points")
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
