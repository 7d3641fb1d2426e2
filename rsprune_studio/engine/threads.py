"""Work beside the sliders: for the latest request only, one long job at a time, or collected once for all who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from rsprune_lib.background import background_thread, register
from rsprune_lib.data import Batches
from rsprune_lib.device import give_way
from rsprune_lib.errors import RspruneError, Stopped
from rsprune_lib.latest_wins import LatestWins, Turn, ended
from rsprune_lib.pruning.recovery.live import Live

__all__ = ["UNWATCHED", "Background", "Collector", "LatestWins", "Stop", "Tell", "Turn", "Watch"]

Stop = Callable[[], bool]
Tell = Callable[[str, float | None], None]  # what is being done, and which share of it is done
_TEXT = "Collecting the dense network's Gram matrices, once"
_LOOK = 0.05  # seconds between two looks at how far it is
_PARK = 5.0  # seconds that `paused` waits at most; a batch takes a tenth of one, solving a wide layer two


@dataclass(frozen=True)
class Watch:
    """Whether work is still wanted, and what is told how far it is.

    Attributes:
        stop: returns whether the work shall end; None lets it go on.
        tell: called with what is being done, and which share of it is done.
    """

    stop: Stop | None = None
    tell: Tell | None = None

    def check(self, text: str, share: float | None = None) -> None:
        """Tells how far the work is, and ends it once it is no longer wanted.

        Raises:
            Stopped: ``stop`` returned True.
        """
        if self.tell is not None:
            self.tell(text, share)
        if self.stop is not None and self.stop():
            raise Stopped(f"{text} was stopped; start it again to get a result.")

    def over(self, batches: Batches, text: str, steps: int | None = None) -> Batches:
        """The same batches, which make this check before each step.

        Args:
            batches: what the work goes through.
            text: what is being done.
            steps: how often they will check; once a batch if None.
        """
        done, steps = count(), max(1, len(batches) if steps is None else steps)
        return batches.watched(lambda: self.check(text, min(next(done) / steps, 1.0)))


UNWATCHED = Watch()


class Background:
    """Runs one piece of work at a time; the thread ends with it, so nothing is held on to afterwards.

    `LatestWins` lets the next move take the place of the last one. A scan or a training of
    minutes must not be lost by a second click: here the first one goes on and the second is refused.

    Args:
        what: what the work is called in messages, e.g. ``"a sensitivity scan"``.
    """

    def __init__(self, what: str) -> None:
        self._what, self._lock = what, threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        register(self)

    @property
    def busy(self) -> bool:
        """Whether there is work going on."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Begins a piece of work.

        Raises:
            RspruneError: the last one has not ended yet.
        """
        with self._lock:
            if self.busy and self._thread is not threading.current_thread():
                raise RspruneError(f"Already running {self._what}; wait for it or stop it, then start the next one.")
            self._error = None
            self._thread = threading.Thread(target=self._run, args=(work,), name="rsprune-background", daemon=True)
            self._thread.start()

    def settle(self, timeout: float = 60.0) -> None:
        """Waits for the end, and raises what the work raised, if it did.

        Raises:
            TimeoutError: it is still at work after ``timeout`` seconds.
        """
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError(f"Still running {self._what} after {timeout:g} s.")
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Waits a moment for work that has been told to stop."""
        ended(self._thread)

    def rest(self) -> bool:
        """Waits a moment for the end of the work, which is not interrupted; returns whether it has ended."""
        return ended(self._thread)

    def resume(self) -> None:
        """Nothing was interrupted."""

    def _run(self, work: Callable[[], None]) -> None:
        give_way()
        background_thread()
        try:
            work()
        except BaseException as raised:  # kept for settle(): a thread has nobody to raise to
            self._error = raised


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
        self._asked = self._pauses = self._rests = 0
        self._unwanted = self._parked = self._closed = False
        register(self)

    @property
    def ready(self) -> bool:
        """Whether the matrices are there."""
        return self._found is not None

    def get(self, watch: Watch = UNWATCHED) -> Live:
        """The matrices; begins to collect them if nobody has yet, and waits.

        Args:
            watch: of the waiting; it does not end the collecting.

        Raises:
            Stopped: the result is no longer wanted, or `stop` was called meanwhile.
            Exception: what went wrong while collecting; the next call begins anew.
        """
        while True:
            with self._changed:
                if self._found is not None:
                    return self._found
                error, self._error = self._error, None
                if error is not None:
                    raise error
                if self._closed:
                    raise Stopped("This studio has been closed.")
                self._unwanted = self._rests > 0
                if self._thread is None and not self._rests:
                    self._asked = 0
                    self._thread = threading.Thread(target=self._run, name="rsprune-collector", daemon=True)
                    self._thread.start()
                self._changed.wait(_LOOK)
                share = min(self._asked / max(self._steps, 1), 1.0)
            watch.check(_TEXT, share)

    def stop(self) -> None:
        """Ends the collecting at the next batch, unless somebody asks for the matrices before; nothing is kept."""
        self._unwanted = True

    def rest(self) -> bool:
        """Ends the collecting; what was collected is lost, and whoever still waits for it begins anew."""
        with self._changed:
            self._rests += 1
            self._unwanted = True
            thread = self._thread
        return ended(thread)

    def resume(self) -> None:
        """Ends a `rest`."""
        with self._changed:
            self._rests -= 1

    def close(self) -> None:
        """Ends the collecting for good and lets the matrices go."""
        with self._changed:
            self._closed = self._unwanted = True
            self._found = None
        ended(self._thread)

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
        background_thread()
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
