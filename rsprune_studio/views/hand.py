"""Channels by hand: a brush over a group's scores, a strip of its channels, and the criterion at the same MACs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import ipywidgets as widgets
import numpy as np

from rsprune_lib.errors import RspruneError, Stopped
from rsprune_studio.draw import html
from rsprune_studio.draw.by_hand import brushed, choice_table, hand_words
from rsprune_studio.engine.by_hand import between, by_hand, hand_groups
from rsprune_studio.engine.choice_comparison import ChoiceComparison, compare_choices
from rsprune_studio.engine.explorer import Explorer
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.tab import Part, WithWorker
from rsprune_studio.views.widgets import set_range

__all__ = ["SHOWN", "HandView"]

SHOWN = 32  # channels of the strip at a time
_HEAD = (
    "Drag the two handles over the scores, then take out what lies between, or click single channels below. The "
    "channels of a group stand in all its layers: they go and stay together."
)
_NOT_YET = "Pick channels first: then the criterion can be asked what it would have chosen at the same MACs."


class HandView(WithWorker, Part):
    """Removes and brings back channels of one group at a time; each step is a move that can be undone.

    Args:
        studio: the state.

    Attributes:
        explorer: set by whoever puts this view beside a panel, before anything is moved.
        group, brush: which channels are meant.
        buttons: ``"remove"``, ``"add"``, ``"only"`` -> button.
        strip: a button for each of `SHOWN` channels, lowest score first.
        versus: the button that asks the criterion.
        compared: the last comparison, None if it is of another setting.
    """

    explorer: Explorer

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._quiet, self._first, self.compared = False, 0, None
        self._order = np.zeros(0, dtype=np.int64)
        self._values = np.zeros(0)
        self._worker: LatestWins[Snapshot | None] = LatestWins(self._measure)
        wide = {"width": "auto"}
        self.picture = widgets.HTML(layout={"width": "auto", "margin": "2px 10px 0 64px"})
        self.words, self.status, self.result, self.place = (widgets.HTML(layout=wide) for _ in range(4))
        self._make_brush([group.name for group in studio.groups])
        self._make_strip()
        self.versus = widgets.Button(
            description="Compare with the criterion", icon="balance-scale",
            tooltip="Measure what the criterion chooses at the same MACs, recovered alike",
            layout=widgets.Layout(width="220px"),
        )  # fmt: skip
        self.versus.on_click(lambda _: self.compare())
        wrap = widgets.Layout(flex_flow="row wrap")
        steps = widgets.HBox([self.back, self.forth, self.place], layout=wrap)
        self.children = [
            widgets.HTML(html.note(_HEAD), layout=wide), self.group, self.picture, self.brush, self.words,
            widgets.HBox(list(self.buttons.values()), layout=wrap), self.status, steps,
            widgets.HBox(self.strip, layout=widgets.Layout(flex_flow="row wrap")), self.versus, self.result,
        ]  # fmt: skip
        self.add_class("rsprune-hand")

    def _make_brush(self, names: list[str]) -> None:
        style = {"description_width": "52px"}
        self.group = widgets.Dropdown(
            options=names, description="group", style=style, tooltip="Whose channels are picked",
            layout=widgets.Layout(width="340px"),
        )  # fmt: skip
        self.group.observe(lambda _: self._other_group(), "value")
        self.brush = widgets.FloatRangeSlider(
            min=0.0, max=1.0, value=(0.0, 0.25), step=0.0025, description="from, to", style=style, readout=False,
            tooltip="Scores of the channels that are meant", layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        self.brush.observe(lambda _: None if self._quiet else self._draw_brush(), "value")
        acts = {
            "remove": ("Take out", "minus", "Remove the channels between the handles"),
            "add": ("Bring back", "plus", "Keep the channels between the handles"),
            "only": ("Keep only these", "filter", "Keep the channels between the handles and no others of this group"),
        }
        self.buttons = {}
        for how, (text, icon, tip) in acts.items():
            button = widgets.Button(description=text, icon=icon, tooltip=tip, layout=widgets.Layout(width="150px"))
            button.on_click(lambda _, how=how: self.apply(self.meant, how))
            self.buttons[how] = button

    def _make_strip(self) -> None:
        self.strip = []
        for place in range(SHOWN):
            button = widgets.ToggleButton(layout=widgets.Layout(width="74px", height="28px", margin="1px"))
            button.observe(partial(self._clicked, place), "value")
            self.strip.append(button)
        look = {"width": "42px"}
        self.back = widgets.Button(icon="chevron-left", tooltip="Channels with lower scores", layout=look)
        self.forth = widgets.Button(icon="chevron-right", tooltip="Channels with higher scores", layout=look)
        for button, by in ((self.back, -SHOWN), (self.forth, SHOWN)):
            button.on_click(lambda _, by=by: self._turn(by))

    @property
    def meant(self) -> np.ndarray:
        """Numbers of the channels that the brush holds."""
        return between(self._values, *self.brush.value, (self.brush.min, self.brush.max))

    def apply(self, channels: Iterable[int], how: str) -> None:
        """Moves to what is on the screen with other channels of the group; what is impossible becomes a sentence."""
        if self.snapshot is None:
            return
        try:
            setting = by_hand(self.snapshot, self.group.value, channels, how)
        except RspruneError as error:
            self.error = error
            self._refresh()
            self.status.value = html.message(html.in_words(error), error=True)
            return
        self.error, self.status.value = None, ""
        self.explorer.go(setting)

    def compare(self) -> None:
        """Asks the worker what the criterion chooses at the same MACs."""
        if self.snapshot is not None and self.snapshot.complete and hand_groups(self.snapshot.setting) is not None:
            self.result.value = html.working("Measuring the criterion’s choice at the same MACs")
            self._worker.submit(self.snapshot)

    def show(self, snapshot: Snapshot | None) -> None:
        """Follows the panel; a comparison with another setting is taken down."""
        with self._screen:
            if self._is_move(snapshot):
                self.compared, self.error, self.status.value = None, None, ""
                self._worker.submit(None)
            super().show(snapshot)

    def _clicked(self, place: int, change: dict) -> None:
        if not self._quiet:
            channel = int(self._order[self._first + place])
            self.apply([channel], "add" if change["new"] else "remove")

    def _turn(self, by: int) -> None:
        with self._screen:
            self._first = min(max(self._first + by, 0), max(len(self._order) - 1, 0) // SHOWN * SHOWN)
            self._draw_strip()

    def _other_group(self) -> None:
        with self._screen:
            self._first = 0
            self._refresh()

    def _refresh(self) -> None:
        snapshot = self.snapshot
        ready = snapshot is not None
        for widget in (self.brush, *self.buttons.values(), *self.strip):
            widget.disabled = not ready
        by_a_person = ready and hand_groups(snapshot.setting) is not None
        self.versus.disabled = not (by_a_person and snapshot.complete)
        if self.compared is None:
            self.result.value = html.note("" if by_a_person else _NOT_YET)
        if ready and self._active:
            self._values = self.studio.scoring.values_of(snapshot.setting)[self.group.value]
            self._order = np.argsort(self._values, kind="stable")
            self._fit_brush()
            self._draw_brush()
            self._draw_strip()

    def _fit_brush(self) -> None:
        """Gives the brush the scores of the group as its range; in a new one it holds a quarter of those that stay."""
        low, high = float(min(self._values.min(), 0.0)), float(np.quantile(self._values, 0.995))
        high = high if high > low else low + 1.0
        if (self.brush.min, self.brush.max) != (low, high):
            self._quiet = True
            try:
                set_range(self.brush, low, high)
                stay = self._values[list(self.snapshot.plan.keep[self.group.value])]
                self.brush.value = low, float(np.quantile(np.clip(stay, low, high), 0.25))
            finally:
                self._quiet = False

    def _draw_brush(self) -> None:
        if self.snapshot is not None and len(self._values):
            group, brush = self.group.value, self.brush.value
            kept = self.snapshot.plan.keep[group]
            self.picture.value = brushed(self._values, kept, (self.brush.min, self.brush.max), brush, group)
            self.words.value = hand_words(group, self.meant, kept, len(self._values), brush)

    def _draw_strip(self) -> None:
        kept = set(self.snapshot.plan.keep[self.group.value])
        numbers = self._order[self._first : self._first + SHOWN]
        self._quiet = True
        try:
            for place, button in enumerate(self.strip):
                there = place < len(numbers)
                button.layout.display = "" if there else "none"
                if there:
                    stays = int(numbers[place]) in kept
                    button.description, button.value = f"{numbers[place]}", stays
                    button.icon = "check" if stays else "times"
                    button.tooltip = (
                        f"Channel {numbers[place]}, score {self._values[numbers[place]]:.3g}: "
                        f"{'stays; click to take it out' if stays else 'is out; click to bring it back'}"
                    )
        finally:
            self._quiet = False
        last = self._first + len(numbers)
        self.place.value = html.note(
            f"channels {self._first + 1} to {last} of {len(self._order)}, lowest score first: ✓ stays, ✕ is out"
        )
        self.back.disabled, self.forth.disabled = self._first == 0, last >= len(self._order)

    def _measure(self, turn: Turn[Snapshot | None]) -> None:
        """Runs on the worker."""
        if turn.job is None:
            return
        try:
            found = compare_choices(self.studio, turn.job, Watch(turn.stale))
        except Stopped:
            return
        except Exception as error:
            self._tell(turn, html.message(html.in_words(error), error=True), None)
            self.error = error
            return
        self._tell(turn, choice_table(found), found)

    def _tell(self, turn: Turn, text: str, found: ChoiceComparison | None) -> None:
        with self._screen:
            if not turn.stale():
                self.result.value, self.compared = text, found
