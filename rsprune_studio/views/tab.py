"""A view in a tab of its own that follows the panel."""

from __future__ import annotations

import threading

from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.views.widgets import View

__all__ = ["Part"]


class Part(View):
    """What every such view has: the panel says whether it is in front and what is on the screen, on any thread.

    A subclass says in `_refresh` what follows, and looks and draws within ``self._screen``: whether it is stale and
    drawing it are one step.

    Args:
        studio: the state.

    Attributes:
        snapshot: what is on the screen of the panel; None while the setting that is wanted has no answer.
        error: what went wrong last, None if nothing did.
    """

    def __init__(self, studio: Studio) -> None:
        super().__init__()
        self.studio = studio
        self.snapshot: Snapshot | None = None
        self.error: Exception | None = None
        self._active, self._screen = False, threading.RLock()

    @property
    def active(self) -> bool:
        """Whether the view is in front; behind, it draws and computes nothing (what was started goes on)."""
        return self._active

    @active.setter
    def active(self, value: bool) -> None:
        with self._screen:
            self._active = value
            self._refresh()

    def show(self, snapshot: Snapshot | None) -> None:
        """Hears of another snapshot, or that there is none yet for the setting that is wanted; returns at once."""
        with self._screen:
            self.snapshot = snapshot
            self._refresh()

    def oversized(self, error: Exception) -> bool:
        """Says that an upload was too large to arrive; False where the view takes none."""
        return False

    def _is_move(self, snapshot: Snapshot | None) -> bool:
        """Whether a snapshot belongs to another setting than what is on the screen: what was said of that is over."""
        return snapshot is None or self.snapshot is None or snapshot.setting != self.snapshot.setting

    def _refresh(self) -> None:
        raise NotImplementedError
