"""From the bytes of an image file to RGB uint8 of the wanted size."""

import io
import warnings

import numpy as np
from PIL import Image

from rsprune_lib.errors import DataError

__all__ = ["decode", "image_sides", "quiet", "resize"]

MAX_PIXELS = 80_000_000  # a larger image is a bomb or a whole scene that should be cut into tiles first
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


def decode(content: bytes, name: str, size: int | None = None) -> np.ndarray:
    """Decode one image file.

    Grey becomes RGB; transparent pixels become black; of TIFF files with more than three bands the first three are
    taken; 16-bit and floating-point images are stretched from their 1st to their 99th percentile (all bands together),
    because their range differs from sensor to sensor. An image that is not square does not keep its aspect.

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
        rgb = _read(content)
    except Exception as error:  # the decoders raise many kinds; the file's name is what helps
        reason = str(error).split(" <_io")[0].split("'/vsimem")[0].strip() or type(error).__name__
        raise DataError(f"Cannot read the image {name} ({reason}); repair or remove it.") from error
    return resize(rgb, size) if size is not None else rgb


def resize(rgb: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (size, size, 3), bilinear with antialiasing."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((size, size), Image.Resampling.BILINEAR))


def image_sides(content: bytes, name: str) -> tuple[int, int]:
    """Width and height in pixels, from the header.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        try:
            with Image.open(io.BytesIO(content)) as image:
                return image.size
        except Image.UnidentifiedImageError:
            from rasterio.io import MemoryFile

            with MemoryFile(content) as memory, memory.open() as raster:
                return raster.width, raster.height
    except Exception as error:
        raise DataError(f"Cannot read the image {name}; repair or remove it.") from error


def quiet() -> warnings.catch_warnings:
    """Context without the warnings on missing georeferences and large images (their size is bounded here)."""
    from rasterio.errors import NotGeoreferencedWarning  # a third of a second: only who decodes files waits

    context = warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
    return context


def _read(content: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            _bound(*image.size)
            if not _needs_raster(image):
                return np.asarray(_flatten(image))
    except Image.UnidentifiedImageError:
        if content[:2] not in (b"II", b"MM"):
            raise
    return _read_raster(content)


def _bound(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}; cut it into tiles")


def _needs_raster(image: Image.Image) -> bool:
    """True for TIFF (bands, bit depth) and for more than 8 bits, which Pillow would cut off."""
    tiff = image.format == "TIFF" and image.mode not in ("1", "P")
    deep = image.mode not in EIGHT_BIT or any("16" in str(tile[3]) for tile in image.tile)
    return tiff or (deep and image.format in ("TIFF", "PNG", "PPM", "JPEG2000"))


def _flatten(image: Image.Image) -> Image.Image:
    """RGB on black."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _read_raster(content: bytes) -> np.ndarray:
    from rasterio.io import MemoryFile

    with MemoryFile(content) as memory, memory.open() as raster:
        _bound(raster.width, raster.height)
        bands = raster.read([1, 2, 3] if raster.count >= 3 else [1])  # (3 or 1, H, W)
        valid = raster.dataset_mask() > 0
    if bands.dtype != np.uint8:
        bands = _stretch(bands.astype(np.float32), valid)
    bands = np.where(valid, bands, 0).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(bands, (3, *bands.shape[1:])).transpose(1, 2, 0))


def _stretch(bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Map the 1st to 99th percentile of the valid pixels to 0..255."""
    usable = np.isfinite(bands) & valid
    if not usable.any():
        return np.zeros_like(bands)
    low, high = np.percentile(bands[usable], (1, 99))
    scaled = (np.where(usable, bands, low) - low) / max(float(high - low), 1e-6)
    return np.clip(np.rint(255 * scaled), 0, 255)
