"""How hard a loss pulls: as a curve over the probability of the true class, and on each sample of a real network.

A loss is often drawn against the probability p_t of the true class. What moves a network is the gradient on its
*logits*, and the softmax between the two multiplies every slope by p_t (1 - p_t): a steep curve need not pull.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import TrainingError

__all__ = ["LossCurve", "loss_curve", "pull_shares", "sample_pulls"]


@dataclass(frozen=True)
class LossCurve:
    """A loss along the probability of the true class, the other classes sharing the rest equally.

    Attributes:
        p: (P,) probability of the true class.
        value: (P,) the loss of one sample.
        slope: (P,) dL/dp_t, negative where a higher probability is rewarded.
        pull: (P,) -dL/dz_t, the push that the logit of the true class gets.
    """

    p: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    pull: np.ndarray


def loss_curve(loss: nn.Module, p: np.ndarray, num_classes: int = 10) -> LossCurve:
    """Evaluates a loss and its derivatives (by autograd) along the probability of the true class.

    Args:
        loss: (logits (B, K), classes (B,)) -> mean over the batch.
        p: (P,) probabilities inside (0, 1).
        num_classes: K, at least 2.

    Raises:
        TrainingError: a probability is not inside (0, 1), or there are fewer than two classes.

    Example:
        >>> loss_curve(nn.CrossEntropyLoss(), np.array([0.5])).slope.round(4).tolist()
        [-2.0]
    """
    p = np.asarray(p, dtype=np.float64)
    if num_classes < 2 or p.ndim != 1 or not ((p > 0) & (p < 1)).all():
        raise TrainingError(
            f"Got {num_classes} classes and probabilities from {p.min()} to {p.max()}; expected at least two classes "
            "and probabilities between 0 and 1."
        )
    true = torch.from_numpy(p).requires_grad_()
    other = ((1 - true) / (num_classes - 1))[:, None].expand(-1, num_classes - 1)
    logits = torch.cat([true[:, None], other], dim=1).log()  # (P, K)
    target = torch.zeros(len(p), dtype=torch.int64)
    value = torch.stack([loss(row[None], target[:1]) for row in logits])
    slope, logit = torch.autograd.grad(value.sum(), (true, logits))
    return LossCurve(p, *(v.detach().double().numpy() for v in (value, slope, -logit[:, 0])))


def sample_pulls(loss: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """Returns how hard a loss pulls at each sample: the length of its gradient on the sample's logits.

    Args:
        loss: (logits (N, K), classes (N,)) -> mean over the batch.
        logits: (N, K) before softmax.
        labels: (N,) true classes.

    Returns:
        (N,) float32, at least 0.
    """
    logits = logits.detach().float().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
    return gradient.norm(dim=1) * len(logits)


def pull_shares(pulls: Tensor, difficulty: Tensor, bins: int = 10) -> Tensor:
    """Sorts samples by difficulty into bins of equal size and returns each bin's share of the total pull.

    Args:
        pulls: (N,) what `sample_pulls` returns.
        difficulty: (N,) larger is harder, e.g. the cross-entropy of each sample.
        bins: as many as there are samples, where there are fewer.

    Returns:
        (bins,) shares that sum to 1, the easiest bin first.

    Raises:
        TrainingError: there is no sample.
    """
    if not len(pulls):
        raise TrainingError("Got no sample to share the pull among; give at least one.")
    ordered = pulls.double()[difficulty.argsort(stable=True)]
    total = torch.stack([part.sum() for part in ordered.tensor_split(min(bins, len(pulls)))])
    return total / total.sum().clamp_min(1e-30)
