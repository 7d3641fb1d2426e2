"""Pictures of the images themselves: contact sheets and the samples a network finds hard."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from rsprune_lib.colours import CUT, INK, MUTED
from rsprune_lib.plots.style import Picture, canvas, heading

__all__ = ["contact_sheet", "hard_samples"]

GAP = 0.06  # white space between tiles, in tiles


def contact_sheet(
    images: np.ndarray,
    captions: Sequence[str] | None = None,
    *,
    columns: int = 10,
    row_labels: Sequence[str] | None = None,
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws images side by side, with a caption under each or a label before each row.

    Args:
        images: (N, H, W, 3) uint8.
        captions: One text an image; long ones are cut to the tile.
        columns: Images a row.
        row_labels: One text a row, e.g. the class that a row shows.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure.
    """
    rows = -(-len(images) // columns)
    under = 0.26 if captions is not None else GAP
    figure, ax = _wall(rows, columns, under, title, synthetic, margin=1.35 if row_labels is not None else 0.0)
    for i, image in enumerate(images):
        x, y = _tile(ax, image, i, columns, under)
        if captions is not None:
            ax.text(x + 0.5, y + 1.15, _cut(captions[i], columns), ha="center", fontsize=8, color=INK)
    for r, label in enumerate(row_labels or ()):
        ax.text(-0.12, r * (1 + under) + 0.5, label, ha="right", va="center", fontsize=9, color=INK)
    return figure


def hard_samples(
    images: np.ndarray,
    truth: Sequence[str],
    guess: Sequence[str],
    confidence: Sequence[float],
    *,
    columns: int = 8,
    title: str = "Samples the network finds hard",
    synthetic: bool = False,
) -> Picture:
    """Draws images with their true class, and what the network said instead.

    Args:
        images: (N, H, W, 3) uint8.
        truth: N names of the true class.
        guess: N names of the predicted class; a wrong one is written in colour.
        confidence: N probabilities in [0, 1] of the predicted class.
        columns: Images a row.
        title: Title of the figure.
        synthetic: The images are drawn, not photographed.

    Returns:
        The figure.
    """
    rows, under = -(-len(images) // columns), 0.44
    figure, ax = _wall(rows, columns, under, title, synthetic)
    for i, image in enumerate(images):
        x, y = _tile(ax, image, i, columns, under)
        said = f"→ {_cut(guess[i], columns, 6)} {confidence[i]:.0%}"
        ax.text(x + 0.02, y + 1.15, _cut(truth[i], columns), fontsize=8, color=INK)
        ax.text(x + 0.02, y + 1.33, said, fontsize=8, color=MUTED if guess[i] == truth[i] else CUT)
    return figure


def _wall(
    rows: int, columns: int, under: float, title: str, synthetic: bool, margin: float = 0.0
) -> tuple[Picture, Axes]:
    """Makes axes that hold a grid of unit tiles, y downwards."""
    across, down = columns * (1 + GAP) - GAP + margin, rows * (1 + under) - (under if under == GAP else 0)
    width = min(9.0, 1.5 * across)
    head = 0.42 if title or synthetic else 0.1
    figure, axes = canvas(width=width, height=down * width / across + head, grid="")
    ax = axes[0, 0]
    ax.set(xlim=(-margin, across - margin), ylim=(down, 0), aspect="equal")
    ax.axis("off")
    heading(figure, title, synthetic=synthetic)
    return figure, ax


def _tile(ax: Axes, image: np.ndarray, index: int, columns: int, under: float) -> tuple[float, float]:
    """Draws one image at its place in the grid; returns its left and upper edge."""
    x, y = (index % columns) * (1 + GAP), (index // columns) * (1 + under)
    ax.imshow(image, extent=(x, x + 1, y + 1, y), interpolation="lanczos", aspect="auto")
    ax.set_autoscale_on(False)
    return x, y


def _cut(text: str, columns: int, less: int = 0) -> str:
    """Shortens a caption to what fits under a tile when ``columns`` tiles share the width."""
    room = max(int(116 / columns) - less, 4)
    return text if len(text) <= room else text[: room - 1] + "…"
