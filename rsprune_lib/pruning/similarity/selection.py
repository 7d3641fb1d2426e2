"""One selector over all similarity graphs of a network: what stays at a threshold, within a budget, at given widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsprune_lib.entries import find
from rsprune_lib.errors import PlanError, unknown
from rsprune_lib.measure import LayerCost
from rsprune_lib.pruning.costs import CostModel
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.layers import channels_left
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.scores import Scores
from rsprune_lib.pruning.similarity.hashes import Similarity
from rsprune_lib.pruning.similarity.selectors import SELECTORS, Graph

__all__ = ["Selection", "check_selection", "check_threshold"]

_FINEST = 1e-4  # steps of the threshold that an amount is searched with


@dataclass(frozen=True)
class _Budget:
    """What may be left, counted in ``what``: ``measure`` takes the widths of all groups."""

    what: str
    limit: float
    measure: Callable[[np.ndarray], int]
    asked: dict[str, float]


class Selection:
    """A selector over the graphs of a network, for who asks more than once: what was decided is remembered.

    Args and errors are those of `rsprune_lib.pruning.similarity.select`, which asks once.
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
        check_selection(selector, rank is not None, min_keep, least)
        names = {group.name: group.size for group in groups}
        for name in (*locked, *per_group, *follow, *follow.values()):
            if name not in names:
                raise unknown("group", name, names)
        for one, other in follow.items():
            if names[one] != names[other]:
                raise PlanError(f"{one!r} has {names[one]} channels and cannot follow {other!r} with {names[other]}.")
        for name, value in per_group.items():
            check_threshold(f"threshold of {name!r}", value)
        self._select, self._groups, self._locked, self._follow = SELECTORS[selector].run, groups, set(locked), follow
        self._own, self._known = per_group, {}
        self._floor = {n: min(size, max(min_keep, size - channels_left(size, least))) for n, size in names.items()}
        self._values = {name: similar.matrix(name, size) for name, size in names.items() if name in similar.values}
        if rank is not None:
            self._rank = {name: rank.array(name, size) for name, size in names.items()}
        else:
            self._rank = {name: values.sum(1) for name, values in self._values.items()}
        self._how: dict[str, Any] = {
            "criterion": "similarity", "selector": selector, "scope": "global",
            "rank": rank.criterion if rank is not None else None, "min_keep": int(min_keep), "least": float(least),
            "locked": sorted(locked), "images": similar.images, "blind": sorted(similar.blind),
            "per_group": {name: float(value) for name, value in per_group.items()}, "follow": follow,
        }  # fmt: skip

    @property
    def whole(self) -> list[str]:
        """Groups that lose nothing: locked ones, and those without feature maps that follow no other."""
        blind = [g.name for g in self._groups if g.name not in self._values and g.name not in self._follow]
        return [*blind, *sorted(self._locked - set(blind))]

    def at(self, threshold: float) -> Plan:
        """What stays at one threshold for all layers but those with their own.

        Raises:
            PlanError: the threshold is outside (0, 1].
        """
        check_threshold("threshold", threshold)
        return self._plan(self._kept(threshold), threshold=float(threshold))

    def within(
        self, *, ratio: float | None = None, macs: float | None = None, costs: Sequence[LayerCost] | None = None
    ) -> Plan:
        """What stays at the highest threshold that removes enough, the same for all layers.

        Then comes back, most unlike the kept ones first, what the amount still holds.

        Raises:
            PlanError: the amount is out of range or cannot be met, or costs are missing.
        """
        budget = self._budget(ratio, macs, costs)
        threshold = self._highest(budget)
        keep = {name: stays.copy() for name, stays in self._kept(threshold).items()}
        widths, place = self._widths(keep), {group.name: number for number, group in enumerate(self._groups)}
        full: set[str] = set()
        for name, channel in self._missing(keep):
            if name not in full:
                widths[place[name]] += 1
                if budget.measure(widths) <= budget.limit:
                    keep[name][channel] = True
                else:
                    widths[place[name]] -= 1
                    full.add(name)
        return self._plan(keep, threshold=threshold, **budget.asked, reached=budget.measure(widths))

    def of(self, widths: Mapping[str, int]) -> Plan:
        """What stays at given widths: every group takes the highest threshold that leaves no more, and fills up.

        Raises:
            PlanError: a width is impossible for its group, or below what the group must keep.
        """
        sizes = {group.name: group.size for group in self._groups}
        keep, thresholds = {}, {}
        for name, width in widths.items():
            if name not in sizes:
                raise unknown("group", name, sizes)
            whole = name in self.whole
            least = sizes[name] if whole else self._floor[name]
            if not isinstance(width, int | np.integer) or not least <= width <= sizes[name]:
                rule = "stays whole" if whole else f"keeps at least {least}"
                raise PlanError(f"The width of {name!r} is {width!r}, but of its {sizes[name]} channels it {rule}.")
        for group in self._groups:
            name, width = group.name, widths.get(group.name, group.size)
            keep[name] = np.ones(group.size, dtype=bool)
            if width < group.size and name not in self._follow:
                keep[name], thresholds[name] = self._narrow(name, width)
        keep |= {one: keep[other] for one, other in self._follow.items() if one not in self._locked}
        return self._plan(keep, scope="local", thresholds=thresholds)

    def _narrow(self, name: str, width: int) -> tuple[np.ndarray, float]:
        """(size,) bool with ``width`` channels that stay, and the threshold."""

        def stays(step: int) -> np.ndarray:
            return self._select(Graph.at(self._values[name], step * _FINEST, self._rank.get(name)))

        low, high = 1, round(1 / _FINEST) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if stays(middle).sum() <= width else (low, middle)
        kept = stays(low)
        inside = np.flatnonzero(kept)
        if len(inside) > width:  # not even joined by the lowest threshold
            kept[inside[np.argsort(-self._rank[name][inside], kind="stable")[width:]]] = False
        kept[self._novel(name, kept)[: width - int(kept.sum())]] = True
        return kept, low * _FINEST

    def _budget(self, ratio: float | None, macs: float | None, costs: Sequence[LayerCost] | None) -> _Budget:
        if (ratio is None) == (macs is None):
            raise PlanError("Selecting within a budget needs one amount, ratio or macs.")
        if macs is not None:
            if not 0 < macs < math.inf:
                raise PlanError(f"The amount macs must be a finite number above 0, but it is {macs!r}.")
            if costs is None:
                raise PlanError(
                    "A MACs budget needs the costs of the network; pass costs=layer_costs(model, image_size)."
                )
            count = CostModel(costs, self._groups)
            return _Budget("MACs", macs, lambda widths: count(widths).macs, {"macs": float(macs)})
        if not 0 <= ratio < 1:
            raise PlanError(f"The ratio must be at least 0 and below 1 (the share to remove), but it is {ratio!r}.")
        free = np.array([group.name in self._values and group.name not in self._locked for group in self._groups])
        total = sum(group.size for group, counts in zip(self._groups, free, strict=True) if counts)
        limit = channels_left(total, ratio)
        return _Budget("channels", limit, lambda widths: int(widths[free].sum()), {"ratio": float(ratio)})

    def _highest(self, budget: _Budget) -> float:
        """The highest threshold whose plan is within the budget."""

        def left(step: int) -> int:
            return budget.measure(self._widths(self._kept(step * _FINEST)))

        low, high = 1, round(1 / _FINEST)  # the lower the threshold, the less is left (not always strictly)
        if left(low) > budget.limit:
            raise PlanError(
                f"A budget of {budget.limit:,.0f} {budget.what} cannot be reached; the smallest possible is "
                f"{left(low):,}."
            )
        if left(high) <= budget.limit:
            return high * _FINEST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if left(middle) <= budget.limit else (low, middle)
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

    def _plan(self, keep: Mapping[str, np.ndarray], **how: object) -> Plan:
        sizes = {group.name: group.size for group in self._groups}
        plan = {name: np.flatnonzero(stays).tolist() for name, stays in keep.items()}
        return Plan(getattr(self._groups, "model", {}), plan, sizes, self._how | how)

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


def check_selection(selector: str, ranked: bool, min_keep: int = 1, least: float = 0.0) -> None:
    """Checks what can be checked of the arguments of a `Selection` without a network.

    Args:
        selector: key of `SELECTORS`.
        ranked: there are scores of another criterion.
        min_keep: least number of channels that a group keeps.
        least: least share of them.

    Raises:
        PlanError: the selector lacks its rank, or a number is out of its range.
        RspruneError: there is no such selector.
    """
    if "rank" in find("selector", SELECTORS, selector).needs and not ranked:
        raise PlanError(f"Selector {selector!r} keeps the best of what is alike, so it needs rank=score(...).")
    if min_keep < 1:
        raise PlanError(f"min_keep is {min_keep}, but at least 1 channel of a layer must stay.")
    if not 0 <= least <= 1:
        raise PlanError(f"The least share that a layer keeps is {least}, but must be from 0 to 1, such as 0.1.")


def check_threshold(what: str, value: float) -> None:
    """Checks a similarity from which on two channels are alike.

    Raises:
        PlanError: it is outside (0, 1].
    """
    if not 0 < value <= 1:
        raise PlanError(f"The {what} is {value} but must be above 0 and at most 1; 0.7 to 0.95 are usual.")
