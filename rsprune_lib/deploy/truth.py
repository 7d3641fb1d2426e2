"""A map of classes beside its label raster: one confusion matrix of the whole scene, so that no pixel counts twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsprune_lib.confusion import class_numbers
from rsprune_lib.deploy.scenes import error_words, open_raster
from rsprune_lib.errors import DataError
from rsprune_lib.tasks import Quality

if TYPE_CHECKING:
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

__all__ = ["check_labels", "compare_maps"]

_UNKNOWN = 255
_ROWS = 1024


def check_labels(
    truth: str | Path, size: tuple[int, int], classes: Sequence[str], palette: Sequence[tuple[int, int, int]]
) -> None:
    """Checks that labels have the size of a scene and hold classes, before anything is computed.

    Raises:
        DataError: they have not, or cannot be read.
    """
    with open_raster(Path(truth)) as labels:
        if any(dtype.startswith("complex") for dtype in labels.dtypes):
            raise DataError(f"The labels {truth} are complex numbers; give class numbers, or the palette's colours.")
        if labels.shape != tuple(size):
            raise DataError(
                f"The labels {truth} have {labels.shape[0]} x {labels.shape[1]} pixels, the scene has {size[0]} x "
                f"{size[1]}; give the labels of this scene."
            )
        for window in _windows(labels.shape):
            _labels(labels, window, len(classes), palette, truth)


def compare_maps(
    made: str | Path,
    truth: str | Path,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    rare: Sequence[int] = (),
) -> tuple[Quality, int]:
    """Quality of a map of classes on the stitched scene.

    Args:
        made: the map, as `segment_scene` writes it.
        truth: labels of the same size: one band of class numbers, 255 or its nodata where unknown; or three bands of
            the palette's colours, another colour where unknown.
        classes: names of the K classes.
        palette: K colours.
        rare: numbers of the rare classes.

    Returns:
        The quality (without an interval: a scene is one image), and the pixels of other colours, which count nowhere.

    Raises:
        DataError: sizes differ, or the labels hold numbers that are no class.
    """
    with open_raster(Path(made)) as ours:
        check_labels(truth, ours.shape, classes, palette)
    confusion, other, K = np.zeros((len(classes), len(classes)), np.int64), 0, len(classes)
    with open_raster(Path(made)) as ours, open_raster(Path(truth)) as labels:
        for window in _windows(ours.shape):
            answer = ours.read(1, window=window)
            right, strange = _labels(labels, window, K, palette, truth)
            other += strange
            known = (right < K) & (answer < K)
            cells = right[known].astype(np.int64) * K + answer[known]
            confusion += np.bincount(cells, minlength=K * K).reshape(K, K)
    found = class_numbers(confusion)
    quality = Quality(
        accuracy=found.oa, ci=(math.nan, math.nan), per_class=tuple(found.iou.tolist()), ece=math.nan, nll=math.nan,
        n=1, confusion=confusion, metric="mIoU", metrics=found.means(rare),
    )  # fmt: skip
    return quality, other


def _windows(size: tuple[int, int]) -> Iterator[Window]:
    from rasterio.windows import Window

    for top in range(0, size[0], _ROWS):
        yield Window(0, top, size[1], min(_ROWS, size[0] - top))


def _labels(
    labels: DatasetReader, window: Window, K: int, palette: Sequence[tuple[int, int, int]], name: str | Path
) -> tuple[np.ndarray, int]:
    """Class numbers (rows, W) uint8, 255 where unknown, and how many pixels have a colour that is no class."""
    if labels.count >= 3:
        values = _read(labels, (1, 2, 3), window, name).astype(np.int64)
        packed = (values[0] << 16) | (values[1] << 8) | values[2]
        found = np.full(packed.shape, _UNKNOWN, np.uint8)
        for number, (red, green, blue) in enumerate(palette):
            found[packed == (red << 16 | green << 8 | blue)] = number
        return found, int((found == _UNKNOWN).sum())
    values = _read(labels, 1, window, name)
    unknown = (values == _UNKNOWN) | (labels.read_masks(1, window=window) == 0)
    wrong = ~unknown & ~((values >= 0) & (values < K) & (values == np.rint(values)))
    if wrong.any():
        strange, counts = np.unique(values[wrong], return_counts=True)
        told = ", ".join(f"{value:g} ({count:,} pixels)" for value, count in zip(strange[:8], counts, strict=False))
        raise DataError(
            f"The labels {name} hold {told}; expected class numbers from 0 to {K - 1}, and 255 or nodata where unknown."
        )
    return np.where(unknown, _UNKNOWN, values).astype(np.uint8), 0


def _read(labels: DatasetReader, bands: int | tuple[int, ...], window: Window, name: str | Path) -> np.ndarray:
    try:
        return labels.read(bands, window=window)
    except Exception as error:  # GDAL raises many kinds
        raise DataError(f"Cannot read the labels {name} ({error_words(error)}); copy the file again.") from error
