"""A few validation images that stay on the screen, and what the dense and the pruned network say about them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rsprune_studio.engine.comparison import Answer, Comparison
from rsprune_studio.engine.inside import Inside
from rsprune_studio.engine.mask_answers import MaskAnswer, MaskComparison
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["Examples"]


class Examples:
    """Images chosen once, by the dense network alone, so that no setting is shown at its best or at its worst.

    One half is drawn by chance, the other half are those that the dense network is least sure of (of a segmenter: gets
    most pixels wrong), each of another class as long as there are classes left. Any thread may ask.

    Args:
        inside: what answers.

    Attributes:
        images: their numbers, by chance first; None until the dense network has been measured.
        count: how many they are: six, of large pictures with masks four.
    """

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self.count = 4 if inside.masks else 6
        self.images: tuple[int, ...] | None = None

    def answers(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> list[Answer] | list[MaskAnswer]:
        """What both networks say about each image; quick where the accuracy of the snapshot has just been measured.

        Raises:
            Stopped: it is no longer wanted.
        """
        found = self.inside.compare(snapshot, watch)
        if self.images is None:
            self.images = self._chosen(found)
        return [self.inside.answer(snapshot, image, watch) for image in self.images]

    def _chosen(self, found: Comparison | MaskComparison) -> tuple[int, ...]:
        if isinstance(found, MaskComparison):
            sure = np.nan_to_num(found.right[0], nan=2.0)  # an image without a truth comes last
        else:
            sure = found.dense.softmax(1).amax(1).numpy()
        half, labels = self.count // 2, self.inside.studio.data.labels
        chance = self._apart(self.inside.images(), half, [])
        hard = found.images[np.argsort(sure, kind="stable")]
        return (*chance, *self._apart(hard, self.count - half, chance, {int(labels[image]) for image in chance}))

    def _apart(
        self, images: Iterable[int], count: int, taken: Iterable[int], seen: Iterable[int] = ()
    ) -> tuple[int, ...]:
        """The first images that are of classes not seen yet; where there are not enough, others fill up."""
        labels, seen, first, rest = self.inside.studio.data.labels, set(seen), [], []
        for image in (int(image) for image in images if image not in set(taken)):
            new = not self.inside.masks and int(labels[image]) not in seen
            (first if new else rest).append(image)
            seen.add(int(labels[image]))
        return tuple([*first, *rest][:count])
