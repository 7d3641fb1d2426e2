"""Which filters speak for which class, as a view that follows the panel; wiring only."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from rsprune_studio.draw.votes import ORDERS, Votes, vote_map
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import Watch
from rsprune_studio.views.tab import PicturePart

__all__ = ["VotesView"]


class VotesView(PicturePart):
    """A map of classes by channels of a group, and what a plan leaves each class.

    The classes are asked once, on a worker, when the view is first in front or when their criterion is chosen.

    Args:
        studio: the state.

    Attributes:
        group, order: the widgets that are moved.
        picture, status: what is shown.
    """

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        style = {"description_width": "60px"}
        self.group = widgets.Dropdown(
            options=[(f"{group.name} ({group.size} channels)", group.name) for group in studio.groups],
            description="group", tooltip="Channels that stay or go together", style=style,
        )  # fmt: skip
        self.order = widgets.Dropdown(
            options=list(ORDERS.items()), description="columns", style=style, layout=widgets.Layout(width="200px"),
            tooltip="Channels of one class side by side, or the best score first",
        )  # fmt: skip
        for control in (self.group, self.order):
            control.observe(lambda _: self._refresh(), "value")
        row = widgets.HBox([self.group, self.order], layout=widgets.Layout(flex_flow="row wrap"))
        self.children = [row, self.status, self.picture]

    def votes(self, snapshot: Snapshot, name: str, watch: Watch) -> Votes:
        """What the channels of a group mean to each class.

        Raises:
            Stopped: it is no longer wanted.
        """
        studio = self.studio
        table = studio.scoring.votes.tables(watch)[name].numpy()
        kept = np.isin(np.arange(table.shape[1]), snapshot.plan.keep[name])
        setting = snapshot.setting
        counts = setting.minority if setting.criterion == "class_taylor" else None
        rare = studio.scoring.votes.voters(minority=counts)
        return Votes(name, table, kept, studio.scoring.values_of(setting)[name], studio.data.classes, rare)

    def _wish(self) -> tuple[str, str]:
        return self.group.value, self.order.value

    def _make(self, snapshot: Snapshot, name: str, order: str, *, watch: Watch) -> str:
        return vote_map(self.votes(snapshot, name, watch), order)
