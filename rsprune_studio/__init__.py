"""The live pruning tool: a state without widgets, and views that only wire."""

import importlib

from rsprune_studio.engine.open_bundle import open_studio
from rsprune_studio.engine.setting import AMOUNTS, Dense, Setting, Snapshot, recovery_titles
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.survey import compare_recoveries, compare_speeds
from rsprune_studio.engine.threads import LatestWins, Turn
from rsprune_studio.views.lessons import LESSONS, lesson_panel
from rsprune_studio.views.panel import PruningPanel

__all__ = [
    "AMOUNTS",
    "LESSONS",
    "Dense",
    "GateBrowser",
    "GateView",
    "LatestWins",
    "PruningPanel",
    "Setting",
    "Snapshot",
    "Studio",
    "Turn",
    "compare_recoveries",
    "compare_speeds",
    "draw_gates",
    "lesson_panel",
    "open_studio",
    "recovery_titles",
]


def __getattr__(name: str) -> object:
    if name not in ("GateBrowser", "GateView", "draw_gates"):  # imported lazily: they draw with matplotlib
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.views.gate_browser"), name)
