"""`load_data`: cards, folders of anything, the automatic choice; and what a bundle keeps of it."""

import dataclasses
import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from rsprune_lib.data import Source, cifar, get_card, load_data
from rsprune_lib.errors import DataError, RspruneError


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("RSPRUNE_MIRROR", raising=False)


def load(path, root, **options):
    return load_data(path, root=root, progress=False, **options)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def random_pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_tiny_folder(tiny_data):
    assert tiny_data.classes == ("field", "forest", "river", "roofs") and tiny_data.num_classes == 4
    assert tiny_data.images.shape == (96, 32, 32, 3) and tiny_data.image_size == 32 and not tiny_data.synthetic
    assert [len(tiny_data.part(part)) for part in ("train", "val", "test")] == [60, 8, 28]
    assert tiny_data.files[0] == "field/00.png" and tiny_data.labels.tolist() == [i // 24 for i in range(96)]
    train = tiny_data.images[tiny_data.split.train] / 255
    assert np.allclose(tiny_data.mean, train.mean((0, 1, 2)), atol=1e-4), "measured on the training part"
    assert np.allclose(tiny_data.std, train.std((0, 1, 2)), atol=1e-4)


def test_info_is_json_and_complete(tiny_data):
    info = json.loads(json.dumps(tiny_data.info()))
    assert set(info) >= {"name", "classes", "image_size", "mean", "std", "content_hash", "split_hash", "synthetic"}
    assert info["split_hash"] == tiny_data.split.hash


def test_a_second_load_decodes_nothing_and_sees_changes(tmp_path, monkeypatch):
    for i in range(8):
        for label in "ab":
            save(tmp_path / f"set/{label}/{i}.png", random_pixels([i, ord(label)], 16, 16, 3))
    first = load(tmp_path / "set", tmp_path)
    monkeypatch.setattr("rsprune_lib.data.arrays.decode", None)
    again = load(str(tmp_path / "set"), tmp_path)
    assert (again.content_hash, again.split.hash) == (first.content_hash, first.split.hash)
    monkeypatch.undo()
    save(tmp_path / "set/a/new.png", random_pixels(99, 16, 16, 3))
    changed = load(tmp_path / "set", tmp_path)
    assert len(changed.labels) == 17 and changed.content_hash != first.content_hash
    assert len(list((tmp_path / "arrays").glob("folder-*"))) == 1, "the old arrays were kept"
    assert load(tmp_path / "set", tmp_path, split_seed=1).split.hash != changed.split.hash


def test_a_folder_of_everything(tmp_path):
    for i in range(6):
        save(tmp_path / f"set/a/deep/{i}.png", random_pixels(i, 40, 30, 3))
        save(tmp_path / f"set/b/{i}.tif", random_pixels(i, 20, 20).astype(np.uint16) * 9)
    save(tmp_path / "set/b/rgba.png", random_pixels(7, 50, 50, 4))
    save(tmp_path / "set/b/grey.jpg", random_pixels(8, 50, 50))
    save(tmp_path / "set/.hidden/x.png", random_pixels(9, 8, 8, 3))
    (tmp_path / "set/a/notes.txt").write_text("no image")
    data = load(tmp_path / "set", tmp_path)
    assert data.images.shape == (14, 64, 64, 3), "mixed sizes become 64 pixels"
    assert data.classes == ("a", "b") and np.bincount(data.labels).tolist() == [6, 8]
    assert data.images[data.files.index("b/3.tif")].max() > 200
    assert load(tmp_path / "set", tmp_path, image_size=24).images.shape == (14, 24, 24, 3)


def test_usual_size_is_kept_up_to_256(tmp_path):
    for i in range(3):
        save(tmp_path / f"set/a/{i}.png", random_pixels(i, 48, 60, 3))
        save(tmp_path / f"set/b/{i}.png", random_pixels(i + 9, 48, 60, 3) if i else random_pixels(9, 70, 70, 3))
        save(tmp_path / f"large/a/{i}.png", random_pixels(i, 300, 300, 3))
        save(tmp_path / f"large/b/{i}.png", random_pixels(i + 9, 300, 300, 3))
    assert load(tmp_path / "set", tmp_path).image_size == 48
    assert load(tmp_path / "large", tmp_path).image_size == 256


def test_parts_as_folders_and_an_archive_as_source(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for i in range(20):
            buffer = io.BytesIO()
            Image.fromarray(random_pixels(i, 16, 16, 3)).save(buffer, "PNG")
            part = "test" if i % 5 == 0 else "train"
            archive.writestr(f"own/{part}/{'ab'[i % 2]}/{i:02}.png", buffer.getvalue())
    data = load(tmp_path / "own.zip", tmp_path)
    assert [data.files[i] for i in data.split.test] == [f"test/{'ab'[i % 2]}/{i:02}.png" for i in (0, 10, 5, 15)]
    assert data.name == "own"


def test_copies_stay_in_one_part(tmp_path):
    for i in range(20):
        for label in "ab":
            save(tmp_path / f"set/{label}/{i:02}.png", random_pixels([i, label == "a" and i > 3], 16, 16, 3))
    data = load(tmp_path / "set", tmp_path)
    twins = [(data.files.index(f"a/{i:02}.png"), data.files.index(f"b/{i:02}.png")) for i in range(4)]
    parts = np.empty(40, dtype=object)
    for part in ("train", "val", "test"):
        parts[data.part(part)] = part
    assert all(parts[a] == parts[b] for a, b in twins)


def test_bad_folders(tmp_path):
    save(tmp_path / "one/a/1.png", random_pixels(0, 8, 8, 3))
    with pytest.raises(DataError, match="one class folder only"):
        load(tmp_path / "one", tmp_path)
    save(tmp_path / "few/a/1.png", random_pixels(0, 8, 8, 3))
    save(tmp_path / "few/b/1.png", random_pixels(1, 8, 8, 3))
    with pytest.raises(DataError, match="Class 'a' has 1"):
        load(tmp_path / "few", tmp_path)
    (tmp_path / "few/b/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(DataError, match=r"b/bad\.png"):
        load(tmp_path / "few", tmp_path, image_size=16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected .*<class>/<image>"):
        load(tmp_path / "empty", tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        load(tmp_path / "nowhere", tmp_path)
    with pytest.raises(RspruneError, match="'eurosta'.*'eurosat'"):
        load("eurosta", tmp_path)
    with pytest.raises(DataError, match="image_size"):
        load(tmp_path / "few", tmp_path, image_size=4)
    assert not [path for path in (tmp_path / "arrays").glob("*/*.npy") if "few-16" in str(path)]


@pytest.fixture
def small_cards(monkeypatch):
    """EuroSAT with 40 images and CIFAR-10 with 40 + 20, so that the roads are the real ones and short."""
    cards = {name: get_card(name) for name in ("eurosat", "cifar10", "synthetic")}
    cards["eurosat"] = dataclasses.replace(cards["eurosat"], num_images=40, sources=(Source(None, "EuroSAT_RGB.zip"),))
    cards["synthetic"] = dataclasses.replace(cards["synthetic"], num_images=30)
    sources = Source(None, "cifar10.npz"), Source(None, "cifar-10-binary.tar.gz")
    cards["cifar10"] = dataclasses.replace(cards["cifar10"], num_images=60, sources=sources)
    monkeypatch.setattr("rsprune_lib.data.catalogue.CARDS", cards)
    for name, value in (("RECORDS", 10), ("TRAIN", 50), ("TEST", 10)):
        monkeypatch.setattr(cifar, name, value)


def tiny_eurosat(path):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, label in enumerate(get_card("eurosat").classes):
            for i in range(4):
                buffer = io.BytesIO()
                Image.fromarray(random_pixels([number, i], 64, 64, 3)).save(buffer, "JPEG")
                archive.writestr(f"EuroSAT_RGB/{label}/{label}_{i}.jpg", buffer.getvalue())


@pytest.mark.usefixtures("small_cards")
def test_automatic_choice(tmp_path, monkeypatch):
    synthetic = load("auto", tmp_path / "home")
    assert synthetic.synthetic and "synthetic" in synthetic.title and synthetic.name == "synthetic"
    tiny_eurosat(tmp_path / "mirror/EuroSAT_RGB.zip")
    data = load("auto", tmp_path / "home", mirror=tmp_path / "mirror")
    assert data.name == "eurosat" and len(data.labels) == 40 and not data.synthetic
    assert data.mean == get_card("eurosat").mean
    os.remove(tmp_path / "mirror/EuroSAT_RGB.zip")
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    assert load_data(progress=False).name == "eurosat", "the cache is enough"


def cifar_arrays():
    images, labels = random_pixels(0, 60, 32, 32, 3), np.arange(60) % 10
    return {"x_train": images[:50], "x_test": images[50:], "y_train": labels[:50], "y_test": labels[50:, None]}


def cifar_binary(path, arrays):
    images = np.concatenate([arrays["x_train"], arrays["x_test"]]).transpose(0, 3, 1, 2).reshape(60, -1)
    labels = np.concatenate([arrays["y_train"], arrays["y_test"].ravel()]).astype(np.uint8)
    records = np.concatenate([labels[:, None], images], 1)
    with tarfile.open(path, "w:gz") as archive:
        for i, name in enumerate(cifar.BATCHES):
            content = records[10 * i : 10 * i + 10].tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.usefixtures("small_cards")
def test_cifar_both_ways(tmp_path, monkeypatch):
    monkeypatch.setattr("rsprune_lib.data.prepare.TRAIN", 50)
    monkeypatch.setattr("rsprune_lib.data.prepare.TEST", 10)
    arrays, hashes = cifar_arrays(), set()
    for name in ("cifar10.npz", "cifar-10-binary.tar.gz"):
        mirror = tmp_path / name.split(".")[1]
        mirror.mkdir()
        np.savez(mirror / name, **arrays) if name.endswith("npz") else cifar_binary(mirror / name, arrays)
        data = load("cifar10", mirror, mirror=mirror)
        assert data.split.test.tolist() == list(range(50, 60)), "the published test part"
        assert [len(data.split.train), len(data.split.val)] == [40, 10]
        assert (data.images[7] == arrays["x_train"][7]).all() and data.labels[7] == 7
        hashes.add(data.content_hash)
    assert len(hashes) == 1


@pytest.mark.usefixtures("small_cards")
def test_broken_cifar(tmp_path):
    path = tmp_path / "cifar10.npz"
    evil = np.empty(1, dtype=object)
    evil[0] = print
    np.savez(path, x_train=evil)
    for content, expected in ((None, "cannot be read"), (b"PK", "cannot be read"), ("short", "found images")):
        if content == "short":
            np.savez(path, **{name: values[:5] for name, values in cifar_arrays().items()})
        elif content:
            path.write_bytes(content)
        with pytest.raises(DataError, match=expected):
            cifar.read_cifar(path)
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"lacks the whole batch data_batch_1\.bin"):
        cifar.read_cifar(tmp_path / "cifar.tar.gz")
