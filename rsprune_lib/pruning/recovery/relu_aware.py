"""Least squares that knows of the ReLU: where the target is cut off anyway, the fit may be as negative as it likes.

Behind a ReLU a target of -1 and a fit of -3 are the same, so an error there should not count. The fit minimises

    sum over t > 0 of (t - y)^2  +  sum over t <= 0 of max(y, 0)^2,     y = Wx + b,

by majorisation: replace each target that is cut off by ``min(y, 0)`` of the present fit, solve again, repeat. Each step
lowers the sum; the factorisation of X'X is shared by all, and X'T comes from the layer's own backward pass.

Related: asymmetric reconstruction with a ReLU (https://arxiv.org/abs/1505.06798), which solves it by a relaxation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsprune_lib.models.strides import narrow_stride, skipped
from rsprune_lib.pruning.recovery.least_squares import Factor, Moments, Solution, solve

__all__ = ["Sample", "rectified"]

Sample = tuple[Tensor, Tensor, Tensor | None]  # input, target, and what is added to both fit and target before the ReLU


def rectified(
    fit: Solution,
    moments: Moments,
    factor: Factor,
    layer: nn.Module,
    samples: Callable[[], Iterable[Sample]],
    steps: int,
) -> Solution:
    """Improves a least-squares fit of a layer in front of a ReLU.

    Args:
        fit: the ordinary solution.
        moments: of the layer's inputs and targets.
        factor: of the damped covariance.
        layer: convolution or linear layer; its weights are written over.
        samples: makes an iterable of batches: the input (B, C, ...), the target (B, O, ...) and the shortcut that is
            added before the ReLU, or None.
        steps: how often to solve again.
    """
    for _ in range(steps):
        mean_t, cross = _targets(fit, layer, samples(), moments)
        fit = solve(replace(moments, mean_t=mean_t, cross=cross), layer, factor=factor)
    return fit


def _forward(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's output, past the hooks that a walk has put on it."""
    if not narrow_stride(layer):
        return layer.forward(x)
    return functional.conv2d(skipped(x, layer.stride), layer.weight, layer.bias, groups=layer.groups)


def _targets(fit: Solution, layer: nn.Module, samples: Iterable[Sample], moments: Moments) -> tuple[Tensor, Tensor]:
    """Means of the present targets (G, O / G), and their covariances with the inputs (G, D, O / G)."""
    layer.weight.data.copy_(fit.weight)
    bias, sums, products, count = fit.bias.to(layer.weight.dtype), 0.0, 0.0, 0
    for x, target, shortcut in samples:
        with torch.enable_grad():
            out = _forward(layer, x.detach())
        axis = -1 if isinstance(layer, nn.Linear) else 1
        shape = [1] * out.dim()
        shape[axis] = -1
        own = 0 if layer.bias is None else layer.bias.detach().view(shape)  # no part of the fit
        y = out.detach() - own + bias.view(shape)
        added = torch.zeros_like(y) if shortcut is None else shortcut
        goal = torch.where(target + added > 0, target, torch.minimum(y, -added))
        (product,) = torch.autograd.grad(out, layer.weight, goal)  # X'T, in the shape of the weights
        products, sums = products + product.double(), sums + goal.movedim(axis, 0).flatten(1).double().sum(1)
        count += goal.numel() // goal.shape[axis]
    G, D, K = moments.cross.shape  # K = O / G
    mean_t = (sums / count).view(G, K)
    cross = (products / count).view(G, K, layer.weight.shape[1], -1).transpose(2, 3).reshape(G, K, D).mT
    return mean_t, cross - moments.mean_x[:, :, None] * mean_t[:, None]
