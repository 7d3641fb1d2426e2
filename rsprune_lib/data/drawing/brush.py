"""Brushes for synthetic scenes: tileable noise, rotated parcels, roofs with shadows, roads and rivers.

Everything is drawn on a canvas of twice 64 pixels a side and shrunk at the end, which smooths the edges. Images are
(3, SIDE, SIDE) float32 in 0..255: with the channels in front, whole rows are computed at once.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["SIDE", "Colour", "Painter", "blend", "noise", "parcels", "planes", "rotated", "to_image", "waves"]

SIDE = 128
ATLAS = 512
SPECTRA = {"smooth": 3.2, "rough": 2.0, "grain": 1.0, "white": 0.0}  # power falls with frequency ** -exponent
Colour = tuple[float, float, float]
Corners = list[tuple[float, float]]


@lru_cache(maxsize=4)
def _atlas(kind: str) -> np.ndarray:
    """(4, ATLAS + SIDE, ATLAS + SIDE) tileable noise in four orientations; zero mean, unit deviation.

    It is rounded so that every machine gets the same.
    """
    random = np.random.default_rng(list(SPECTRA).index(kind))
    spectrum = np.fft.rfft2(random.standard_normal((ATLAS, ATLAS)))
    frequency = np.hypot(np.fft.fftfreq(ATLAS)[:, None], np.fft.rfftfreq(ATLAS)[None]) * ATLAS
    field = np.fft.irfft2(spectrum * np.maximum(frequency, 3.0) ** (-SPECTRA[kind] / 2), s=(ATLAS, ATLAS))
    field = np.round(field / field.std() * 1024) / 1024
    field = np.pad(field.astype(np.float32), (0, SIDE), mode="wrap")
    return np.stack([np.rot90(field, turn) for turn in range(4)])


def noise(random: np.random.Generator, kind: str, side: int = SIDE) -> np.ndarray:
    """A random window (side, side) of an atlas, which repeats; ``kind`` is smooth, rough, grain or white."""
    row, column, turn = random.integers(0, (ATLAS, ATLAS, 4)).tolist()
    if side <= SIDE:
        return _atlas(kind)[turn, row : row + side, column : column + side]
    rows, columns = (np.arange(start, start + side) % ATLAS for start in (row, column))
    return _atlas(kind)[turn, rows[:, None], columns]


def blend(first: np.ndarray | Colour, second: np.ndarray | Colour, share: np.ndarray | float) -> np.ndarray:
    """Mix two images or colours; share: weight of the second, clipped to [0, 1]."""
    first, second = planes(first), planes(second)
    return first + (second - first) * np.clip(share, 0, 1).astype(np.float32)


def planes(image: np.ndarray | Colour) -> np.ndarray:
    """A colour as (3, 1, 1) float32; an image as it is."""
    image = np.asarray(image, np.float32)
    return image.reshape(3, 1, 1) if image.ndim == 1 else image


def rotated(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (SIDE, SIDE) along and across a direction, zero in the middle; angle in radians."""
    across, along = np.mgrid[:SIDE, :SIDE].astype(np.float32) - SIDE / 2
    c, s = np.float32(round(np.cos(angle), 6)), np.float32(round(np.sin(angle), 6))
    return along * c + across * s, across * c - along * s


def waves(coordinate: np.ndarray, period: float) -> np.ndarray:
    """Triangle wave between -1 and 1."""
    phase = coordinate / np.float32(period)
    return np.abs(phase - np.floor(phase) - 0.5) * 4 - 1


def parcels(random: np.random.Generator, angle: float, smallest: float, side: float = SIDE) -> list[Corners]:
    """Cut a rotated square into irregular rectangles.

    Args:
        random: generator.
        angle: direction of the edges in radians.
        smallest: sides longer than twice this are cut further.
        side: of the canvas.

    Returns:
        Corners of each rectangle that can be seen, in units of the side; together they cover the canvas.
    """
    half = side * 0.75
    c, s = float(np.cos(angle)), float(np.sin(angle))
    todo, done = [(-half, -half, half, half)], []
    while todo:
        x0, y0, x1, y1 = todo.pop()
        wide = x1 - x0 >= y1 - y0
        length = x1 - x0 if wide else y1 - y0
        if length < smallest * random.uniform(1.6, 2.6):
            corners = [_turn(x, y, c, s, side) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
            if all(min(values) < side and max(values) > 0 for values in zip(*corners, strict=True)):
                done.append(corners)
            continue
        cut = (x0 if wide else y0) + length * random.uniform(0.35, 0.65)
        todo += [(x0, y0, cut, y1), (cut, y0, x1, y1)] if wide else [(x0, y0, x1, cut), (x0, cut, x1, y1)]
    return done


def _turn(x: float, y: float, c: float, s: float, side: float) -> tuple[float, float]:
    return side / 2 + x * c - y * s, side / 2 + x * s + y * c


def _paint(colour: Sequence[float]) -> tuple[int, int, int]:
    """Whole numbers; Pillow clips them to 0..255."""
    red, green, blue = colour
    return int(red + 0.5), int(green + 0.5), int(blue + 0.5)


def to_image(image: np.ndarray | Colour) -> Image.Image:
    """(3, SIDE, SIDE) or a colour to a Pillow image."""
    bytes_ = np.clip(np.rint(planes(image)), 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(plane) for plane in np.broadcast_to(bytes_, (3, SIDE, SIDE))])


class Painter:
    """A Pillow canvas with the shapes of a landscape; the sun stands in the north-west of every scene."""

    def __init__(self, background: np.ndarray | Colour) -> None:
        self.image = to_image(background)
        self.pen = ImageDraw.Draw(self.image)

    def array(self) -> np.ndarray:
        """(3, SIDE, SIDE) float32."""
        return np.stack([np.asarray(plane, np.float32) for plane in self.image.split()])

    def polygon(self, corners: Corners, colour: Colour, outline: Colour | None = None) -> None:
        """Fill a polygon."""
        self.pen.polygon(corners, fill=_paint(colour), outline=outline and _paint(outline))

    def line(self, points: Corners, colour: Colour, width: float) -> None:
        """Draw a line through points."""
        self.pen.line(points, fill=_paint(colour), width=max(1, round(width)), joint="curve" if width > 3 else None)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_paint(colour))

    def ring(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A circle, three pixels wide: a ramp."""
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_paint(colour), width=3)

    def tree(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A crown with its shadow and a lit side."""
        self.disc(x + radius * 0.6, y + radius * 0.6, radius, tuple(value * 0.45 for value in colour))
        self.disc(x, y, radius, colour)
        if radius >= 2:
            self.disc(x - radius * 0.3, y - radius * 0.3, radius * 0.5, tuple(value * 1.25 for value in colour))

    def roof(self, x: float, y: float, size: tuple[float, float], angle: float, colour: Colour, height: float) -> None:
        """A ridged roof seen from above: shadow to the south-east, one lit and one darker half.

        Args:
            x: centre column.
            y: centre row.
            size: length along the ridge and width, in canvas pixels.
            angle: direction of the ridge in radians.
            colour: of the lit half.
            height: length of the shadow in canvas pixels.
        """
        length, width = size[0] / 2, size[1] / 2
        c, s = float(np.cos(angle)), float(np.sin(angle))
        ends = [(x - length * c, y - length * s), (x + length * c, y + length * s)]
        (x0, y0), (x1, y1) = ends
        corner = [(x0 + width * s, y0 - width * c), (x1 + width * s, y1 - width * c)]
        corner += [(x1 - width * s, y1 + width * c), (x0 - width * s, y0 + width * c)]
        shaded = [(px + height, py + height) for px, py in corner]
        self.polygon(shaded, (38, 42, 48))
        self.polygon(corner, colour)
        self.polygon([ends[0], ends[1], corner[2], corner[3]], tuple(value * 0.8 for value in colour))
