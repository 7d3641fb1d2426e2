"""A challenge on the screen: its goals, what was measured, reached or not yet, and the best so far."""

from __future__ import annotations

from rsprune_lib.colours import CUT, KEPT
from rsprune_studio.draw.html import escape
from rsprune_studio.draw.theme import ACCENT, GRID, INK, MUTED
from rsprune_studio.engine.challenges import Attempt, Challenge
from rsprune_studio.engine.goals import MEASURES, Goal
from rsprune_studio.engine.setting import Snapshot

__all__ = ["best_words", "challenge_box"]

_VERDICTS = {  # of everything, and of one goal: sign, word, colour of the frame, style of it
    True: ("✓", "Reached", KEPT, "solid"),
    False: ("✗", "Not yet", CUT, "solid"),
    None: ("…", "Measuring", MUTED, "dashed"),
}


def challenge_box(challenge: Challenge, snapshot: Snapshot | None, best: Attempt | None) -> str:
    """What is asked for, where the setting on the screen stands, and the best attempt.

    Args:
        challenge: that is open.
        snapshot: what is on the screen; None while the wanted setting has no answer.
        best: the best attempt so far.
    """
    reached = challenge.reached(snapshot)
    sign, word, colour, line = _VERDICTS[reached]
    goals = "".join(f"<div>{_goal(goal, snapshot)}</div>" for goal in challenge.goals)
    badge = f"border:2px {line} {colour};border-radius:14px;padding:1px 12px;font-weight:700;font-size:14px"
    row = "display:flex;flex-wrap:wrap;gap:4px 16px;align-items:center"
    box = f"border:1px solid {GRID};border-left:6px {line} {colour};border-radius:8px;padding:6px 10px;color:{INK}"
    return (
        f'<div class="rsprune-challenge" role="status" style="{box};font-size:13px;line-height:19px">'
        f'<div style="{row}"><span style="{badge}">{sign} {word}</span><b>{escape(challenge.title)}</b></div>'
        f'<div style="{row};margin-top:3px">{goals}</div>'
        f'<div style="color:{MUTED};font-size:12px">{escape(best_words(best))}</div></div>'
    )


def _goal(goal: Goal, snapshot: Snapshot | None) -> str:
    standing = None if snapshot is None else goal.standing(snapshot)
    value = None if standing is None else standing.value
    met = None if standing is None else standing.met
    sign, _, colour, _ = _VERDICTS[met]
    colour = ACCENT if met else colour
    now = "…" if value is None else MEASURES[goal.measure].text(value)
    note = f" ({standing.note})" if standing is not None and standing.note else ""
    return (
        f'<b style="color:{colour}">{sign}</b> {escape(goal.text)}: <b>{escape(now)}</b>'
        f'<span style="color:{MUTED}">{escape(note)}</span>'
    )


def best_words(best: Attempt | None) -> str:
    """The best attempt in one line."""
    if best is None:
        return "Best so far: nothing yet. It goes into the session file (tab Take away), to compare."
    values = ", ".join(MEASURES[measure].text(value) for measure, value in best.values.items())
    where = f", timed on {best.device}" if "ms" in best.values and best.device else ""
    return f"Best so far: {values}{'' if best.reached else ' (not yet)'}{where}."
