"""One row of starting points: presets at the MACs that are on the screen, and budgets in MACs or milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from rsprune_studio.engine.planner import Stop, Tell
from rsprune_studio.engine.presets import PRESETS, fits_latency, fits_macs
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio

__all__ = ["Ask", "PresetBar"]

Ask = Callable[[Studio, Snapshot, Stop, Tell], Setting]
_UNITS = {"MMACs": "macs", "ms": "latency"}


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
            button.on_click(
                lambda _, make=preset.make: ask(lambda studio, snapshot, _stop, _tell: make(studio, snapshot))
            )
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
            return lambda studio, snapshot, stop, tell: fits_latency(studio, snapshot.setting, budget, stop, tell)
        return lambda studio, snapshot, _stop, _tell: fits_macs(studio, snapshot.setting, budget)
