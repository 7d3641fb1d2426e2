"""A copy of a network that answers the same in less time, for where an accuracy is wanted between two moves."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rsprune_lib.device import supports_bf16
from rsprune_lib.models import Network, copied, placement, units

__all__ = ["lean"]


def lean(model: nn.Module, *, fuse: bool = False) -> nn.Module:
    """Returns a copy of a network that is quick to evaluate, in evaluation mode; the network is left as it is.

    Channels-last, and those of the course with layers in bfloat16 where the hardware computes it (`supports_bf16`);
    batch norms keep float32 statistics, so they can be estimated in the copy. Rounding to bfloat16 (three significant
    digits) moves single images across a decision boundary: of the order of 0.1 % of them in a good network, fewer than
    the images of an accuracy's confidence interval. Elsewhere the answers are those of the network.

    Args:
        model: the network.
        fuse: compute each batch norm as part of the convolution before it, which saves some passes over the maps.
    """
    device, dtype = placement(model)
    if isinstance(model, Network) and supports_bf16(device):  # parameters outside of layers do not mix with it
        dtype = torch.bfloat16
    fused = dict(_fusible(model)) if fuse else {}
    made: dict[int, nn.Parameter] = {}  # so that the copy below never copies a weight that is converted anyway
    biases: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                weight, bias = module.weight, module.bias
                if name in fused:
                    norm = model.get_submodule(fused[name])
                    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
                    bias = norm.bias - norm.running_mean * scale + (0 if bias is None else bias * scale)
                    weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
                layout = torch.channels_last if weight.dim() == 4 else torch.contiguous_format
                weight = weight.to(dtype).clone(memory_format=layout)
                made[id(module.weight)] = nn.Parameter(weight, requires_grad=False)
                if bias is not None:
                    biases[name] = bias.to(dtype, copy=True)
    worker = copied(model, made).eval()
    for name, bias in biases.items():
        worker.get_submodule(name).bias = nn.Parameter(bias, requires_grad=False)
    for name in fused.values():
        worker.set_submodule(name, nn.Identity())
    return worker


def _fusible(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Convolutions with a batch norm right behind them: (its name, the name of the norm)."""
    for unit in units(model):
        layer, norm = model.get_submodule(unit.layer), model.get_submodule(unit.norm) if unit.norm else None
        if (
            isinstance(layer, nn.Conv2d)
            and isinstance(norm, nn.BatchNorm2d)
            and norm.affine
            and norm.track_running_stats
        ):
            yield unit.layer, unit.norm
