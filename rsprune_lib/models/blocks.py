"""Blocks that several networks share: squeeze-and-excitation, and the base class with checks and the unit list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError

__all__ = ["Network", "SqueezeExcite", "Unit", "kaiming_init"]

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: every channel is scaled by a gate in (0, 1) that the whole image decides.

    global average pool -> ``fc1`` (C -> C // reduction) -> ReLU -> ``fc2`` -> ``sigmoid``, both linear layers with bias
    and PyTorch's default initialisation, so that an untrained gate stays near 0.5. A forward hook on ``sigmoid`` sees
    the gates, (B, C).

    Paper: https://arxiv.org/abs/1709.01507 (there the block stands once a residual block; the course's networks place
    it behind every batch norm, as RemoteTrimmer does, https://arxiv.org/abs/2412.12603).

    Args:
        channels: number C of channels that come in and go out.
        reduction: the hidden layer has ``C // reduction`` features, at least 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, channels)
        self.sigmoid = nn.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """The gates alone: (B, C, H, W) -> (B, C) in (0, 1)."""
        squeezed = x.mean(dim=(2, 3))  # (B, C)
        return self.sigmoid(self.fc2(self.relu(self.fc1(squeezed))))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel by its gate: (B, C, H, W) -> (B, C, H, W)."""
        return x * self.gate(x)[:, :, None, None]


@dataclass(frozen=True)
class Unit:
    """A convolution or linear layer with what acts on its output channels, all by module name.

    Attributes:
        layer: name of the convolution or linear layer.
        norm: name of the normalisation right behind it, or None.
        gate: name of its `SqueezeExcite` block, None where there is none or where it was folded away.
    """

    layer: str
    norm: str | None = None
    gate: str | None = None


class Network(nn.Module):
    """Base of the course's networks.

    Subclasses register their modules in execution order, a norm and an SE block behind the layer they belong to;
    `units` relies on it (and a test with forward hooks holds every network to it).

    Attributes:
        config: the arguments of `create_model` that rebuild this network (without the seed), JSON-able.
        in_channels: number of image channels.
        min_size: smallest height and width of an image, in pixels.
        norms_behind_layers: False where norms stand elsewhere (behind a ReLU, in front of a convolution): then no unit
            has a norm, because what a norm does cannot be moved into the layer.
        loss_heads: modules whose outputs only a loss reads; without them (None) the network gives its answer alone.
    """

    config: dict[str, Any]
    norms_behind_layers: bool = True
    in_channels: int = 3
    min_size: int = 1
    loss_heads: tuple[str, ...] = ()

    @property
    def least_side(self) -> int:
        """Side of the smallest images that are worth training on, in pixels: maps of one pixel teach little."""
        return max(16 if getattr(self, "config", {}).get("stem") == "small" else 32, self.min_size)

    def units(self) -> list[Unit]:
        """Every convolution and linear layer outside the SE blocks, in execution order; the classifier is the last."""
        rows: list[dict[str, str | None]] = []
        inside = None  # prefix of the SE block that the walk is in
        for name, module in self.named_modules():
            if name.startswith("exits.") or (inside is not None and name.startswith(inside)):
                continue
            if isinstance(module, SqueezeExcite):
                inside = f"{name}."
                rows[-1]["gate"] = name
            elif isinstance(module, NORMS):
                if self.norms_behind_layers:
                    rows[-1]["norm"] = name
            elif isinstance(module, _WEIGHTED):
                rows.append({"layer": name})
        for number, place in enumerate(self.exits.places if hasattr(self, "exits") else ()):
            before = [at for at, row in enumerate(rows) if f"{row['layer']}.".startswith(f"{place}.")]
            rows.insert(before[-1] + 1 if before else self._before(place, rows), {"layer": f"exits.heads.{number}.fc"})
        return [Unit(**row) for row in rows]

    def _before(self, place: str, rows: list[dict[str, str | None]]) -> int:
        """How many of the units come before a module without layers of its own, such as an activation."""
        names = [name for name, _ in self.named_modules()]
        layers = {row["layer"] for row in rows}
        return sum(name in layers for name in names[: names.index(place)])

    def check_images(self, x: Tensor) -> None:
        """Raise `ModelError` unless ``x`` is (B, in_channels, H, W) with H and W of at least ``min_size``."""
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ModelError(
                f"The network got images of shape {tuple(x.shape)} but expects "
                f"(batch, {self.in_channels}, height, width); reorder or reshape them."
            )
        if min(x.shape[2], x.shape[3]) < self.min_size:
            large = self.__dict__.get("config", {}).get("stem") == "imagenet"
            other = " (a model created with stem='small' takes smaller ones)" if large else ""
            raise ModelError(
                f"The network got images of {x.shape[2]}x{x.shape[3]} pixels but needs at least "
                f"{self.min_size}x{self.min_size}; enlarge them{other}."
            )


@torch.no_grad()
def kaiming_init(model: nn.Module, mode: str = "fan_out") -> None:
    """He initialisation (ReLU) for convolutions; norms start as the identity, linear layers keep the default.

    Paper: https://arxiv.org/abs/1502.01852

    Args:
        model: changed in place.
        mode: ``"fan_out"`` or ``"fan_in"``.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
