"""A layer's least squares in a few dimensions: its input covariance as a low-rank part and a diagonal.

The inputs of a late layer (k * k * C of them) vary in far fewer directions, and cutting channels only picks rows of
those directions. A plan's system then has the size of the rank, whatever the layer's width, and the matrices to keep
shrink from D^2 to D * rank. What the rank leaves out stays as a diagonal (as in factor analysis), so no direction is
taken for free of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsprune_lib.pruning.calibration import RecoveryError
from rsprune_lib.pruning.closed_form import Fit, Moments, as_fit, input_scale

__all__ = ["LowRank", "low_rank"]

_SWEEPS = 2  # power iterations of the range finder


@dataclass(frozen=True)
class LowRank:
    """What the solution of a layer depends on, for each of its G groups; covariance = basis basis' + diag(rest).

    Attributes:
        mean_x: (G, D) mean of the inputs.
        mean_t: (G, O / G) mean of the targets.
        basis: (G, D, R) leading eigenvectors of the covariance, each times the root of its eigenvalue.
        rest: (G, D) what they leave of every input's variance.
        cross: (G, D, O / G) covariance of inputs and targets.
        power: (G, D) mean square of the inputs.
    """

    mean_x: Tensor
    mean_t: Tensor
    basis: Tensor
    rest: Tensor
    cross: Tensor
    power: Tensor

    def cut(self, rows: Tensor, outputs: Tensor) -> LowRank:
        """Returns the same of some inputs and some outputs (of a layer with one group)."""
        return LowRank(
            self.mean_x[:, rows],
            self.mean_t[:, outputs],
            self.basis[:, rows],
            self.rest[:, rows],
            self.cross.index_select(1, rows).index_select(2, outputs),
            self.power[:, rows],
        )

    def solve(self, layer: nn.Module, ridge: float = 1e-4) -> Fit:
        """Solves the damped normal equations by Woodbury's identity: one Cholesky factorisation of the rank's size.

        Args:
            layer: gives the shape of the weights.
            ridge: relative to the mean variance of an input.

        Raises:
            RecoveryError: there is no finite solution.
        """
        damping = ridge * input_scale((self.basis.square().sum(2) + self.rest).mean(1), self.power)
        scaled = self.basis / (self.rest + damping[:, None])[:, :, None]
        small = self.basis.mT @ scaled
        small.diagonal(dim1=1, dim2=2).add_(1)
        factor, failed = torch.linalg.cholesky_ex(small)
        weight = self.cross / (self.rest + damping[:, None])[:, :, None]
        weight = weight - scaled @ torch.cholesky_solve(scaled.mT @ self.cross, factor)
        if failed.any() or not weight.isfinite().all():
            raise RecoveryError("A layer's least-squares solution is not finite; check images and network for NaN.")
        return as_fit(weight, self.mean_x, self.mean_t, self.cross, damping, layer)


def low_rank(moments: Moments, rank: int) -> LowRank:
    """Keeps the leading directions of a layer's input covariance, found by a randomised range finder.

    Halko, Martinsson, Tropp (https://arxiv.org/abs/0909.4061), always with the same random numbers.

    Args:
        moments: of the layer's inputs and targets.
        rank: directions to keep, below the number of inputs.
    """
    covariance = moments.covariance
    G, D, _ = covariance.shape
    random = torch.Generator().manual_seed(0)
    found = torch.randn(G, D, rank, generator=random, dtype=covariance.dtype).to(covariance.device)
    for _ in range(1 + _SWEEPS):
        found = torch.linalg.qr(covariance @ found).Q
    values, vectors = torch.linalg.eigh(found.mT @ (covariance @ found))
    basis = (found @ vectors) * values.clamp_min(0).sqrt()[:, None]
    rest = (covariance.diagonal(dim1=1, dim2=2) - basis.square().sum(2)).clamp_min(0)
    return LowRank(moments.mean_x, moments.mean_t, basis, rest, moments.cross, moments.power)
