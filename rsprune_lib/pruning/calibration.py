"""What every data-driven step shares: training images only, one after the other, with progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rsprune_lib.errors import DataError, RspruneError
from rsprune_lib.models import placement

__all__ = ["RecoveryError", "device_of", "feed", "wanted"]


Thing = TypeVar("Thing")


class RecoveryError(RspruneError):
    """A pruned network could not be repaired; the message says why, and no network was changed."""


def device_of(model: nn.Module) -> torch.device:
    """Returns the device of the network's weights."""
    return placement(model)[0]


def feed(
    batches: Iterable[tuple[Tensor, Tensor]],
    model: nn.Module,
    title: str,
    *,
    progress: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images, labels) on the network's device, after a check that they come from the training split.

    The check needs the ``data`` and ``indices`` of `rsprune_lib.data.Batches`; any other iterable is taken as it is.

    Args:
        batches: pairs of images (B, C, H, W) float32, normalised, and labels (B,).
        model: the network that will see them.
        title: what the progress bar says.
        progress: show the bar.

    Raises:
        DataError: an image is not in the training split, or there is none at all.
        Stopped: the batches are no longer wanted.
    """
    _training_only(batches)
    device, count = device_of(model), 0
    for images, labels in tqdm(batches, title, leave=False, disable=not progress):
        count += len(images)
        yield images.to(device), labels.to(device)
    if count == 0:
        raise DataError(f"{title} got no image at all; give it batches from the training split.")


def wanted(batches: object, things: Iterable[Thing]) -> Iterator[Thing]:
    """Yields things made of batches, one after the other, as long as the batches are wanted.

    Args:
        batches: those of the work; the check of `rsprune_lib.data.Batches.watched` ones goes before each thing.
        things: the same images again, or whatever the work goes through.

    Raises:
        Stopped: the check ends the work.
    """
    check = getattr(batches, "check", None)
    for thing in things:
        if check is not None:
            check()
        yield thing


def _training_only(batches: object) -> None:
    data, indices = getattr(batches, "data", None), getattr(batches, "indices", None)
    if data is None or indices is None:
        return
    strange = int((~np.isin(indices, data.split.train)).sum())
    if strange:
        raise DataError(
            f"{strange} of {len(indices)} images are not in the training split of {data.name!r}, but pruning may see "
            "training images only; use Batches(data, 'train')."
        )
