"""A strip of validation images to choose one from: any, the hardest ones, or those that pruning lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np

from rsprune_lib.data import Dataset
from rsprune_lib.data.sizes import size_text
from rsprune_lib.data.upload import MAX_BYTES
from rsprune_lib.errors import visible
from rsprune_studio.draw import html
from rsprune_studio.draw.inside import thumbnail, verdict
from rsprune_studio.engine.comparison import Comparison
from rsprune_studio.engine.mask_answers import MaskComparison

__all__ = ["Gallery", "Listing", "class_listing"]

SLOTS = 8  # of 96 px: one row of a page 1,280 px wide
_SOURCES = {"any validation image": "any", "hardest first": "hardest", "lost by pruning": "lost"}
_ALL = -1  # a Dropdown takes None for "nothing is chosen"
_TIP = (
    "Any in random order; by falling loss of the pruned network; those of them that were right before and are wrong now"
)


@dataclass(frozen=True)
class Listing:
    """How images are named, judged and chosen.

    Attributes:
        title: number of an image -> first line under its thumbnail.
        verdict: (comparison, number) -> second line, and whether it is a mistake.
        what: a class is to an image.
        tip: what choosing one does.
        labels: (name, number) of each class.
    """

    title: Callable[[int], str]
    verdict: Callable[[Any, int], tuple[str, bool]]
    what: str
    tip: str
    labels: tuple[tuple[str, int], ...]


def class_listing(data: Dataset) -> Listing:
    """How images are listed that have one class each."""
    return Listing(
        title=lambda image: data.classes[data.labels[image]],
        verdict=lambda comparison, image: verdict(comparison.answer(image), data.classes),
        what="true class",
        tip="List images of one class only",
        labels=tuple((visible(name), label) for label, name in enumerate(data.classes)),
    )


class Gallery(widgets.VBox):
    """Thumbnails with a button each, what to list, a class, and steps to the previous and the next image.

    Args:
        data: the data set.
        listing: how its images are listed.
        chosen: called with the number of the image that a person chooses.
        relist: called when a person wants another list; answer it with `offer`.
        sent: called with the name and the content of a file that a person uploads.

    Attributes:
        source, label, previous, next, more, upload: the widgets that are moved.
        slots: thumbnail and button of each place.
        images: numbers of the images on offer.
    """

    def __init__(
        self,
        data: Dataset,
        listing: Listing,
        chosen: Callable[[int], None],
        relist: Callable[[], None],
        sent: Callable[[str, bytes], None],
    ) -> None:
        self.data, self._listing, self._chosen, self._sent = data, listing, chosen, sent
        self.images, self._start = np.zeros(0, dtype=np.int64), 0
        self._image: int | None = None
        self._comparison: Comparison | MaskComparison | None = None
        self._make_controls(relist)
        self.words = widgets.HTML(layout=widgets.Layout(width="auto"))
        self.slots = [self._slot(place) for place in range(SLOTS)]
        boxes = [widgets.VBox(slot, layout=widgets.Layout(width="96px", margin="0")) for slot in self.slots]
        wall = widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap", min_height="152px"))
        row = [self.source, self.label, self.previous, self.next, self.more, self.upload]
        self._row = widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([self._row, self.words, wall])

    def _make_controls(self, relist: Callable[[], None]) -> None:
        self.source = widgets.Dropdown(
            options=list(_SOURCES.items()), description="images", tooltip=_TIP,
            style={"description_width": "52px"}, layout=widgets.Layout(width="232px"),
        )  # fmt: skip
        self.label = widgets.Dropdown(
            options=[("all classes" if self.data.masks is None else "any class", _ALL), *self._listing.labels],
            description=self._listing.what, tooltip=self._listing.tip,
            style={"description_width": "68px"}, layout=widgets.Layout(width="206px"),
        )  # fmt: skip
        self.previous = _button("Previous", "chevron-left", "The image before this one in the list")
        self.next = _button("Next", "chevron-right", "The image behind this one in the list", "72px")
        self.more = _button("More", "th", f"The next {SLOTS} images of the list", "72px")
        self.previous.on_click(lambda _: self.step(-1))
        self.next.on_click(lambda _: self.step(1))
        self.more.on_click(lambda _: self.turn())
        for control in (self.source, self.label):
            control.observe(lambda _: relist(), "value")

        self.upload = self._make_upload()

    def _make_upload(self) -> widgets.FileUpload:
        upload = widgets.FileUpload(
            accept="image/*,.tif,.tiff", description="Upload", layout=widgets.Layout(width="110px"),
            tooltip="Look at an image of your own (JPEG, PNG, TIFF …); it is brought to "
            f"{size_text(self.data.image_size)} pixels like the others; at most {MAX_BYTES / 1e6:.0f} MB",
        )  # fmt: skip
        upload.observe(lambda change: self._uploaded(change.new), "value")
        return upload

    def renew_upload(self) -> None:
        """Puts a new button in place of one whose message was lost: in the browser it would wait for the answer."""
        old, self.upload = self.upload, self._make_upload()
        self._row.children = [*self._row.children[:-1], self.upload]
        old.close()

    def _uploaded(self, files: Sequence[Mapping[str, Any]]) -> None:
        if files:
            self.upload.value = ()  # lets go of the bytes; the same file may be sent again
            self._sent(files[0]["name"], bytes(files[0]["content"]))

    def _slot(self, place: int) -> tuple[widgets.HTML, widgets.Button]:
        button = widgets.Button(description="show", layout=widgets.Layout(width="88px", height="26px", margin="0"))
        button.on_click(lambda _: self.choose(place))
        return widgets.HTML(layout=widgets.Layout(margin="0")), button

    @property
    def wanted(self) -> int | None:
        """The class whose images are wanted, None for all."""
        return None if self.label.value == _ALL else self.label.value

    def choose(self, place: int) -> None:
        """Chooses the image in a place of the strip; nothing happens if there is none."""
        if self._start + place < len(self.images):
            self._chosen(int(self.images[self._start + place]))

    def step(self, by: int) -> None:
        """Chooses the next (1) or the previous (-1) image of the list, going round at its ends.

        It starts from the image that is looked at, or at the first thumbnail if that one is not in sight.
        """
        if len(self.images):
            here = np.flatnonzero(self.images[self._start : self._start + SLOTS] == self._image)
            place = (self._start + int(here[0]) + by) % len(self.images) if len(here) else self._start
            self._chosen(int(self.images[place]))

    def turn(self) -> None:
        """Shows the next images of the list, going round at its end; what is chosen stays."""
        self._start = self._start + SLOTS if self._start + SLOTS < len(self.images) else 0
        self._draw()

    def offer(self, images: np.ndarray | None, comparison: Comparison | MaskComparison | None, empty: str = "") -> None:
        """Lists images.

        Args:
            images: their numbers in the data set; None while they are not known yet.
            comparison: what the networks say of them, where that is known.
            empty: what to say where there is none.
        """
        images = np.zeros(0, dtype=np.int64) if images is None else images
        if not np.array_equal(images, self.images):
            self.images, self._start = images, 0
        self._comparison = comparison
        self.words.value = "" if len(images) else html.note(empty)
        self._draw()

    def mark(self, image: int | None, *, turn: bool = True) -> None:
        """Marks the image that is looked at, and turns to it if it is in the list; None: it is an upload."""
        here = np.flatnonzero(self.images == image)
        self._image = image
        if turn and len(here) and not self._start <= here[0] < self._start + SLOTS:
            self._start = int(here[0]) // SLOTS * SLOTS
            self._draw()
        self._mark()

    def _draw(self) -> None:
        for place, (box, _) in enumerate(self.slots):
            if self._start + place < len(self.images):
                image = int(self.images[self._start + place])
                title, below, wrong = self._listing.title(image), "", False
                if self._comparison is not None:
                    below, wrong = self._listing.verdict(self._comparison, image)
                box.value = thumbnail(self.data.images[image], title, below, wrong=wrong)
        self._mark()

    def _mark(self) -> None:
        for place, (box, button) in enumerate(self.slots):
            there = self._start + place < len(self.images)
            image = int(self.images[self._start + place]) if there else None
            now = there and image == self._image
            button.description, button.button_style = ("shown", "primary") if now else ("show", "")
            button.tooltip = f"Look at image {image}" if there else ""
            box.layout.visibility = button.layout.visibility = "visible" if there else "hidden"


def _button(description: str, icon: str, tooltip: str, width: str = "88px") -> widgets.Button:
    layout = widgets.Layout(width=width)
    return widgets.Button(description=description, icon=icon, tooltip=tooltip, layout=layout)
