"""Scenes: rasters of any size read row by row, plain images, and maps of classes written back beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rsprune_lib.data.bands import parse_bands
from rsprune_lib.data.decode import FORMATS, MAX_PIXELS, decode, is_image, quiet
from rsprune_lib.data.rasters import RasterImage
from rsprune_lib.errors import DataError, RspruneError

if TYPE_CHECKING:
    from rasterio.windows import Window

__all__ = ["MAPS", "Scene", "open_raster", "open_scene", "room_for", "write_geotiff", "write_png"]

MAPS = (".tif", ".tiff", ".png")  # what a map of classes is written as
_DRIVERS = {  # by first bytes; none of them follows names of other files or addresses
    **dict.fromkeys(FORMATS["TIFF"], "GTiff"), **dict.fromkeys(FORMATS["PNG"], "PNG"),
    b"\x00\x00\x00\x0cjP  ": "JP2OpenJPEG", b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}  # fmt: skip
_BLOCK = 512


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
            raise DataError(f"Cannot take RGB of the scene {path} ({_words(error)}); choose --bands.") from error
        try:
            image.look()
        except Exception as error:  # GDAL raises many kinds
            raise DataError(f"Cannot read the scene {path} ({_words(error)}); it is damaged: copy it again.") from error
        yield Scene(path, raster.shape, _reader(path, image), _place(raster), raster.nodata, image.note)


def _head(path: Path) -> bytes:
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
            raise DataError(f"Cannot read the raster {path} ({_words(error)}); make it again.") from error
        yield raster


def _reader(path: Path, image: RasterImage) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    from rasterio.windows import Window

    def read(top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            return image.rgb(Window(0, top, image.raster.width, bottom - top))
        except Exception as error:  # GDAL raises many kinds
            raise DataError(
                f"Cannot read rows {top:,} to {bottom:,} of the scene {path} ({_words(error)}); a block there is "
                "damaged: copy the file again, or cut that part off."
            ) from error

    return read


def _place(raster: Any) -> dict[str, Any]:  # noqa: ANN401 - rasterio is imported lazily
    points, system = raster.gcps
    if points and raster.crs is None:
        return {"gcps": points, "crs": system}
    return {"crs": raster.crs, "transform": raster.transform}


def _words(error: Exception) -> str:
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


def write_geotiff(
    path: Path,
    size: tuple[int, int],
    bands: int,
    rows: Callable[[int, int], np.ndarray],
    place: Mapping[str, Any],
    *,
    nodata: int,
    names: tuple[str, ...],
    palette: tuple[tuple[int, int, int], ...] | None = None,
    scale: float | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes a cloud-optimised GeoTIFF of uint8 and reads it back to see that it is whole.

    Args:
        path: where; a plain GeoTIFF stands beside it meanwhile.
        size: (height, width).
        bands: how many.
        rows: from first and last row (exclusive) to values (bands, rows, W).
        place: `Scene.place`.
        nodata: the value for no data.
        names: of the bands.
        palette: colours of the values 0, 1, ... of a single band.
        scale: what a step of the values stands for.
        tags: texts to keep in the file.

    Raises:
        RspruneError: it could not be written.
    """
    import rasterio
    from rasterio import shutil as raster_files

    plain, (H, W) = path.with_name(f"plain-{path.name}"), size
    tiles = {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    kind = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": H, "width": W, "nodata": nodata}
    cloud = {"compress": "deflate", "blocksize": _BLOCK, "overview_resampling": "nearest", "bigtiff": "if_safer"}
    try:
        with quiet(), rasterio.Env(GDAL_CACHEMAX=128):
            with rasterio.open(plain, "w", **kind, **tiles, **place) as made:
                if palette is not None:
                    made.write_colormap(1, {i: (*colour, 255) for i, colour in enumerate(palette)} | {nodata: (0,) * 4})
                made.descriptions = names
                made.update_tags(**(tags or {}))
                if scale is not None:
                    made.scales = (scale,) * bands
                for window, values in _blocks(size, rows):
                    made.write(values, window=window)
            raster_files.copy(plain, path, driver="COG", **cloud)
            with rasterio.open(path) as made:
                for window, values in _blocks(size, rows):
                    if not np.array_equal(made.read(window=window), values):
                        raise OSError(f"row {window.row_off} and below are not what was written")
    except Exception as error:  # GDAL raises many kinds, and tells a full disk in words only
        raise RspruneError(
            f"Cannot write the map in {path.parent.parent} ({_words(error)}); make room there ("
            f"{shutil.disk_usage(path.parent).free / 1e6:,.0f} MB are free), and go on with --resume."
        ) from error
    finally:
        plain.unlink(missing_ok=True)


def _blocks(size: tuple[int, int], rows: Callable[[int, int], np.ndarray]) -> Iterator[tuple[Window, np.ndarray]]:
    """The rows of a map, a block at a time, and where they belong."""
    from rasterio.windows import Window

    for top in range(0, size[0], _BLOCK):
        values = rows(top, min(top + _BLOCK, size[0]))
        yield Window(0, top, size[1], values.shape[1]), values


def write_png(path: Path, classes: np.ndarray, nodata: int, palette: tuple[tuple[int, int, int], ...]) -> None:
    """Writes a map of classes (H, W) uint8 as a PNG with its palette; no data is transparent.

    Raises:
        RspruneError: it is too large for a PNG.
    """
    if classes.size > MAX_PIXELS:
        raise RspruneError(f"A PNG holds at most {MAX_PIXELS / 1e6:.0f} megapixels here; write a .tif.")
    image = Image.fromarray(classes, mode="P")
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    image.putpalette(colours.tobytes())
    image.save(path, "PNG", transparency=nodata)
