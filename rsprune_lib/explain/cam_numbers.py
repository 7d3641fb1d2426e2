"""Class maps in numbers: do they move, do they point at the object, does the network need those pixels?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from rsprune_lib.errors import ModelError
from rsprune_lib.explain.cam import ClassMaps
from rsprune_lib.models import evaluating, placement
from rsprune_lib.tasks import task_of

__all__ = ["Pointing", "erasing", "map_agreement", "mean_interval", "pointing", "road"]


@dataclass(frozen=True, eq=False)
class Pointing:
    """Whether maps lie on the object, image by image; NaN where a map is blank or there is no object.

    Attributes:
        hit: (B,) 1 where the largest value of the map lies on the object (the pointing game,
            https://arxiv.org/abs/1608.00507), else 0.
        inside: (B,) share of the map's sum that lies on the object (https://arxiv.org/abs/1910.01279).
        area: (B,) share of the image that the object covers: what chance gives for both.
    """

    hit: np.ndarray
    inside: np.ndarray
    area: np.ndarray


def map_agreement(one: ClassMaps, other: ClassMaps) -> np.ndarray:
    """Pearson's correlation of two maps of each image, over its pixels: (B,) in [-1, 1], NaN where one is blank.

    Raises:
        ModelError: the maps are of other images or for other classes.
    """
    if one.maps.shape != other.maps.shape or (one.classes != other.classes).any():
        raise ModelError(
            f"Got maps of shape {one.maps.shape} and {other.maps.shape} for classes {one.classes.tolist()} and "
            f"{other.classes.tolist()}; compare maps of the same images for the same classes."
        )
    centred = [m.maps.reshape(len(m.maps), -1).astype(np.float64) for m in (one, other)]
    a, b = (values - values.mean(1, keepdims=True) for values in centred)
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), size, out=np.full(len(a), np.nan), where=size > 0)


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean over images, and the interval in which it lies (Student's t); NaN is left out.

    Args:
        values: a number for each image.
        confidence: of the interval.

    Returns:
        The mean, the lower and the upper end; all NaN without two numbers.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return (math.nan,) * 3
    half = stats.t.ppf(0.5 + confidence / 2, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known))
    return float(known.mean()), float(known.mean() - half), float(known.mean() + half)


def pointing(found: ClassMaps, objects: np.ndarray) -> Pointing:
    """Compares maps with the pixels of the objects.

    Args:
        found: maps.
        objects: (B, H, W) bool, the pixels of each map's class.

    Raises:
        ModelError: the shapes differ.
    """
    if objects.shape != found.maps.shape:
        raise ModelError(f"Got objects of shape {objects.shape} for maps of shape {found.maps.shape}.")
    B = len(objects)
    flat, on = found.maps.reshape(B, -1), objects.reshape(B, -1).astype(bool)
    known = ~found.blank & on.any(1)
    hit = np.where(known, on[np.arange(B), flat.argmax(1)], np.nan)
    total = np.where(known, flat.sum(1), np.nan)
    return Pointing(hit, (flat * on).sum(1) / total, np.where(known, on.mean(1), np.nan))


@torch.no_grad()
def erasing(
    model: nn.Module, images: Tensor, found: ClassMaps, *, insert: bool = False, steps: int = 8, blur: float = 5.0
) -> np.ndarray:
    """Probability of each map's class while pixels go, the most important ones first (deletion), or come (insertion).

    Erased pixels take the values of the blurred image. The mean over the steps is the area under the curve: small for
    deletion, large for insertion, if the map shows what the network needs (https://arxiv.org/abs/1806.07421).

    Args:
        model: a classifier.
        images: (B, 3, H, W), normalised, those of the maps.
        found: maps.
        insert: begin with the blurred image and bring the pixels back.
        steps: equal shares of the pixels.
        blur: deviation of the blur, in pixels.

    Returns:
        (steps + 1, B) probabilities.
    """
    B, _, H, W = images.shape
    if found.maps.shape != (B, H, W):
        raise ModelError(f"Got maps of shape {found.maps.shape} for images of shape {tuple(images.shape)}.")
    order = torch.from_numpy(found.maps).reshape(B, -1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(B, 1, H, W)  # 0 is the most important pixel
    side = 2 * int(3 * blur) + 1
    hazy = gaussian_blur(images, [min(side, 2 * (H // 2) - 1), min(side, 2 * (W // 2) - 1)], [blur, blur])
    task, device_and_type, rows = task_of(model), placement(model), torch.arange(B)
    curve = []
    with evaluating(model):
        for step in range(steps + 1):
            taken = rank < step * H * W / steps
            shown = torch.where(taken == insert, images, hazy)
            logits = task.final(model(shown.to(*device_and_type)))
            curve.append(logits.double().softmax(1).cpu()[rows, torch.from_numpy(found.classes)].numpy())
    return np.stack(curve)


def road(
    model: nn.Module,
    images: Tensor,
    found: ClassMaps,
    *,
    percentiles: tuple[int, ...] = (20, 40, 60, 80),
    seed: int = 0,
) -> np.ndarray:
    """ROAD of each map (https://arxiv.org/abs/2202.00449), by pytorch-grad-cam: (B,), larger is better, 0 for chance.

    Pixels are replaced by what their neighbours suggest, so that the shape of the hole says nothing. Half the
    difference of the logit of the class after erasing the least and the most important pixels. Slow: a sparse system
    for each image and percentile, twice.

    Args:
        model: a classifier.
        images: (B, 3, H, W), normalised, those of the maps.
        found: maps.
        percentiles: shares of erased pixels.
        seed: of the noise in what is filled in.
    """
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(int(label)) for label in found.classes]
    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        measure = ROADCombined(percentiles=list(percentiles))
        return np.asarray(measure(images.cpu(), found.maps, targets, model.eval()), dtype=np.float64)
