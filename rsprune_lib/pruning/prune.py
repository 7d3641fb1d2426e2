"""One call from a trained network to a pruned and repaired one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import ModelError, RspruneError, unknown
from rsprune_lib.measure import layer_costs
from rsprune_lib.pruning.choose import check_arguments, choose
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics, gated_norms, without_gates
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.plan import Plan, compose, full_plan
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, sequential
from rsprune_lib.pruning.scores import Scores, check_criterion, score
from rsprune_lib.pruning.similarity.hashes import similarity
from rsprune_lib.pruning.similarity.select import select_in_scope
from rsprune_lib.pruning.similarity.selection import Selection, check_selection, check_threshold
from rsprune_lib.pruning.surgery import apply

__all__ = ["RECOVERIES", "Pruned", "check_request", "prune"]

RECOVERIES = ("closed_form", "bn", "none")


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
    *,
    criterion: str = "attention",
    ratio: float | None = None,
    threshold: float | None = None,
    macs: float | None = None,
    scope: str = "local",
    plan: Plan | None = None,
    first: Plan | None = None,
    recovery: str = "closed_form",
    images: int = 1024,
    gates: Gates | None = None,
    groups: Sequence[Group] | None = None,
    options: Mapping[str, Any] | None = None,
    choosing: Mapping[str, Any] | None = None,
    ridge: float = 1e-4,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
    should_stop: Callable[[], bool] | None = None,
) -> Pruned:
    """Folds the SE gates, scores, chooses, cuts and repairs.

    It sees training images only, and their labels only for taylor and hessian.

    Args:
        model: the trained network, with or without SE blocks; left untouched.
        data: the data set it was trained on.
        criterion: key of `CRITERIA`.
        ratio: share of the channels to remove; give one of ratio, threshold, macs (or a plan), see `choose`.
        threshold: channels with a lower score go; with criterion ``"similarity"`` two channels are alike from this
            similarity on, and a selector decides who stays (`select`).
        macs: the most MACs that may be left for one image.
        scope: ``"local"``, ``"global"`` or ``"isomorphic"``; with a selector among the options, see `select_in_scope`.
        plan: a finished plan; nothing is scored then.
        first: the plan that this network was pruned with before; the result's plan then does both at once, and with the
            first network's config it rebuilds the result (`compose`).
        recovery: ``"closed_form"`` (see `sequential`), ``"bn"`` (statistics only) or ``"none"``.
        images: class-balanced training images that scoring and recovery look at.
        gates: gate statistics of the network; collected over the whole training split if None.
        groups: groups of the plain network, found if None.
        options: of the criterion, see `score`; where a graph decides also ``selector``.
        choosing: further arguments of `choose`, e.g. ``{"multiple_of": 8}``, or of `select`, e.g. ``{"least": 0.1}``.
        ridge: of the closed form.
        batch_size: images a batch, without influence on the result beyond rounding.
        seed: for the random criterion.
        progress: show bars.
        should_stop: asked before each batch of the recovery; True ends the work.

    Raises:
        RspruneError: a name is unknown, an amount is missing or out of range, or the network does not fit the data.

    Example:
        >>> small = prune(model, load_data("eurosat"), ratio=0.7).model
    """
    amount = {"ratio": ratio, "threshold": threshold, "macs": macs}
    options, choosing = dict(options or {}), dict(choosing or {})
    check_request(
        None if plan else criterion, scope, amount, recovery=recovery, images=images, options=options, choosing=choosing
    )
    _check_classes(model, data)
    device = next(model.parameters()).device

    def batches(limit: int | None) -> Batches:
        return Batches(data, "train", batch_size, limit=limit, device=device)

    plain = without_gates(model) if gated_norms(model) else model
    groups = find_groups(plain, data.image_size) if groups is None else groups
    amount["costs"] = layer_costs(plain, data.image_size) if macs is not None else None
    if first is not None:
        compose(first, full_plan(groups))  # here and below: what cannot be done is found before anything is measured
    graph = plan is None and _has_selector(criterion, amount, options)
    if plan is not None:
        plan.check(groups)
    else:
        _rehearse(groups, amount | {"scope": scope}, choosing, graph)
    gates = None if plain is model else gates or gate_statistics(model, batches(None), progress)
    plain = plain if gates is None else fold(model, gates)
    scores = None
    if plan is None:
        given = {"data": batches(images), "gates": gates, "seed": seed, "progress": progress}
        if graph:
            plan = _by_graph(model, groups, given, amount | {"scope": scope}, options, choosing)
        else:
            scores = score(model, groups, criterion, **given, **options)
            plan = choose(scores, groups, scope=scope, **amount, **choosing)
    small = apply(plain, plan, groups).eval()
    if recovery == "bn":
        small = reestimate_bn(small, batches(images), progress, should_stop=should_stop)
    elif recovery == "closed_form":
        how = {"groups": groups, "ridge": ridge, "progress": progress, "should_stop": should_stop}
        small = sequential(model, small, plan, batches(images), **how)
    return Pruned(small, plan if first is None else compose(first, plan), scores, groups, gates)


_OF_SELECTORS = ("least", "follow")
_LIMITS = ("min_keep", "multiple_of", "locked")


def check_request(
    criterion: str | None,
    scope: str,
    amount: Mapping[str, float | None],
    *,
    recovery: str = "none",
    images: int = 1,
    options: Mapping[str, Any] | None = None,
    choosing: Mapping[str, Any] | None = None,
) -> None:
    """Checks the arguments of `prune` as far as that goes without a network; it costs nothing.

    Args:
        criterion: None where a finished plan is replayed: scope and amount then do not count.
        scope: as `prune` takes it.
        amount: ratio, threshold and macs, None for those that are not given.
        recovery: as `prune` takes it, and so are the others.
        images: see there.
        options: see there.
        choosing: see there.

    Raises:
        RspruneError: a name is unknown, or a number is missing or out of its range.
    """
    if recovery not in RECOVERIES:
        raise unknown("recovery", recovery, RECOVERIES)
    if images < 1:
        raise RspruneError(f"images is {images} but must be at least 1; 512 to 1024 work well.")
    if criterion is None:
        return
    options, choosing = options or {}, choosing or {}
    if _has_selector(criterion, amount, options):
        _check_graph(scope, amount, options, choosing)
    else:
        check_criterion(criterion, options)
        for name in choosing.keys() - {*_LIMITS, "per_group", "normalise", "clip"}:
            raise unknown("argument of choose", name, (*_LIMITS, "per_group", "normalise", "clip"))
        own = {key: choosing[key] for key in ("min_keep", "multiple_of") if key in choosing}
        check_arguments(scope, {**amount, "per_group": choosing.get("per_group")}, **own)


def _has_selector(criterion: str, amount: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    return criterion == "similarity" and (amount.get("threshold") is not None or "selector" in options)


def _one_threshold(scope: str, amount: Mapping[str, Any]) -> bool:
    """Whether a selector has one threshold for all layers, given or looked for."""
    return amount.get("threshold") is not None or scope == "global"


def _check_graph(
    scope: str, amount: Mapping[str, Any], options: Mapping[str, Any], choosing: Mapping[str, Any]
) -> None:
    for option in options.keys() - {"selector", "rank", "makers"}:
        raise unknown("option of criterion similarity", option, ("selector", "rank", "makers"))
    if options.get("rank") is not None:
        check_criterion(options["rank"])
    check_selection(
        options.get("selector", "dominating"),
        options.get("rank") is not None,
        **{key: choosing[key] for key in ("min_keep", "least") if key in choosing},
    )
    check_arguments(scope, amount, multiple_of=choosing.get("multiple_of", 1))
    if amount.get("threshold") is not None:
        check_threshold("threshold", amount["threshold"])
    if _one_threshold(scope, amount):
        for name in choosing.keys() - {*_LIMITS, *_OF_SELECTORS, "per_group"}:
            raise unknown("argument of a selector", name, ("least", "min_keep", "locked", "per_group", "follow"))
        if choosing.get("multiple_of", 1) != 1:
            raise RspruneError(
                "One threshold for all layers cannot keep multiples of a number; give ratio or macs and scope='local', "
                "or leave it out."
            )


def _rehearse(groups: Sequence[Group], amount: Mapping[str, Any], choosing: Mapping[str, Any], graph: bool) -> None:
    """Chooses by equal scores: what no scores could meet is found before anything is measured."""
    equal = Scores("none", {group.name: torch.zeros(group.size) for group in groups})
    known = _LIMITS if graph and _one_threshold(amount["scope"], amount) else choosing.keys() - set(_OF_SELECTORS)
    own = {key: choosing[key] for key in known if key in choosing}
    choose(equal, groups, **amount, **own | {"clip": True})


def _by_graph(
    model: nn.Module,
    groups: Sequence[Group],
    given: dict[str, Any],
    amount: dict[str, Any],
    options: dict[str, Any],
    choosing: dict[str, Any],
) -> Plan:
    """Compares feature maps and lets a selector decide."""
    selector, rank = options.pop("selector", "dominating"), options.pop("rank", None)
    found = similarity(model, groups, given["data"], progress=given["progress"], **options)
    ranked = None if rank is None else score(model, groups, rank, **given)
    own = {key: choosing.pop(key) for key in _OF_SELECTORS if key in choosing}
    own |= {key: choosing[key] for key in ("min_keep", "locked") if key in choosing}
    if _one_threshold(amount["scope"], amount):
        own |= {"per_group": choosing.pop("per_group", None)}
    scores = score(model, groups, "similarity", similar=found, **given)
    return select_in_scope(Selection(found, groups, selector, ranked, **own), groups, scores, **amount, **choosing)


def _check_classes(model: nn.Module, data: Dataset) -> None:
    classes = getattr(model, "config", {}).get("num_classes", data.num_classes)
    if classes != data.num_classes:
        raise ModelError(
            f"The network tells {classes} classes apart, but {data.name!r} has {data.num_classes}; "
            "use the data set it was trained on."
        )
