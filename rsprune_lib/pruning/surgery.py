"""Surgery: from a network and a plan to a really smaller network, or to the same network with channels silenced."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from rsprune_lib.pruning.cutting import Cuts, gone_slices, kept_positions, silenced, small_copy
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.plan import Plan

__all__ = ["apply", "faded", "masked"]


@torch.no_grad()
def apply(model: nn.Module, plan: Plan, groups: Sequence[Group] | None = None) -> nn.Module:
    """Builds the smaller network that a plan describes.

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
    return small_copy(model, _cuts(model, plan, groups))


@contextmanager
def masked(model: nn.Module, plan: Plan, groups: Sequence[Group] | None = None) -> Iterator[nn.Module]:
    """Silences the channels that a plan removes, in place, for the duration of a ``with`` block.

    Two things are set to zero: what makes a removed channel (its filters, biases, and gamma and beta of its norms, in
    every branch of a residual stream; an SE gate then scales a zero) and what reads it (the next layers' columns, those
    of SE blocks included). The first makes the channel's feature maps zero, the second makes the output independent of
    it whatever activation stands between. Norms over channels leave a removed channel out of mean and variance. In
    evaluation mode the output equals that of ``apply(model, plan)``.

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
    with silenced(model, _cuts(model, plan, groups)) as quiet:
        yield quiet


@torch.no_grad()
def faded(model: nn.Module, plan: Plan, groups: Sequence[Group] | None = None, *, left: float) -> nn.Module:
    """A copy in which the channels that a plan removes send on a share of what they did: a soft mask.

    Gamma and beta of their norms are multiplied, or filters and biases where no norm stands behind.

    Args:
        model: the unpruned network; it is not touched.
        plan: what to keep.
        groups: `find_groups` of the network; found here if not given.
        left: the share, in [0, 1]; 1 is the network itself, 0 is `masked` where the activation of zero is zero.

    Raises:
        PlanError: the plan is for another network.
    """
    groups = find_groups(model) if groups is None else groups
    _cuts(model, plan, groups)
    network = copy.deepcopy(model)
    cuts = kept_positions([replace(group, members=group.makers) for group in groups], plan.keep, network)
    for tensor, dim, gone in gone_slices(network, cuts):
        tensor.index_copy_(dim, gone, tensor.index_select(dim, gone) * left)
    return network


def _cuts(model: nn.Module, plan: Plan, groups: Sequence[Group] | None) -> Cuts:
    plan.check(model)
    groups = find_groups(model) if groups is None else groups
    plan.check(groups)
    return kept_positions(groups, plan.keep, model)
