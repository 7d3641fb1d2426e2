"""An image that somebody uploads: checked before a single pixel is decoded, then brought to the data's size."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from PIL import Image

from rsprune_lib.data.decode import FORMATS, decode, image_sides, is_image, quiet
from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.sizes import Size
from rsprune_lib.errors import DataError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "file_name", "read_upload"]

MAX_BYTES = 64_000_000
MAX_PIXELS = 32_000_000  # decoding takes up to 30 bytes a pixel, and a class may share one machine


def read_upload(name: str, content: bytes, size: Size, bands: str | None = None) -> np.ndarray:
    """Decodes an uploaded image file.

    Bytes, format and pixels are checked in this order, all before anything is decoded. An image that is not square does
    not keep its aspect: it is treated as the images of a folder are (see `rsprune_lib.data.decode`).

    Args:
        name: the file's name, for the error only.
        content: the file.
        size: pixels a side of the result, or (height, width): that of the data set's images.
        bands: which bands to take: those of the data set.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: the file is empty, too large, no image of a known format, or broken.
    """
    name, content = file_name(name), bytes(content)
    if not content:
        raise DataError(f"The file {name} is empty; upload an image ({_known()}).")
    if len(content) > MAX_BYTES:
        raise DataError(
            f"The file {name} has {len(content) / 1e6:.0f} MB, but at most {MAX_BYTES / 1e6:.0f} MB are read; cut a "
            "tile out of it, or save it smaller."
        )
    # By first bytes, never by name: Pillow hands PostScript to an interpreter, and GDAL follows the paths and addresses
    # that some of its formats name.
    if not is_image(content):
        raise DataError(f"The file {name} is no image of a known format; upload one of {_known()}.")
    try:
        with quiet():
            _check_pixels(name, content)
            return decode(content, name, size, bands)
    except DataError as error:
        if error.__cause__ is None:
            raise
        raise DataError(f"The file {name} looks like an image but cannot be read; save it anew.") from error


def file_name(name: str) -> str:
    """The name of an uploaded file for a line of text: without folders, every character seen, and not endless."""
    return plain(PurePath(str(name).replace("\\", "/")).name) or "without a name"


def _check_pixels(name: str, content: bytes) -> None:
    """Refuses an image by what its header says."""
    try:
        width, height = image_sides(content, name)
        text = f"{width} x {height} pixels ({width * height / 1e6:.0f} megapixels)"
    except DataError as error:
        if not isinstance(error.__cause__, Image.DecompressionBombError):
            raise
        width, height, text = MAX_PIXELS, 2, "far too many pixels"
    if width * height > MAX_PIXELS:
        raise DataError(
            f"The image {name} has {text}, but at most {MAX_PIXELS / 1e6:.0f} megapixels are decoded; cut a tile out "
            "of it, or save it smaller."
        )


def _known() -> str:
    return ", ".join(FORMATS)
