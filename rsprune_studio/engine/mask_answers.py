"""What two networks say about the pixels of images: one image in full, all images in a few numbers each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.data import Dataset
from rsprune_lib.data.masks import UNKNOWN
from rsprune_lib.measure import Paired, compare
from rsprune_lib.tasks import Segmentation

__all__ = ["BOTH_WRONG", "LOST", "RIGHT", "WON", "MaskAnswer", "MaskComparison"]

RIGHT, LOST, WON, BOTH_WRONG = range(4)  # of a pixel: right (or the same) in both, lost or won by pruning, wrong


@dataclass(frozen=True, eq=False)
class MaskAnswer:
    """Classes that the dense and the pruned network give to every pixel of one image.

    Attributes:
        dense: (H, W) uint8 class numbers of the dense network.
        pruned: (H, W) uint8 of the pruned one.
        truth: (H, W) uint8, `UNKNOWN` where no class is known; None where nobody told.
        image: number of the image in the data set, None for an upload.
    """

    dense: np.ndarray
    pruned: np.ndarray
    truth: np.ndarray | None = None
    image: int | None = None

    @staticmethod
    def taken(logits: Tensor) -> np.ndarray:
        """What is kept of logits (K, H, W): the class of each pixel."""
        return logits.argmax(0).to(torch.uint8).cpu().numpy()

    @classmethod
    def of(cls, dense: np.ndarray, pruned: np.ndarray, data: Dataset, image: int | None) -> MaskAnswer:
        """The answers to an image of a data set, or to an upload (None)."""
        return cls(dense, pruned, None if image is None else np.asarray(data.masks[image]), image)

    @cached_property
    def change(self) -> np.ndarray:
        """(H, W) uint8: `RIGHT`, `LOST`, `WON` or `BOTH_WRONG`, `UNKNOWN`; without a truth `LOST` where they differ."""
        if self.truth is None:
            return np.where(self.dense == self.pruned, RIGHT, LOST).astype(np.uint8)
        before, after = self.dense == self.truth, self.pruned == self.truth
        made = np.select([before & after, before, after], [RIGHT, LOST, WON], BOTH_WRONG)
        return np.where(self.truth == UNKNOWN, UNKNOWN, made).astype(np.uint8)

    @cached_property
    def shares(self) -> dict[int, float]:
        """`RIGHT`, `LOST`, `WON` and `BOTH_WRONG` -> share of the pixels with a known class; all 0 if there is none."""
        counts = np.bincount(self.change.ravel(), minlength=UNKNOWN + 1)[: BOTH_WRONG + 1]
        return dict(enumerate((counts / max(counts.sum(), 1)).tolist()))

    @property
    def wrong(self) -> tuple[float, float]:
        """Share of the known pixels that the dense and the pruned network get wrong."""
        shares = self.shares
        return shares[WON] + shares[BOTH_WRONG], shares[LOST] + shares[BOTH_WRONG]

    def classes(self, count: int) -> dict[int, tuple[float, float, float]]:
        """Class -> (share of the truth, IoU of the dense, IoU of the pruned network) in this image, largest first.

        A class without a pixel in the truth and in both answers is left out; without a truth the shares are those of
        the pruned network's answer, and the IoU is NaN.

        Args:
            count: number K of classes.
        """
        truth = self.pruned if self.truth is None else self.truth
        known = truth != UNKNOWN
        rows = []
        for label in range(count):
            true, answers = truth == label, [(one == label) & known for one in (self.dense, self.pruned)]
            if not (true.any() or any(one.any() for one in answers)):
                continue
            iou = [np.nan if self.truth is None else _overlap(true, one) for one in answers]
            rows.append((label, (float(true.sum() / max(known.sum(), 1)), *iou)))
        return dict(sorted(rows, key=lambda row: -row[1][0]))


@dataclass(frozen=True, eq=False)
class MaskComparison:
    """How right the dense and the pruned network are on the same images.

    Attributes:
        images: (N,) int64 numbers of the images in the data set.
        right: (2, N) float32 share of the known pixels that the dense and the pruned network get right; NaN for an
            image without any.
        iou: (2, N, K) float32 IoU of each class in each image; NaN where neither truth nor answer shows it.
        shown: (N, K) bool: the image's truth shows the class.
        pixels: (K,) int64 pixels of each class in the truth.
        change: (K, K) int64 pixels of the pruned network's confusion minus those of the dense one.
        paired: how many images each of them does better.
    """

    images: np.ndarray
    right: np.ndarray
    iou: np.ndarray
    shown: np.ndarray
    pixels: np.ndarray
    change: np.ndarray
    paired: Paired

    @classmethod
    def of(
        cls, images: np.ndarray, labels: Tensor, dense: Tensor, pruned: Tensor, task: Segmentation
    ) -> MaskComparison:
        """Takes what is needed of the records, which are larger.

        Args:
            images: (N,) numbers of the images.
            labels: (N,) of the task.
            dense: (N, K * K + 1) records of the dense network.
            pruned: (N, K * K + 1) records of the pruned one.
            task: what they are for.
        """
        right, iou, whole = [], [], []
        for records in (dense, pruned):
            counts = task.confusion(records).numpy()  # (N, K, K)
            both = np.diagonal(counts, axis1=1, axis2=2)
            either = counts.sum(1) + counts.sum(2) - both
            with np.errstate(invalid="ignore", divide="ignore"):
                right.append((both.sum(1) / counts.sum((1, 2))).astype(np.float32))
                iou.append((both / either).astype(np.float32))
            whole.append(counts.sum(0).astype(np.int64))
        shown = counts.sum(2) > 0
        paired = compare(dense, pruned, labels, task)
        return cls(images, np.stack(right), np.stack(iou), shown, whole[0].sum(1), whole[1] - whole[0], paired)

    def hardest(self, label: int | None = None) -> np.ndarray:
        """Numbers of the images by falling share of wrong pixels of the pruned network; (n,) int64.

        Args:
            label: only images that show this class, by rising IoU of it.
        """
        return self._by(self._scores(label)[1], label)

    def lost(self, label: int | None = None) -> np.ndarray:
        """Numbers of the images that pruning made worse, or worse in a class, the largest loss first."""
        dense, pruned = self._scores(label)
        change = np.nan_to_num(pruned - dense)
        return self._by(np.where(change < 0, change, np.nan), label)

    def numbers(self, image: int, label: int | None = None) -> tuple[float, float]:
        """Share of an image's known pixels that the dense and the pruned network get right, or their IoU of a class."""
        dense, pruned = self._scores(label)[:, int(np.flatnonzero(self.images == image)[0])].tolist()
        return dense, pruned

    def _scores(self, label: int | None) -> np.ndarray:
        """(2, N): what images are sorted by."""
        return self.right if label is None else self.iou[:, :, label]

    def _by(self, values: np.ndarray, label: int | None) -> np.ndarray:
        """Numbers of the images by rising value; without those whose value is NaN, and those that lack the class."""
        wanted = np.isfinite(values) & (True if label is None else self.shown[:, label])
        order = np.argsort(values, kind="stable")
        return self.images[order[wanted[order]]]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two (H, W) bool; NaN of nothing."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else float("nan")
