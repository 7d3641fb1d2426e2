"""Solutions of notebook 02. Try first: the checks give hints, and a wrong try teaches more than a right copy."""

import torch
from torch import Tensor


def gate(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Squeeze, excite: (B, C, H, W) -> (B, C). The batch stands in front, so the weights come in from the right."""
    z = x.mean(dim=(2, 3))
    h = torch.relu(z @ w1.T + b1)
    return torch.sigmoid(h @ w2.T + b2)


def moments(batches: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and population variance over all images; wide sums, one division at the end."""
    first = sum(batch.double().sum(dim=0) for batch in batches)
    second = sum(batch.double().square().sum(dim=0) for batch in batches)
    count = sum(len(batch) for batch in batches)
    mean = first / count
    return mean, second / count - mean.square()


def fold_convolution(
    weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float, gate: Tensor
) -> tuple[Tensor, Tensor]:
    """Everything that multiplies w∗x goes into the weight, the rest is the bias."""
    factor = gate * gamma / torch.sqrt(var + eps)
    return weight * factor[:, None, None, None], gate * beta - factor * mean
