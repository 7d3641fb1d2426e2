"""Surgery: from a network and a plan to a really smaller network, or to the same network with channels silenced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.models import copied
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.layers import KINDS, channels, kind_of
from rsprune_lib.pruning.plan import Plan

__all__ = ["apply", "kept_positions", "masked"]


@torch.no_grad()
def apply(model: nn.Module, plan: Plan, groups: Sequence[Group] | None = None) -> nn.Module:
    """Builds the smaller network that a plan describes.

    Every tensor with a removed channel is replaced by its kept rows and columns *while* the network is copied, so the
    removed weights are never copied at all: milliseconds for a ResNet-18.

    Args:
        model: the unpruned network; it is not touched.
        plan: what to keep.
        groups: `find_groups` of the network; found here if not given, which takes far longer than the surgery itself.

    Returns:
        A new network with real layers of the smaller sizes, in the same mode, on the same device, with the same
        ``config`` (which names the unpruned structure: rebuilding needs config *and* plan, see `save_bundle`).

    Raises:
        PlanError: the plan is for another network.
    """
    cuts = _cuts(model, plan, groups)
    modules = dict(model.named_modules())
    made: dict[int, Tensor] = {}
    for (layer, side), kept in cuts.items():
        module = modules[layer]
        for name, dim in KINDS[kind_of(module)].tensors(side).items():
            tensor = getattr(module, name)
            if tensor is not None:
                made[id(tensor)] = _select(made.get(id(tensor), tensor), dim, kept)
    for parameter in model.parameters():
        if id(parameter) in made:
            made[id(parameter)] = nn.Parameter(made[id(parameter)], requires_grad=parameter.requires_grad)
    small = copied(model, made)  # a memo that already knows the smaller tensors
    for (layer, side), kept in cuts.items():
        module = small.get_submodule(layer)
        for attribute in KINDS[kind_of(modules[layer])].sizes(side):
            setattr(module, attribute, len(kept))
    return small


@contextmanager
def masked(model: nn.Module, plan: Plan, groups: Sequence[Group] | None = None) -> Iterator[nn.Module]:
    """Silences the channels that a plan removes, in place, for the duration of a ``with`` block.

    Two things are set to zero: what makes a removed channel (its filters, biases, and gamma and beta of its norms, in
    every branch of a residual stream; an SE gate then scales a zero) and what reads it (the next layers' columns, those
    of SE blocks included). The first makes the channel's feature maps zero, the second makes the output independent of
    it whatever activation stands between. In evaluation mode the output equals that of ``apply(model, plan)``.

    On leaving, also by an exception, the very same tensors are put back. What changes in the weights inside the block
    (a training step) is lost with the masked ones.

    Args:
        model: the unpruned network.
        plan: what to keep.
        groups: `find_groups` of the network; found here if not given.

    Yields:
        The same network, masked.

    Raises:
        PlanError: the plan is for another network.

    Example:
        >>> with masked(model, plan, groups) as quiet:
        ...     logits = quiet(images)
    """
    modules = dict(model.named_modules())
    quiet: dict[int, tuple[Tensor, Tensor]] = {}  # id -> (tensor, masked copy of its data)
    for (layer, side), kept in _cuts(model, plan, groups).items():
        module = modules[layer]
        removed = np.setdiff1d(np.arange(channels(module, side)), kept)
        for name, dim in KINDS[kind_of(module)].tensors(side).items():
            tensor = getattr(module, name)
            if isinstance(tensor, nn.Parameter):
                _, copied = quiet.setdefault(id(tensor), (tensor, tensor.detach().clone()))
                copied.index_fill_(dim, _index(removed, copied), 0)
    originals = [(tensor, tensor.data) for tensor, _ in quiet.values()]
    try:
        for tensor, copied in quiet.values():
            tensor.data = copied
        yield model
    finally:
        for tensor, data in originals:
            tensor.data = data


def kept_positions(
    groups: Sequence[Group], keep: Mapping[str, Sequence[int]], modules: Mapping[str, nn.Module]
) -> dict[tuple[str, str], np.ndarray]:
    """What a plan leaves of each layer.

    Args:
        groups: `find_groups` of the network.
        keep: ``plan.keep``.
        modules: ``dict(model.named_modules())`` of the unpruned network.

    Returns:
        (layer, ``"out"`` or ``"in"``) -> ascending positions that stay, for every side that loses some.
    """
    stays: dict[tuple[str, str], np.ndarray] = {}
    for group in groups:
        gone = np.setdiff1d(np.arange(group.size), keep[group.name])
        for member in group.members if len(gone) else ():
            key = (member.layer, member.side)
            if key not in stays:
                stays[key] = np.ones(channels(modules[member.layer], member.side), dtype=bool)
            stays[key][member.index[gone]] = False
    return {key: np.flatnonzero(stay) for key, stay in stays.items()}


def _cuts(model: nn.Module, plan: Plan, groups: Sequence[Group] | None) -> dict[tuple[str, str], np.ndarray]:
    plan.check(model)
    groups = find_groups(model) if groups is None else groups
    plan.check(groups)
    return kept_positions(groups, plan.keep, dict(model.named_modules()))


def _select(tensor: Tensor, dim: int, kept: np.ndarray) -> Tensor:
    """The kept slices along ``dim``, in the memory layout of the original."""
    small = tensor.detach().index_select(dim, _index(kept, tensor))
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return small.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _index(positions: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(positions, dtype=torch.int64, device=like.device)
