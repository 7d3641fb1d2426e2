"""The live pruning tool: a state without widgets, and views that only wire."""

from rsprune_lib.studio.panel import PruningPanel
from rsprune_lib.studio.state import Setting, Snapshot, Studio
from rsprune_lib.studio.worker import LatestWins

__all__ = ["LatestWins", "PruningPanel", "Setting", "Snapshot", "Studio"]
