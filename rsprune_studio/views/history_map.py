"""The map of what has been tried: accuracy against MACs, the Pareto front, and a way back to every point."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from rsprune_studio.draw import scores_and_trail
from rsprune_studio.engine.history import History, Point, pareto
from rsprune_studio.engine.setting import Snapshot

__all__ = ["Trail"]

_LISTED = 200  # newest points in the list; the front is always in it


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

    def show(self, history: History, snapshot: Snapshot) -> None:
        """Draws the map anew where it changed."""
        now = history.place(snapshot) if snapshot.complete else None
        if self._drawn == (len(history.points), now) and self._points is history.points:
            return
        self._points, self._drawn = history.points, (len(history.points), now)
        front = pareto(history.points)
        self.chart.value = scores_and_trail.trail(history.points, front, now)
        listed = sorted({*front, *range(max(0, len(history.points) - _LISTED), len(history.points))}, reverse=True)
        if listed:
            keep = self.chosen.value if self.chosen.value in listed else listed[0]
            self.chosen.options = [(scores_and_trail.describe(n, history.points[n], n in front), n) for n in listed]
            self.chosen.value, self.back.disabled = keep, False
