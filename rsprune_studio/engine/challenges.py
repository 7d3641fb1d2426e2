"""Challenges: a start, goals that what was measured meets or does not, and the best so far, to compare in a class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rsprune_lib.errors import RspruneError
from rsprune_studio.engine.goals import MEASURES, Goal, round_number
from rsprune_studio.engine.setting import Dense, Setting, Snapshot

__all__ = ["Attempt", "Challenge", "Challenges", "challenges_for"]

_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # round limits
_MOST = 20  # challenges of a file; a network has three
_FILE = "take a session that the app wrote"


@dataclass(frozen=True)
class Challenge:
    """A task with goals.

    Attributes:
        name: of the challenge, the same for every network.
        title: what a list says.
        goals: all have to be met at once.
        start: where it begins.
        tie_break: of two settings that meet all goals the one with the smaller value of this measure is better.
    """

    name: str
    title: str
    goals: tuple[Goal, ...]
    start: Setting
    tie_break: str = "macs"

    def reached(self, snapshot: Snapshot | None) -> bool | None:
        """Whether all goals are met by what has been measured; None while one of them is still open and none missed."""
        if snapshot is None:
            return None
        met = [goal.standing(snapshot).met for goal in self.goals]
        return False if False in met else None if None in met else True


@dataclass(frozen=True)
class Attempt:
    """A setting that was measured for a challenge.

    Attributes:
        setting: where the controls stood.
        values: measure -> value, of the goals and the tie_break.
        reached: all goals were met.
        missed: by how much they were missed, see `Goal.short_of`.
        device: what the times were measured on.
    """

    setting: Setting
    values: Mapping[str, float]
    reached: bool
    missed: float
    device: str = ""

    @classmethod
    def of(cls, challenge: Challenge, snapshot: Snapshot) -> Attempt | None:
        """The attempt that a snapshot is; None while something is still to be measured or a time is not clear."""
        standings = {goal: goal.standing(snapshot) for goal in challenge.goals}
        if not snapshot.complete or any(one.value is None or one.note for one in standings.values()):
            return None
        values = {goal.measure: one.value for goal, one in standings.items()}
        values.setdefault(challenge.tie_break, MEASURES[challenge.tie_break].of(snapshot))
        missed = sum(goal.short_of(one.value) for goal, one in standings.items())
        reached = all(one.met for one in standings.values())
        return cls(snapshot.setting, values, reached, 0.0 if reached else missed, snapshot.latency.device)

    def beats(self, other: Attempt | None, tie_break: str) -> bool:
        """Whether it is better than another one; of equal ones the first stays."""
        if other is None:
            return True
        mine, theirs = ((not one.reached, one.missed, one.values[tie_break]) for one in (self, other))
        return mine < theirs

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        own = {"values": dict(self.values), "reached": self.reached, "missed": self.missed, "device": self.device}
        return {"setting": self.setting.to_dict(), **own}


class Challenges:
    """The challenges of a network: which one is open, and the best attempt at each.

    Attributes:
        known: name -> challenge; empty until the trained network has been measured.
        open: the one that is being tried; None if none is.
        best: name -> best attempt so far.
    """

    def __init__(self) -> None:
        self.known: dict[str, Challenge] = {}
        self.open: Challenge | None = None
        self.best: dict[str, Attempt] = {}

    def offer(self, challenges: Sequence[Challenge]) -> None:
        """Makes challenges known; one of the same name that came with a session stays as it is."""
        self.known = {challenge.name: challenge for challenge in challenges} | self.known

    def choose(self, name: str | None) -> Challenge | None:
        """Opens a challenge, or none."""
        self.open = None if name is None else self.known[name]
        return self.open

    def record(self, snapshot: Snapshot) -> bool:
        """Keeps a complete snapshot if it is the best attempt at the open challenge; returns whether it is."""
        attempt = None if self.open is None else Attempt.of(self.open, snapshot)
        if attempt is None or not attempt.beats(self.best.get(self.open.name), self.open.tie_break):
            return False
        self.best[self.open.name] = attempt
        return True

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the challenges that are open or were tried, and the best attempts."""
        tried = [one for name, one in self.known.items() if name in self.best or one is self.open]
        rows = [
            {"name": one.name, "title": one.title, "tie_break": one.tie_break, "start": one.start.to_dict()}
            | {"goals": [[goal.measure, goal.limit] for goal in one.goals]}
            for one in tried
        ]
        best = {name: attempt.to_dict() for name, attempt in self.best.items()}
        return {"challenges": rows, "open": self.open and self.open.name, "best": best}

    @classmethod
    def from_dict(cls, values: object) -> Challenges:
        """Reads what `to_dict` wrote; nothing of a session from before there were challenges.

        Raises:
            RspruneError: it is something else, or a part of it is impossible.
        """
        made = cls()
        if values is None:
            return made
        try:
            if len(values["challenges"]) > _MOST:
                raise ValueError
            made.known = {row["name"]: _challenge(row) for row in values["challenges"]}
            made.best = {name: _attempt(made.known[name], row) for name, row in values["best"].items()}
            made.open = None if values["open"] is None else made.known[values["open"]]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise RspruneError(f"The challenges of the session are no challenges; {_FILE}.") from None
        return made


def _challenge(row: Mapping[str, Any]) -> Challenge:
    goals = tuple(Goal(measure, _checked(measure, limit)) for measure, limit in row["goals"])
    if not goals or row["tie_break"] not in MEASURES or not all(isinstance(row[key], str) for key in ("name", "title")):
        raise ValueError
    return Challenge(row["name"], row["title"], goals, Setting.from_dict(row["start"]), row["tie_break"])


def _attempt(challenge: Challenge, row: Mapping[str, Any]) -> Attempt:
    values = {measure: _checked(measure, value) for measure, value in row["values"].items()}
    if values.keys() != {*(goal.measure for goal in challenge.goals), challenge.tie_break}:
        raise ValueError
    missed = sum(goal.short_of(values[goal.measure]) for goal in challenge.goals)
    return Attempt(Setting.from_dict(row["setting"]), values, missed < 1e-9, missed, str(row["device"])[:200])


def _checked(measure: str, value: object) -> float:
    """A limit or a value of a file: a finite number, above 0 where it is no share."""
    if MEASURES[measure] is None or isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    number = float(value)
    if not math.isfinite(number) or not (0 < number < 1e18 if measure in ("macs", "ms") else -1 <= number <= 1):
        raise ValueError
    return number


def challenges_for(dense: Dense, start: Setting) -> tuple[Challenge, ...]:
    """The challenges that make sense for a trained network.

    Limits are round numbers that follow from what was measured of it: a tenth of its MACs (a quarter where pixels are
    labelled), a sixth of its time on this machine, its worst class less two points. As long as other work has the
    processor, its time says nothing, and no challenge is made of it.

    Args:
        dense: the trained network, with its quality.
        start: where its controls begin.
    """
    masks = dense.metric != "accuracy"
    part, half = (0.25, 0.5) if masks else (0.1, 0.3)
    begin = replace(
        start, amount="ratio", scope="local", ratio=0.3, threshold=None, given=None, own={}, locked=(), recovery="none"
    )
    budget, took = _round(part * dense.cost.macs), dense.latency
    few = Goal("macs", _round(half * dense.cost.macs))
    small = Goal("macs", budget), Goal("lost", 0.02)
    made = [("budget", small, f"{round_number(budget)} MACs, at most 2 points lost", "macs")]
    if took is not None and not took.busy:
        time = _nearest(took.median_ms / 6)
        made.append(("time", (Goal("ms", time), Goal("lost", 0.05)), f"{time:g} ms, at most 5 points lost", "lost"))
    if masks:
        rare = dense.number("minority mIoU")
        least = 0.0 if rare is None else _floor(rare - 0.05)
        goals = Goal("minority", least), few
        made.append(("rare", goals, f"{least:.0%} minority mIoU with {round_number(few.limit)} MACs", "macs"))
    else:
        least = _floor(float(np.nanmin(dense.quality.per_class)) - 0.02)
        goals = Goal("class", least), few
        made.append(("class", goals, f"No class below {least:.0%} with {round_number(few.limit)} MACs", "macs"))
    sensible = made if least > 0 else made[:-1]
    return tuple(Challenge(name, title, goals, begin, tie_break) for name, goals, title, tie_break in sensible)


def _round(number: float) -> float:
    """Two digits: 14.8 M becomes 15 M."""
    digits = 10 ** (math.floor(math.log10(number)) - 1)
    return float(round(number / digits) * digits)


def _nearest(number: float) -> float:
    """The nearest of 1, 1.5, 2, 3, 4, 5, 6, 8 and 10, at any power of ten."""
    power = 10.0 ** math.floor(math.log10(number))
    step = min(_STEPS, key=lambda one: abs(math.log(number / power / one)))
    return float(f"{step * power:.6g}")


def _floor(share: float) -> float:
    """A share in whole steps of five points."""
    return math.floor(share * 20 + 1e-9) / 20
