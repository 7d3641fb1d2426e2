"""Which classes have a say in the criterion ``class_taylor``: its rule, and how many classes count as rare."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ipywidgets as widgets
from traitlets import Bunch

from rsprune_studio.engine.class_votes import ClassVotes
from rsprune_studio.engine.setting import Setting
from rsprune_studio.views.widgets import wide

__all__ = ["VoteControls"]

_RULES = {
    "the rarest classes, in turn": "minority_group",
    "all classes, in turn": "all_classes",
    "all classes, by mean rank": "borda",
}
_STYLE = {"description_width": "76px"}


class VoteControls(widgets.VBox):
    """The controls, shown only while they count.

    Args:
        votes: knows the classes.
        moved: called with the name of a field of `Setting` and the change of its control.

    Attributes:
        rule, minority: the widgets that are moved.
    """

    def __init__(self, votes: ClassVotes, moved: Callable[[str, Bunch], None]) -> None:
        self._usual, self._moved = len(votes.voters()), moved
        self.rule = widgets.Dropdown(
            options=list(_RULES.items()), description="votes of", style=_STYLE, layout=wide(),
            tooltip="Which classes name the channels that stay; in turn: each names its best one, then its second",
        )  # fmt: skip
        self.minority = widgets.IntSlider(
            min=1, max=len(votes.voters("all_classes")), value=self._usual, description="rare", style=_STYLE,
            tooltip="How many classes count as rare: those with the fewest training pixels",
            continuous_update=False, layout=wide(),
        )  # fmt: skip
        super().__init__([self.rule, self.minority])
        self.rule.observe(partial(moved, "rule"), "value")
        self.minority.observe(self._minority_moved, "value")

    def _minority_moved(self, change: Bunch) -> None:
        usual = change.new == self._usual
        self._moved("minority", Bunch(change, new=None) if usual else change)

    def show(self, setting: Setting) -> None:
        """Moves the controls to a setting."""
        self.rule.value = setting.rule
        count = self._usual if setting.minority is None else setting.minority
        self.minority.value = min(count, self.minority.max)
        counts = setting.criterion == "class_taylor" and setting.amount != "plan"
        self.layout.display = "" if counts else "none"
        self.minority.layout.display = "" if setting.rule == "minority_group" else "none"
