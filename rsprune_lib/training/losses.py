"""Losses by name, one entry each: cross-entropy, focal, the adaptive mining loss, and those of segmentation."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.entries import Entry, find
from rsprune_lib.errors import TrainingError, unknown
from rsprune_lib.tasks import IGNORE, Task
from rsprune_lib.training.segmentation_losses import BodyEdgeLoss, CrossEntropy, DiceLoss, SumLoss, WeightedCE

__all__ = ["LOSSES", "FocalLoss", "MiningLoss", "losses_for", "make_loss"]


def _soft_targets(target: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Returns targets as probabilities, (B, K): one-hot if ``target`` holds classes, smoothed towards uniform."""
    soft = F.one_hot(target, num_classes).float() if target.ndim == 1 else target.float()
    return soft * (1 - smoothing) + smoothing / num_classes


class MiningLoss(nn.Module):
    """Adaptive mining loss: ``r1 * mean(exp(d + d²)) + r2 * CE``, ``d`` being the distance to the target.

    Samples that are still wrong have a large ``d`` and an exponentially larger pull, as if they were mined. Paper:
    RemoteTrimmer, https://arxiv.org/abs/2412.12603. Its published code and its figure disagree on ``d``:

    * ``distance="mean"`` (preset ``code``): the mean over classes of ``|p - y|``, which is ``(2/K)(1 - p_t)`` for a
      one-hot target. With ten classes it never leaves [0, 0.2], so the exponential stays almost flat.
    * ``distance="tv"`` (preset ``figure``): half the sum of ``|p - y|``, which is ``1 - p_t`` and uses all of [0, 1];
      with ``r2 = 0.4`` it reproduces the curve the authors plot.

    Args:
        distance: ``"tv"`` or ``"mean"``.
        r1: Weight of the exponential term.
        r2: Weight of the cross-entropy term.
        label_smoothing: In [0, 1); applied to both terms.
    """

    def __init__(self, distance: str = "tv", r1: float = 1.0, r2: float = 0.4, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if distance not in ("mean", "tv"):
            raise unknown("mining distance", distance, ("mean", "tv"))
        self.distance, self.r1, self.r2, self.label_smoothing = distance, r1, r2, label_smoothing

    def exponential(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the exponential term of each sample, (B,); it is 1 where the prediction is perfect."""
        p = logits.float().softmax(dim=1)  # float32 also under autocast: exp of a rounded sum would step
        gap = (p - _soft_targets(target, p.shape[1], self.label_smoothing)).abs()  # (B, K)
        d = gap.mean(dim=1) if self.distance == "mean" else gap.sum(dim=1) / 2
        return torch.exp(d + d * d)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss of logits (B, K) against classes (B,) or probabilities (B, K)."""
        cross_entropy = F.cross_entropy(logits.float(), target, label_smoothing=self.label_smoothing)
        return self.r1 * self.exponential(logits, target).mean() + self.r2 * cross_entropy


class FocalLoss(nn.Module):
    """Focal loss, ``mean((1 - p_t)^gamma * -log p_t)``: easy samples count less (https://arxiv.org/abs/1708.02002).

    Args:
        gamma: At least 0; 0 is cross-entropy.
        label_smoothing: In [0, 1); the target of the cross-entropy factor.
    """

    def __init__(self, gamma: float = 2.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if gamma < 0:
            raise TrainingError(f"Got gamma={gamma} for the focal loss; expected 0 or more.")
        self.gamma, self.label_smoothing = gamma, label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss of logits (B, K, ...) against classes (B, ...)."""
        log_p = logits.float().log_softmax(dim=1)
        p_t = log_p.gather(1, target.clamp_min(0)[:, None]).squeeze(1).exp()
        each, known = F.nll_loss(log_p, target, reduction="none", ignore_index=IGNORE), target != IGNORE
        if self.label_smoothing:
            each = (1 - self.label_smoothing) * each - self.label_smoothing * log_p.mean(dim=1) * known
        return ((1 - p_t).clamp_min(1e-8) ** self.gamma * each).sum() / known.sum().clamp_min(1)


def _sum(of: tuple[str, ...] = ("ce", "dice"), label_smoothing: float = 0.0) -> SumLoss:
    return SumLoss([LOSSES[name].run(label_smoothing=label_smoothing) for name in of])


LOSSES: dict[str, Entry] = {
    "ce": Entry("cross-entropy", "every sample counts as its probability says", CrossEntropy),
    "mining": Entry(
        "mining, as the paper plots it", "samples that are still wrong count exponentially more",
        functools.partial(MiningLoss, distance="tv", r1=1.0, r2=0.4), ("labels",),
    ),
    "mining_code": Entry(
        "mining, as its code has it", "the same with a distance that stays small, so almost cross-entropy",
        functools.partial(MiningLoss, distance="mean", r1=1.0, r2=1.0), ("labels",),
    ),
    "focal": Entry("focal", "easy samples count less", FocalLoss),
    "weighted_ce": Entry("cross-entropy, rare classes heavier", "classes weigh 1 + (1 - their share)", WeightedCE),
    "weighted_ce_log": Entry(
        "cross-entropy, rare classes much heavier", "classes weigh 1 / ln(1.10 + their share)",
        functools.partial(WeightedCE, weighting="inverse_log"),
    ),
    "weighted_ce_balanced": Entry(
        "cross-entropy, classes balanced", "every class counts the same, however few its pixels",
        functools.partial(WeightedCE, weighting="balanced"),
    ),
    "dice": Entry("Dice", "every class of a batch counts the same, however few its pixels", DiceLoss, ("masks",)),
    "ce_dice": Entry("cross-entropy + Dice", "the sum of both", _sum, ("masks",)),
    "weighted_focal_dice": Entry(
        "weighted cross-entropy + focal + Dice", "the sum of the three",
        functools.partial(_sum, of=("weighted_ce", "focal", "dice")), ("masks",),
    ),
    "body_edge": Entry(
        "classes + body + edge", "of networks with body and edge heads: all three are trained", BodyEdgeLoss,
        ("masks", "parts"),
    ),
    "body_edge_log": Entry(
        "classes + body + edge, rare classes much heavier",
        "all three are trained, and classes weigh 1 / ln(1.10 + their share)",
        functools.partial(BodyEdgeLoss, weighting="inverse_log"), ("masks", "parts"),
    ),
    "body_edge_balanced": Entry(
        "classes + body + edge, classes balanced", "all three are trained, and every class counts the same",
        functools.partial(BodyEdgeLoss, weighting="balanced"), ("masks", "parts"),
    ),
    "body_edge_paper": Entry(
        "classes + body + edge, as published", "the same as its code has it, with its edges of grey levels",
        functools.partial(BodyEdgeLoss, legacy=True), ("masks", "parts"),
    ),
}  # fmt: skip


def losses_for(task: Task) -> list[str]:
    """Names of the losses that fit what a task gives them."""
    return [name for name, entry in LOSSES.items() if set(entry.needs) <= set(task.gives)]


def make_loss(name: str, task: Task | None = None, **options: Any) -> nn.Module:  # noqa: ANN401 - a loss's own
    """Builds a loss by name; the module maps (logits (B, K, ...), targets (B, ...)) to a scalar.

    It may have a method ``prepare(data)``, which `fit` calls once (weights of classes), and a true attribute ``parts``,
    which says that it takes all outputs of a network with body and edge heads.

    Args:
        name: key of `LOSSES`.
        task: what it shall be used for, to be checked.
        options: Passed on: ``label_smoothing`` to all, ``gamma`` to focal, ``distance``, ``r1``, ``r2`` to mining.

    Raises:
        RspruneError: No loss has that name, or the loss has no such option.
        TrainingError: The loss does not fit the task.
    """
    found = find("loss", LOSSES, name, options)
    if task is not None and name not in (fitting := losses_for(task)):
        raise TrainingError(
            f"The loss {name!r} needs {' and '.join(found.needs)}, but the task is {task.name}; use one of "
            f"{', '.join(fitting)}."
        )
    return found.run(**options)
