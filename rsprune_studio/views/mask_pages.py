"""The pages of the look inside for a segmenter: pictures of one image, and where pruning made the answers worse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ipywidgets as widgets
import numpy as np

from rsprune_lib.data import Dataset
from rsprune_lib.errors import visible
from rsprune_studio.draw import html, inside, masks
from rsprune_studio.engine.mask_answers import MaskAnswer, MaskComparison
from rsprune_studio.views.gallery import Listing
from rsprune_studio.views.inside_pages import STRIP

__all__ = ["MaskMistakesPage", "MaskPage", "mask_listing"]

_WIDE = {"width": "auto"}


def mask_listing(data: Dataset) -> Listing:
    """How the gallery lists images with masks: those that show a class, the rare classes marked."""
    names = [
        f"{visible(name)} (rare)" if label in data.rare else visible(name) for label, name in enumerate(data.classes)
    ]
    order = [*data.rare, *(label for label in range(data.num_classes) if label not in data.rare)]
    return Listing(
        title=lambda image: f"image {image}",
        verdict=masks.verdict,
        what="shows",
        tip="List only images whose mask shows this class, the worst in this class first",
        labels=tuple((names[label], label) for label in order),
    )


class MaskPage(widgets.VBox):
    """An image, its truth, what both networks make of it, and their mistakes.

    Args:
        data: the data set.

    Attributes:
        words, pictures: the views.
    """

    def __init__(self, data: Dataset) -> None:
        self._data, self._look = data, None
        self.words, self.pictures = (widgets.HTML(layout=widgets.Layout(**_WIDE)) for _ in range(2))
        super().__init__([self.words, self.pictures], layout=widgets.Layout(min_height="236px"))

    def look(self, pixels: np.ndarray, caption: str, image: int | None) -> None:
        """Shows an image, (H, W, 3) uint8, and its truth; ``image`` is its number, None for an upload."""
        truth = None if image is None else np.asarray(self._data.masks[image])
        self._look = masks.Look(pixels, caption, truth)

    def draw(self, answer: MaskAnswer) -> None:
        """Shows the answers to it."""
        self.words.value = html.message(masks.said(answer))
        self.pictures.value = masks.page(self._look, answer, self._data)

    def clear(self, text: str) -> None:
        """Shows why there are no answers."""
        self.words.value = html.note(text)
        if self._look is not None:
            self.pictures.value = masks.page(self._look, None, self._data)


class MaskMistakesPage(widgets.VBox):
    """What is taken for what, more and less than before, the worst images, and those that pruning made worse.

    Args:
        data: the data set.

    Attributes:
        words, confusion, hardest, lost: the views.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self.words, self.confusion, self.hardest, self.lost = (
            widgets.HTML(layout=widgets.Layout(**_WIDE)) for _ in range(4)
        )
        strips = widgets.VBox([self.hardest, self.lost], layout=widgets.Layout(flex="1 1 420px"))
        row = widgets.HBox([self.confusion, strips], layout=widgets.Layout(flex_flow="row wrap", grid_gap="16px"))
        super().__init__([self.words, row], layout=widgets.Layout(min_height="236px"))

    def draw(self, comparison: MaskComparison, label: int | None = None) -> None:
        """Shows a comparison; the strips are of images that show a class if ``label`` is given."""
        classes, change = self._data.classes, masks.row_points(comparison)
        more = inside.largest_changes(change, classes, unit=" points")
        self.words.value = html.message(masks.comparison_words(comparison)) + more
        self.confusion.value = inside.heat_map(change, classes, "Percent of a true class's pixels")
        of = "" if label is None else f" in {classes[label]}"
        told = partial(masks.verdict, comparison)
        worst = self._thumbnails(comparison.hardest(label), told)
        self.hardest.value = inside.strip(f"Worst of the pruned network{of}", worst, "There is none.")
        lost = comparison.lost(label)
        cells = self._thumbnails(lost, partial(masks.loss, comparison, label=label))
        title = f"Worse than before{of}: the first {len(cells)} of {len(lost)}"
        self.lost.value = inside.strip(title, cells, "No image became worse.")

    def _thumbnails(self, images: np.ndarray, told: Callable[[int], tuple[str, bool]]) -> list[str]:
        cells = []
        for image in images[:STRIP].tolist():
            text, wrong = told(image)
            cells.append(inside.thumbnail(np.asarray(self._data.images[image]), f"image {image}", text, wrong=wrong))
        return cells

    def clear(self, text: str) -> None:
        """Shows why there is nothing."""
        self.words.value = html.note(text)
        self.confusion.value = self.hardest.value = self.lost.value = ""
