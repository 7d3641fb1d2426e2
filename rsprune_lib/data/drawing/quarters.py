"""What a town block can hold: houses with gardens, flats, halls, a car park, a park, a wood, a building site."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from rsprune_lib.data.drawing.brush import Colour
from rsprune_lib.data.drawing.canvas import CLUTTER, LOW, ROAD, Canvas, Plot, Sun
from rsprune_lib.data.drawing.country import ASPHALT, METAL, SOIL, TILES, WATER, WOOD, pick
from rsprune_lib.data.drawing.things import car, container, flat_roof, heap, panels, pitched_roof, pool, strips, tree

__all__ = ["QUARTERS", "Tile", "cars_along"]

LEAVES = (*WOOD, (60, 88, 50), (72, 98, 54), (86, 104, 54), (104, 118, 64))
PAVING = ((172, 166, 158), (156, 150, 146), (186, 178, 166))
GRAVEL = ((150, 148, 142), (126, 124, 122), (170, 168, 164), (98, 98, 100))
COURT = ((150, 84, 62), (66, 110, 96), (72, 96, 140))


@dataclass(frozen=True)
class Tile:
    """What all quarters of a tile share: canvas, random numbers, sun, tints."""

    canvas: Canvas
    random: Generator
    sun: Sun
    grass: tuple[Colour, ...]
    tiles: tuple[Colour, ...]
    asphalt: Colour

    def trees(
        self, plot: Plot, count: int, radius: tuple[float, float] = (1.4, 3.6), on: tuple[int, ...] = (LOW,)
    ) -> None:
        """Single trees where there is room."""
        for u, v, size in self.random.random((max(count, 0), 3)).tolist():
            r = radius[0] + (radius[1] - radius[0]) * size
            place = plot.at((u - 0.5) * plot.length, (v - 0.5) * plot.width)
            if self.canvas.free(Plot(*place, 0.0, r * 0.8, r * 0.8), on):
                tree(self.canvas, self.random, place, r, self.sun, pick(self.random, LEAVES, 7))

    def cars(self, plot: Plot, spacing: float, fill: float, on: tuple[int, ...] = (ROAD,)) -> None:
        """Cars one behind the other along a plot."""
        for along in np.arange(-plot.length / 2 + spacing / 2, plot.length / 2, spacing).tolist():
            jitter, turn, chance = self.random.uniform(-1, 1, 3).tolist()
            at = plot.part(along + 0.3 * jitter, 0.12 * turn, 4.6, 1.9, 0.03 * turn)
            if chance < 2 * fill - 1 and self.canvas.free(at, on):
                car(self.canvas, self.random, at)

    def lawn(self, plot: Plot) -> None:
        """Grass in a tint of its own."""
        self.canvas.polygon(plot.corners, pick(self.random, self.grass, 6), LOW)


def cars_along(tile: Tile, corners: list[tuple[float, float]], street: float) -> None:
    """Cars parked at both kerbs of a block, and some that drive."""
    block = Plot.of(corners)
    for turn, length, depth in ((0.0, block.length, block.width), (np.pi / 2, block.width, block.length)):
        for side in (-1, 1):
            edge = block.part(0, 0, length, depth, turn).part(0, side * depth / 2, length - 2 * street, 2.0)
            fill, driving = max(0, tile.random.uniform(-0.25, 0.42)), tile.random.uniform(0, 0.07)
            tile.cars(edge.part(0, -side * (street / 2 - 1.1), edge.length, 2.0), 6.2, fill)
            tile.cars(edge.part(0, -side * street * 0.17, edge.length, 2.0), 17.0, driving)


def houses(tile: Tile, plot: Plot) -> None:
    """Detached houses in two rows, gardens with trees, drives, sheds and pools."""
    random, canvas = tile.random, tile.canvas
    if plot.width > plot.length:
        plot = Plot(plot.x, plot.y, plot.angle + np.pi / 2, plot.width, plot.length)
    lot = random.uniform(15, 21)
    count = max(1, int(plot.length / lot))
    lot, deep = plot.length / count, plot.width / 2
    turned, hedged = random.random() < 0.3, random.random() < 0.5
    for k in range(count):
        for side in (-1, 1):
            own = plot.part((k + 0.5) * lot - plot.length / 2, side * deep / 2, lot, deep)
            tile.lawn(own)
            if hedged:
                border = [own.at(lot / 2, -deep / 2), own.at(lot / 2, deep / 2)]
                canvas.line(border, pick(random, LEAVES, 5), 1.2, LOW)
            if random.random() < 0.08 or deep < 13:
                continue
            _house(tile, own, side, turned)
    tile.trees(plot, int(plot.length * plot.width / random.uniform(55, 130)))


def _house(tile: Tile, lot: Plot, side: int, turned: bool) -> None:
    random, canvas = tile.random, tile.canvas
    length, width = random.uniform(9, min(13.5, lot.length - 4)), random.uniform(7.5, 10)
    out = side * (lot.width / 2 - width / 2 - random.uniform(4, 6.5))
    shift, room = random.uniform(-1, 1), (lot.length - length) / 2
    drive = lot.part((1 if shift < 0 else -1) * (lot.length / 2 - 2), side * (lot.width / 4), 3.0, lot.width / 2)
    canvas.polygon(drive.corners, pick(random, PAVING, 6), ROAD)
    plot = lot.part(shift * room * 0.5, out, length, width)
    canvas.polygon(lot.part(shift * room * 0.5, out - side * (width / 2 + 1.6), length * 0.6, 3.4).corners,
                   pick(random, PAVING, 6), ROAD)  # fmt: skip
    colour, height = pick(random, tile.tiles, 9), random.uniform(5.5, 8.5)
    if turned and plot.length < lot.width / 2:
        plot = Plot(plot.x, plot.y, plot.angle + np.pi / 2, plot.width, plot.length)
    if random.random() < 0.15:
        flat_roof(canvas, random, plot, pick(random, GRAVEL, 8), height - 1)
    else:
        hipped = random.random() < 0.4
        pitched_roof(canvas, plot, tile.sun, colour, height, hipped)
        if not hipped and random.random() < 0.25:
            panels(canvas, random, plot, tile.sun, height)
    if random.random() < 0.45:
        tile.cars(Plot(drive.x, drive.y, drive.angle + np.pi / 2, 7.0, 2.0), 6.0, 1.0)
    garden = lot.part(0, -side * lot.width * 0.2, lot.length, lot.width * 0.5)
    if random.random() < 0.35:
        shed = garden.part(random.uniform(-0.3, 0.3) * lot.length, -side * garden.width * 0.25, 3.6, 2.8)
        if canvas.free(shed, (LOW,)):
            pitched_roof(canvas, shed, tile.sun, pick(random, (*TILES, *GRAVEL), 8), 2.6, chimney=False)
    if random.random() < 0.22:
        water = garden.part(random.uniform(-0.2, 0.2) * lot.length, 0, random.uniform(6, 9), random.uniform(3, 4.2))
        if canvas.free(water, (LOW,)):
            pool(canvas, random, water)


def flats(tile: Tile, plot: Plot) -> None:
    """Slabs of flats between lawns, paths, trees and parking."""
    random, canvas = tile.random, tile.canvas
    tile.lawn(plot)
    deep = random.uniform(11, 14)
    rows = max(1, int(plot.width / random.uniform(28, 36)))
    pitched, colour = random.random() < 0.4, pick(random, GRAVEL + METAL[1:3], 8)
    gap = plot.width / rows
    if random.random() < 0.5:  # the parking on the other side
        plot = plot.part(0, 0, plot.length, plot.width, np.pi)
    for row in range(rows):
        across = (row + 0.5) * gap - plot.width / 2
        canvas.polygon(plot.part(0, across + deep / 2 + 4, plot.length, 2.0).corners, pick(random, PAVING, 5), ROAD)
        own = plot.part(random.uniform(-2, 2), across, plot.length * random.uniform(0.6, 0.86), deep)
        height = random.uniform(10, 19)
        if pitched:
            pitched_roof(canvas, own, tile.sun, pick(random, tile.tiles, 8), height)
        else:
            flat_roof(canvas, random, own, colour, height)
        if gap > 27 and random.random() < 0.6:
            _bays(tile, plot.part(0, across - deep / 2 - 7, plot.length * 0.5, 5.2), random.uniform(0.2, 0.8))
    tile.trees(plot, int(plot.length * plot.width / random.uniform(90, 170)), (2, 4.5))


def courtyard(tile: Tile, plot: Plot) -> None:
    """Town houses wall to wall around a court."""
    random, canvas = tile.random, tile.canvas
    deep = random.uniform(10, 13)
    canvas.polygon(plot.corners, pick(random, (*PAVING, tile.asphalt), 6), ROAD)
    inner = plot.inset(deep + 2)
    if min(inner.length, inner.width) > 8 and random.random() < 0.7:
        tile.lawn(inner)
    for side in (-1, 1):  # the long rows hold the corners
        _row(tile, plot.part(0, side * (plot.width - deep) / 2, plot.length, deep))
        _row(tile, plot.part(side * (plot.length - deep) / 2, 0, plot.width - 2 * deep, deep, np.pi / 2))
    tile.trees(inner, int(inner.length * inner.width / random.uniform(60, 160)), (1.5, 3.4), (LOW, ROAD))
    tile.cars(inner.part(0, 0, inner.length, 2.0), 6.0, random.uniform(0, 0.4))


def _row(tile: Tile, row: Plot) -> None:
    """Town houses side by side, each with a roof of its own."""
    random, start = tile.random, -row.length / 2
    while start < row.length / 2 - 4:
        wide = min(random.uniform(9, 18), row.length / 2 - start)
        house = row.part(start + wide / 2, 0, wide, row.width)
        if random.random() < 0.75:
            pitched_roof(tile.canvas, house, tile.sun, pick(random, tile.tiles, 8), random.uniform(10, 16))
        else:
            flat_roof(tile.canvas, random, house, pick(random, GRAVEL, 8), random.uniform(9, 17))
        start += wide


def _bays(tile: Tile, strip: Plot, fill: float) -> None:
    """One row of parking bays across a strip, with their lines."""
    tile.canvas.polygon(strip.corners, pick(tile.random, ASPHALT[2:3], 8), ROAD)
    for along in np.arange(-strip.length / 2, strip.length / 2, 2.6).tolist():
        ends = [strip.at(along, -strip.width / 2), strip.at(along, strip.width / 2)]
        tile.canvas.line(ends, (206, 206, 202), 0.2)
        bay = strip.part(along + 1.3, 0, 4.6, 1.9, np.pi / 2)
        if tile.random.random() < fill and along + 2.6 <= strip.length / 2 and tile.canvas.free(bay, (ROAD,)):
            car(tile.canvas, tile.random, bay)


def car_park(tile: Tile, plot: Plot) -> None:
    """Rows of bays with lanes between them, strips of trees, perhaps a supermarket."""
    random, canvas = tile.random, tile.canvas
    canvas.polygon(plot.corners, pick(random, (tile.asphalt,), 8), ROAD)
    if random.random() < 0.6 and plot.length > 50:
        hall = plot.part(-plot.length * 0.27, 0, plot.length * 0.4, plot.width * 0.7)
        flat_roof(canvas, random, hall, pick(random, METAL + GRAVEL, 8), random.uniform(6, 9))
        plot = plot.part(plot.length * 0.22, 0, plot.length * 0.5, plot.width)
    fill = random.uniform(0.1, 0.6)
    for across in np.arange(-plot.width / 2 + 4, plot.width / 2 - 3, 16.5).tolist():
        for k in (0, 1):
            _bays(tile, plot.part(0, across + 5.2 * k, plot.length - 8, 5.0), fill)
        if random.random() < 0.5:
            green = plot.part(0, across + 2.6, plot.length - 8, 1.0)
            canvas.polygon(green.corners, pick(random, tile.grass, 5), LOW)
            tile.trees(green, int(plot.length / 9), (1.2, 2.0), (LOW, ROAD))


def halls(tile: Tile, plot: Plot) -> None:
    """Works and warehouses with skylights on a paved yard, with containers and vans."""
    random, canvas = tile.random, tile.canvas
    canvas.polygon(plot.corners, pick(random, ASPHALT[:2] + PAVING[:2], 8), ROAD)
    count = 1 if plot.length < 48 else int(random.integers(1, 3))
    for k in range(count):
        along = ((k + 0.5) / count - 0.5) * plot.length * 0.92
        length, width = plot.length / count * random.uniform(0.6, 0.82), plot.width * random.uniform(0.5, 0.7)
        hall = plot.part(along, random.uniform(-0.1, 0.1) * plot.width, length, width)
        colour, height = pick(random, METAL, 10), random.uniform(7, 12)
        if random.random() < 0.5:
            pitched_roof(canvas, hall, tile.sun, colour, height, chimney=False)
            strips(canvas, hall, (214, 226, 232), height, random.uniform(6, 10))
        else:
            flat_roof(canvas, random, hall, colour, height)
    for u, v, turn in random.random((int(random.integers(4, 16)), 3)).tolist():
        box = plot.part(
            (u - 0.5) * (plot.length - 14), (v - 0.5) * (plot.width - 8), 12.4, 2.7, (turn > 0.5) * np.pi / 2
        )
        if canvas.free(box, (ROAD,)):
            container(canvas, random, box)
    _bays(tile, plot.part(0, plot.width / 2 - 3, plot.length - 10, 5.0), random.uniform(0.1, 0.6))


def park(tile: Tile, plot: Plot) -> None:
    """Lawns with paths, trees in groups, a pond or a sports court."""
    random, canvas = tile.random, tile.canvas
    tile.lawn(plot)
    path = pick(random, (*PAVING, SOIL[4]), 6)
    for share in random.uniform(-0.35, 0.35, 3).tolist():
        ends = [plot.at(-plot.length / 2, share * plot.width), plot.at(plot.length / 2, -share * plot.width)]
        canvas.line(ends, path, random.uniform(1.6, 2.6))
    if random.random() < 0.75:
        x, y = plot.at(random.uniform(-0.2, 0.2) * plot.length, random.uniform(-0.2, 0.2) * plot.width)
        water, r = pick(random, WATER, 6), min(plot.length, plot.width) * 0.16
        for dx, dy, size in random.uniform(-1, 1, (9, 3)).tolist():
            canvas.disc(x + dx * r, y + dy * r * 0.6, r * (0.62 + 0.2 * size), water, CLUTTER)
    if random.random() < 0.6 and min(plot.length, plot.width) > 36:
        court = plot.part(random.choice([-1, 1]) * plot.length * 0.28, plot.width * 0.18, 23, 11)
        field = court.part(0, 0, 27, 15)
        if canvas.free(field, (LOW, ROAD)):  # not in the pond
            canvas.polygon(field.corners, pick(random, COURT, 6), CLUTTER)
            for line in (court, court.inset(2.6)):
                canvas.line([*line.corners, line.corners[0]], (226, 226, 222), 0.2, CLUTTER)
    tile.trees(plot, int(plot.length * plot.width / random.uniform(28, 70)), (1.8, 5.0))


def wood(tile: Tile, plot: Plot) -> None:
    """Trees crown to crown, with clearings."""
    tile.lawn(plot)
    tile.trees(plot, int(plot.length * plot.width / tile.random.uniform(8, 14)), (1.8, 4.2), (LOW, 3))


def site(tile: Tile, plot: Plot) -> None:
    """A building site: bare soil, heaps, containers, a shell."""
    random, canvas = tile.random, tile.canvas
    soil = pick(random, SOIL, 8)
    canvas.polygon(plot.corners, soil, CLUTTER)
    shell = plot.part(0.18 * plot.length, 0, plot.length * 0.36, plot.width * 0.45)
    flat_roof(canvas, random, shell, pick(random, GRAVEL, 6), random.uniform(3, 9))
    canvas.line([plot.at(-plot.length / 2, 0), plot.at(0, 0)], pick(random, PAVING, 8), 4.0)
    for u, v, size in random.random((8, 3)).tolist():
        own = plot.part((u - 0.5) * (plot.length - 10), (v - 0.5) * (plot.width - 10), 6, 6)
        if not canvas.free(own, (CLUTTER,)):
            continue
        if size < 0.4:
            container(canvas, random, own)
        else:
            heap(canvas, random, (own.x, own.y), 1.5 + 3 * size, tile.sun, pick(random, SOIL, 8))


QUARTERS: dict[Callable[[Tile, Plot], None], float] = {
    houses: 0.38, courtyard: 0.14, flats: 0.14, halls: 0.11, car_park: 0.03, park: 0.09, wood: 0.07, site: 0.07,
}  # fmt: skip
