"""Networks judged class by class on the same images with masks: means, intervals, and who is ahead of whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from rsprune_lib.colours import mistakes, painted, signed
from rsprune_lib.course.show import Table
from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.measure import class_numbers, predict, resampled_classes, resampled_gain
from rsprune_lib.plots import Picture, class_iou

__all__ = ["ClassOrder", "Gain", "Judged", "mask_row"]


@dataclass(frozen=True)
class ClassOrder:
    """The classes of a data set with masks, the most frequent in the training part first.

    Attributes:
        numbers: K class numbers.
        names: K names.
        rare: places of the rare classes in this order.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    rare: tuple[int, ...]

    @classmethod
    def of(cls, data: Dataset) -> ClassOrder:
        """The order of a data set.

        Raises:
            RspruneError: it has no masks.
        """
        if data.masks is None:
            raise RspruneError(f"{data.title} has one label an image; give a data set with masks.")
        numbers = tuple(int(n) for n in np.argsort(-data.class_pixels("train"), kind="stable"))
        names = tuple(data.classes[n] for n in numbers)
        return cls(numbers, names, tuple(numbers.index(n) for n in data.rare))


@dataclass(frozen=True)
class Gain:
    """How far a network is ahead of another one on rare classes, in points of IoU, with a 95 % interval."""

    points: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def span(self) -> str:
        """Points and interval."""
        return signed(self.points) + f" ({signed(self.low)} to {signed(self.high)})"

    def __str__(self) -> str:
        return f"{self.span} points, {'more' if self.clear else 'not more'} than chance"


class Judged:
    """Confusion counts of networks on the same images.

    Args:
        batches: images with masks of a data set.

    Attributes:
        each: name -> (N, K, K) counts of each image.
        order: the classes, the most frequent first.

    Example:
        >>> judged = Judged(val)  # doctest: +SKIP
        >>> judged.add("dense", model)["mIoU"]  # doctest: +SKIP
    """

    def __init__(self, batches: Batches) -> None:
        self.batches, self.data = batches, batches.data
        self.order, self.each = ClassOrder.of(batches.data), {}

    def add(self, name: str, network: nn.Module) -> dict[str, float]:
        """Runs a network over the images and returns its means, see `rsprune_lib.measure.ClassNumbers.means`."""
        K = self.data.num_classes
        self.each[name] = predict(network, self.batches, progress=False)[0][:, :-1].reshape(-1, K, K).numpy()
        return self.means(name)

    def means(self, name: str) -> dict[str, float]:
        """Means of a network that was added: mIoU, minority mIoU, worst class, ..."""
        return class_numbers(self._counts(name).sum(0)).means(self.data.rare)

    def iou(self, name: str) -> np.ndarray:
        """IoU of each class, (K,), the most frequent first."""
        return class_numbers(self._counts(name).sum(0)).iou[list(self.order.numbers)]

    def gain(self, second: str, over: str) -> Gain:
        """How far a network is ahead of another one on the rare classes."""
        gain = resampled_gain(self._counts(over), self._counts(second), self.data.rare)
        return Gain(*(100 * value for value in gain))

    def table(self, names: Iterable[str] | None = None, base: str = "dense") -> Table:
        """MIoU, rare classes and the worst class of networks, and how far each is ahead of a base on rare classes."""
        rows = []
        for name in names or self.each:
            means, gain = self.means(name), self.gain(name, base)
            shown = [f"{means[key]:.1%}" for key in ("mIoU", "minority mIoU", "worst class")]
            rows.append(
                (name, *shown, "" if name == base else f"{gain.points:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})")
            )
        heads = ["network", "mIoU", "rare classes", "worst class", f"rare classes, points to {base} (95 %)"]
        return Table(heads, rows, note=f"{self.data.title}, the same {self.batches.size} images")

    def figure(self, names: Mapping[str, str], title: str = "") -> Picture:
        """IoU of each class with 95 % intervals.

        Args:
            names: what a network is called in the figure -> name that it was added under.
            title: title of the figure.
        """
        values = {shown: self.iou(name) for shown, name in names.items()}
        spans = {s: resampled_classes(self._counts(n))[list(self.order.numbers)] for s, n in names.items()}
        how = {"rare": self.order.rare, "title": title, "synthetic": self.data.synthetic}
        return class_iou(self.order.names, values, ranges=spans, **how)

    def _counts(self, name: str) -> np.ndarray:
        if name not in self.each:
            raise unknown("network that was judged", name, self.each)
        return self.each[name]


def mask_row(data: Dataset, number: int, answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pictures of one image for `rsprune_lib.plots.mask_grid`: itself, its true mask, answers, the last one's mistakes.

    Args:
        data: a data set with masks.
        number: of the image.
        answers: name -> (H, W) class numbers.

    Returns:
        Name -> (H, W, 3) uint8.
    """
    image, truth = data.images[number], data.masks[number]
    row = {"image": image} | {n: painted(mask, data.palette) for n, mask in {"truth": truth, **answers}.items()}
    if not answers:
        return row
    last = list(answers)[-1]
    return row | {f"mistakes of {last}": mistakes(image, answers[last], truth, data.num_classes)}
