"""Solutions of the exercises in notebook 04."""

import torch
from torch import Tensor
from torch.nn import functional as F


def hardest_class(losses: Tensor, labels: Tensor) -> int:
    """Returns the class with the largest mean loss; ``clamp`` keeps a class without samples at zero."""
    total = torch.zeros(int(labels.max()) + 1).index_add(0, labels, losses)
    return int((total / torch.bincount(labels).clamp(min=1)).argmax())


def mining_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The loss of the published code: one gather takes each sample's own probability, no loop over the batch."""
    p_true = logits.softmax(dim=1).gather(1, target[:, None]).squeeze(1)
    d = 2 / logits.shape[1] * (1 - p_true)
    return torch.exp(d + d * d).mean() + F.cross_entropy(logits, target)


def logit_pull(p: Tensor) -> Tensor:
    """The slope (1 + 2d) exp(d + d²) times the softmax's p (1 - p)."""
    d = 1 - p
    return (1 + 2 * d) * torch.exp(d + d * d) * p * (1 - p)
