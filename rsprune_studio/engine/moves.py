"""Where a control that a person has moved leads: the fields that no longer mean anything begin anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rsprune_lib.pruning import Plan
from rsprune_studio.engine.by_hand import locked_by_hand
from rsprune_studio.engine.setting import Setting, Snapshot

__all__ = ["continued"]


def continued(asked: Setting, before: Setting, shown: Snapshot | None, tuned_from: Callable[[Plan], str]) -> Setting:
    """The setting that a person means who moved one control.

    Another way to say how much is removed begins with as much as is on the screen; a threshold is found anew on
    another scale of scores; a fine-tuned network fits one plan only, so another plan gets the recovery before; a locked
    group of channels that were picked by hand is whole again.

    Args:
        asked: where the controls stand now.
        before: where they stood.
        shown: the last answer; None before the first.
        tuned_from: plan -> recovery that its fine-tuned network began with.
    """
    if shown is None:
        return asked
    share = 1 - sum(shown.plan.widths.values()) / sum(shown.plan.sizes.values())
    if asked.amount != before.amount:
        macs = min(1.0, max(0.02, shown.cost.macs / shown.dense.cost.macs))
        asked = replace(asked, ratio=round(share, 2), macs=macs, threshold=None)
    elif asked.amount == "threshold" and _scale(asked) != _scale(before):
        asked = replace(asked, ratio=share, threshold=None)  # a score means nothing on another scale
    if before.recovery == asked.recovery == "tuned":
        asked = replace(asked, recovery=tuned_from(shown.plan))
    return locked_by_hand(asked)


def _scale(setting: Setting) -> tuple:
    """What a threshold's number depends on."""
    return setting.criterion, setting.normalise, setting.options
