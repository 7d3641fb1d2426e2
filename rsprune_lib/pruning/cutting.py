"""The two things that can be done with positions of layers: cut them out, or silence them for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.models import copied
from rsprune_lib.pruning.layers import channels, kind_of, make_cut, mixes

__all__ = ["Cut", "Cuts", "bare_tensor", "gone_slices", "kept_positions", "silenced", "small_copy"]


class Cut(Protocol):
    """What is read of a `rsprune_lib.pruning.Member`."""

    layer: str
    side: str
    axis: int
    index: np.ndarray


class _Group(Protocol):
    name: str
    size: int
    members: Sequence[Cut]


Cuts = Mapping[tuple[str, str, int], np.ndarray]  # (layer or bare parameter, side, axis) -> positions that stay


def kept_positions(groups: Iterable[_Group], keep: Mapping[str, Sequence[int]], model: nn.Module) -> Cuts:
    """What a plan leaves of each layer.

    Args:
        groups: `find_groups` of the network.
        keep: ``plan.keep``.
        model: the unpruned network.

    Returns:
        (layer, ``"out"`` or ``"in"``, axis) -> ascending positions that stay, for every side that loses some.
    """
    modules = dict(model.named_modules())
    stays: dict[tuple[str, str, int], np.ndarray] = {}
    for group in groups:
        gone = np.setdiff1d(np.arange(group.size), keep[group.name])
        for member in group.members if len(gone) else ():
            key = (member.layer, member.side, member.axis)
            if key not in stays:
                stays[key] = np.ones(width(model, member, modules), dtype=bool)
            stays[key][member.index[gone]] = False
    return {key: np.flatnonzero(stay) for key, stay in stays.items()}


def width(model: nn.Module, member: Cut, modules: Mapping[str, nn.Module]) -> int:
    """Number of positions on the side of a layer, or along the axis of a bare parameter, that a member belongs to."""
    if member.layer in modules:
        return channels(modules[member.layer], member.side)
    return bare_tensor(model, member.layer).shape[member.axis]


def small_copy(model: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy in which only the positions of ``cuts`` are left.

    Every tensor that loses something is replaced by what stays of it *while* the network is copied, so that the rest is
    never copied at all: milliseconds for a ResNet-18.
    """
    modules = dict(model.named_modules())
    made: dict[int, Tensor] = {}
    sizes: dict[str, dict[str, object]] = {}
    for (layer, side, axis), kept in cuts.items():
        for tensor, dim, rows in _tensors(model, modules.get(layer), layer, side, axis, kept, sizes):
            made[id(tensor)] = _select(made.get(id(tensor), tensor), dim, rows)
    for parameter in model.parameters():
        if id(parameter) in made:
            made[id(parameter)] = nn.Parameter(made[id(parameter)], requires_grad=parameter.requires_grad)
    small = copied(model, made)  # a memo that already knows the smaller tensors
    for layer, attributes in sizes.items():
        for attribute, value in attributes.items():
            setattr(small.get_submodule(layer), attribute, value)
    return small


def gone_slices(
    model: nn.Module, cuts: Cuts, modules: Mapping[str, nn.Module] | None = None
) -> Iterator[tuple[nn.Parameter, int, Tensor]]:
    """The parameters that lose something by ``cuts``, with the dimension and the indices that go."""
    modules = dict(model.named_modules()) if modules is None else modules
    for (layer, side, axis), kept in cuts.items():
        for tensor, dim, rows in _tensors(model, modules.get(layer), layer, side, axis, kept, {}):
            if isinstance(tensor, nn.Parameter):
                yield tensor, dim, _index(np.setdiff1d(np.arange(tensor.shape[dim]), rows), tensor)


@contextmanager
def silenced(model: nn.Module, cuts: Cuts) -> Iterator[nn.Module]:
    """The network in which what ``cuts`` leaves out is silent, in place, for the duration of a ``with`` block.

    Weights that make or read a removed channel are zero. A layer that computes with all its channels at once (a layer
    norm) works on those that stay, and the others are zero behind it.
    """
    modules = dict(model.named_modules())
    quiet: dict[int, tuple[Tensor, Tensor]] = {}  # id -> (tensor, masked copy of its data)
    apart: dict[str, dict[str, tuple[int, np.ndarray]]] = {}  # layer -> side -> (axis, positions that stay)
    for (layer, side, axis), kept in cuts.items():
        if layer in modules and mixes(modules[layer]):
            apart.setdefault(layer, {})[side] = (axis, kept)
            continue
        for tensor, dim, gone in gone_slices(model, {(layer, side, axis): kept}, modules):
            _, copied_data = quiet.setdefault(id(tensor), (tensor, tensor.detach().clone()))
            copied_data.index_fill_(dim, gone, 0)
    originals = [(tensor, tensor.data) for tensor, _ in quiet.values()]
    forwards = {layer: modules[layer].__dict__.get("forward") for layer in apart}
    try:
        for tensor, data in quiet.values():
            tensor.data = data
        for layer, sides in apart.items():
            modules[layer].forward = _on_the_rest(modules[layer], sides)
        yield model
    finally:
        for tensor, data in originals:
            tensor.data = data
        for layer, forward in forwards.items():
            del modules[layer].forward
            if forward is not None:
                modules[layer].forward = forward


def _on_the_rest(module: nn.Module, sides: Mapping[str, tuple[int, np.ndarray]]) -> object:
    """A forward function that computes on the channels that stay, and puts zeros in place of the others."""
    small = small_copy(module, {("", side, axis): kept for side, (axis, kept) in sides.items()})
    axis, kept = sides.get("out", (0, None))
    passes_on = "in" not in sides and not kind_makes(module)
    into_axis, into = sides.get("in", (axis, kept) if passes_on else (0, None))
    size = channels(module, "out")

    def forward(x: Tensor, *rest: object) -> Tensor:
        if into is not None:
            x = x.index_select(into_axis, _index(into, x))
        out = small(x, *rest)
        if kept is None:
            return out
        shape = list(out.shape)
        shape[axis] = size
        return out.new_zeros(shape).index_copy(axis % out.dim(), _index(kept, out), out)

    return forward


def kind_makes(module: nn.Module) -> bool:
    """Whether inputs and outputs of a layer are cut apart from each other."""
    return kind_of(module) in ("conv", "deconv", "linear", "shares")


def _tensors(
    model: nn.Module,
    module: nn.Module | None,
    layer: str,
    side: str,
    axis: int,
    kept: np.ndarray,
    sizes: dict[str, dict[str, object]],
) -> Iterator[tuple[Tensor, int, np.ndarray]]:
    """The tensors of a layer's side with dimension and indices that stay; its new sizes go into ``sizes``."""
    if module is None:
        yield bare_tensor(model, layer), axis, kept
        return
    tensors, attributes = make_cut(module, side, kept)
    sizes.setdefault(layer, {}).update(attributes)
    for name, (dim, rows) in tensors.items():
        if isinstance(tensor := getattr(module, name, None), Tensor):
            yield tensor, dim, rows


def bare_tensor(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its full name."""
    owner, _, own = name.rpartition(".")
    return getattr(model.get_submodule(owner), own)


def _select(tensor: Tensor, dim: int, kept: np.ndarray) -> Tensor:
    """The kept slices along ``dim``, in the memory layout of the original."""
    small = tensor.detach().index_select(dim, _index(kept, tensor))
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return small.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _index(positions: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(positions, dtype=torch.int64, device=like.device)
