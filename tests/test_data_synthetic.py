"""Synthetic scenes: reproducible, labelled, graded."""

import itertools

import numpy as np
import pytest

from rsprune_lib.data.drawing import PAINT
from rsprune_lib.data.drawing.brush import SIDE, noise, parcels, waves
from rsprune_lib.data.synthetic import draw_scene, draw_scenes


def test_scenes_depend_on_seed_and_number_only():
    long, short = list(draw_scenes(14, seed=3)), list(draw_scenes(4, seed=3))
    assert [label for _, label in long] == [i % 10 for i in range(14)]
    assert all((a == b).all() for (a, _), (b, _) in zip(long, short, strict=False))
    assert not (long[0][0] == long[10][0]).all() and not (long[0][0] == next(draw_scenes(1, seed=4))[0]).all()


@pytest.mark.parametrize("size", [32, 64, 128, 200])
def test_size(size):
    image, _ = next(draw_scenes(1, size=size))
    assert image.shape == (size, size, 3) and image.dtype == np.uint8 and image.std() > 5


@pytest.mark.parametrize("label", range(len(PAINT)))
def test_every_class_is_painted_differently_each_time(label):
    scenes = [draw_scene(label, np.random.default_rng([label, i]), difficulty=0.0).astype(float) for i in range(6)]
    assert all(np.abs(a - b).mean() > 4 for a, b in itertools.combinations(scenes, 2))
    assert all(20 < scene.mean() < 220 for scene in scenes)


def test_difficulty_takes_contrast_away():
    clear, hard = [
        np.mean([draw_scene(0, np.random.default_rng(i), difficulty=d).std((0, 1)).mean() for i in range(12)])
        for d in (0.0, 1.0)
    ]
    assert clear > 1.15 * hard


def test_brushes():
    random = np.random.default_rng(0)
    window = noise(random, "rough")
    assert window.shape == (SIDE, SIDE) and window.dtype == np.float32 and abs(window.mean()) < 2
    wave = waves(np.arange(100, dtype=np.float32), 10)
    assert wave.min() == -1 and wave.max() == 1 and np.allclose(wave[:90], wave[10:], atol=1e-5)
    for angle in (0.0, 0.7):
        areas = 0.0
        for corners in parcels(random, angle, 20):
            x, y = np.array(corners).T
            areas += 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        assert areas >= SIDE * SIDE, "the parcels that can be seen cover the canvas"
