"""`load_data`: cards, folders of anything, the automatic choice; and what a bundle keeps of it."""

import dataclasses
import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsprune_lib.data import Source, Split, SplitRule, catalogue, cifar, find, get_card, load_again, load_data
from rsprune_lib.errors import DataError, RspruneError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


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


def test_a_data_set_is_shown_in_one_line(tiny_data):
    shown = repr(tiny_data)
    assert "\n" not in shown and len(shown) < 200 and "array" not in shown
    assert f"{len(tiny_data.part('val'))} val" in shown and f"{tiny_data.num_classes} classes" in shown


def test_info_is_json_and_complete(tiny_data):
    info = json.loads(json.dumps(tiny_data.info()))
    assert set(info) >= {"name", "classes", "image_size", "mean", "std", "content_hash", "split_hash", "synthetic"}
    assert info["split_hash"] == tiny_data.split.hash


def test_a_second_load_decodes_nothing_and_sees_changes(tmp_path, monkeypatch):
    for i in range(8):
        for label in "ab":
            save(tmp_path / f"set/{label}/{i}.png", random_pixels([i, ord(label)], 16, 16, 3))
    first = load(tmp_path / "set", tmp_path)
    monkeypatch.setattr("rsprune_lib.data.threads.decode", None)
    again = load(str(tmp_path / "set"), tmp_path)
    assert (again.content_hash, again.split.hash) == (first.content_hash, first.split.hash)
    monkeypatch.undo()
    save(tmp_path / "set/a/new.png", random_pixels(99, 16, 16, 3))
    changed = load(tmp_path / "set", tmp_path)
    assert len(changed.labels) == 17 and changed.content_hash != first.content_hash
    assert len(list((tmp_path / "arrays").glob("folder-*"))) == 1, "the old arrays were kept"
    other = load(tmp_path / "set", tmp_path, split_seed=1)
    assert other.split.hash != changed.split.hash and other.mean != changed.mean
    assert np.allclose(other.mean, other.images[other.split.train].mean((0, 1, 2)) / 255, atol=1e-4), "its own part"


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
    with pytest.raises(RspruneError, match="'eurosta'.*'eurosat'.* Nor is there a folder .*/eurosta"):
        load("eurosta", tmp_path)
    with pytest.raises(DataError, match="Got an empty name of data"):
        load(" ", tmp_path)
    with pytest.raises(DataError, match="image_size"):
        load(tmp_path / "few", tmp_path, image_size=4)


def test_what_is_left_out_is_counted_in_one_line(tmp_path, caplog):
    for label in "abc":
        for i in range(6):
            save(tmp_path / f"set/{label}/{i}.png", random_pixels([i, ord(label)], 16, 16, 3))
    for i in range(6):
        (tmp_path / f"set/a/{i}.png").rename(tmp_path / f"set/a/{i}")  # no suffix, as some tools write
        (tmp_path / f"set/b/{i}.png").rename(tmp_path / f"set/b/{i}.JFIF")
    pixels = (tmp_path / "set/c/0.png").read_bytes()
    for name in (
        "set/a/@eaDir/0/thumb.png",
        "set/$RECYCLE.BIN/x.png",
        "set/.trash/x.png",
        "set/._x.png",
        "set/top.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(pixels)
    for name, content in (("c/notes.txt", b"x"), ("c/NOTICE", b"x"), ("c/empty.png", b""), ("c/cut.png", pixels[:-90])):
        (tmp_path / "set" / name).write_bytes(content)
    (tmp_path / "set/urban").mkdir()
    (tmp_path / "set/again").symlink_to(tmp_path / "set/c")
    os.mkfifo(tmp_path / "set/c/pipe.png")
    (tmp_path / "set/c/lost.png").symlink_to(tmp_path / "nowhere.png")
    data = load(tmp_path / "set", tmp_path)
    assert data.classes == ("a", "b", "c") and np.bincount(data.labels).tolist() == [6, 6, 6]
    (note,) = data.notes
    assert "\n" not in note and note.startswith("18 images in 3 classes taken; left out: ")
    for told in (
        "1 image in no class folder (top.png)",
        "2 files in folders of thumbnails or deleted files",
        "2 hidden files or folders",
        "2 files that are no images",
        "1 pipe or device (c/pipe.png)",
        "1 empty file (c/empty.png)",
        "1 unreadable file or folder (c/lost.png)",
        "1 second link to a folder (again)",
        "1 folder without images (urban)",
        "1 that cannot be read (c/cut.png",
    ):
        assert told in note
    assert note in caplog.text
    (tmp_path / "set/c/another.txt").write_text("x")
    assert "3 files that are no images" in load(tmp_path / "set", tmp_path).notes[0], "counted anew, decoded once"


def test_an_archive_counts_what_it_leaves_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for i in range(10):
            buffer = io.BytesIO()
            Image.fromarray(random_pixels(i, 16, 16, 3)).save(buffer, "PNG")
            archive.writestr(f"own/{'ab'[i % 2]}/{i:02}", buffer.getvalue())
        for name in ("own/a/@eaDir/t.png", "__MACOSX/own/a/._0.png", "own/readme.txt", "own/c/"):
            archive.writestr(name, b"x" * (not name.endswith("/")))
    for _ in range(2):  # decoded, and from the cache
        (note,) = load(tmp_path / "own.zip", tmp_path).notes
        assert "10 images in 2 classes" in note and "folder without images (own/c)" in note and "2 files in f" in note


def test_copies_are_found_by_pixels_and_named(tmp_path):
    for part, count in (("train", 8), ("test", 4)):
        for i in range(count):
            for label in "ab":
                save(tmp_path / f"set/{part}/{label}/{i}.png", random_pixels([i, ord(label), len(part)], 16, 16, 3))
    Image.open(tmp_path / "set/test/a/0.png").save(tmp_path / "set/train/a/copy.tif")  # another file, the same pixels
    Image.open(tmp_path / "set/train/a/1.png").save(tmp_path / "set/train/b/both.bmp")
    data = load(tmp_path / "set", tmp_path)
    copy = data.files.index("train/a/copy.tif")
    assert not any(copy in data.part(part) for part in ("train", "val", "test"))
    classes, parts = data.notes
    assert "1 picture in two classes" in classes and "train/a/1.png = train/b/both.bmp" in classes
    assert (
        "1 picture in two parts" in parts
        and "1 copy is left out" in parts
        and "test/a/0.png = train/a/copy.tif" in parts
    )


def test_classes_that_a_published_part_lacks_are_named(tmp_path):
    for name, count in (("train/a", 8), ("train/b", 8), ("train/c", 8), ("val/a", 3), ("val/c", 3), ("test/a", 4)):
        for i in range(count):
            save(tmp_path / f"set/{name}/{i}.png", random_pixels([i, *name.encode()], 16, 16, 3))
    validation, test = load(tmp_path / "set", tmp_path).notes
    assert "The validation part has no images of b:" in validation and "test part has no images of b, c:" in test


def test_a_folder_is_known_by_its_full_path_and_decoded_once(tmp_path, monkeypatch):
    for where in ("here", "there"):
        for i in range(8):
            for label in "ab":
                save(
                    tmp_path / where / f"photos/{label}/{i}.png", random_pixels([i, len(where)], 16, 16, 3) + ord(label)
                )
    monkeypatch.chdir(tmp_path / "here")
    data = load("photos", tmp_path)
    info = json.loads(json.dumps(data.info()))
    assert info["source"] == str(tmp_path / "here/photos")
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path))
    monkeypatch.setattr("rsprune_lib.data.threads.decode", None)
    (tmp_path / "link").symlink_to(tmp_path / "here/photos")
    for again in ("./photos", tmp_path / "here/photos/", "../here/photos", tmp_path / "link"):
        assert load(again, tmp_path).content_hash == data.content_hash
    monkeypatch.chdir(tmp_path / "there")
    assert load_again(info, progress=False).content_hash == data.content_hash, "also at the size that was found"
    monkeypatch.undo()
    with pytest.raises(DataError, match="relative path that may mean another folder"):
        load_again(info | {"source": "photos"})
    with pytest.raises(DataError, match="was made with /gone/photos, which is no longer there; name its new place"):
        load_again(info | {"source": "/gone/photos"})
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot make the folder .*/file/arrays .*set RSPRUNE_HOME"):
        load(tmp_path / "here/photos", tmp_path / "file")
    with pytest.raises(DataError, match="does not say what data it saw"):
        load_again({})
    with pytest.raises(DataError, match=r"whole number of pixels from 8 to 4096, .* got \[32, 64, 3\]"):
        load_again(info | {"image_size": [32, 64, 3]})
    with pytest.raises(DataError, match="knows the classes") as caught:
        load_again(info | {"classes": ["\x1b[2J" + "long" * 10_000] * 99})
    assert len(str(caught.value)) < 10_000 and "\x1b" not in str(caught.value)


def test_a_folder_with_the_name_of_a_public_set_is_told(tmp_path, monkeypatch, caplog):
    (tmp_path / "here/synthetic").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(catalogue, "CARDS", {"synthetic": dataclasses.replace(get_card("synthetic"), num_images=30)})
    assert load("synthetic", tmp_path).synthetic
    assert "synthetic: this is the name of a public data set; the folder of that name is ./synthetic" in caplog.text


def test_bands_are_kept_with_the_data(tmp_path, monkeypatch):
    for i in range(8):
        for label in "ab":
            (tmp_path / f"set/{label}").mkdir(parents=True, exist_ok=True)
            bands = random_pixels([i, ord(label)], 13, 16, 16)
            profile = {"driver": "GTiff", "count": 13, "height": 16, "width": 16, "dtype": "uint8"}
            with rasterio.open(tmp_path / f"set/{label}/{i}.tif", "w", photometric="MINISBLACK", **profile) as raster:
                raster.write(bands)
    usual = load(tmp_path / "set", tmp_path)
    assert "of 13 bands B4, B3, B2 are taken" in usual.notes[0] and "bands" not in usual.info()
    data = load(tmp_path / "set", tmp_path, bands="8, 4,3")
    assert data.content_hash != usual.content_hash and data.info()["bands"] == "8,4,3"
    assert (data.images[0] == random_pixels([0, ord("a")], 13, 16, 16)[[7, 3, 2]].transpose(1, 2, 0)).all()
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path))
    assert load_again(data.info(), progress=False).content_hash == data.content_hash
    with pytest.raises(DataError, match=r"a/0\.tif: it has 13 band.*choose the bands"):
        load(tmp_path / "set", tmp_path, bands="14,4,3")
    with pytest.raises(DataError, match="comes in RGB"):
        load("synthetic", tmp_path, bands="3,2,1")


def test_flat_tiles_in_a_zip_are_no_bomb(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "own.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(8):
            for label in "ab":
                pixels = (
                    random_pixels([i, ord(label)], 16, 16, 3) if i else np.full((700, 700, 3), ord(label), np.uint8)
                )
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "TIFF")
                archive.writestr(f"own/{label}/{i}.tif", buffer.getvalue())
    assert len(load(tmp_path / "own.zip", tmp_path).labels) == 16


@pytest.mark.parametrize("where", ["data", "mirror", "sums"])
def test_a_pipe_does_not_hang(tmp_path, where):
    (tmp_path / "mirror").mkdir()
    os.mkfifo(tmp_path / "mirror" / ("SHA256SUMS" if where == "sums" else "EuroSAT_RGB.zip"))
    if where == "data":
        with pytest.raises(DataError, match="neither a folder nor a file"):
            load(tmp_path / "mirror/EuroSAT_RGB.zip", tmp_path)
    else:
        assert find(get_card("eurosat"), tmp_path, tmp_path / "mirror") is None


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


@pytest.mark.usefixtures("small_cards")
def test_a_shipped_split_is_that_of_its_seed_alone(tmp_path, monkeypatch):
    tiny_eurosat(tmp_path / "mirror/EuroSAT_RGB.zip")
    options = {"root": tmp_path, "mirror": tmp_path / "mirror"}
    made = load("eurosat", **options)
    shipped = Split(made.split.test, made.split.val, made.split.train)
    shipped.save(tmp_path / "shipped/eurosat-66.json", made.files)
    monkeypatch.setattr("rsprune_lib.data.dataset.SHIPPED", tmp_path / "shipped")
    assert load("eurosat", **options).split.hash == shipped.hash
    assert load("eurosat", split_seed=1, **options).split.hash not in (shipped.hash, made.split.hash)
    card = dataclasses.replace(get_card("eurosat"), split=SplitRule((0.25, 0.25, 0.5)))
    monkeypatch.setitem(catalogue.CARDS, "eurosat", card)
    parts = load("eurosat", split_seed=2, **options).split
    assert [len(parts.train), len(parts.val), len(parts.test)] == [10, 10, 20], "in the card's shares"


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
        assert data.upright, "taken from the ground: only mirrored"
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
