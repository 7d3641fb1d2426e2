"""Losses of segmentation: classes weighted by how rare they are, Dice, sums of losses, and body and edge.

Every loss works on float32, leaves pixels with `IGNORE` out, is 0 for a batch without a labelled pixel, and never
writes into its targets. Body and edge: https://doi.org/10.1109/IGARSS47720.2021.9554244; `BodyEdgeLoss` says what
differs from its code by default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.data.minority import training_pixels
from rsprune_lib.errors import TrainingError, unknown
from rsprune_lib.measure import edges_of
from rsprune_lib.tasks import IGNORE, Parts

if TYPE_CHECKING:
    from rsprune_lib.data import Dataset

__all__ = ["BodyEdgeLoss", "CrossEntropy", "DiceLoss", "SumLoss", "WeightedCE", "class_weights"]

_LEAST = 1e-14  # inside of logarithms
_WEIGHTINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda share: np.where(share > 0, 2 - share, 1.0),
    "inverse_log": lambda share: 1 / np.log(1.10 + share),
    "balanced": lambda share: np.where(share > 0, 1 / (np.count_nonzero(share) * np.maximum(share, _LEAST)), 1.0),
}


class CrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy that is 0, not NaN, for masks without a labelled pixel."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss of logits (B, K, ...) against classes (B, ...) or probabilities."""
        if target.is_floating_point() or target.ndim == 1:
            return super().forward(logits, target)
        return _summed(logits, target, self.weight, self.label_smoothing) / (target != IGNORE).sum().clamp_min(1)


class WeightedCE(nn.Module):
    """Cross-entropy with a fixed weight for each class: the rarer in the training part, the heavier.

    Args:
        weighting: ``"linear"``, ``1 + (1 - p)`` of a class with the share p of all labelled pixels, so in [1, 2]; or
            ``"inverse_log"``, ``1 / ln(1.10 + p)``, in [1.35, 10.5] (https://arxiv.org/abs/1606.02147 has 1.02); or
            ``"balanced"``, 1 / (K p): all K classes count the same, and a pixel weighs 1 in the mean
            (https://arxiv.org/abs/1511.00561 has it with another factor).
        label_smoothing: In [0, 1).
        every_pixel: Divide by the number of all pixels, unknown ones too, as the published code does: padding then
            makes the gradient smaller. By default, by that of the labelled ones.
        weights: One a class, in place of ``weighting``.
    """

    def __init__(
        self,
        weighting: str = "linear",
        label_smoothing: float = 0.0,
        every_pixel: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if weighting not in _WEIGHTINGS:
            raise unknown("weighting of classes", weighting, _WEIGHTINGS)
        self.weighting, self.label_smoothing, self.every_pixel = weighting, label_smoothing, every_pixel
        self.given = weights is not None
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32) if self.given else None)

    def prepare(self, data: Dataset) -> None:
        """Takes the weights from the training part."""
        if not self.given:
            self.weights = class_weights(training_pixels(data), self.weighting)

    def ready(self) -> Tensor:
        """The weights, (K,) float32."""
        if self.weights is None:
            raise TrainingError("The weights of the classes are not known; call prepare(data), or give weights=.")
        return self.weights

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss of logits (B, K, ...) against classes (B, ...)."""
        counted = target.numel() if self.every_pixel else (target != IGNORE).sum().clamp_min(1)
        return _summed(logits, target, self.ready(), self.label_smoothing) / counted


class DiceLoss(nn.Module):
    """One minus the mean Dice coefficient of the classes that occur in the batch (https://arxiv.org/abs/1606.04797).

    Sums run over the batch, so that a small object does not decide alone; a class that does not occur has no overlap to
    learn from and is left out.

    Args:
        label_smoothing: In [0, 1); of the targets.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss of logits (B, K, H, W) against classes (B, H, W)."""
        p, (q, known) = logits.float().softmax(1), _one_hot(target, logits.shape[1])
        p, there = p * known, q.sum((0, 2, 3)) > 0
        q = (q * (1 - self.label_smoothing) + self.label_smoothing / q.shape[1]) * known
        dice = 2 * (p * q).sum((0, 2, 3)) / (p + q).sum((0, 2, 3)).clamp_min(_LEAST)
        return ((1 - dice) * there).sum() / there.sum().clamp_min(1)


class SumLoss(nn.Module):
    """The plain sum of some losses.

    Args:
        of: The losses, not of `Parts`.
    """

    def __init__(self, of: Sequence[nn.Module]) -> None:
        super().__init__()
        self.of = nn.ModuleList(of)

    def prepare(self, data: Dataset) -> None:
        """Prepares those that want it."""
        for loss in self.of:
            if hasattr(loss, "prepare"):
                loss.prepare(data)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss of logits (B, K, H, W) against classes (B, H, W)."""
        return sum(loss(logits, target) for loss in self.of)


class BodyEdgeLoss(nn.Module):
    """Sum of the class-weighted cross-entropy, the relaxed loss of the body and the cross-entropy of the edge.

    Body: the mean class probabilities of each 5 x 5 window shall be those of the labels, so that a pixel at a boundary
    may belong to either side. Edge: binary cross-entropy, both sides weighed by the share of the other in the batch.

    Unlike the published code, sums are divided by the pixels (windows) that count, windows with an unknown pixel count
    nowhere, edges lie on both sides of a boundary and do not depend on the colours of the palette; ``legacy`` goes back
    to that code: division by all pixels, all windows, edges of the grey palette.

    Args:
        weighting: See `WeightedCE`.
        label_smoothing: Of the cross-entropy of the classes.
        radius: Pixels on each side of a boundary that are edge.
        window: Pixels a side of the body's windows.
        legacy: As published.
        weights: See `WeightedCE`.
    """

    parts: ClassVar[bool] = True

    def __init__(
        self,
        weighting: str = "linear",
        label_smoothing: float = 0.0,
        radius: int = 2,
        window: int = 5,
        legacy: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.radius, self.window, self.legacy = radius, window, legacy
        self.classes = WeightedCE(weighting, label_smoothing, every_pixel=legacy, weights=weights)
        self.register_buffer("grey", None)

    def prepare(self, data: Dataset) -> None:
        """Takes the weights of the classes from the training part; legacy: the grey levels of the palette, too."""
        self.classes.prepare(data)
        if self.legacy:
            if data.palette is None:
                raise TrainingError(f"{data.title} has no palette, which the published edges come from; use body_edge.")
            self.grey = (torch.tensor(data.palette).float() @ torch.tensor([0.299, 0.587, 0.114])).round()

    def forward(self, outputs: Parts, target: Tensor) -> Tensor:
        """Returns the scalar loss of what a network with body and edge heads returns against classes (B, H, W)."""
        return self.classes(outputs.logits, target) + self.body(outputs.body, target) + self.edge(outputs.edge, target)

    def body(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the boundary-relaxed loss of logits (B, K, H, W): 0 where windows have the labels' proportions."""
        q, known = _one_hot(target, logits.shape[1])
        side = min(self.window, *target.shape[1:])
        P, Q = (F.avg_pool2d(values, side, stride=1) for values in (logits.float().softmax(1), q))
        each = (Q * ((Q + _LEAST).log() - (P + _LEAST).log())).mul(self.classes.ready().view(1, -1, 1, 1)).sum(1)
        if self.legacy:
            return each.sum() / target.numel()
        whole = F.avg_pool2d(known, side, stride=1)[:, 0] > 1 - 0.5 / side**2
        return (each * whole).sum() / whole.sum().clamp_min(1)

    def edge(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of edge logits (B, H, W)."""
        edges = _darker_sides(target, self.grey) if self.legacy else edges_of(target, self.radius)
        known, edge = edges != IGNORE, edges == 1
        count, positive = known.sum().clamp_min(1), edge.sum()
        weight = torch.where(edge, 2 - positive / count, 1 + positive / count) * known
        each = F.binary_cross_entropy_with_logits(logits.float(), edge.float(), weight, reduction="sum")
        return each / (target.numel() if self.legacy else count)


def class_weights(pixels: np.ndarray, weighting: str = "linear") -> Tensor:
    """Returns the weight of each class, (K,) float32.

    Args:
        pixels: (K,) labelled pixels of each class in the training part.
        weighting: See `WeightedCE`.
    """
    return torch.from_numpy(_WEIGHTINGS[weighting](pixels / max(pixels.sum(), 1)).astype(np.float32))


def _darker_sides(masks: Tensor, grey: Tensor | None) -> Tensor:
    """Edges as published: a Laplacian of grey levels (K,) with its negative half cut, blurred, all above 0."""
    if grey is None:
        raise TrainingError("The grey levels of the palette are not known; call prepare(data).")
    levels = torch.where(masks == IGNORE, 0, grey.to(masks.device)[masks.clamp_min(0)])[:, None]
    laplacian = levels.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    sharp = F.conv2d(F.pad(levels, (1, 1, 1, 1), mode="reflect"), laplacian).clamp(0, 255)
    bell = torch.exp(-(torch.arange(-2, 3, device=masks.device) ** 2) / (2 * 1.1**2))
    blur = torch.outer(bell, bell)[None, None] / bell.sum() ** 2
    soft = F.conv2d(F.pad(sharp, (2, 2, 2, 2), mode="reflect"), blur).round()[:, 0]
    return (soft > 0).long().masked_fill(masks == IGNORE, IGNORE)


def _summed(logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    return F.cross_entropy(
        logits.float(), target, weight, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )


def _one_hot(target: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Targets (B, H, W) as (B, K, H, W) float32 with zeros where unknown, and what is known, (B, 1, H, W)."""
    known = (target != IGNORE)[:, None].float()
    q = torch.zeros(len(target), classes, *target.shape[1:], device=target.device)
    return q.scatter_(1, target.clamp_min(0)[:, None], 1.0) * known, known
