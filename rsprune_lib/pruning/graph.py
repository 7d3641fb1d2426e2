"""Which positions of which layers are coupled: one image goes through the network, labels with it, and ties are solved.

What torch-pruning's dependency graph (https://arxiv.org/abs/2301.12900) reads off the autograd graph, layer by layer,
is here seen value by value, so that shuffles, padded shortcuts, tokens and bare parameters need no rules of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.measure.cost import example_images
from rsprune_lib.models import channels_of, hooked, plain_attention
from rsprune_lib.pruning.label_rules import norm_rule, rule_of
from rsprune_lib.pruning.labels import LOCK, Labels
from rsprune_lib.pruning.layers import KINDS, kind_of, makes_channels

__all__ = ["Coupled", "Touch", "coupled_outputs"]


class Touch(NamedTuple):
    """One side of a layer that a set of output channels reaches; fields as in `rsprune_lib.pruning.Member`."""

    layer: str
    kind: str
    side: str
    positions: tuple[tuple[int, ...], ...]
    axis: int


class Coupled(NamedTuple):
    """What is coupled in a network.

    Attributes:
        groups: for each group everything its channels reach, the layer that makes them first.
        fixed: layer whose outputs (or some of them) belong to no group -> why.
    """

    groups: list[list[Touch]]
    fixed: dict[str, str]


def coupled_outputs(model: nn.Module, image_size: int | tuple[int, int]) -> Coupled:
    """Finds everything that the outputs of convolutions and linear layers are coupled to, in execution order.

    Args:
        model: a network; it is not touched.
        image_size: side of the traced image, or (height, width), in pixels.

    Raises:
        ModelError: the network does not run.
    """
    with torch.inference_mode(False):
        shadow = copy.deepcopy(model).float().eval()
    layers = [module for module in shadow.modules() if makes_channels(module)]
    if not layers:
        raise ModelError(f"The network {type(model).__name__} has no convolution and no linear layer to prune.")
    image = example_images(shadow, image_size, in_channels=channels_of(shadow))
    labels = Labels(shadow, rule_of)
    try:
        with torch.inference_mode(), _watched(labels), labels:
            out = shadow(image)
    except ModelError:
        raise
    except Exception as error:  # whatever the network raises
        raise ModelError(
            f"The network {type(model).__name__} could not be traced with an image of {image_size} pixels "
            f"({error}); give the image_size it is used with."
        ) from error
    for value in _tensors(out):
        labels.lock(labels.get(value), "the network's output")
    return _solve(labels)


@contextmanager
def _watched(labels: Labels) -> Iterator[None]:
    """Tells the labels which module runs, and lets norms over channels answer for themselves."""
    for name, module in labels.modules.items():
        kind = kind_of(module)
        if kind is not None and KINDS[kind].mixes:
            module.forward = _norm(labels, name, module)
    begun = [(module, lambda _m, _x, name=name: labels.stack.append(name)) for name, module in labels.modules.items()]
    done = [(module, lambda _m, _x, _y: labels.stack.__delitem__(-1)) for module in labels.modules.values()]
    with plain_attention(), hooked(done, begun):
        yield


def _norm(labels: Labels, name: str, module: nn.Module) -> object:
    inner = module.forward

    def forward(x: Tensor, *rest: object) -> Tensor:
        labels.silent = True
        out = inner(x, *rest)
        labels.silent = False
        norm_rule(labels, name, module, x, out)
        return out

    return forward


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


class _Slot(NamedTuple):
    layer: str
    side: str
    kind: str
    axis: int
    makes: bool
    channel: np.ndarray  # (C,) number of the coupled channel that each position belongs to


def _solve(labels: Labels) -> Coupled:
    """Connects what is tied, leaves out what is locked, and sorts the rest into groups."""
    pairs = np.concatenate([np.stack([np.zeros(0, int)] * 2), *(torch.stack(t).numpy() for t in labels.ties)], 1)
    at_lock = (pairs == LOCK).any(0)
    free = pairs[:, ~at_lock]
    graph = coo_matrix((np.ones(free.shape[1], bool), free), (labels.count, labels.count))
    channel = connected_components(graph, directed=False)[1]
    why = dict.fromkeys(channel[pairs[:, at_lock].ravel()].tolist(), "channels meet places of a fixed number")
    for label, reason in labels.locks:
        why |= dict.fromkeys(channel[label.numpy()].tolist(), reason)
    why.pop(int(channel[LOCK]), None)
    slots = [
        _Slot(layer, side, kind, axis, KINDS[kind].makes and side == "out", channel[ids.numpy()])
        for (layer, side, axis), ids in labels.slots.items()
        if (kind := kind_of(labels.modules[layer]))
    ]
    made = {number for slot in slots if slot.makes for number in slot.channel.tolist()}
    alive = np.zeros(channel.max() + 1, bool)
    alive[list(made - why.keys())] = True
    slots += _bare_slots(labels, channel, alive, why)
    return _sort(slots, alive, why, labels)


def _bare_slots(labels: Labels, channel: np.ndarray, alive: np.ndarray, why: dict[int, str]) -> list[_Slot]:
    """Bare parameters whose channels stand along one dimension; others lock their channels."""
    while True:
        found, before = [], alive.sum()
        for name, ids in labels.bare.items():
            own = channel[ids.numpy()]
            own = np.where(alive[own], own, -1)
            axes = [d for d in range(own.ndim) if (own != own.take([0], d)).any()]
            if len(axes) == 1:
                vector = own[tuple(slice(None) if d == axes[0] else 0 for d in range(own.ndim))]
                found.append(_Slot(name, "out", "parameter", axes[0], False, vector))
            elif (own >= 0).any():
                numbers = np.unique(own[own >= 0])
                alive[numbers] = False
                why |= dict.fromkeys(numbers.tolist(), f"channels stand in several dimensions of {name!r}")
        if alive.sum() == before:
            return found


def _sort(slots: list[_Slot], alive: np.ndarray, why: dict[int, str], labels: Labels) -> Coupled:
    """Channels that touch the same sides in the same way form a group."""
    touched: dict[int, dict[int, list[int]]] = {}
    for number, slot in enumerate(slots):
        for position, name in enumerate(slot.channel.tolist()):
            if name >= 0 and alive[name]:
                touched.setdefault(name, {}).setdefault(number, []).append(position)
    kinds: dict[tuple[tuple[int, int], ...], list[dict[int, list[int]]]] = {}
    for sides in touched.values():
        kinds.setdefault(tuple((number, len(places)) for number, places in sides.items()), []).append(sides)
    order = {name: number for number, name in enumerate(_names(labels))}
    groups, fixed = [], {}
    for signature, members in kinds.items():
        root = next(number for number, _ in signature if slots[number].makes)
        members.sort(key=lambda sides: sides[root])
        if len(members) == 1 and len(slots[root].channel) > 1:
            fixed.setdefault(slots[root].layer, "all its channels are tied to each other")
            continue
        touches = {
            number: Touch(*slots[number][:1], slots[number].kind, slots[number].side,
                          tuple(tuple(sides[number]) for sides in members), slots[number].axis)
            for number, _ in signature
        }  # fmt: skip
        first = touches.pop(root)
        rest = sorted(touches.values(), key=lambda touch: (order[touch.layer], touch.side))
        groups.append((root, first.positions[0], [first, *rest]))
    for slot in slots:
        for number in slot.channel.tolist() if slot.makes else ():
            if not alive[number]:
                fixed.setdefault(slot.layer, why.get(number, "nothing reads its channels"))
    return Coupled([touches for *_, touches in sorted(groups, key=lambda g: g[:2])], fixed)


def _names(labels: Labels) -> Iterator[str]:
    """Layers and bare parameters in the order of registration."""
    for name, module in labels.modules.items():
        yield name
        for own, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            yield f"{name}.{own}".lstrip(".")
