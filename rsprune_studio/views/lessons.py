"""Lessons: the same tool with fewer controls and another start, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rsprune_lib.errors import unknown
from rsprune_lib.pruning import Plan
from rsprune_lib.pruning.layers import deployed_multiple
from rsprune_studio.engine.session import Session
from rsprune_studio.engine.setting import Setting
from rsprune_studio.engine.studio import Studio
from rsprune_studio.views.challenge_bar import ChallengeBar
from rsprune_studio.views.exits import ExitView
from rsprune_studio.views.graph import GraphView
from rsprune_studio.views.hand import HandView
from rsprune_studio.views.inside import LookInside
from rsprune_studio.views.overview import Overview
from rsprune_studio.views.panel import PruningPanel
from rsprune_studio.views.scan import ScanView
from rsprune_studio.views.takeaway import TakeAway
from rsprune_studio.views.tune import TuneView
from rsprune_studio.views.votes import VotesView

__all__ = ["LESSONS", "Lesson", "get_lesson", "lesson_panel"]

_TITLES = {
    "graph": "Graph",
    "votes": "Filters",
    "hand": "By hand",
    "sensitivity": "Sensitivity",
    "finetune": "Fine-tune",
    "exits": "Exits",
    "inside": "Inside",
    "takeaway": "Take away",
}


@dataclass(frozen=True)
class Lesson:
    """What a teacher shows.

    Attributes:
        task: what the learner is to do, one or two sentences on top of the tool.
        hide: controls to leave out, of `rsprune_studio.views.panel.HIDDEN`.
        parts: further views to show, of ``"graph"``, ``"votes"`` (of segmenters), ``"hand"``, ``"sensitivity"``,
            ``"finetune"``, ``"exits"``, ``"inside"``, ``"takeaway"``.
        front: the one of them that is in front at first; None for none.
        start: fields of the first `Setting`; what is missing is the network's own default.
        measured: measure latency and accuracy.
        overview: show the network itself, a few images, and challenges.
    """

    task: str
    hide: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("graph", "votes", "hand", "sensitivity", "finetune", "exits", "inside", "takeaway")
    front: str | None = None
    start: Mapping[str, Any] = field(default_factory=dict)
    measured: bool = True
    overview: bool = False


LESSONS: dict[str, Lesson] = {
    "free": Lesson("", overview=True),
    "structure": Lesson(
        "Move the share and watch which groups shrink together. Which quarter of the channels holds most parameters?",
        hide=("criterion", "scope", "normalise", "amount", "recovery", "multiple_of", "presets"),
        parts=(),
        start={"criterion": "l2", "ratio": 0.3},
        measured=False,
    ),
    "attention": Lesson(
        "Attention and L2 disagree about channels. Switch the criterion at the same share: which groups change most in "
        "the scores, and which answer is better after recovery?",
        hide=("normalise", "amount", "own", "multiple_of", "presets"),
        parts=("inside",),
        start={"criterion": "attention", "ratio": 0.5, "recovery": "bn"},
    ),
    "threshold": Lesson(
        "One cut for all groups. Move it until the first group is down to one channel, and say what went wrong.",
        hide=("scope", "amount", "recovery", "own", "multiple_of", "presets"),
        parts=(),
        start={"amount": "threshold", "ratio": 0.4},
        measured=False,
    ),
    "graph": Lesson(
        "Move the cut: at 0.25, two channels are joined if three quarters of their hashes agree, and the worse end of "
        "every edge goes. Which layer falls apart first, and from which cut on does the accuracy follow?",
        hide=("criterion", "scope", "normalise", "amount", "own", "multiple_of", "presets"),
        parts=("graph",),
        front="graph",
        start={"criterion": "similarity", "amount": "threshold", "threshold": 0.25},
    ),
    "recovery": Lesson(
        "Keep the plan and change only the recovery. What does each one look at, and what does it cost?",
        hide=("criterion", "scope", "normalise", "amount", "own", "multiple_of", "presets"),
        parts=("inside",),
        start={"ratio": 0.7, "recovery": "none"},
    ),
    "budget": Lesson(
        "Meet a budget in MMACs, then one in milliseconds, and beat the uniform preset at equal MACs.",
        parts=("sensitivity", "takeaway"),
        start={"amount": "macs", "macs": 0.25, "multiple_of": 1},
    ),
    "exits": Lesson(
        "Fit exits, then move the doubt that may remain until accuracy begins to fall. Which classes leave early, and "
        "what do the images that go to the end have in common? Then prune more, and fit again.",
        hide=("criterion", "scope", "normalise", "amount", "own", "multiple_of", "presets"),
        parts=("exits",),
        front="exits",
        start={"ratio": 0.5},
    ),
    "rare": Lesson(
        "Half of the channels go, once by L2 and once by the votes of the rarest classes. Which classes pay each time, "
        "and which filters speak for them? Then ask more classes, or fewer, and find images where one was lost.",
        hide=("normalise", "own", "multiple_of", "presets"),
        parts=("votes", "inside"),
        front="inside",
        start={"criterion": "class_taylor", "ratio": 0.5},
    ),
    "finetune": Lesson(
        "Fine-tune the pruned network with two losses. Which mistakes went away, and is the gain more than chance?",
        hide=("criterion", "scope", "normalise", "amount", "own", "multiple_of", "presets"),
        parts=("finetune", "inside"),
        start={"ratio": 0.7, "recovery": "bn"},
    ),
}


def get_lesson(name: str | None) -> Lesson:
    """Returns a lesson by name; None is the whole tool.

    Raises:
        RspruneError: there is no such lesson.
    """
    if name is None:
        return LESSONS["free"]
    if name not in LESSONS:
        raise unknown("lesson", name, LESSONS)
    return LESSONS[name]


def lesson_panel(
    studio: Studio,
    lesson: str | Lesson | None = None,
    *,
    folder: Path | None = None,
    first: Plan | None = None,
    restore: Callable[[Session], None] | None = None,
) -> PruningPanel:
    """The panel with the parts, controls and start of a lesson; what notebooks embed and the app shows.

    Args:
        studio: the state.
        lesson: name of a lesson; None is the whole tool.
        folder: the bundle's folder, to keep sensitivity scans beside it.
        first: the plan of the network, if it has been pruned already.
        restore: called with a session that was loaded.

    Raises:
        RspruneError: there is no such lesson.
    """
    chosen = lesson if isinstance(lesson, Lesson) else get_lesson(lesson)
    deployed = "takeaway" in chosen.parts
    eights = {"multiple_of": deployed_multiple(group.size for group in studio.groups)} if deployed else {}
    start = replace(Setting(criterion=studio.criteria[0], **eights), **_possible(chosen, studio))
    parts = {}
    if "graph" in chosen.parts:
        parts["graph"] = GraphView(studio)
    if "votes" in chosen.parts and studio.data.masks is not None:
        parts["votes"] = VotesView(studio)
    if "hand" in chosen.parts:
        parts["hand"] = HandView(studio)
    if "sensitivity" in chosen.parts:
        parts["sensitivity"] = ScanView(studio, folder, go=lambda setting: panel.go(setting))
    if "finetune" in chosen.parts:
        parts["finetune"] = TuneView(studio, go=lambda setting: panel.go(setting))
    if "exits" in chosen.parts and studio.task.name in ("classification", "exits"):
        parts["exits"] = ExitView(studio)
    if "inside" in chosen.parts:
        parts["inside"] = LookInside(studio)
    if "takeaway" in chosen.parts:
        origin = "" if folder is None else folder.name
        parts["takeaway"] = TakeAway(studio, first=first, origin=origin, restore=restore)
    inside = parts["inside"].inside if "inside" in parts else None
    top = (ChallengeBar(studio), Overview(studio, inside)) if chosen.overview else ()
    titled = {_TITLES[name]: part for name, part in parts.items()}
    panel = PruningPanel(
        studio, start, hide=chosen.hide, measured=chosen.measured, parts=titled, top=top, task=chosen.task, begin=False
    )
    for view in (*top, *parts.values()):
        if isinstance(view, ChallengeBar | HandView | TakeAway):
            view.explorer = panel.explorer
    if chosen.front in parts:
        panel.tabs.selected_index = panel.tabs.titles.index(_TITLES[chosen.front])
    panel.explorer.begin()
    return panel


def _possible(lesson: Lesson, studio: Studio) -> dict:
    """A lesson's start without a criterion that this network cannot be judged by."""
    return {k: v for k, v in lesson.start.items() if k != "criterion" or v in studio.criteria}
