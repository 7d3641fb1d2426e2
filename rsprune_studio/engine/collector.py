"""The dense network's Gram matrices, collected beside the sliders: moves are answered while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rsprune_lib.device import give_way
from rsprune_lib.pruning.calibration import Stopped
from rsprune_lib.pruning.recovery.live import Live
from rsprune_studio.engine.planner import Stop, Tell

__all__ = ["Collector"]

_TEXT = "Collecting the dense network's Gram matrices, once"
_LOOK = 0.05  # seconds between two looks at how far it is
_PARK = 5.0  # seconds that `paused` waits at most; a batch takes a tenth of one, solving a wide layer two


class Collector:
    """Collects once, on a thread that ends with it; whoever needs the result waits for it, or leaves and comes back.

    Args:
        collect: makes the matrices; asks its argument before each batch and ends with `Stopped` once that says True.
        steps: how often it will ask.
    """

    def __init__(self, collect: Callable[[Stop], Live], steps: int) -> None:
        self._collect, self._steps = collect, steps
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._found: Live | None = None
        self._error: Exception | None = None
        self._asked = self._pauses = 0
        self._unwanted = self._parked = False

    @property
    def ready(self) -> bool:
        """Whether the matrices are there."""
        return self._found is not None

    def get(self, should_stop: Stop | None = None, tell: Tell | None = None) -> Live:
        """The matrices; begins to collect them if nobody has yet, and waits.

        Args:
            should_stop: asked while waiting; True ends the waiting, not the collecting.
            tell: told how far it is.

        Raises:
            Stopped: ``should_stop`` returned True, or `stop` was called meanwhile.
            Exception: what went wrong while collecting; the next call begins anew.
        """
        while True:
            with self._changed:
                if self._found is not None:
                    return self._found
                error, self._error = self._error, None
                if error is not None:
                    raise error
                self._unwanted = False
                if self._thread is None:
                    self._asked = 0
                    self._thread = threading.Thread(target=self._run, name="rsprune-collector", daemon=True)
                    self._thread.start()
                self._changed.wait(_LOOK)
                share = min(self._asked / max(self._steps, 1), 1.0)
            if tell is not None:
                tell(_TEXT, share)
            if should_stop is not None and should_stop():
                raise Stopped("Another setting is wanted by now.")

    def stop(self) -> None:
        """Ends the collecting at the next batch, unless somebody asks for the matrices before; nothing is kept."""
        self._unwanted = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While it lasts nothing is collected, so that something else can be timed."""
        with self._changed:
            self._pauses += 1
            self._changed.wait_for(lambda: self._thread is None or self._parked, _PARK)
        try:
            yield
        finally:
            with self._changed:
                self._pauses -= 1
                self._changed.notify_all()

    def _run(self) -> None:
        give_way()
        found = error = None
        try:
            found = self._collect(self._ask)
        except Stopped:
            pass
        except Exception as raised:  # for `get`: a thread has nobody to raise to
            error = raised
        with self._changed:
            self._found, self._error, self._thread = found, error, None
            self._changed.notify_all()

    def _ask(self) -> bool:
        with self._changed:
            self._asked += 1
            if self._pauses:
                self._parked = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._pauses)
                self._parked = False
            return self._unwanted
