"""The widgets of the live pruning tool; they only wire `rsprune_studio.engine.explorer` to the screen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import ipywidgets as widgets

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning import CRITERIA
from rsprune_studio.draw import gauges, html, scores_and_trail
from rsprune_studio.draw.by_hand import hand_sentence
from rsprune_studio.draw.page_style import STYLE
from rsprune_studio.engine.explorer import Explorer
from rsprune_studio.engine.history import Point
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.views.controls import Controls
from rsprune_studio.views.preset_bar import PresetBar, Trail
from rsprune_studio.views.tab import Part, WithWorker
from rsprune_studio.views.widgets import WIDTH, View

__all__ = ["HIDDEN", "PruningPanel"]

TABS = ("Channels", "Scores", "Classes", "Trail", "Groups")
# what a lesson may leave out
HIDDEN = ("criterion", "scope", "normalise", "amount", "recovery", "own", "multiple_of", "presets")
_WIDE = {"width": "auto"}  # a layout of its own for each widget, which is closed with it
_WRAP = {"flex_flow": "row wrap"}


class PruningPanel(View):
    """Sliders whose every move is answered with kept channels, parameters, MACs, measured latency and accuracy.

    Structure and costs are shown within the event. What takes longer comes from a worker thread: scores that need
    images, latency, a first estimate of the accuracy, then the final value. An answer that comes after the next move
    is dropped.

    Args:
        studio: the state.
        setting: where the controls start; None starts with attention (L2 without SE gates), half of the channels,
            local scope and the live closed form.
        criteria: criteria to offer; by default all that fit the network.
        hide: controls to leave out for a lesson: any of `HIDDEN`.
        measured: measure latency and accuracy; False shows what follows from the plan alone.
        parts: title -> further view in a tab of its own.
        top: further views above the tabs, always in sight.
        task: what a learner is to do, on top of everything.
        begin: answer the first setting; False leaves that to ``explorer.begin()``.

    Attributes:
        explorer: setting, snapshot and history.
        controls: the widgets that are moved.

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
        hide: Iterable[str] = ("presets",),
        measured: bool = True,
        parts: Mapping[str, Part] | None = None,
        top: Sequence[Part] = (),
        task: str = "",
        begin: bool = True,
    ) -> None:
        self.studio, self.measured, hidden = studio, measured, set(hide)
        self.parts, self.top, self._blank = (
            dict(parts or {}),
            tuple(top),
            False,
        )  # blank: what is shown waits for an answer
        self._rare = getattr(studio.task, "rare", ())
        start = setting or Setting(criterion=studio.criteria[0])
        self.explorer = Explorer(studio, start, self, measured=measured)
        names = [group.name for group in studio.groups]
        how = {"masks": studio.data.masks is not None, "hide": hidden - {"presets"}}
        moved = partial(self.explorer.go, by_hand=True)
        self.controls = Controls(list(criteria or studio.criteria), names, moved, studio.scoring.votes, **how)
        self.presets = PresetBar(self._preset)
        self.trail = Trail(lambda point: self.explorer.go(point.setting))
        self._make_views()
        super().__init__(self._rows(hidden, task))
        self.add_class("rsprune-panel")
        self.tabs.observe(lambda change: self._front(), "selected_index")
        self._front()
        if begin:
            self.explorer.begin()

    def _make_views(self) -> None:
        self.gauges, self.words, self.status, self.hint = (widgets.HTML(layout=_WIDE) for _ in range(4))
        self.bars, self.scores, self.classes = (widgets.HTML(layout=_WIDE) for _ in range(3))
        self.code = widgets.HTML(layout=widgets.Layout(width="auto", display="none"))
        explorer = self.explorer
        self.undo = _button("Undo", "undo", "Back to the setting before", explorer.undo)
        self.redo = _button("Redo", "repeat", "Forth to the setting that was undone", explorer.redo)
        self.reset = _button("Reset", "refresh", "Back to where the controls started", explorer.reset)
        self.code_button = widgets.ToggleButton(
            description="Show code",
            icon="code",
            layout=widgets.Layout(width="128px"),
            tooltip="Show the library calls that do the same, with a button that copies them",
        )
        self.code_button.observe(lambda change: self._draw_code(), "value")

    def _rows(self, hide: set[str], task: str) -> list[widgets.Widget]:
        views = [self.bars, self.scores, self.classes, self.trail, self.controls.groups]
        shown = [True, True, self.measured, self.measured, "own" not in hide]
        pairs = [(title, view) for title, view, wanted in zip(TABS, views, shown, strict=True) if wanted]
        pairs += self.parts.items()
        self.tabs = widgets.Tab([view for _, view in pairs], titles=[title for title, _ in pairs])
        buttons = widgets.Box([self.undo, self.redo, self.reset, self.code_button], layout=_WRAP)
        name, data = self.studio.model.config["name"], self.studio.data.title
        folded = (
            "; its SE gates are folded into the weights before anything is removed"
            if self.studio.gates is not None
            else ""
        )
        about = html.note(f"{name} on {data}{folded}; numbers are computed in {self.studio.trained.precision}")
        about = widgets.HTML(STYLE + (html.message(task) if task else "") + about, layout=_WIDE)
        left = [self.controls, self.hint, *([] if "presets" in hide else [self.presets]), buttons]
        column = widgets.VBox(
            [*left, widgets.HTML(html.glossary(self.studio.data.masks is not None), layout=_WIDE)],
            layout=widgets.Layout(width=f"{WIDTH + 12}px", flex=f"0 0 {WIDTH + 12}px"),
        )
        answers = widgets.VBox(
            [self.gauges, self.words, *self.top, self.status, self.tabs],
            layout=widgets.Layout(flex="1 1 430px", width="auto", min_width="min(320px, 100%)"),
        )
        for box, name in ((column, "controls"), (answers, "answers"), (self.gauges, "gauges"), (self.gauges, "live")):
            box.add_class(f"rsprune-{name}")
        side_by_side = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        return [about, widgets.Box([column, answers], layout=side_by_side), self.code]

    @property
    def setting(self) -> Setting:
        """Where the controls stand."""
        return self.explorer.setting

    @property
    def start(self) -> Setting:
        """Where the controls started."""
        return self.explorer.history.start

    @property
    def snapshot(self) -> Snapshot | None:
        """What is on the screen; None while the wanted setting has no answer."""
        return self.explorer.snapshot

    @property
    def _views(self) -> tuple[Part, ...]:
        """All further views, those above the tabs first: they are seen first."""
        return (*self.top, *self.parts.values())

    @property
    def past(self) -> list[Point]:
        """What has been measured so far, oldest first."""
        return self.explorer.history.points

    def go(self, setting: Setting) -> None:
        """Moves all controls to a setting at once."""
        self.explorer.go(setting)

    def settle(self, timeout: float = 120.0) -> Snapshot:
        """Waits for everything that follows from the last move, also above the tabs, see `Explorer.settle`."""
        end = time.monotonic() + timeout
        snapshot = self.explorer.settle(timeout)
        for part in self.top:
            if isinstance(part, WithWorker):
                part.settle(max(end - time.monotonic(), 0.0))
        return snapshot

    def close(self) -> None:
        """Ends the panel with all its views, workers and jobs; the studio stays, others may use it."""
        self.explorer.close()
        for part in self._views:
            part.close()
        super().close()

    def _preset(self, search: object) -> None:
        """Looks for the setting of a preset, beginning with what is on the screen."""
        if self.snapshot is not None:
            snapshot = self.snapshot
            self.explorer.find(lambda watch: search(self.studio, snapshot, watch))

    def _front(self) -> None:
        """Tells each further view whether it is in front."""
        front = self.tabs.children[self.tabs.selected_index or 0]
        for part in self.parts.values():
            part.active = part is front

    # what the explorer tells

    def moved(self, setting: Setting, answered: bool) -> None:
        """Moves the controls; without an answer, what belongs to the setting before is taken down."""
        self._show(setting, None)
        self.hint.value = html.note(self._hint(setting))
        self.status.value = ""
        self._blank = not answered
        if self._blank and self.explorer.last is not None:
            self.gauges.value = gauges.pending(self.explorer.last.dense, measured=self.measured)
            for view in (self.words, self.bars, self.scores, self.classes, self.code):
                view.value = html.note("…")
            self.trail.show(self.explorer.history, None)
            for part in self._views:
                part.show(None)

    def _hint(self, setting: Setting) -> str:
        """What the criterion of a setting goes by, in words."""
        text = f"A channel’s score by {setting.criterion}: {CRITERIA[setting.criterion].summary}"
        if setting.criterion == "class_taylor" and setting.rule == "minority_group":
            with suppress(RspruneError):  # there are not so many classes: `fail` says so
                names = [
                    self.studio.data.classes[number] for number in self.studio.scoring.votes.voters(**setting.options)
                ]
                text += f". Rare here: {', '.join(names)}"
        return text

    def say(self, text: str, share: float | None) -> None:
        """Says what takes long."""
        self.status.value = html.working(text, share) if text else ""

    def fail(self, error: Exception) -> None:
        """Says what went wrong."""
        text = str(error) if isinstance(error, RspruneError) else f"{type(error).__name__}: {error}"
        self.status.value = html.message(text, error=True)

    def draw(self, snapshot: Snapshot, before: Snapshot | None) -> None:
        """Shows a snapshot."""
        self.gauges.value = gauges.gauges(snapshot, measured=self.measured)
        self.words.value = html.message(snapshot.sentence() + hand_sentence(snapshot.setting))
        if before is None or before.setting != snapshot.setting or self._blank:
            values = self.studio.scoring.values_of(snapshot.setting)
            self.controls.follow(snapshot, values, tuned=self.studio.networks.kept.has_tuned(snapshot.plan))
            self.bars.value = html.bars(snapshot, before)
            self.scores.value = scores_and_trail.histograms(
                values, snapshot, self.studio.planner.cuts(snapshot.setting, snapshot.plan)
            )
            self._draw_code()
            self._blank = False
        self.classes.value = gauges.classes(snapshot, self.studio.data.classes, self._rare)
        self.trail.show(self.explorer.history, snapshot)
        for part in self._views:
            part.show(snapshot)

    def _show(self, setting: Setting, snapshot: Snapshot | None) -> None:
        history = self.explorer.history
        self.undo.disabled, self.redo.disabled = not history.can_undo, not history.can_redo
        self.controls.show(setting)

    def _draw_code(self) -> None:
        self.code.layout.display = "" if self.code_button.value else "none"
        if self.code_button.value and self.snapshot is not None:
            self.code.value = html.code(
                self.studio.code(self.snapshot.setting, self.studio.networks.note(self.snapshot))
            )


def _button(text: str, icon: str, tip: str, act: object) -> widgets.Button:
    button = widgets.Button(description=text, icon=icon, tooltip=tip, layout=widgets.Layout(width="82px"))
    button.on_click(lambda _: act())
    return button
