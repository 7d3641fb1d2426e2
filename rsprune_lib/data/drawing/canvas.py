"""A canvas in metres: colour, class and height of every point, drawn together, so that masks and shadows are exact."""

from collections.abc import Iterator
from itertools import pairwise
from math import atan2, cos, hypot, pi, sin, tan

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from rsprune_lib.data.drawing.brush import Colour, Corners, blend, noise, planes

__all__ = ["CLASSES", "Canvas", "Plot", "Sun"]

CLASSES = ("building", "road", "low vegetation", "tree", "car", "clutter")
PIXEL = 0.4  # metres of a pixel of the result
FINE = 2  # canvas pixels of a pixel of the result, a side
CURVE = 9.0  # metres after which a long edge gets another point, so that it can bend
BUILDING, ROAD, LOW, TREE, CAR, CLUTTER = range(len(CLASSES))
ROUGH = np.array([3.0, 3.5, 7.0, 4.0, 0.0, 6.0], np.float32)  # texture of each class: patches of a few metres
GRAIN = np.array([1.5, 2.0, 4.0, 6.0, 1.0, 3.0], np.float32)  # and of single pixels


class Sun:
    """Where the light comes from.

    Args:
        azimuth: radians clockwise from the right of the picture.
        elevation: radians above the horizon.
    """

    def __init__(self, azimuth: float, elevation: float) -> None:
        self.towards = round(cos(azimuth), 6), round(sin(azimuth), 6)  # x to the right, y down
        self.rise = round(tan(elevation), 6)
        self.flat = round(cos(elevation), 6)

    def shade(self, angle: float, slope: float = 0.42) -> float:
        """Brightness of a face that falls towards this direction, 1 for a level one."""
        return 1 + slope * self.flat * (cos(angle) * self.towards[0] + sin(angle) * self.towards[1])


class Plot:
    """A turned rectangle on the ground, with coordinates along and across from its middle, in metres."""

    def __init__(self, x: float, y: float, angle: float, length: float, width: float) -> None:
        self.x, self.y, self.angle, self.length, self.width = x, y, angle, length, width
        self._c, self._s = cos(angle), sin(angle)

    @classmethod
    def of(cls, corners: Corners) -> "Plot":
        """The plot with these four corners."""
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
        length, width = hypot(x1 - x0, y1 - y0), hypot(x3 - x0, y3 - y0)
        return cls((x0 + x2) / 2, (y0 + y2) / 2, atan2(y1 - y0, x1 - x0), length, width)

    def at(self, along: float, across: float) -> tuple[float, float]:
        """A point in canvas metres."""
        return self.x + along * self._c - across * self._s, self.y + along * self._s + across * self._c

    def part(self, along: float, across: float, length: float, width: float, turn: float = 0.0) -> "Plot":
        """A plot in this one, turned against it."""
        return Plot(*self.at(along, across), self.angle + turn, length, width)

    def inset(self, margin: float) -> "Plot":
        """The plot without a margin."""
        return Plot(self.x, self.y, self.angle, self.length - 2 * margin, self.width - 2 * margin)

    @property
    def corners(self) -> Corners:
        """Its four corners, in canvas metres."""
        u, v = self.length / 2, self.width / 2
        return [self.at(*place) for place in ((-u, -v), (u, -v), (u, v), (-u, v))]


class Canvas:
    """Three pictures of the same ground: colours, classes, heights.

    Args:
        side: metres.
        colour: of the ground, low vegetation.
        bends: how straight lines bend, along x and along y: amplitude in metres, waves over the side, phase.
    """

    def __init__(self, side: float, colour: Colour, bends: tuple[tuple[float, float, float], ...]) -> None:
        self.side, self.bends, self.scale = side, bends, FINE / PIXEL
        pixels = round(side * self.scale)
        self.layers = (
            Image.new("RGB", (pixels, pixels), _bytes(colour)),
            *(Image.new("L", (pixels, pixels), value) for value in (LOW, 0)),
        )
        self.pens = [ImageDraw.Draw(layer) for layer in self.layers]

    def polygon(self, corners: Corners, colour: Colour, label: int, height: float = 0.0) -> None:
        """Fill a polygon; corners and height in metres."""
        points = self._bent([*corners, corners[0]])
        for pen, fill in zip(self.pens, _fills(colour, label, height), strict=True):
            pen.polygon(points, fill=fill)

    def line(self, points: Corners, colour: Colour, width: float, label: int = ROAD) -> None:
        """Draw a line of a width in metres on the ground."""
        bent, pixels = self._bent(points), max(1, round(width * self.scale))
        for pen, fill in zip(self.pens, _fills(colour, label, 0.0), strict=True):
            pen.line(bent, fill=fill, width=pixels, joint="curve" if pixels > 4 else None)

    def disc(self, x: float, y: float, radius: float, colour: Colour, label: int, height: float = 0.0) -> None:
        """Fill a circle."""
        ((x, y),) = self._bent([(x, y)], curved=False)
        r = radius * self.scale
        for pen, fill in zip(self.pens, _fills(colour, label, height), strict=True):
            pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def free(self, plot: Plot, allowed: tuple[int, ...]) -> bool:
        """Whether a plot lies on these classes only, as far as it can be seen; False where none of it can be."""
        counts = [max(3, int(side / 1.5)) for side in (plot.length, plot.width)]
        shares = [[k / (count - 1) - 0.5 for k in range(count)] for count in counts]
        grid = [plot.at(u * plot.length, v * plot.width) for u in shares[0] for v in shares[1]]
        points = self._bent(grid, curved=False)
        last = self.layers[1].width - 1
        seen = [(int(x), int(y)) for x, y in points if 0 <= x <= last and 0 <= y <= last]
        return bool(seen) and all(self.layers[1].getpixel(point) in allowed for point in seen)

    def _bent(self, points: Corners, curved: bool = True) -> Corners:
        """Points in canvas pixels, with more of them along long edges."""
        if curved:
            points = list(_dense(points))
        (a, m, p), (b, n, q) = self.bends
        m, n = 2 * pi * m / self.side, 2 * pi * n / self.side
        return [
            (round((x + a * sin(m * y + p)) * self.scale, 3), round((y + b * sin(n * x + q)) * self.scale, 3))
            for x, y in points
        ]

    def finish(self, random: Generator, sun: Sun) -> tuple[np.ndarray, np.ndarray]:
        """Texture and shadows, at the pixels of the result.

        Returns:
            (3, side, side) float32 in 0..255, and the class that covers most of each pixel, (side, side) uint8.
        """
        colour, height = (np.asarray(layer.reduce(FINE), np.float32) for layer in (self.layers[0], self.layers[2]))
        label, side = _majority(np.asarray(self.layers[1])), len(height)
        wide = Image.fromarray(noise(random, "rough", side // 2)).resize((side, side), Image.Resampling.BILINEAR)
        texture = ROUGH[label] * np.asarray(wide) + GRAIN[label] * noise(random, "grain", side)
        image = colour.transpose(2, 0, 1) + texture
        tint = planes((0.40, 0.44, 0.53)) * image  # what the sky alone lights is blue
        return blend(image, tint, _soft(_shadows(height / 10, sun))), label


def _shadows(height: np.ndarray, sun: Sun) -> np.ndarray:
    """(H, W) float32: 1 where something towards the sun is high enough to hide it."""
    dark, side = np.zeros_like(height), len(height)
    for step in range(1, int(height.max() / (PIXEL * sun.rise)) + 1):
        dx, dy = round(step * sun.towards[0]), round(step * sun.towards[1])
        if max(abs(dx), abs(dy)) >= side:
            break
        here = tuple(slice(max(0, -d), side - max(0, d)) for d in (dy, dx))
        there = tuple(slice(max(0, d), side - max(0, -d)) for d in (dy, dx))
        reach = height[there] - np.float32(step * PIXEL * sun.rise) - height[here]
        np.maximum(dark[here], np.clip(reach * 2, 0, 1), out=dark[here])
    return dark


def _soft(dark: np.ndarray) -> np.ndarray:
    """Each pixel mixed with its neighbours."""
    padded = np.pad(dark, 1, mode="edge")
    near = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return dark * 0.5 + near * 0.125


def _majority(parts: np.ndarray) -> np.ndarray:
    """Classes of canvas pixels to those of the result: the most frequent; of equally frequent ones a car first."""
    votes = (np.uint32(1) << (4 * np.arange(len(CLASSES), dtype=np.uint32)))[parts]  # four bits count each class
    votes = sum(votes[row::FINE, column::FINE] for row in range(FINE) for column in range(FINE))
    most, winner = np.zeros(votes.shape, np.uint32), np.zeros(votes.shape, np.uint8)
    for label in (CAR, CLUTTER, BUILDING, TREE, ROAD, LOW):
        count = votes >> np.uint32(4 * label) & np.uint32(15)
        winner[count > most] = label
        np.maximum(most, count, out=most)
    return winner


def _dense(points: Corners) -> Iterator[tuple[float, float]]:
    """Points with others between them, so that no edge is longer than `CURVE`."""
    for (x0, y0), (x1, y1) in pairwise(points):
        count = max(1, int(hypot(x1 - x0, y1 - y0) / CURVE))
        for k in range(count):
            yield x0 + (x1 - x0) * k / count, y0 + (y1 - y0) * k / count
    yield points[-1]


def _fills(colour: Colour, label: int, height: float) -> tuple[tuple[int, int, int], int, int]:
    return _bytes(colour), label, min(255, round(height * 10))


def _bytes(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, int(value + 0.5))) for value in colour)
    return red, green, blue
