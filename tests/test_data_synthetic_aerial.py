"""Synthetic aerial scenes: reproducible, all classes, exact masks, a split by tile."""

import dataclasses

import numpy as np
import pytest

from rsprune_lib.data import catalogue, get_card, load_data
from rsprune_lib.data.drawing import canvas
from rsprune_lib.data.drawing.canvas import BUILDING, CAR, CLASSES, LOW, ROAD, Canvas, Plot, Sun
from rsprune_lib.data.drawing.things import car
from rsprune_lib.data.synthetic_aerial import SIDE, draw_tile

STRAIGHT = ((0.0, 1.0, 0.0), (0.0, 1.0, 0.0))


@pytest.fixture(scope="module")
def tiles():
    return [draw_tile(0, number) for number in range(3)]


def test_tiles_depend_on_seed_and_number_only(tiles):
    image, mask = draw_tile(0, 1)
    assert (image == tiles[1][0]).all() and (mask == tiles[1][1]).all()
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == mask.dtype == np.uint8
    assert not (tiles[0][1] == tiles[1][1]).all() and not (draw_tile(1, 1)[1] == mask).all()


def test_every_class_is_there_and_cars_are_rare(tiles):
    shares = np.bincount(np.concatenate([mask.ravel() for _, mask in tiles]), minlength=len(CLASSES)) / (3 * SIDE**2)
    assert len(shares) == len(CLASSES) and (shares > 0.003).all()
    assert shares.argmin() in (CAR, CLASSES.index("clutter")) and 0.008 < shares[CAR] < 0.03


def test_a_mask_holds_what_was_drawn():
    ground = Canvas(40.0, (100, 140, 80), STRAIGHT)
    plot = Plot(20, 20, 0.0, 10, 6)
    ground.polygon(plot.corners, (200, 90, 60), BUILDING, 5.0)
    image, mask = ground.finish(np.random.default_rng(0), Sun(np.pi / 2, np.pi / 4))  # the sun is below, to the south
    side = mask.shape[0]
    rows = np.nonzero(mask == BUILDING)[0]
    assert abs(len(rows) * canvas.PIXEL**2 - 60) < 8
    assert (rows.min() + rows.max()) / 2 == pytest.approx(side / 2, abs=1)
    assert image[0][mask == BUILDING].mean() > image[0][mask == LOW].mean() + 50
    above, below = image[:, rows.min() - 6, side // 2].mean(), image[:, rows.max() + 6, side // 2].mean()
    assert above < 0.7 * below  # a shadow falls to the north, and stays low vegetation
    assert mask[rows.min() - 6, side // 2] == LOW


def test_a_pixel_has_the_class_that_covers_most_of_it():
    parts = np.array([[ROAD, ROAD, LOW, CAR], [ROAD, CAR, CAR, LOW]], np.uint8)
    assert canvas._majority(parts).tolist() == [[ROAD, CAR]]


def test_things_stand_only_where_there_is_room():
    ground = Canvas(40.0, (100, 140, 80), STRAIGHT)
    place = Plot(20, 20, 0.3, 4.6, 1.9)
    assert ground.free(place, (LOW,)) and not ground.free(place, (ROAD,))
    car(ground, np.random.default_rng(0), place)
    assert not ground.free(place, (LOW,)) and not ground.free(Plot(300, 20, 0, 5, 5), (LOW,))


def test_windows_of_a_tile_stay_in_one_part(tmp_path, monkeypatch):
    card = dataclasses.replace(get_card("synthetic_aerial"), num_images=4)
    monkeypatch.setitem(catalogue.CARDS, card.name, card)
    data = load_data(card.name, image_size=256, root=tmp_path, progress=False)
    assert data.images.shape == (16, 256, 256, 3) and data.masks.shape == (16, 256, 256)
    assert data.synthetic and "synthetic" in data.title and data.classes == CLASSES and len(data.palette) == 6
    tiles = {part: {data.files[i].split("_")[1] for i in data.part(part)} for part in ("train", "val", "test")}
    assert sum(map(len, tiles.values())) == 4 and all(tiles.values())
    image, mask = draw_tile(0, 0)
    assert (data.images[3] == image[256:, 256:]).all() and (data.masks[3] == mask[256:, 256:]).all()
    assert data.class_pixels("train").sum() == len(data.part("train")) * 256**2  # every pixel has a class
