"""Figures about SE gates: one block by hand, gates of layers, images and classes, before and after training."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from rsprune_lib.colours import CUT, INK, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import BLUES, Picture, beside, canvas, heading, legend

__all__ = ["gate_profile", "gate_spread", "norm_scales", "squeeze_excite", "then_and_now"]


def squeeze_excite(before: np.ndarray, gates: np.ndarray, after: np.ndarray, *, title: str = "") -> Picture:
    """Draws what an SE block does to a few channels: a map, its mean and its gate, the scaled map.

    Args:
        before: (C, H, W) feature maps, at least 0; a handful of channels.
        gates: (C,) in (0, 1).
        after: (C, H, W) scaled maps.
        title: Title of the figure.

    Returns:
        The figure, one column a channel.
    """
    before, gates, after = (np.asarray(x, dtype=float) for x in (before, gates, after))
    figure, axes = canvas(3, len(gates), height=4.3, width=2.1 * len(gates), grid="", height_ratios=[3, 1, 3])
    look = {"cmap": BLUES, "vmin": 0, "vmax": before.max(), "interpolation": "nearest"}
    for c, gate in enumerate(gates):
        for ax, picture in ((axes[0, c], before[c]), (axes[2, c], after[c])):
            ax.imshow(picture, **look)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color="#B8C0C8")
        axes[0, c].set_title(f"channel {c}", fontsize=9.5, color=INK, pad=4)
        ax = axes[1, c]
        ax.barh(0, 1, 0.5, color="#EEF1F4")
        ax.barh(0, gate, 0.5, color=KEPT)
        ax.text(0.5, 0.52, f"mean {before[c].mean():.2f}  →  gate {gate:.2f}", ha="center", fontsize=9, color=INK)
        ax.set(xlim=(0, 1), ylim=(-0.4, 1.0))
        ax.axis("off")
    for row, word in ((0, "what comes in"), (2, "what goes out")):
        axes[row, 0].set_ylabel(word)
    heading(figure, title)
    return figure


def gate_profile(
    images: np.ndarray,
    gates: np.ndarray,
    mean: np.ndarray,
    deviation: np.ndarray,
    *,
    caption: str = "",
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws the gates of one layer for an image or a class, over what they are on average.

    Args:
        images: (N, H, W, 3) uint8, one image or a few of a class.
        gates: (C,) gates of the image, or the class's mean.
        mean: (C,) mean gate over all images; channels are sorted by it.
        deviation: (C,) standard deviation over all images.
        caption: Under the images.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure; the three gates that are furthest from their mean carry their channel's number.
    """
    gates, mean, deviation = (np.asarray(x, dtype=float) for x in (gates, mean, deviation))
    figure, axes = canvas(1, 2, height=3.1, width_ratios=[1, 3.1])
    _tiles(axes[0, 0], images, caption)
    ax, order = axes[0, 1], np.argsort(-mean, kind="stable")
    place, away = np.arange(len(mean)), (gates - mean)[order]
    low, high = (mean - deviation)[order], (mean + deviation)[order]
    ax.fill_between(place, low, high, step="mid", color=REMOVED, alpha=0.7, linewidth=0, label="mean ± deviation")
    size = 22 if len(mean) <= 128 else 9
    for part, colour, word in ((away >= 0, KEPT, "more open than usual"), (away < 0, CUT, "more closed than usual")):
        ax.scatter(place[part], gates[order][part], s=size, color=colour, linewidths=0, label=word, zorder=3)
    for far in np.argsort(-np.abs(away), kind="stable")[:3]:
        beside(ax, str(order[far]), (far, gates[order][far]), dx=4, dy=2)
    ax.set(xlabel=f"{len(mean)} channels, sorted by their mean gate", ylabel="gate", ylim=(0, 1), xlim=(-1, len(mean)))
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}  # inside, it would lie on points
    legend(ax, ncols=3, fontsize=8.5, handlelength=1.2, **below)
    heading(figure, title, synthetic=synthetic)
    return figure


def _tiles(ax: Axes, images: np.ndarray, caption: str) -> None:
    side = int(np.ceil(np.sqrt(len(images))))
    for i, image in enumerate(images):
        x, y = (i % side) * 1.05, (i // side) * 1.05
        ax.imshow(image, extent=(x, x + 1, y + 1, y), interpolation="lanczos", aspect="auto")
    span = side * 1.05 - 0.05
    ax.set(xlim=(0, span), ylim=(span, 0), aspect="equal")
    ax.axis("off")
    ax.set_title(caption, fontsize=9.5, color=INK, y=-0.16)


def gate_spread(
    names: Sequence[str],
    mean: Sequence[float],
    channels: Sequence[float],
    images: Sequence[float],
    classes: Sequence[float],
    *,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws for every layer how its gates differ between channels (left) and between images (right).

    Args:
        names: L layer names, from the input (top) to the output.
        mean: Mean gate of each layer.
        channels: Deviation of the channels' mean gates.
        images: Deviation of a channel's gate from image to image.
        classes: Share of the variance over images that lies between class means, in [0, 1].
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; "class" is the share of the variance over images that lies between class means.
    """
    mean, channels, images, classes = (np.asarray(x, dtype=float) for x in (mean, channels, images, classes))
    place = np.arange(len(names))
    figure, axes = canvas(1, 2, height=1.3 + 0.24 * len(names), grid="x", sharey=True)
    left, right = axes[0]
    left.hlines(place, mean - channels, mean + channels, color=REMOVED, linewidth=6)
    left.plot(mean, place, "o", color=KEPT, markersize=6)
    left.set(xlim=(0, 1), xlabel="mean gate, ± its deviation over the channels", ylim=(len(names) - 0.4, -0.6))
    left.set_yticks(place, names)
    heading(left, "from channel to channel")
    right.barh(place, images, 0.66, color=KEPT)
    for y, (value, share) in enumerate(zip(images, classes, strict=True)):
        beside(right, f"{value:.4f} · {share:.0%} class", (value, y))
    right.set(xlabel="deviation of a channel's gate over the images", xlim=(0, 1.5 * max(images.max(), 1e-9)))
    heading(right, "from image to image")
    heading(figure, title, synthetic=synthetic)
    return figure


def norm_scales(
    values: Mapping[str, np.ndarray], gated: Collection[str], *, title: str = "", synthetic: bool = False
) -> Picture:
    """Draws the spread of |gamma × mean gate| for each batch norm that writes into one residual stream.

    Args:
        values: Batch-norm name -> (C,) scores.
        gated: Names of those with an SE gate behind them.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure: thin line 5 to 95 %, thick line the middle half, dot the median.
    """
    figure, axes = canvas(height=1.15 + 0.42 * len(values), grid="x")
    ax, told = axes[0, 0], set()
    for y, (name, scores) in enumerate(values.items()):
        colour, word = (KEPT, "with a gate") if name in gated else (CUT, "without a gate: |γ| alone")
        low, first, middle, third, high = np.quantile(np.asarray(scores, dtype=float), [0.05, 0.25, 0.5, 0.75, 0.95])
        ax.hlines(y, low, high, color=colour, linewidth=1.6, label=None if word in told else word)
        ax.hlines(y, first, third, color=colour, linewidth=7, alpha=0.55)
        ax.plot(middle, y, "o", color=colour, markeredgecolor="white", markersize=8)
        told.add(word)
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlabel="|γ × mean gate| of a channel", ylim=(len(values) - 0.5, -0.6))
    ax.set_xlim(left=0)
    legend(ax, outside=True)
    heading(ax, title, synthetic=synthetic)
    return figure


def then_and_now(
    then: Mapping[str, np.ndarray],
    now: Mapping[str, np.ndarray],
    *,
    notes: Mapping[str, str] | None = None,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws the mean gate of every channel after training against its gate before, one panel a layer.

    Args:
        then: Layer -> (C,) gates of the untrained network.
        now: Layer -> (C,) mean gates after training; more layers may be in it.
        notes: Layer -> a line under its axis.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; on the dotted line nothing has changed.
    """
    figure, axes = canvas(1, len(then), height=3.6, width=3.0 * len(then), grid="both")
    for ax, (name, x) in zip(axes[0], then.items(), strict=True):
        x, y = np.asarray(x, dtype=float), np.asarray(now[name], dtype=float)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        edge = 0.06 * (high - low) + 1e-3
        limits = (low - edge, high + edge)
        ax.plot(limits, limits, color=MUTED, linewidth=1.2, linestyle=":", zorder=1)
        ax.scatter(x, y, s=22 if len(x) <= 128 else 9, color=KEPT, linewidths=0, alpha=0.8)
        note = f"\n{notes[name]}" if notes else ""
        ax.set(xlim=limits, ylim=limits, xlabel=f"gate before training{note}", aspect="equal")
        heading(ax, name)
    axes[0, 0].set_ylabel("mean gate after training")
    heading(figure, title, synthetic=synthetic)
    return figure
