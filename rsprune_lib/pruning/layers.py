"""The table of layer kinds: where each layer's channels stand, how it shrinks, and how its channels are silenced.

Surgery, masking, costs, criteria and recovery all read this table; adding a kind of layer is one entry here and, if its
function is new to `rsprune_lib.pruning.labels`, one rule there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = [
    "KINDS",
    "LayerKind",
    "axis_of",
    "channels",
    "channels_left",
    "deployed_multiple",
    "kind_of",
    "make_cut",
    "makes_channels",
    "mixes",
]


@dataclass(frozen=True)
class LayerKind:
    """Where the channels of a layer live.

    Attributes:
        out: tensor name -> dimension that is indexed by the channels that the layer sends on.
        into: tensor name -> dimension that is indexed by the channels that come in (where these are cut by themselves).
        out_size: attribute that holds the number of channels sent on.
        in_size: attribute that holds the number of channels that come in; None where what comes in goes out.
        axis: dimension of the layer's input and output in which its channels stand by default: 1 for maps, -1 for
            tokens.
        also: further attributes that follow ``out_size``, name -> function of (module, channels that stay).
        makes: the layer computes new channels; the others pass channels on.
        mixes: it computes with all channels that come in (a mean, a variance), so that a zero is not the same as a
            channel that is not there: it is silenced by leaving the channel out.
    """

    out: dict[str, int]
    into: dict[str, int] = field(default_factory=dict)
    out_size: str = "out_channels"
    in_size: str | None = None
    axis: int = 1
    also: dict[str, Callable[[nn.Module, int], Any]] = field(default_factory=dict)
    makes: bool = False
    mixes: bool = False

    def tensors(self, side: str) -> dict[str, int]:
        """Tensor name -> dimension for ``side`` (``"out"`` or ``"in"``)."""
        return self.out if side == "out" else self.into


_AFFINE = {"weight": 0, "bias": 0}
_STATISTICS = _AFFINE | {"running_mean": 0, "running_var": 0}
_WHOLE = {  # a convolution that loses whole groups
    "in_channels": lambda m, kept: kept * m.in_channels // m.out_channels,
    "groups": lambda m, kept: kept * m.groups // m.out_channels,
}
KINDS: dict[str, LayerKind] = {
    "conv": LayerKind(_AFFINE, {"weight": 1}, in_size="in_channels", makes=True),
    "deconv": LayerKind({"weight": 1, "bias": 0}, {"weight": 0}, in_size="in_channels", makes=True),
    "linear": LayerKind(_AFFINE, {"weight": 1}, "out_features", "in_features", axis=-1, makes=True),
    # of a grouped convolution either each group loses the same share of its channels, or whole groups go
    "shares": LayerKind(_AFFINE, {"weight": 1}, in_size="in_channels", makes=True),
    "depthwise": LayerKind(_AFFINE, also=_WHOLE),
    "norm": LayerKind(_STATISTICS, out_size="num_features"),
    "layernorm": LayerKind(
        _AFFINE, out_size="normalized_shape", axis=-1, also={"normalized_shape": lambda m, kept: (kept,)}, mixes=True
    ),
    "groupnorm": LayerKind(_AFFINE, out_size="num_channels", mixes=True),
    "groupsnorm": LayerKind(  # of many groups, of which some go
        _AFFINE,
        out_size="num_channels",
        also={"num_groups": lambda m, kept: kept * m.num_groups // m.num_channels},
        mixes=True,
    ),
    "prelu": LayerKind({"weight": 0}, out_size="num_parameters"),
}
_GROUPED = ("shares", "depthwise", "groupnorm", "groupsnorm")
_NAMES = {"RmsNorm", "RmsNorm2d", "SimpleNorm", "SimpleNorm2d"}  # of timm, with the attributes of a LayerNorm


def kind_of(module: nn.Module | None) -> str | None:
    """Key of `KINDS` for a layer, or None for a layer that surgery does not know."""
    if "_kind" in getattr(module, "__dict__", ()):  # of a pruned layer, whose sizes alone could say otherwise
        return module._kind
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return "norm"
    if isinstance(module, nn.GroupNorm):
        return "groupsnorm" if module.num_groups > module.num_channels // module.num_groups else "groupnorm"
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__ in _NAMES:
        return "layernorm" if len(module.normalized_shape) == 1 else None
    if isinstance(module, nn.PReLU):
        return "prelu" if module.num_parameters > 1 else None
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if module.groups == 1:
            return "conv"
        return "depthwise" if module.groups >= module.in_channels // module.groups else "shares"
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) and module.groups == 1:
        return "deconv"
    return None


def makes_channels(module: nn.Module) -> bool:
    """Whether a layer computes channels of its own: convolutions (not depthwise ones) and linear layers."""
    kind = kind_of(module)
    return kind is not None and KINDS[kind].makes


def mixes(module: nn.Module) -> bool:
    """Whether a zero is not the same to a layer as a channel that is not there.

    So it is for norms over channels, and for layers that compute their weights (weight standardisation).
    """
    kind = KINDS[kind_of(module)]
    plain = next((base for base in type(module).__mro__ if base.__module__.startswith("torch.nn")), nn.Module)
    return kind.mixes or ((bool(kind.into) or kind.also != {}) and type(module).forward is not plain.forward)


def channels(module: nn.Module, side: str) -> int:
    """Number of channels that a layer of a known kind has on ``side`` (``"out"`` or ``"in"``)."""
    kind = KINDS[kind_of(module)]
    size = getattr(module, kind.out_size if side == "out" or kind.in_size is None else kind.in_size)
    return size[-1] if isinstance(size, tuple | list | torch.Size) else size


def axis_of(module: nn.Module) -> int:
    """Dimension of a layer's output in which its channels stand, where no trace says otherwise."""
    return KINDS[kind_of(module)].axis


def make_cut(
    module: nn.Module, side: str, kept: np.ndarray
) -> tuple[dict[str, tuple[int, np.ndarray]], dict[str, Any]]:
    """What remains of a layer.

    Args:
        module: a layer of a known kind, not yet cut on this side.
        side: ``"out"`` or ``"in"``.
        kept: ascending positions that stay.

    Returns:
        Tensor name -> (dimension, indices that stay), and attribute name -> new value.
    """
    name = kind_of(module)
    kind = KINDS[name]
    rows = kept
    if name == "shares" and side == "in":  # the weights of all groups are indexed by the place within a group
        rows = kept[kept < module.in_channels // module.groups]
    sizes: dict[str, Any] = {kind.out_size if side == "out" else kind.in_size: len(kept)}
    if name in _GROUPED:
        sizes["_kind"] = name
    tensors = dict(kind.tensors(side))
    if side == "out":
        tensors |= {name: 0 for name in _more(module, kind)}
        sizes |= {attribute: value(module, len(kept)) for attribute, value in kind.also.items()}
    return {tensor: (dim, rows) for tensor, dim in tensors.items()}, sizes


def _more(module: nn.Module, kind: LayerKind) -> list[str]:
    """Further parameters with one number per output channel, such as the gain of a standardised weight."""
    size = channels(module, "out")
    own = module.named_parameters(recurse=False)
    return [n for n, p in own if n not in kind.out and p.dim() and p.shape[0] == p.numel() == size]


def channels_left(total: int, ratio: float, least: int = 0) -> int:
    """Number of channels that stay when a share of them goes: ``floor(total * (1 - ratio))``, but at least ``least``.

    Every ratio of the library and of the studio becomes a number here. The small term undoes rounding errors such as
    10 * (1 - 0.9) = 0.9999999999999998.
    """
    return max(least, math.floor(total * (1 - ratio) + 1e-9))


def deployed_multiple(sizes: Iterable[int]) -> int:
    """The number of which channel counts are multiples in a network that is deployed, unless another is asked for.

    Runtimes compute eight channels at a time, so widths in eights are faster at the same accuracy. A network of which
    no group has 16 channels would lose its choice of widths; there it is 1.

    Args:
        sizes: number of channels of each group.
    """
    return 8 if max(sizes, default=0) >= 16 else 1
