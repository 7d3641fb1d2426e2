"""Where the live tool has been: the path of settings to undo and redo, and every measured setting as a point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from rsprune_lib.errors import RspruneError
from rsprune_studio.engine.challenges import Challenges
from rsprune_studio.engine.setting import Setting, Snapshot

__all__ = ["LONGEST", "History", "Point", "pareto"]

_Count, _Share = Annotated[int, Field(gt=0, lt=2**63)], Annotated[float, Field(ge=0, le=1)]
LONGEST = 20_000  # settings of a path: four hours of a move a second have fewer


class _SavedPoint(BaseModel):
    """A point as a file has it; earlier versions of the app wrote accuracy for score, and no ``clear``."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    setting: dict[str, Any]
    plan: str
    params: _Count
    macs: _Count
    dense_macs: _Count
    n: _Count
    latency_ms: Annotated[float, Field(gt=0, lt=1e9)]
    score: _Share = Field(validation_alias=AliasChoices("score", "accuracy"))
    dense_score: _Share = Field(validation_alias=AliasChoices("dense_score", "dense_accuracy"))
    low: _Share
    high: _Share
    clear: bool = True


@dataclass(frozen=True)
class Point:
    """A measured setting, as light as a row of a table.

    Attributes:
        setting: where the controls stood.
        plan: hash of the plan.
        params: parameters of the pruned network.
        macs: its MACs for one image.
        dense_macs: those of the trained network.
        latency_ms: measured, batch 1, one thread.
        clear: the speed against the trained network was larger than its spread, see `rsprune_lib.measure.Speed`.
        score: the task's leading number on ``n`` validation images, in [0, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        n: validation images.
        dense_score: of the trained network on the same images.
    """

    setting: Setting
    plan: str
    params: int
    macs: int
    dense_macs: int
    latency_ms: float
    score: float
    low: float
    high: float
    n: int
    dense_score: float
    clear: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same point: the plan and the recovery."""
        return self.plan, self.setting.recovery

    @property
    def share(self) -> float:
        """MACs as a share of the trained network's."""
        return self.macs / self.dense_macs

    @classmethod
    def of(cls, snapshot: Snapshot) -> Point:
        """The point of a complete snapshot."""
        quality = snapshot.quality
        return cls(
            snapshot.setting, snapshot.plan.hash, snapshot.cost.params, snapshot.cost.macs, snapshot.dense.cost.macs,
            snapshot.latency.median_ms, quality.score, *quality.ci, quality.n, snapshot.dense.quality.score,
            snapshot.speed is None or snapshot.speed.clear,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "setting": self.setting.to_dict()}

    @classmethod
    def from_dict(cls, values: object) -> Point:
        """Reads what `to_dict` wrote.

        Raises:
            RspruneError: it is no point.
        """
        try:
            saved = _SavedPoint.model_validate(values)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))[:40]
            raise RspruneError(
                f"Expected a measured point, got {str(values)[:80]!r} ({where or 'it'} is none that the app writes); "
                "take a session the app wrote."
            ) from None
        if not saved.low <= saved.score <= saved.high:
            raise RspruneError(f"The measured point {str(values)[:80]!r} is impossible; take a session the app wrote.")
        return cls(**{**dict(saved), "setting": Setting.from_dict(saved.setting)})


def pareto(points: Sequence[Point]) -> list[int]:
    """Places of the points that no other beats in both MACs and score, from few MACs to many.

    Of points that are equal in both, the first one counts.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i].macs, -points[i].score, i))
    best, front = -1.0, []
    for i in order:
        if points[i].score > best:
            best = points[i].score
            front.append(i)
    return front


class History:
    """The path of settings with undo and redo, and the measured points, which only become more.

    Args:
        start: the first setting.

    Attributes:
        start: where `reset` leads.
        points: what has been measured, in the order of its first measurement.
        challenges: the one that is being tried, and the best attempts.
    """

    def __init__(self, start: Setting) -> None:
        self.start = start
        self.points: list[Point] = []
        self.challenges = Challenges()
        self._path, self._place = [start], 0
        self._known: dict[tuple[str, str], int] = {}

    @property
    def now(self) -> Setting:
        """The setting that is wanted."""
        return self._path[self._place]

    @property
    def path(self) -> list[Setting]:
        """The settings from the first to the last that can be redone."""
        return list(self._path)

    def replace(self, wrong: Callable[[Setting], bool], by: Callable[[Setting], Setting]) -> bool:
        """Puts others in place of some settings on the path, without a move; returns whether there was any."""
        path, self._path = self._path, [by(setting) if wrong(setting) else setting for setting in self._path]
        return any(new is not old for new, old in zip(self._path, path, strict=True))

    @property
    def can_undo(self) -> bool:
        """Whether there is a setting before."""
        return self._place > 0

    @property
    def can_redo(self) -> bool:
        """Whether a setting was undone and nothing else was chosen since."""
        return self._place < len(self._path) - 1

    def move(self, setting: Setting) -> None:
        """Goes to a setting; what was undone can no longer be redone. The same setting again changes nothing."""
        if setting != self.now:
            self._path[self._place + 1 :] = [setting]
            del self._path[:-LONGEST]
            self._place = len(self._path) - 1

    def undo(self) -> Setting:
        """Goes back; at the beginning it stays."""
        self._place = max(0, self._place - 1)
        return self.now

    def redo(self) -> Setting:
        """Goes forth again; at the end it stays."""
        self._place = min(len(self._path) - 1, self._place + 1)
        return self.now

    def refine(self, setting: Setting) -> None:
        """Writes the wanted setting more exactly (a threshold that was asked for as a share), without a move."""
        self._path[self._place] = setting

    def record(self, snapshot: Snapshot) -> bool:
        """Adds a complete snapshot as a point; returns whether it is new.

        The same plan, recovered alike, is not, unless it answers otherwise now (it was fine-tuned once more).
        """
        self.challenges.record(snapshot)
        point = Point.of(snapshot)
        known = self._known.get(point.key)
        if known is not None and (self.points[known].score, self.points[known].n) == (point.score, point.n):
            old = self.points[known]
            self.points[known] = replace(old, latency_ms=point.latency_ms, clear=point.clear)  # measured again
            return False
        self._known[point.key] = len(self.points)
        self.points.append(point)
        return True

    def place(self, snapshot: Snapshot) -> int | None:
        """Which point a snapshot is; None if it has not been recorded."""
        return self._known.get((snapshot.plan.hash, snapshot.setting.recovery))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: everything needed to go on from here."""
        return {
            "start": self.start.to_dict(),
            "path": [setting.to_dict() for setting in self._path],
            "place": self._place,
            "points": [point.to_dict() for point in self.points],
            "challenges": self.challenges.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: object) -> History:
        """Reads what `to_dict` wrote.

        Raises:
            RspruneError: it is no history, or a part of it is impossible.
        """
        if not isinstance(values, Mapping) or not {"start", "path", "place", "points"} <= values.keys():
            raise RspruneError(f"Expected a history, got {str(values)[:80]!r}; take a session that the app wrote.")
        path, place, points = values["path"], values["place"], values["points"]
        if not (isinstance(path, list) and isinstance(points, list) and path):
            raise RspruneError("The history has no path of settings; take a session that the app wrote.")
        if max(len(path), len(points)) > LONGEST:
            raise RspruneError(
                f"The history has {len(path):,} settings and {len(points):,} points, but at most {LONGEST:,} of each "
                "are read; take a session that the app wrote."
            )
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(path):
            raise RspruneError(
                f"The history stands at {place!r} of {len(path)} settings; take a session the app wrote."
            )
        history = cls(Setting.from_dict(values["start"]))
        history._path, history._place = [Setting.from_dict(setting) for setting in path], place
        history.points = [Point.from_dict(point) for point in points]
        history.challenges = Challenges.from_dict(values.get("challenges"))
        history._known = {point.key: number for number, point in enumerate(history.points)}
        return history
