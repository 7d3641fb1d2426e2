"""What goes into the live tool and what comes out: plain values that can be stored, compared and shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rsprune_lib.errors import unknown
from rsprune_lib.measure import Cost, Latency, Quality
from rsprune_lib.pruning import NORMALISE, SCOPES, Plan
from rsprune_lib.pruning.scores import CRITERIA

__all__ = ["AMOUNTS", "RECOVERIES", "Dense", "Setting", "Snapshot"]

AMOUNTS = ("ratio", "threshold", "macs")
RECOVERIES = {
    "none": "raw cut",
    "bn": "BN re-estimation",
    "live": "closed form, live",
    "sequential": "closed form, layer by layer",
}


@dataclass(frozen=True)
class Setting:
    """Where the controls stand.

    Attributes:
        criterion: key of `rsprune_lib.pruning.scores.CRITERIA`.
        scope: ``"local"`` (every group loses the same share), ``"global"`` (all channels compete) or ``"isomorphic"``
            (groups of the same shape compete). A threshold has no scope.
        amount: which of the next three decides: ``"ratio"``, ``"threshold"`` or ``"macs"``.
        ratio: share of the channels to remove, in [0, 1).
        threshold: channels with a lower normalised score go, but each group keeps its best one; None asks for the
            threshold that removes ``ratio`` of all channels.
        macs: the most MACs that may be left, as a share of those of the trained network.
        normalise: how scores of different groups are put on one scale where they compete or meet a threshold, see
            `rsprune_lib.pruning.normalised`; None takes the criterion's own way.
        own: group name -> its own ratio in place of the common one (amount ratio, local scope only).
        recovery: key of `RECOVERIES`: ``"none"``, ``"bn"`` (batch-norm re-estimation), ``"live"`` (closed form from
            the dense network's Gram matrices) or ``"sequential"`` (closed form, layer by layer).

    Raises:
        RspruneError: a name is unknown.
    """

    criterion: str = "attention"
    scope: str = "local"
    amount: str = "ratio"
    ratio: float = 0.5
    threshold: float | None = None
    macs: float = 0.25
    normalise: str | None = None
    own: Mapping[str, float] = field(default_factory=dict)
    recovery: str = "live"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("criterion", self.criterion, CRITERIA),
            ("scope", self.scope, SCOPES),
            ("amount", self.amount, AMOUNTS),
            ("recovery", self.recovery, RECOVERIES),
            ("normalisation", self.normalise, (None, *NORMALISE)),
        ):
            if value not in known:
                raise unknown(kind, str(value), filter(None, known))
        object.__setattr__(self, "own", dict(self.own))


@dataclass(frozen=True)
class Dense:
    """The trained network that everything is compared with.

    Attributes:
        cost: what it weighs.
        latency: at batch 1; None until it has been measured.
        quality: on the validation images; None until it has been measured.
    """

    cost: Cost
    latency: Latency | None = None
    quality: Quality | None = None


@dataclass(frozen=True)
class Snapshot:
    """What a setting leads to; what takes longer to measure is None until it has been measured.

    Attributes:
        setting: where the controls stood; its threshold is a number where the amount is ``"threshold"``.
        plan: which channels stay.
        cost: parameters and MACs of the pruned network.
        dense: the network it is compared with.
        latency: measured on the really pruned network, batch 1.
        quality: accuracy on validation images.
        recovered: the recovery behind ``quality``; another one than the setting's while that is still being computed.
        final: ``quality`` is that of the setting's recovery on all the images that the studio uses.
    """

    setting: Setting
    plan: Plan
    cost: Cost
    dense: Dense
    latency: Latency | None = None
    quality: Quality | None = None
    recovered: str | None = None
    final: bool = False

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to measure."""
        return self.final and self.latency is not None and self.dense.quality is not None

    def sentence(self) -> str:
        """Says the whole snapshot in one line of words."""
        kept, all_ = sum(self.plan.widths.values()), sum(self.plan.sizes.values())
        text = (
            f"{kept:,} of {all_:,} channels stay: {self.cost.params / self.dense.cost.params:.1%} of the parameters "
            f"and {self.cost.macs / self.dense.cost.macs:.1%} of the MACs"
        )
        if self.latency is not None and self.dense.latency is not None:
            speed = self.dense.latency.median_ms / self.latency.median_ms
            text += f", {speed:.1f} times as fast" if speed >= 1 else f", slower ({speed:.2f} times the speed)"
        if self.quality is not None:
            about = "" if self.final else "about "
            text += f"; accuracy {about}{self.quality.accuracy:.1%}"
            if self.dense.quality is not None:
                points = 100 * (self.quality.accuracy - self.dense.quality.accuracy)
                text += f" ({points:+.1f} points)".replace("-", "−")
            if self.recovered != self.setting.recovery:
                text += f" with {RECOVERIES[self.recovered]} so far"
        return text + "."
