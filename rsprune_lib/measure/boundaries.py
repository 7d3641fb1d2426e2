"""Boundaries between classes: which pixels lie there, and how well those of an answer meet those of the truth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from rsprune_lib.confusion import mean
from rsprune_lib.errors import ModelError
from rsprune_lib.models import evaluating, placement
from rsprune_lib.tasks import IGNORE, task_of

__all__ = ["boundary_counts", "boundary_f1", "edges_of"]


def edges_of(masks: Tensor, radius: int = 2) -> Tensor:
    """Returns which pixels lie at a boundary: 1 where a pixel of another class is near, else 0.

    Symmetric (both sides of a boundary) and independent of class numbers and colours.

    Args:
        masks: (B, H, W) int64 classes, `IGNORE` where unknown; such pixels make no edge, and are `IGNORE` here too.
        radius: pixels, along both axes, within which the other class must be.
    """
    values, unknown_ = masks[:, None].float(), (masks == IGNORE)[:, None]
    most = _largest(values.masked_fill(unknown_, -torch.inf), radius)
    least = -_largest(-values.masked_fill(unknown_, torch.inf), radius)
    return (most != least)[:, 0].long().masked_fill(unknown_[:, 0], IGNORE)


def _largest(values: Tensor, radius: int) -> Tensor:
    """The largest value within a radius along both axes; one axis at a time."""
    side = 2 * radius + 1
    rows = F.max_pool2d(values, (side, 1), stride=1, padding=(radius, 0))
    return F.max_pool2d(rows, (1, side), stride=1, padding=(0, radius))


def boundary_counts(answers: Tensor, masks: Tensor, classes: int, radius: int = 2) -> Tensor:
    """Boundary pixels of each image and class, and those near a boundary of the same class on the other side.

    A boundary pixel has a pixel of another class beside it; pixels unknown in the truth count nowhere.

    Args:
        answers: (B, H, W) int64 classes.
        masks: (B, H, W) int64 true classes, `IGNORE` where unknown.
        classes: K.
        radius: pixels, along both axes, within which boundaries meet.

    Returns:
        (B, K, 4) int64: boundary pixels of the answer, those of them near the truth's, boundary pixels of the truth,
        those of them near the answer's. Sums over images are counts of the set.
    """
    lines = []
    for values in (answers.masked_fill(masks == IGNORE, IGNORE), masks):
        edge = (edges_of(values, 1) == 1)[:, None]
        lines.append(F.one_hot(values.clamp_min(0), classes).permute(0, 3, 1, 2) * edge)  # (B, K, H, W)
    counts = []
    for own, other in (lines, lines[::-1]):
        near = own * (_largest(other.float(), radius) > 0)
        counts += [own.sum((2, 3)), near.sum((2, 3))]
    return torch.stack(counts, 2)


def boundary_f1(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], radius: int = 2, *, progress: bool = True
) -> tuple[float, np.ndarray]:
    """Boundary F1 of a segmentation network: precision and recall of boundary pixels within a few pixels.

    Counts are summed over the images, class by class (after https://doi.org/10.5244/C.27.32, which averages images).

    Args:
        model: a segmentation network.
        batches: (images, masks).
        radius: pixels within which a boundary counts as met; a number means little without it.
        progress: show a progress bar.

    Returns:
        Its mean over the classes, and that of each class, (K,); NaN for a class without boundaries.

    Raises:
        ModelError: there was no batch.
    """
    task, (device, dtype), total = task_of(model, batches), placement(model), None
    with evaluating(model), torch.inference_mode():
        for images, masks in tqdm(batches, desc="boundaries", unit="batch", leave=False, disable=not progress):
            logits = task.final(model(images.to(device, dtype)))
            found = boundary_counts(logits.argmax(1), masks.to(device), logits.shape[1], radius).sum(0).cpu()
            total = found if total is None else total + found
    if total is None:
        raise ModelError("There is no image to find boundaries in; give batches of a part that has images.")
    answered, met, true, found = total.double().numpy().T  # (K,) each
    with np.errstate(invalid="ignore"):
        precision, recall = met / answered, found / true
        f1 = np.where(met + found > 0, 2 * precision * recall / (precision + recall), 0.0)
    f1[answered + true == 0] = np.nan
    return mean(f1), f1
