"""Which channels speak for which class: asked once, then every rule and every minority has its scores at once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from rsprune_lib.data import Batches
from rsprune_lib.pruning import Group, Scores, channel_scores, class_scores, voters
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["ClassVotes"]


class ClassVotes:
    """The criterion ``"class_taylor"`` of one network, its tables kept.

    Args:
        model: the network; not changed.
        groups: its groups.
        batches: training images that are asked.
        using: held while the network runs, see `rsprune_studio.engine.planner.Planner`.
    """

    def __init__(self, model: nn.Module, groups: list[Group], batches: Batches, using: object) -> None:
        self._model, self._groups, self._batches, self._using = model, groups, batches, using
        self._tables: dict[str, Tensor] | None = None

    @property
    def ready(self) -> bool:
        """Whether the tables are there."""
        return self._tables is not None

    def tables(self, watch: Watch = UNWATCHED) -> Mapping[str, Tensor]:
        """How much every channel matters to every class: group name -> (K, size), see `class_scores`.

        Raises:
            Stopped: they are no longer wanted.
        """
        if self._tables is None:
            images = watch.over(self._batches, "Asking which channels every class needs, once")
            with self._using:
                self._tables = class_scores(self._model, self._groups, images, progress=False)
        return self._tables

    def voters(self, rule: str = "minority_group", minority: int | None = None) -> tuple[int, ...]:
        """Numbers of the classes that have a say, the rarest first.

        Raises:
            RspruneError: there are not so many classes.
        """
        return voters(self._batches, rule, minority)

    def scores(self, watch: Watch = UNWATCHED, rule: str = "minority_group", minority: int | None = None) -> Scores:
        """The scores of all groups under a rule.

        Raises:
            RspruneError: there are not so many classes.
            Stopped: they are no longer wanted.
        """
        classes = self.voters(rule, minority)
        found = {name: channel_scores(table, classes, rule) for name, table in self.tables(watch).items()}
        return Scores("class_taylor", found)
