"""Windows that cover a scene of any size: where they lie, how they are blended, which rows of the scene are finished.

A network sees windows of the size it was trained with. They overlap, and each counts less towards its edges, where it
knows least of the surroundings; so no seams are left. Only the rows that a later window still changes are held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.errors import RspruneError

__all__ = ["Grid", "Strip", "strips"]


@dataclass(frozen=True)
class Grid:
    """Windows of one size over a scene; the last ones are moved inwards, so that they show the scene and no border.

    Args:
        size: (height, width) of the scene.
        window: (height, width) of a window.
        overlap: (down, across) pixels that neighbours share.
        blend: weigh pixels by the fourth power of a sine over the window (the second, Hann's, was further from the
            answers on a whole image with a U-Net); False: all the same.

    Raises:
        RspruneError: an overlap that is negative or more than half of the window.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    overlap: tuple[int, int]
    blend: bool = True

    def __post_init__(self) -> None:
        if any(not 0 <= shared <= side // 2 for shared, side in zip(self.overlap, self.window, strict=True)):
            raise RspruneError(
                f"Got an overlap of {max(self.overlap)} pixels for windows of {self.window[0]} x {self.window[1]}; "
                "expected 0 to half of the window."
            )

    def starts(self, axis: int) -> list[int]:
        """First pixel of each window along an axis; 0 alone where the scene is smaller than the window."""
        last = max(0, self.size[axis] - self.window[axis])
        return [*range(0, last, self.window[axis] - self.overlap[axis]), last]

    def weights(self, axis: int) -> Tensor:
        """Weight of each pixel of a window along an axis, above 0."""
        side = self.window[axis]
        return torch.sin((torch.arange(side) + 0.5) * (math.pi / side)) ** 4 if self.blend else torch.ones(side)

    def covered(self, axis: int) -> Tensor:
        """Sum of the weights of all windows at each pixel of the scene (or of the window, if that is larger)."""
        own, total = self.weights(axis), torch.zeros(max(self.size[axis], self.window[axis]))
        for start in self.starts(axis):
            total[start : start + len(own)] += own
        return total


@dataclass(frozen=True)
class Strip:
    """Finished rows of a scene.

    Attributes:
        number: of the row of windows that finished them, from 0.
        top: first row.
        shares: (K, rows, W) float32 blended class probabilities.
        valid: (rows, W) whether a pixel holds data; elsewhere the probabilities mean nothing.
        waiting: (K, n, W') float32 weighted sums of the rows below, which later windows go on with.
    """

    number: int
    top: int
    shares: np.ndarray
    valid: np.ndarray
    waiting: Tensor


def strips(
    grid: Grid,
    read: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    predict: Callable[[Tensor], Tensor],
    classes: int,
    *,
    first: int = 0,
    waiting: Tensor | None = None,
    batch: int = 4,
    done: Callable[[int], None] = lambda windows: None,
) -> Iterator[Strip]:
    """Goes through a scene from top to bottom and yields the rows that no later window changes.

    Held in memory: K x window height x scene width numbers of 4 bytes, and the pixels of one row of windows.

    Args:
        grid: where the windows lie.
        read: from first and last row (exclusive) to pixels (rows, W, 3) uint8 and which of them hold data (rows, W).
        predict: from windows (b, h, w, 3) uint8 to class probabilities (b, K, h, w).
        classes: K.
        first: row of windows to begin with.
        waiting: `Strip.waiting` of the row before.
        batch: windows at once.
        done: hears how many windows were finished.
    """
    (H, W), (h, w) = grid.size, grid.window
    down, across = grid.covered(0), grid.covered(1)
    starts = grid.starts(0)
    total = torch.zeros(classes, h, max(W, w))  # weighted sums
    if waiting is not None:
        total[:, : waiting.shape[1]] = waiting
    for number in range(first, len(starts)):
        top, bottom = starts[number], starts[number + 1] if number + 1 < len(starts) else H
        pixels, valid = read(top, min(top + h, H))
        _add_row(total, grid, pixels, valid, predict, batch, done)
        rows = bottom - top
        shares = total[:, :rows, :W] / (down[top:bottom, None] * across[None, :W])
        waiting = total[:, rows:].clone()
        yield Strip(number, top, shares.numpy(), valid[:rows], waiting)
        total[:, : h - rows] = waiting
        total[:, h - rows :] = 0


def _add_row(
    total: Tensor,
    grid: Grid,
    pixels: np.ndarray,
    valid: np.ndarray,
    predict: Callable[[Tensor], Tensor],
    batch: int,
    done: Callable[[int], None],
) -> None:
    """Adds one row of windows to weighted sums (K, h, W'); windows without data are not computed."""
    (h, w), W = grid.window, grid.size[1]
    weight = grid.weights(0)[:, None] * grid.weights(1)[None]
    missing = ((0, h - len(pixels)), (0, max(0, w - W)), (0, 0))
    windows = torch.from_numpy(np.pad(pixels, missing, mode="symmetric"))  # a small scene is mirrored at its border
    starts = grid.starts(1)
    seen = [start for start in starts if valid[:, start : start + w].any()]
    done(len(starts) - len(seen))
    for at in range(0, len(seen), batch):
        some = seen[at : at + batch]
        found = predict(torch.stack([windows[:, start : start + w] for start in some]))
        for start, shares in zip(some, found.cpu(), strict=True):
            total[:, :, start : start + w] += shares * weight
        done(len(some))
