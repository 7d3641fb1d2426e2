"""Rasters as RGB of 8 bits, whole or in windows: which bands, what is valid, how deep values are stretched."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rsprune_lib.data.bands import alpha_band, choose_bands

if TYPE_CHECKING:
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

__all__ = ["NODATA", "RasterImage"]

NODATA = -9999  # where a file with signed values does not state its nodata, this and less is taken for it


class RasterImage:
    """An open raster, shown as RGB.

    Args:
        raster: the open file.
        wanted: bands, as `rsprune_lib.data.bands.parse_bands` returns them; None: the usual ones.
        multiplied: whether the colours have been multiplied by the alpha already.

    Attributes:
        note: where the bands are a choice, which were taken.
        limits: values that become 0 and 255 where there are more than 8 bits; None: those of each window by itself.

    Raises:
        ValueError: a wanted band is missing, or values are complex.
    """

    def __init__(self, raster: "DatasetReader", wanted: str | None = None, multiplied: bool = False) -> None:
        colours = [colour.name for colour in raster.colorinterp]
        self.raster, self.limits = raster, None
        self.chosen, self.note = choose_bands(raster.descriptions, colours, wanted)
        if any(raster.dtypes[i - 1].startswith("complex") for i in self.chosen):
            raise ValueError("its values are complex; save their magnitudes")
        place = alpha_band(raster.descriptions, colours)
        self._coloured = "alpha" in colours and place in (None, *self.chosen)  # GDAL's mask is a colour here
        self._alpha = place if place and not multiplied and not self._coloured else None
        self._inverted = raster.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"

    def rgb(self, window: "Window | None" = None) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and whether they hold data: (H, W, 3) uint8, black where they do not, and (H, W) bool."""
        bands, valid = self._read(window)
        if bands.dtype != np.uint8:
            bands = _stretch(bands.astype(np.float32), valid, self.limits or _limits(bands, valid))
        bands = np.where(valid, 255 - bands if self._inverted else bands, 0).astype(np.uint8)
        rgb = np.ascontiguousarray(np.broadcast_to(bands, (3, *bands.shape[1:])).transpose(1, 2, 0))
        if self._alpha is None:
            return rgb, valid.any(0)
        alpha = _opacity(self.raster.read(self._alpha, window=window))
        image = Image.fromarray(np.dstack([rgb, alpha]))
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, image).convert("RGB")), valid.any(0) & (alpha > 0)

    def look(self, most: int = 2048) -> None:
        """Sets the limits of the whole raster, from every n-th pixel so that no side has more than ``most``."""
        if all(self.raster.dtypes[i - 1] == "uint8" for i in self.chosen):
            return
        step = max(1, -(-max(self.raster.shape) // most))
        bands, valid = self._read(None, tuple(-(-side // step) for side in self.raster.shape))
        self.limits = _limits(bands, valid)

    def _read(self, window: "Window | None", shape: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Values of the chosen bands and which are valid, (3 or 1, H, W) each."""
        how = {"window": window, "out_shape": shape and (len(self.chosen), *shape)}
        bands = self.raster.read(self.chosen, **how)
        if self._coloured:
            valid = np.full(bands.shape, True) if self.raster.nodata is None else bands != self.raster.nodata
        else:
            valid = self.raster.read_masks(self.chosen, **how) > 0
        if bands.dtype.kind in "uif" and bands.dtype.itemsize > 1:
            valid &= (bands > NODATA) & (bands < 1e30)
            if bands.dtype.kind == "u":  # zero in every band is what Sentinel-2 and Landsat have around a scene
                valid &= (bands > 0).any(0)
        return bands, valid


def _opacity(alpha: np.ndarray) -> np.ndarray:
    """Alpha (H, W) of any type as uint8."""
    if alpha.dtype == np.uint8:
        return alpha
    return (alpha >> 8).astype(np.uint8) if alpha.dtype == np.uint16 else np.where(alpha > 0, 255, 0).astype(np.uint8)


def _limits(bands: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """1st and 99th percentile of the valid values; the extremes where they are the same; 0 and 0 of none."""
    usable = bands[np.isfinite(bands) & valid].astype(np.float32)
    if not len(usable):
        return 0.0, 0.0
    low, high = np.percentile(usable, (1, 99))
    return (low, high) if low < high else (usable.min(), usable.max())  # fewer than one pixel in a hundred differ


def _stretch(bands: np.ndarray, valid: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Map limits to 0 and 255; one value everywhere is mid grey, zero is black."""
    low, high = limits
    if low == high:
        return np.full_like(bands, 0 if low == 0 else 128)
    scaled = (np.where(np.isfinite(bands) & valid, bands, low) - low) / float(high - low)
    return np.clip(np.rint(255 * scaled), 0, 255)
