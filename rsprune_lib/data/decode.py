"""From the bytes of an image file to RGB uint8 of the wanted size."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rsprune_lib.data.bands import COLOURS, choose_bands
from rsprune_lib.data.rasters import RasterImage
from rsprune_lib.data.sizes import Size, sides
from rsprune_lib.errors import DataError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

__all__ = [
    "FORMATS",
    "decode",
    "decode_valid",
    "image_sides",
    "is_image",
    "quiet",
    "raster_of",
    "resize",
    "taken_bands",
]

MAX_PIXELS = 80_000_000  # a larger image is a bomb or a whole scene that should be cut into tiles first
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
NO_BANDS = ("1", "P", "CMYK", "LAB")  # TIFF whose bands are no colours yet: Pillow converts them
ORIENTATION, EXTRA_SAMPLES = 0x0112, 0x0152  # tags of TIFF; an extra band of kind 1 is a premultiplied alpha
# First bytes of the formats that are read. None of them names other files or addresses.
FORMATS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "WebP": (b"RIFF",),
}


def is_image(head: bytes) -> bool:
    """Whether a file begins like an image of one of the `FORMATS`."""
    return any(head.startswith(start) for starts in FORMATS.values() for start in starts)


def decode(content: bytes, name: str, size: Size | None = None, bands: str | None = None) -> np.ndarray:
    """Decode one image file.

    Grey becomes RGB; an image comes upright, as its orientation tag says; it is laid over black where it is
    transparent, and black where it holds no data; bands are chosen by `rsprune_lib.data.bands`; 16-bit and
    floating-point images are stretched from their 1st to their 99th percentile (all bands together), because their
    range differs from sensor to sensor (one value everywhere has no range: it becomes mid grey). An image that is not
    square does not keep its aspect.

    Args:
        content: the file.
        name: its name, for the error.
        size: pixels a side of the result, or (height, width); None keeps the image's own size.
        bands: which to take, as `parse_bands` returns it; None: the usual ones.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    rgb, _ = decode_valid(content, name, bands)
    return resize(rgb, size) if size is not None else rgb


def decode_valid(content: bytes, name: str, bands: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode one image file as `decode` does, at its own size.

    Returns:
        (H, W, 3) uint8 RGB; and (H, W) bool, False where a raster holds no data, or None where it holds data
        everywhere.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        rgb, valid = _read(content, bands)
    except Exception as error:  # the decoders raise many kinds; the file's name is what helps
        raise DataError(f"Cannot read the image {name} ({_reason(error)}); repair or remove it.") from error
    return rgb, None if valid is None or valid.all() else valid


def resize(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Resize (H, W, 3) uint8 bilinearly with antialiasing, or a mask (H, W) uint8 to the nearest pixel."""
    height, width = sides(size)
    if pixels.shape[:2] == (height, width):
        return pixels
    how = Image.Resampling.BILINEAR if pixels.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), how))


def image_sides(content: bytes, name: str) -> tuple[int, int]:
    """Width and height in pixels of the upright image, from the header.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        try:
            with Image.open(io.BytesIO(content)) as image:
                turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow turns TIFF itself
                return image.size[::-1] if turned else image.size
        except Image.UnidentifiedImageError:
            with raster_of(content) as raster:
                return raster.width, raster.height
    except Exception as error:
        raise DataError(f"Cannot read the image {name}; repair or remove it.") from error


def taken_bands(content: bytes, name: str, bands: str | None = None) -> str | None:
    """Say which bands of an image file are taken, where that is a choice; None where it is not, or not an image.

    Raises:
        DataError: naming the file, if it lacks a wanted band.
    """
    names, colours = COLOURS, COLOURS
    try:
        with suppress(Image.UnidentifiedImageError), Image.open(io.BytesIO(content)) as image:
            if not _needs_raster(image):
                content = b""
        if content:
            with raster_of(content) as raster:
                names, colours = raster.descriptions, [colour.name for colour in raster.colorinterp]
        elif not bands:
            return None
    except Exception:  # decoding names the file
        return None
    try:
        return choose_bands(names, colours, bands)[1]
    except ValueError as error:
        raise DataError(f"Of the image {name}: {error}; choose the bands (--bands) by what the files have.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Context without the warnings of the decoders: what of them matters to the user is said here in own words."""
    loggers = [logging.getLogger(name) for name in ("PIL", "rasterio")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(action="ignore"):
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _reason(error: Exception) -> str:
    """Why an image cannot be read, without the names of objects in memory."""
    text = str(error).split(" <_io")[0].split("'/vsimem")[0].strip()
    return "damaged, or no image" if "cannot identify" in text else text or type(error).__name__


def _read(content: bytes, bands: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    orientation, multiplied = 1, False
    try:
        with Image.open(io.BytesIO(content)) as image:
            _bound(*image.size)
            if not _needs_raster(image):
                rgb = np.asarray(_flatten(image))
                rgb = rgb if image.format == "TIFF" else _upright(rgb, _orientation(image))  # Pillow turns TIFF itself
                return _pick(rgb, bands), None
            orientation = _orientation(image)
            multiplied = image.format == "TIFF" and 1 in image.tag_v2.get(EXTRA_SAMPLES, ())
    except Image.UnidentifiedImageError:
        if content[:2] not in (b"II", b"MM"):
            raise
    rgb, valid = _read_raster(content, bands, multiplied)
    return _upright(rgb, orientation), _upright(valid, orientation)


def _bound(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}; cut it into tiles")


def _orientation(image: Image.Image) -> int:
    """The orientation tag of TIFF and Exif, 1 (upright) to 8."""
    if image.format == "PNG" and image.tile and "exif" not in image.info:
        return 1  # looking for a tag behind the pixels would decode them
    try:
        value = image.tag_v2.get(ORIENTATION, 1) if image.format == "TIFF" else image.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged tag is none
        return 1
    return value if value in range(1, 9) else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an orientation of 1 to 8 on (H, W, 3) or (H, W)."""
    if orientation >= 5:  # stored with rows and columns exchanged
        pixels = pixels.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    across = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


def _pick(rgb: np.ndarray, bands: str | None) -> np.ndarray:
    """Choose bands of an image that Pillow has brought to RGB."""
    if not bands:
        return rgb
    chosen = [i - 1 for i in choose_bands(COLOURS, COLOURS, bands)[0]]
    return np.ascontiguousarray(rgb[..., chosen * 3 if len(chosen) == 1 else chosen])


def _needs_raster(image: Image.Image) -> bool:
    """True for TIFF (bands, bit depth) and for more than 8 bits, which Pillow would cut off."""
    tiff = image.format == "TIFF" and image.mode not in NO_BANDS
    deep = image.mode not in EIGHT_BIT or any("16" in str(tile[3]) for tile in image.tile) or _bits(image) > 8
    return tiff or (deep and image.format in ("TIFF", "PNG", "PPM", "JPEG2000"))


def _bits(image: Image.Image) -> int:
    """Bits a channel that the header of a JPEG 2000 image states, which Pillow cuts to 8 without a word; else 8."""
    if image.format != "JPEG2000":
        return 8
    image.fp.seek(0)
    head = image.fp.read(1 << 16)
    start = head.find(b"\xff\x4f\xff\x51")  # of the codestream; 42 bytes on stands the depth of the first channel
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def _flatten(image: Image.Image) -> Image.Image:
    """RGB on black."""
    if image.mode == "RGB" and not image.has_transparency_data:
        image.load()
        return image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")


@contextmanager
def raster_of(content: bytes) -> "Iterator[DatasetReader]":
    """Opens a raster in memory, for the time of the block."""
    from rasterio.io import MemoryFile  # a third of a second

    with MemoryFile(content) as memory, memory.open() as raster:
        yield raster


def _read_raster(content: bytes, wanted: str | None, multiplied: bool) -> tuple[np.ndarray, np.ndarray]:
    """RGB of any raster, and where it holds data; ``multiplied``: the colours were multiplied by the alpha already."""
    with raster_of(content) as raster:
        _bound(raster.width, raster.height)
        return RasterImage(raster, wanted, multiplied).rgb()
