"""One worker thread that only ever works for the latest request."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from rsprune_lib.device import give_way

__all__ = ["LatestWins", "Turn"]

Job = TypeVar("Job")


class Turn(Generic[Job]):
    """One job at work, with a view of what has been asked for since.

    Attributes:
        job: the job.
    """

    def __init__(self, job: Job, newest: Callable[[], Job]) -> None:
        self.job, self._newest = job, newest

    @property
    def newest(self) -> Job:
        """The job that was submitted last: this one, or the one that takes its place."""
        return self._newest()

    def stale(self) -> bool:
        """Whether a newer job waits."""
        return self.newest is not self.job


class LatestWins(Generic[Job]):
    """Runs ``work(turn)`` on a thread of its own; a newer job makes ``turn.stale()`` true and takes its place.

    ipywidgets has no debounce: a dragged slider sends every position. Here the positions in between are dropped, the
    last one never is.

    Args:
        work: called with a `Turn`. It should ask ``stale()`` often, and must not show anything once the answer is True.
        rest: called once when nothing has been asked for during ``pause`` seconds after a piece of work.
        pause: see there.
    """

    def __init__(
        self, work: Callable[[Turn[Job]], None], rest: Callable[[], None] | None = None, pause: float = 2.0
    ) -> None:
        self._work, self._rest, self._pause = work, rest, pause
        self._changed = threading.Condition()
        self._newest: Job | None = None
        self._waiting = self._busy = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Replaces whatever waits or runs by ``job`` (an object of its own: jobs are told apart by identity)."""
        with self._changed:
            self._newest, self._waiting = job, True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rsprune-studio", daemon=True)
                self._thread.start()
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

    def _run(self) -> None:
        give_way()
        while True:
            with self._changed:
                pause = self._pause if self._rest else None
                asked = self._changed.wait_for(lambda: self._waiting, pause)
            if not asked:
                self._rest()
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                turn, self._waiting, self._busy = Turn(self._newest, lambda: self._newest), False, True
            error = None
            try:
                self._work(turn)
            except BaseException as raised:  # kept for settle(): a thread has nobody to raise to
                error = raised
            with self._changed:
                self._busy, self._error = False, error
                self._changed.notify_all()
