"""Sliders and rows of buttons as the live tool has them: the same width, costly ones answer when they are let go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

__all__ = ["WIDTH", "labelled", "make_buttons", "make_slider", "plain", "set_range", "wide"]

WIDTH = 388  # pixels of the column of controls: with it, the answers have two thirds of a page of 1280


def make_slider(
    description: str, tooltip: str, low: float, high: float, form: str, width: str = "76px"
) -> widgets.FloatSlider:
    """A slider that asks once, when it is let go; ``form`` is how its number is written."""
    return widgets.FloatSlider(
        min=low, max=high, step=0.01, value=low, description=description, tooltip=tooltip, readout_format=form,
        continuous_update=False, style={"description_width": width}, layout=wide(),
    )  # fmt: skip


def make_buttons(options: Sequence[Any], tooltips: Sequence[str], width: str) -> widgets.ToggleButtons:
    """A row of buttons of which one is down; ``width`` of each in CSS."""
    layout = widgets.Layout(width="auto", margin="0")
    return widgets.ToggleButtons(options=options, tooltips=tooltips, style={"button_width": width}, layout=layout)


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
