"""From the bytes of a mask file to class numbers."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from PIL import Image

from rsprune_lib.data.decode import MAX_PIXELS, raster_of
from rsprune_lib.data.leftovers import plain
from rsprune_lib.errors import DataError

__all__ = ["UNKNOWN", "Coding", "counted", "mask_kind", "read_mask"]

UNKNOWN = 255  # in the masks of a data set
MAX_TOLD = 8  # values that stand in no palette
PLAIN = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "I", "I;16", "I;16B")


def read_mask(content: bytes, name: str, colours: bool = False) -> np.ndarray:
    """Decode a mask file without changing a value.

    Args:
        content: the file.
        name: its name, for the error.
        colours: True for RGB as 0xRRGGBB, also of a palette image; False for the numbers of a single band.

    Returns:
        (H, W) int64; -1 where a raster states that it holds no data.

    Raises:
        DataError: naming the file, if it cannot be read or holds no such values.
    """
    try:
        values = _bands(content, colours)
        if values.ndim == 3 and not colours:
            if (values[..., 1:] != values[..., :1]).any():
                raise ValueError("it holds colours, not class numbers; list them in a palette file")
            values = values[..., 0]  # grey, saved as RGB
        if values.ndim == 3:
            red, green, blue = (values[..., i].astype(np.int64) for i in range(3))
            return red << 16 | green << 8 | blue
        if values.dtype.kind == "f" and not (values == np.rint(values)).all():
            raise ValueError("its values are no whole numbers")
        return values.astype(np.int64) * (0x010101 if colours else 1)
    except Exception as error:  # the decoders raise many kinds; the file's name is what helps
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    reason = "damaged, or no image" if "cannot identify" in str(error) else str(error).split("'/vsimem")[0].strip()
    return DataError(f"Cannot read the mask {name} ({reason or type(error).__name__}); repair or remove it.")


def counted(values: np.ndarray) -> Counter:
    """Pixels of each value; runs of equal ones are counted at once, which is many times faster than sorting pixels."""
    flat = values.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    found, run = np.unique(flat[starts], return_inverse=True)
    pixels = np.bincount(run, weights=np.diff(starts, append=flat.size)).astype(np.int64)
    return Counter(dict(zip(found.tolist(), pixels.tolist(), strict=True)))


def mask_kind(content: bytes, name: str) -> str:
    """``"numbers"``, ``"palette"`` (numbers with a colour each) or ``"colours"``: what a mask file holds.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        values = _bands(content, colours=False)
        if values.ndim == 3 and (values[..., 1:] != values[..., :1]).any():
            return "colours"
        return "palette" if values.ndim == 2 and _bands(content, colours=True).ndim == 3 else "numbers"
    except Exception as error:
        raise _unreadable(name, error) from error


def _bands(content: bytes, colours: bool) -> np.ndarray:
    """(H, W) or (H, W, 3) of any number type; a raster's nodata is -1."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; cut it into tiles")
            if image.format != "TIFF" and image.mode in PLAIN:
                if image.mode in ("P", "PA") and colours:
                    return np.asarray(image.convert("RGB"))
                values = np.asarray(image)
                return values[..., 0] if image.mode in ("LA", "PA") else values[..., :3] if values.ndim == 3 else values
    except Image.UnidentifiedImageError:
        if content[:2] not in (b"II", b"MM"):
            raise
    with raster_of(content) as raster:
        if raster.count >= 3:
            return raster.read((1, 2, 3)).transpose(1, 2, 0)
        band = raster.read(1)
        valid = raster.read_masks(1) > 0
        if colours and raster.colorinterp[0].name == "palette":
            table = np.zeros((max(raster.colormap(1)) + 1, 3), np.uint8)
            for value, colour in raster.colormap(1).items():
                table[value] = colour[:3]
            return table[band]
    return band if valid.all() else np.where(valid, band.astype(np.float64), -1)


@dataclass
class Coding:
    """What the values of mask files mean; takes down the values that mean nothing.

    Args:
        classes: class of every value; `UNKNOWN` for those that stand for no class.
        colours: values are colours, 0xRRGGBB.
        near: how far each channel of a colour may lie from that of a known one.
    """

    classes: Mapping[int, int]
    colours: bool = False
    near: int = 0
    strange: Counter = field(default_factory=Counter)
    where: dict[int, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @classmethod
    def of(
        cls, codes: Iterable[Iterable[int]], unknown: Iterable[int] = (), colours: bool = False, near: int = 0
    ) -> "Coding":
        """The coding with these values for class 0, 1, …, and these for none; a raster's nodata is for none, too."""
        table = {value: label for label, values in enumerate(codes) for value in values}
        return cls({-1: UNKNOWN} | {value: UNKNOWN for value in unknown} | table, colours, near)

    def decode(self, content: bytes, name: str) -> np.ndarray:
        """(H, W) uint8 class numbers of a mask file; `UNKNOWN` where there is none."""
        values = self._exact(read_mask(content, name, self.colours))
        known = np.array(sorted(self.classes))
        labels = np.array([self.classes[value] for value in known.tolist()], np.uint8)
        at = np.searchsorted(known, values).clip(max=len(known) - 1)
        strange = known[at] != values
        made = labels[at]
        if strange.any():
            made[strange] = UNKNOWN
            with self._lock:  # masks are decoded in threads
                for value, count in counted(values[strange]).items():
                    self.strange[value] += count
                    self.where[value] = min(name, self.where.get(value, name))  # whichever thread is ahead
        return made

    def _exact(self, values: np.ndarray) -> np.ndarray:
        """Colours near a known one become that one."""
        if not self.near:
            return values
        table = np.array([value for value in self.classes if value >= 0])
        apart = [value for value in counted(values) if value >= 0 and value not in self.classes]
        for value in apart:
            steps = np.stack([abs((table >> shift & 255) - (value >> shift & 255)) for shift in (16, 8, 0)]).max(0)
            if steps.min() <= self.near:
                values[values == value] = table[steps.argmin()]
        return values

    def refuse_strange(self, origin: str, advice: str) -> None:
        """Refuse what `decode` found of values without a meaning.

        Raises:
            DataError: listing them with their pixels.
        """
        if not self.strange:
            return
        told = [
            f"{self.text(value)} ({count:,} pixels, first in {plain(self.where[value])})"
            for value, count in self.strange.most_common(MAX_TOLD)
        ]
        more = f" and {len(self.strange) - MAX_TOLD:,} more" if len(self.strange) > MAX_TOLD else ""
        kind = "colours" if self.colours else "values"
        known = ", ".join(self.text(value) for value in sorted(self.classes) if value >= 0)
        raise DataError(
            f"The masks of {origin} hold {kind} that stand for no class: {', '.join(told)}{more}; known are {known}. "
            f"{advice}"
        )

    def text(self, value: int) -> str:
        """A value as people write it."""
        return f"#{value:06X}" if self.colours else str(value)
