"""Repairs by others, as baselines of `recovery_ways.py`: folding channels, and a fit of the reading layers alone.

Both are written from the papers' text for networks of convolutions, batch norms and linear layers; batch norms are to
be re-estimated afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from rsprune_lib.models import evaluating, hooked, units
from rsprune_lib.pruning import Group, Member, Plan, apply

__all__ = ["consumer_ridge", "fold_channels"]

RIDGE = 1e-4  # of the mean diagonal, as in our closed form
TRIES = 5  # starts of k-means; the tightest clusters count


@torch.no_grad()
def fold_channels(model: nn.Module, groups: Sequence[Group], widths: Mapping[str, int], seed: int = 0) -> nn.Module:
    """Merges the channels of each group into clusters: model folding (https://arxiv.org/abs/2502.10216), no data.

    k-means over the filters that make a channel, each on the scale of its batch norm. A cluster's filter is the mean of
    its channels', and so are |gamma| and beta; layers that read them add up the weights. Our reading: filters are
    scaled by gamma / sigma before they are compared and averaged; the norms' statistics are left to a re-estimation.

    Args:
        model: a plain network.
        groups: its groups.
        widths: clusters of each group.
        seed: of k-means.
    """
    model = copy.deepcopy(model)
    norms = {unit.layer: unit.norm for unit in units(model) if unit.norm}
    for layer, norm in ((model.get_submodule(a), model.get_submodule(b)) for a, b in norms.items()):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        if layer.bias is not None:
            layer.bias.mul_(scale)
        norm.weight.abs_()  # the sign is in the filter now
    keep = {}
    for group in groups:
        labels = _clusters(_filters(model, group), widths[group.name], seed)
        first = [int(np.flatnonzero(labels == number)[0]) for number in range(widths[group.name])]
        share = torch.zeros(
            group.size, group.size
        )  # row: the cluster's first channel; column: a channel of the cluster
        share[torch.as_tensor(first)[labels], torch.arange(group.size)] = 1
        for member in group.members:
            _merge(model.get_submodule(member.layer), member, share)
        keep[group.name] = tuple(sorted(first))
    plan = Plan(getattr(groups, "model", {}), keep, {group.name: group.size for group in groups}, {})
    return apply(model, plan, groups)


def _filters(model: nn.Module, group: Group) -> np.ndarray:
    """(size, weights) of all filters that make each channel."""
    made = [m for m in group.members if m.side == "out" and m.kind in ("conv", "linear")]
    weights = [model.get_submodule(m.layer).weight[torch.as_tensor(m.index[:, 0])].flatten(1) for m in made]
    return torch.cat(weights, 1).double().numpy()


def _clusters(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(points,) number of each point's cluster; every cluster has a point."""
    best, least = None, np.inf
    for start in range(TRIES):
        centres, labels = kmeans2(points, count, minit="++", seed=seed + start, iter=30)
        for empty in set(range(count)) - set(labels.tolist()):  # takes the point that fits worst where it is not alone
            far = np.square(points - centres[labels]).sum(1)
            far[np.bincount(labels, minlength=count)[labels] == 1] = -1
            labels[far.argmax()] = empty
        centres = np.stack([points[labels == number].mean(0) for number in range(count)])
        spread = np.square(points - centres[labels]).sum()
        if spread < least:
            best, least = labels, spread
    return best


def _merge(layer: nn.Module, member: Member, share: Tensor) -> None:
    """Puts the clusters' values where their first channels stand: means of what makes them, sums of what reads them."""
    rows = torch.as_tensor(member.index)  # (size, fan)
    if member.side == "in":
        for column in rows.T:
            layer.weight[:, column] = torch.einsum("ab,ob...->oa...", share, layer.weight[:, column])
        return
    mean = share / share.sum(1, keepdim=True).clamp_min(1)
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(layer, name, None)
        if value is not None:
            value[rows[:, 0]] = torch.einsum("ab,b...->a...", mean, value[rows[:, 0]])


@torch.no_grad()
def consumer_ridge(
    model: nn.Module,
    groups: Sequence[Group],
    plan: Plan,
    batches: Iterable[tuple[Tensor, Tensor]],
    ridge: float = RIDGE,
) -> nn.Module:
    """Leaves the filters as they are and refits the layers that read them, as GRAIL does (https://arxiv.org/abs/2602.23795).

    With the Gram matrix G of the channels that a layer reads in the unpruned network, B = G[:, K] (G[K, K] + ridge *
    mean(diag G[K, K]))^-1 predicts all of them from the kept ones K; the layer's weights become W B.

    Args:
        model: a plain network.
        groups: its groups.
        plan: which channels stay.
        batches: training images.
        ridge: relative to the mean diagonal.
    """
    readers = [(g, m) for g in groups for m in g.members if m.side == "in" and m.kind in ("conv", "linear")]
    grams: dict[str, Tensor] = {}

    def see(member: Member, x: Tensor) -> None:
        rows = x.movedim(member.axis, -1)
        rows = rows[..., torch.as_tensor(member.index)].transpose(-1, -2).reshape(-1, len(member.index))
        grams[member.layer] = grams.get(member.layer, 0) + (rows.T @ rows).double()

    hooks = [(model.get_submodule(m.layer), lambda _m, x, member=m: see(member, x[0])) for _, m in readers]
    with evaluating(model), hooked(in_front=hooks):
        for images, _ in batches:
            model(images)
    refitted = copy.deepcopy(model)
    for group, member in readers:
        gram, kept = grams[member.layer], torch.as_tensor(plan.keep[group.name])
        own = gram[kept][:, kept]
        own.diagonal().add_(ridge * own.diagonal().mean())
        told = torch.linalg.solve(own, gram[kept]).float()  # (kept, size), B'
        weight = refitted.get_submodule(member.layer).weight
        for column in torch.as_tensor(member.index).T:
            weight[:, column[kept]] = torch.einsum("kc,oc...->ok...", told, weight[:, column])
    return apply(refitted, plan, groups)
