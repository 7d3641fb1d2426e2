"""The way down of every group, and how groups that compete take turns on it.

Every group orders its channels by score, lowest first, and takes them off in steps (of one channel, or of as many as
``multiple_of`` asks for); the best ``min_keep`` have no step. Groups that compete merge their steps into one sequence,
and every amount is a prefix of it. So more pruning always keeps a subset, what one group cannot give (it is at its
least) is taken from the others, and nothing is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsprune_lib.pruning.groups import Group

__all__ = ["Contest", "Ladder", "make_contests", "make_ladder", "merged", "total_steps"]


@dataclass(frozen=True)
class Ladder:
    """One group's way down.

    Attributes:
        order: (size,) channel indices, first to go first.
        steps: channels that each step removes.
        scores: highest score in each step; a step is gone when its best channel is.
        free: channels that count for a ratio: all, or none if the group is locked.
    """

    order: np.ndarray
    steps: np.ndarray
    scores: np.ndarray
    free: int

    def nearest(self, target: int) -> int:
        """Number of removed channels nearest to ``target``; the smaller of two as near."""
        ways = _so_far(self.steps)
        return int(ways[np.abs(ways - target).argmin()])


def make_ladder(group: Group, values: np.ndarray, *, min_keep: int, multiple_of: int, locked: bool) -> Ladder:
    """Orders one group's channels; of equal scores the higher index goes first.

    Args:
        group: the group.
        values: (size,) scores on the scale of the competition.
        min_keep: channels that always stay.
        multiple_of: numbers of channels at which a step may end.
        locked: no step at all.
    """
    order = np.lexsort((-np.arange(group.size), values))
    least = math.ceil(min_keep / multiple_of) * multiple_of
    ends = [] if locked else range(group.size // multiple_of * multiple_of, least - 1, -multiple_of)
    removed = np.array([0, *(group.size - end for end in ends if end != group.size)], dtype=np.int64)
    return Ladder(order, np.diff(removed), values[order][removed[1:] - 1], 0 if locked else group.size)


@dataclass(frozen=True)
class Contest:
    """The steps of the groups that compete, in the order in which they are taken.

    Attributes:
        first: number of the first group that takes part.
        group: (steps,) number of the group whose step it is.
        steps: (steps,) channels that it removes.
        total: channels of the groups that are not locked.
        groups: number of all groups of the network.
    """

    first: int
    group: np.ndarray
    steps: np.ndarray
    total: int
    groups: int

    def removed(self, target: int) -> np.ndarray:
        """(groups,) channels to remove of each group so that the sum is as near to ``target`` as steps allow."""
        prefix = int(np.abs(_so_far(self.steps) - target).argmin())
        return total_steps(self.group[:prefix], self.steps[:prefix], self.groups)


def total_steps(group: np.ndarray, steps: np.ndarray, groups: int) -> np.ndarray:
    """(groups,) channels that a sequence of steps removes of each group."""
    return np.bincount(group, weights=steps, minlength=groups).astype(np.int64)


def make_contests(groups: Sequence[Group], ladders: Sequence[Ladder], scope: str) -> list[Contest]:
    """Sorts the groups into scopes and merges the steps of each, by score, then by the group's share that is gone."""
    scopes: dict[object, list[int]] = {}
    for number, group in enumerate(groups):
        key = {"local": number, "global": None, "isomorphic": group.signature}[scope]
        scopes.setdefault(key, []).append(number)
    contests = []
    for numbers in scopes.values():
        group = np.repeat(numbers, [len(ladders[n].steps) for n in numbers])
        share = np.concatenate([(np.cumsum(s := ladders[n].steps) - s / 2) / groups[n].size for n in numbers])
        score = np.concatenate([ladders[n].scores for n in numbers])
        order = np.lexsort((group, share, score))
        steps = np.concatenate([ladders[n].steps for n in numbers])[order]
        total = sum(ladders[n].free for n in numbers)
        contests.append(Contest(numbers[0], group[order], steps, total, len(groups)))
    return contests


def merged(contests: Sequence[Contest]) -> tuple[np.ndarray, np.ndarray]:
    """One sequence of steps over all contests, in which the one goes on that has lost the smallest share so far.

    So the result of every ratio is a prefix of it, in the local scope as well as in the global one.

    Returns:
        (steps,) group numbers and (steps,) removed channels.
    """
    share = np.concatenate([(np.cumsum(c.steps) - c.steps) / max(c.total, 1) for c in contests])
    turn = np.argsort(share, kind="stable")
    return np.concatenate([c.group for c in contests])[turn], np.concatenate([c.steps for c in contests])[turn]


def _so_far(steps: np.ndarray) -> np.ndarray:
    """(steps + 1,) channels removed before each step, and after the last."""
    return np.concatenate(([0], np.cumsum(steps)))
