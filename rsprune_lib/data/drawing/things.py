"""What stands on the ground: houses, trees, cars, and what belongs to no class of its own; sizes in metres."""

from math import cos, pi, sin

import numpy as np
from numpy.random import Generator

from rsprune_lib.data.drawing.brush import Colour
from rsprune_lib.data.drawing.canvas import BUILDING, CAR, CLUTTER, ROAD, TREE, Canvas, Plot, Sun
from rsprune_lib.data.drawing.country import METAL, pick

__all__ = ["car", "container", "flat_roof", "heap", "panels", "pitched_roof", "pool", "strips", "tree"]

PAINT = ((232, 232, 230), (190, 194, 198), (40, 42, 46), (92, 96, 102), (150, 40, 40), (44, 74, 130), (24, 26, 30))
GLASS = (36, 44, 54)
BOXES = ((164, 72, 52), (52, 92, 140), (74, 112, 74), (196, 150, 60), (150, 150, 148))


def _lit(colour: Colour, factor: float) -> Colour:
    return tuple(value * factor for value in colour)


def pitched_roof(
    canvas: Canvas, plot: Plot, sun: Sun, colour: Colour, height: float, hipped: bool = False, chimney: bool = True
) -> None:
    """A roof with its ridge along the plot; each face as bright as the sun makes it."""
    u, v = plot.length / 2, plot.width / 2
    ridge = max(u - v, 0.2) if hipped else u
    first, last = plot.at(-ridge, 0), plot.at(ridge, 0)
    corner = plot.corners
    faces = [([corner[0], corner[1], last, first], -pi / 2), ([corner[3], corner[2], last, first], pi / 2)]
    if hipped:
        faces += [([corner[0], first, corner[3]], pi), ([corner[1], last, corner[2]], 0.0)]
    for points, towards in faces:
        canvas.polygon(points, _lit(colour, sun.shade(plot.angle + towards)), BUILDING, height)
    if chimney and u > 4:
        canvas.polygon(plot.part(u * 0.35, v * 0.25, 0.9, 0.9).corners, _lit(colour, 0.55), BUILDING, height + 1.5)


def panels(canvas: Canvas, random: Generator, plot: Plot, sun: Sun, height: float) -> None:
    """Solar panels on that half of a roof that sees the sun more."""
    side = 1 if sun.shade(plot.angle + pi / 2) > 1 else -1
    rows = plot.part(
        random.uniform(-0.2, 0.1) * plot.length, side * plot.width * 0.26, plot.length * 0.5, plot.width * 0.3
    )
    canvas.polygon(rows.corners, pick(random, ((34, 42, 66), (26, 30, 44)), 4), BUILDING, height)


def flat_roof(canvas: Canvas, random: Generator, plot: Plot, colour: Colour, height: float) -> None:
    """A flat roof with a parapet and what stands on it."""
    canvas.polygon(plot.corners, _lit(colour, 1.12), BUILDING, height)
    canvas.polygon(plot.inset(0.45).corners, colour, BUILDING, height - 0.2)
    for along, across, size in random.uniform(-1, 1, (int(plot.length * plot.width / 110), 3)).tolist():
        length, width = 2.2 + size, 1.7 + 0.7 * size
        unit = plot.part(along * (plot.length / 2 - 2.5), across * (plot.width / 2 - 2), length, width)
        canvas.polygon(unit.corners, pick(random, METAL, 12), BUILDING, height + 1.2)


def strips(canvas: Canvas, plot: Plot, colour: Colour, height: float, spacing: float) -> None:
    """Bands of skylights across a hall's roof."""
    for along in np.arange(-plot.length / 2 + spacing / 2, plot.length / 2, spacing).tolist():
        canvas.polygon(plot.part(along, 0, 1.1, plot.width * 0.72).corners, colour, BUILDING, height)


def tree(canvas: Canvas, random: Generator, place: tuple[float, float], radius: float, sun: Sun, hue: Colour) -> None:
    """A crown of lobes, bright towards the sun."""
    x, y = place
    height = radius * random.uniform(1.5, 2.4) + 1
    canvas.disc(x, y, radius * 0.86, _lit(hue, 0.72), TREE, height * 0.6)
    lobes = random.uniform(-1, 1, (int(7 + 3 * radius), 4))
    for turn, far, size, tint in lobes[np.argsort(-np.abs(lobes[:, 1]))].tolist():  # the top of the crown last
        reach = abs(far) * 0.72 * radius
        dx, dy = reach * cos(pi * turn), reach * sin(pi * turn)
        facing = (dx * sun.towards[0] + dy * sun.towards[1]) / radius
        lobe = radius * (0.3 + 0.08 * size)
        lit = 0.94 + 0.34 * facing + 0.1 * tint
        canvas.disc(x + dx, y + dy, lobe, _lit(hue, lit), TREE, height * (1 - 0.45 * abs(far)))


def car(canvas: Canvas, random: Generator, plot: Plot) -> None:
    """A car along the plot, of the usual size: body, windscreens, roof."""
    length, width = random.uniform(4.0, 4.9), random.uniform(1.75, 1.95)
    paint = pick(random, PAINT, 6)
    u, v = length / 2, width / 2
    outline = [(-u, -0.7 * v), (-0.9 * u, -v), (0.85 * u, -v), (u, -0.6 * v), (u, 0.6 * v), (0.85 * u, v)]
    outline += [(-0.9 * u, v), (-u, 0.7 * v)]
    canvas.polygon([plot.at(*point) for point in outline], paint, CAR, 0.9)
    canvas.polygon(plot.part(-0.12 * u, 0, length * 0.62, width * 0.84).corners, GLASS, CAR, 1.4)
    canvas.polygon(plot.part(-0.17 * u, 0, length * 0.36, width * 0.78).corners, _lit(paint, 1.05), CAR, 1.5)


def container(canvas: Canvas, random: Generator, plot: Plot) -> None:
    """A shipping container: clutter."""
    canvas.polygon(plot.part(0, 0, random.choice([6.1, 12.2]), 2.5).corners, pick(random, BOXES, 8), CLUTTER, 2.6)


def pool(canvas: Canvas, random: Generator, plot: Plot) -> None:
    """A swimming pool with its rim: clutter on paving."""
    canvas.polygon(plot.part(0, 0, plot.length + 1.6, plot.width + 1.6).corners, (206, 200, 188), ROAD)
    canvas.polygon(plot.corners, pick(random, ((88, 190, 206), (70, 168, 196), (104, 200, 204)), 6), CLUTTER)


def heap(canvas: Canvas, random: Generator, place: tuple[float, float], radius: float, sun: Sun, hue: Colour) -> None:
    """A heap of soil or gravel: clutter."""
    x, y = place
    for step in range(4):
        share = step / 4
        shift = 0.25 * radius * share
        colour = _lit(hue, 0.86 + 0.3 * share)
        at = x + shift * sun.towards[0], y + shift * sun.towards[1]
        canvas.disc(*at, radius * (1 - share) * random.uniform(0.9, 1.0), colour, CLUTTER, 0.7 * radius * share)
