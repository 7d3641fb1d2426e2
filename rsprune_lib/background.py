"""Background threads of the live tools rest while something is timed.

On two cores an idle thread that once ran a convolution on two OpenMP threads makes every later pass up to four times
slower, for as long as it lives: libgomp stops spinning as soon as more OpenMP threads exist than cores. So a worker
that runs PyTorch ends its thread when it has nothing to do, and before anything is timed.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

__all__ = ["Worker", "at_rest", "background_thread", "register"]


class Worker(Protocol):
    """Something with a thread of its own that can rest."""

    def rest(self) -> bool:
        """Ends the thread, if need be in the middle of its work; returns whether it has ended."""

    def resume(self) -> None:
        """Goes on with what was interrupted; called once for each `rest`."""


_workers: WeakSet[Worker] = WeakSet()
_here = threading.local()


def register(worker: Worker) -> None:
    """Lets a worker rest in `at_rest`, as long as it lives."""
    _workers.add(worker)


def background_thread() -> None:
    """To be called at the beginning of a worker's thread: what it times itself does not end it."""
    _here.background = True


@atexit.register
def _end() -> None:
    """A thread that still computes when Python's own things are gone would end the process with an error."""
    for worker in list(_workers):
        worker.rest()


@contextmanager
def at_rest() -> Iterator[bool]:
    """While it lasts no registered worker computes; yields whether that was achieved.

    On a worker's own thread nothing happens, and the answer is True.
    """
    workers = [] if getattr(_here, "background", False) else list(_workers)
    resting: list[Worker] = []
    try:
        quiet = True
        for worker in workers:
            resting.append(worker)
            quiet &= worker.rest()
        yield quiet
    finally:
        for worker in resting:
            worker.resume()
