"""Least squares for one layer: its Gram matrices, the solution, and the layer rebuilt around it.

A layer's input patches X (one row a position) and what it should send on, T, enter only through X'X and X'T, which are
summed batch by batch; the patches themselves are never kept. The solution minimises |XW + 1b' - T|^2 + ridge |W|^2.

Lineage: channel pruning by reconstruction (https://arxiv.org/abs/1707.06168), ThiNet (https://arxiv.org/abs/1707.06342).
What differs: the target is the value behind the batch norm (and the SE gate), and the batch norm is rebuilt to pass the
fit through.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import ModelError
from rsprune_lib.pruning.calibration import RecoveryError

__all__ = [
    "Factor",
    "Gram",
    "Moments",
    "Solution",
    "accumulate",
    "as_solution",
    "factorise",
    "input_scale",
    "install",
    "movable",
    "patches",
    "pick",
    "solve",
]  # fmt: skip

_FLOOR = 1e-4  # a variance below this share of the mean square is lost in float32 rounding
_CHUNK = 64 * 2**20  # bytes of patches that are held at once
_BLOCK = 512  # columns of a Gram matrix that are multiplied at once


@dataclass
class Gram:
    """Running totals over the rows (x, 1) and their targets, for each of G groups of a layer.

    Attributes:
        xx: (G, D + 1, D + 1), X'X with a column of ones at the end of X; only the lower triangle is filled.
        xt: (G, D + 1, O / G), X'T.
    """

    xx: Tensor
    xt: Tensor

    def moments(self, centred: bool = True) -> Moments:
        """Returns the totals as means and covariances.

        Args:
            centred: False for a layer that is not `movable` and so must be fitted through the origin: means count as
                zero then, and covariances are mean products.
        """
        xx, xt = self.xx.tril() / self.xx[0, -1, -1], self.xt / self.xx[0, -1, -1]
        xx = xx + xx.tril(-1).mT
        mean_x, mean_t = xx[:, -1, :-1], xt[:, -1]
        if not centred:
            mean_x, mean_t = torch.zeros_like(mean_x), torch.zeros_like(mean_t)
        power = xx.diagonal(dim1=1, dim2=2)[:, :-1]
        covariance = xx[:, :-1, :-1] - mean_x[:, :, None] * mean_x[:, None]
        return Moments(mean_x, mean_t, covariance, xt[:, :-1] - mean_x[:, :, None] * mean_t[:, None], power)


@dataclass(frozen=True)
class Moments:
    """What the least-squares solution of a layer depends on, for each of its G groups.

    Attributes:
        mean_x: (G, D) mean of the inputs.
        mean_t: (G, O / G) mean of the targets.
        covariance: (G, D, D) of the inputs.
        cross: (G, D, O / G) covariance of inputs and targets.
        power: (G, D) mean square of the inputs.
    """

    mean_x: Tensor
    mean_t: Tensor
    covariance: Tensor
    cross: Tensor
    power: Tensor

    def to(self, dtype: torch.dtype) -> Moments:
        """Returns the same numbers in another precision."""
        return Moments(*(value.to(dtype) for value in vars(self).values()))

    def cut(self, rows: Tensor, outputs: Tensor) -> Moments:
        """Returns the moments of some inputs and some outputs, the same in each group of the layer."""
        return Moments(
            self.mean_x[:, rows],
            self.mean_t[:, outputs],
            pick(self.covariance, rows, rows),
            pick(self.cross, rows, outputs),
            self.power[:, rows],
        )


@dataclass(frozen=True)
class Factor:
    """Cholesky factor of a damped covariance.

    Attributes:
        lower: (G, D, D).
        damping: (G,) what was added to the diagonal.
    """

    lower: Tensor
    damping: Tensor


@dataclass(frozen=True)
class Solution:
    """A layer's least-squares solution and the statistics of its output before the bias.

    Attributes:
        weight: in the shape of the layer's: (O, C / G, k, k) for a convolution, (O, C) for a linear layer.
        bias: (O,).
        mean: (O,) mean of the output without bias.
        var: (O,) its variance.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor


def movable(layer: nn.Module, norm: object) -> bool:
    """Whether a constant can be added to what a layer sends on: by its bias, or by the norm behind it."""
    return norm is not None or layer.bias is not None


def pick(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns some rows and columns of (G, M, N) matrices; in two dimensions PyTorch does it five times as fast."""
    if len(matrix) > 1:
        return matrix.index_select(1, rows).index_select(2, columns)
    return matrix[0].index_select(0, rows).index_select(1, columns)[None]


def patches(layer: nn.Module, x: Tensor, at: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
    """Returns what each output position of a layer sees, as rows.

    Args:
        layer: convolution (2-D, any stride, padding, dilation, groups), transposed convolution or linear layer.
        x: its input, (B, C, H, W) or (..., C).
        at: of a convolution: image, row and column of the wanted positions, of one shape together; None: all.

    Returns:
        (N, G, D + 1): N positions, G groups, D = k * k * C / G values in the order (row, column, channel), and a 1.

    Raises:
        ModelError: the layer is of another kind.
    """
    if isinstance(layer, nn.Linear):
        return F.pad(x.reshape(-1, 1, x.shape[-1]), (0, 1), value=1.0)
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        raise ModelError(f"Closed-form recovery knows Conv2d, ConvTranspose2d and Linear layers, got {layer}.")
    (kh, kw), (sh, sw), (dh, dw), G = layer.kernel_size, layer.stride, layer.dilation, layer.groups
    if isinstance(layer, nn.ConvTranspose2d):
        x, (sh, sw) = _spread(layer, x), (1, 1)
    else:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    x = x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)
    B, H, W, C = x.shape
    rows, columns = (H - dh * (kh - 1) - 1) // sh + 1, (W - dw * (kw - 1) - 1) // sw + 1
    b, h, w, c = x.stride()
    strides = (b, h * sh, w * sw, C // G * c, h * dh, w * dw, c)
    seen = x.as_strided((B, rows, columns, G, kh, kw, C // G), strides)  # a view; the next lines copy it once
    seen = seen if at is None else seen[at]
    result = x.new_ones(*seen.shape[:-4], G, kh * kw * C // G + 1)
    result[..., :-1].unflatten(-1, (kh, kw, C // G)).copy_(seen)
    return result.flatten(0, -3)


def _spread(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """What an ordinary convolution of stride 1 with the flipped kernel has to see: pixels apart by the stride."""
    (sh, sw), (dh, dw), (kh, kw) = layer.stride, layer.dilation, layer.kernel_size
    B, C, H, W = x.shape
    wide = x.new_zeros(B, C, (H - 1) * sh + 1, (W - 1) * sw + 1)
    wide[:, :, ::sh, ::sw] = x
    edge = [dw * (kw - 1) - layer.padding[1], dh * (kh - 1) - layer.padding[0]]
    more = layer.output_padding
    return F.pad(wide, (edge[0], edge[0] + more[1], edge[1], edge[1] + more[0]))


def accumulate(gram: Gram | None, layer: nn.Module, x: Tensor, target: Tensor) -> Gram:
    """Adds a batch to the Gram matrices of a layer.

    Products are float32 (a piece of a batch), totals float64: rounding stays that of one piece.

    Args:
        gram: totals so far, None to begin.
        layer: convolution or linear layer.
        x: its input, (B, C, H, W) or (..., C).
        target: what it should send on, (B, O, H', W') or (..., O).
    """
    axis = -1 if isinstance(layer, nn.Linear) else 1
    width = layer.in_features if axis == -1 else layer.in_channels * layer.weight[0, 0].numel()
    step = max(1, _CHUNK // max(1, 4 * width * (target[0].numel() // target.shape[axis])))
    for part, wanted in zip(x.split(step), target.split(step), strict=True):
        rows = patches(layer, part).transpose(0, 1)  # (G, N, D + 1)
        goal = wanted.movedim(axis, -1).reshape(rows.shape[1], len(rows), -1).transpose(0, 1)  # (G, N, O / G)
        if gram is None:
            G, _, D = rows.shape
            gram = Gram(*(rows.new_zeros(G, D, size, dtype=torch.float64) for size in (D, goal.shape[2])))
        for start in range(0, rows.shape[2], _BLOCK):  # the lower triangle only
            block = rows[:, :, start : start + _BLOCK]
            gram.xx[:, start:, start : start + _BLOCK] += rows[:, :, start:].mT @ block
        gram.xt += rows.mT @ goal
    return gram


def solve(moments: Moments, layer: nn.Module, ridge: float = 1e-4, factor: Factor | None = None) -> Solution:
    """Solves a layer's normal equations by Cholesky factorisation.

    The bias is left out of the ridge by centring: W solves (cov + ridge * mean(diag cov) I) W = cross, b = mean(t) -
    mean(x) W. If the factorisation fails, the ridge grows tenfold, up to 1.

    Args:
        moments: of the layer's inputs and targets.
        layer: gives the shape of the weights.
        ridge: relative to the mean variance of an input.
        factor: `factorise` of the moments, if it is there already.

    Raises:
        RecoveryError: there is no finite solution.
    """
    factor = factorise(moments, ridge) if factor is None else factor
    weight = torch.cholesky_solve(moments.cross, factor.lower)  # (G, D, O / G)
    if not weight.sum().isfinite():
        raise RecoveryError("A layer's least-squares solution is not finite; check images and dense network for NaN.")
    # diag W'(covariance)W follows from the equation that W solves: no product with the covariance is needed
    var = ((moments.cross - factor.damping[:, None, None] * weight) * weight).sum(1)
    return as_solution(weight, moments.mean_x, moments.mean_t, var, layer)


def as_solution(weight: Tensor, mean_x: Tensor, mean_t: Tensor, var: Tensor, layer: nn.Module) -> Solution:
    """Puts a solution into the shape of a layer.

    Args:
        weight: (G, D, O / G).
        mean_x: (G, D) mean of the inputs.
        mean_t: (G, O / G) mean of the targets.
        var: (G, O / G) variance of the output.
        layer: gives the shape of the weights.
    """
    mean = torch.einsum("gd,gdo->go", mean_x, weight)
    turned = isinstance(layer, nn.ConvTranspose2d)
    outs, ins = (1, 0) if turned else (0, 1)
    shaped = weight.mT.reshape(layer.weight.shape[outs], *layer.weight.shape[2:], layer.weight.shape[ins])
    shaped = shaped.movedim(-1, 1) if layer.weight.dim() > 2 else shaped
    shaped = shaped.flip(2, 3).transpose(0, 1) if turned else shaped
    return Solution(shaped, (mean_t - mean).flatten(), mean.flatten(), var.clamp_min(0).flatten())


def factorise(moments: Moments, ridge: float) -> Factor:
    """Factorises the damped covariance.

    Args:
        moments: of the layer's inputs.
        ridge: damping, relative to the mean variance of an input.

    Raises:
        RecoveryError: there is no factor, whatever the damping.
    """
    scale = input_scale(moments.covariance.diagonal(dim1=1, dim2=2).mean(1), moments.power)
    while ridge <= 100:  # above 1 where the inputs are constant but for rounding
        damped = moments.covariance.clone()
        damped.diagonal(dim1=1, dim2=2).add_(ridge * scale[:, None])
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed.any():
            return Factor(lower, ridge * scale)
        ridge = max(ridge * 10, 1e-6)
    raise RecoveryError(
        "A layer's least-squares problem has no solution; check the images and the dense network for NaN, or give more "
        "images."
    )


def input_scale(variance: Tensor, power: Tensor) -> Tensor:
    """Returns what a ridge is relative to, (G,): the mean variance of an input, kept above rounding.

    Args:
        variance: (G,) mean over the inputs.
        power: (G, D) mean square of the inputs.
    """
    return variance.maximum(_FLOOR * power.mean(1)).clamp_min(1e-12)


@torch.no_grad()
def install(fit: Solution, layer: nn.Module, norm: nn.Module | None) -> None:
    """Writes a solution into a layer and rebuilds the batch norm behind it so that it passes the fit through.

    Running mean and variance are those of the layer's new output, gamma = sqrt(var + eps), beta = mean + bias: the norm
    is the identity plus the bias in eval mode, and still trains.
    """
    layer.weight.copy_(fit.weight)
    if norm is None:
        if layer.bias is not None:
            layer.bias.copy_(fit.bias)
        return
    if layer.bias is not None:
        layer.bias.zero_()
    norm.running_mean.copy_(fit.mean)
    norm.running_var.copy_(fit.var)
    norm.weight.copy_((fit.var + norm.eps).sqrt())
    norm.bias.copy_(fit.mean + fit.bias)
