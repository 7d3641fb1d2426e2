"""Groups: the channels that must live or die together.

A residual stream adds the outputs of several convolutions, so channel 7 of one cannot go without channel 7 of the
others. Take ``conv1 (3 -> 4), bn1, conv2 (4 -> 4), bn2``, with the outputs of ``bn1`` and ``bn2`` added, and ``fc``
behind. That is one group of size 4, named ``conv1``; its members are ``conv1`` out, ``bn1`` out, ``conv2`` in,
``conv2`` out, ``bn2`` out and ``fc`` in. Removing channel 2 takes one row from each "out", one column from each "in".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import SqueezeExcite
from rsprune_lib.pruning.graph import WEIGHTED, coupled_outputs
from rsprune_lib.pruning.layers import channels

__all__ = ["Group", "Groups", "Member", "find_groups"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Member:
    """One side of one layer in a group.

    Attributes:
        layer: module name.
        kind: key of `rsprune_lib.pruning.layers.KINDS`: conv, deconv, linear, depthwise, norm, prelu.
        side: ``"out"`` for channels that the layer sends on (norms too), ``"in"`` for channels that it reads.
        positions: (size, fan) whole numbers; row c holds the positions of this side that belong to the group's channel
            c. The fan is 1 but behind a flatten, where a channel has one position a pixel; behind a concatenation the
            positions are shifted.
    """

    layer: str
    kind: str
    side: str
    positions: tuple[tuple[int, ...], ...]

    @cached_property
    def index(self) -> np.ndarray:
        """The positions as an array, (size, fan) int64."""
        return np.asarray(self.positions, dtype=np.int64)

    @property
    def fan(self) -> int:
        """Positions of this side that one channel of the group takes."""
        return len(self.positions[0])


@dataclass(frozen=True)
class Group:
    """Channels of several layers that are kept or removed together.

    Attributes:
        name: the root, which is the first layer in execution order that makes these channels.
        size: number of channels.
        members: every layer side that the channels touch; the root's ``"out"`` side first, then by registration.
    """

    name: str
    size: int
    members: tuple[Member, ...]

    @property
    def signature(self) -> tuple[tuple[str, str], ...]:
        """Kinds and sides of the members: equal for groups of the same shape (isomorphic pruning)."""
        return tuple((member.kind, member.side) for member in self.members)


class Groups(list[Group]):
    """The groups of one network in execution order of their roots, and what is needed to count without the network.

    Attributes:
        model: the network's config (``{}`` if it has none); a plan made from these groups carries it.
        other_params: parameters of what is neither convolution, linear layer, norm nor in a group.
    """

    def __init__(self, groups: Iterable[Group] = (), model: dict | None = None, other_params: int = 0) -> None:
        super().__init__(groups)
        self.model = dict(model or {})
        self.other_params = other_params

    def sizes(self) -> dict[str, int]:
        """Name -> number of channels."""
        return {group.name: group.size for group in self}


def find_groups(model: nn.Module, image_size: int | None = None) -> Groups:
    """Finds the groups of coupled channels of a network; takes some 0.1 s, so do it once and pass the result on.

    Works on the plain network and on one with live SE blocks; names, order and sizes are the same, the SE layers only
    join as members. The classifier's outputs, the image channels and the hidden widths of SE blocks are in no group.
    Couplings that no graph shows (max-unpooling with stored indices) are declared by the model: an optional method
    ``ties() -> list[tuple[str, str]]`` names pairs of layers whose outputs must keep the same channels.

    Args:
        model: a network; it is not touched. ``model.config`` is noted where there is one.
        image_size: height and width of the images it is traced with, in pixels; by default 64, or the least that the
            network takes. It matters only for networks that flatten a feature map.

    Returns:
        The groups, in execution order of their roots.

    Raises:
        ModelError: the network does not run at this size, or has coupled layers that surgery does not know.

    Example:
        >>> [(g.name, g.size) for g in find_groups(create_model("resnet18"))][:2]
        [('conv1', 64), ('layer1.0.conv1', 64)]
    """
    modules = dict(model.named_modules())
    inside = tuple(f"{name}." for name, module in modules.items() if isinstance(module, SqueezeExcite))
    found = []
    size = max(64, getattr(model, "min_size", 1)) if image_size is None else image_size
    for root, *rest in coupled_outputs(model, size):
        if not root.layer.startswith(inside):  # the hidden width of an SE block stays as it is
            found.append(Group(root.layer, len(root.positions), tuple(Member(*touch) for touch in (root, *rest))))
    groups = _tie(found, model)
    _check_disjoint(groups, modules)
    return Groups(groups, getattr(model, "config", None), _other_params(model, groups))


def _tie(groups: list[Group], model: nn.Module) -> list[Group]:
    """Joins groups that the model declares as tied: the later one goes into the earlier one."""
    for one, other in model.ties() if hasattr(model, "ties") else ():
        first, second = _owner(groups, one), _owner(groups, other)
        if groups.index(first) > groups.index(second):
            first, second, one, other = second, first, other, one
        kept, moved = _outputs(first, one), _outputs(second, other)
        if kept.keys() != moved.keys():
            raise ModelError(
                f"The model ties {one!r} ({len(kept)} channels) to {other!r} ({len(moved)} channels); tied layers must "
                "have the same number of channels."
            )
        if first is not second:
            rows = [moved[position] for position in sorted(kept, key=kept.__getitem__)]
            joined = tuple(replace(m, positions=tuple(m.positions[row] for row in rows)) for m in second.members)
            merged = replace(first, members=first.members + joined)
            groups = [merged if group is first else group for group in groups if group is not second]
    return groups


def _owner(groups: list[Group], layer: str) -> Group:
    for group in groups:
        if _outputs(group, layer):
            return group
    raise ModelError(f"The model ties {layer!r}, but no group of channels holds that layer's outputs.")


def _outputs(group: Group, layer: str) -> dict[int, int]:
    """Output position of ``layer`` -> channel of the group; empty if the group does not hold them."""
    member = next((m for m in group.members if m.layer == layer and m.side == "out" and m.fan == 1), None)
    return {row[0]: channel for channel, row in enumerate(member.positions)} if member else {}


def _check_disjoint(groups: list[Group], modules: dict[str, nn.Module]) -> None:
    """Holds the engine to account: each position of a layer exists, and belongs to one channel of one group."""
    taken: dict[tuple[str, str], np.ndarray] = {}
    for group in groups:
        for member in group.members:
            key, width = (member.layer, member.side), channels(modules[member.layer], member.side)
            count = taken.setdefault(key, np.zeros(width, dtype=np.int64))
            fits = len(member.positions) == group.size and member.index.max() < width
            if fits:
                np.add.at(count, member.index.ravel(), 1)
            if not fits or count.max() > 1:
                raise ModelError(
                    f"The {group.size} channels of {group.name!r} do not fit the {width} on the {member.side} side of "
                    f"{member.layer!r}; the dependency graph does not understand this network."
                )


def _other_params(model: nn.Module, groups: list[Group]) -> int:
    slopes = {member.layer for group in groups for member in group.members if member.kind == "prelu"}
    counted = (
        module for name, module in model.named_modules() if isinstance(module, (*WEIGHTED, *_NORMS)) or name in slopes
    )
    total = sum(parameter.numel() for parameter in model.parameters())
    return total - sum(parameter.numel() for module in counted for parameter in module.parameters(recurse=False))
