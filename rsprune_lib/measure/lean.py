"""A copy of a network that answers the same in less time, for where an accuracy is wanted between two moves."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rsprune_lib.device import supports_bf16
from rsprune_lib.models import placement

__all__ = ["lean"]


def lean(model: nn.Module, *, fuse: bool = False) -> nn.Module:
    """Returns a copy of a network that is quick to evaluate, in evaluation mode; the network is left as it is.

    Channels-last, and convolutions and linear layers in bfloat16 where the hardware computes it (`supports_bf16`);
    batch norms keep float32 statistics, so they can be estimated in the copy. Rounding to bfloat16 (three significant
    digits) moves single images across a decision boundary: of the order of 0.1 % of them in a good network, fewer than
    the images of an accuracy's confidence interval. Elsewhere the answers are those of the network.

    Args:
        model: the network.
        fuse: compute each batch norm as part of the convolution before it, which saves some passes over the maps.
    """
    worker = copy.deepcopy(model).eval()
    for unit in worker.units() if fuse else ():
        layer, norm = worker.get_submodule(unit.layer), worker.get_submodule(unit.norm) if unit.norm else None
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            worker.set_submodule(unit.layer, fuse_conv_bn_eval(layer, norm))
            worker.set_submodule(unit.norm, nn.Identity())
    worker = worker.to(memory_format=torch.channels_last)
    if supports_bf16(placement(model)[0]):
        for module in worker.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(torch.bfloat16)
    return worker
