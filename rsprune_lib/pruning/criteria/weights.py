"""Criteria that look at the weights alone, or at the weights and the mean SE gates.

Each is a function ``(model, group, ...) -> (size,)`` float tensor, one score a channel of the group. A group has
several layers; each is scored by itself, brought to the group's channels by its positions, and the layers are averaged.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.pruner.importance import GroupMagnitudeImportance, LAMPImportance

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.models import SqueezeExcite
from rsprune_lib.pruning.criteria.gates import Gates
from rsprune_lib.pruning.groups import Group, Member

__all__ = ["ATTENTION_MODES", "attention", "bn_scale", "fpgm", "lamp", "magnitude", "tmm"]

ATTENTION_MODES = ("drop", "normalise", "paper")
MAKERS = (("conv", "out"), ("deconv", "out"), ("linear", "out"), ("shares", "out"))
READERS = (("conv", "in"), ("deconv", "in"), ("linear", "in"))
_CUTS = {
    ("conv", "out"): torch_pruning.prune_conv_out_channels,
    ("conv", "in"): torch_pruning.prune_conv_in_channels,
    ("deconv", "out"): torch_pruning.prune_conv_out_channels,
    ("deconv", "in"): torch_pruning.prune_conv_in_channels,
    ("shares", "out"): torch_pruning.prune_conv_out_channels,
    ("linear", "out"): torch_pruning.prune_linear_out_channels,
    ("linear", "in"): torch_pruning.prune_linear_in_channels,
}
_EXACT = "donot_use_mm_for_euclid_dist"  # symmetric, and zero on the diagonal
_WEIGHTED = [nn.modules.conv._ConvNd, nn.Linear]


class _Item(tuple):
    """What torch-pruning's importances read: unpacks to (dependency, positions), knows the group's channel of each."""

    root_idxs: list[int]


def members_of(model: nn.Module, group: Group, *keys: tuple[str, str]) -> list[Member]:
    """Returns the group's members of the given (kind, side), without those inside SE blocks (gates are no filters)."""
    inside = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, SqueezeExcite))
    return [m for m in group.members if (m.kind, m.side) in keys and not m.layer.startswith(inside)]


def engine_group(model: nn.Module, group: Group, *keys: tuple[str, str]) -> list[_Item]:
    """Returns members of a group in the form that torch-pruning's importances read, for the modules of ``model``."""
    items = []
    for member in members_of(model, group, *keys):
        layer, cut = model.get_submodule(member.layer), _CUTS[member.kind, member.side]
        item = _Item((SimpleNamespace(layer=layer, pruning_fn=cut), member.index.ravel().tolist()))
        item.root_idxs = [channel for channel, row in enumerate(member.positions) for _ in row]
        items.append(item)
    return items


def magnitude(model: nn.Module, group: Group, *, p: int, consumers: bool = True) -> Tensor:
    """Sum of |w|^p over the filters that make a channel and (``consumers``) the weights that read it.

    Paper: https://arxiv.org/abs/1608.08710 scores the making filter alone; https://arxiv.org/abs/2301.12900 the group.
    """
    keys = MAKERS + READERS if consumers else MAKERS
    importance = GroupMagnitudeImportance(p=p, normalizer=None, target_types=_WEIGHTED)
    return importance(engine_group(model, group, *keys))[: group.size]  # as long as the root is wide


def lamp(model: nn.Module, group: Group) -> Tensor:
    """Squared magnitude as a share of all that is at least as large in the group (https://arxiv.org/abs/2010.07611)."""
    return LAMPImportance()(engine_group(model, group, *MAKERS, *READERS))[: group.size]  # behind it stand zeros


def fpgm(model: nn.Module, group: Group) -> Tensor:
    """Sum of distances to all other filters: near the geometric median is replaceable.

    Paper: https://arxiv.org/abs/1811.00250. Not torch-pruning's version, which squares the weights before it takes
    distances, so that a filter and its negative look the same.
    """
    rows = []
    for member in members_of(model, group, *MAKERS):
        filters = _filters(model, member)
        rows.append(_to_group(member, torch.cdist(filters, filters).sum(1)))
    return torch.stack(rows).mean(0)


def tmm(model: nn.Module, group: Group, *, k: int = 2) -> Tensor:
    """Place, in (0, 1], in the order in which filters go when the one in the densest spot goes first, again and again.

    At each turn every filter that is left has the sum of the distances to its k nearest ones (itself included), and
    the smallest sum goes; of equal ones that with the smaller mean distance to all filters, then the higher number.
    Once at most k are left, the mean distance alone decides.

    Args:
        model: the network.
        group: one of its groups; its layers' distances are averaged.
        k: neighbours that count, the filter itself included.

    Raises:
        RspruneError: k is no whole number of at least 2.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise RspruneError(
            f"k of criterion tmm is {k!r} but must be a whole number of at least 2: the filter itself counts."
        )
    each = [_filters(model, m)[torch.from_numpy(m.index)].flatten(1) for m in members_of(model, group, *MAKERS)]
    distances = torch.stack([torch.cdist(rows, rows, compute_mode=_EXACT) for rows in each]).mean(0)  # (size, size)
    overall, left, places = distances.mean(1), list(range(group.size)), torch.empty(group.size)
    for turn in range(1, group.size + 1):
        near = distances[left][:, left].topk(k, largest=False).values.sum(1) if len(left) > k else overall[left]
        keys = zip(near.tolist(), overall[left].tolist(), (-channel for channel in left), strict=True)
        gone = -min(keys)[2]
        left.remove(gone)
        places[gone] = turn / group.size
    return places


def _filters(model: nn.Module, member: Member) -> Tensor:
    """(C, fan-in) float64: what makes each output position of a layer."""
    weight = model.get_submodule(member.layer).weight.detach().cpu().double()
    return (weight.transpose(0, 1) if member.kind == "deconv" else weight).flatten(1)


def bn_scale(model: nn.Module, group: Group) -> Tensor:
    """Mean |gamma| over the batch norms of the group (network slimming, https://arxiv.org/abs/1708.06519).

    Raises:
        ModelError: the group has no batch norm.
    """
    return torch.stack([_to_group(m, _gamma(model, m)) for m in _norms(model, group)]).mean(0)


def attention(model: nn.Module, group: Group, *, gates: Gates, mode: str = "drop") -> Tensor:
    """CAP: mean of |gamma * mean gate| over the batch norms of the group (https://arxiv.org/abs/2412.12603).

    A shortcut's batch norm has no gate, so its |gamma| is of another scale, and in a plain mean it decides for the
    whole residual stream.

    Args:
        model: network with live SE blocks.
        group: one of its groups.
        gates: its gate statistics.
        mode: ``"drop"`` leaves a norm without a gate out where the group has norms with one; ``"normalise"`` divides
            each norm's scores by their mean first; ``"paper"`` averages all norms as they are.

    Raises:
        ModelError: the group has no batch norm.
    """
    norms = _norms(model, group)
    live = [member for member in norms if member.layer in gates.mean]
    rows = []
    for member in live if live and mode == "drop" else norms:
        own = _gamma(model, member).double().cpu() * gates.mean.get(member.layer, torch.ones(()))
        own = _to_group(member, own)
        rows.append(own / own.mean().clamp_min(1e-30) if mode == "normalise" else own)
    return torch.stack(rows).mean(0)


def _gamma(model: nn.Module, member: Member) -> Tensor:
    return model.get_submodule(member.layer).weight.detach().abs()


def _norms(model: nn.Module, group: Group) -> list[Member]:
    norms = [m for m in group.members if m.kind == "norm" and model.get_submodule(m.layer).weight is not None]
    if not norms:
        raise ModelError(
            f"The channels of {group.name!r} pass through no batch norm, so they have no scale to be judged by; "
            "choose a criterion that looks at weights or data, such as l2 or taylor."
        )
    return norms


def _to_group(member: Member, values: Tensor) -> Tensor:
    """Layer positions -> channels of the group: (C,) -> (size,), the sum where a channel has several positions."""
    return values.cpu()[torch.from_numpy(member.index)].sum(1).float()
