"""From similarities to a plan: one threshold for all layers, or a MACs budget that a threshold is found for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rsprune_lib.errors import PlanError, unknown
from rsprune_lib.measure import LayerCost
from rsprune_lib.pruning.costs import CostModel
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.selectors import SELECTORS, Graph
from rsprune_lib.pruning.similarity import Similarity

if TYPE_CHECKING:
    from rsprune_lib.pruning.scores import Scores

__all__ = ["Selection", "select"]

_FINEST = 1e-4  # steps of the threshold that a budget is searched with


def select(
    similar: Similarity,
    groups: Sequence[Group],
    *,
    threshold: float | None = None,
    macs: float | None = None,
    per_group: Mapping[str, float] | None = None,
    selector: str = "dominating",
    rank: Scores | None = None,
    min_keep: int = 1,
    least: float = 0.0,
    locked: Sequence[str] = (),
    follow: Mapping[str, str] | None = None,
    costs: Sequence[LayerCost] | None = None,
) -> Plan:
    """Decides which channels stay by the similarity graph of each layer. Deterministic.

    Args:
        similar: `similarity` of the network.
        groups: `find_groups` of it.
        threshold: two channels are alike from this similarity on, in (0, 1]; the same for all layers, as published.
        macs: instead of a threshold: the most MACs that may be left for one image. The highest threshold that gets
            there is taken; then comes back, most unlike the kept ones first, what the budget still holds.
        per_group: group name -> its own threshold, for the layers that ``threshold`` does not suit.
        selector: key of `SELECTORS`: ``"paper"``, ``"dominating"``, ``"core"``, ``"scored"`` or ``"nested"``.
        rank: scores of any other criterion; ``"scored"`` and ``"core"`` need them (core was published with l1), and
            ``"nested"`` goes without them by how much the others resemble a channel.
        min_keep: least number of channels that a group keeps.
        least: least share of its channels that a group keeps, in [0, 1]; without it a threshold can leave a wide layer
            one channel, and the network nothing to tell classes apart with.
        locked: names of groups that stay whole.
        follow: name of a group without feature maps -> name of a group of the same size whose indices it takes over (as
            the published VGG-16 does: ``{"hidden": "conv5_3"}``).
        costs: `layer_costs` of the network; needed for ``macs``.

    Returns:
        The plan; ``plan.how`` records these arguments, the threshold reached, and the groups without feature maps.

    Raises:
        PlanError: an amount is missing, out of range or cannot be met; similarities or ranks do not fit.
        RspruneError: a name is unknown.

    Example:
        >>> select(similar, groups, threshold=0.75, selector="paper").widths["conv1"]
        49
    """
    if (threshold is None) == (macs is None):
        raise PlanError("Selecting by similarity needs one amount: a threshold in (0, 1], or macs.")
    own = {"per_group": per_group, "min_keep": min_keep, "least": least, "locked": locked, "follow": follow}
    selection = Selection(similar, groups, selector, rank, **own)
    if threshold is not None:
        return selection.at(threshold)
    if costs is None:
        raise PlanError("A MACs budget needs the costs of the network; pass costs=layer_costs(model, image_size).")
    return selection.within(macs, costs)


class Selection:
    """A selector over the graphs of a network, for who asks more than once: what was decided is remembered.

    Args and errors are those of `select`, which asks once.
    """

    def __init__(
        self,
        similar: Similarity,
        groups: Sequence[Group],
        selector: str = "dominating",
        rank: Scores | None = None,
        *,
        per_group: Mapping[str, float] | None = None,
        min_keep: int = 1,
        least: float = 0.0,
        locked: Sequence[str] = (),
        follow: Mapping[str, str] | None = None,
    ) -> None:
        per_group, follow = dict(per_group or {}), dict(follow or {})
        if selector not in SELECTORS:
            raise unknown("selector", selector, SELECTORS)
        if selector in ("scored", "core") and rank is None:
            raise PlanError(f"Selector {selector!r} keeps the best of what is alike, so it needs rank=score(...).")
        names = {group.name: group.size for group in groups}
        for name in (*locked, *per_group, *follow, *follow.values()):
            if name not in names:
                raise unknown("group", name, names)
        for one, other in follow.items():
            if names[one] != names[other]:
                raise PlanError(f"{one!r} has {names[one]} channels and cannot follow {other!r} with {names[other]}.")
        if min_keep < 1 or not 0 <= least <= 1:
            raise PlanError(f"min_keep is {min_keep} and least {least}; expected at least 1, and a share in [0, 1].")
        for name, value in per_group.items():
            _check_threshold(f"threshold of {name!r}", value)
        self._select, self._groups, self._locked, self._follow = SELECTORS[selector], groups, set(locked), follow
        self._own, self._known = per_group, {}
        self._floor = {n: min(size, max(min_keep, math.ceil(least * size - 1e-9))) for n, size in names.items()}
        self._values = {name: _matrix(similar, name, size) for name, size in names.items() if name in similar.values}
        if rank is not None:
            self._rank = {name: _ranks(rank, name, size) for name, size in names.items()}
        else:
            self._rank = {name: values.sum(1) for name, values in self._values.items()}
        self._how: dict[str, Any] = {
            "criterion": "similarity", "selector": selector, "scope": "global",
            "rank": rank.criterion if rank is not None else None, "min_keep": int(min_keep), "least": float(least),
            "locked": sorted(locked), "images": similar.images, "blind": sorted(similar.blind),
            "per_group": {name: float(value) for name, value in per_group.items()}, "follow": follow,
        }  # fmt: skip

    def at(self, threshold: float) -> Plan:
        """What stays at one threshold for all layers but those with their own.

        Raises:
            PlanError: the threshold is outside (0, 1].
        """
        _check_threshold("threshold", threshold)
        return self._plan(self._kept(threshold), threshold)

    def within(self, macs: float, costs: Sequence[LayerCost]) -> Plan:
        """What stays within a budget of MACs: see `select`.

        Raises:
            PlanError: the budget cannot be met.
        """
        count = CostModel(costs, self._groups)
        threshold = self._highest(macs, count)
        keep = {name: stays.copy() for name, stays in self._kept(threshold).items()}
        widths, place = self._widths(keep), {group.name: number for number, group in enumerate(self._groups)}
        full: set[str] = set()
        for name, channel in self._missing(keep):
            if name not in full:
                widths[place[name]] += 1
                if count(widths).macs <= macs:
                    keep[name][channel] = True
                else:
                    widths[place[name]] -= 1
                    full.add(name)
        return self._plan(keep, threshold, macs=float(macs), reached=count(widths).macs)

    def _highest(self, budget: float, count: CostModel) -> float:
        """The highest threshold whose plan is within the budget."""

        def macs(step: int) -> int:
            return count(self._widths(self._kept(step * _FINEST))).macs

        low, high = 1, round(1 / _FINEST)  # the lower the threshold, the less is left (not always strictly)
        if macs(low) > budget:
            raise PlanError(
                f"A budget of {budget:,.0f} MACs cannot be reached; the smallest possible is {macs(low):,}."
            )
        if macs(high) <= budget:
            return high * _FINEST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if macs(middle) <= budget else (low, middle)
        return low * _FINEST

    def _widths(self, keep: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.array([np.count_nonzero(keep[group.name]) for group in self._groups])

    def _missing(self, keep: Mapping[str, np.ndarray]) -> list[tuple[str, int]]:
        """The removed channels of all groups, those first that are most unlike what their group keeps."""
        tied = {*self._follow, *self._follow.values()}
        back = [
            (self._values[name][channel, stays].max(), order, name, channel)
            for order, (name, stays) in enumerate(keep.items())
            if name in self._values and name not in tied
            for channel in np.flatnonzero(~stays)
        ]
        return [(name, channel) for _, _, name, channel in sorted(back)]

    def _plan(self, keep: Mapping[str, np.ndarray], threshold: float, **reached: float) -> Plan:
        sizes = {group.name: group.size for group in self._groups}
        plan = {name: np.flatnonzero(stays).tolist() for name, stays in keep.items()}
        how = self._how | {"threshold": float(threshold), **reached}
        return Plan(getattr(self._groups, "model", {}), plan, sizes, how)

    def _kept(self, threshold: float) -> dict[str, np.ndarray]:
        """Group name -> (size,) bool."""
        if threshold not in self._known:
            stays = {group.name: self._layer(group, self._own.get(group.name, threshold)) for group in self._groups}
            stays |= {one: stays[other] for one, other in self._follow.items() if one not in self._locked}
            self._known[threshold] = stays
        return self._known[threshold]

    def _layer(self, group: Group, threshold: float) -> np.ndarray:
        name = group.name
        if name in self._locked or name not in self._values:
            return np.ones(group.size, dtype=bool)
        stays = self._select(Graph.at(self._values[name], threshold, self._rank.get(name)))
        for channel in self._novel(name, stays)[: max(0, self._floor[name] - int(stays.sum()))]:
            stays[channel] = True
        return stays

    def _novel(self, name: str, stays: np.ndarray) -> np.ndarray:
        """The removed channels of a layer, those first that are most unlike what is kept (ties: the lower index)."""
        gone = np.flatnonzero(~stays)
        return gone[np.argsort(self._values[name][np.ix_(gone, np.flatnonzero(stays))].max(1), kind="stable")]


def _check_threshold(what: str, value: float) -> None:
    if not 0 < value <= 1:
        raise PlanError(f"The {what} is {value} but must be above 0 and at most 1; 0.7 to 0.95 are usual.")


def _matrix(similar: Similarity, name: str, size: int) -> np.ndarray:
    values = similar.values[name].double().numpy()
    if values.shape != (size, size):
        raise PlanError(
            f"The similarities of {name!r} have shape {values.shape} but the group has {size} channels; compare the "
            "maps of this network."
        )
    return values


def _ranks(rank: Scores, name: str, size: int) -> np.ndarray:
    if name not in rank.values or rank.values[name].shape != (size,):
        raise PlanError(f"The {rank.criterion!r} scores do not fit {name!r} with {size} channels; score these groups.")
    return rank.values[name].double().numpy()
