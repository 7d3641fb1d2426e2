"""From the bytes of an image file to RGB uint8 of the wanted size."""

import io
import warnings

import numpy as np
from PIL import Image

from rsprune_lib.errors import DataError

__all__ = ["decode"]

MAX_PIXELS = 100_000_000


def decode(content: bytes, name: str, size: int | None = None) -> np.ndarray:
    """Decode one image.

    Args:
        content: the file.
        name: its name, for the error.
        size: pixels a side of the result; None keeps the image's own size.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels")
            rgb = image.convert("RGB")
    except Exception as error:
        raise DataError(f"Cannot read the image {name} ({error}); repair or remove it.") from error
    if size is not None and rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(rgb)
