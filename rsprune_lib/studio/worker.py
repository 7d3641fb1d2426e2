"""One worker thread that only ever works for the latest request."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["LatestWins"]

Job = TypeVar("Job")


class LatestWins(Generic[Job]):
    """Runs ``work(job, stale)`` on a thread of its own; a newer job makes ``stale()`` true and takes its place.

    ipywidgets has no debounce: a dragged slider sends every position. Here the positions in between are dropped, the
    last one never is.

    Args:
        work: Called with a job and a function that tells whether a newer job waits. It should ask often, and must not
            show anything once the answer is True.
    """

    def __init__(self, work: Callable[[Job, Callable[[], bool]], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._generation = 0
        self._busy = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Replaces whatever waits or runs by ``job``."""
        with self._changed:
            self._generation += 1
            self._waiting = [job]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rsprune-studio", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, timeout: float = 60.0) -> None:
        """Waits until nothing is left to do, and raises what the work raised, if it did.

        Raises:
            TimeoutError: There is still work after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout):
                raise TimeoutError(f"The worker is still busy after {timeout:g} s.")
            error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job, generation, self._busy = self._waiting.pop(), self._generation, True
            try:
                self._work(job, lambda mine=generation: self._generation != mine)
            except BaseException as error:  # kept for settle(): a thread has nobody to raise to
                self._error = error
            with self._changed:
                self._busy = False
                self._changed.notify_all()
