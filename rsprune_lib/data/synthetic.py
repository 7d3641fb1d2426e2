"""Synthetic scenes: ten land-cover classes drawn procedurally, of graded difficulty; not remote-sensing data."""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from rsprune_lib.data.drawing import PAINT
from rsprune_lib.data.drawing.brush import SIDE, blend, noise, planes, rotated, to_image

__all__ = ["VERSION", "draw_scene", "draw_scenes"]

VERSION = 3  # of the drawings; a cache of another version is drawn again
CLASSES = tuple(PAINT)


def draw_scenes(count: int, *, size: int = 64, seed: int = 0) -> Iterator[tuple[np.ndarray, int]]:
    """Yield ``count`` images with labels, the classes in turn.

    Image ``i`` depends on ``(seed, i)`` only: a longer series begins with the shorter one.

    Args:
        count: images.
        size: pixels a side.
        seed: another seed, other images.

    Yields:
        image (size, size, 3) uint8 RGB, and label.
    """
    for i in range(count):
        label = i % len(CLASSES)
        yield draw_scene(label, np.random.default_rng([seed, i]), size=size), label


def draw_scene(label: int, random: Generator, *, size: int = 64, difficulty: float | None = None) -> np.ndarray:
    """Draw one scene.

    Args:
        label: class number.
        random: generator.
        size: pixels a side.
        difficulty: 0 clear to 1 (haze, clouds, weak contrast, noise, blur, a part of another class); default: drawn,
            mostly low.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    difficulty = random.beta(1.1, 1.3) if difficulty is None else difficulty
    scene = PAINT[CLASSES[label]](random)
    if random.random() < 0.7 * difficulty:
        scene = _mix(scene, label, random, difficulty)
    scene = _light(scene, random)
    image = to_image(_weather(scene, random, difficulty))
    image = image.resize((size, size), Image.Resampling.BOX if size <= SIDE // 2 else Image.Resampling.BICUBIC)
    if random.random() < 0.5 * difficulty:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.5) * size / 64))
    return _sensor(np.asarray(image, np.float32), random, difficulty)


def _mix(scene: np.ndarray, label: int, random: Generator, difficulty: float) -> np.ndarray:
    """Let another class take up to 45 % of the scene, behind an irregular border."""
    other = (label + random.integers(1, len(CLASSES))) % len(CLASSES)
    _, across = rotated(random.uniform(0, 2 * np.pi))
    least = 0.24 if CLASSES[label] in ("River", "Highway") else 0.04  # a river has to stay in sight
    border = across + 5 * noise(random, "smooth") - SIDE * (0.4 - (0.4 - least) * difficulty * random.random())
    return blend(scene, PAINT[CLASSES[other]](random), border / 2)


def _light(scene: np.ndarray, random: Generator) -> np.ndarray:
    """Terrain, season and sun: slow shading, gain of every channel, brightness."""
    gain = (1 + random.normal(0, 0.035, 3)) * (1 + random.normal(0, 0.09))
    return scene * (1 + 0.045 * noise(random, "smooth")) * planes(gain)


def _weather(scene: np.ndarray, random: Generator, difficulty: float) -> np.ndarray:
    """Weak contrast, haze, clouds with their shadows."""
    scene = blend(scene, scene.mean((1, 2)).round(2), difficulty * random.uniform(0, 0.6))
    haze = difficulty * random.uniform(0, 0.7) * (1 + 0.15 * noise(random, "smooth"))
    scene = blend(scene, (168, 178, 190), haze)
    if random.random() < 0.45 * difficulty:
        cloud = (noise(random, "smooth") + 0.25 * noise(random, "rough") - random.uniform(0.6, 1.6)) * 1.3
        shift = random.integers(8, 20)
        scene = scene * (1 - 0.45 * np.clip(np.roll(cloud, (shift, shift), (0, 1)), 0, 1))
        scene = blend(scene, (238, 240, 244), cloud)
    return scene


def _sensor(image: np.ndarray, random: Generator, difficulty: float) -> np.ndarray:
    """Noise of the sensor, the same in all channels and in each."""
    common = 1.2 + 7 * difficulty * random.random()
    own = random.standard_normal(image.shape, np.float32)
    grain = random.standard_normal((*image.shape[:2], 1), np.float32) * np.float32(common)
    return np.clip(np.rint(image + grain + own * np.float32(1.2)), 0, 255).astype(np.uint8)
