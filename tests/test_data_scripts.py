"""The scripts in `data_scripts/` run as their docstrings say."""

import dataclasses
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsprune_lib.data import Split, get_card, load_data

SCRIPTS = Path(__file__).resolve().parents[1] / "data_scripts"


def run(monkeypatch, name, *arguments):
    """Run a script in this process, which saves the start of an interpreter."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / name), run_name="__main__")


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.name)
def test_help_has_a_runnable_example(script, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, script.name, "--help")
    assert stop.value.code == 0
    assert re.search(rf"Example:\s+.*python data_scripts/{script.name} ", capsys.readouterr().out)


def test_draw_synthetic(tmp_path, monkeypatch):
    run(monkeypatch, "draw_synthetic.py", tmp_path, "--count", 30, "--size", 32)
    data = load_data(tmp_path / "synthetic", root=tmp_path, progress=False)
    assert data.images.shape == (30, 32, 32, 3) and data.num_classes == 10 and "synthetic" in data.files[0]


def test_fetch_dataset(tmp_path, monkeypatch, capsys):
    small = dataclasses.replace(get_card("synthetic"), num_images=30)
    monkeypatch.setattr("rsprune_lib.data.catalogue.CARDS", {"synthetic": small})
    run(monkeypatch, "fetch_dataset.py", "synthetic", "--root", tmp_path)
    assert "30 images of 64 px, 10 classes (10 train, 10 val, 10 test)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="'synthetc'"):
        run(monkeypatch, "fetch_dataset.py", "synthetc", "--root", tmp_path)


def test_export_split(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    run(monkeypatch, "export_split.py", tiny_folder, tmp_path / "lists", "--seed", 5)
    lists = {part: (tmp_path / f"lists/{part}.txt").read_text().split() for part in ("train", "val", "test")}
    assert [len(names) for names in lists.values()] == [60, 8, 28]
    data = load_data(tiny_folder, split_seed=5, progress=False)
    assert Split.load(tmp_path / "lists/split.json", data.files).hash == data.split.hash
    assert lists["val"] == [data.files[i] for i in data.split.val]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_cut_tiles(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(1, 4000, (4, 100, 140), dtype=np.uint16)
    cover = np.zeros((1, 100, 140), np.uint8)
    cover[:, :, 70:] = 1
    pixels[:, :10, :10] = 0  # outside the scene
    profile = {"driver": "GTiff", "height": 100, "width": 140, "crs": "EPSG:32632"}
    profile["transform"] = rasterio.transform.from_origin(5e5, 5e6, 10, 10)
    for name, bands in (("scene", pixels), ("cover", cover)):
        own = {"count": len(bands), "dtype": bands.dtype, "nodata": 0 if name == "scene" else None}
        with rasterio.open(tmp_path / f"{name}.tif", "w", **own, **profile) as raster:
            raster.write(bands)
    arguments = ("--size", 32, "--labels", tmp_path / "cover.tif", "--names", "water,town")
    run(monkeypatch, "cut_tiles.py", tmp_path / "scene.tif", tmp_path / "own", *arguments)
    found = sorted(path.relative_to(tmp_path / "own").as_posix() for path in (tmp_path / "own").rglob("*.tif"))
    # columns 0, 32: water; 64: 81 % town; 96: town; the first tile lies partly outside
    expected = [f"town/scene_{r}_{c}.tif" for r in (0, 32, 64) for c in (64, 96)]
    expected += [f"water/scene_{r}_{c}.tif" for r in (0, 32, 64) for c in (0, 32) if (r, c) != (0, 0)]
    assert found == sorted(expected)
    with rasterio.open(tmp_path / "own/town/scene_32_96.tif") as tile:
        assert (tile.read() == pixels[:, 32:64, 96:128]).all() and tile.bounds.left == 5e5 + 960
    run(monkeypatch, "cut_tiles.py", tmp_path / "scene.tif", tmp_path / "all", "--size", 64, "--stride", 30)
    assert len(list((tmp_path / "all/tiles").iterdir())) == 5
    assert load_data(tmp_path / "own", root=tmp_path, progress=False).images.shape == (11, 32, 32, 3)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "small.tif")
    with pytest.raises(SystemExit, match="expected"):
        run(monkeypatch, "cut_tiles.py", tmp_path / "scene.tif", tmp_path / "x", "--labels", tmp_path / "small.tif")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_cut_tiles_with_masks(tmp_path, monkeypatch):
    random, masks = np.random.default_rng(0), {}
    place = rasterio.transform.from_origin(5e5, 5e6, 0.5, 0.5)
    for name in "ab":
        mask = masks[name] = random.integers(0, 3, (1, 40, 56), dtype=np.uint8)
        mask[:, :32, :32] = 9  # a tile without any class
        image = 100 + 50 * np.repeat(mask.astype(np.uint16), 4, 0)
        image[:, :, -5:] = 0  # outside the scene
        for folder, pixels, nodata in (("scenes", image, 0), ("labels", mask, 9)):
            (tmp_path / folder).mkdir(exist_ok=True)
            profile = {"driver": "GTiff", "height": 40, "width": 56, "crs": "EPSG:32632", "transform": place}
            profile |= {"count": len(pixels), "dtype": pixels.dtype, "nodata": nodata}
            with rasterio.open(tmp_path / folder / f"{name}.tif", "w", **profile) as raster:
                raster.write(pixels)
    run(
        monkeypatch, "cut_tiles.py", tmp_path / "scenes", tmp_path / "own", "--size", 32, "--masks", tmp_path / "labels"
    )
    names = {path.name for path in (tmp_path / "own/images").iterdir()}
    assert names == {f"{name}_{place}.tif" for name in "ab" for place in ("0_24", "8_0", "8_24")}
    assert {path.name for path in (tmp_path / "own/masks").iterdir()} == names
    with (
        rasterio.open(tmp_path / "own/masks/a_8_24.tif") as tile,
        rasterio.open(tmp_path / "own/images/a_8_24.tif") as image,
    ):
        assert tile.bounds == image.bounds and tile.bounds.left == 5e5 + 12 and tile.crs == image.crs
        own = tile.read()
        assert (own[:, 24:, 8:-5] == masks["a"][:, 32:, 32:-5]).all() and tile.nodata == 9
        assert (own[:, :24] == 9).all() and (own[:, :, :8] == 9).all()  # they count in other tiles
        assert (own[..., -5:] == 9).all()  # no data in the image
    data = load_data(tmp_path / "own", root=tmp_path, progress=False)
    counted = sum(data.class_pixels(part) for part in ("train", "val", "test"))
    expected = [sum(int((mask[..., :-5] == k).sum()) for mask in masks.values()) for k in range(3)]
    assert data.task.name == "segmentation" and counted.tolist() == expected  # each pixel once
    with rasterio.open(tmp_path / "labels/a.tif", "r+") as raster:
        raster.transform = rasterio.transform.from_origin(6e5, 5e6, 0.5, 0.5)
    with pytest.raises(SystemExit, match="does not lie where"):
        arguments = (tmp_path / "scenes/a.tif", tmp_path / "x", "--masks", tmp_path / "labels/a.tif", "--size", 32)
        run(monkeypatch, "cut_tiles.py", *arguments)
