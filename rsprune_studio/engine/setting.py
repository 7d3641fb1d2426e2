"""What goes into the live tool and what comes out: plain values that can be stored, compared and shared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from rsprune_lib.colours import signed
from rsprune_lib.entries import find
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.measure import Cost, Latency, Quality, Speed
from rsprune_lib.pruning import CRITERIA, NORMALISE, RECOVERIES, RULES, SCOPES, SELECTORS, Plan

__all__ = ["AMOUNTS", "LIVE", "MAP_OPTIONS", "Dense", "Setting", "Snapshot", "recovery_titles"]

AMOUNTS = ("ratio", "threshold", "macs", "plan")
MAP_OPTIONS = ("makers", "mean_term")  # options of criterion similarity, see `rsprune_lib.pruning.similarity`
LIVE = {"live": "uniform", "live_balanced": "balanced"}  # recovery -> at which positions of maps it looks


def recovery_titles(tuned: bool = False, masks: bool = False) -> dict[str, str]:
    """Name -> title of every recovery of the studio: those of the library, and the live closed form.

    Args:
        tuned: name the fine-tuned network, too, which has to be trained first.
        masks: name those, too, that look at masks.
    """
    titles: dict[str, str] = {}
    for name, entry in RECOVERIES.items():
        live = {"live": "closed form, live"} | ({"live_balanced": "closed form, live, balanced"} if masks else {})
        own = live | {"sequential": entry.title} if name == "closed_form" else {name: entry.title}
        titles |= own  # the closed form has another name in sessions
    return titles | ({"tuned": "fine-tuned"} if tuned else {})


@dataclass(frozen=True)
class Setting:
    """Where the controls stand.

    Attributes:
        criterion: key of `rsprune_lib.pruning.CRITERIA`.
        scope: ``"local"`` (every group loses the same share), ``"global"`` (all channels compete) or ``"isomorphic"``
            (groups of the same shape compete). A threshold has no scope.
        amount: which of the next four decides: ``"ratio"``, ``"threshold"``, ``"macs"`` or ``"plan"``.
        ratio: share of the channels to remove, in [0, 1).
        threshold: channels with a lower normalised score go, but each group keeps its best one; None asks for the
            threshold that removes ``ratio`` of all channels.
        macs: the most MACs that may be left, as a share of those of the trained network.
        given: a plan that came from elsewhere, such as a file; criterion and scope then decide nothing.
        normalise: how scores of different groups are put on one scale where they compete or meet a threshold, see
            `rsprune_lib.pruning.normalised`; None takes the criterion's own way.
        own: group name -> its own ratio in place of the common one (amount ratio, local scope only).
        locked: names of groups that stay whole, in alphabetical order; they do not count for a ratio.
        selector: key of `rsprune_lib.pruning.SELECTORS`: who stays of the channels that a threshold joins; counts for
            criterion ``"similarity"`` under a threshold. ``"scored"`` and ``"core"`` go by the L1 norm.
        multiple_of: number of which the channel counts are multiples, see `rsprune_lib.pruning.choose`; hardware likes
            8, and 1 takes the counts as the amount says. A similarity graph with one threshold for all layers, and a
            given plan, take no notice of it.
        recovery: key of `recovery_titles`: ``"none"``, ``"bn"`` (batch-norm re-estimation), ``"live"`` (closed form
            from the dense network's Gram matrices), ``"live_balanced"`` (the same from pixels of which every class has
            its share), ``"sequential"`` (closed form, layer by layer) or ``"tuned"`` (a fine-tuned network that was
            kept for this very plan).
        rule: key of `rsprune_lib.pruning.RULES`: which classes have a say; counts for criterion ``"class_taylor"``.
        minority: how many of the rarest classes have a say under the rule ``"minority_group"``; None takes those that
            are usual for the data set.

    Raises:
        RspruneError: a name is unknown, a number is no number, or the amount is a plan and there is none.
    """

    criterion: str = "attention"
    scope: str = "local"
    amount: str = "ratio"
    ratio: float = 0.5
    threshold: float | None = None
    macs: float = 0.25
    normalise: str | None = None
    own: Mapping[str, float] = field(default_factory=dict)
    locked: tuple[str, ...] = ()
    given: Plan | None = None
    selector: str = "nested"
    multiple_of: int = 1
    recovery: str = "live"
    rule: str = "minority_group"
    minority: int | None = None
    options_of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("criterion", self.criterion, CRITERIA),
            ("scope", self.scope, SCOPES),
            ("amount", self.amount, AMOUNTS),
            ("recovery", self.recovery, recovery_titles(tuned=True, masks=True)),
            ("rule of criterion class_taylor", self.rule, RULES),
            ("selector", self.selector, SELECTORS),
            ("normalisation", self.normalise, (None, *NORMALISE)),
        ):
            if not isinstance(value, str | None) or value not in known:
                raise unknown(kind, str(value), filter(None, known))
        if self.amount == "plan" and self.given is None:
            raise RspruneError("Got the amount 'plan' without a plan; give one, or choose a ratio.")
        object.__setattr__(self, "own", {str(name): _number(name, value) for name, value in self.own.items()})
        object.__setattr__(self, "locked", tuple(sorted({str(name) for name in self.locked})))
        for name in ("ratio", "macs"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("multiple_of", "minority"):
            value = getattr(self, name)
            if (name, value) != ("minority", None) and not (type(value) is int and 1 <= value <= 4096):
                raise RspruneError(f"Got {str(value)[:40]!r} for {name}; expected a whole number from 1 on.")
        for name, options in self.options_of.items():
            if not isinstance(options, Mapping):
                raise RspruneError(
                    f"Got {str(options)[:40]!r} for the options of {str(name)[:40]!r}; expected a table."
                )
            find("criterion", CRITERIA, name, options)
        if self.threshold is not None:
            object.__setattr__(self, "threshold", _number("threshold", self.threshold))

    @property
    def options(self) -> dict[str, Any]:
        """The options of the criterion that were given, or differ from its defaults."""
        given = dict(self.options_of.get(self.criterion, {}))
        if self.criterion != "class_taylor":
            return given
        counts = self.minority is not None and self.rule == "minority_group"
        how = {"rule": self.rule} if self.rule != "minority_group" else {}
        return given | how | ({"minority": self.minority} if counts else {})

    @property
    def map_options(self) -> dict[str, Any]:
        """Those of the options that say how feature maps are compared."""
        return {name: value for name, value in self.options.items() if name in MAP_OPTIONS}

    @property
    def by_graph(self) -> bool:
        """Whether a similarity graph decides, at 1 - threshold or at what another amount asks for."""
        graph = self.amount == "threshold" or self.selector != "nested"  # which is a score for any other amount
        return self.criterion == "similarity" and self.amount != "plan" and graph

    @property
    def takes_multiples(self) -> bool:
        """Whether `multiple_of` counts: each group's channels are counted, not found by one threshold of a graph."""
        one_threshold = self.by_graph and (self.amount == "threshold" or self.scope == "global")
        return self.amount != "plan" and not one_threshold

    def to_dict(self) -> dict[str, Any]:
        """The setting as plain JSON values; fields at their defaults are left out."""
        values = {name: getattr(self, name) for name in _FIELDS}
        values |= {"locked": list(self.locked), "given": self.given and json.loads(self.given.to_json())}
        return {name: value for name, value in values.items() if value != _plain(_FIELDS[name])}

    @classmethod
    def from_dict(cls, values: object) -> Setting:
        """Reads what `to_dict` wrote.

        Raises:
            RspruneError: it is no setting, or a value is impossible.
        """
        if not isinstance(values, Mapping) or not values.keys() <= _FIELDS.keys():
            raise RspruneError(f"Expected a setting with fields of {', '.join(_FIELDS)}, got {str(values)[:80]!r}.")
        values = dict(values)
        for name, kind in (("own", dict), ("locked", list), ("options_of", dict)):
            if not isinstance(values.get(name, kind()), kind):
                raise RspruneError(
                    f"Got {str(values[name])[:80]!r} for {name}; take a file that was written by the app."
                )
        if values.get("given") is not None:
            values["given"] = Plan.from_json(json.dumps(values["given"]))
        return cls(**values)


_FIELDS = {f.name: f.default_factory() if f.default is MISSING else f.default for f in fields(Setting)}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _number(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number of 400 digits
        number = math.inf
    if not math.isfinite(number):
        raise RspruneError(f"Got {str(value)[:40]!r} for {name}; expected a number.")
    return number


@dataclass(frozen=True)
class Dense:
    """The trained network that everything is compared with.

    Attributes:
        cost: what it weighs.
        latency: at batch 1; None until it has been measured.
        quality: on the validation images; None until it has been measured.
        gated: it has SE gates, which are folded into the weights before the cut.
        metric: name of the number that leads, see `rsprune_lib.tasks`.
        beside: names of further numbers that are shown with it.
        classes: names of the classes.
    """

    cost: Cost
    latency: Latency | None = None
    quality: Quality | None = None
    gated: bool = False
    metric: str = "accuracy"
    beside: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def number(self, name: str) -> float | None:
        """One of the numbers by name, None while it is not known, or where it is not defined."""
        return _named(self.quality, name)


@dataclass(frozen=True)
class Snapshot:
    """What a setting leads to; what takes longer to measure is None until it has been measured.

    Attributes:
        setting: where the controls stood; its threshold is a number where the amount is ``"threshold"``.
        plan: which channels stay.
        cost: parameters and MACs of the pruned network.
        dense: the network it is compared with.
        latency: measured on the really pruned network, batch 1, one thread, in turn with the trained one.
        speed: how much faster that is than the trained network.
        quality: how good it is on validation images.
        recovered: the recovery behind ``quality``; another one than the setting's while that is still being computed,
            or where that is worse, see `rsprune_studio.engine.networks.Networks.chosen`.
        final: ``quality`` is that of the setting's recovery on all the images that the studio uses.
        made: the network of the setting's recovery is there, though it may not have seen all images yet.
    """

    setting: Setting
    plan: Plan
    cost: Cost
    dense: Dense
    latency: Latency | None = None
    speed: Speed | None = None
    quality: Quality | None = None
    recovered: str | None = None
    final: bool = False
    made: bool = False

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to measure."""
        return self.final and self.latency is not None and self.dense.quality is not None

    @property
    def settled(self) -> bool:
        """Whether it is complete, and measuring again would not make it clearer."""
        return self.complete and (self.speed is None or self.speed.clear)

    @property
    def only_folded(self) -> bool:
        """Whether nothing is removed but the SE gates, which stand as constants in the weights."""
        return self.dense.gated and self.plan.widths == self.plan.sizes

    @property
    def instead(self) -> str:
        """Which other recovery than the setting's is behind ``quality``, and why; empty if it is the setting's."""
        if self.recovered in (None, self.setting.recovery):
            return ""
        titles = recovery_titles(tuned=True, masks=True)
        why = f"because {titles[self.setting.recovery]} is worse here" if self.final else "so far"
        return f"{titles[self.recovered]} {why}"

    def sentence(self) -> str:
        """Says the whole snapshot in one line of words."""
        kept, all_ = sum(self.plan.widths.values()), sum(self.plan.sizes.values())
        text = (
            f"{kept:,} of {all_:,} channels stay: {self.cost.params / self.dense.cost.params:.1%} of the parameters "
            f"and {self.cost.macs / self.dense.cost.macs:.1%} of the MACs"
        )
        if self.speed is not None:
            text += f", {self.speed}" if self.speed.clear else f", the speed {self.speed}"
        if self.quality is not None:
            about = "" if self.final else "about "
            text += f"; {self.dense.metric} {about}{self._against_dense(self.dense.metric)}"
            text += "".join(f", {name} {self._against_dense(name)}" for name in self.beside)
            text += f" with {self.instead}" if self.instead else ""
        if self.only_folded:
            text += (
                ". No channel is removed, but the SE gates are folded into the weights: each image then gets the mean "
                "gates of the training images, and that alone changes the numbers"
            )
        return text + "."

    @property
    def beside(self) -> list[str]:
        """Names of the numbers beside the leading one that are known."""
        return [name for name in self.dense.beside if self.number(name) is not None]

    def number(self, name: str) -> float | None:
        """One of the numbers by name, None while it is not known, or where it is not defined."""
        return _named(self.quality, name)

    def _against_dense(self, name: str) -> str:
        value, dense = self.number(name), self.dense.number(name)
        return f"{value:.1%}" + ("" if dense is None else f" ({signed(100 * (value - dense))} points)")


def _named(quality: Quality | None, name: str) -> float | None:
    if quality is None:
        return None
    value = quality.score if name == quality.metric else quality.metrics.get(name, math.nan)
    return value if math.isfinite(value) else None
