"""The live pruning tool: a state without widgets, and views that only wire."""

from rsprune_lib.studio.lesson_view import lesson_panel
from rsprune_lib.studio.lessons import LESSONS
from rsprune_lib.studio.panel import PruningPanel
from rsprune_lib.studio.pick import open_studio
from rsprune_lib.studio.setting import AMOUNTS, RECOVERIES, Dense, Setting, Snapshot
from rsprune_lib.studio.state import Studio
from rsprune_lib.studio.survey import compare_recoveries, compare_speeds
from rsprune_lib.studio.worker import LatestWins, Turn

__all__ = [
    "AMOUNTS",
    "LESSONS",
    "RECOVERIES",
    "Dense",
    "LatestWins",
    "PruningPanel",
    "Setting",
    "Snapshot",
    "Studio",
    "Turn",
    "compare_recoveries",
    "compare_speeds",
    "lesson_panel",
    "open_studio",
]
