"""How each type of layer shrinks: which of its tensors lose which rows, and which attributes tell its sizes."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

__all__ = ["KINDS", "LayerKind", "channels", "kind_of"]


@dataclass(frozen=True)
class LayerKind:
    """Where the channels of a layer live.

    Attributes:
        out: tensor name -> dimension that is indexed by the channels that the layer sends on.
        into: tensor name -> dimension that is indexed by the channels that come in (where these are cut by themselves).
        out_sizes: attributes that hold the number of channels sent on.
        in_sizes: attributes that hold the number of channels that come in.
    """

    out: dict[str, int]
    into: dict[str, int] = field(default_factory=dict)
    out_sizes: tuple[str, ...] = ("out_channels",)
    in_sizes: tuple[str, ...] = ("in_channels",)

    def tensors(self, side: str) -> dict[str, int]:
        """Tensor name -> dimension for ``side`` (``"out"`` or ``"in"``)."""
        return self.out if side == "out" else self.into

    def sizes(self, side: str) -> tuple[str, ...]:
        """Attributes that hold the number of channels on ``side``."""
        return self.out_sizes if side == "out" else self.in_sizes


KINDS: dict[str, LayerKind] = {
    "conv": LayerKind({"weight": 0, "bias": 0}, {"weight": 1}),
    "deconv": LayerKind({"weight": 1, "bias": 0}, {"weight": 0}),
    "linear": LayerKind({"weight": 0, "bias": 0}, {"weight": 1}, ("out_features",), ("in_features",)),
    # in a depthwise convolution and a norm, what comes in goes out: one side only
    "depthwise": LayerKind({"weight": 0, "bias": 0}, out_sizes=("out_channels", "in_channels", "groups"), in_sizes=()),
    "norm": LayerKind(
        {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0}, out_sizes=("num_features",), in_sizes=()
    ),
    "prelu": LayerKind({"weight": 0}, out_sizes=("num_parameters",), in_sizes=()),
}


def kind_of(module: nn.Module) -> str | None:
    """Key of `KINDS` for a layer, or None for a layer that surgery does not know (e.g. a grouped convolution)."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return "norm"
    if isinstance(module, nn.PReLU):
        return "prelu"
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if module.groups == 1:
            return "conv"
        return "depthwise" if module.groups == module.in_channels == module.out_channels else None
    if isinstance(module, nn.ConvTranspose2d) and module.groups == 1:
        return "deconv"
    return None


def channels(module: nn.Module, side: str) -> int:
    """Number of channels that a layer of a known kind has on ``side`` (``"out"`` or ``"in"``)."""
    return getattr(module, KINDS[kind_of(module)].sizes(side)[0])
