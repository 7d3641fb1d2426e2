"""Memory maps: whole or not there at all, with a hash that notices every change."""

import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from rsprune_lib.data import load_data
from rsprune_lib.data import prepare as prepare_module
from rsprune_lib.data import threads as threads_module
from rsprune_lib.data.arrays import build_arrays, check_arrays, colour_statistics, open_arrays
from rsprune_lib.data.threads import decode_all
from rsprune_lib.errors import DataError


def pixels(count=6, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def build(folder, images, labels=None, **index):
    labels = [0, 1] * (len(images) // 2) if labels is None else labels
    index = {"files": [f"{i}.png" for i in range(len(images))], "classes": ["a", "b"], "origin": "here"} | index
    return build_arrays(folder, enumerate(images), labels, images.shape[1], index, progress=False)


def test_build_open_and_hash(tmp_path):
    images = pixels()
    arrays = build(tmp_path / "set", images)
    again = open_arrays(tmp_path / "set")
    assert isinstance(again.images, np.memmap) and not again.images.flags.writeable
    assert (again.images == images).all() and again.labels.tolist() == [0, 1] * 3
    hashes = {
        build(tmp_path / "same", images).index["content_hash"],
        arrays.index["content_hash"],
    }
    assert len(hashes) == 1
    changed = images.copy()
    changed[3, 4, 5, 1] ^= 1
    hashes |= {
        build(tmp_path / "pixel", changed).index["content_hash"],
        build(tmp_path / "labels", images, [1, 0] * 3).index["content_hash"],
        build(tmp_path / "order", images[::-1]).index["content_hash"],
        build(tmp_path / "names", images, classes=["a", "c"]).index["content_hash"],
    }
    assert len(hashes) == 5


def test_identical_images_are_noted(tmp_path):
    images = pixels()
    images[4] = images[1]
    assert build(tmp_path / "set", images).index["twins"] == [[1, 4]]


def test_a_damaged_image_takes_its_label_its_name_and_its_part_with_it(tmp_path):
    images, damaged = pixels(5), {}

    def read():
        for row in (0, 2, 3, 4):
            yield row, images[row]
        damaged[1] = "Cannot read the image 1.png; repair or remove it."

    index = {
        "files": [f"{i}.png" for i in range(5)],
        "classes": ["a", "b"],
        "fixed": ["train", "test", "val", "test", "train"],
    }
    found = build_arrays(tmp_path / "set", read(), [0, 1, 0, 1, 1], 8, index, progress=False, damaged=damaged)
    assert (found.images == images[[0, 2, 3, 4]]).all() and found.labels.tolist() == [0, 0, 1, 1]
    assert found.index["files"] == ["0.png", "2.png", "3.png", "4.png"]
    assert found.index["fixed"] == ["train", "val", "test", "train"] and check_arrays(tmp_path / "set")["ok"]


def test_missing_rows_leave_nothing_behind(tmp_path):
    with pytest.raises(DataError, match="2 of 6 images are missing"):
        build_arrays(tmp_path / "set", enumerate(pixels()[:4]), [0] * 6, 8, {"classes": ["a"]}, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_listing_schema_and_damage_mean_decoding_again(tmp_path):
    folder = tmp_path / "set"
    build(folder, pixels(), listing="one")
    assert open_arrays(folder, "one") and open_arrays(folder, "two") is None
    assert check_arrays(folder)["ok"]
    with (folder / "images.npy").open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"x")
    assert not check_arrays(folder)["ok"]
    os.truncate(folder / "images.npy", 300)
    assert open_arrays(folder, "one") is None and not check_arrays(folder)["ok"]
    (folder / "index.json").write_text("{")
    assert open_arrays(folder, "one") is None


def test_full_disk_is_said_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 100))
    with pytest.raises(DataError, match="make room, set RSPRUNE_HOME"):
        build(tmp_path / "set", pixels())


def test_decoding_in_threads_keeps_rows_and_names_the_bad_image(tmp_path):
    images = pixels(200, 8)
    contents = []
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        contents.append((f"{i}.png", (tmp_path / f"{i}.png").read_bytes()))
    rows = {f"{i}.png": 199 - i for i in range(200)}
    got = dict(decode_all([*contents, ("other.png", b"ignored")], rows, 8))
    assert all((got[199 - i] == image).all() for i, image in enumerate(images))
    contents[150] = ("150.png", b"broken")
    with pytest.raises(DataError, match=r"150\.png"):
        list(decode_all(contents, rows, 8))


def test_colour_statistics_are_those_of_numpy():
    images = pixels(300, 8)
    mean, std = colour_statistics(images, np.arange(280))
    assert np.allclose(mean, images[:280].mean((0, 1, 2)) / 255, atol=1e-4)
    assert np.allclose(std, images[:280].std((0, 1, 2)) / 255, atol=1e-4)
    assert min(colour_statistics(np.zeros((2, 8, 8, 3), np.uint8), np.arange(2))[1]) > 0


def load_slowly(folder, root, tell):
    """In a forked child: every image takes a while, and the first one is announced."""

    def decode(*args):
        os.write(tell, b"decoding")
        time.sleep(0.2)
        return threads_module.decode_now(*args)

    threads_module.decode_now, threads_module.decode = threads_module.decode, decode
    load_data(folder, root=root, progress=False)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_killed_while_unpacking_leaves_nothing_half_written(tiny_folder, tmp_path):
    hear, tell = os.pipe()
    child = os.fork()
    if not child:
        load_slowly(tiny_folder, tmp_path, tell)
        os._exit(0)
    os.read(hear, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert [path for path in (tmp_path / "arrays").iterdir() if not path.name.startswith(".")] == []
    assert list((tmp_path / "arrays").glob(".tmp-*")), "the test killed too late"
    data = load_data(tiny_folder, root=tmp_path, progress=False)
    assert len(data.images) == 96 and check_arrays(next((tmp_path / "arrays").glob("folder-*")))["ok"]
    assert not list((tmp_path / "arrays").glob(".tmp-*")), "what the killed process left is still there"


def test_two_at_once_decode_once(tiny_folder, tmp_path, monkeypatch):
    calls, build_once = [], prepare_module.build_arrays

    def counted(*args):
        calls.append(1)
        time.sleep(0.3)
        return build_once(*args)

    monkeypatch.setattr(prepare_module, "build_arrays", counted)
    options = {"root": tmp_path, "progress": False}
    threads = [threading.Thread(target=load_data, args=(tiny_folder,), kwargs=options) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
