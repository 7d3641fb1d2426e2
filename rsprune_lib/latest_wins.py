"""Work beside sliders: the latest request only, on a thread that ends when nothing is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from rsprune_lib.background import background_thread, register
from rsprune_lib.device import give_way

__all__ = ["LatestWins", "Turn", "ended"]

Job = TypeVar("Job")
_END = 5.0  # seconds that closing waits for work that has been told to stop; a batch takes a tenth of one


class Turn(Generic[Job]):
    """One job at work, with a view of what has been asked for since.

    Attributes:
        job: the job.
    """

    def __init__(self, job: Job, newest: Callable[[], Job | None]) -> None:
        self.job, self._newest = job, newest

    @property
    def newest(self) -> Job | None:
        """The job that was submitted last: this one, or the one that takes its place; None once nothing is wanted."""
        return self._newest()

    def stale(self) -> bool:
        """Whether a newer job waits."""
        return self.newest is not self.job


class LatestWins(Generic[Job]):
    """Runs ``work(turn)`` on a thread of its own; a newer job makes ``turn.stale()`` true and takes its place.

    ipywidgets has no debounce: a dragged slider sends every position. Here the positions in between are dropped, the
    last one never is. The thread ends when nothing has been asked for during ``pause`` seconds, see
    `rsprune_lib.background`.

    Args:
        work: called with a `Turn`. It should ask ``stale()`` often, and must not show anything once the answer is True.
        idle: called before the thread ends for want of work.
        pause: see above.
    """

    def __init__(
        self, work: Callable[[Turn[Job]], None], idle: Callable[[], None] | None = None, pause: float = 2.0
    ) -> None:
        self._work, self._idle, self._pause = work, idle, pause
        self._changed = threading.Condition()
        self._newest: Job | None = None
        self._waiting = self._busy = self._closed = False
        self._pauses = 0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        register(self)

    def submit(self, job: Job) -> None:
        """Replaces whatever waits or runs by ``job`` (an object of its own: jobs are told apart by identity)."""
        with self._changed:
            if self._closed:
                return
            self._newest, self._waiting = job, True
            self._begin()
            self._changed.notify_all()

    def settle(self, timeout: float = 60.0) -> None:
        """Waits until nothing is left to do, and raises what the last work raised, if it did.

        Raises:
            TimeoutError: there is still work after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout):
                raise TimeoutError(f"The worker is still busy after {timeout:g} s.")
            error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Ends the thread: what it works at becomes stale, what is submitted from now on is dropped."""
        with self._changed:
            self._closed, self._newest, self._waiting = True, None, False
            self._changed.notify_all()
        ended(self._thread)

    def rest(self) -> bool:
        """Ends the thread for now; what it was at is begun again after `resume`."""
        with self._changed:
            self._pauses += 1
            self._changed.notify_all()
            thread = self._thread
        return ended(thread)

    def resume(self) -> None:
        """Ends a `rest`."""
        with self._changed:
            self._pauses -= 1
            self._begin()

    def _begin(self) -> None:
        """Starts a thread if there is something to do and none that does it; to be called with the lock held."""
        if self._waiting and self._thread is None and not self._pauses:
            self._thread = threading.Thread(target=self._run, name="rsprune-latest", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        give_way()
        background_thread()
        while (turn := self._next()) is not None:
            error = None
            try:
                self._work(turn)
            except BaseException as raised:  # kept for settle(): a thread has nobody to raise to
                error = raised
            with self._changed:
                self._busy, self._error = False, error
                if self._pauses and turn.job is self._newest:
                    self._waiting = True  # it may have been cut short
                self._changed.notify_all()

    def _next(self) -> Turn[Job] | None:
        """Waits for something to do; None ends the thread: nothing has come for a while, or it has to rest."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed or self._pauses, self._pause)
            idle = not (self._waiting or self._closed or self._pauses)
        if idle and self._idle is not None:
            self._idle()
        with self._changed:
            if self._waiting and not self._closed and not self._pauses:
                self._waiting, self._busy = False, True
                return Turn(self._newest, lambda: None if self._pauses else self._newest)
            self._thread = None
            return None


def ended(thread: threading.Thread | None) -> bool:
    """Waits a moment for the end of a thread; returns whether it has ended."""
    if thread is None or thread is threading.current_thread():
        return True
    thread.join(_END)
    return not thread.is_alive()
