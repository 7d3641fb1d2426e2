"""Ways to jump: presets and budgets to start from, and the map of what has been tried, with a way back to it."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from rsprune_studio.draw import scores_and_trail
from rsprune_studio.engine.history import History, Point, pareto
from rsprune_studio.engine.presets import PRESETS, fits_latency, fits_macs
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import Watch

__all__ = ["Ask", "PresetBar", "Trail"]

Ask = Callable[[Studio, Snapshot, Watch], Setting]
_UNITS = {"MMACs": "macs", "ms": "latency"}
_LISTED = 200  # newest points in the list; the front is always in it


class PresetBar(widgets.VBox):
    """Buttons that ask for a starting point.

    Args:
        ask: called with a search for the setting.

    Attributes:
        buttons: name of the preset -> button.
        budget: the number of the budget.
        unit: million MACs an image, or milliseconds an image at batch 1.
        fit: the button that asks for it.
    """

    def __init__(self, ask: Callable[[Ask], None]) -> None:
        self._ask = ask
        label = widgets.Label("start from")
        self.buttons = {}
        for name, preset in PRESETS.items():
            button = widgets.Button(description=preset.title, tooltip=preset.tip, layout=widgets.Layout(width="187px"))
            button.on_click(lambda _, make=preset.make: ask(lambda studio, snapshot, _watch: make(studio, snapshot)))
            self.buttons[name] = button
        self.budget = widgets.BoundedFloatText(
            value=15.0, min=0.01, max=1e6, step=1, description="fits into", tooltip="The most that a pass may cost",
            style={"description_width": "76px"}, layout=widgets.Layout(width="190px"),
        )  # fmt: skip
        self.unit = widgets.Dropdown(
            options=list(_UNITS.items()), tooltip="Million MACs an image, or milliseconds measured on this machine",
            layout=widgets.Layout(width="90px"),
        )  # fmt: skip
        self.fit = widgets.Button(
            description="Go", tooltip="Find the largest network within the budget", layout=widgets.Layout(width="60px")
        )
        self.fit.on_click(lambda _: self._ask(self._within(self.unit.value, self.budget.value)))
        wall = widgets.Box(list(self.buttons.values()), layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([label, wall, widgets.HBox([self.budget, self.unit, self.fit])])

    def _within(self, unit: str, budget: float) -> Ask:
        if unit == "latency":
            return lambda studio, snapshot, watch: fits_latency(studio, snapshot.setting, budget, watch)
        return lambda studio, snapshot, _watch: fits_macs(studio, snapshot.setting, budget)


class Trail(widgets.VBox):
    """Every measured setting as a dot; a list leads back to any of them.

    Args:
        go: called with the point that a person wants to go back to.

    Attributes:
        chart: the map.
        chosen: the list of points, by number.
        back: the button that goes there.
    """

    def __init__(self, go: Callable[[Point], None]) -> None:
        self._points: list[Point] = []
        self._drawn: tuple[int, int | None] | None = None
        self.chart = widgets.HTML(layout=widgets.Layout(width="auto"))
        self.chosen = widgets.Dropdown(
            options=[("nothing measured yet", None)], description="point", tooltip="A setting that was measured before",
            style={"description_width": "50px"}, layout=widgets.Layout(flex="1 1 300px", width="auto", min_width="0"),
        )  # fmt: skip
        self.back = widgets.Button(
            description="Go there", icon="map-marker", tooltip="Move all controls back to this setting", disabled=True,
            layout=widgets.Layout(width="110px", flex="0 0 110px"),
        )  # fmt: skip
        self.back.on_click(lambda _: None if self.chosen.value is None else go(self._points[self.chosen.value]))
        self.chart.value = scores_and_trail.trail([], [], None)
        super().__init__([self.chart, widgets.HBox([self.chosen, self.back])])

    def show(self, history: History, snapshot: Snapshot | None) -> None:
        """Draws the map anew where it changed; the list follows what is on the screen."""
        now = history.place(snapshot) if snapshot is not None and snapshot.complete else None
        if self._drawn == (len(history.points), now) and self._points is history.points:
            return
        self._points, self._drawn = history.points, (len(history.points), now)
        front = pareto(history.points)
        self.chart.value = scores_and_trail.trail(history.points, front, now)
        newest = range(max(0, len(history.points) - _LISTED), len(history.points))
        listed = sorted({*front, *newest, *([] if now is None else [now])}, reverse=True)
        if listed:
            keep = now if now in listed else self.chosen.value if self.chosen.value in listed else listed[0]
            self.chosen.options = [(scores_and_trail.describe(n, history.points[n], n in front), n) for n in listed]
            self.chosen.value, self.back.disabled = keep, False
