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
from rsprune_lib.measure.cost import COUNTED
from rsprune_lib.models import Network, SqueezeExcite, first_image
from rsprune_lib.pruning.cutting import bare_tensor
from rsprune_lib.pruning.graph import Touch, coupled_outputs
from rsprune_lib.pruning.layers import KINDS, channels
from rsprune_lib.pruning.verify import sound

__all__ = ["Group", "Groups", "Member", "find_groups"]


@dataclass(frozen=True)
class Member:
    """One side of one layer in a group.

    Attributes:
        layer: module name.
        kind: key of `rsprune_lib.pruning.layers.KINDS`: conv, deconv, linear, depthwise, norm, layernorm ...; or
            ``"parameter"``, and ``layer`` is the name of a parameter that stands in no such layer.
        side: ``"out"`` for channels that the layer sends on (norms too), ``"in"`` for channels that it reads.
        positions: (size, fan) whole numbers; row c holds the positions of this side that belong to the group's channel
            c. The fan is 1 but behind a flatten, where a channel has one position a pixel; behind a concatenation the
            positions are shifted.
        axis: dimension of the layer's input or output in which these channels stand: 1 for maps, -1 for tokens; of a
            bare parameter the dimension of the parameter.
    """

    layer: str
    kind: str
    side: str
    positions: tuple[tuple[int, ...], ...]
    axis: int = 1

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
        name: the root, which is the first layer in execution order that makes these channels; where a root's channels
            are in several groups, ``root:first position``.
        size: number of channels.
        members: every layer side that the channels touch; the root's ``"out"`` side first, then by registration.
    """

    name: str
    size: int
    members: tuple[Member, ...]

    @property
    def root(self) -> str:
        """The layer that makes these channels; the name, unless the layer's channels are in several groups."""
        return self.members[0].layer

    @property
    def makers(self) -> tuple[Member, ...]:
        """The members whose outputs are the channels as others read them: norms, or what makes them without one."""
        norms = tuple(m for m in self.members if m.kind == "norm")
        made = (m for m in self.members if m.side == "out" and KINDS.get(m.kind, KINDS["prelu"]).makes)
        return norms or tuple(made)

    @property
    def signature(self) -> tuple[tuple[str, str], ...]:
        """Kinds and sides of the members: equal for groups of the same shape (isomorphic pruning)."""
        return tuple((member.kind, member.side) for member in self.members)


class Groups(list[Group]):
    """The groups of one network in execution order of their roots, and what is needed to count without the network.

    Attributes:
        model: the network's config (``{}`` if it has none); a plan made from these groups carries it.
        other_params: parameters of what is neither convolution, linear layer, norm nor in a group.
        bare_params: group name -> parameters that each of its channels has outside of layers with a cost of their own.
        fixed: layer whose outputs, or some of them, cannot be removed -> why.
    """

    def __init__(
        self,
        groups: Iterable[Group] = (),
        model: dict | None = None,
        other_params: int = 0,
        bare_params: dict[str, int] | None = None,
        fixed: dict[str, str] | None = None,
    ) -> None:
        super().__init__(groups)
        self.model = dict(model or {})
        self.other_params = other_params
        self.bare_params, self.fixed = dict(bare_params or {}), dict(fixed or {})

    def sizes(self) -> dict[str, int]:
        """Name -> number of channels."""
        return {group.name: group.size for group in self}


def find_groups(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> Groups:
    """Finds the groups of coupled channels of a network; takes some 0.1 s, so do it once and pass the result on.

    Works on the plain network and on one with live SE blocks; names, order and sizes are the same, the SE layers only
    join as members. The classifier's outputs, the image channels and the hidden widths of SE blocks are in no group.
    Couplings that no graph shows (indices that leave PyTorch on their way) are declared by the model: an optional
    method ``ties() -> list[tuple[str, str]]`` names pairs of layers whose outputs must keep the same channels.

    Args:
        model: a network; it is not touched. ``model.config`` is noted where there is one.
        image_size: side of the images it is traced with, or (height, width), in pixels; by default that of the
            network, or the first of some that it takes. It matters only for networks that are made for one size.

    Returns:
        The groups, in execution order of their roots.

    Raises:
        ModelError: the network does not run at this size, or has coupled layers that surgery does not know.

    Example:
        >>> [(g.name, g.size) for g in find_groups(create_model("resnet18"))][:2]
        [('conv1', 64), ('layer1.0.conv1', 64)]
    """
    size = tuple(first_image(model).shape[2:]) if image_size is None else image_size
    coupled = coupled_outputs(model, size)
    inside = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, SqueezeExcite))
    found = _named([touches for touches in coupled.groups if not touches[0].layer.startswith(inside)], model)
    groups = _tie(found, model)
    fixed = {} if isinstance(model, Network) else sound(model, groups, size)  # tests hold those of the course to it
    fixed_layers = {g.members[0].layer: fixed[g.name] for g in groups if g.name in fixed}
    groups = [group for group in groups if group.name not in fixed]
    return Groups(groups, getattr(model, "config", None), *_bare_params(model, groups), coupled.fixed | fixed_layers)


def _named(coupled: list[list[Touch]], model: nn.Module) -> list[Group]:
    """Groups named after their roots; where a root's channels are in several groups, with the first of each."""
    groups = []
    for touches in coupled:
        root, members = touches[0], tuple(Member(*touch) for touch in touches)
        whole = members[0].index.size == channels(model.get_submodule(root.layer), "out")
        name = root.layer if whole else f"{root.layer}:{root.positions[0][0]}"
        groups.append(Group(name, len(root.positions), members))
    return groups


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


def _bare_params(model: nn.Module, groups: list[Group]) -> tuple[int, dict[str, int]]:
    """Parameters outside of layers with a cost: those in no group, and those of a channel of each group."""
    modules = dict(model.named_modules())
    bare = {group.name: 0 for group in groups}
    for group in groups:
        for member in group.members:
            module = modules.get(member.layer)
            if module is None:
                tensor = bare_tensor(model, member.layer)
                each = tensor.numel() // tensor.shape[member.axis] if isinstance(tensor, nn.Parameter) else 0
            elif isinstance(module, COUNTED):
                continue
            else:
                each = sum(p.numel() for p in module.parameters(recurse=False)) // channels(module, "out")
            bare[group.name] += each * member.fan
    counted = {id(p) for m in modules.values() if isinstance(m, COUNTED) for p in m.parameters(recurse=False)}
    total = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in counted)
    return total - sum(group.size * bare[group.name] for group in groups), bare
