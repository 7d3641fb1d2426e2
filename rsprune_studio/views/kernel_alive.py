"""A sentence that a page shows by itself when the kernel behind it has gone.

A dead kernel cannot tell anybody, and a page's own script would need another one in Voila than in JupyterLab. So the
sentence is always there, hidden by a style that ends after some seconds; as long as the kernel lives, it puts the
sentence there anew before that.
"""

from __future__ import annotations

import threading
import time

import ipywidgets as widgets

from rsprune_lib.colours import CUT
from rsprune_studio.draw import html

__all__ = ["Pulse"]

_EVERY, _PATIENCE = 5.0, 20.0  # seconds
_LOST = (
    "⚠ The program behind this page does not answer: its kernel has ended, or the connection is lost. The page shows "
    "the last state and takes no more moves. Reload it to begin anew; a session that you have downloaded brings the "
    "rest back."
)
_ASLEEP = (
    "This page has not been used for a while. Move a control to wake it; if nothing answers then, its kernel has "
    "ended: reload the page."
)
_HIDDEN = "visibility:hidden;max-height:0;padding:0;border-width:0"  # from screen readers, too
_SHOWN = "visibility:visible;max-height:6em;padding:8px 12px;border-width:1px"
_STYLE = (
    f"<style>@keyframes rsprune-lost {{from, 99% {{{_HIDDEN}}} to {{{_SHOWN}}}}}\n"
    f".rsprune-lost {{overflow:hidden;font-size:14px;line-height:1.5;color:{CUT};border:solid {CUT};border-radius:6px;"
    f"animation:rsprune-lost {_PATIENCE:g}s linear forwards}}</style>"
)


class Pulse(widgets.HTML):
    """Shows a sentence on the page once nobody has called the kernel alive for 20 seconds.

    Args:
        awake: seconds after the last `touch` for which the kernel calls itself alive; a server that ends idle kernels
            (Voila's does) takes each call for a sign of life, so a page that nobody uses must become silent.
        every: seconds between two calls.

    Attributes:
        beats: how often the kernel has called.
    """

    def __init__(self, awake: float = 1800.0, every: float = _EVERY) -> None:
        super().__init__(layout=widgets.Layout(width="auto", margin="0"))
        self.beats, self._awake, self._touched = 0, awake, time.monotonic()
        self.beat()
        threading.Thread(target=self._keep_alive, args=(every,), daemon=True).start()

    @property
    def asleep(self) -> bool:
        """Whether nobody has used the page for long."""
        return time.monotonic() - self._touched > self._awake

    def touch(self) -> None:
        """Tells that a person is using the page."""
        asleep, self._touched = self.asleep, time.monotonic()
        if asleep:
            self.beat()

    def beat(self) -> None:
        """Puts the hidden sentence on the page anew; asleep, one that says so, and no more than once."""
        if self.asleep:
            self.value = html.message(_ASLEEP)
            return
        self.beats += 1
        self.value = f'{_STYLE}<div class="rsprune-lost" role="alert">{html.escape(_LOST)}</div><!--{self.beats % 2}-->'

    def get_state(self, key: object = None, drop_defaults: bool = False) -> dict:
        """As ipywidgets has it; a page that asks for the whole state has just been opened."""
        if key is None and hasattr(self, "_touched"):
            self.touch()
        return super().get_state(key, drop_defaults)

    def _keep_alive(self, every: float) -> None:
        """Beats until the widget is closed."""
        time.sleep(every)
        while self.comm is not None:
            self.beat()
            time.sleep(every)
