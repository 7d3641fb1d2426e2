"""What a confusion matrix of pixels says: IoU, F1 and accuracy of each class, their means, and a mean's interval.

Rows are the true classes, columns the answers. Published tables leave classes out (clutter) in two ways, which give
different numbers; both are here by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rsprune_lib.errors import RspruneError, unknown

__all__ = [
    "EXCLUDE",
    "ClassNumbers",
    "class_numbers",
    "mean",
    "resampled_classes",
    "resampled_gain",
    "resampled_miou",
]

EXCLUDE = {
    "truth": "pixels of the class count nowhere, answers of it elsewhere stay errors",
    "rowcol": "row and column are deleted: other pixels that were taken for the class vanish, too (published tables)",
}
_RESAMPLES = 400  # of the images, for an interval of mIoU


@dataclass(frozen=True)
class ClassNumbers:
    """Numbers of each class and of all pixels, in [0, 1]; NaN for what does not occur or was left out.

    Attributes:
        oa: overall accuracy, the share of right pixels.
        iou: (K,) intersection over union; NaN for a class neither in the truth nor in the answers.
        f1: (K,) Dice coefficient, likewise.
        accuracy: (K,) share of the class's own pixels that are right; NaN for a class that is not in the truth.
    """

    oa: float
    iou: np.ndarray
    f1: np.ndarray
    accuracy: np.ndarray

    def means(self, rare: Iterable[int] = ()) -> dict[str, float]:
        """Means by name: mIoU, mF1, OA, with rare classes their mIoU, and the least IoU of a class of the truth.

        Args:
            rare: numbers of the rare classes.
        """
        found = {"mIoU": mean(self.iou), "mF1": mean(self.f1), "OA": self.oa}
        if rare := list(rare):
            found["minority mIoU"] = mean(self.iou[rare])
        there = self.iou[np.isfinite(self.accuracy)]
        return found | {"worst class": float(there.min()) if len(there) else math.nan}


def class_numbers(confusion: np.ndarray, leave_out: Iterable[int] = (), exclude: str = "truth") -> ClassNumbers:
    """Numbers of one confusion matrix.

    Args:
        confusion: (K, K) pixels, rows the true class, columns the answer.
        leave_out: classes that shall have no number.
        exclude: how they are left out, see `EXCLUDE`.

    Raises:
        RspruneError: an unknown way, or no such class.
    """
    confusion, left = np.array(confusion, np.float64), list(leave_out)
    if exclude not in EXCLUDE:
        raise unknown("way to leave classes out", exclude, EXCLUDE)
    if strange := [number for number in left if not 0 <= number < len(confusion)]:
        raise RspruneError(f"Got class {strange[0]} to leave out; expected numbers from 0 to {len(confusion) - 1}.")
    confusion[left] = 0
    if exclude == "rowcol":
        confusion[:, left] = 0
    iou, f1 = _overlaps(confusion)
    iou[left] = f1[left] = math.nan
    right, pixels = confusion.diagonal(), confusion.sum()
    oa = float(right.sum() / pixels) if pixels else math.nan
    return ClassNumbers(oa, iou, f1, _shares(right, confusion.sum(1)))


def mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def resampled_miou(each: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of mIoU over images drawn with replacement; always around the value itself.

    Args:
        each: (N, K, K) confusion counts of each image.
    """
    value = mean(_overlaps(each.sum(0))[0])
    if math.isnan(value):
        return math.nan, math.nan
    low, high = np.nanquantile(_means(_drawn(each)), (0.025, 0.975))
    return min(float(low), value), max(float(high), value)


def resampled_classes(each: np.ndarray) -> np.ndarray:
    """95 % percentile interval of the IoU of each class, (K, 2), as in `resampled_miou`; NaN where it has no IoU."""
    value, iou = _overlaps(each.sum(0))[0], _drawn(each)
    ends = np.full((len(value), 2), np.nan)
    there = np.isfinite(value)
    low, high = np.nanquantile(iou[:, there], (0.025, 0.975), axis=0)
    ends[there] = np.stack([np.minimum(low, value[there]), np.maximum(high, value[there])], axis=1)
    return ends


def resampled_gain(first: np.ndarray, second: np.ndarray, classes: Iterable[int]) -> tuple[float, float, float]:
    """How much larger the mean IoU of some classes is for the second of two networks, with its 95 % interval.

    Both are judged on the same images, and each draw takes the same images for both.

    Args:
        first: (N, K, K) confusion counts of each image, of one network.
        second: of the other network.
        classes: numbers of the classes.

    Returns:
        Gain, lower and upper end.
    """
    classes = list(classes)
    value = mean(_overlaps(second.sum(0))[0][classes]) - mean(_overlaps(first.sum(0))[0][classes])
    gains = _means(_drawn(second)[:, classes]) - _means(_drawn(first)[:, classes])
    low, high = np.nanquantile(gains, (0.025, 0.975))
    return value, min(float(low), value), max(float(high), value)


def _drawn(each: np.ndarray) -> np.ndarray:
    """IoU of each class, (R, K), for R times as many images drawn with replacement; the same draws for the same N."""
    draws = np.random.default_rng(0).multinomial(len(each), np.full(len(each), 1 / len(each)), _RESAMPLES)  # (R, N)
    return _overlaps((draws @ each.reshape(len(each), -1)).reshape(_RESAMPLES, *each.shape[1:]))[0]


def _means(iou: np.ndarray) -> np.ndarray:
    """Mean of each row without NaN; NaN where only unknown pixels were drawn."""
    return _shares(np.nansum(iou, axis=1), np.isfinite(iou).sum(1))


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _overlaps(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU and F1 of each class, (..., K), of confusion counts (..., K, K)."""
    both = np.diagonal(confusion, axis1=-2, axis2=-1)
    either = confusion.sum(-1) + confusion.sum(-2)
    return _shares(both, either - both), _shares(2 * both, either)
