"""Which filters speak for which class, as a view that follows the panel; wiring only."""

from __future__ import annotations

from functools import partial

import ipywidgets as widgets
import numpy as np

from rsprune_lib.errors import Stopped
from rsprune_studio.draw import html
from rsprune_studio.draw.html import in_words
from rsprune_studio.draw.votes import ORDERS, Votes, vote_map
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.tab import Part

__all__ = ["VotesView"]

Job = tuple[Snapshot, str, str]


class VotesView(Part):
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
        self.picture, self.status = (widgets.HTML(layout=widgets.Layout(width="auto")) for _ in range(2))
        self._worker: LatestWins[Job | None] = LatestWins(self._draw)
        for control in (self.group, self.order):
            control.observe(lambda _: self._refresh(), "value")
        row = widgets.HBox([self.group, self.order], layout=widgets.Layout(flex_flow="row wrap"))
        self.children = [row, self.status, self.picture]

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

    def _refresh(self) -> None:
        with self._screen:
            if self.snapshot is None:
                self.picture.value = ""
            wanted = self._active and self.snapshot is not None
            self._worker.submit((self.snapshot, self.group.value, self.order.value) if wanted else None)

    def _draw(self, turn: Turn[Job | None]) -> None:
        """Runs on a worker."""
        if turn.job is None:
            return
        snapshot, name, order = turn.job
        self.error = None
        try:
            votes = self.votes(snapshot, name, Watch(turn.stale, partial(self._tell, turn)))
            self._show(turn, vote_map(votes, order), "")
        except Stopped:
            return
        except Exception as error:
            self.error = error
            self._show(turn, "", html.message(in_words(error), error=True))

    def _show(self, turn: Turn, picture: str, status: str) -> None:
        with self._screen:
            if not turn.stale():
                self.picture.value, self.status.value = picture, status

    def _tell(self, turn: Turn, text: str, share: float | None = None) -> None:
        with self._screen:
            if not turn.stale():
                self.status.value = html.working(text, share)
