"""The similarity graph of a layer as a view that follows the panel; wiring only."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from rsprune_lib.graph_layout import graph_places
from rsprune_studio.draw import graph, html
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import Watch
from rsprune_studio.views.tab import PicturePart

__all__ = ["GraphView"]

USUAL = 0.75  # threshold of the edges where the plan follows from something else


class GraphView(PicturePart):
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
        self._places: dict[str, np.ndarray] = {}
        self.group.observe(lambda _: self._refresh(), "value")
        self.children = [self.group, self.status, self.picture]

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

    def _wish(self) -> tuple[str]:
        return (self.group.value,)

    def _make(self, snapshot: Snapshot, name: str, *, watch: Watch) -> str:
        similar = self.studio.scoring.similar(watch)
        if name in similar.blind:
            return html.note(f"{name} is left out: {similar.blind[name]}.")
        values = similar.values[name].double().numpy()
        if name not in self._places:
            self._places[name] = graph_places(values)
        kept = np.isin(np.arange(len(values)), snapshot.plan.keep[name])
        setting, at = snapshot.setting, self.threshold(snapshot, name)
        rule = "nested" if setting.criterion == "similarity" and setting.amount != "plan" else None
        rule = setting.selector if setting.by_graph else rule
        return graph.graph(values, self._places[name], kept, at, rule)
