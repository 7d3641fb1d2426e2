"""A row to choose a challenge from, and how the setting on the screen stands to it."""

from __future__ import annotations

import ipywidgets as widgets

from rsprune_lib.errors import visible
from rsprune_studio.draw.challenge import challenge_box
from rsprune_studio.engine.challenges import Challenges, challenges_for
from rsprune_studio.engine.explorer import Explorer
from rsprune_studio.engine.studio import Studio
from rsprune_studio.views.tab import Part

__all__ = ["ChallengeBar"]

_NONE = ""
_FREE = ("none: play freely", _NONE)


class ChallengeBar(Part):
    """Challenges of the network that is open; choosing one moves the controls to its start.

    Args:
        studio: the state.

    Attributes:
        explorer: set by whoever puts this view on a panel, before anything is shown.
        chosen: the list.
        best: the button that goes to the best attempt.
        box: goals, verdict and best attempt.
    """

    explorer: Explorer

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._quiet, self._active = False, True
        self.chosen = widgets.Dropdown(
            options=[_FREE], description="challenge", style={"description_width": "66px"},
            tooltip="A goal to reach, with a start of its own; limits follow from what was measured of this network",
            layout=widgets.Layout(flex="1 1 300px", width="auto", max_width="480px", min_width="0"),
        )  # fmt: skip
        self.chosen.observe(lambda change: self._choose(change.new), "value")
        self.again = _button("Start again", "flag", "Back to where this challenge starts", self._start)
        self.best = _button("Best so far", "trophy", "Move all controls to the best attempt", self._to_best)
        self.box = widgets.HTML(layout=widgets.Layout(width="auto", display="none"))
        row = widgets.HBox([self.chosen, self.again, self.best], layout=widgets.Layout(flex_flow="row wrap"))
        self.children = [row, self.box]
        self.add_class("rsprune-challenges")

    @property
    def state(self) -> Challenges:
        """Which challenge is open, and the best attempts; a session that is loaded brings its own."""
        return self.explorer.history.challenges

    def _choose(self, name: str) -> None:
        if self._quiet:
            return
        with self.explorer.lock:
            if self.state.choose(name or None) is None:
                self._refresh()
            else:
                self._start()

    def _start(self) -> None:
        if self.state.open is not None:
            self.explorer.go(self.state.open.start)

    def _to_best(self) -> None:
        if self.state.open is not None and self.state.open.name in self.state.best:
            self.explorer.go(self.state.best[self.state.open.name].setting)

    def _refresh(self) -> None:
        state, snapshot = self.state, self.snapshot
        if snapshot is not None and snapshot.dense.quality is not None:
            state.offer(challenges_for(snapshot.dense, self.explorer.history.start))
        options = [_FREE, *((visible(one.title), name) for name, one in state.known.items())]
        self._quiet = True
        try:
            if list(self.chosen.options) != options:
                self.chosen.options = options
            self.chosen.value = _NONE if state.open is None else state.open.name
        finally:
            self._quiet = False
        best = None if state.open is None else state.best.get(state.open.name)
        for button, useful in ((self.again, state.open), (self.best, best)):
            button.layout.display = "" if useful is not None else "none"
        self.box.layout.display = "none" if state.open is None else ""
        self.box.value = "" if state.open is None else challenge_box(state.open, self.snapshot, best)


def _button(text: str, icon: str, tip: str, act: object) -> widgets.Button:
    layout = widgets.Layout(width="112px", flex="0 0 112px", display="none")
    button = widgets.Button(description=text, icon=icon, tooltip=tip, layout=layout)
    button.on_click(lambda _: act())
    return button
