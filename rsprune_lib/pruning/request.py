"""What `prune` is asked for, checked as far as that goes without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rsprune_lib.entries import find
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.pruning.choose import check_arguments
from rsprune_lib.pruning.criteria.registry import CRITERIA
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.recovery.positions import check_positions
from rsprune_lib.pruning.recovery.recoveries import RECOVERIES
from rsprune_lib.pruning.similarity.selection import check_selection, check_threshold

__all__ = ["Request"]

_LIMITS = ("min_keep", "multiple_of", "locked")
_MOST = {"ridge": 1e6, "rectify": 100}  # options of recoveries that are numbers
_OF_CHOOSE = (*_LIMITS, "per_group", "normalise", "clip")
_OF_SELECTORS = ("least", "follow")


@dataclass(frozen=True)
class Request:
    """How to score, choose, cut and repair.

    Attributes:
        criterion: key of `CRITERIA`; None takes the `usual_criterion` of the network.
        ratio: share of the channels to remove; give one of ratio, threshold, macs (or a plan), see `choose`.
        threshold: channels with a lower score go; with criterion ``"similarity"`` two channels are alike from this
            similarity on, and a selector decides which one stays (`select`).
        macs: the most MACs that may be left for one image.
        scope: ``"local"``, ``"global"`` or ``"isomorphic"``; with a selector among the options, see `select_in_scope`.
        plan: a finished plan; nothing is scored then, and amount, criterion and scope do not count.
        recovery: key of `RECOVERIES`.
        images: class-balanced training images that scoring and recovery look at; None takes all.
        options: of the criterion, see `score`; where a graph decides also ``selector``.
        repairing: options of the recovery, e.g. ``{"positions": "uniform"}``, see `sequential`.
        choosing: further arguments of `choose`, e.g. ``{"multiple_of": 8}``, or of `select`, e.g. ``{"least": 0.1}``.
        batch_size: images a batch, without influence on the result beyond rounding.
        seed: for the random criterion.

    Raises:
        RspruneError: a name is unknown, or a number is missing or out of its range.
    """

    criterion: str | None = None
    ratio: float | None = None
    threshold: float | None = None
    macs: float | None = None
    scope: str = "local"
    plan: Plan | None = None
    recovery: str = "closed_form"
    images: int | None = 1024
    options: Mapping[str, Any] = field(default_factory=dict)
    choosing: Mapping[str, Any] = field(default_factory=dict)
    repairing: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        find("recovery", RECOVERIES, self.recovery, self.repairing)
        check_positions(self.repairing.get("positions", "balanced"))
        for option, most in _MOST.items():
            if not 0 <= self.repairing.get(option, 0) <= most:
                given = self.repairing[option]
                raise RspruneError(f"{option} of the recovery is {given} but must be from 0 to {most:g}; correct it.")
        if self.images is not None and self.images < 1:
            raise RspruneError(f"images is {self.images} but must be at least 1; 512 to 1024 work well.")
        if self.plan is None and self.by_graph:
            self._check_graph()
        elif self.plan is None:
            if self.criterion is not None:  # else the network decides, and its criterion is checked then
                find("criterion", CRITERIA, self.criterion, self.options)
            self._check_choosing("argument of choose", _OF_CHOOSE)
            amount = {**self.amount, "per_group": self.choosing.get("per_group")}
            check_arguments(self.scope, amount, **self._only("min_keep", "multiple_of"))

    @property
    def amount(self) -> dict[str, float | None]:
        """Ratio, threshold and MACs, None for those that are not given."""
        return {"ratio": self.ratio, "threshold": self.threshold, "macs": self.macs}

    @property
    def by_graph(self) -> bool:
        """Whether a selector decides by similarity graphs."""
        return self.criterion == "similarity" and (self.threshold is not None or "selector" in self.options)

    @property
    def for_choose(self) -> dict[str, Any]:
        """The part of ``choosing`` that `choose` takes."""
        return self._only(*(_LIMITS if self.by_graph and self._one_threshold else _OF_CHOOSE))

    @property
    def for_selection(self) -> dict[str, Any]:
        """The part of ``choosing`` that a `Selection` takes; thresholds of groups only beside a common one."""
        return self._only("min_keep", "locked", *_OF_SELECTORS, *(["per_group"] if self._one_threshold else []))

    @property
    def _one_threshold(self) -> bool:
        """Whether a selector has one threshold for all layers, given or looked for."""
        return self.threshold is not None or self.scope == "global"

    def _only(self, *names: str) -> dict[str, Any]:
        return {name: self.choosing[name] for name in names if name in self.choosing}

    def _check_choosing(self, what: str, known: tuple[str, ...]) -> None:
        for name in self.choosing.keys() - set(known):
            raise unknown(what, name, known)

    def _check_graph(self) -> None:
        for option in self.options.keys() - {"selector", "rank", "makers", "mean_term"}:
            raise unknown("option of criterion similarity", option, ("selector", "rank", "makers", "mean_term"))
        rank = self.options.get("rank")
        if rank is not None:
            find("criterion", CRITERIA, rank)
        check_selection(self.options.get("selector", "dominating"), rank is not None, **self._only("min_keep", "least"))
        check_arguments(self.scope, self.amount, **self._only("multiple_of"))
        if self.threshold is not None:
            check_threshold("threshold", self.threshold)
        if self._one_threshold:
            self._check_choosing("argument of a selector", (*_OF_SELECTORS, *_LIMITS, "per_group"))
            if self.choosing.get("multiple_of", 1) != 1:
                raise RspruneError(
                    "One threshold for all layers cannot keep multiples of a number; give ratio or macs and "
                    "scope='local', or leave it out."
                )
