"""What two networks say about the same images: where they agree, what was lost, what is hard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from rsprune_lib.data import Dataset
from rsprune_lib.measure import Paired, compare, wilson
from rsprune_lib.tasks import Task

__all__ = ["Answer", "Comparison"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the dense and the pruned network say about one image.

    Attributes:
        dense: (K,) float64 probabilities of the dense network.
        pruned: (K,) float64 probabilities of the pruned one.
        label: true class, None where nobody told.
        image: number of the image in the data set, None for an upload.
    """

    dense: np.ndarray
    pruned: np.ndarray
    label: int | None = None
    image: int | None = None

    @staticmethod
    def taken(logits: Tensor) -> np.ndarray:
        """What is kept of logits (K,): the probabilities."""
        return logits.double().softmax(0).cpu().numpy()

    @classmethod
    def of(cls, dense: np.ndarray, pruned: np.ndarray, data: Dataset, image: int | None) -> Answer:
        """The answers to an image of a data set, or to an upload (None)."""
        return cls(dense, pruned, None if image is None else int(data.labels[image]), image)

    @property
    def says(self) -> tuple[int, int]:
        """Classes that the dense and the pruned network answer."""
        return int(self.dense.argmax()), int(self.pruned.argmax())

    @property
    def confidence(self) -> tuple[float, float]:
        """Probabilities of these two answers, each by the network that gives it."""
        return float(self.dense.max()), float(self.pruned.max())

    def top(self, count: int = 5) -> list[int]:
        """The classes that either network finds most likely, most likely first; the true one is always among them."""
        either = np.maximum(self.dense, self.pruned)
        order = np.argsort(-either, kind="stable")[:count].tolist()
        if self.label is not None and self.label not in order:
            order[-1] = self.label
        return order


@dataclass(frozen=True, eq=False)
class Comparison:
    """Answers of the dense and of the pruned network to the same images.

    Attributes:
        images: (N,) int64 numbers of the images in the data set.
        labels: (N,) int64 true classes.
        dense: (N, K) float32 logits of the dense network.
        pruned: (N, K) float32 logits of the pruned one.
    """

    images: np.ndarray
    labels: Tensor
    dense: Tensor
    pruned: Tensor

    @classmethod
    def of(cls, images: np.ndarray, labels: Tensor, dense: Tensor, pruned: Tensor, task: Task) -> Comparison:
        """Of the records of both networks for the same images."""
        return cls(images, labels, task.final(dense), task.final(pruned))

    @cached_property
    def losses(self) -> np.ndarray:
        """(N,) float64 cross-entropy of the pruned network, in nats."""
        return F.cross_entropy(self.pruned.double(), self.labels, reduction="none").numpy()

    @cached_property
    def answers(self) -> tuple[np.ndarray, np.ndarray]:
        """Classes that the dense and the pruned network answer, (N,) int64 each."""
        return self.dense.argmax(1).numpy(), self.pruned.argmax(1).numpy()

    @cached_property
    def confusion_change(self) -> np.ndarray:
        """(K, K) int64, confusion of the pruned network minus that of the dense one; rows are the true class."""
        before, after = self.answers
        change = np.zeros((self.dense.shape[1],) * 2, dtype=np.int64)
        np.add.at(change, (self.labels.numpy(), after), 1)
        np.add.at(change, (self.labels.numpy(), before), -1)
        return change

    @cached_property
    def agreement(self) -> tuple[float, tuple[float, float]]:
        """Share of the images that both answer alike (right or wrong), with its Wilson 95 % interval."""
        before, after = self.answers
        same = int((before == after).sum())
        return same / len(before), wilson(same, len(before))

    @cached_property
    def paired(self) -> Paired:
        """How many images only one of the two answers right."""
        return compare(self.dense, self.pruned, self.labels)

    def hardest(self, label: int | None = None) -> np.ndarray:
        """Numbers of the images, or of those of one class, by falling loss of the pruned network; (n,) int64."""
        order = np.argsort(-self.losses, kind="stable")
        return self.images[order[self._of(label)[order]]]

    def lost(self, label: int | None = None) -> np.ndarray:
        """Like `hardest`, of the images that the dense network answers right and the pruned one wrong."""
        (before, after), truth = self.answers, self.labels.numpy()
        order = np.argsort(-self.losses, kind="stable")
        wanted = self._of(label) & (before == truth) & (after != truth)
        return self.images[order[wanted[order]]]

    def answer(self, image: int) -> Answer:
        """The answers to one of the images.

        Args:
            image: its number in the data set.
        """
        place = int(np.flatnonzero(self.images == image)[0])
        dense, pruned = (logits[place].double().softmax(0).numpy() for logits in (self.dense, self.pruned))
        return Answer(dense, pruned, int(self.labels[place]), image)

    def _of(self, label: int | None) -> np.ndarray:
        return np.ones(len(self.images), dtype=bool) if label is None else self.labels.numpy() == label
