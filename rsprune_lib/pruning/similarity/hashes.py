"""How alike the feature maps of a layer are: perceptual hashes, compared pair by pair, over some training images.

The hash of a map is the sign pattern of its low frequencies: a two-dimensional cosine transform (DCT-II, unscaled), its
8 x 8 lowest coefficients, each of them against their mean. Two filters are as alike as the share of bits that agree,
averaged over the images. Maps are taken behind the convolution, with its bias, before norm and activation.

All pairs of a layer cost one matrix product: with bits written as -1 and +1, the sum over bits and images of the
products is (agreeing - differing) bits, so S = (1 + B B' / bits) / 2.

Paper: Li et al., Pattern Recognition Letters 166, 2023, https://doi.org/10.1016/j.patrec.2022.12.028. What differs: the
images come balanced over the classes, and layers whose maps say nothing are left out instead of being pruned blindly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import DataError, ModelError, PlanError
from rsprune_lib.models import evaluating, hooked
from rsprune_lib.pruning.calibration import feed
from rsprune_lib.pruning.groups import Group

__all__ = ["Similarity", "perceptual_hash", "redundancy", "similarity"]

SIDE = 8  # lowest frequencies along each axis
TIE = 1e-6  # less than two similarities can differ by, more than float32 rounds: an edge exactly at a threshold counts
_MAKERS = ("conv", "deconv", "depthwise")


@dataclass(frozen=True)
class Similarity:
    """How alike the channels of each group are.

    Attributes:
        values: group name -> (size, size) float32, symmetric, in [0, 1], ones on the diagonal.
        images: number of images it was measured on.
        blind: group name -> why it has no values: there are no maps, or maps of a single pixel.
    """

    values: dict[str, Tensor]
    images: int
    blind: dict[str, str] = field(default_factory=dict)

    def matrix(self, name: str, size: int) -> np.ndarray:
        """(size, size) float64: the values of a group of that size.

        Raises:
            PlanError: they are those of another network.
        """
        values = self.values[name].double().numpy()
        if values.shape != (size, size):
            raise PlanError(
                f"The similarities of {name!r} have shape {values.shape} but the group has {size} channels; compare "
                "the maps of this network."
            )
        return values


def perceptual_hash(maps: Tensor, *, mean_term: bool = True) -> Tensor:
    """Hashes feature maps.

    The first of the coefficients is the mean of the map, and it is far larger than the others. As published it belongs
    to the mean that the others are compared with. So the sign of the map's mean decides whether most bits are 0 or 1,
    and two unrelated maps whose means have one sign agree on far more than half of the bits.

    A map that is zero everywhere has only ones; a constant map has the one bit of its mean alone (positive), or every
    bit but that (negative).

    Args:
        maps: (..., H, W).
        mean_term: As published. False leaves the mean of the map out, in the threshold and in the hash.

    Returns:
        (..., m) bool: ``min(8, H) * min(8, W)`` bits, row by row; one fewer without the mean term.

    Example:
        >>> perceptual_hash(torch.zeros(5, 32, 32)).shape
        torch.Size([5, 64])
    """
    H, W = maps.shape[-2:]
    rows, columns = (_cosines(side, str(maps.device)) for side in (H, W))  # (min(8, H), H), (min(8, W), W)
    low = (rows @ maps.double() @ columns.T).flatten(-2)[..., 0 if mean_term else 1 :]
    return low >= low.mean(-1, keepdim=True)


@lru_cache(maxsize=32)
def _cosines(side: int, device: str) -> Tensor:
    """The first rows of the DCT-II: 2 cos(pi k (2 n + 1) / (2 N)), (min(8, N), N) float64."""
    k, n = (torch.arange(count, dtype=torch.float64) for count in (min(SIDE, side), side))
    return (2 * torch.cos(math.pi * k[:, None] * (2 * n + 1) / (2 * side))).to(device)


@torch.no_grad()
def similarity(
    model: nn.Module,
    groups: Iterable[Group],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    makers: str = "root",
    mean_term: bool = True,
    progress: bool = True,
) -> Similarity:
    """Compares the feature maps of every pair of channels in every group.

    Memory: the bits of one batch, and one float32 matrix of (size, size) a layer; maps are dropped once hashed.

    Args:
        model: the network as trained; not changed.
        groups: `find_groups` of it.
        batches: training images; 50 to 100 are what was published.
        makers: which of the layers that make a group's channels are looked at: ``"root"``, the first (in a residual
            stream of the CIFAR networks: the stem or the shortcut, as published), or ``"all"``, whose mean is taken.
        mean_term: as published; see `perceptual_hash`.
        progress: show a bar.

    Raises:
        ModelError: no group has feature maps.
        DataError: an image is not in the training split, there is none, or the maps are not finite.
        Stopped: the batches are no longer wanted.

    Example:
        >>> similarity(model, groups, Batches(data, "train", limit=100)).values["conv1"].shape
        torch.Size([64, 64])
    """
    sums = [_Sums(group, _makers(group, makers), mean_term) for group in groups]
    if all(one.blind for one in sums):
        raise ModelError("The network has no convolution whose feature maps could be compared; use another criterion.")
    hooks, count = [hook for one in sums for hook in one.hooks(model)], 0
    with evaluating(model), hooked(hooks):
        for images, _ in feed(batches, model, "similarity", progress=progress):
            model(images)
            count += len(images)
    values = {one.group.name: one.values() for one in sums if not one.blind}
    return Similarity(values, count, {one.group.name: one.blind for one in sums if one.blind})


class _Sums:
    """What the maps of one group add up to.

    Attributes:
        group: the group.
        blind: why it has no values; empty while it has.
    """

    def __init__(self, group: Group, layers: list[tuple[str, Tensor]], mean_term: bool) -> None:
        self.group, self._layers, self._mean_term = group, layers, mean_term
        self.blind = "" if layers else "its channels have no feature maps"
        self._total: Tensor | float = 0.0
        self._bits = 0

    def hooks(self, model: nn.Module) -> list[tuple[nn.Module, Callable[..., None]]]:
        """The layers to look at, each with its hook."""
        return [(model.get_submodule(layer), partial(self._look, index)) for layer, index in self._layers]

    def _look(self, index: Tensor, _module: nn.Module, _inputs: object, maps: Tensor) -> None:
        if maps.dim() != 4 or maps.shape[-2:] == (1, 1):
            self.blind = "its feature maps have one pixel"
            return
        if not maps.isfinite().all():
            raise DataError(f"Feature maps of {self.group.name!r} are not finite; check network and images for NaN.")
        bits = perceptual_hash(maps[:, index.to(maps.device)], mean_term=self._mean_term)
        signs = bits.transpose(0, 1).flatten(1).float() * 2 - 1
        self._total = self._total + (signs @ signs.T).double()  # whole numbers below 2^24: exact in float32
        self._bits += signs.shape[1]

    def values(self) -> Tensor:
        """(size, size) shares of equal bits."""
        return ((1 + self._total / self._bits) / 2).float().cpu()


def _makers(group: Group, which: str) -> list[tuple[str, Tensor]]:
    """Layers whose outputs are the group's channels, and at which positions."""
    if which not in ("root", "all"):
        raise ModelError(f"makers is {which!r} but must be 'root' or 'all'.")
    members = [m for m in group.members if m.side == "out" and m.kind in _MAKERS and m.fan == 1]
    found = [(member.layer, torch.from_numpy(member.index[:, 0])) for member in members]
    return found[:1] if which == "root" else found


def redundancy(
    similar: Similarity, groups: Sequence[Group], rank: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The graph at all thresholds at once, as one score a channel: 1 - the similarity to the most alike better channel.

    Choosing at a threshold of ``1 - t`` removes whoever has a neighbour of higher rank in the graph of threshold t. The
    best channel of a layer has score 1, and so have all of a layer without feature maps.

    Args:
        similar: of these groups.
        groups: `find_groups` of the network.
        rank: group name -> (size,), higher is better; by default how much the others resemble the channel (its summed
            similarity), so that the most typical of its kind stays. Ties: the lower index is better.

    Returns:
        Group name -> (size,) float32 in [0, 1].
    """
    scores = {}
    for group in groups:
        if group.name not in similar.values:
            scores[group.name] = torch.ones(group.size)
            continue
        values = similar.values[group.name]
        own = values.sum(1) if rank is None else rank[group.name].float()
        order = torch.argsort(own, descending=True, stable=True)
        ranked = values[order][:, order].tril(-1)  # row i: similarity to the channels before it
        ordered = (1 - ranked.amax(1) - TIE).clamp_min(0)
        ordered[0] = 1
        scores[group.name] = torch.empty(group.size).index_copy_(0, order, ordered)
    return scores
