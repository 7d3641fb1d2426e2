"""Pictures of masks: classes in their colours, where an answer is wrong, pixels and IoU of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter

from rsprune_lib.colours import COLOURS, CUT, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import BLUES, Picture, axis_count, beside, canvas, heading

__all__ = ["class_channels", "class_iou", "class_pixels", "mask_grid"]

Range = tuple[float, float]
_MARKERS = "osD^vP"


def mask_grid(
    rows: Sequence[Mapping[str, np.ndarray]],
    classes: Sequence[str] = (),
    palette: Sequence[tuple[int, int, int]] = (),
    *,
    captions: Sequence[str] = (),
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws pictures in rows, with the same heads in each row and the colours of the classes below.

    Args:
        rows: One mapping a row, name of a column -> (H, W, 3) uint8; `rsprune_lib.colours.painted` and ``mistakes``
            make such pictures of masks.
        classes: K names for the legend.
        palette: K colours, RGB.
        captions: One text a row, under its pictures.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure; every pixel is drawn as a square.
    """
    heads = list(rows[0])
    tall, wide = rows[0][heads[0]].shape[:2]
    width = min(9.0, 2.6 * len(heads))
    per_row = (width / len(heads) - 0.07) * tall / wide + (0.25 if captions else 0.07)
    below = 0.26 * -(-len(classes) // 6) if classes else 0.0
    above = 0.3 + (0.3 if title or synthetic else 0.0)
    figure, axes = canvas(len(rows), len(heads), width=width, height=per_row * len(rows) + below + above, grid="")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    for number, (row, line) in enumerate(zip(rows, axes, strict=True)):
        for ax, head in zip(line, heads, strict=True):
            ax.imshow(row[head], interpolation="nearest", aspect="equal")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if number == 0:
                ax.set_title(head, fontsize=9.5, color=MUTED, pad=4)
        if captions:
            line[0].text(0, -0.04, captions[number], transform=line[0].transAxes, va="top", fontsize=8.5, color=INK)
    if classes:
        colours = np.asarray(palette) / 255
        patches = [Patch(facecolor=c, edgecolor=MUTED, linewidth=0.5) for c in colours[: len(classes)]]
        figure.legend(patches, classes, loc="outside lower center", ncols=6, frameon=False, fontsize=8.5,
                      labelcolor=INK, handlelength=1.1, handleheight=1.1)  # fmt: skip
    heading(figure, title, synthetic=synthetic)
    return figure


def class_pixels(
    pixels: Sequence[int],
    classes: Sequence[str],
    rare: Sequence[int] = (),
    *,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws how many pixels each class has, the most frequent one on top.

    Args:
        pixels: K numbers of pixels.
        classes: K names.
        rare: Numbers of the rare classes; hatched.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; its axis is logarithmic, and each bar says its share.
    """
    pixels = np.asarray(pixels, dtype=float)
    order = np.argsort(-pixels, kind="stable")
    figure, axes = canvas(height=1.2 + 0.29 * len(order), grid="x")
    ax, there = axes[0, 0], pixels[pixels > 0]
    for y, number in enumerate(order):
        own = number in set(rare)
        look = {"color": CUT, "hatch": "////"} if own else {"color": KEPT}
        ax.barh(y, pixels[number], 0.66, edgecolor="white", linewidth=0.8, **look)
        beside(ax, f"{pixels[number] / pixels.sum():.2%}" + (" · rare" if own else ""), (pixels[number], y))
    ax.set_xscale("log")
    ax.set_yticks(range(len(order)), [classes[number] for number in order])
    ax.set(xlabel="pixels of the training part (each step of the axis: ten times as many)",
           ylim=(len(order) - 0.4, -0.6), xlim=(there.min() / 3, 4 * there.max()))  # fmt: skip
    ax.xaxis.set_major_formatter(FuncFormatter(axis_count))
    ax.tick_params(axis="y", length=0)
    heading(ax, title, synthetic=synthetic)
    return figure


def class_iou(
    classes: Sequence[str],
    networks: Mapping[str, Sequence[float]],
    *,
    ranges: Mapping[str, Sequence[Range]] | None = None,
    rare: Sequence[int] = (),
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws the IoU of each class for some networks, a marker each.

    Args:
        classes: K names, in the order in which they shall stand from top to bottom.
        networks: Name -> K values in [0, 1], NaN for a class that does not occur.
        ranges: Name -> K intervals (low, high), drawn as lines.
        rare: Numbers of the rare classes; they are shaded.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure.
    """
    K, offset = len(classes), 0.52 / max(1, len(networks))
    figure, axes = canvas(height=1.5 + max(0.36, 0.15 * len(networks)) * K, grid="x")
    ax = axes[0, 0]
    for number in rare:
        ax.axhspan(number - 0.5, number + 0.5, color="#FBEFE3", linewidth=0)
    for i, ((name, values), colour, marker) in enumerate(zip(networks.items(), COLOURS, _MARKERS, strict=False)):
        y = np.arange(K) + offset * (i - (len(networks) - 1) / 2)
        for place, ends in zip(y, (ranges or {}).get(name, ()), strict=False):
            ax.plot(ends, [place, place], color=colour, linewidth=1.6, alpha=0.55, solid_capstyle="butt")
        ax.plot(values, y, marker, color=colour, markersize=6, linestyle="none", label=name,
                markerfacecolor="white" if i else colour, markeredgewidth=1.5)  # fmt: skip
    ax.set_yticks(range(K), [f"{name} (rare)" if n in set(rare) else name for n, name in enumerate(classes)])
    ax.set(xlabel="IoU", ylim=(K - 0.5, -0.5), xlim=(-0.02, 1.02))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    heading(ax, title, synthetic=synthetic)
    return figure


def class_channels(
    table: np.ndarray,
    classes: Sequence[str],
    kept: Mapping[str, Sequence[int]] | None = None,
    *,
    order: Sequence[int] | None = None,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws which channel matters to which class, and which channels stay under some rules.

    Args:
        table: (K, F) scores, see `rsprune_lib.pruning.class_scores`; each row is divided by its largest value.
        classes: K names.
        kept: Name of a rule -> numbers of the channels that stay.
        order: In which order the channels stand; by number without.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure: above one row a class, dark where a channel matters; below one strip a rule, blue where it stays.
    """
    kept = dict(kept or {})
    table = np.asarray(table, dtype=float)
    order = list(range(table.shape[1])) if order is None else list(order)
    shares = table / np.maximum(table.max(1, keepdims=True), 1e-30)
    figure, axes = canvas(
        2 if kept else 1, 1, height=1.3 + 0.24 * len(classes) + 0.27 * len(kept) + (0.25 if kept else 0), grid="",
        **({"height_ratios": [len(classes), len(kept) + 0.2], "sharex": True} if kept else {}),
    )  # fmt: skip
    top = axes[0, 0]
    shown = top.imshow(shares[:, order], cmap=BLUES, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    top.set_yticks(range(len(classes)), classes)
    bar = figure.colorbar(shown, ax=axes[:, 0].tolist(), shrink=0.7, pad=0.015, aspect=24)
    bar.set_label("share of the row's largest", fontsize=8.5, color=MUTED)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    if kept:
        _strips(axes[1, 0], {rule: np.isin(order, list(numbers)) for rule, numbers in kept.items()})
    last = axes[-1, 0]
    last.set_xlabel("channels of the layer" + ("" if order == sorted(order) else ", in the order of the first rule"))
    for ax in axes[:, 0]:
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_xticks([])
    heading(figure, title, synthetic=synthetic)
    return figure


def _strips(ax: Axes, rows: Mapping[str, np.ndarray]) -> None:
    """One strip a rule: blue where a channel stays, grey and crossed out where it goes."""
    for y, stays in enumerate(rows.values()):
        for x, stay in enumerate(stays):
            look = {"color": KEPT} if stay else {"color": REMOVED}
            ax.barh(y, 1, 0.72, left=x - 0.5, edgecolor="white", linewidth=0.4, **look)
            if not stay and len(stays) <= 64:
                ax.text(x, y, "×", ha="center", va="center", fontsize=7, color=MUTED)
    ax.set_yticks(range(len(rows)), [f"{name}: {int(stays.sum())} stay" for name, stays in rows.items()])
    ax.set(ylim=(len(rows) - 0.5, -0.5))
