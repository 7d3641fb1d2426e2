"""One call from a trained network to a pruned and repaired one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import ModelError, RspruneError, unknown
from rsprune_lib.measure import layer_costs
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics, gated_norms
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, sequential
from rsprune_lib.pruning.scores import CRITERIA, Scores, score
from rsprune_lib.pruning.similarity.hashes import similarity
from rsprune_lib.pruning.similarity.select import select_in_scope
from rsprune_lib.pruning.similarity.selection import Selection
from rsprune_lib.pruning.surgery import apply

__all__ = ["RECOVERIES", "Pruned", "prune"]

RECOVERIES = ("closed_form", "bn", "none")


@dataclass(frozen=True)
class Pruned:
    """What `prune` made, and what it was made from.

    Attributes:
        model: the small network, in eval mode.
        plan: which channels stayed.
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
    if recovery not in RECOVERIES:
        raise unknown("recovery", recovery, RECOVERIES)
    if plan is None and criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA)
    _check(model, data, images)
    device = next(model.parameters()).device

    def batches(limit: int | None) -> Batches:
        return Batches(data, "train", batch_size, limit=limit, device=device)

    if gated_norms(model):
        gates = gates or gate_statistics(model, batches(None), progress)
        plain = fold(model, gates)
    else:
        gates, plain = None, model
    groups = find_groups(plain, data.image_size) if groups is None else groups
    scores = None
    if plan is None:
        given = {"data": batches(images), "gates": gates, "seed": seed, "progress": progress}
        costs = layer_costs(plain, data.image_size) if macs is not None else None
        amount = {"ratio": ratio, "threshold": threshold, "macs": macs, "costs": costs}
        if criterion == "similarity" and (threshold is not None or "selector" in (options or {})):
            plan = _by_graph(model, groups, given, amount | {"scope": scope}, dict(options or {}), dict(choosing or {}))
        else:
            scores = score(model, groups, criterion, **given, **(options or {}))
            plan = choose(scores, groups, scope=scope, **amount, **(choosing or {}))
    small = apply(plain, plan, groups).eval()
    if recovery == "bn":
        small = reestimate_bn(small, batches(images), progress, should_stop=should_stop)
    elif recovery == "closed_form":
        how = {"groups": groups, "ridge": ridge, "progress": progress, "should_stop": should_stop}
        small = sequential(model, small, plan, batches(images), **how)
    return Pruned(small, plan, scores, groups, gates)


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
    for option in options:
        if option != "makers":
            raise unknown("option of criterion similarity", option, ("selector", "rank", "makers"))
    found = similarity(model, groups, given["data"], progress=given["progress"], **options)
    ranked = None if rank is None else score(model, groups, rank, **given)
    own = {key: choosing.pop(key) for key in ("least", "follow") if key in choosing}
    own |= {key: choosing[key] for key in ("min_keep", "locked") if key in choosing}
    if amount["threshold"] is not None or amount["scope"] == "global":
        own |= {"per_group": choosing.pop("per_group", None)}
        for name in choosing.keys() - {"min_keep", "locked", "multiple_of"}:
            raise unknown("argument of a selector", name, ("least", "min_keep", "locked", "per_group", "follow"))
        if choosing.get("multiple_of", 1) != 1:
            raise RspruneError(
                "One threshold for all layers cannot keep multiples of a number; give ratio or macs and scope='local', "
                "or leave it out."
            )
    scores = score(model, groups, "similarity", similar=found, **given)
    return select_in_scope(Selection(found, groups, selector, ranked, **own), groups, scores, **amount, **choosing)


def _check(model: nn.Module, data: Dataset, images: int) -> None:
    classes = getattr(model, "config", {}).get("num_classes", data.num_classes)
    if classes != data.num_classes:
        raise ModelError(
            f"The network tells {classes} classes apart, but {data.name!r} has {data.num_classes}; "
            "use the data set it was trained on."
        )
    if images < 1:
        raise RspruneError(f"images is {images} but must be at least 1; 512 to 1024 work well.")
