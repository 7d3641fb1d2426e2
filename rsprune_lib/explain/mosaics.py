"""Images with known places of their classes, made from images that have one label each: mosaics of four."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.explain.cam import ClassMapper
from rsprune_lib.explain.cam_numbers import Pointing, pointing

__all__ = ["Mosaics", "mosaic_pointing", "mosaics"]


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Mosaics of 2 x 2 images of four classes (the grid pointing game, https://arxiv.org/abs/2104.00032).

    Attributes:
        images: (M, 3, 2H, 2W), normalised as the parts are.
        classes: (M, 4) the class in each quarter: upper left, upper right, lower left, lower right.
        places: (4, 2H, 2W) bool, the pixels of each quarter.
        members: (M, 4) which of the given images each quarter is.
    """

    images: Tensor
    classes: Tensor
    places: np.ndarray
    members: Tensor


def mosaics(images: Tensor, labels: Tensor, count: int, *, seed: int = 0) -> Mosaics:
    """Puts images of four different classes side by side.

    Args:
        images: (B, 3, H, W).
        labels: (B,) their classes.
        count: mosaics to make.
        seed: of the choice.

    Raises:
        ModelError: there are fewer than four classes.
    """
    present = labels.unique().numpy()
    if len(present) < 4:
        raise ModelError(f"Got images of {len(present)} classes; a mosaic needs images of four.")
    random = np.random.default_rng(seed)
    chosen = np.stack([random.choice(present, 4, replace=False) for _ in range(count)])  # (M, 4)
    members = torch.tensor([[int(random.choice(np.flatnonzero(labels == k))) for k in row] for row in chosen])
    upper, lower = (torch.cat([images[members[:, n]], images[members[:, n + 1]]], 3) for n in (0, 2))
    _, _, H, W = images.shape
    places = np.zeros((4, 2 * H, 2 * W), bool)
    for n in range(4):
        places[n, n // 2 * H : (n // 2 + 1) * H, n % 2 * W : (n % 2 + 1) * W] = True
    return Mosaics(torch.cat([upper, lower], 2), torch.from_numpy(chosen), places, members)


def mosaic_pointing(model: nn.Module, made: Mosaics, **options: str | None) -> Pointing:
    """Asks for the map of each quarter's class, and whether it lies on that quarter; chance gives 1/4.

    Args:
        model: a classifier that takes images of any size.
        made: mosaics.
        **options: ``method`` and ``layer`` of `class_maps`.

    Returns:
        One entry for each mosaic and quarter, (4 M,): all first quarters, then all second ones, and so on.
    """
    mapper = ClassMapper(model, tuple(made.images.shape[2:]))
    found = []
    for n, place in enumerate(made.places):
        maps = mapper.maps(made.images, made.classes[:, n], **options)
        found.append(pointing(maps, np.broadcast_to(place, maps.maps.shape)))
    return Pointing(*(np.concatenate([getattr(one, key) for one in found]) for key in ("hit", "inside", "area")))
