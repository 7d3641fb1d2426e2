"""Which classes have a say in the criterion ``class_taylor``: its rule, and how many classes count as rare."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

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
        moved: called with the name of a field of `Setting` and its value.

    Attributes:
        rule, minority: the widgets that are moved.
    """

    def __init__(self, votes: ClassVotes, moved: Callable[[str, object], None]) -> None:
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
        self.rule.observe(lambda change: self._moved("rule", change.new), "value")
        self.minority.observe(lambda change: self._moved("minority", self._none_if_usual(change.new)), "value")

    def _none_if_usual(self, count: int) -> int | None:
        return None if count == self._usual else count

    def show(self, setting: Setting) -> None:
        """Moves the controls to a setting."""
        self.rule.value = setting.rule
        count = self._usual if setting.minority is None else setting.minority
        self.minority.value = min(count, self.minority.max)
        counts = setting.criterion == "class_taylor" and setting.amount != "plan"
        self.layout.display = "" if counts else "none"
        self.minority.layout.display = "" if setting.rule == "minority_group" else "none"
