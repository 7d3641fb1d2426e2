"""Windows of one size, cut from images of many sizes so that every labelled pixel counts once."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from rsprune_lib.data.sizes import Size, sides

__all__ = ["cut", "places"]


def places(height: int, width: int, window: Size) -> list[tuple[int, int]]:
    """(top, left) of the windows that cover an image.

    The last window of a row or column is moved inwards, so that it shows the image and no border; an image smaller than
    the window has one place, at its corner.
    """
    rows, columns = (_starts(*lengths) for lengths in zip((height, width), sides(window), strict=True))
    return [(top, left) for (top, _), (left, _) in product(rows, columns)]


def _starts(length: int, window: int) -> list[tuple[int, int]]:
    """Where the windows along one side start, and how many of their pixels an earlier one holds already."""
    nominal = range(0, length, window)
    starts = [max(0, min(start, length - window)) for start in nominal]
    return [(start, wanted - start) for start, wanted in zip(starts, nominal, strict=True)]


def cut(pixels: np.ndarray, window: Size, unknown: int | None = None) -> Iterator[np.ndarray]:
    """Yield the windows at `places`; what an image smaller than the window lacks is 0.

    Args:
        pixels: (H, W, 3) image or (H, W) mask, uint8.
        window: of the result.
        unknown: of a mask: the number of pixels without a class. It fills what is lacking, and the pixels that an
            earlier window holds already: no pixel counts twice.
    """
    H, W = sides(window)
    rows, columns = (_starts(*lengths) for lengths in zip(pixels.shape[:2], (H, W), strict=True))
    for (top, above), (left, before) in product(rows, columns):
        part = pixels[top : top + H, left : left + W]
        made = np.full((H, W, *pixels.shape[2:]), unknown or 0, pixels.dtype)
        made[: part.shape[0], : part.shape[1]] = part
        if unknown is not None:
            made[:above] = unknown
            made[:, :before] = unknown
        yield made
