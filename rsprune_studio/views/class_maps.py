"""The page of class maps in the look inside: controls, and the maps of both networks for the image that is chosen."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

import ipywidgets as widgets
import numpy as np

from rsprune_lib.errors import Stopped, visible
from rsprune_lib.explain import METHODS
from rsprune_studio.draw import html
from rsprune_studio.draw.class_maps import class_map_page
from rsprune_studio.engine.class_maps import MapChoice, MapPair, MapRoom
from rsprune_studio.engine.inside import Inside, network_key
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.tab import WithWorker
from rsprune_studio.views.widgets import View

__all__ = ["ClassMapPage"]


@dataclass(frozen=True, eq=False)
class _Wish:
    snapshot: Snapshot
    image: int | np.ndarray
    pick: int
    choice: MapChoice

    @property
    def key(self) -> tuple:
        return network_key(self.snapshot), self.pick, self.choice


class ClassMapPage(WithWorker, View):
    """Method, layer and class as controls, and dense beside pruned.

    Nothing is computed while the page is behind. A move drops what is being made for the one before.

    Args:
        inside: the state of the look inside.

    Attributes:
        method, layer, label, over: the controls; ``over`` is None but for a segmenter.
        view: the words and pictures.
        pair: what is on the screen.
        error: what went wrong last, None if nothing did.
    """

    def __init__(self, inside: Inside) -> None:
        self.room, self.classes = MapRoom(inside), inside.studio.data.classes
        self._worker: LatestWins[_Wish | None] = LatestWins(self._make)
        self._screen, self._front, self._wanted = threading.RLock(), False, None
        self._drawn: tuple | None = None
        self.pair: MapPair | None = None
        self.error: Exception | None = None
        self.method = _menu(
            "method", [(entry.title, name) for name, entry in METHODS.items()], "How channels and places are weighted"
        )
        self.layer = _menu("layer", [("chosen for you", "")], "Whose output is weighted; known after the first map")
        names = [(visible(name), k) for k, name in enumerate(self.classes)]
        self.label = _menu("class", [("what dense says", -1), *names], "What the maps speak for")
        self.over = None
        if inside.masks:
            options = [("pixels it gives to the class", False), ("pixels labelled so", True)]
            self.over = _menu("over", options, "Whose logits are added; the mask's pixels need a class to be chosen")
        controls = [c for c in (self.method, self.layer, self.label, self.over) if c is not None]
        for control in controls:
            control.observe(lambda _change: self._refresh(), "value")
        self.view = widgets.HTML(layout=widgets.Layout(width="auto"))
        row = widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([row, self.view], layout=widgets.Layout(min_height="236px"))

    @property
    def choice(self) -> MapChoice:
        """Where the controls stand."""
        labelled, label = self.over is not None and self.over.value, self.label.value
        return MapChoice(self.method.value, self.layer.value or None, label if label >= 0 else None, labelled)

    @property
    def front(self) -> bool:
        """Whether the page is in front."""
        return self._front

    @front.setter
    def front(self, value: bool) -> None:
        with self._screen:
            self._front = value
            self._refresh()

    def look(self, snapshot: Snapshot | None, image: int | np.ndarray, pick: int) -> None:
        """Hears what is wanted now.

        Args:
            snapshot: which networks; None, or one whose network is not made yet: nothing can be shown.
            image: number of a validation image, or pixels.
            pick: tells one choice of an image from the other.
        """
        with self._screen:
            self._wanted = None if snapshot is None or not snapshot.made else (snapshot, image, pick)
            self._refresh()

    def clear(self, text: str) -> None:
        """Shows why there is nothing."""
        self._drawn, self.pair, self.view.value = None, None, html.note(text)

    def _refresh(self) -> None:
        with self._screen:
            self.error = None
            if self._wanted is None:
                self._worker.submit(None)
                self.clear("Follows with the numbers of this setting …")
                return
            wish = _Wish(*self._wanted, self.choice)
            if self._drawn is not None and self._drawn[:2] != wish.key[:2]:
                self.clear("…")
            if self._front and self._drawn != wish.key:
                self._worker.submit(wish)

    def _make(self, turn: Turn[_Wish | None]) -> None:
        """Runs on the worker."""
        wish = turn.job
        if wish is None:
            return
        try:
            pair = self.room.pair(wish.snapshot, wish.image, wish.choice, Watch(turn.stale))
            layers = self.room.layers
        except Stopped:
            return
        except Exception as error:
            self._unless_stale(turn, partial(self._fail, error))
        else:
            self._unless_stale(turn, partial(self._draw, wish, pair, layers))

    def _draw(self, wish: _Wish, pair: MapPair, layers: dict[str, tuple[int, int]]) -> None:
        if len(self.layer.options) == 1:
            named = [(f"{name} ({h} x {w})", name) for name, (h, w) in layers.items()]
            self.layer.options = [*self.layer.options, *named]
        self._drawn, self.pair = wish.key, pair
        self.view.value = class_map_page(pair, wish.choice.method, self.classes)

    def _unless_stale(self, turn: Turn, do: partial) -> None:
        with self._screen:
            if not turn.stale():
                do()

    def _fail(self, error: Exception) -> None:
        self.clear("")
        self.error = error
        self.view.value = html.message(html.in_words(error), error=True)


def _menu(description: str, options: list[tuple], tooltip: str) -> widgets.Dropdown:
    return widgets.Dropdown(
        options=options, value=options[0][1], description=description, tooltip=tooltip,
        style={"description_width": "52px"}, layout=widgets.Layout(width="270px", max_width="100%"),
    )  # fmt: skip
