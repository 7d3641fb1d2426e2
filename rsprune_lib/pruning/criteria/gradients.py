"""Criteria that look at the loss: what would happen to it if a channel were silent?

Every channel of every group is multiplied by a mask of ones, each image having its own. One backward pass then gives
the derivative g of each image's loss by each channel, and with it the first-order effect of removing the channel, |g|,
and the second-order one, g^2 / 2, the diagonal of the empirical Fisher matrix. All layers of a group share the mask, so
what they have in common is counted once.

Papers: https://arxiv.org/abs/1906.10771 (Taylor), https://arxiv.org/abs/1801.05787 (Fisher). Not torch-pruning's
versions: its Taylor takes the gradient of the mean loss, which is near zero in a trained network, and leaves batch
norms out; its Hessian overwrites the sum over the images and keeps the last one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.models import hooked
from rsprune_lib.pruning.calibration import feed
from rsprune_lib.pruning.groups import Group, Member
from rsprune_lib.pruning.layers import KINDS
from rsprune_lib.tasks import IGNORE, task_of

__all__ = ["hessian", "taylor"]

Batched = Iterable[tuple[Tensor, Tensor]]


def taylor(model: nn.Module, groups: Iterable[Group], data: Batched, progress: bool = True) -> dict[str, Tensor]:
    """Mean over the images of |dL/dmask|: the first-order change of the loss when the channel is removed."""
    return _mean_sensitivity(model, list(groups), data, "Taylor", torch.abs, progress)


def hessian(model: nn.Module, groups: Iterable[Group], data: Batched, progress: bool = True) -> dict[str, Tensor]:
    """Mean over the images of (dL/dmask)^2 / 2: the second-order change, with the Fisher matrix for the Hessian."""
    return _mean_sensitivity(model, list(groups), data, "Hessian", lambda g: g.square() / 2, progress)


def _mean_sensitivity(
    model: nn.Module, groups: list[Group], data: Batched, title: str, measure: object, progress: bool
) -> dict[str, Tensor]:
    task, summed = task_of(model, data), _ImageLosses()
    worker = copy.deepcopy(model).eval().requires_grad_(False)
    masks: dict[str, Tensor] = {}
    hooks = [
        (worker.get_submodule(member.layer), _mask_hook(worker, group.name, member, masks))
        for group in groups
        for member in _masked_members(group)
    ]
    totals, count = {group.name: torch.zeros(group.size, dtype=torch.float64) for group in groups}, 0
    for images, labels in feed(data, worker, title, progress=progress):
        with torch.enable_grad(), hooked(hooks):
            masks.update({g.name: images.new_ones(len(images), g.size, requires_grad=True) for g in groups})
            task.objective(summed, worker(images), labels).backward()
        for name, mask in masks.items():
            totals[name] += measure(mask.grad.cpu().double()).sum(0)
        count += len(images)
    return {name: (total / count).float() for name, total in totals.items()}


class _ImageLosses(nn.Module):
    """Cross-entropy summed over the images; of each image, the mean over its labelled pixels."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """From logits (B, K, ...) and targets (B, ...) to a scalar."""
        each = F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORE)
        B = len(targets)
        pixels = (targets != IGNORE).view(B, -1).sum(1).clamp_min(1)
        return (each.view(B, -1).sum(1) / pixels).sum()


def _masked_members(group: Group) -> list[Member]:
    """The members whose outputs are multiplied by the mask: batch norms, or whatever makes the channel without one."""
    norms = [m for m in group.members if m.kind == "norm"]
    return norms or [m for m in group.members if m.side == "out" and KINDS.get(m.kind, KINDS["prelu"]).makes]


def _mask_hook(model: nn.Module, name: str, member: Member, masks: dict[str, Tensor]) -> object:
    """A forward hook that multiplies the member's positions by the mask of its group."""
    index = torch.from_numpy(member.index)

    def hook(_module: nn.Module, _x: object, y: Tensor) -> Tensor:
        mask = masks[name]  # (B, size)
        full = mask.new_ones(len(mask), y.shape[member.axis])
        full = full.index_copy(1, index.flatten().to(y.device), mask.repeat_interleave(member.fan, dim=1))
        shape = [len(mask)] + [1] * (y.dim() - 1)
        shape[member.axis] = -1
        return y * full.view(shape)

    return hook
