"""A segmentation network with what its images and answers mean, and the map of classes of an image in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.bundle import Bundle
from rsprune_lib.colours import COLOURS
from rsprune_lib.data.sizes import checked_size, sides
from rsprune_lib.deploy.windows import Grid, strips
from rsprune_lib.errors import RspruneError
from rsprune_lib.models import evaluating, for_inference, placement
from rsprune_lib.tasks import refuse_broken, task_of

__all__ = ["Segmenter", "segment_array"]

_PIXELS = 2**20  # of a batch of windows


@dataclass(frozen=True)
class Segmenter:
    """A segmentation network with what its images and answers mean.

    Attributes:
        model: from images (B, 3, H, W) to class logits, or to `rsprune_lib.tasks.Parts`.
        classes: names of the K classes.
        mean: channel means in [0, 1].
        std: channel standard deviations in [0, 1].
        window: (height, width) it was trained with.
        palette: K RGB colours.
        bands: which bands of a file are red, green and blue; None: the usual ones.
    """

    model: nn.Module
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    window: tuple[int, int]
    palette: tuple[tuple[int, int, int], ...]
    bands: str | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> Segmenter:
        """What a bundle holds.

        Raises:
            RspruneError: its network does not segment.
        """
        data = bundle.config.get("data") or {}
        if "masks" not in task_of(bundle.model).gives and data.get("task") != "segmentation":
            raise RspruneError(f"The network of {bundle.path} does not segment; give the bundle of one that does.")
        data = bundle.knows("image_size", "classes", "mean", "std")
        size, classes = data["image_size"], tuple(data["classes"])
        window = (size, size) if isinstance(size, int) else tuple(size)
        palette = data.get("palette") or _colours(len(classes))
        mean, std, palette = tuple(data["mean"]), tuple(data["std"]), tuple(map(tuple, palette))
        return cls(for_inference(bundle.model), classes, mean, std, window, palette, data.get("bands"))

    def predict(self, windows: Tensor) -> Tensor:
        """Class probabilities (B, K, H, W) float32 of windows (B, H, W, 3) uint8, on the network's device.

        Raises:
            ModelError: the network gives no numbers.
        """
        device, dtype = placement(self.model)
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        images = (windows.to(device).permute(0, 3, 1, 2).float() / 255 - mean) / std
        with torch.inference_mode():
            outputs = self.model(images.to(dtype))
            logits = outputs if isinstance(outputs, Tensor) else task_of(self.model).final(outputs)
            shares = logits.float().softmax(1)
        refuse_broken(shares, "windows")
        return shares

    def grid(
        self, size: tuple[int, int], window: tuple[int, int] | None, overlap: int | None, blend: bool
    ) -> tuple[Grid, int]:
        """Windows for a scene, and how many of them make a batch; by default neighbours share half of a window."""
        window = sides(checked_size(window or self.window))
        shared = tuple(side // 2 for side in window) if overlap is None else (overlap, overlap)
        return Grid(size, window, shared, blend), max(1, _PIXELS // (window[0] * window[1]))


def segment_array(
    segmenter: Segmenter,
    pixels: np.ndarray,
    *,
    window: tuple[int, int] | None = None,
    overlap: int | None = None,
    blend: bool = True,
) -> np.ndarray:
    """Classes of an image in memory.

    Args:
        segmenter: the network.
        pixels: (H, W, 3) uint8.
        window: (height, width) in place of that of the training.
        overlap: pixels that neighbouring windows share; half of a window by default.
        blend: whether pixels count less towards the edges of a window.

    Returns:
        (H, W) uint8 class numbers.
    """
    grid, batch = segmenter.grid(pixels.shape[:2], window, overlap, blend)
    whole = np.ones(pixels.shape[:2], bool)
    read = lambda top, bottom: (pixels[top:bottom], whole[top:bottom])  # noqa: E731
    with evaluating(segmenter.model):
        found = strips(grid, read, segmenter.predict, len(segmenter.classes), batch=batch)
        return np.concatenate([strip.shares.argmax(0) for strip in found]).astype(np.uint8)


def _colours(classes: int) -> list[tuple[int, ...]]:
    """Colours of classes without a palette: those of the figures, then a wheel of hues."""
    import colorsys

    known = [tuple(int(text[at : at + 2], 16) for at in (1, 3, 5)) for text in COLOURS[:classes]]
    more = (colorsys.hsv_to_rgb(number * 0.618 % 1, 0.6, 0.8) for number in range(classes - len(known)))
    return [*known, *(tuple(round(255 * part) for part in colour) for colour in more)]
