"""Batches from a memory map: cut, augmented and normalised as whole batches, never image by image."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from rsprune_lib.data.dataset import Dataset
from rsprune_lib.errors import DataError
from rsprune_lib.tasks import IGNORE

__all__ = ["Augment", "Batches", "balanced", "measuring_batch"]

UNKNOWN = 255  # in the masks of a data set
_PIXELS = 2**20  # of a batch whose outputs are as large as the images


@dataclass(frozen=True)
class Augment:
    """What a training batch goes through; each image draws its own values.

    Args:
        dihedral: one of the eight rotations and reflections of the square (an aerial image has no upside); images of a
            data set that is ``upright`` are only mirrored, left to right.
        shift: largest displacement in pixels, along both axes; borders are reflected.
        brightness: largest relative change; every pixel is multiplied by ``1 ± brightness``.
        contrast: largest relative change of the distance from the image's mean.
    """

    dihedral: bool = False
    shift: int = 0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no image survives.

        Raises:
            DataError: for a negative shift, or a brightness or contrast outside [0, 1).
        """
        if self.shift < 0 or not 0 <= self.brightness < 1 or not 0 <= self.contrast < 1:
            raise DataError(f"shift must be at least 0, brightness and contrast in [0, 1); got {self}.")


class Batches:
    """Iterable of ``(images, targets)``: (B, 3, H, W) float32 normalised, channels-last in memory, and (B,) int64.

    Where the data set has masks, targets are (B, H, W) int64 with `rsprune_lib.tasks.IGNORE` where unknown; a mask is
    turned, mirrored and shifted with its image.

    Order and augmentation depend on ``(seed, epoch number, batch number)`` only, so a resumed run sees the same
    batches, and several processes share a batch without sharing an image.

    Args:
        data: data set.
        part: ``"train"``, ``"val"``, ``"test"``, or indices.
        batch_size: images a batch, over all processes; while shuffling, the last batch may hold a few more.
        augment: augmentation, or None.
        shuffle: a new order every epoch.
        seed: of order and augmentation.
        limit: use a class-balanced subset of this many images, the same every time.
        device: where the batches are wanted; the images travel as uint8 and are computed there.
        shard: (rank, world); this process gets every ``world``-th image of each batch.

    Example:
        >>> for images, labels in Batches(data, "train", 64, augment=Augment(dihedral=True), shuffle=True).epoch(3): ...
    """

    def __init__(
        self,
        data: Dataset,
        part: str | np.ndarray,
        batch_size: int = 64,
        *,
        augment: Augment | None = None,
        shuffle: bool = False,
        seed: int = 0,
        limit: int | None = None,
        device: torch.device | str | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if not (batch_size >= 1 and 0 <= shard[0] < shard[1] <= batch_size):
            raise DataError(f"Expected 0 <= rank < world <= batch_size, got shard {shard} and batch_size {batch_size}.")
        least = min(data.images.shape[1:3])
        if augment and augment.shift >= least:
            raise DataError(f"A shift of {augment.shift} px leaves nothing of images of {least} px.")
        indices = data.part(part) if isinstance(part, str) else np.asarray(part, dtype=np.int64)
        self.indices = indices if limit is None else balanced(data.labels, indices, limit)
        self.data, self.batch_size, self.augment, self.shuffle, self.seed = data, batch_size, augment, shuffle, seed
        self.device = torch.device(device or "cpu")
        self.rank, self.world = shard
        mean, std = (torch.tensor(v, dtype=torch.float32, device=self.device) for v in (data.mean, data.std))
        self.scale, self.offset = 1 / (255 * std), -mean / std
        self.check: Callable[[], None] = lambda: None

    def watched(self, check: Callable[[], None]) -> "Batches":
        """The same batches with a check before each one, which raises `rsprune_lib.errors.Stopped` to end the work."""
        made = copy.copy(self)
        made.check = check
        return made

    @property
    def size(self) -> int:
        """Images an epoch, over all processes."""
        return len(self.indices)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._slices())

    @property
    def sizes(self) -> list[int]:
        """Images of each batch, over all processes."""
        return [where.stop - where.start for where in self._slices()]

    def _slices(self) -> list[slice]:
        """Where each batch lies; while shuffling, a last one with less than two images a process joins the others."""
        starts = list(range(0, self.size, self.batch_size))
        if self.shuffle and len(starts) > 1 and self.size - starts[-1] < 2 * self.world:
            starts.pop()  # batch norm has no statistics of one image
        return [slice(*ends) for ends in pairwise([*starts, self.size])]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Epoch number 0."""
        return self.epoch(0)

    def epoch(self, number: int, shrink: int = 1) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of one epoch.

        Args:
            number: of the epoch, from 0; order and augmentation follow from it.
            shrink: images come with 1 / shrink of the side, every pixel the mean of shrink x shrink pixels.
        """
        order = self.indices
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        for step, where in enumerate(self._slices()):
            self.check()
            batch = order[where]
            random = np.random.default_rng([self.seed, number, step + 1])
            draws = _draw(self.augment, len(batch), random, self._elements)
            mine = slice(self.rank, None, self.world)
            images, targets = self._make(batch[mine], {name: values[mine] for name, values in draws.items()})
            if shrink > 1:
                images = avg_pool2d(images, shrink)
                if self.data.masks is not None:  # the pixel in the middle of each square, of whole squares only
                    rows, cols = (shrink * side for side in images.shape[2:])
                    targets = targets[:, shrink // 2 : rows : shrink, shrink // 2 : cols : shrink]
            yield images, targets

    @property
    def _elements(self) -> tuple[int, ...]:
        """Elements of the dihedral group that these images may go through, see `_dihedral`."""
        if self.data.upright:
            return (0, 4)
        height, width = self.data.images.shape[1:3]
        return tuple(range(8)) if height == width else (0, 2, 4, 6)  # a quarter turn would swap the sides

    def _make(self, batch: np.ndarray, draws: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut, augment and normalise; batch: (b,) indices."""
        images = torch.from_numpy(self.data.images[batch]).to(self.device)  # (b, H, W, 3) uint8
        masks = self.data.masks
        targets = torch.from_numpy((self.data.labels if masks is None else masks)[batch]).to(self.device)
        values = {name: torch.from_numpy(value).to(self.device) for name, value in draws.items()}
        images = _move(images, values.get("element"), values.get("shift"))
        if masks is not None:
            targets = _move(targets[..., None], values.get("element"), values.get("shift"))[..., 0].long()
            targets = targets.masked_fill(targets == UNKNOWN, IGNORE)
        B, H, W, C = images.shape
        pixels = images.view(B, H, W * C).float()  # whole rows: the last axis is long enough to be vectorised
        scale, offset = self.scale.repeat(W), self.offset.repeat(W)  # (W * C,)
        if "light" in values:  # x -> light * (contrast * (x - m) + m), folded into the normalisation
            light, contrast = values["light"][:, None, None], values["contrast"][:, None, None]
            centre = pixels.mean(dim=(1, 2), keepdim=True)
            offset = offset + light * (1 - contrast) * centre * scale  # (B, 1, W * C)
            scale = light * contrast * scale
        pixels = torch.addcmul(offset, pixels, scale)
        return pixels.view(B, H, W, C).permute(0, 3, 1, 2), targets  # NHWC in memory = channels-last


def _draw(
    augment: Augment | None, count: int, random: np.random.Generator, elements: tuple[int, ...] = tuple(range(8))
) -> dict[str, np.ndarray]:
    """Draw the values of one whole batch, on the CPU: the same on every device and for every number of processes."""
    if augment is None:
        return {}
    draws: dict[str, np.ndarray] = {}
    if augment.dihedral:
        draws["element"] = np.array(elements)[random.integers(0, len(elements), count)]
    if augment.shift:
        draws["shift"] = random.integers(-augment.shift, augment.shift + 1, (count, 2))
    if augment.brightness or augment.contrast:
        draws["light"] = 1 + augment.brightness * random.uniform(-1, 1, count).astype(np.float32)
        draws["contrast"] = 1 + augment.contrast * random.uniform(-1, 1, count).astype(np.float32)
    return draws


def _move(images: torch.Tensor, element: torch.Tensor | None, shift: torch.Tensor | None) -> torch.Tensor:
    """Turn, mirror and shift every image in one gather; images: (B, H, W, C) uint8.

    Element ``e`` of the dihedral group reads pixel (r, c) from ``start[e] + r * down[e] + c * right[e]`` of the flat
    image.
    """
    if element is None and shift is None:
        return images
    B, H, W, C = images.shape
    element = torch.zeros(B, dtype=torch.int64, device=images.device) if element is None else element
    start, down, right = (values[element] for values in _dihedral(H, W, images.device))  # (B,) each
    rows, cols = (torch.arange(side, device=images.device).expand(B, side) for side in (H, W))
    if shift is not None:
        rows, cols = _reflect(rows + shift[:, 0, None], H), _reflect(cols + shift[:, 1, None], W)
    start = start + torch.arange(B, device=images.device) * (H * W)
    source = (start[:, None] + rows * down[:, None])[:, :, None] + (cols * right[:, None])[:, None, :]  # (B, H, W)
    return images.view(B * H * W, C).index_select(0, source.view(-1)).view(B, H, W, C)


@lru_cache(maxsize=16)
def _dihedral(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Start, step down and step right in the flat image, (8,) int64 each: four rotations, then the same mirrored.

    Those of the odd elements (a quarter turn) fit square images only.
    """
    flat = torch.arange(height * width).view(height, width)
    turned = [torch.rot90(flat, k) for k in range(4)]
    group = turned + [t.flip(1) for t in turned]  # eight flat source indices
    start = torch.stack([t[0, 0] for t in group])
    down = torch.stack([t[min(1, len(t) - 1), 0] for t in group]) - start
    right = torch.stack([t[0, min(1, t.shape[1] - 1)] for t in group]) - start
    return start.to(device), down.to(device), right.to(device)


def _reflect(position: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror positions outside [0, size) back inside, without repeating the border pixel."""
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)


def measuring_batch(data: Dataset) -> int:
    """Images of a batch that is only measured: 256, fewer of large images whose every pixel is answered."""
    height, width = data.images.shape[1:3]
    return 256 if data.masks is None else max(1, min(256, _PIXELS // (height * width)))


def balanced(labels: np.ndarray, indices: np.ndarray, limit: int) -> np.ndarray:
    """Class-balanced subset: ``limit`` of the indices, the classes in turn; deterministic, in the order of ``indices``.

    Args:
        labels: (N,) class of every image of the data set.
        indices: (n,) candidates.
        limit: images wanted; all of them if there are fewer.
    """
    if limit < 1:
        raise DataError(f"limit must be at least 1 image, got {limit}.")
    shuffled = np.random.default_rng(0).permutation(indices)
    own = labels[shuffled]
    turn = np.empty(len(shuffled), dtype=np.int64)  # how many of its class come before it
    for label in np.unique(own):
        members = np.flatnonzero(own == label)
        turn[members] = np.arange(len(members))
    chosen = np.lexsort((own, turn))[:limit]
    keep = np.isin(indices, shuffled[chosen])
    return indices[keep]
