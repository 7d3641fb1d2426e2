"""Channels that a person picks: a plan that says "by hand"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning import Plan
from rsprune_studio.engine.setting import Setting, Snapshot

__all__ = ["between", "by_hand", "hand_groups", "locked_by_hand"]

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
