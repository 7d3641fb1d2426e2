"""Open country: crops, pasture, shrubs, forest; each scene is (3, SIDE, SIDE) float32 in 0..255."""

import itertools

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from rsprune_lib.data.drawing.brush import SIDE, Colour, Corners, Painter, blend, noise, parcels, planes, rotated, waves

__all__ = ["annual_crop", "forest", "pasture", "permanent_crop", "shrubland"]

SOIL = ((150, 118, 88), (176, 146, 112), (122, 96, 76), (138, 112, 96), (190, 166, 130))
CROP = ((96, 124, 62), (74, 108, 58), (128, 142, 74), (166, 158, 92), (192, 178, 112), (84, 98, 56))
GRASS = ((104, 132, 72), (118, 142, 82), (92, 122, 70), (130, 146, 90))
DRY = ((132, 132, 86), (120, 124, 78), (148, 140, 98), (108, 124, 74))
SHRUB = ((70, 88, 54), (82, 98, 60), (62, 80, 52))
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
    deepest = 34 if random.random() < 0.3 else 12  # young rows of maize look like an orchard
    strength = mask([(corners, int(random.integers(0, deepest))) for corners in fields])
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
        cover = rows * random.uniform(0.35, 1.2) + random.uniform(0.1, 0.8) + 0.35 * noise(random, "grain")
        result = np.where(number == which, blend(soil, crowns, cover * random.uniform(0.3, 0.9)), result)
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
                for step, (dx, dy, size) in enumerate(random.uniform(-1, 1, (steps, 3)).tolist()):
                    share = (step + 0.3 * dx) / steps
                    x, y = x0 + (x1 - x0) * share + dy, y0 + (y1 - y0) * share + dy
                    if -3 < x < SIDE + 3 and -3 < y < SIDE + 3 and size > -0.6:
                        painter.tree(x, y, 1.9 + 0.7 * size, colour)


def trees(random: Generator, painter: Painter, count: int, colours: tuple[Colour, ...] = WOOD) -> None:
    """Single trees anywhere."""
    for x, y, size in random.random((count, 3)).tolist():
        painter.tree(SIDE * x, SIDE * y, 1.5 + 1.7 * size, pick(random, colours, 6))


def pasture(random: Generator) -> np.ndarray:
    """Smooth green parcels of little contrast, hedges, single trees, a track."""
    angle = random.uniform(0, np.pi)
    fields = parcels(random, angle, random.uniform(36, 60))
    base = np.asarray(pick(random, GRASS, 8))
    painter = Painter(tuple(base))
    for corners in fields:
        painter.polygon(corners, tuple(base + random.normal(0, 6) + random.normal(0, 3, 3)))
    shade = painter.array() + noise(random, "smooth") * planes((5, 4.5, 3)) + 3 * noise(random, "rough")
    if random.random() < 0.35:  # badly kept: dry patches and shrubs
        shade = blend(shade, pick(random, DRY), 0.25 + 0.4 * noise(random, "smooth"))
        shade = blend(shade, pick(random, SHRUB), clumps(random, random.uniform(-1.5, -0.6)))
    painter = Painter(shade)
    if random.random() < 0.4:
        track(random, painter, pick(random, SOIL), random.uniform(1, 2), bend=12)
    hedges(random, painter, fields, random.uniform(0, 0.28))
    trees(random, painter, int(random.integers(0, 9)))
    return painter.array() + 1.5 * noise(random, "grain")


def clumps(random: Generator, density: float) -> np.ndarray:
    """(SIDE, SIDE) cover of shrubs; density: -1 scattered, 1 closed."""
    return 0.7 * (noise(random, "rough") * 0.7 + noise(random, "grain") * 0.6 + density)


def shrubland(random: Generator) -> np.ndarray:
    """Mottled dry grass with clumps of shrubs and bare patches, no parcels."""
    bare = ground(random, pick(random, DRY), pick(random, SOIL + GRASS), "smooth", 0.3)
    result = blend(bare, pick(random, SHRUB), clumps(random, random.uniform(-1.2, 0.8)))
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
        gap = (noise(random, "smooth") + 0.3 * noise(random, "rough") - random.uniform(0.3, 1.8)) * 6
        result = blend(result, ground(random, pick(random, GRASS), pick(random, SOIL)), gap)
    painter = Painter(result)
    if random.random() < 0.35:
        track(random, painter, pick(random, SOIL + GRASS), random.uniform(1, 2), bend=30)
    return painter.array()


def path(random: Generator, bend: float, wiggle: float) -> np.ndarray:
    """(n, 2) points from one side of the canvas to another; bend: sagitta, wiggle: amplitude of meanders, in pixels."""
    angle = random.uniform(0, 2 * np.pi)
    t = np.linspace(-0.85, 0.85, 60)
    offset = random.uniform(-bend, bend) * (1 - t**2)
    for order in (1.3, 2.4, 4.1):
        offset = offset + wiggle / order * random.uniform(0.3, 1) * np.sin(order * 3 * t + random.uniform(0, 6.28))
    c, s = np.cos(angle), np.sin(angle)
    x, y = t * SIDE, offset - offset.mean() + random.uniform(-16, 16)  # it always passes near the middle
    return np.stack([SIDE / 2 + x * c - y * s, SIDE / 2 + x * s + y * c], 1)


def track(random: Generator, painter: Painter, colour: Colour, width: float, bend: float) -> None:
    """A small road across the scene."""
    painter.line([tuple(point) for point in path(random, bend, bend / 4)], colour, width)
