"""The widgets of the live pruning tool; they only wire `rsprune_lib.studio.state` to the screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as widgets

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning.scores import CRITERIA
from rsprune_lib.studio import charts, markup
from rsprune_lib.studio.controls import Controls
from rsprune_lib.studio.setting import Setting, Snapshot
from rsprune_lib.studio.state import Studio
from rsprune_lib.studio.worker import LatestWins, Turn

__all__ = ["PruningPanel"]

TABS = ("Kept channels", "Scores and cut", "Classes", "Trail", "Group ratios")
_WIDE = widgets.Layout(width="auto")


class PruningPanel(widgets.VBox):
    """Sliders whose every move is answered with kept channels, parameters, MACs, measured latency and accuracy.

    Structure and costs are shown within the event. What takes longer comes from a worker thread: scores that need
    images, latency, a first estimate of the accuracy, then the final value. An answer that comes after the next move
    is dropped.

    Args:
        studio: the state.
        setting: where the controls start; None starts with attention (L2 without SE gates), half of the channels,
            local scope and the live closed form.
        criteria: criteria to offer; by default all that fit the network.
        hide: controls to leave out for a lesson: any of ``criterion``, ``scope``, ``amount``, ``recovery``, ``own``.
        measured: measure latency and accuracy; False shows what follows from the plan alone.

    Attributes:
        snapshot: what is on the screen.
        controls: the widgets that are moved.
        past: complete snapshots so far, oldest first.
        error: what went wrong with the last move, None if nothing did.

    Example:
        >>> panel = PruningPanel(Studio(model, data))
        >>> panel.controls.ratio.value = 0.7
        >>> panel.settle().quality.accuracy
    """

    def __init__(
        self,
        studio: Studio,
        setting: Setting | None = None,
        *,
        criteria: Iterable[str] | None = None,
        hide: Iterable[str] = (),
        measured: bool = True,
    ) -> None:
        self.studio, self.measured = studio, measured
        self.start = setting or Setting(criterion=studio.criteria[0])
        self.snapshot: Snapshot | None = None
        self.past: list[Snapshot] = []
        self.error: Exception | None = None
        self._wanted, self._undo, self._told = self.start, [], 0.0
        self._screen = threading.RLock()  # a worker looks whether it is stale and draws in one step
        self._worker: LatestWins[Setting] = LatestWins(self._work)
        names = [group.name for group in studio.groups]
        self.controls = Controls(list(criteria or studio.criteria), names, self._moved, hide=set(hide))
        self._make_views()
        super().__init__(self._rows(set(hide)))
        self.trail.value = charts.trail(self.past)
        self._go(self.start, remember=False)

    def _make_views(self) -> None:
        self.gauges, self.words, self.status, self.hint = (widgets.HTML(layout=_WIDE) for _ in range(4))
        self.bars, self.scores, self.classes, self.trail = (widgets.HTML(layout=_WIDE) for _ in range(4))
        self.code = widgets.HTML(layout=widgets.Layout(width="auto", display="none"))
        self.undo = widgets.Button(description="Undo", icon="undo", tooltip="Back to the setting before")
        self.reset = widgets.Button(description="Reset", icon="refresh", tooltip="Back to where the controls started")
        self.copy = widgets.ToggleButton(
            description="Copy as code",
            icon="code",
            tooltip="Show the library call that does the same; click it to select",
        )
        self.undo.on_click(lambda _: self.step_back())
        self.reset.on_click(lambda _: self.go(self.start))
        self.copy.observe(lambda change: self._draw_code(), "value")

    def _rows(self, hide: set[str]) -> list[widgets.Widget]:
        views = [self.bars, self.scores, self.classes, self.trail, self.controls.groups]
        shown = [True, True, self.measured, self.measured, "own" not in hide]
        pairs = [(title, view) for title, view, wanted in zip(TABS, views, shown, strict=True) if wanted]
        self.tabs = widgets.Tab([view for _, view in pairs], titles=[title for title, _ in pairs])
        buttons = widgets.HBox([self.undo, self.reset, self.copy])
        about = widgets.HTML(
            markup.note(f"{self.studio.model.config['name']} on {self.studio.data.title}"), layout=_WIDE
        )
        return [about, self.controls, self.hint, buttons, self.code, self.gauges, self.words, self.status, self.tabs]

    @property
    def setting(self) -> Setting:
        """Where the controls stand."""
        return self._wanted

    def go(self, setting: Setting) -> None:
        """Moves all controls to a setting at once."""
        self._go(setting)

    def step_back(self) -> None:
        """Goes back to the setting before the last move; at the beginning it stays."""
        if self._undo:
            self._go(self._undo.pop(), remember=False)

    def settle(self, timeout: float = 120.0) -> Snapshot:
        """Waits for everything that follows from the last move.

        Returns:
            What is on the screen then.

        Raises:
            Exception: what went wrong since the last move (it is on the screen as a sentence, too).
            TimeoutError: the worker is still busy.
        """
        self._worker.settle(timeout)
        if self.error is not None:
            raise self.error
        return self.snapshot

    def _moved(self, setting: Setting) -> None:
        """Called when a person moves a control; another way to say how much begins where the last one stood."""
        before, on_screen = self._wanted, self.snapshot
        if on_screen is not None and setting.amount != before.amount:
            share = round(1 - sum(on_screen.plan.widths.values()) / sum(on_screen.plan.sizes.values()), 2)
            macs = min(1.0, max(0.02, on_screen.cost.macs / on_screen.dense.cost.macs))
            setting = replace(setting, ratio=share, macs=macs, threshold=None)
        elif setting.amount == "threshold" and on_screen is not None and _scale(setting) != _scale(before):
            share = 1 - sum(on_screen.plan.widths.values()) / sum(on_screen.plan.sizes.values())
            setting = replace(setting, ratio=share, threshold=None)  # a score means nothing on another scale
        self._go(setting)

    def _go(self, setting: Setting, *, remember: bool = True) -> None:
        """Answers a move: structure and costs now if the scores are known, everything else on the worker."""
        with self._screen:
            if remember and setting != self._wanted:
                self._undo.append(self._wanted)
            self._wanted, self.error = setting, None
            self.undo.disabled = not self._undo
            self.controls.show(setting)
            self.hint.value = markup.note(f"{setting.criterion}: {CRITERIA[setting.criterion].summary}")
            self.status.value = ""
            self._worker.submit(replace(setting))  # an object of its own
            if self.studio.knows(setting):
                try:
                    self._draw(self.studio.apply(setting))
                except RspruneError as error:
                    self._fail(error)

    def _work(self, turn: Turn[Setting]) -> None:
        """Runs on the worker: draws each answer as it comes, nothing once a newer move waits."""
        try:
            for snapshot in self.studio.answers(turn.job, lambda: turn.newest, partial(self._tell, turn)):
                self._unless_stale(turn, self._draw, snapshot)
                if not self.measured:
                    break
            self._unless_stale(turn, self._say, "")
        except Exception as error:
            self._unless_stale(turn, self._fail, error)

    def _tell(self, turn: Turn[Setting], text: str, share: float | None = None) -> None:
        if time.monotonic() - self._told > 0.1:
            self._told = time.monotonic()
            self._unless_stale(turn, self._say, markup.working(text, share))

    def _unless_stale(self, turn: Turn[Setting], show: Callable[[Any], None], what: object) -> None:
        with self._screen:
            if not turn.stale():
                show(what)

    def _say(self, html: str) -> None:
        self.status.value = html

    def _fail(self, error: Exception) -> None:
        self.error = error
        text = str(error) if isinstance(error, RspruneError) else f"{type(error).__name__}: {error}"
        self.status.value = markup.message(text, error=True)

    def _draw(self, snapshot: Snapshot) -> None:
        before, self.snapshot, self._wanted = self.snapshot, snapshot, snapshot.setting
        self.gauges.value = markup.gauges(snapshot, measured=self.measured)
        self.words.value = markup.message(snapshot.sentence())
        if before is None or before.setting != snapshot.setting:
            values = self.studio.values(snapshot.setting.criterion, snapshot.setting.normalise)
            self.controls.follow(snapshot, values)
            self.bars.value = markup.bars(snapshot, before)
            self.scores.value = charts.histograms(values, snapshot, self.studio.cuts(snapshot))
            self._draw_code()
        self.classes.value = markup.classes(snapshot, self.studio.data.classes)
        if snapshot.complete and (not self.past or self.past[-1].setting != snapshot.setting):
            self.past.append(snapshot)
            self.trail.value = charts.trail(self.past)

    def _draw_code(self) -> None:
        self.code.layout.display = "" if self.copy.value else "none"
        if self.copy.value and self.snapshot is not None:
            self.code.value = markup.code(self.studio.code(self.snapshot.setting))


def _scale(setting: Setting) -> tuple[str, str | None]:
    """What a threshold's number depends on."""
    return setting.criterion, setting.normalise
