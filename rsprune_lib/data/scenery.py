"""Ten land-cover scenes, each painted as (3, SIDE, SIDE) float32 in 0..255 from its own random numbers."""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from rsprune_lib.data.brush import SIDE, Colour, Corners, Painter, blend, noise, parcels, planes, rotated, waves

__all__ = ["PAINT"]

SOIL = ((150, 118, 88), (176, 146, 112), (122, 96, 76), (138, 112, 96), (190, 166, 130))
CROP = ((96, 124, 62), (74, 108, 58), (128, 142, 74), (166, 158, 92), (192, 178, 112), (84, 98, 56))
GRASS = ((104, 132, 72), (118, 142, 82), (92, 122, 70), (130, 146, 90))
WOOD = ((38, 62, 44), (44, 70, 46), (34, 56, 46), (52, 76, 48))
WATER = ((32, 58, 84), (26, 52, 78), (40, 74, 92), (48, 80, 84))
MUD = ((86, 92, 84), (104, 104, 92), (74, 88, 88))
ASPHALT = ((132, 130, 128), (148, 146, 142), (112, 112, 114), (164, 160, 154))
TILES = ((168, 96, 72), (184, 112, 86), (150, 92, 76), (140, 120, 108), (122, 118, 118), (196, 140, 112))
METAL = ((214, 216, 218), (188, 192, 196), (158, 170, 182), (232, 230, 224), (170, 146, 136), (130, 138, 146))


def pick(random: Generator, colours: tuple[Colour, ...], spread: float = 8) -> Colour:
    """One of the colours, slightly changed: the channels together more than each alone."""
    common, *own = random.standard_normal(4).tolist()
    colour = colours[int(random.integers(len(colours)))]
    return tuple(value + spread * (common + change / 3) for value, change in zip(colour, own, strict=True))


def ground(random: Generator, first: Colour, second: Colour, kind: str = "rough", sharp: float = 0.35) -> np.ndarray:
    """Two colours mixed by noise."""
    return blend(first, second, 0.5 + sharp * noise(random, kind))


def mask(shapes: list[tuple[Corners, int]]) -> np.ndarray:
    """(SIDE, SIDE) the number given to the polygon that covers each pixel."""
    image = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    for corners, value in shapes:
        pen.polygon(corners, fill=value)
    return np.asarray(image, np.float32)


def annual_crop(random: Generator) -> np.ndarray:
    """Large parcels of bare soil and crops in different states, with plough lines."""
    angle = random.uniform(0, np.pi)
    fields = parcels(random, angle, random.uniform(20, 40))
    painter = Painter((100, 100, 100))
    for corners in fields:
        painter.polygon(corners, pick(random, SOIL if random.random() < 0.4 else CROP, 11))
    for corners in fields:
        if random.random() < 0.5:
            painter.line(
                [*corners, corners[0]], pick(random, GRASS if random.random() < 0.6 else SOIL), random.uniform(1, 2)
            )
    along, across = rotated(angle)
    strength = mask([(corners, int(random.integers(0, 12))) for corners in fields])
    lines = waves(across if random.random() < 0.5 else along, random.uniform(5, 9))
    return painter.array() + strength * lines * random.uniform(0.4, 1.1) + 4 * noise(random, "rough")


def permanent_crop(random: Generator) -> np.ndarray:
    """Orchards and vineyards: rows or lattices of crowns on open soil, parcel by parcel."""
    angle = random.uniform(0, np.pi)
    fields = parcels(random, angle, random.uniform(26, 48))
    number = mask([(corners, int(random.integers(0, 3))) for corners in fields])
    result = np.zeros((3, SIDE, SIDE), np.float32)
    for which in range(3):
        along, across = rotated(angle + random.choice([0, np.pi / 2, random.uniform(0, np.pi)]))
        period = random.uniform(4.5, 8)
        rows = waves(across, period)
        if random.random() < 0.6:
            rows = np.minimum(rows, waves(along, period * random.uniform(0.9, 1.5)))
        soil = ground(random, pick(random, SOIL), pick(random, SOIL + GRASS[:2]))
        crowns = pick(random, CROP[:2] + WOOD[1:], 8)
        cover = rows * random.uniform(0.5, 1.2) + random.uniform(0.1, 0.7) + 0.35 * noise(random, "grain")
        result = np.where(number == which, blend(soil, crowns, cover * 0.85), result)
    painter = Painter(result)
    for corners in fields:
        if random.random() < 0.45:
            painter.line([*corners, corners[0]], pick(random, SOIL), random.uniform(1, 2.5))
    return painter.array()


def hedges(random: Generator, painter: Painter, fields: list[Corners], share: float) -> None:
    """Rows of trees along some parcel borders."""
    for corners in fields:
        for (x0, y0), (x1, y1) in itertools.pairwise(corners):
            if random.random() < share:
                colour, steps = pick(random, WOOD, 5), int(np.hypot(x1 - x0, y1 - y0) / 3.2)
                for step in np.linspace(0, 1, max(steps, 2)):
                    if random.random() < 0.8:
                        x, y = x0 + (x1 - x0) * step, y0 + (y1 - y0) * step
                        painter.tree(
                            x + random.normal(0, 0.6), y + random.normal(0, 0.6), random.uniform(1.2, 2.6), colour
                        )


def trees(random: Generator, painter: Painter, count: int, colours: tuple[Colour, ...] = WOOD) -> None:
    """Single trees anywhere."""
    for x, y in random.uniform(0, SIDE, (count, 2)):
        painter.tree(x, y, random.uniform(1.5, 3.2), pick(random, colours, 6))


def pasture(random: Generator) -> np.ndarray:
    """Smooth green parcels of little contrast, hedges, single trees, a track."""
    angle = random.uniform(0, np.pi)
    fields = parcels(random, angle, random.uniform(36, 60))
    base = np.asarray(pick(random, GRASS, 8))
    painter = Painter(tuple(base))
    for corners in fields:
        painter.polygon(corners, tuple(base + random.normal(0, 6) + random.normal(0, 3, 3)))
    shade = painter.array() + noise(random, "smooth") * planes((5, 4.5, 3)) + 3 * noise(random, "rough")
    painter = Painter(shade)
    if random.random() < 0.4:
        track(random, painter, pick(random, SOIL), random.uniform(1, 2), bend=12)
    hedges(random, painter, fields, random.uniform(0.1, 0.5))
    trees(random, painter, int(random.integers(0, 9)))
    return painter.array() + 1.5 * noise(random, "grain")


def shrubland(random: Generator) -> np.ndarray:
    """Mottled dry grass with clumps of shrubs and bare patches, no parcels."""
    grass = ((132, 132, 86), (120, 124, 78), (148, 140, 98), (108, 124, 74))
    bare = ground(random, pick(random, grass), pick(random, SOIL), "smooth", 0.3)
    clumps = noise(random, "rough") * 0.7 + noise(random, "grain") * 0.6 + random.uniform(-0.7, 0.5)
    result = blend(bare, pick(random, ((70, 88, 54), (82, 98, 60), (62, 80, 52))), clumps * 0.7)
    painter = Painter(result + 4 * noise(random, "rough"))
    if random.random() < 0.4:
        track(random, painter, pick(random, SOIL), random.uniform(1, 1.8), bend=40)
    trees(random, painter, int(random.integers(0, 22)), ((66, 86, 54), (56, 76, 50)))
    return painter.array()


def forest(random: Generator) -> np.ndarray:
    """A closed canopy: crowns lit from the north-west, stands of different age, a clearing or a track."""
    crowns = noise(random, "grain") + 0.5 * noise(random, "white")
    relief = crowns - np.roll(crowns, (1, 1), (0, 1))
    stands = ground(random, pick(random, WOOD, 6), pick(random, (*WOOD, (66, 88, 52), (58, 84, 56)), 6), "smooth", 0.8)
    result = stands * (1 + 0.11 * relief) + 3 * noise(random, "rough")
    if random.random() < 0.35:
        gap = (noise(random, "smooth") - random.uniform(1.2, 1.8)) * 6
        result = blend(result, ground(random, pick(random, GRASS), pick(random, SOIL)), gap)
    painter = Painter(result)
    if random.random() < 0.35:
        track(random, painter, pick(random, SOIL + GRASS), random.uniform(1, 2), bend=30)
    return painter.array()


def countryside(random: Generator) -> np.ndarray:
    """What a river or a highway runs through: fields, pasture, shrubs or forest, calmer than on their own."""
    scene = (annual_crop, pasture, shrubland, forest, annual_crop)[random.integers(5)](random)
    return blend(scene, scene.mean((1, 2)).round(), random.uniform(0, 0.35))


def path(random: Generator, bend: float, wiggle: float) -> np.ndarray:
    """(n, 2) points from one side of the canvas to another; bend: sagitta, wiggle: amplitude of meanders, in pixels."""
    angle = random.uniform(0, 2 * np.pi)
    t = np.linspace(-0.85, 0.85, 60)
    offset = random.uniform(-24, 24) + random.uniform(-bend, bend) * (1 - t**2)
    for order in (1.3, 2.4, 4.1):
        offset = offset + wiggle / order * random.uniform(0.3, 1) * np.sin(order * 3 * t + random.uniform(0, 6.28))
    c, s = np.cos(angle), np.sin(angle)
    x, y = t * SIDE, offset
    return np.stack([SIDE / 2 + x * c - y * s, SIDE / 2 + x * s + y * c], 1)


def normals(points: np.ndarray) -> np.ndarray:
    """(n, 2) unit vectors across a path."""
    step = np.gradient(points, axis=0)[:, ::-1] * [[-1, 1]]
    return step / np.hypot(*step.T)[:, None]


def track(random: Generator, painter: Painter, colour: Colour, width: float, bend: float) -> None:
    """A small road across the scene."""
    painter.line([tuple(point) for point in path(random, bend, bend / 4)], colour, width)


def river(random: Generator) -> np.ndarray:
    """A meandering river of changing width with sandy or wooded banks."""
    painter = Painter(countryside(random))
    points = path(random, random.uniform(0, 40), random.uniform(3, 26))
    width = random.uniform(3, 12) * (1 + 0.25 * np.sin(np.linspace(0, random.uniform(3, 12), len(points))))
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
    width, colour = random.uniform(2.5, 6), pick(random, ASPHALT, 7)
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
    if random.random() < 0.5:
        shore = across + 9 * noise(random, "smooth") + 3 * noise(random, "rough") - random.uniform(12, 50)
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
    colours = tuple(TILES[i] for i in random.permutation(len(TILES))[: random.integers(2, 5)])
    spacing, fill = random.uniform(7.5, 11), random.uniform(0.6, 0.95)
    trees(random, painter, int(random.integers(15, 60)), (*WOOD, (64, 88, 56)))
    for corners in blocks:
        (x0, y0), (x1, y1), _, (x3, y3) = corners
        length, depth = np.hypot(x1 - x0, y1 - y0), np.hypot(x3 - x0, y3 - y0)
        columns, rows = int((length - 4) // spacing), int((depth - 4) // spacing)
        for i, j in np.ndindex(max(columns, 0), max(rows, 0)):
            if random.random() > fill:
                continue
            u, v = (i + 0.5) / columns + random.normal(0, 0.02), (j + 0.5) / rows + random.normal(0, 0.02)
            x, y = x0 + (x1 - x0) * u + (x3 - x0) * v, y0 + (y1 - y0) * u + (y3 - y0) * v
            if -5 < x < SIDE + 5 and -5 < y < SIDE + 5:
                size = random.uniform(0.5, 0.85) * spacing, random.uniform(0.4, 0.6) * spacing
                painter.roof(x, y, size, angle + (random.random() < 0.5) * np.pi / 2, pick(random, colours, 10), 1.5)
    return painter.array()


def industrial(random: Generator) -> np.ndarray:
    """Halls with large bright roofs on paved ground, yards, parked vehicles."""
    painter, blocks, angle = town(random, random.uniform(26, 46))
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
    for u in np.arange(-size[0] / 2, size[0] / 2, 3.0):
        for v in np.arange(-size[1] / 2, size[1] / 2, 6.0):
            if random.random() < 0.7:
                x, y = centre[0] + u * c - v * s, centre[1] + u * s + v * c
                painter.disc(x, y, 0.8, pick(random, (*METAL, (60, 62, 70), (150, 60, 54)), 12))


PAINT: dict[str, Callable[[Generator], np.ndarray]] = {
    "AnnualCrop": annual_crop,
    "PermanentCrop": permanent_crop,
    "Pasture": pasture,
    "Shrubland": shrubland,
    "Forest": forest,
    "River": river,
    "Highway": highway,
    "SeaLake": sea_lake,
    "Residential": residential,
    "Industrial": industrial,
}
