"""Channels that a person picks: a plan that says "by hand", and what a criterion would have done at the same MACs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from rsprune_lib.errors import RspruneError, Stopped
from rsprune_lib.measure import Paired, compare
from rsprune_lib.pruning import Plan
from rsprune_studio.engine.presets import at_these_macs
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["Duel", "between", "by_hand", "duel", "hand_groups", "locked_by_hand"]

_HAND = "by hand"


def hand_groups(setting: Setting) -> tuple[str, ...] | None:
    """The groups whose channels a person picked, in the order of the first pick; None where the plan is another one."""
    if setting.amount != "plan" or setting.given.how.get("chosen") != _HAND:
        return None
    return tuple(map(str, setting.given.how.get("groups", ())))


def by_hand(snapshot: Snapshot, group: str, channels: Iterable[int], how: str) -> Setting:
    """What is on the screen, with other channels of one group.

    The channels of a group stand in all its layers (those of a residual stream in all that add to it), so they go and
    stay together there.

    Args:
        snapshot: what is on the screen; its locked groups stay whole.
        group: name of the group.
        channels: original numbers of the channels in question.
        how: ``"remove"`` takes them out, ``"add"`` brings them back, ``"only"`` keeps them and no others.

    Raises:
        RspruneError: the group is locked, nothing of it would be left, or nothing changes.
        PlanError: there are no such channels.
    """
    setting, plan = snapshot.setting, snapshot.plan
    asked, now = {int(channel) for channel in channels}, set(plan.keep[group])
    if group in setting.locked:
        raise RspruneError(f"The group {group} is locked and stays whole; unlock it in the tab Groups first.")
    left = {"remove": now - asked, "add": now | asked, "only": asked}[how]
    if not left:
        raise RspruneError(f"No channel of {group} would be left; keep at least one of its {plan.sizes[group]}.")
    if left == now:
        raise RspruneError(f"Nothing changes in {group}: {len(asked)} channels were picked, and they are so already.")
    edited = [*dict.fromkeys([*(hand_groups(setting) or ()), group])]
    begun = plan.how.get("begun_with", plan.how) if hand_groups(setting) is not None else plan.how
    said = {"chosen": _HAND, "groups": edited, "begun_with": begun}
    given = Plan(plan.model, {**plan.keep, group: tuple(sorted(left))}, plan.sizes, said)
    recovery = "live" if setting.recovery == "tuned" else setting.recovery  # that network fits its own plan only
    return replace(setting, amount="plan", given=given, threshold=None, recovery=recovery)


def locked_by_hand(setting: Setting) -> Setting:
    """A hand-picked setting with its locked groups whole, as a lock promises; any other setting as it is."""
    if hand_groups(setting) is None:
        return setting
    plan = setting.given
    whole = {name: tuple(range(plan.sizes[name])) for name in setting.locked if name in plan.sizes}
    if all(plan.keep[name] == kept for name, kept in whole.items()):
        return setting
    return replace(setting, given=Plan(plan.model, {**plan.keep, **whole}, plan.sizes, plan.how))


def between(values: np.ndarray, low: float, high: float, ends: tuple[float, float]) -> np.ndarray:
    """Numbers of the channels whose score lies between two handles; a handle at an end takes what is beyond it, too.

    Args:
        values: (size,) normalised scores of a group.
        low: the lower handle.
        high: the upper one.
        ends: where the handles end.
    """
    over = (values >= low) | (low <= ends[0])
    return np.flatnonzero(over & ((values <= high) | (high >= ends[1])))


@dataclass(frozen=True, eq=False)
class Duel:
    """A hand-made choice beside a criterion's at the same MACs, on the same validation images.

    Attributes:
        hand: what a person chose, measured.
        rival: what the criterion chooses within the same MACs, recovered alike and measured.
        shared: share of the hand's channels that the criterion keeps, too.
        paired: on how many images only one of them is right (of a segmenter: better), from rival to hand.
    """

    hand: Snapshot
    rival: Snapshot
    shared: float
    paired: Paired


def duel(studio: Studio, snapshot: Snapshot, watch: Watch = UNWATCHED) -> Duel:
    """Measures what a criterion would have chosen in place of a person.

    Args:
        studio: the state.
        snapshot: the hand-made choice, complete; its criterion and scope choose against it.
        watch: of the work.

    Raises:
        PlanError: the criterion does not reach so few MACs.
        Stopped: it is no longer wanted.
    """
    recovery = "live" if snapshot.setting.recovery == "tuned" else snapshot.setting.recovery
    wanted = at_these_macs(snapshot, recovery=recovery, multiple_of=1)  # as near to these MACs as it can be
    steps = list(studio.answers(wanted, tell=watch.tell, stale=watch.stop or (lambda: False)))
    if not steps or not steps[-1].final:
        raise Stopped("The comparison was stopped; start it again to get a result.")
    rival, images = steps[-1], studio.validation.indices
    labels = torch.as_tensor(studio.data.labels[images]).long()
    records = [studio.records(one, watch)[1] for one in (rival, snapshot)]
    mine, other = snapshot.plan.keep, rival.plan.keep
    same = sum(len(set(kept) & set(other[name])) for name, kept in mine.items())
    total = sum(len(kept) for kept in mine.values())
    return Duel(snapshot, rival, same / total, compare(*records, labels, studio.task))
