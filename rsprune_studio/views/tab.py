"""A view in a tab of its own that follows the panel."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import ipywidgets as widgets

from rsprune_lib.errors import Stopped
from rsprune_studio.draw import html
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.widgets import View

__all__ = ["Part", "PicturePart", "WithWorker"]


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


class WithWorker:
    """What views with one worker, ``self._worker``, have in common; comes first among the bases."""

    _worker: LatestWins[Any]
    error: Exception | None

    def settle(self, timeout: float = 120.0) -> None:
        """Waits for the latest work.

        Raises:
            Exception: what went wrong (it is on the screen as a sentence, too).
            TimeoutError: there is still work.
        """
        self._worker.settle(timeout)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Ends its worker; the view is gone."""
        self._worker.close()
        super().close()


class PicturePart(WithWorker, Part):
    """A view of one picture that takes long, below the controls that say of what: the latest wish is drawn on a worker.

    A subclass says in `_wish` what its controls ask for, and in `_make` how that is drawn.

    Args:
        studio: the state.

    Attributes:
        picture, status: what is shown.
    """

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.picture, self.status = (widgets.HTML(layout=widgets.Layout(width="auto")) for _ in range(2))
        self._worker: LatestWins[Any] = LatestWins(self._draw)

    def _wish(self) -> tuple:
        """What the controls ask for, beside the snapshot."""
        raise NotImplementedError

    def _make(self, snapshot: Snapshot, *wish: Any, watch: Watch) -> str:  # noqa: ANN401 - what `_wish` returned
        """Draws a wish as HTML; runs on a worker."""
        raise NotImplementedError

    def _refresh(self) -> None:
        with self._screen:
            wanted = self._active and self.snapshot is not None
            if self.snapshot is None:
                self.picture.value = ""
            self._worker.submit((self.snapshot, *self._wish()) if wanted else None)

    def _draw(self, turn: Turn) -> None:
        if turn.job is None:
            return
        picture = status = ""
        try:
            picture, self.error = self._make(*turn.job, watch=Watch(turn.stale, partial(self._tell, turn))), None
        except Stopped:
            return
        except Exception as error:
            self.error, status = error, html.message(html.in_words(error), error=True)
        with self._screen:
            if not turn.stale():
                self.picture.value, self.status.value = picture, status

    def _tell(self, turn: Turn, text: str, share: float | None = None) -> None:
        with self._screen:
            if not turn.stale():
                self.status.value = html.working(text, share)
