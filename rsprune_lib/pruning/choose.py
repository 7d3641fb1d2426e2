"""From scores to a plan: which channels stay, under which amount and in which competition.

Ties: within a group the lower index stays; between groups the one goes first that has lost the smaller share of its
channels so far (so equal scores prune uniformly), then the earlier group.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rsprune_lib.errors import PlanError, unknown
from rsprune_lib.measure import LayerCost
from rsprune_lib.pruning.costs import CostModel
from rsprune_lib.pruning.criteria.registry import scale_of
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.ladders import (
    Contest,
    Ladder,
    make_contests,
    make_ladder,
    merged,
    total_steps,
)
from rsprune_lib.pruning.layers import channels_left
from rsprune_lib.pruning.normalise import normalised
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.scores import Scores

__all__ = ["SCOPES", "check_arguments", "choose"]

SCOPES = ("local", "global", "isomorphic")


def choose(
    scores: Scores,
    groups: Sequence[Group],
    *,
    ratio: float | None = None,
    threshold: float | None = None,
    macs: float | None = None,
    per_group: Mapping[str, float] | None = None,
    scope: str = "local",
    costs: Sequence[LayerCost] | None = None,
    min_keep: int = 1,
    multiple_of: int = 1,
    locked: Sequence[str] = (),
    normalise: str | None = None,
    clip: bool = False,
) -> Plan:
    """Decides which channels stay. Deterministic; more pruning always keeps a subset.

    Args:
        scores: one number a channel; higher stays.
        groups: `find_groups` of the network.
        ratio: amount: share of the channels of each group, or of all that compete, to remove, see `channels_left`.
        threshold: amount: channels whose score, `normalised`, is below it go, whatever the scope.
        macs: amount: the most MACs that may be left for one image; what the budget still holds comes back.
        per_group: amount, local scope: group name -> ratio; the others follow ``ratio``, or stay whole without it.
        scope: what competes under ``ratio`` and ``macs``: ``"local"``, nothing, every group loses the same share;
            ``"global"``, all channels; ``"isomorphic"``, groups of the same shape (https://arxiv.org/abs/2407.04616).
        costs: `layer_costs` of the network; needed for ``macs``.
        min_keep: least number of channels that a group keeps; what it cannot give, its competitors give.
        multiple_of: a group ends at the nearest multiple of this (ties round up), never at 0, or stays whole.
        locked: names of groups that stay whole; they do not count for ``ratio``.
        normalise: see `normalised`.
        clip: keep the best ``min_keep`` where a ``threshold`` would leave fewer; otherwise that is an error.

    Returns:
        The plan; ``plan.how`` records these arguments.

    Raises:
        PlanError: an amount is missing, out of range or cannot be met; scores do not fit or are not finite.
        RspruneError: a name is unknown.

    Example:
        >>> choose(scores, groups, macs=15e6, scope="global", costs=layer_costs(model, 64)).widths["conv1"]
    """
    given = {"ratio": ratio, "threshold": threshold, "macs": macs, "per_group": per_group}
    amount, limits = check_arguments(scope, given, min_keep=min_keep, multiple_of=multiple_of)
    _check_names(groups, amount.get("per_group", {}), locked)
    values = normalised(scores, groups, normalise)
    ladders = [make_ladder(g, values[g.name], locked=g.name in locked, **limits) for g in groups]
    _check_steps(groups, ladders, multiple_of)
    how = {"criterion": scores.criterion, "scope": scope, **amount, **limits, "locked": sorted(locked)}
    how["normalise"] = normalise or scale_of(scores.criterion)
    if "threshold" in amount:
        removed = _below(groups, values, ladders, amount["threshold"], min_keep, clip)
        how["clip"] = bool(clip)
    else:
        removed, reached = _competing(amount, groups, make_contests(groups, ladders, scope), costs)
        how |= reached
    keep = {g.name: ladder.order[n:].tolist() for g, ladder, n in zip(groups, ladders, removed, strict=True)}
    return Plan(getattr(groups, "model", {}), keep, {group.name: group.size for group in groups}, how)


def check_arguments(
    scope: str, amounts: Mapping[str, Any], *, min_keep: int = 1, multiple_of: int = 1
) -> tuple[dict[str, Any], dict[str, int]]:
    """Checks what can be checked of the arguments of `choose` without a network.

    Args:
        scope: see `choose`.
        amounts: ratio, threshold, macs and per_group; those that are None or absent are not given.
        min_keep: see `choose`.
        multiple_of: see `choose`.

    Returns:
        The amounts that are given, and both limits, as plain numbers.

    Raises:
        PlanError: an amount is missing or out of its range.
        RspruneError: there is no such scope.
    """
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    amount = _amount(amounts)
    if amount.get("per_group") and scope != "local":
        raise PlanError(f"Ratios per group leave nothing to compete for, but the scope is {scope!r}; use 'local'.")
    return amount, {"min_keep": _whole("min_keep", min_keep), "multiple_of": _whole("multiple_of", multiple_of)}


def _below(
    groups: Sequence[Group],
    values: Mapping[str, np.ndarray],
    ladders: Sequence[Ladder],
    threshold: float,
    min_keep: int,
    clip: bool,
) -> list[int]:
    """Channels below a threshold in each group, as near as its steps allow."""
    free = [group for group, ladder in zip(groups, ladders, strict=True) if ladder.free]
    limits = {group.name: np.sort(values[group.name])[-min(min_keep, group.size)] for group in free}
    name = min(limits, key=limits.__getitem__, default=None)
    if name is not None and limits[name] < threshold and not clip:
        left = int((values[name] >= threshold).sum())
        possible = decimal.Context(prec=6, rounding=decimal.ROUND_FLOOR).create_decimal_from_float(limits[name].item())
        raise PlanError(
            f"The threshold {threshold:g} would leave {left} of the {len(values[name])} channels of {name!r}, but at "
            f"least {min_keep} must stay; the largest possible threshold is {possible.normalize():g}."
        )
    below = [int((values[group.name] < threshold).sum()) for group in groups]
    return [ladder.nearest(asked) for ladder, asked in zip(ladders, below, strict=True)]


def _competing(
    amount: Mapping[str, Any],
    groups: Sequence[Group],
    contests: Sequence[Contest],
    costs: Sequence[LayerCost] | None,
) -> tuple[np.ndarray, dict[str, int]]:
    """(groups,) channels to remove by ratios or for a MACs budget, and the MACs reached, if they count."""
    if "macs" in amount:
        if costs is None:
            raise PlanError("A MACs budget needs the costs of the network; pass costs=layer_costs(model, image_size).")
        removed, reached = _within(amount["macs"], CostModel(costs, groups), groups, contests)
        return removed, {"reached": reached}
    own, common = amount.get("per_group", {}), amount.get("ratio", 0.0)
    removed = np.zeros(len(groups), dtype=np.int64)
    for contest in contests:
        ratio = own.get(groups[contest.first].name, common)
        removed += contest.removed(contest.total - channels_left(contest.total, ratio))
    return removed, {}


def _within(
    budget: float, count: CostModel, groups: Sequence[Group], contests: Sequence[Contest]
) -> tuple[np.ndarray, int]:
    """(groups,) the fewest channels to remove for at most ``budget`` MACs, and the MACs reached.

    The shortest sequence of removals that gets there is found by bisection; then comes back, last gone first, what the
    budget still holds.
    """
    group, steps = merged(contests)
    sizes = np.array([g.size for g in groups], dtype=np.int64)

    def reached(removed: np.ndarray) -> int:
        return count(sizes - removed).macs

    def first(prefix: int) -> np.ndarray:
        return total_steps(group[:prefix], steps[:prefix], len(groups))

    low, high = 0, len(steps)
    if reached(first(high)) > budget:
        raise PlanError(
            f"A budget of {budget:,.0f} MACs cannot be reached; the smallest possible with these groups and least "
            f"widths is {reached(first(high)):,}."
        )
    while low < high:  # bisection for the shortest prefix within the budget
        middle = (low + high) // 2
        low, high = (low, middle) if reached(first(middle)) <= budget else (middle + 1, high)
    removed, full = first(low), set()
    for number, step in zip(group[:low][::-1].tolist(), steps[:low][::-1], strict=True):
        if number not in full:  # what still fits comes back, last gone first, until every group is full
            removed[number] -= step
            if reached(removed) > budget:
                removed[number] += step
                full.add(number)
    return removed, reached(removed)


def _amount(given: Mapping[str, Any]) -> dict[str, Any]:
    """Checks that there is one amount, in its range, and returns it in plain numbers."""
    given = {key: value for key, value in given.items() if value is not None}
    if len(given) != 1 and given.keys() != {"ratio", "per_group"}:
        raise PlanError(
            f"Choosing needs one amount, ratio, threshold, macs or per_group, but got {' and '.join(given) or 'none'}."
        )
    amount: dict[str, Any] = {}
    for key, value in given.items():
        if key == "per_group":
            if not isinstance(value, Mapping):
                raise PlanError(f"per_group must map group names to ratios, but it is {value!r}.")
            amount[key] = {str(name): _ratio(f"The ratio of group {name!r}", r) for name, r in value.items()}
        elif key == "ratio":
            amount[key] = _ratio("The ratio", value)
        elif not _is_finite(value) or (key == "macs" and value <= 0):
            expected = "a finite number" if key == "threshold" else "a finite number above 0"
            raise PlanError(f"The amount {key} must be {expected}, but it is {value!r}.")
        else:
            amount[key] = float(value)
    return amount


def _ratio(what: str, value: object) -> float:
    if not _is_finite(value) or not 0 <= value < 1:
        raise PlanError(
            f"{what} must be at least 0 and below 1 (the share of channels to remove), but it is {value!r}."
        )
    return float(value)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _whole(what: str, value: object) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise PlanError(f"{what} must be a whole number of at least 1, but it is {value!r}.")
    return int(value)


def _check_names(groups: Sequence[Group], per_group: Mapping[str, float], locked: Sequence[str]) -> None:
    if not groups:
        raise PlanError("There are no groups to choose from; pass find_groups(model).")
    if isinstance(locked, str):
        raise PlanError(f"locked must be a list of group names, but it is the text {locked!r}.")
    names = [group.name for group in groups]
    for name in (*per_group, *locked):
        if name not in names:
            raise unknown("group", name, names)


def _check_steps(groups: Sequence[Group], ladders: Sequence[Ladder], multiple_of: int) -> None:
    """Refuses a multiple that leaves every group whole: it would remove nothing, whatever the amount."""
    widest = max((g.size for g, ladder in zip(groups, ladders, strict=True) if ladder.free), default=0)
    if multiple_of > max(widest, 1):
        raise PlanError(
            f"multiple_of is {multiple_of}, but the widest group has {widest} channels, so nothing could be removed; "
            "give a smaller number, such as 8."
        )
