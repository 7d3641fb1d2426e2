"""What a challenge asks for: limits of what is measured, and how a setting stands to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rsprune_lib.colours import short
from rsprune_studio.engine.setting import Snapshot

__all__ = ["MEASURES", "Goal", "Measure", "Standing", "round_number"]


@dataclass(frozen=True)
class Measure:
    """Something that a goal limits.

    Attributes:
        of: snapshot -> its value; None while it has not been measured.
        least: the limit is the least that is wanted; else it is the most.
        text: value or limit -> words.
        slack: what counts as one step too far, to tell near misses from far ones; 0 counts the ratio.
    """

    of: Callable[[Snapshot], float | None]
    least: bool
    text: Callable[[float], str]
    slack: float = 0.0


def round_number(number: float) -> str:
    """A count without zeros behind the point: ``15_000_000 -> "15 M"``."""
    digits, blank, prefix = short(number).partition(" ")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + blank + prefix


def _final(snapshot: Snapshot) -> bool:
    """Whether the quality is that of this very setting, and the trained network's is known."""
    return snapshot.final and snapshot.quality is not None and snapshot.dense.quality is not None


def _lost(snapshot: Snapshot) -> float | None:
    return snapshot.dense.quality.score - snapshot.quality.score if _final(snapshot) else None


def _weakest(snapshot: Snapshot) -> float | None:
    return float(np.nanmin(snapshot.quality.per_class)) if _final(snapshot) else None


def _rare(snapshot: Snapshot) -> float | None:
    return snapshot.number("minority mIoU") if _final(snapshot) else None


MEASURES = {
    "macs": Measure(lambda shown: float(shown.cost.macs), False, lambda value: f"{short(value)} MACs"),
    "ms": Measure(
        lambda shown: None if shown.latency is None else shown.latency.median_ms, False, lambda value: f"{value:.3g} ms"
    ),
    "lost": Measure(_lost, False, lambda value: f"{100 * value:.1f} points lost".replace("-", "−"), 0.05),
    "class": Measure(_weakest, True, lambda value: f"{value:.0%} in the worst class", 0.05),
    "minority": Measure(_rare, True, lambda value: f"{value:.1%} minority mIoU", 0.05),
}


@dataclass(frozen=True)
class Standing:
    """How a snapshot stands to a goal.

    Attributes:
        value: what was measured; None while that is missing.
        met: whether the goal is met; None while that is open.
        note: why a value does not count.
    """

    value: float | None
    met: bool | None
    note: str = ""


@dataclass(frozen=True)
class Goal:
    """A limit of something measured.

    Attributes:
        measure: key of `MEASURES`.
        limit: in the measure's own unit: MACs, ms, or a share in [0, 1].
    """

    measure: str
    limit: float

    @property
    def text(self) -> str:
        """The goal in words."""
        how, limit = MEASURES[self.measure], self.limit
        words = f"{round_number(limit)} MACs" if self.measure == "macs" else how.text(limit)
        return f"{'at least' if how.least else 'at most'} {words}"

    def standing(self, snapshot: Snapshot) -> Standing:
        """How a snapshot stands to it; a time that is not clear does not count."""
        how = MEASURES[self.measure]
        value = how.of(snapshot)
        if value is None:
            return Standing(None, None)
        if self.measure == "ms" and (snapshot.speed is None or not snapshot.speed.clear):
            return Standing(value, False, "the time is not clear yet")
        met = value >= self.limit - 1e-9 if how.least else value <= self.limit + 1e-9
        return Standing(value, met)

    def short_of(self, value: float) -> float:
        """How far a value misses the limit, in steps of the measure; 0 if it does not."""
        how = MEASURES[self.measure]
        if not how.slack:
            return max(0.0, math.log(max(value, 1e-12) / self.limit))
        return max(0.0, (self.limit - value if how.least else value - self.limit) / how.slack)
