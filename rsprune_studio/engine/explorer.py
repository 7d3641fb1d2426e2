"""A walk through settings, without a single widget: what is asked for, what is on the screen, where it has been.

Every move is answered on the spot with what is known, and from a worker with what takes longer. An answer that comes
after the next move is dropped, the last move never is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from rsprune_lib.device import give_memory_back
from rsprune_lib.errors import RspruneError, Stopped
from rsprune_studio.engine.history import History
from rsprune_studio.engine.moves import continued
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch

__all__ = ["Explorer", "Screen", "Search"]

Search = Callable[[Watch], Setting]
_TELL_EVERY = 0.1  # seconds between two words on progress
_AGAIN, _AT_MOST = 2.0, 60.0  # seconds until an unclear time is measured again: at first, and after many times


class Screen(Protocol):
    """What an `Explorer` tells; called with its lock held, on the thread of the move or on the worker."""

    def moved(self, setting: Setting, answered: bool) -> None:
        """Another setting is wanted; what could be computed at once has been drawn, if anything: ``answered``."""

    def draw(self, snapshot: Snapshot, before: Snapshot | None) -> None:
        """There is more to show; ``before`` is what was on the screen."""

    def say(self, text: str, share: float | None) -> None:
        """Something takes long; an empty text when it is over."""

    def fail(self, error: Exception) -> None:
        """The wanted setting has no answer, or a search found none; in that case what is on the screen stays."""


@dataclass(frozen=True, eq=False)  # jobs are told apart by identity
class _Job:
    """A setting to answer, with what is on the screen of it by now, or a search that ends in a setting."""

    setting: Setting
    begun: Snapshot | None = None
    search: Search | None = None


class Explorer:
    """Moves from setting to setting and keeps a `Screen` up to date.

    Args:
        studio: the state.
        start: the first setting; answered when `begin` is called.
        screen: who is told.
        measured: measure latency and accuracy; False stops at what follows from the plan alone.

    Attributes:
        history: where it has been.
        snapshot: what is on the screen, always of the wanted setting; None while there is no answer to it.
        last: the last answer, whatever is wanted by now; None before the first.
        error: what went wrong with the last move, None if nothing did.
    """

    def __init__(self, studio: Studio, start: Setting, screen: Screen, *, measured: bool = True) -> None:
        self.studio, self.measured, self._screen = studio, measured, screen
        self.history = History(start)
        self.snapshot: Snapshot | None = None
        self.last: Snapshot | None = None
        self.error: Exception | None = None
        self.lock = threading.RLock()  # whether an answer is stale, and drawing it, are one step
        self._told = 0.0
        self._worker: LatestWins[_Job] = LatestWins(self._work, self._when_idle)
        self._tries, self._closed = 0, False
        self._timer: threading.Timer | None = None

    @property
    def setting(self) -> Setting:
        """The setting that is wanted."""
        return self.history.now

    def begin(self) -> None:
        """Answers the wanted setting (again)."""
        with self.lock:
            self.go(self.setting)

    def go(self, setting: Setting, *, by_hand: bool = False) -> None:
        """Moves to a setting: shows structure and costs now if the scores are known, the rest comes from the worker.

        The numbers are drawn first and the worker is woken last, so that nothing competes with what a person waits for.

        Args:
            setting: where to; where the walk stands already, it is answered again.
            by_hand: a person moved a control, see `continued`.
        """
        with self.lock:
            if by_hand:
                setting = continued(setting, self.setting, self.last, self.studio.networks.kept.tuned_from)
            self.history.move(setting)
            self.error = begun = problem = None
            self._tries = 0
            self._forget_timer()
            try:
                begun = self.studio.apply(setting) if self.studio.scoring.knows(setting) else None
            except RspruneError as error:
                problem = error
            self._show(setting, begun, problem)

    def undo(self) -> None:
        """Back to the setting before; at the beginning it stays."""
        with self.lock:
            self.go(self.history.undo())

    def redo(self) -> None:
        """Forth to what was undone; at the end it stays."""
        with self.lock:
            self.go(self.history.redo())

    def reset(self) -> None:
        """Moves to where it all started; that can be undone."""
        with self.lock:
            self.go(self.history.start)

    def replay(self, history: History) -> None:
        """Takes another history in place of its own, and goes where it stands."""
        with self.lock:
            self.history = history
            self.go(history.now)

    def find(self, search: Search) -> None:
        """Lets a search run on the worker and moves to the setting that it finds; the next move ends it.

        Args:
            search: watch -> setting.
        """
        with self.lock:
            self.error = None
            self._worker.submit(_Job(self.history.now, search=search))

    def settle(self, timeout: float = 120.0) -> Snapshot:
        """Waits for everything that follows from the last move.

        Returns:
            What is on the screen then.

        Raises:
            Exception: what went wrong since the last move.
            TimeoutError: the worker is still busy.
        """
        self._worker.settle(timeout)
        if self.error is not None:
            raise self.error
        return self.snapshot

    def close(self) -> None:
        """Ends its worker; no move is answered any more."""
        with self.lock:
            self._closed = True
            self._forget_timer()
        self._worker.close()

    def _show(self, setting: Setting, begun: Snapshot | None, problem: Exception | None) -> None:
        """Shows what could be computed at once, and wakes the worker for the rest."""
        if begun is not None:
            self._draw(begun)
            setting = begun.setting
        else:
            self.snapshot = None
        self._screen.moved(setting, begun is not None)
        if problem is not None:
            self._fail(problem)
        self._worker.submit(_Job(setting, begun))

    def _work(self, turn: Turn[_Job]) -> None:
        """Runs on the worker: shows each answer as it comes, nothing once a newer move waits."""
        tell = partial(self._tell, turn)
        try:
            if turn.job.search is not None:
                found = turn.job.search(Watch(turn.stale, tell))
                self._unless_stale(turn, self.go, found)
                return
            begun, wanted = turn.job.begun, lambda: turn.newest and turn.newest.setting
            if begun is None or (self.measured and not begun.settled):
                for snapshot in self.studio.answers(turn.job.setting, wanted, tell, turn.stale, begun):
                    self._unless_stale(turn, self._draw, snapshot)
                    if not self.measured:
                        break
            self._unless_stale(turn, self._screen.say, "", None)
        except Stopped:
            pass
        except Exception as error:
            self._unless_stale(turn, self._fail, error)

    def _when_idle(self) -> None:
        """Runs on the worker: what was measured while the machine was busy is measured again, later and later."""
        give_memory_back()
        with self.lock:
            shown = self.snapshot
            if not self.measured or shown is None or not shown.complete or shown.settled or self._closed:
                return
            pause = min(_AT_MOST, _AGAIN * 2**self._tries)
            self._tries += 1
            self._forget_timer()
            self._timer = threading.Timer(pause, self._measure_again, [shown])
            self._timer.name, self._timer.daemon = "rsprune-later", True
            self._timer.start()

    def _measure_again(self, shown: Snapshot) -> None:
        with self.lock:
            if self.snapshot is shown and not self._closed:
                self._worker.submit(_Job(shown.setting, shown))

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _tell(self, turn: Turn[_Job], text: str, share: float | None = None) -> None:
        if time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            self._unless_stale(turn, self._screen.say, text, share)

    def _unless_stale(self, turn: Turn[_Job], show: Callable[..., Any], *what: object) -> None:
        with self.lock:
            if not turn.stale():
                show(*what)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._screen.fail(error)

    def _draw(self, snapshot: Snapshot) -> None:
        before, self.snapshot, self.last = self.last, snapshot, snapshot
        self.history.refine(snapshot.setting)
        if snapshot.complete:
            self.history.record(snapshot)
        self._screen.draw(snapshot, before)
