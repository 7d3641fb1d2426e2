"""Class activation maps beside their images, and how far they move while a network is pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsprune_lib.colours import COLOURS, INK, MUTED, overlay
from rsprune_lib.explain.cam import ClassMaps
from rsprune_lib.plots.images import GAP, cut_text, tile, wall
from rsprune_lib.plots.style import Picture, canvas, heading, legend

__all__ = ["class_map_grid", "map_curves"]


def class_map_grid(
    images: np.ndarray,
    maps: Mapping[str, ClassMaps],
    captions: Sequence[str] = (),
    *,
    difference: tuple[str, str] | None = None,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws one row per image: the image, its map under each name, and how two of the maps differ.

    Args:
        images: (B, H, W, 3) uint8.
        maps: Name of a column -> maps of these images.
        captions: One text per image, under its picture.
        difference: Names of two columns; the second minus the first, orange where the second is larger, blue where it
            is smaller.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure; a blank map is called blank.
    """
    heads = _heads(maps, difference)
    under = 0.24 if captions else GAP
    figure, ax = wall(len(images), len(heads), under, title, synthetic, width=1.25 * len(heads) * (1 + GAP))
    for row, image in enumerate(images):
        shown: list[tuple[np.ndarray, bool]] = [(image, False)]
        shown += [(overlay(image, found.maps[row]), bool(found.blank[row])) for found in maps.values()]
        if difference:
            one, other = (maps[name] for name in difference)
            nothing = bool(one.blank[row] or other.blank[row])
            shown.append((overlay(image, other.maps[row] - one.maps[row]), nothing))
        for column, (pixels, blank) in enumerate(shown):
            x, y = tile(ax, pixels, row * len(heads) + column, len(heads), under)
            if blank:
                ax.text(x + 0.5, y + 0.5, "blank", ha="center", va="center", fontsize=9, color=INK)
            if row == 0:
                ax.text(x + 0.5, y - 0.06, heads[column], ha="center", va="bottom", fontsize=9, color=MUTED)
        if captions:
            ax.text(0, row * (1 + under) + 1.15, cut_text(captions[row], len(heads), -10), fontsize=8, color=INK)
    ax.set_ylim(ax.get_ylim()[0], -0.25)
    return figure


def _heads(maps: Mapping[str, ClassMaps], difference: tuple[str, str] | None) -> list[str]:
    """What stands above the columns, as long as a column is wide."""
    count = 1 + len(maps) + (difference is not None)
    heads = ["image", *(cut_text(name, count, 116 // count - 16) for name in maps)]
    if difference is not None:
        text = f"{difference[1]} − {difference[0]}"
        heads.append(text if len(text) <= 22 else "second − first")
    return heads


def map_curves(
    shares: Sequence[float],
    curves: Mapping[str, np.ndarray],
    *,
    ylabel: str,
    xlabel: str = "channels removed, %",
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws medians over images with the middle half of the images as a band.

    Args:
        shares: (R,) of the x axis, in [0, 1], drawn as percent.
        curves: Name -> (R, B) a number for each image; NaN is left out.
        ylabel: What the number is.
        xlabel: What the share is.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure.
    """
    figure, axes = canvas(height=3.4)
    ax, x = axes[0, 0], 100 * np.asarray(shares)
    styles = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))
    for (name, values), colour, (line, marker) in zip(curves.items(), COLOURS, styles * 2, strict=False):
        low, middle, high = np.nanpercentile(np.asarray(values, dtype=float), (25, 50, 75), axis=1)
        ax.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        ax.plot(x, middle, line, marker=marker, markersize=5, color=colour, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    legend(ax)
    heading(figure, title, synthetic=synthetic)
    return figure
