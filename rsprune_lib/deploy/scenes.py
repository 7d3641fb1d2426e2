"""Scenes: rasters of any size read row by row, and plain images."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsprune_lib.data.bands import parse_bands
from rsprune_lib.data.decode import FORMATS, decode, is_image, quiet
from rsprune_lib.data.rasters import RasterImage
from rsprune_lib.errors import DataError, RspruneError

if TYPE_CHECKING:
    pass

__all__ = ["Scene", "available", "error_words", "open_raster", "open_scene", "room_for"]

_DRIVERS = {  # by first bytes; none of them follows names of other files or addresses
    **dict.fromkeys(FORMATS["TIFF"], "GTiff"), **dict.fromkeys(FORMATS["PNG"], "PNG"),
    b"\x00\x00\x00\x0cjP  ": "JP2OpenJPEG", b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """An open scene.

    Attributes:
        path: of the file.
        size: (height, width).
        read: from first and last row (exclusive) to pixels (rows, W, 3) uint8 and which hold data (rows, W).
        place: where it lies, as rasterio takes it: ``crs``, ``transform``, or ``gcps``; empty for a plain image.
        nodata: the value that stands for no data in the file; None if there is none.
        note: which bands were taken, where that is a choice.
    """

    path: Path
    size: tuple[int, int]
    read: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
    place: Mapping[str, Any] = field(default_factory=dict)
    nodata: float | None = None
    note: str | None = None


@contextmanager
def open_scene(path: str | Path, bands: str | None = None) -> Iterator[Scene]:
    """Opens a scene: a TIFF or JPEG 2000 of any size, or a plain image of at most 80 megapixels.

    Args:
        path: the file.
        bands: which are red, green and blue, see `rsprune_lib.data.bands`.

    Raises:
        DataError: it is no image, lacks a band, or cannot be read.
    """
    path, bands = Path(path), parse_bands(bands)
    head = _head(path)
    if _driver(head) not in ("GTiff", "JP2OpenJPEG"):
        if not is_image(head):
            raise DataError(f"{path} is no image of a known format; give a GeoTIFF, PNG or JPEG.")
        pixels = decode(path.read_bytes(), str(path), bands=bands)
        whole = np.ones(pixels.shape[:2], bool)
        yield Scene(path, pixels.shape[:2], lambda top, bottom: (pixels[top:bottom], whole[top:bottom]))
        return
    with open_raster(path) as raster:
        try:
            image = RasterImage(raster, bands)
        except ValueError as error:
            raise DataError(f"Cannot take RGB of the scene {path} ({error_words(error)}); choose --bands.") from error
        try:
            image.look()
        except Exception as error:  # GDAL raises many kinds
            raise DataError(f"Cannot read the scene {path} ({error_words(error)}); copy it again.") from error
        yield Scene(path, raster.shape, _reader(path, image), _place(raster), raster.nodata, image.note)


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would wait for ever
        raise DataError(f"{path} is no file; give a GeoTIFF, PNG or JPEG.")
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror}); check the path.") from None


def _driver(head: bytes) -> str | None:
    return next((driver for start, driver in _DRIVERS.items() if head.startswith(start)), None)


@contextmanager
def open_raster(path: Path) -> Iterator[Any]:
    """Opens a TIFF, PNG or JPEG 2000 with little memory for its blocks.

    Raises:
        DataError: it cannot be opened.
    """
    import rasterio

    driver = _driver(_head(path))
    if driver is None:
        raise DataError(f"{path} is no raster of a known format; give a GeoTIFF or PNG.")
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=128))  # MB; GDAL takes 5 % of the machine by itself
        try:
            raster = stack.enter_context(rasterio.open(path, driver=driver))
        except rasterio.errors.RasterioError as error:
            raise DataError(f"Cannot read the raster {path} ({error_words(error)}); make it again.") from error
        yield raster


def _reader(path: Path, image: RasterImage) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    from rasterio.windows import Window

    def read(top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            return image.rgb(Window(0, top, image.raster.width, bottom - top))
        except Exception as error:  # GDAL raises many kinds
            raise DataError(
                f"Cannot read rows {top:,} to {bottom:,} of the scene {path} ({error_words(error)}); a block there is "
                "damaged: copy the file again, or cut that part off."
            ) from error

    return read


def _place(raster: Any) -> dict[str, Any]:  # noqa: ANN401 - rasterio is imported lazily
    points, system = raster.gcps
    if points and raster.crs is None:
        return {"gcps": points, "crs": system}
    return {"crs": raster.crs, "transform": raster.transform}


def error_words(error: Exception) -> str:
    """What GDAL says, without names of its own memory files."""
    return str(error).split("'/vsi")[0].strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def room_for(folder: Path, needed: int, what: str) -> None:
    """Checks that a disk has room.

    Raises:
        RspruneError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RspruneError(
            f"{what} needs about {needed / 1e6:,.0f} MB in {folder}, but only {free / 1e6:,.0f} MB are free; make room "
            "there, or write to another disk."
        )


def available() -> int | None:
    """Bytes of memory that are free for work; None where the system does not say."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return found and int(found[1]) * 1024
