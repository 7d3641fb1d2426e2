"""The first thing to see: the network itself, and a few images with what the dense and the pruned network say."""

from __future__ import annotations

import ipywidgets as widgets

from rsprune_lib.errors import Stopped
from rsprune_studio.draw import html
from rsprune_studio.draw.network import network
from rsprune_studio.draw.tiles import tiles, waiting
from rsprune_studio.engine.examples import Examples
from rsprune_studio.engine.inside import Inside, network_key
from rsprune_studio.engine.outline import outline
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.tab import Part, WithWorker

__all__ = ["Overview"]

_WAITS = "rsprune-waiting"  # hides what was said of another setting, without sending the images again


class Overview(WithWorker, Part):
    """The network follows every move at once; the images follow with the final accuracy, the latest move only.

    Args:
        studio: the state.
        inside: what answers; a new one if None.

    Attributes:
        examples: the images.
        network, images: what is shown.
    """

    def __init__(self, studio: Studio, inside: Inside | None = None) -> None:
        super().__init__(studio)
        data = studio.data
        self.stages = outline(studio.groups, studio.trained.costs, data.images.shape[1:3])
        self.examples = Examples(inside or Inside(studio))
        self.network, self.images = (widgets.HTML(layout=widgets.Layout(width="auto")) for _ in range(2))
        self.images.value = waiting(self.examples.count, data.masks is not None)
        self.children = [self.network, self.images]
        self.add_class("rsprune-overview")
        self._drawn: tuple | None = None  # the network behind the answers on the screen
        self._asked: tuple | None = None
        self._worker: LatestWins[Snapshot | None] = LatestWins(self._ask)
        self._active = True

    def show(self, snapshot: Snapshot | None) -> None:
        """Draws the network if another plan is there, and takes down what was said of another network."""
        with self._screen:
            moved = self.snapshot is None or snapshot is None or snapshot.plan.keep != self.snapshot.plan.keep
            if snapshot is not None and moved:
                self.network.value = network(self.stages, snapshot, self.studio.data.num_classes)
            super().show(snapshot)

    def _refresh(self) -> None:
        snapshot = self.snapshot
        key = None if snapshot is None or not snapshot.final else network_key(snapshot)
        if key is not None and key == self._drawn:
            self.images.remove_class(_WAITS)
            self._wants(None, None)
            return
        self.images.add_class(_WAITS)
        if key is None or key != self._asked:
            self._wants(key, snapshot if key is not None else None)

    def _wants(self, key: tuple | None, snapshot: Snapshot | None) -> None:
        self._asked, self.error = key, None
        self._worker.submit(snapshot)

    def _ask(self, turn: Turn[Snapshot | None]) -> None:
        """Runs on the worker: both answers to each image."""
        if turn.job is None:
            return
        try:
            answers = self.examples.answers(turn.job, Watch(turn.stale))
            drawn = tiles(answers, self.studio.data)
        except Stopped:
            return
        except Exception as error:
            self._show_images(turn, html.message(html.in_words(error), error=True), None)
            self.error = error
            return
        self._show_images(turn, drawn, network_key(turn.job))

    def _show_images(self, turn: Turn, text: str, key: tuple | None) -> None:
        with self._screen:
            if not turn.stale():
                self.images.value, self._drawn, self._asked = text, key, None
                self.images.remove_class(_WAITS)
