"""Water, roads and towns; each scene is (3, SIDE, SIDE) float32 in 0..255."""

import numpy as np
from numpy.random import Generator

from rsprune_lib.data.drawing.brush import SIDE, Corners, Painter, blend, noise, parcels, rotated, waves
from rsprune_lib.data.drawing.country import (
    ASPHALT,
    GRASS,
    METAL,
    MUD,
    SOIL,
    TILES,
    WATER,
    WOOD,
    annual_crop,
    forest,
    ground,
    pasture,
    path,
    pick,
    shrubland,
    track,
    trees,
)

__all__ = ["highway", "industrial", "residential", "river", "sea_lake"]


def countryside(random: Generator) -> np.ndarray:
    """What a river or a highway runs through: fields, pasture, shrubs or forest, calmer than on their own."""
    scene = (annual_crop, pasture, shrubland, forest, annual_crop)[random.integers(5)](random)
    return blend(scene, scene.mean((1, 2)).round(), random.uniform(0, 0.35))


def normals(points: np.ndarray) -> np.ndarray:
    """(n, 2) unit vectors across a path."""
    step = np.gradient(points, axis=0)[:, ::-1] * [[-1, 1]]
    return step / np.hypot(*step.T)[:, None]


def river(random: Generator) -> np.ndarray:
    """A meandering river of changing width with sandy or wooded banks."""
    painter = Painter(countryside(random))
    points = path(random, random.uniform(0, 40), random.uniform(0, 26))
    width = random.uniform(1.6, 12) * (1 + 0.25 * np.sin(np.linspace(0, random.uniform(3, 12), len(points))))
    bank = pick(random, SOIL if random.random() < 0.5 else WOOD)
    water = pick(random, WATER + MUD, 7)
    for grow, colour in ((random.uniform(1, 4), bank), (0, water)):
        side = normals(points) * (width + grow)[:, None]
        painter.polygon([tuple(point) for point in np.concatenate([points + side, (points - side)[::-1]])], colour)
    if random.random() < 0.3:
        track(random, painter, pick(random, ASPHALT), random.uniform(1.5, 2.5), bend=10)
    return painter.array() + 2 * noise(random, "rough")


def highway(random: Generator) -> np.ndarray:
    """One or two carriageways in a wide curve, verges, sometimes a junction."""
    painter = Painter(countryside(random))
    points = path(random, random.uniform(0, 36), random.uniform(0, 4))
    width, colour = random.uniform(1.6, 6), pick(random, ASPHALT + MUD[:1], 9)
    verge = pick(random, GRASS + SOIL)
    painter.line([tuple(point) for point in points], verge, width * 2 + random.uniform(3, 8))
    if random.random() < 0.45:
        other = path(random, 20, 2)
        painter.line([tuple(point) for point in other], verge, width + 4)
        painter.line([tuple(point) for point in other], pick(random, ASPHALT), max(width * 0.7, 2))
    if random.random() < 0.3:
        middle, radius = int(random.integers(20, 40)), random.uniform(8, 14)
        for side in (-1, 1) if random.random() < 0.5 else (1,):
            painter.ring(*(points[middle] + side * normals(points)[middle] * (radius + width / 2)), radius, colour)
    if random.random() < 0.65:
        side = normals(points) * (width / 2 + 1)
        for lane in (points + side, points - side):
            painter.line([tuple(point) for point in lane], colour, width)
    else:
        painter.line([tuple(point) for point in points], colour, width * 1.6)
    return painter.array() + 2 * noise(random, "rough")


def sea_lake(random: Generator) -> np.ndarray:
    """Open water with swell and shallows, half of the time with a coast."""
    deep, shallow = pick(random, WATER, 6), pick(random, (*WATER, (58, 104, 108), (70, 112, 104)), 6)
    along, across = rotated(random.uniform(0, np.pi))
    depth = noise(random, "smooth") * 0.35 + across * random.uniform(-0.01, 0.01)
    result = blend(deep, shallow, 0.45 + depth) + waves(
        along + 3 * noise(random, "smooth"), random.uniform(4, 8)
    ) * random.uniform(0, 1.5)
    result = result + random.uniform(0.5, 2.5) * noise(random, "grain")
    if random.random() < 0.6:
        side = np.abs(across) if random.random() < 0.3 else across  # between two banks a lake is like a wide river
        shore = side + 9 * noise(random, "smooth") + 3 * noise(random, "rough") - random.uniform(12, 46)
        land = (shrubland, forest, pasture, annual_crop)[random.integers(4)](random)
        result = blend(
            result, pick(random, SOIL[1:2] + SOIL[4:] + ((92, 120, 112),)), (shore + random.uniform(1, 5)) / 2
        )
        result = blend(result, land, shore / 2)
    return result


def town(random: Generator, block: float) -> tuple[Painter, list[Corners], float]:
    """Ground, parcels between streets, and their direction."""
    angle = random.uniform(0, np.pi / 2)
    lawn = ground(random, pick(random, GRASS), pick(random, SOIL), "rough", 0.3)
    painter = Painter(lawn * random.uniform(0.85, 1.05))
    blocks = parcels(random, angle, block)
    street = pick(random, ASPHALT, 6)
    for corners in blocks:
        painter.line([*corners, corners[0]], street, random.uniform(2.2, 4))
    return painter, blocks, angle


def residential(random: Generator) -> np.ndarray:
    """Blocks of small roofs along streets, with gardens and trees."""
    painter, blocks, angle = town(random, random.uniform(18, 30))
    large = random.random() < 0.3  # blocks of flats
    roofs = TILES[3:5] + METAL[1:3] if large else TILES
    colours = tuple(roofs[i] for i in random.permutation(len(roofs))[: random.integers(2, 5)])
    spacing, fill = random.uniform(11, 16) if large else random.uniform(7.5, 11), random.uniform(0.6, 0.95)
    trees(random, painter, int(random.integers(15, 60)), (*WOOD, (64, 88, 56)))
    for corners in blocks:
        (x0, y0), (x1, y1), _, (x3, y3) = corners
        length, depth = np.hypot(x1 - x0, y1 - y0), np.hypot(x3 - x0, y3 - y0)
        columns, rows = max(int((length - 4) // spacing), 0), max(int((depth - 4) // spacing), 0)
        places = random.uniform(-0.5, 0.5, (columns * rows, 5)).tolist()
        for place, (du, dv, long, wide, turn) in enumerate(places):
            u, v = (place // rows + 0.5 + 0.2 * du) / columns, (place % rows + 0.5 + 0.2 * dv) / rows
            x, y = x0 + (x1 - x0) * u + (x3 - x0) * v, y0 + (y1 - y0) * u + (y3 - y0) * v
            if -5 < x < SIDE + 5 and -5 < y < SIDE + 5 and random.random() < fill:
                size = (0.67 + 0.35 * long) * spacing, (0.5 + 0.2 * wide) * spacing
                painter.roof(x, y, size, angle + (turn > 0) * np.pi / 2, pick(random, colours, 10), 1.5)
    return painter.array()


def industrial(random: Generator) -> np.ndarray:
    """Halls with large bright roofs on paved ground, yards, parked vehicles."""
    painter, blocks, angle = town(random, random.uniform(14, 46))
    for corners in blocks:
        centre = np.mean(corners, 0)
        (x0, y0), (x1, y1), _, (x3, y3) = corners
        size = np.asarray([np.hypot(x1 - x0, y1 - y0), np.hypot(x3 - x0, y3 - y0)])
        if not (-30 < centre[0] < SIDE + 30 and -30 < centre[1] < SIDE + 30) or random.random() < 0.1:
            continue
        yard = [tuple(centre + (np.asarray(corner) - centre) * 0.9) for corner in corners]
        painter.polygon(yard, pick(random, ASPHALT + SOIL[1:2], 8))
        if random.random() < 0.18:
            park(random, painter, centre, size * 0.7, angle)
            continue
        halls = int(random.integers(1, 4))
        for k in range(halls):
            share = (k + 0.5) / halls - 0.5
            middle = centre + np.asarray([np.cos(angle), np.sin(angle)]) * share * size[0] * 0.85
            extent = (size[0] / halls * random.uniform(0.55, 0.85), size[1] * random.uniform(0.45, 0.85))
            painter.roof(*middle, extent, angle, pick(random, METAL, 9), random.uniform(2, 4))
    trees(random, painter, int(random.integers(0, 14)))
    return painter.array() + 2 * noise(random, "rough")


def park(random: Generator, painter: Painter, centre: np.ndarray, size: np.ndarray, angle: float) -> None:
    """Rows of parked vehicles."""
    c, s = np.cos(angle), np.sin(angle)
    paints = [pick(random, (*METAL, (60, 62, 70), (150, 60, 54)), 12) for _ in range(8)]
    for u in np.arange(-size[0] / 2, size[0] / 2, 3.0):
        for v in np.arange(-size[1] / 2, size[1] / 2, 6.0):
            x, y, paint = centre[0] + u * c - v * s, centre[1] + u * s + v * c, int(random.integers(0, 11))
            if paint < len(paints) and 0 < x < SIDE and 0 < y < SIDE:
                painter.disc(x, y, 0.8, paints[paint])
