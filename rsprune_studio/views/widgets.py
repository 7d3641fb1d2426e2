"""Sliders and rows of buttons as the live tool has them, and the closing of whole views."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import traitlets

__all__ = [
    "WIDTH",
    "PercentSlider",
    "View",
    "close_all",
    "labelled",
    "make_buttons",
    "make_slider",
    "plain",
    "set_range",
    "wide",
]

WIDTH = 388  # pixels of the column of controls: with it, the answers have two thirds of a page of 1280


def make_slider(description: str, tooltip: str, low: float, high: float) -> widgets.FloatSlider:
    """A slider for a plain number that asks once, when it is let go."""
    return widgets.FloatSlider(
        min=low, max=high, step=0.01, value=low, description=description, tooltip=tooltip, readout_format=".3g",
        continuous_update=False, style={"description_width": "76px"}, layout=wide(),
    )  # fmt: skip


class PercentSlider(widgets.HBox):
    """A slider for a share, with a field beside it that shows the share in percent and takes it in percent.

    The readout of a plain slider can show percent, but what is typed into it is taken for the share itself: 33 would
    become the largest value.

    Args:
        description: what stands before it.
        tooltip: what it means.
        low: smallest share.
        high: largest share.
        label: width of the description in CSS.
        width: of the whole in CSS.

    Attributes:
        value: the share in [``low``, ``high``].
        disabled: whether it can be moved.
        slider, percent: the two widgets.
    """

    value, disabled = traitlets.Float(), traitlets.Bool(False)

    def __init__(
        self, description: str, tooltip: str, low: float, high: float, label: str = "76px", width: str = f"{WIDTH}px"
    ) -> None:
        self.slider = widgets.FloatSlider(
            min=low, max=high, step=0.01, value=low, description=description, tooltip=tooltip, readout=False,
            continuous_update=False, style={"description_width": label}, layout={"flex": "1 1 auto", "min_width": "0"},
        )  # fmt: skip
        self.percent = widgets.Text(
            value=_percent(low), continuous_update=False, tooltip=f"{tooltip}, in percent",
            layout={"width": "62px", "flex": "0 0 62px"},
        )  # fmt: skip
        super().__init__([self.slider, self.percent], layout={"width": width}, value=low)
        self.add_class("rsprune-percent")
        traitlets.dlink((self.slider, "value"), (self, "value"))
        self.percent.observe(lambda change: self._typed(change.new), "value")
        self.observe(lambda change: self._show(), "value")
        self.observe(lambda change: self._able(change.new), "disabled")

    @traitlets.validate("value")
    def _within(self, proposal: dict) -> float:
        """A share of a file or a budget may lie beyond the ends; they move, so that it can be shown."""
        value = min(max(proposal["value"], 0.0), 1.0)
        self.slider.min, self.slider.max = min(self.slider.min, value), max(self.slider.max, value)
        return value

    def _show(self) -> None:
        self.slider.value, self.percent.value = self.value, _percent(self.value)

    def _able(self, disabled: bool) -> None:
        self.slider.disabled = self.percent.disabled = disabled

    def _typed(self, text: str) -> None:
        """Takes ``"33"``, ``"33 %"`` and ``"33,5"``; anything else is answered with the value that stands."""
        if text != _percent(self.value):
            with contextlib.suppress(ValueError):
                number = float(text.strip().removesuffix("%").replace(",", "."))
                if math.isfinite(number):
                    self.value = plain(min(max(number / 100, self.slider.min), self.slider.max))
            self._show()


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def make_buttons(options: Sequence[Any], tooltips: Sequence[str], width: str) -> widgets.ToggleButtons:
    """A row of buttons of which one is down; ``width`` of each in CSS."""
    layout = widgets.Layout(width="auto", margin="0")
    return widgets.ToggleButtons(options=options, tooltips=tooltips, style={"button_width": width}, layout=layout)


def close_all(view: widgets.Widget) -> None:
    """Closes a widget with all that it holds: children, layouts, styles, and those that its attributes name.

    ipywidgets keeps every widget until it is closed, and closing one leaves its children, whose callbacks hold on to
    the studio behind them.
    """
    left, seen = [view], set()
    while left:
        found = left.pop()
        if isinstance(found, dict):
            left += found.values()
        elif isinstance(found, list | tuple | set):
            left += found
        elif isinstance(found, widgets.Widget) and id(found) not in seen:
            seen.add(id(found))
            left += vars(found).values()
            widgets.Widget.close(found)


class View(widgets.VBox):
    """A view with work behind it: `close` ends that, and closes all that the view holds.

    ipywidgets keeps a widget until it is closed, so one that is collected as garbage has nothing left to end; its own
    ``__del__`` would call `close` all the same, at any moment and in any thread.
    """

    def __del__(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Closes the view; a subclass ends its work first."""
        close_all(self)


def labelled(text: str, buttons: widgets.ToggleButtons) -> widgets.HBox:
    """A row of buttons behind its label (their own description would stand above them)."""
    label = widgets.Label(
        text, layout=widgets.Layout(width="76px", justify_content="flex-end", margin="2px 4px 2px 2px")
    )
    row = widgets.HBox([label, buttons], layout=wide())
    row.add_class("rsprune-labelled")
    return row


def wide() -> widgets.Layout:
    """A layout as wide as the column."""
    return widgets.Layout(width=f"{WIDTH}px")


def plain(value: object) -> object:
    """A slider's value without the rounding errors of its steps: 0.62, not 0.6199999999999999."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value


def set_range(slider: widgets.FloatSlider, low: float, high: float) -> None:
    """Sets both ends without ever having them the wrong way round."""
    slider.max = max(slider.max, high)
    slider.min = min(low, slider.max)
    slider.max, slider.step = high, (high - low) / 400
