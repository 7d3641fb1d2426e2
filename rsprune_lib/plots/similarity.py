"""Figures about likeness: maps and their hashes, similarities of a layer, its graph at a threshold, its clusters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import BLUES, DIVERGING, LINES, MARKERS, Picture, canvas, heading, legend

__all__ = ["cluster_maps", "hash_steps", "likeness_matrix", "selector_curves", "similarity_graphs"]

_EDGES = 350  # drawn at most, the strongest: more are one black ball


def hash_steps(
    maps: np.ndarray,
    low: np.ndarray,
    bits: np.ndarray,
    names: Sequence[str],
    *,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws how feature maps become hashes: the map, its low frequencies, their signs against the mean.

    Args:
        maps: (M, H, W) feature maps.
        low: (M, h, w) their lowest DCT coefficients.
        bits: (M, h, w) bool, the hashes.
        names: M names.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; a row a map. From the second row on, orange frames mark the bits that differ from the first row's.
    """
    figure, axes = canvas(len(maps), 3, width=7.2, height=0.55 + 2.1 * len(maps), grid="")
    for row, (shown, coefficients, signs) in enumerate(zip(maps, low, bits, strict=True)):
        scale = np.sign(coefficients) * np.sqrt(np.abs(coefficients))  # the mean is far larger than all the rest
        most = max(float(np.abs(scale).max()), 1e-9)
        reach = max(float(np.abs(shown).max()), 1e-9)
        looks = ((shown, DIVERGING, (-reach, reach)), (scale, DIVERGING, (-most, most)), (signs, BLUES, (-0.4, 1.4)))
        for ax, (picture, colours, limits) in zip(axes[row], looks, strict=True):
            ax.imshow(picture, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
            ax.set_xticks([]), ax.set_yticks([])
            ax.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(names[row], color=INK, fontsize=10)
        differ = signs != bits[0]
        for y, x in np.argwhere(differ):
            axes[row, 2].plot([x - 0.4, x + 0.4, x + 0.4, x - 0.4, x - 0.4],
                              [y - 0.4, y - 0.4, y + 0.4, y + 0.4, y - 0.4], color=CUT, linewidth=1.6)  # fmt: skip
        if row:
            same = 1 - differ.mean()
            axes[row, 2].set_xlabel(f"{int((~differ).sum())} of {differ.size} bits agree: {same:.2f}", color=INK)
    for ax, name in zip(axes[0], ("feature map", "low frequencies (root)", "hash"), strict=True):
        ax.set_title(name, fontsize=10, color=INK)
    heading(figure, title, synthetic=synthetic)
    return figure


def likeness_matrix(values: np.ndarray, order: Sequence[int], *, title: str = "", synthetic: bool = False) -> Picture:
    """Draws a layer's similarities, as they come and sorted, with the distribution of all pairs beside.

    Args:
        values: (C, C) similarities in [0, 1].
        order: the C channels in the order of the second panel.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; 0.5 is what two unrelated hashes have in common.
    """
    figure, axes = canvas(1, 3, width=9.0, height=3.5, grid="")
    order = np.asarray(order)
    both = ((values, "channels as they come"), (values[np.ix_(order, order)], "alike beside alike"))
    for ax, (shown, name) in zip(axes[0, :2], both, strict=True):
        image = ax.imshow(shown, cmap=DIVERGING, vmin=0, vmax=1, interpolation="nearest")
        ax.set_xticks([]), ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_xlabel(name, color=INK)
    bar = figure.colorbar(image, ax=axes[0, :2].tolist(), shrink=0.8, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5, length=0, labelcolor=INK)
    pairs = values[np.triu_indices(len(values), 1)]
    axes[0, 2].hist(pairs, bins=np.linspace(0, 1, 41), color=KEPT)
    axes[0, 2].axvline(0.5, color=MUTED, linewidth=1, linestyle=":")
    axes[0, 2].set(xlabel="similarity", ylabel="pairs", xlim=(0, 1))
    heading(figure, title, synthetic=synthetic)
    return figure


def similarity_graphs(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    places: np.ndarray,
    weights: np.ndarray,
    *,
    columns: int = 3,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws the graph of a layer once a panel: every vertex at its own place, so that panels can be compared.

    Args:
        panels: Name -> ((C, C) bool edges, (C,) bool what stays).
        places: (C, 2) positions in [0, 1].
        weights: (C, C) similarities; the stronger an edge, the darker; the strongest 350 are drawn.
        columns: Panels a row.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; blue vertices stay, grey ones go.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = canvas(rows, columns, width=9.0, height=0.5 + rows * (9.0 / columns + 0.45), grid="")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (name, (edges, stays)) in zip(axes.flat, panels.items(), strict=False):
        _draw_edges(ax, edges, places, weights)
        for group, colour, order in ((~stays, REMOVED, 3), (stays, KEPT, 4)):
            ax.scatter(*places[group].T, s=34 if len(stays) <= 128 else 14, color=colour, zorder=order,
                       edgecolors="white", linewidths=0.6)  # fmt: skip
        ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(False)
        heading(ax, name)
        count = int(edges.sum() // 2)
        drawn = f" ({_EDGES} drawn)" if count > _EDGES else ""
        ax.set_xlabel(f"{count:,} edges{drawn}, {int(stays.sum())} of {len(stays)} stay", color=INK)
    heading(figure, title, synthetic=synthetic)
    return figure


def _draw_edges(ax: Axes, edges: np.ndarray, places: np.ndarray, weights: np.ndarray) -> None:
    pairs = np.argwhere(np.triu(edges, 1))
    if not len(pairs):
        return
    strength = weights[pairs[:, 0], pairs[:, 1]]
    pairs = pairs[np.argsort(-strength, kind="stable")[:_EDGES]]
    strength = weights[pairs[:, 0], pairs[:, 1]]
    shade = 0.12 + 0.38 * (strength - strength.min()) / max(float(np.ptp(strength)), 1e-9)
    ax.add_collection(LineCollection(places[pairs], colors=INK, alpha=shade, linewidths=0.6, zorder=1))


def cluster_maps(
    clusters: Mapping[str, np.ndarray], kept: Mapping[str, int], *, title: str = "", synthetic: bool = False
) -> Picture:
    """Draws the feature maps of some clusters, a row each.

    Args:
        clusters: Name -> (M, H, W) maps of one image.
        kept: Name -> position in the cluster of the map that stays.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; the map in the blue frame stays. Without clusters it says that there are none.
    """
    if not clusters:
        figure, axes = canvas(height=1.3, grid="")
        axes[0, 0].set_axis_off()
        axes[0, 0].text(0, 0.4, "No channel has a similar one at this threshold.", color=MUTED, fontsize=10)
        heading(figure, title, synthetic=synthetic)
        return figure
    most = max(len(maps) for maps in clusters.values())
    figure, axes = canvas(len(clusters), most, width=9.0, height=0.7 + len(clusters) * 9.0 / max(most, 6), grid="")
    for row, (name, maps) in zip(axes, clusters.items(), strict=True):
        reach = max(float(np.abs(maps).max()), 1e-9)
        for number, ax in enumerate(row):
            ax.set_xticks([]), ax.set_yticks([])
            ax.spines[:].set_visible(False)
            if number >= len(maps):
                ax.set_visible(False)
                continue
            ax.imshow(maps[number], cmap=DIVERGING, vmin=-reach, vmax=reach, interpolation="nearest")
            if number == kept[name]:
                ax.spines[:].set(visible=True, color=KEPT, linewidth=3)
        row[0].set_ylabel(name, color=INK, fontsize=9)
    heading(figure, title, synthetic=synthetic)
    return figure


def selector_curves(
    thresholds: Sequence[float],
    macs: Mapping[str, Sequence[float]],
    smallest: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws what a threshold leaves: the share of MACs, and the width of the thinnest layer, a line a selector.

    Args:
        thresholds: T thresholds.
        macs: Selector -> T shares of the dense network's MACs.
        smallest: Selector -> T shares that the most pruned layer keeps.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    figure, axes = canvas(1, 2, width=9.0, height=3.5, grid="both")
    for ax, lines, label in zip(
        axes[0], (macs, smallest), ("MACs left", "channels left in the most pruned layer"), strict=True
    ):
        looks = zip(COLOURS * 9, LINES * 9, MARKERS * 9, strict=False)
        for (name, values), (colour, line, marker) in zip(lines.items(), looks, strict=False):
            style = {"color": colour, "linestyle": line, "marker": marker, "markevery": 3, "markersize": 5}
            ax.plot(thresholds, 100 * np.asarray(values), linewidth=1.8, label=name, **style)
        ax.set(xlabel="threshold", ylabel=f"{label}, %", ylim=(0, 103))
        ax.invert_xaxis()
    legend(axes[0, 0], loc="lower left")
    heading(figure, title, synthetic=synthetic)
    return figure
