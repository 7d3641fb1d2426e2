"""Profiles and places: how much work, and where things lie."""

import dataclasses

import pytest

from rsprune_lib.course import PROFILES, bundle_path, equal_pixels, profile
from rsprune_lib.course.headless.notebooks import notebooks_folder, select
from rsprune_lib.errors import RspruneError
from rsprune_lib.places import project_root


def test_environment_chooses_the_profile(monkeypatch):
    monkeypatch.delenv("RSPRUNE_PROFILE", raising=False)
    assert profile().name == "quick"
    monkeypatch.setenv("RSPRUNE_PROFILE", "smoke")
    assert profile().name == "smoke"
    assert profile("full").name == "full"


def test_unknown_profile_offers_the_nearest():
    with pytest.raises(RspruneError, match="did you mean 'smoke'"):
        profile("smok")


def test_profiles_grow():
    order = [PROFILES[name] for name in ("smoke", "quick", "full")]
    for field in dataclasses.fields(order[0]):
        values = [getattr(p, field.name) for p in order]
        if field.name.endswith(("_images", "_epochs", "_repeats")):
            sizes = [float("inf") if v is None else v for v in values]
            assert sizes == sorted(sizes), field.name


@pytest.fixture
def folder(tmp_path):
    for name in ("00_start", "01_train", "app", "10_more"):
        (tmp_path / f"{name}.ipynb").write_text("{}")
    return tmp_path


def test_notebooks_are_chosen_by_number_or_name(folder):
    assert [p.stem for p in select(None, folder)] == ["00_start", "01_train", "10_more"]
    assert [p.stem for p in select(["1", "00", "01_train"], folder)] == ["01_train", "00_start"]
    with pytest.raises(RspruneError, match=r"Got notebook '7'; expected .* 00_start"):
        select(["7"], folder)
    with pytest.raises(RspruneError, match="Found no notebook"):
        select(None, folder / "..")


def test_a_lesson_between_two_has_a_letter(folder):
    (folder / "01b_more.ipynb").write_text("{}")
    (folder / "01_train.draft.ipynb").write_text("{}")
    assert [p.stem for p in select(None, folder)] == ["00_start", "01_train", "01b_more", "10_more"]
    assert [p.stem for p in select(["1b", "1", "01b_more"], folder)] == ["01b_more", "01_train"]


def test_bundles_and_notebooks_are_found_or_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_BUNDLES", str(tmp_path))
    assert bundle_path("dense") is None
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / "config.json").write_text("{}")
    assert bundle_path("dense") == tmp_path / "dense"
    monkeypatch.setenv("RSPRUNE_NOTEBOOKS", str(tmp_path / "none"))
    with pytest.raises(RspruneError, match="start rsprune in a clone"):
        notebooks_folder()
    assert (project_root() / "pyproject.toml").is_file()


def test_images_with_masks_are_counted_by_their_pixels(fields):
    assert fields.images.shape[1:3] == (40, 56)
    assert equal_pixels(500, fields) == 500 * 4096 // (40 * 56)
    assert equal_pixels(1, fields) == 4 and equal_pixels(None, fields) is None
