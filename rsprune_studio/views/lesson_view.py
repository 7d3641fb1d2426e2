"""The panel of a lesson: what notebooks embed and the app shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rsprune_lib.pruning import Plan
from rsprune_studio.engine.session import Session
from rsprune_studio.engine.setting import Setting
from rsprune_studio.engine.studio import Studio
from rsprune_studio.views.graph import GraphView
from rsprune_studio.views.inside import LookInside
from rsprune_studio.views.lessons import Lesson, get_lesson
from rsprune_studio.views.panel import PruningPanel
from rsprune_studio.views.scan import ScanView
from rsprune_studio.views.takeaway import TakeAway
from rsprune_studio.views.tune import TuneView

__all__ = ["lesson_panel"]

_TITLES = {
    "graph": "Graph",
    "sensitivity": "Sensitivity",
    "finetune": "Fine-tune",
    "inside": "Inside",
    "takeaway": "Take away",
}


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
    start = replace(Setting(criterion=studio.criteria[0]), **_possible(chosen, studio))
    parts = {}
    if "graph" in chosen.parts:
        parts["graph"] = GraphView(studio)
    if "sensitivity" in chosen.parts:
        parts["sensitivity"] = ScanView(studio, folder, go=lambda setting: panel.go(setting))
    if "finetune" in chosen.parts:
        parts["finetune"] = TuneView(studio, go=lambda setting: panel.go(setting))
    if "inside" in chosen.parts:
        parts["inside"] = LookInside(studio)
    if "takeaway" in chosen.parts:
        origin = "" if folder is None else folder.name
        parts["takeaway"] = TakeAway(studio, first=first, origin=origin, restore=restore)
    titled = {_TITLES[name]: part for name, part in parts.items()}
    panel = PruningPanel(
        studio, start, hide=chosen.hide, measured=chosen.measured, parts=titled, task=chosen.task, begin=False
    )
    if "takeaway" in parts:
        parts["takeaway"].explorer = panel.explorer
    if chosen.front:
        panel.tabs.selected_index = panel.tabs.titles.index(_TITLES[chosen.front])
    panel.explorer.begin()
    return panel


def _possible(lesson: Lesson, studio: Studio) -> dict:
    """A lesson's start without a criterion that this network cannot be judged by."""
    return {k: v for k, v in lesson.start.items() if k != "criterion" or v in studio.criteria}
