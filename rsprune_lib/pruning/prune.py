"""One call from a trained network to a pruned and repaired one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import ModelError
from rsprune_lib.measure import LayerCost, layer_costs
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics, gated_norms, without_gates
from rsprune_lib.pruning.criteria.registry import score, usual_criterion
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.plan import Plan, compose, full_plan
from rsprune_lib.pruning.recovery.recoveries import RECOVERIES, Repair
from rsprune_lib.pruning.request import Request
from rsprune_lib.pruning.scores import Scores
from rsprune_lib.pruning.similarity.hashes import similarity
from rsprune_lib.pruning.similarity.select import select_in_scope
from rsprune_lib.pruning.similarity.selection import Selection
from rsprune_lib.pruning.surgery import apply

__all__ = ["Pruned", "check_classes", "decide", "prune"]


@dataclass(frozen=True)
class Pruned:
    """What `prune` made, and what it was made from.

    Attributes:
        model: the small network, in eval mode.
        plan: which channels stayed; of the first network, if ``prune`` was given the plan that made this one from it.
        scores: by which they were chosen; None if a plan was given, or a similarity graph decided.
        groups: the groups of the plain network.
        gates: the gate statistics that were folded in; None for a network without SE.
    """

    model: nn.Module
    plan: Plan
    scores: Scores | None
    groups: Sequence[Group]
    gates: Gates | None


def prune(
    model: nn.Module,
    data: Dataset,
    request: Request | None = None,
    *,
    first: Plan | None = None,
    gates: Gates | None = None,
    groups: Sequence[Group] | None = None,
    progress: bool = True,
    **asked: Any,  # noqa: ANN401 - fields of Request
) -> Pruned:
    """Folds the SE gates, scores, chooses, cuts and repairs.

    It sees training images only, and their labels only where a criterion looks at the loss; masks also say at which
    places the closed form looks.

    Args:
        model: the trained network, with or without SE blocks; left untouched.
        data: the data set it was trained on.
        request: how to prune; or give its fields by name.
        first: the plan that this network was pruned with before; the result's plan then does both at once, and with the
            first network's config it rebuilds the result (`compose`).
        gates: gate statistics of the network; collected over the whole training split if None.
        groups: groups of the plain network, found if None.
        progress: show bars.
        **asked: fields of `Request`, in place of it or of some of its fields.

    Raises:
        RspruneError: a name is unknown, an amount is missing or out of range, or the network does not fit the data.

    Example:
        >>> small = prune(model, load_data("eurosat"), ratio=0.7).model
    """
    request = Request(**asked) if request is None else replace(request, **asked)
    if request.criterion is None:
        request = replace(request, criterion=usual_criterion(model))
    check_classes(model, data)
    device, gated = next(model.parameters()).device, bool(gated_norms(model))
    plain = without_gates(model) if gated else model
    groups = find_groups(plain, data.image_size) if groups is None else groups
    costs = layer_costs(plain, data.image_size) if request.macs is not None else None
    _rehearse(request, groups, costs, first)
    if gated and gates is None:
        gates = gate_statistics(model, Batches(data, "train", request.batch_size, device=device), progress)
    gates = gates if gated else None
    plain = fold(model, gates) if gated else model
    batches = Batches(data, "train", request.batch_size, limit=request.images, device=device)
    given = {"data": batches, "gates": gates, "seed": request.seed, "progress": progress}
    plan, scores = decide(model, groups, request, costs, given)
    case = Repair(model, apply(plain, plan, groups).eval(), plan, groups, batches, progress)
    small = RECOVERIES[request.recovery].run(case, **request.repairing)
    return Pruned(small, plan if first is None else compose(first, plan), scores, groups, gates)


def _rehearse(request: Request, groups: Sequence[Group], costs: Sequence[LayerCost] | None, first: Plan | None) -> None:
    """Finds what cannot be done before anything is measured: chooses by equal scores what no scores could meet."""
    if first is not None:
        compose(first, full_plan(groups))
    if request.plan is not None:
        request.plan.check(groups)
        return
    equal = Scores("none", {group.name: torch.zeros(group.size) for group in groups})
    limits = request.for_choose | {"clip": True}
    choose(equal, groups, scope=request.scope, **request.amount, costs=costs, **limits)


def decide(
    model: nn.Module,
    groups: Sequence[Group],
    request: Request,
    costs: Sequence[LayerCost] | None,
    given: dict[str, Any],
) -> tuple[Plan, Scores | None]:
    """The plan of a request, and the scores behind it where scores decide.

    Args:
        model: the network that is scored.
        groups: its groups.
        request: what is asked for; with its criterion.
        costs: `layer_costs` of the network, for MACs.
        given: further arguments of `score`.
    """
    if request.plan is not None:
        return request.plan, None
    how = {"scope": request.scope, **request.amount, "costs": costs, **request.for_choose}
    options = request.options
    if not request.by_graph:
        scores = score(model, groups, request.criterion, **given, **options)
        return choose(scores, groups, **how), scores
    own = {key: options[key] for key in ("makers", "mean_term") if key in options}
    found = similarity(model, groups, given["data"], progress=given["progress"], **own)
    rank = options.get("rank")
    ranked = None if rank is None else score(model, groups, rank, **given)
    selection = Selection(found, groups, options.get("selector", "dominating"), ranked, **request.for_selection)
    scores = score(model, groups, "similarity", similar=found, **given)
    return select_in_scope(selection, groups, scores, **how), None


def check_classes(model: nn.Module, data: Dataset) -> None:
    """Checks that a network has the classes of a data set, as far as it says how many it has.

    Raises:
        ModelError: it has others.
    """
    classes = getattr(model, "config", {}).get("num_classes", data.num_classes)
    if classes != data.num_classes:
        raise ModelError(
            f"The network tells {classes} classes apart, but {data.name!r} has {data.num_classes}; "
            "use the data set it was trained on."
        )
