"""Data sets with masks: tiny replicas of the archives' layouts, and the real ones where they are at hand."""

import dataclasses
import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from test_data_fetch import no_mirror  # noqa: F401 - a fixture

from rsprune_lib.data import Batches, catalogue, get_card, load_again, load_data
from rsprune_lib.errors import DataError
from rsprune_lib.tasks import IGNORE


def packed(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


def camvid(folder, monkeypatch, change=None):
    """A mirror with a CamVid of two training images, one for validation and one for test, 12 x 16 pixels."""
    folder.mkdir()
    random, masks = np.random.default_rng(0), {}
    with zipfile.ZipFile(folder / "CamVid.zip", "w") as archive:
        for part, name in (("train", "a"), ("train", "b"), ("val", "c"), ("test", "d")):
            mask = random.integers(0, 12, (12, 16), dtype=np.uint8)  # 11 is void
            image = np.repeat((20 * mask)[..., None], 3, 2)  # the image says the class: a mask that slips is seen
            masks[name] = mask
            image, mask = change(name, image, mask) if change else (image, mask)
            archive.writestr(f"CamVid/{part}/{name}.png", packed(image))
            if mask is not None:
                archive.writestr(f"CamVid/{part}annot/{name}.png", packed(mask))
    digest = hashlib.sha256((folder / "CamVid.zip").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  CamVid.zip\n")
    monkeypatch.setitem(catalogue.CARDS, "camvid", dataclasses.replace(get_card("camvid"), num_images=4))
    return masks


def test_images_come_with_their_masks_parts_and_palette(tmp_path, monkeypatch, no_mirror):  # noqa: F811
    masks = camvid(tmp_path / "mirror", monkeypatch)
    given = {"image_size": (12, 16), "root": tmp_path / "home", "mirror": tmp_path / "mirror", "progress": False}
    data = load_data("camvid", **given)
    assert data.task.name == "segmentation" and data.images.shape == (4, 12, 16, 3) and data.image_size == (12, 16)
    assert [len(data.part(part)) for part in ("train", "val", "test")] == [2, 1, 1] and len(data.palette) == 11
    for row, file in enumerate(data.files):
        mask = masks[file.split("/")[-1].removesuffix(".png")]
        assert (data.masks[row] == np.where(mask == 11, 255, mask)).all()
        assert (data.images[row][..., 0] == 20 * mask).all()
    pixels = data.class_pixels("train")
    assert pixels.tolist() == [sum(int((masks[name] == k).sum()) for name in "ab") for k in range(11)]
    _, targets = next(iter(Batches(data, "val", 4)))
    assert targets.shape == (1, 12, 16) and int(targets.min()) == IGNORE
    assert not data.notes  # what masks hold most says nothing about the classes of a part
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    again = load_again(data.info())
    assert again.content_hash == data.content_hash and again.images.shape == data.images.shape
    smaller = load_data("camvid", **(given | {"image_size": (8, 11)}))
    assert smaller.masks.shape == (4, 8, 11) and smaller.content_hash != data.content_hash
    assert set(np.unique(smaller.masks)) <= {*range(11), 255}  # classes are never mixed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda name, image, mask: (image, None if name == "b" else mask), "without a partner"),
        (lambda name, image, mask: (image, mask + 40 if name == "b" else mask), "b.png"),
        (lambda name, image, mask: (image[:8] if name == "b" else image, mask), "b.png"),
    ],
)
def test_masks_that_do_not_fit_are_named(change, words, tmp_path, monkeypatch, no_mirror):  # noqa: F811
    camvid(tmp_path / "mirror", monkeypatch, change)
    given = {"root": tmp_path / "home", "mirror": tmp_path / "mirror", "progress": False}
    with pytest.raises(DataError, match=words):
        load_data("camvid", image_size=(12, 16), **given)
    assert not list((tmp_path / "home").rglob("masks.npy"))  # nothing half-written


@pytest.mark.real
def test_the_real_sets_have_the_published_splits_and_shares(mirror, tmp_path):
    given = {"root": tmp_path, "mirror": mirror, "progress": False}
    data = load_data("camvid", image_size=(90, 120), **given)
    assert [len(data.part(part)) for part in ("train", "val", "test")] == [367, 101, 233]
    pixels = sum(data.class_pixels(part) for part in ("train", "val"))
    shares = dict(zip(data.classes, pixels / pixels.sum(), strict=True))
    assert shares["Road"] == pytest.approx(0.310, abs=0.02) and shares["Pole"] == pytest.approx(0.0095, abs=0.001)
    assert sorted(data.classes[k] for k in data.rare) == ["Bicyclist", "Fence", "Pedestrian", "Pole", "SignSymbol"]
    dubai = load_data("dubai", **given)
    assert dubai.classes == ("Building", "Land", "Road", "Vegetation", "Water") and dubai.masks.shape[1:] == (256, 256)
    assert all(len(dubai.part(part)) > 100 for part in ("train", "val", "test"))
