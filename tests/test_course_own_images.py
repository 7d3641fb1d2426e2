"""Images that no bundle was made for: size, images and epochs follow a stated time, and a weak network is called so."""

import logging

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rsprune_lib.cli import app
from rsprune_lib.course import own_images, profile, trained
from rsprune_lib.course.headless import runner
from rsprune_lib.course.own_images import SIDES, course_data, course_minutes, epochs_and_images, working_size
from rsprune_lib.data import load_data
from rsprune_lib.errors import RspruneError


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder of three classes with 12 images of 200 x 200 pixels each."""
    folder, random = tmp_path_factory.mktemp("mine"), np.random.default_rng(0)
    for label in ("farm", "lake", "town"):
        (folder / label).mkdir()
        for number in range(12):
            pixels = random.integers(0, 256, (200, 200, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def step(monkeypatch):
    """Sets the seconds of a training step at 64 pixels a side; nothing is timed."""

    def set_to(seconds):
        monkeypatch.setattr(own_images, "step_seconds", lambda side, width: seconds * (side / 64) ** 2)

    return set_to


def test_the_size_is_the_largest_that_fits_the_time(large, step):
    data, quick = load_data(large), profile("quick")
    sizes = []
    for seconds in (0.5, 0.1, 0.05, 0.001):
        step(seconds)
        plan = working_size(data, quick, 12)
        sizes.append(plan.side)
        assert f"Working at {plan.side} px" in plan.words and f"about {plan.minutes:.0f} minutes" in plan.words
        larger = [side for side in SIDES if plan.side < side <= 200]
        assert plan.side == 64 or plan.minutes <= 12
        assert not larger or course_minutes(larger[0], seconds) > 12
    assert sizes[0] == 64 and sizes == sorted(sizes) and sizes[-1] == 192, "never above the 200 pixels that are there"
    assert working_size(data, quick, 12, side=96).side == 96
    assert working_size(data, profile("full"), 12) is None
    assert working_size(data, profile("smoke"), 12).side == 64
    with pytest.raises(RspruneError, match=r"Got --size 256, but the images of .* have 200 pixels a side"):
        working_size(data, quick, 12, side=256)


def test_small_images_and_masks_keep_their_size(tiny_data, fields):
    assert working_size(tiny_data, profile("quick"), 12) is None
    assert working_size(fields, profile("quick"), 12) is None
    with pytest.raises(RspruneError, match=r"Got --size 32, but the images of .* have masks"):
        working_size(fields, profile("quick"), 12, side=32)


def test_a_notebook_takes_the_size_of_its_run(large, monkeypatch, caplog):
    monkeypatch.setenv("RSPRUNE_SIZE", "96")
    assert course_data(str(large), profile("quick")).image_size == 96
    monkeypatch.setenv("RSPRUNE_SIZE", "ninety")
    with pytest.raises(RspruneError, match="Got RSPRUNE_SIZE='ninety'; expected pixels a side"):
        course_data(str(large), profile("quick"))
    monkeypatch.delenv("RSPRUNE_SIZE")
    assert course_data(str(large), profile("full")).image_size == 200
    with caplog.at_level(logging.WARNING, "rsprune"):
        assert course_data(str(large), profile("quick")).image_size == 64
    assert "works at 64 pixels a side" in caplog.text


def test_epochs_and_images_follow_the_time(large, step):
    data, quick = load_data(large, image_size=64), profile("quick")
    images = len(data.part("train"))
    step(0.1)
    assert epochs_and_images(data, quick, 90) == (60, images), "a small folder is seen at most 60 times"
    step(8.0)
    assert epochs_and_images(data, quick, 90) == (720 // images, images)
    step(100.0)
    assert epochs_and_images(data, quick, 90) == (quick.train_epochs, images)
    assert epochs_and_images(data, quick, None) == (quick.train_epochs, quick.train_images)


def test_a_network_that_knows_little_is_called_so(large, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(trained.__globals__, "project_root", lambda: tmp_path)
    data = load_data(large, image_size=64)
    for _ in range(2):  # also when it is loaded again
        caplog.clear()
        with caplog.at_level(logging.WARNING, "rsprune"):
            trained(data, choice=profile("smoke"), progress=False)
        assert "(one guess in 3 is right by chance); what pruning does to it says little" in caplog.text


def test_a_run_that_goes_on_keeps_its_size(large, tmp_path, monkeypatch):
    seen = []

    def run_course(*_args, size, **_how):
        seen.append(size)
        return runner.CourseRun(tmp_path, (), {"rows": [], "notes": []})

    monkeypatch.setattr(runner, "run_course", run_course)
    ask = ["run", "00", "--data", str(large), "--profile", "smoke", "--out"]
    for number, (more, before) in enumerate((([], {}), (["--size", "96"], {}), ([], {"size": 128}))):
        monkeypatch.setattr(runner, "earlier", lambda run, before=before: before)
        assert CliRunner().invoke(app, [*ask, str(tmp_path / str(number)), *more]).exit_code == 0
    assert seen == [64, 96, 128]
