"""Distillation in the frequency domain: how strong each spatial frequency is in a student's maps and in a teacher's.

An amplitude spectrum holds the scales of a map, not where things are. GFNet-Dynn names the idea and does not say how
(https://arxiv.org/abs/2507.20623); this is our reading: log amplitudes, standardised for each image, compared at depths
where equal shares of the work are done. Channels are averaged, so any student fits any teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import TrainingError
from rsprune_lib.models import hooked, spread_places, without_exits
from rsprune_lib.models.places import channel_dim

__all__ = ["Spectral", "map_places", "radial_weight", "spectral_gap", "watching"]


@dataclass(frozen=True)
class Spectral:
    """How spectra are compared; an argument of `rsprune_lib.training.Distillation`.

    Attributes:
        weight: of the term in the loss.
        ramp: epochs in which the weight grows to its full value, in equal steps.
        layers: depths that are compared, at equal shares of the work of each network.
        low_pass: 0 weighs all frequencies alike; the larger, the less high ones count: ``exp(-low_pass * radius)``,
            with radius 1 at the highest frequency along a side.
        projector: compare channel by channel, after a 1 x 1 convolution of the student's maps that is trained with it
            and dropped afterwards, instead of means over the channels.

    Raises:
        TrainingError: a number is out of its range.
    """

    weight: float = 0.1
    ramp: int = 5
    layers: int = 3
    low_pass: float = 0.0
    projector: bool = False

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and self.ramp >= 0 and self.layers >= 1 and self.low_pass >= 0):
            raise TrainingError(f"Got {self}; expected at least one layer, and nothing below 0.")

    def strength(self, epoch: int) -> float:
        """The weight in an epoch, counted from 0."""
        return self.weight * min(1.0, (epoch + 1) / self.ramp) if self.ramp else self.weight


def map_places(model: nn.Module, count: int) -> list[str]:
    """Names of the modules whose maps are compared, see `rsprune_lib.models.spread_places`."""
    return spread_places(without_exits(model), count)


@contextmanager
def watching(model: nn.Module, places: Sequence[str]) -> Any:  # noqa: ANN401 - a generator behind a decorator
    """Yields a list that holds, after a forward pass in the block, the map (B, C, H, W) behind each place."""
    seen: dict[str, Tensor] = {}

    def note(place: str, _module: nn.Module, _x: Any, y: Tensor) -> None:  # noqa: ANN401
        seen[place] = as_map(y, channel_dim(model, place, y), place)

    maps: list[Tensor] = []
    with ExitStack() as stack:
        stack.enter_context(hooked((model.get_submodule(place), partial(note, place)) for place in places))
        yield maps
    maps.extend(seen[place] for place in places)


def as_map(y: Tensor, channels: int, place: str) -> Tensor:
    """A module's output as a map (B, C, H, W) float32; one class token in front is left out.

    Args:
        y: (B, C, H, W), (B, H, W, C) or tokens (B, N, C).
        channels: where the channels stand.
        place: name of the module, for the error.

    Raises:
        TrainingError: the tokens are no square.
    """
    y = y.float().movedim(channels, 1)
    if y.dim() == 4:
        return y
    N = y.shape[2]
    for skipped in (0, 1):
        side = math.isqrt(N - skipped)
        if side * side == N - skipped and side > 0:
            return y[:, :, skipped:].unflatten(2, (side, side))
    raise TrainingError(
        f"The {N} tokens of {place!r} are no square, so they have no two-dimensional spectrum; distil the logits only."
    )


def radial_weight(height: int, width: int, low_pass: float, like: Tensor) -> Tensor:
    """(H, W // 2 + 1) weights of the bins of a half spectrum, with mean 1."""
    rows = torch.fft.fftfreq(height, device=like.device).abs() * 2
    columns = torch.fft.rfftfreq(width, device=like.device) * 2
    weight = torch.exp(-low_pass * torch.hypot(rows[:, None], columns[None, :]))
    return weight / weight.mean()


def spectral_gap(student: Tensor, teacher: Tensor, projector: nn.Module | None = None, low_pass: float = 0.0) -> Tensor:
    """Mean squared difference of two spectra.

    Args:
        student: (B, Cs, H, W) maps; may have another number of channels and another size than the teacher's.
        teacher: (B, Ct, h, w) maps.
        projector: from Cs to Ct channels; None compares means over the channels.
        low_pass: see `Spectral`.

    Returns:
        A scalar; 0 for equal maps, and for maps that are shifted around the edges.
    """
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    if projector is not None:
        student = projector(student).float()
    with torch.autocast(student.device.type, enabled=False):
        said, wanted = (_spectrum(x.float(), size, projector is None) for x in (student, teacher))
        return (radial_weight(*size, low_pass, said) * (said - wanted).square()).mean()


def _spectrum(x: Tensor, size: tuple[int, int], mean: bool) -> Tensor:
    """(B, C or 1, h, w // 2 + 1) log amplitudes, standardised for each image."""
    if x.shape[2:] != size:
        x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
    amplitude = torch.fft.rfft2(x, norm="ortho").abs().log1p()
    if mean:
        amplitude = amplitude.mean(1, keepdim=True)
    centre = amplitude.mean((1, 2, 3), keepdim=True)
    spread = amplitude.std((1, 2, 3), keepdim=True, correction=0)
    return (amplitude - centre) / (spread + 1e-6)
