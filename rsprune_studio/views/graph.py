"""The similarity graph of a layer as a view that follows the panel; wiring only."""

from __future__ import annotations

from functools import partial

import ipywidgets as widgets
import numpy as np

from rsprune_lib.errors import Stopped
from rsprune_lib.graph_layout import graph_places
from rsprune_studio.draw import graph, html
from rsprune_studio.draw.html import in_words
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.tab import Part

__all__ = ["GraphView"]

USUAL = 0.75  # threshold of the edges where the plan follows from something else


class GraphView(Part):
    """Which channels of a layer are alike, at the threshold on the screen: edges appear, vertices go grey.

    With criterion ``similarity`` the edges follow the plan's cut; with any other they stand at 0.75, and show how much
    likeness that criterion keeps. The maps are compared once, on a worker, when the view is first in front.

    Args:
        studio: the state.

    Attributes:
        group: the layer that is shown.
        picture: the drawing.
        error: what went wrong last, None if nothing did.
    """

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        names = [group.name for group in studio.groups]
        self.group = widgets.Dropdown(
            options=names,
            description="layer",
            tooltip="Whose channels are the vertices",
            style={"description_width": "76px"},
        )
        self.picture, self.status = (widgets.HTML(layout=widgets.Layout(width="auto")) for _ in range(2))
        self._places: dict[str, np.ndarray] = {}
        self._worker: LatestWins[tuple[Snapshot, str] | None] = LatestWins(self._draw)
        self.group.observe(lambda _: self._refresh(), "value")
        self.children = [self.group, self.status, self.picture]

    def settle(self, timeout: float = 120.0) -> None:
        """Waits for the drawing.

        Raises:
            Exception: what went wrong (it is on the screen as a sentence, too).
            TimeoutError: there is still work.
        """
        self._worker.settle(timeout)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Ends its worker; the view is gone."""
        self._worker.close()
        super().close()

    def threshold(self, snapshot: Snapshot, name: str) -> float:
        """The similarity from which on two channels of a layer are joined."""
        setting = snapshot.setting
        if setting.criterion != "similarity" or setting.amount == "plan":
            return USUAL
        if setting.by_graph:
            how = snapshot.plan.how
            common = 1 - setting.threshold if setting.amount == "threshold" else how.get("threshold", 1.0)
            return how.get("thresholds", {}).get(name, common)
        return 1 - self.studio.planner.cuts(snapshot.setting, snapshot.plan)[name]

    def _refresh(self) -> None:
        with self._screen:
            wanted = self._active and self.snapshot is not None
            if self.snapshot is None:
                self.picture.value = ""
            self._worker.submit((self.snapshot, self.group.value) if wanted else None)

    def _draw(self, turn: Turn[tuple[Snapshot, str] | None]) -> None:
        """Runs on a worker."""
        if turn.job is None:
            return
        snapshot, name = turn.job
        try:
            similar = self.studio.scoring.similar(Watch(turn.stale, partial(self._tell, turn)))
            if name in similar.blind:
                text = html.note(f"{name} is left out: {similar.blind[name]}.")
            else:
                values = similar.values[name].double().numpy()
                if name not in self._places:
                    self._places[name] = graph_places(values)
                kept = np.isin(np.arange(len(values)), snapshot.plan.keep[name])
                setting, at = snapshot.setting, self.threshold(snapshot, name)
                rule = "nested" if setting.criterion == "similarity" and setting.amount != "plan" else None
                rule = setting.selector if setting.by_graph else rule
                text = graph.graph(values, self._places[name], kept, at, rule)
        except Stopped:
            return
        except Exception as error:
            self.error = error
            self._show(turn, "", html.message(in_words(error), error=True))
            return
        self.error = None
        self._show(turn, text, "")

    def _show(self, turn: Turn, picture: str, status: str) -> None:
        with self._screen:
            if not turn.stale():
                self.picture.value, self.status.value = picture, status

    def _tell(self, turn: Turn, text: str, share: float | None = None) -> None:
        with self._screen:
            if not turn.stale():
                self.status.value = html.working(text, share)
