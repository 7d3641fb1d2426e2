"""Maps of classes as files: cloud-optimised GeoTIFF or PNG, with a mark by which they are known as ours."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin

from rsprune_lib.data.decode import MAX_PIXELS, quiet
from rsprune_lib.deploy.scenes import error_words, open_raster
from rsprune_lib.errors import DataError, RspruneError

if TYPE_CHECKING:
    from rasterio.windows import Window

__all__ = ["MAPS", "is_map", "write_geotiff", "write_png"]

MAPS = (".tif", ".tiff", ".png")  # what a map of classes is written as
_BLOCK = 512
_MARKS = {"TIFFTAG_SOFTWARE": "rsprune segment", "Software": "rsprune segment"}  # of TIFF and of PNG


def is_map(path: Path) -> bool:
    """Whether a file is a map that we wrote, which may be replaced; by its own mark, not by its name."""
    try:
        with open_raster(path) as raster:
            return any(raster.tags().get(key) == value for key, value in _MARKS.items())
    except DataError:
        return False


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
                made.update_tags(**(tags or {}), TIFFTAG_SOFTWARE=_MARKS["TIFFTAG_SOFTWARE"])
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
            f"Cannot write the map in {path.parent.parent} ({error_words(error)}); make room there ("
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
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", _MARKS["Software"])
    image.save(path, "PNG", transparency=nodata, pnginfo=mark)
