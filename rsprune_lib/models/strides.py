"""Narrow 1x1 convolutions with a stride, computed without the part of oneDNN that writes beyond its memory.

On processors without AVX-512, the weight gradient of a 1x1 convolution with a stride, fewer than eight input channels
and channels-last order ends the process ("double free or corruption"). Seeing every second pixel first and taking no
stride then gives the same numbers.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

__all__ = ["narrow_stride", "skipped", "strides_outside"]


def narrow_stride(module: nn.Module) -> bool:
    """Whether the weight gradient of a layer is the one that must not be computed."""
    narrow = isinstance(module, nn.Conv2d) and module.in_channels < 8 and module.kernel_size == (1, 1)
    return narrow and module.stride != (1, 1) and module.padding == (0, 0)


def skipped(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """The pixels (..., H, W) that a stride visits."""
    return x[..., :: stride[0], :: stride[1]]


def strides_outside(model: nn.Module) -> nn.Module:
    """Lets these convolutions of a network see only the pixels that they need, in place; returns the network."""
    for module in model.modules():
        if narrow_stride(module):
            module.register_forward_pre_hook(partial(_skip, module.stride))
            module.stride = (1, 1)
    return model


def _skip(stride: tuple[int, int], _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (skipped(inputs[0], stride),)
