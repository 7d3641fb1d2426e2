"""The live pruning tool: a state without widgets, and views that only wire."""

from rsprune_studio.engine.open_bundle import open_studio
from rsprune_studio.engine.setting import AMOUNTS, RECOVERIES, Dense, Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.survey import compare_recoveries, compare_speeds
from rsprune_studio.engine.threads import LatestWins, Turn
from rsprune_studio.views.gate_browser import GateBrowser, GateView, draw_gates
from rsprune_studio.views.lessons import LESSONS, lesson_panel
from rsprune_studio.views.panel import PruningPanel

__all__ = [
    "AMOUNTS",
    "LESSONS",
    "RECOVERIES",
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
]
