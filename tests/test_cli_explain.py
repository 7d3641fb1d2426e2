"""`rsprune explain`: pictures and numbers of class maps, for files and for validation images."""

import json

import numpy as np
import pytest
from PIL import Image

from rsprune_lib.bundle import load_bundle
from rsprune_lib.cli import main
from rsprune_lib.explain import class_maps

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def dense(tiny_folder, tmp_path_factory):
    base = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "cli-home"))
        options = ["--profile", "smoke", "--epochs", "1", "--width", "0.25", "--out", str(base / "dense")]
        assert main(["train", "resnet18", "--data", str(tiny_folder), *options]) == 0
    return base / "dense"


def test_files_with_another_network_beside(run, dense, tmp_path):
    config = load_bundle(dense).config["data"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, config["image_size"], config["image_size"], 3), np.uint8)
    files = [tmp_path / f"{n}.png" for n in range(2)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    options = ["--beside", dense, "--class", config["classes"][1], "--method", "layercam", "--json"]
    status, text, _ = run("explain", dense, *files, "--out", tmp_path / "maps", *options)
    assert status == 0
    row = json.loads(text)
    assert [one["image"] for one in row["images"]] == ["0.png", "1.png"] and row["method"] == "layercam"
    assert {one["class"] for one in row["images"]} == {config["classes"][1]}
    assert all(one["correlation"] in (1.0, None) for one in row["images"])
    assert json.loads((tmp_path / "maps" / "maps.json").read_text())["images"] == row["images"]
    assert Image.open(tmp_path / "maps" / "maps.png").size[0] > 300
    status, _, said = run("explain", dense, *files, "--out", tmp_path / "maps")
    assert status == 1 and "--force" in said


def test_validation_images_are_normalised_as_in_training(run, dense, tmp_path, monkeypatch):
    seen = []

    def watched(model, images, *given, **options):
        seen.append(images)
        return class_maps(model, images, *given, **options)

    monkeypatch.setattr("rsprune_lib.explain.class_maps", watched)
    status, text, _ = run("explain", dense, "--out", tmp_path / "maps", "--count", 4)
    assert status == 0 and "of 4 maps are blank" in text
    from rsprune_lib.commands.common import open_run
    from rsprune_lib.data import Batches

    (right, _) = next(iter(Batches(open_run(dense)[1], "val", 4, limit=4)))
    assert np.allclose(seen[0], right, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--method", "magic"], "Unknown method 'magic'"),
        (["--class", "moon"], "Unknown class 'moon'"),
        (["--layer", "conv99"], "Unknown layer with a map 'conv99'"),
        (["missing.png"], "no image file"),
        (["broken.png"], "no image of a known format"),
        (["--beside", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, dense, tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_text("no picture")
    status, text, said = run("explain", dense, *given, "--out", tmp_path / "maps")
    assert status == 1 and text == "" and said.startswith("rsprune: ") and sentence in said
    assert not (tmp_path / "maps").exists()
