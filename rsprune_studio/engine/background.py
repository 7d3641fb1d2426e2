"""Long jobs beside the sliders: one at a time on a thread of its own, which a second request does not replace."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

from torch import nn

from rsprune_lib.device import give_way
from rsprune_lib.errors import RspruneError

__all__ = ["Background", "in_words", "private_copy", "time_left"]


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

    def _run(self, work: Callable[[], None]) -> None:
        give_way()
        try:
            work()
        except BaseException as raised:  # kept for settle(): a thread has nobody to raise to
            self._error = raised


def private_copy(network: nn.Module) -> nn.Module:
    """A copy of a network that no other thread looks at, without the hooks that one may have on the original just now.

    A copied hook would go on reporting to its old owner, and mix the images of two jobs.
    """
    copied = copy.deepcopy(network)
    for module in copied.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return copied


def time_left(share: float, seconds: float) -> str:
    """How long the rest takes at the pace so far, in words; nothing before there is a pace.

    Args:
        share: what is done, in [0, 1].
        seconds: what it took.
    """
    if share <= 0 or seconds < 0.5:
        return ""
    left = seconds * (1 - share) / share
    return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"


def in_words(error: BaseException) -> str:
    """An error as one sentence: its own words if they are made for a person, else with the kind of error in front."""
    return str(error) if isinstance(error, RspruneError) else f"{type(error).__name__}: {error}"
