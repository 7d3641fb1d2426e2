"""Synthetic aerial scenes with exact masks: town tiles drawn procedurally; not remote-sensing data."""

import numpy as np
from numpy.random import Generator

from rsprune_lib.data.drawing.brush import blend, noise, parcels, planes
from rsprune_lib.data.drawing.canvas import CLASSES, PIXEL, Canvas, Plot, Sun
from rsprune_lib.data.drawing.country import ASPHALT, GRASS, TILES, pick
from rsprune_lib.data.drawing.quarters import QUARTERS, Tile, cars_along

__all__ = ["CLASSES", "SIDE", "VERSION", "draw_tile"]

VERSION = 1  # of the drawings; a cache of another version is drawn again
SIDE = 512  # pixels of a tile, of 40 cm each
TINTS = ((1.0, 1.0, 1.0), (1.12, 1.0, 0.82), (0.9, 1.02, 0.92), (1.2, 1.08, 0.86))  # of vegetation: seasons


def draw_tile(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one tile; it depends on ``(seed, number)`` only.

    Args:
        seed: another seed, other tiles.
        number: of the tile.

    Returns:
        (SIDE, SIDE, 3) uint8 RGB, and (SIDE, SIDE) uint8 numbers of `CLASSES`.
    """
    random = np.random.default_rng([seed, number])
    metres = SIDE * PIXEL
    sun = Sun(random.uniform(0.15, 0.85) * np.pi, random.uniform(0.6, 1.0))  # in the south, which is below
    tint = np.asarray(TINTS[random.integers(len(TINTS))])
    grass = tuple(tuple(tint * colour) for colour in GRASS)
    bends = tuple((random.uniform(1, 5), random.uniform(0.5, 1.3), random.uniform(0, 6.28)) for _ in range(2))
    canvas = Canvas(metres, pick(random, grass, 4), bends)
    roofs = tuple(TILES[i] for i in random.permutation(len(TILES))[: random.integers(2, 5)])
    tile = Tile(canvas, random, sun, grass, roofs, pick(random, ASPHALT[:3], 8))
    _town(tile, parcels(random, random.uniform(0, np.pi / 2), random.uniform(38, 54), metres))
    image, mask = canvas.finish(random, sun)
    return _sensor(_weather(image, random), random), mask


def _town(tile: Tile, blocks: list[list[tuple[float, float]]]) -> None:
    """Streets around the blocks, then what stands in them, then cars and street trees."""
    random, canvas = tile.random, tile.canvas
    street, walk = random.uniform(5.6, 7.8), random.uniform(1.2, 2.0)
    paving = pick(random, ((170, 164, 158), (150, 147, 142)), 6)
    for width, colour in ((street + 2 * walk, paving), (street, tile.asphalt)):
        for corners in blocks:
            canvas.line([*corners, corners[0], corners[1]], colour, width)
    for corners in blocks:
        _centre_line(tile, corners)
    kinds, shares = list(QUARTERS), np.array(list(QUARTERS.values()))
    for corners in blocks:
        inner = Plot.of(corners).inset(street / 2 + walk)
        kinds[random.choice(len(kinds), p=shares / shares.sum())](tile, inner)
    for corners in blocks:
        cars_along(tile, corners, street)
        _street_trees(tile, Plot.of(corners).inset(street / 2 + walk / 2))


def _centre_line(tile: Tile, corners: list[tuple[float, float]]) -> None:
    """Dashes between the lanes."""
    for start, end in map(np.asarray, ((corners[0], corners[1]), (corners[1], corners[2]))):
        steps = int(np.hypot(*(end - start)) / 6)
        for k in range(2, steps - 2):
            ends = [tuple(start + (end - start) * share) for share in (k / steps, (k + 0.5) / steps)]
            tile.canvas.line(ends, (204, 204, 198), 0.2)


def _street_trees(tile: Tile, ring: Plot) -> None:
    """A row of trees on the pavement along some sides of a block."""
    for turn, length, depth in ((0.0, ring.length, ring.width), (np.pi / 2, ring.width, ring.length)):
        for side in (-1, 1):
            if tile.random.random() < 0.3:
                row = ring.part(0, 0, length, depth, turn).part(0, side * depth / 2, length - 6, 0.6)
                tile.trees(row, int(length / 8), (1.3, 2.4), (1, 2))


def _weather(image: np.ndarray, random: Generator) -> np.ndarray:
    """Sun, haze and film: gain of every channel, slow shading, a veil, contrast."""
    gain = (1 + random.normal(0, 0.03, 3)) * (1.05 + random.normal(0, 0.08))
    shading = np.kron(noise(random, "smooth", SIDE // 8), np.ones((8, 8), np.float32))
    image = image * planes(gain) * (1 + 0.02 * shading)
    return blend(image, (172, 180, 190), random.uniform(0, 0.16))


def _sensor(image: np.ndarray, random: Generator) -> np.ndarray:
    """Noise of the sensor; (H, W, 3) uint8."""
    grain = random.standard_normal(image.shape, np.float32) * np.float32(random.uniform(1, 4))
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8).transpose(1, 2, 0)
