"""A layer's least squares in a few dimensions: what the kept inputs know of the removed ones, as a low-rank correction.

The solution for some of the inputs is the solution for all of them, solved once, plus what the kept inputs tell of the
removed ones: W_kept + cov(kept, kept)^-1 cov(kept, removed) W_removed. Only that second part needs the covariance, and
the inputs of a late layer (k * k * C of them) vary together in far fewer directions. So the covariance is modelled as a
low-rank part and a diagonal (as in factor analysis): a plan's system then has the size of the rank, whatever the
layer's width, and the less is removed, the less depends on the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsprune_lib.pruning.calibration import RecoveryError
from rsprune_lib.pruning.recovery.least_squares import Moments, Solution, as_solution, factorise, pick

__all__ = ["LowRank", "low_rank"]

_SWEEPS = 2  # power iterations of the range finder


@dataclass(frozen=True)
class LowRank:
    """A layer's solution, and what it takes to give inputs up; for each of its G groups.

    The model of the damped covariance is ``basis basis' + diag(noise)``.

    Attributes:
        mean_x: (G, D) mean of the inputs.
        mean_t: (G, O / G) mean of the targets.
        weight: (G, D, O / G) the solution for all inputs; what is left of it after a cut.
        var: (G, O / G) variance of the output; after a cut without what the removed inputs had of their own.
        own: (G, O / G) what the inputs add to that each on its own = noise' weight^2.
        basis: (G, D, R) leading eigenvectors of the covariance, each times the root of its eigenvalue.
        noise: (G, D) what they leave of every input's variance, and the damping.
        image: (G, R, O / G) = basis' weight.
        lost: (G, R, O / G) the same of the inputs that were removed.
        gram: (G, R, R) = basis' diag(1 / noise) basis.
    """

    mean_x: Tensor
    mean_t: Tensor
    weight: Tensor
    var: Tensor
    own: Tensor
    basis: Tensor
    noise: Tensor
    image: Tensor
    lost: Tensor
    gram: Tensor

    def cut(self, rows: Tensor, outputs: Tensor) -> LowRank:
        """Returns the same with some inputs and some outputs (of a layer with one group)."""
        gone = torch.ones(self.mean_x.shape[1], dtype=torch.bool, device=rows.device)
        gone[rows] = False
        gone = gone.nonzero().flatten()
        kept, image, own = self._part(rows, outputs), self.image[:, :, outputs], self.own[:, outputs]
        if len(gone) < len(rows):  # whichever of the two products is the smaller one
            removed = self._part(gone, outputs)
            missing, gram, left = removed.image(), self.gram - removed.gram(), own - removed.own()
        else:
            missing, gram, left = image - kept.image(), kept.gram(), kept.own()
        return LowRank(
            self.mean_x[:, rows], self.mean_t[:, outputs], kept.weight, self.var[:, outputs] - (own - left), left,
            kept.basis, kept.noise, image - missing, self.lost[:, :, outputs] + missing, gram,
        )  # fmt: skip

    def solve(self, layer: nn.Module) -> Solution:
        """Returns the solution for the inputs that are left: one Cholesky factorisation of the rank's size.

        Args:
            layer: gives the shape of the weights.

        Raises:
            RecoveryError: there is no finite solution.
        """
        system = self.gram.clone()
        system.diagonal(dim1=1, dim2=2).add_(1)
        factor, failed = torch.linalg.cholesky_ex(system)
        told = torch.cholesky_solve(self.lost, factor)
        weight = torch.baddbmm(self.weight, self.basis / self.noise[:, :, None], told)
        if failed.any() or not weight.sum().isfinite():
            raise RecoveryError("A layer's least-squares solution is not finite; check images and network for NaN.")
        return as_solution(weight, self.mean_x, self.mean_t, self.var - (self.lost * told).sum(1), layer)

    def _part(self, rows: Tensor, outputs: Tensor) -> _Part:
        return _Part(pick(self.weight, rows, outputs), self.basis[:, rows], self.noise[:, rows])


@dataclass(frozen=True)
class _Part:
    """Some of the inputs: the rows of `LowRank` that are theirs."""

    weight: Tensor
    basis: Tensor
    noise: Tensor

    def image(self) -> Tensor:
        return self.basis.mT @ self.weight

    def gram(self) -> Tensor:
        return self.basis.mT @ (self.basis / self.noise[:, :, None])

    def own(self) -> Tensor:
        return torch.einsum("gd,gdo->go", self.noise, self.weight.square())


def low_rank(moments: Moments, rank: int, ridge: float = 1e-4) -> LowRank:
    """Solves a layer once for all inputs, and keeps the leading directions of their covariance.

    Those are found by a randomised range finder (Halko, Martinsson, Tropp, https://arxiv.org/abs/0909.4061), always
    with the same random numbers.

    Args:
        moments: of the layer's inputs and targets.
        rank: directions to keep, at most the number of inputs.
        ridge: relative to the mean variance of an input.

    Raises:
        RecoveryError: there is no finite solution.
    """
    covariance, factor = moments.covariance, factorise(moments, ridge)
    weight = torch.cholesky_solve(moments.cross, factor.lower)
    G, D, _ = covariance.shape
    random = torch.Generator().manual_seed(0)
    found = torch.randn(G, D, rank, generator=random, dtype=covariance.dtype).to(covariance.device)
    for _ in range(1 + _SWEEPS):
        found = torch.linalg.qr(covariance @ found).Q
    values, vectors = torch.linalg.eigh(found.mT @ (covariance @ found))
    basis = (found @ vectors) * values.clamp_min(0).sqrt()[:, None]
    rest = (covariance.diagonal(dim1=1, dim2=2) - basis.square().sum(2)).clamp_min(0)
    noise = rest + factor.damping[:, None]
    whole = _Part(weight, basis, noise)
    var = ((moments.cross - factor.damping[:, None, None] * weight) * weight).sum(1)
    image = whole.image()
    return LowRank(
        moments.mean_x, moments.mean_t, weight, var, whole.own(), basis, noise, image, torch.zeros_like(image),
        whole.gram(),
    )  # fmt: skip
