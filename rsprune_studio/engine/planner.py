"""From a setting to a plan: which channels stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rsprune_lib.pruning import Plan, Selection, choose, select_in_scope
from rsprune_lib.pruning.layers import channels_left
from rsprune_studio.engine.scoring import Scoring
from rsprune_studio.engine.setting import Setting
from rsprune_studio.engine.trained import Trained

__all__ = ["Planner"]


class Planner:
    """Decides by scores what stays; milliseconds once they are known.

    Args:
        trained: the network.
        scoring: what the criteria say about its channels.
    """

    def __init__(self, trained: Trained, scoring: Scoring) -> None:
        self._trained, self._scoring = trained, scoring
        self._selection: tuple[tuple | None, Selection | None] = None, None  # of the last selector and its locks

    def exact(self, setting: Setting) -> Setting:
        """The setting with a number for its threshold, where it asks for the one that removes a share of all channels.

        Raises:
            PlanError: the share is out of range.
        """
        if setting.amount != "threshold" or setting.threshold is not None:
            return setting
        ordered = np.sort(np.concatenate(list(self._scoring.values_of(setting).values())))
        return replace(setting, threshold=float(ordered[-channels_left(len(ordered), setting.ratio, 1)]))

    def plan(self, setting: Setting) -> Plan:
        """The plan of an `exact` setting.

        Raises:
            PlanError: an amount is out of range or cannot be met.
        """
        groups = self._trained.groups
        if setting.given is not None:
            setting.given.check(groups)
        if setting.amount == "plan":
            return setting.given
        if setting.by_graph and setting.selector != "nested":  # nested is what the scores say
            return self._by_graph(setting)
        scores = self._scoring.scores(setting.criterion, **setting.options)
        return choose(scores, groups, **self.choosing(setting))

    def _by_graph(self, setting: Setting) -> Plan:
        groups, scoring = self._trained.groups, self._scoring
        key = setting.selector, setting.locked, setting.map_options
        known, selection = self._selection
        if key != known:
            ranked = scoring.scores("l1")
            selection = Selection(
                scoring.similar(**setting.map_options), groups, setting.selector, ranked, locked=setting.locked
            )
            self._selection = key, selection
        if setting.amount == "threshold":
            return selection.at(min(1.0, max(1 - setting.threshold, 1e-3)))
        scores = scoring.scores("similarity", **setting.options)
        return select_in_scope(selection, groups, scores, **self.choosing(setting))

    def choosing(self, setting: Setting) -> dict[str, Any]:
        """The arguments of `rsprune_lib.pruning.choose` that a setting stands for."""
        common = {} if setting.normalise is None else {"normalise": setting.normalise}
        common |= {"locked": setting.locked} if setting.locked else {}
        if setting.multiple_of > 1 and setting.takes_multiples:
            common |= {"multiple_of": setting.multiple_of}
        if setting.amount == "threshold":
            return common | {"threshold": setting.threshold, "clip": True}
        common |= {"scope": setting.scope}
        if setting.amount == "macs":
            macs = round(setting.macs * self._trained.cost.macs)
            return common | {"macs": macs, "costs": self._trained.costs}
        own = dict(setting.own) if setting.scope == "local" else None
        return common | {"ratio": setting.ratio, "per_group": own or None}

    def cuts(self, setting: Setting, plan: Plan) -> dict[str, float]:
        """Where a plan cuts each group: the lowest normalised score that stays."""
        values = self._scoring.values_of(setting)
        return {name: float(values[name][list(kept)].min()) for name, kept in plan.keep.items()}
