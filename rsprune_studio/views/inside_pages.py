"""What is looked at, and the three pages that draw it: one image's answers, all mistakes, the channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np

from rsprune_lib.data import Dataset
from rsprune_lib.pruning.groups import Group
from rsprune_studio.draw import html, inside
from rsprune_studio.engine.comparison import Answer, Comparison
from rsprune_studio.engine.inside import Channels, channel_order, network_key
from rsprune_studio.engine.setting import Snapshot

__all__ = ["AnswerPage", "ChannelPage", "Look", "MistakesPage"]

STRIP = 10  # images in a strip of samples
PAGE = 32  # channels at a time: four rows of cards on a page 1,280 px wide
_PLACES = {"highest scores": "best", "around the cut": "cut", "lowest scores": "worst"}


@dataclass(frozen=True, eq=False)
class Look:
    """What is looked at.

    Attributes:
        snapshot: says which networks.
        image: number of a validation image, or (H, W, 3) uint8 pixels of an upload.
        name: what to call it.
        pick: counts the choices of an image, and so tells one from the other.
        group: whose channels.
        first: rank of the first channel.
    """

    snapshot: Snapshot
    image: int | np.ndarray
    name: str
    pick: int
    group: str
    first: int

    @property
    def answer(self) -> tuple:
        """What the answer depends on."""
        return network_key(self.snapshot), self.pick

    @property
    def channels(self) -> tuple:
        """What the channels on the page depend on."""
        return *channel_order(self.snapshot), self.pick, self.group, self.first


def _html(**layout: str) -> widgets.HTML:
    return widgets.HTML(layout=widgets.Layout(**{"width": "auto"} | layout))


class AnswerPage(widgets.HBox):
    """An image, and what both networks say about it.

    Args:
        classes: class names.

    Attributes:
        picture, words, bars: the views.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.picture, self.words, self.bars = _html(width="216px"), _html(), _html()
        right = widgets.VBox([self.words, self.bars], layout=widgets.Layout(flex="1 1 420px"))
        super().__init__([self.picture, right], layout=widgets.Layout(min_height="236px", flex_flow="row wrap"))

    def look(self, pixels: np.ndarray, caption: str, image: int | None) -> None:
        """Shows an image: (H, W, 3) uint8; ``image`` is its number, None for an upload."""
        self.picture.value = inside.picture(pixels, 200, caption) + html.note(caption)

    def draw(self, answer: Answer) -> None:
        """Shows the answers to it."""
        self.words.value = html.message(inside.said(answer, self.classes))
        self.bars.value = inside.answers(answer, self.classes)

    def clear(self, text: str) -> None:
        """Shows why there are no answers."""
        self.words.value, self.bars.value = html.note(text), ""


class MistakesPage(widgets.VBox):
    """How the confusions changed, the hardest samples, and those that pruning lost.

    Args:
        data: the data set.

    Attributes:
        words, confusion, hardest, lost: the views.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.words, self.confusion, self.hardest, self.lost = (_html() for _ in range(4))
        strips = widgets.VBox([self.hardest, self.lost], layout=widgets.Layout(flex="1 1 420px"))
        row = widgets.HBox([self.confusion, strips], layout=widgets.Layout(flex_flow="row wrap", grid_gap="16px"))
        super().__init__([self.words, row], layout=widgets.Layout(min_height="236px"))

    def draw(self, comparison: Comparison, label: int | None = None) -> None:
        """Shows a comparison; the strips are of one true class if ``label`` is given."""
        classes, change = self.data.classes, comparison.confusion_change
        self.words.value = html.message(inside.agreement(comparison)) + inside.largest_changes(change, classes)
        self.confusion.value = inside.heat_map(change, classes)
        of = "" if label is None else f" of {classes[label]}"
        for view, images, title, empty in (
            (self.hardest, comparison.hardest(label), f"Hardest for the pruned network{of}", "There is none."),
            (self.lost, comparison.lost(label), f"Right before, wrong now{of}", "Nothing was lost."),
        ):
            rows = [(np.asarray(self.data.images[n]), comparison.answer(int(n))) for n in images[:STRIP]]
            count = f"{title}: the first {len(rows)} of {len(images)}" if view is self.lost else title
            view.value = inside.samples(count, rows, classes, empty)

    def clear(self, text: str) -> None:
        """Shows why there is nothing."""
        self.words.value = html.note(text)
        self.confusion.value = self.hardest.value = self.lost.value = ""


class ChannelPage(widgets.VBox):
    """The channels of a group, some at a time.

    Args:
        groups: the groups to choose from.
        moved: called when a person wants to see others.

    Attributes:
        group, place, previous, next: the widgets that are moved.
        cards: the view.
    """

    def __init__(self, groups: Sequence[Group], moved: Callable[[], None]) -> None:
        self._sizes, self._pages, self._moved = {group.name: group.size for group in groups}, 0, moved
        self.group = widgets.Dropdown(
            options=[(f"{name} ({size} channels)", name) for name, size in self._sizes.items()], description="group",
            tooltip="Channels that stay or go together; the group is named after its first layer",
            style={"description_width": "44px"}, layout=widgets.Layout(width="300px"),
        )  # fmt: skip
        self.place = widgets.Dropdown(
            options=list(_PLACES.items()), value="cut", description="show",
            tooltip="Around the cut are the last channels that stay and the first that go",
            style={"description_width": "40px"}, layout=widgets.Layout(width="200px"),
        )  # fmt: skip
        self.previous = _button("Higher", "chevron-left", f"The {PAGE} channels with the next higher scores")
        self.next = _button("Lower", "chevron-right", f"The {PAGE} channels with the next lower scores")
        self.previous.on_click(lambda _: self.turn(-1))
        self.next.on_click(lambda _: self.turn(1))
        for control in (self.group, self.place):
            control.observe(lambda _: self._begin(), "value")
        self.cards = _html()
        row = [self.group, self.place, self.previous, self.next]
        top = widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([top, self.cards], layout=widgets.Layout(min_height="236px"))

    def turn(self, by: int) -> None:
        """Asks for the channels ``by`` pages lower in the order of the scores."""
        self._pages += by
        self._moved()

    def _begin(self) -> None:
        self._pages = 0
        self._moved()

    def first(self, snapshot: Snapshot) -> int:
        """Rank of the first channel that the controls ask for; a step beyond the end goes nowhere."""
        size, kept = self._sizes[self.group.value], snapshot.plan.widths[self.group.value]
        start = {"best": 0, "cut": kept - PAGE // 2, "worst": size - PAGE}[self.place.value]
        last = max(size - PAGE, 0)
        start = min(max(start, 0), last)
        low, high = -(-start // PAGE), -(-(last - start) // PAGE)  # pages to either side
        self._pages = min(max(self._pages, -low), high)
        self.previous.disabled, self.next.disabled = self._pages == -low, self._pages == high
        return min(max(start + self._pages * PAGE, 0), last)

    def draw(self, page: Channels, criterion: str, caption: str) -> None:
        """Shows channels; ``caption`` says what their maps were made from."""
        self.cards.value = inside.channels(page, criterion, caption)

    def clear(self, text: str) -> None:
        """Shows why there is nothing."""
        self.cards.value = html.note(text)


def _button(description: str, icon: str, tooltip: str) -> widgets.Button:
    layout = widgets.Layout(width="100px")
    return widgets.Button(description=description, icon=icon, tooltip=tooltip, layout=layout)
