"""Checks of the exercises in notebook 02: the gate, its statistics, and folding down to a bare convolution."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close
from rsprune_lib.models import SqueezeExcite

__all__ = ["check_fold_convolution", "check_gate", "check_moments"]


@exercise("z = mean of x over H and W; h = max(0, z W1ᵀ + b1); gate = 1 / (1 + exp(-(h W2ᵀ + b2)))")
def check_gate(gate: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> Passed:
    """Checks ``gate(x, w1, b1, w2, b2) -> (B, C)``: squeeze, two small layers, sigmoid; x: (B, C, H, W)."""
    hint = (
        "Squeeze: the mean over height and width only. Excite: w1 and b1, ReLU, w2 and b2, sigmoid. One row an image."
    )
    draw = torch.Generator().manual_seed(3)
    block, x = SqueezeExcite(6, reduction=3), torch.rand(2, 6, 3, 5, generator=draw)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
        right = block.gate(x)
    value = call(gate, x, block.fc1.weight, block.fc1.bias, block.fc2.weight, block.fc2.bias, hint=hint)
    if isinstance(value, Tensor):
        value = value.detach()
    expect_close("the gates of two images", value, right, hint)
    return Passed("That is the whole block: two numbers a channel in, one gate a channel out.")


@exercise("mean = Σ g / N; variance = Σ g² / N - mean², both sums over all N images of all batches")
def check_moments(moments: Callable[[list[Tensor]], tuple[Tensor, Tensor]]) -> Passed:
    """Checks ``moments(batches) -> (mean, variance)``, each (C,), over all images of a list of (B, C) gates."""
    hint = "Sum over images, then divide by their number once: the last batch is shorter than the others."
    batches = [torch.tensor([[0.2, 0.4], [0.4, 0.8]]), torch.tensor([[0.9, 0.0]])]
    mean, var = _pair(call(moments, batches, hint=hint))
    expect_close("the mean gate", mean, [0.5, 0.4], hint)
    divisor = "Divide by N, not by N − 1: this is the variance over the images that there are."
    expect_close("the variance", var, [0.26 / 3, 0.32 / 3], divisor)
    fine = "These gates differ by one thousandth of a percent. Turn them into float64 before you square and add."
    close = 0.5 + 2.0**-17 * torch.tensor([[1.0], [-1.0]])  # exact in float32
    _, var = _pair(call(moments, [close] * 500, hint=fine))
    expect_close(
        "the variance of nearly constant gates, times 2 to the power of 34,", 2.0**34 * var, [1.0], fine, tolerance=1e-3
    )
    return Passed("Exact to the last image, and still exact where the gates hardly move.")


@exercise("f = gate · gamma / √(var + eps); weight' = f · weight; bias' = gate · beta - f · mean")
def check_fold_convolution(
    fold: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, Tensor], tuple[Tensor, Tensor]],
) -> Passed:
    """Checks ``fold(weight, gamma, beta, mean, var, eps, gate) -> (weight, bias)`` of the one convolution left."""
    hint = (
        "Write the output as gate · (γ · (w∗x − mean) / sqrt(var + eps) + β) and sort it: what multiplies w∗x, and "
        "what is left over?"
    )
    draw = torch.Generator().manual_seed(5)
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0.1).eval()
    with torch.no_grad():
        for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean):
            tensor.copy_(torch.randn(tensor.shape, generator=draw))
        norm.running_var.copy_(0.5 + torch.rand(4, generator=draw))
        gate, x = torch.rand(4, generator=draw), torch.randn(2, 3, 5, 5, generator=draw)
        right = torch.relu(norm(conv(x))) * gate[:, None, None]
        before = conv.weight.clone()
        parts = conv.weight.data, norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var, norm.eps, gate
        weight, bias = _pair(call(fold, *parts, hint=hint), "weight, bias")
        expect_close("the shape of the weight", list(weight.shape), list(before.shape), hint)
        expect_close("the shape of the bias", list(bias.shape), [4], hint)
        if not torch.equal(conv.weight, before):
            raise CheckFailed("fold changed the weight in place.", "Return a new tensor: weight * factor.")
        got = torch.relu(nn.functional.conv2d(x, weight, bias))
    expect_close("the output of conv, ReLU with your weight and bias", got, right, hint, tolerance=1e-4)
    return Passed("Convolution, batch norm and gate are one convolution now: this is what a deployed network runs.")


def _pair(value: object, names: str = "mean, variance") -> tuple[Tensor, Tensor]:
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(isinstance(v, Tensor) for v in value):
        raise CheckFailed(f"Got a {type(value).__name__}; expected two tensors ({names}).", "return first, second")
    return value[0], value[1]
