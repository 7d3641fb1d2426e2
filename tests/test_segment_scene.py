"""Maps of whole scenes: windows, blending, place and colours of the scene, kills, full disks, damaged files."""

import json
import os
import resource

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin
from torch import nn

from rsprune_lib.bundle import save_bundle
from rsprune_lib.cli import main
from rsprune_lib.data.decode import decode
from rsprune_lib.deploy import Segmenter, compare_maps, segment_array, segment_scene
from rsprune_lib.deploy import segment as module
from rsprune_lib.deploy.scenes import open_scene
from rsprune_lib.deploy.windows import Grid
from rsprune_lib.errors import DataError, RspruneError
from rsprune_lib.files import locked
from rsprune_lib.models import create_model

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
PALETTE = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
PLACE = {"crs": "EPSG:32632", "transform": from_origin(500000, 5400000, 0.5, 0.5)}


class ByColour(nn.Module):
    """The class of the strongest channel; knows nothing of the surroundings, so that every map is known."""

    task = "segmentation"

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 5.0))
        self.windows = 0

    def forward(self, x):
        self.windows += len(x)
        assert x.shape[2:] == (32, 48)
        return x * self.scale


@pytest.fixture
def segmenter():
    return Segmenter(ByColour(), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, (32, 48), PALETTE)


def scene_pixels(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 255, (height, width, 3)).astype(np.uint8)


def write(path, bands, **profile):
    """bands: (C, H, W)."""
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with rasterio.open(path, "w", **{"driver": "GTiff"} | shape | PLACE | profile) as made:
        made.write(bands)
    return path


@pytest.mark.parametrize("size", [(100, 131), (32, 48), (20, 30), (7, 300), (64, 48)])
@pytest.mark.parametrize("how", [{}, {"overlap": 0}, {"overlap": 5, "blend": False}])
def test_every_pixel_gets_its_class_whatever_the_size(segmenter, size, how):
    pixels = scene_pixels(*size)
    assert np.array_equal(segment_array(segmenter, pixels, **how), pixels.argmax(2))


def test_windows_cover_the_scene_and_stay_inside():
    grid = Grid((100, 131), (32, 48), (16, 24))
    assert grid.starts(0) == [0, 16, 32, 48, 64, 68] and grid.starts(1) == [0, 24, 48, 72, 83]
    assert Grid((64, 48), (32, 48), (0, 0)).starts(0) == [0, 32] and Grid((5, 5), (32, 48), (0, 0)).starts(1) == [0]
    assert (grid.covered(0) > 0).all() and grid.covered(0)[16:32].allclose(grid.weights(0)[:16] + grid.weights(0)[16:])
    assert grid.weights(1).argmax() in (23, 24) and grid.weights(1).min() < 1e-4  # the middle of a window leads
    for overlap in (-1, 17):
        with pytest.raises(RspruneError, match="0 to half"):
            Grid((100, 100), (32, 32), (overlap, overlap))


def test_a_geotiff_comes_back_in_its_place_with_the_colours_of_the_classes(segmenter, tmp_path):
    pixels = scene_pixels(700, 90)
    path = write(tmp_path / "scene.tif", pixels.transpose(2, 0, 1))
    out, shares = tmp_path / "maps" / "map.tif", tmp_path / "shares.tif"
    done = segment_scene(segmenter, path, out, probabilities=shares, progress=False)
    wanted = pixels.argmax(2)
    assert done.pixels == tuple(np.bincount(wanted.ravel())) and done.nodata == 0
    assert done.windows == segmenter.model.windows == 43 * 3
    with rasterio.open(out) as made:
        assert made.crs.to_epsg() == 32632 and made.transform == PLACE["transform"] and made.nodata == 255
        assert made.dtypes == ("uint8",) and np.array_equal(made.read(1), wanted)
        assert [made.colormap(1)[i][:3] for i in range(3)] == list(PALETTE) and made.tags()[
            "CLASSES"
        ] == "0 a, 1 b, 2 c"
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and made.overviews(1)
    with rasterio.open(shares) as made:
        found = made.read() * made.scales[0]
        x = torch.from_numpy((pixels / 255 - 0.5) / 0.25 * 5).permute(2, 0, 1)
        assert made.descriptions == ("a", "b", "c") and np.abs(found - x.softmax(0).numpy()).max() < 0.0025
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps", "scene.tif", "shares.tif"]
    assert [p.name for p in out.parent.iterdir()] == ["map.tif"]


def test_no_data_stays_no_data_and_empty_windows_are_not_computed(segmenter, tmp_path):
    pixels = scene_pixels(96, 200)
    pixels[:, 100:] = 7
    pixels[:40] = 7
    path = write(tmp_path / "scene.tif", pixels.transpose(2, 0, 1), nodata=7)
    done = segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    hole = (pixels == 7).all(2)
    with rasterio.open(tmp_path / "map.tif") as made:
        assert made.nodata == 7  # the scene's own value, which is no class
        assert np.array_equal(made.read(1) == 7, hole) and np.array_equal(made.read_masks(1) == 0, hole)
        assert np.array_equal(made.read(1)[~hole], pixels.argmax(2)[~hole])
    assert done.nodata == hole.sum() and segmenter.model.windows < done.windows
    path = write(tmp_path / "zero.tif", np.where(hole, 0, pixels.transpose(2, 0, 1)).astype(np.uint8), nodata=0)
    segment_scene(segmenter, path, tmp_path / "zero_map.tif", progress=False)
    with rasterio.open(tmp_path / "zero_map.tif") as made:
        assert made.nodata == 255 and np.array_equal(made.read(1) == 255, hole)  # 0 is a class


def test_deep_rasters_with_four_bands_by_name(segmenter, tmp_path):
    pixels = scene_pixels(40, 60)
    bands = pixels[..., [2, 1, 0, 0]].transpose(2, 0, 1).astype(np.uint16) * 40
    path = write(tmp_path / "scene.tif", bands)
    with rasterio.open(path, "r+") as made:
        made.descriptions = ("B2", "B3", "B4", "B8")
    done = segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    inner = (pixels > 5) & (pixels < 249)  # what the stretch does not cut off
    with rasterio.open(tmp_path / "map.tif") as made:
        assert "B4" in done.note and np.array_equal(made.read(1)[inner.all(2)], pixels.argmax(2)[inner.all(2)])
    segment_scene(segmenter, path, tmp_path / "other.tif", bands="B2,B3,B8", progress=False)
    with rasterio.open(tmp_path / "other.tif") as made:
        assert np.array_equal(made.read(1)[inner.all(2)], pixels[..., ::-1].argmax(2)[inner.all(2)])
    with pytest.raises(DataError, match="B9"):
        segment_scene(segmenter, path, tmp_path / "third.tif", bands="B9,B3,B8", progress=False)


def test_the_stretch_of_a_scene_is_that_of_the_whole(tmp_path):
    """A dark and a bright half: stretched row by row of windows, both would look the same."""
    bands = np.random.default_rng(0).gamma(2, 300, (4, 96, 48)).astype(np.uint16)
    bands[:, 48:] *= 8
    path = write(tmp_path / "scene.tif", bands)
    with open_scene(path) as scene:
        rows = np.concatenate([scene.read(top, top + 24)[0] for top in range(0, 96, 24)])
    assert np.array_equal(rows, decode(path.read_bytes(), "scene"))


def test_a_plain_image_gives_a_png_with_its_palette(segmenter, tmp_path):
    pixels = scene_pixels(50, 70)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    segment_scene(segmenter, tmp_path / "a.png", tmp_path / "map.png", progress=False)
    made = Image.open(tmp_path / "map.png")
    assert made.mode == "P" and np.array_equal(np.asarray(made), pixels.argmax(2))
    assert np.array_equal(np.asarray(made.convert("RGB")), np.array(PALETTE)[pixels.argmax(2)])
    for name in ("map.jpg", "map"):
        with pytest.raises(RspruneError, match=r"ends in .tif or .tiff or .png"):
            segment_scene(segmenter, tmp_path / "a.png", tmp_path / name, progress=False)
    with pytest.raises(RspruneError, match="there already"):
        segment_scene(segmenter, tmp_path / "a.png", tmp_path / "map.png", progress=False)
    with pytest.raises(RspruneError, match="is the input"):  # the scene itself is never replaced
        segment_scene(segmenter, tmp_path / "a.png", tmp_path / "a.png", force=True, progress=False)
    segment_scene(segmenter, tmp_path / "a.png", tmp_path / "map.png", force=True, progress=False)


class Stop(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_same_map_without_doing_windows_again(segmenter, tmp_path, monkeypatch):
    torch.manual_seed(0)
    smear = nn.Conv2d(3, 3, 9, padding=4)  # answers depend on the surroundings, so blending matters
    segmenter.model.forward = lambda x, plain=segmenter.model.forward: plain(x) + smear(x)
    path = write(tmp_path / "scene.tif", scene_pixels(150, 90).transpose(2, 0, 1))
    segment_scene(segmenter, path, tmp_path / "whole.tif", progress=False)
    total, segmenter.model.windows = segmenter.model.windows, 0
    add, calls = module.Partial.add, []

    def dying(self, values, waiting):
        add(self, values, waiting)
        calls.append(1)
        if len(calls) == 3:
            with open(self.folder / "classes", "ab") as file:
                file.write(b"rows that no mark knows of")
            raise Stop

    monkeypatch.setattr(module.Partial, "add", dying)
    with pytest.raises(Stop):
        segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    assert not (tmp_path / "map.tif").exists() and segmenter.model.windows < total
    with pytest.raises(RspruneError, match=r"--resume to go on.*--force"):
        segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    with pytest.raises(RspruneError, match="begun with another windows"):
        segment_scene(segmenter, path, tmp_path / "map.tif", overlap=4, resume=True, progress=False)
    segment_scene(segmenter, path, tmp_path / "map.tif", resume=True, progress=False)
    assert segmenter.model.windows == total and not (tmp_path / "map.tif.part").exists()
    with rasterio.open(tmp_path / "whole.tif") as one, rasterio.open(tmp_path / "map.tif") as other:
        assert np.array_equal(one.read(), other.read())


def test_what_is_no_run_of_ours_is_not_touched(segmenter, tmp_path):
    Image.fromarray(scene_pixels(40, 40)).save(tmp_path / "a.png")
    (tmp_path / "map.tif.part").mkdir()
    (tmp_path / "map.tif.part" / "mine").write_text("x")
    with pytest.raises(RspruneError, match="not of rsprune"):
        segment_scene(segmenter, tmp_path / "a.png", tmp_path / "map.tif", force=True, progress=False)
    assert (tmp_path / "map.tif.part" / "mine").read_text() == "x"


def test_inputs_and_files_of_others_are_never_replaced_by_a_map(segmenter, tmp_path):
    path = write(tmp_path / "scene.tif", scene_pixels(40, 60).transpose(2, 0, 1))
    labels = write(tmp_path / "truth.tif", np.zeros((1, 40, 60), np.uint8))
    Image.fromarray(scene_pixels(40, 60)).save(tmp_path / "photo.png")
    os.link(path, tmp_path / "second_name.tif")
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    for name, words in (
        ("scene.tif", "is the input"), ("second_name.tif", "is the input"), ("truth.tif", "is the input"),
        ("photo.png", "not written by rsprune segment"),
    ):  # fmt: skip
        with pytest.raises(RspruneError, match=words):
            segment_scene(segmenter, path, tmp_path / name, truth=labels, force=True, progress=False)
        if name.endswith(".tif"):
            with pytest.raises(RspruneError, match=words):
                segment_scene(
                    segmenter, path, tmp_path / "m.tif", probabilities=tmp_path / name, truth=labels, force=True
                )
    with pytest.raises(RspruneError, match="both the map and the probabilities"):
        segment_scene(segmenter, path, tmp_path / "m.tif", probabilities=tmp_path / "x" / ".." / "m.tif")
    with pytest.raises(RspruneError, match="no interrupted run"):
        segment_scene(segmenter, path, tmp_path / "m.tif", resume=True)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    for name in ("ours.tif", "ours.png"):  # a map of ours is replaced
        segment_scene(segmenter, path, tmp_path / name, progress=False)
        segment_scene(segmenter, path, tmp_path / name, force=True, progress=False)


def test_what_is_refused_leaves_nothing_and_is_told_before_the_work(segmenter, tmp_path, monkeypatch):
    path = write(tmp_path / "scene.tif", scene_pixels(40, 60).transpose(2, 0, 1))
    strange = write(tmp_path / "strange.tif", np.full((1, 40, 60), 99, np.uint8))
    unreal = write(tmp_path / "unreal.tif", np.ones((1, 40, 60), np.complex64))
    os.mkfifo(tmp_path / "pipe.tif")
    left = sorted(one.name for one in tmp_path.iterdir())
    usage = module.room_for.__globals__["shutil"].disk_usage(tmp_path)
    full = ("rsprune_lib.deploy.scenes.shutil.disk_usage", lambda _: usage._replace(free=1000))
    for scene, more, words, patched in (
        (tmp_path / "none.tif", {}, "check the path", None),
        (tmp_path / "pipe.tif", {}, "is no file", None),
        (path, {"truth": tmp_path / "pipe.tif"}, "is no file", None),
        (path, {"truth": strange}, r"99 \(2,400 pixels\)", None),
        (path, {"truth": unreal}, "complex", None),
        (path, {"window": (10**9, 10**9)}, "from 8 to 4096", None),
        (path, {}, "MB are free", full),
        (path, {}, "smaller --window", ("rsprune_lib.deploy.segment.available", lambda: 10_000)),
    ):
        with monkeypatch.context() as patch:
            if patched:
                patch.setattr(*patched)
            with pytest.raises(RspruneError, match=words):
                segment_scene(segmenter, scene, tmp_path / "new" / "deep" / "map.tif", progress=False, **more)
        assert sorted(one.name for one in tmp_path.iterdir()) == left and segmenter.model.windows == 0, words


@pytest.fixture
def interrupted(segmenter, tmp_path, monkeypatch):
    """A run that ended after two rows of windows, and how to begin it again."""
    path = write(tmp_path / "scene.tif", scene_pixels(150, 90).transpose(2, 0, 1))
    add, calls = module.Partial.add, []

    def dying(self, values, waiting):
        add(self, values, waiting)
        calls.append(1)
        if len(calls) == 2:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(module.Partial, "add", dying)
        with pytest.raises(Stop):
            segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    again = lambda **how: segment_scene(segmenter, path, tmp_path / "map.tif", progress=False, **how)  # noqa: E731
    return tmp_path / "map.tif.part", again


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 10**9}, {"rows": -5}, {"rows": "x"}, {"rows": None}, {"next": 10**9}, {"next": -1}, {"next": "../x"},
        {"next": 1}, {"rows": 150, "next": 9}, {"identity": []}, {"identity": None},
    ],
)  # fmt: skip
def test_the_mark_of_an_interrupted_run_may_say_anything(interrupted, change):
    folder, again = interrupted
    mark = json.loads((folder / "rsprune-segment.json").read_text())
    (folder / "rsprune-segment.json").write_text(json.dumps(mark | change))
    with pytest.raises(RspruneError, match=r"--force to begin anew"):
        again(resume=True)
    again(force=True)
    assert not folder.exists()


def _saved(array):
    import io

    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("waiting-2.npy", b"no array"), ("waiting-2.npy", _saved(np.zeros((2, 2)))), ("classes", b"short"),
        ("waiting-2.npy", _saved(np.zeros((3, 16, 90), np.float64))), ("waiting-2.npy", _saved(np.array([{}]))),
        ("waiting-2.npy", _saved(np.zeros((3, 16, 91), np.float32))),
    ],
)  # fmt: skip
def test_damaged_files_of_an_interrupted_run_are_told(interrupted, name, content):
    folder, again = interrupted
    assert (folder / name).exists()
    (folder / name).write_bytes(content)
    with pytest.raises(RspruneError, match=r"damaged run .*--force to begin anew"):
        again(resume=True)


def test_a_second_run_into_a_living_one_is_refused_whatever_it_asks(interrupted, tmp_path):
    folder, again = interrupted
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    with locked(folder):
        for how in ({}, {"resume": True}, {"force": True}):
            with pytest.raises(RspruneError, match=r"Another run is writing into .*map\.tif just now"):
                again(**how)
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before
    (tmp_path / ".tmp-map.tif-abc").mkdir()  # of a process that was killed while it wrote the map
    again(resume=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["map.tif", "scene.tif"]


def test_a_damaged_block_is_named_by_its_rows(segmenter, tmp_path):
    path = write(tmp_path / "scene.tif", scene_pixels(320, 64).transpose(2, 0, 1), compress="deflate", blockysize=64)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"Cannot read rows \d+ to \d+ of the scene .*damaged"):
        segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    assert not (tmp_path / "map.tif").exists()
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "half.tif").write_bytes(content[:100])
    for name, words in (("text.tif", "no image of a known format"), ("half.tif", "Cannot read"), ("none.tif", "path")):
        with pytest.raises(DataError, match=words):
            segment_scene(segmenter, tmp_path / name, tmp_path / "map.tif", progress=False)


def test_a_full_disk_is_one_sentence_and_keeps_what_is_done(segmenter, tmp_path, monkeypatch):
    path = write(tmp_path / "scene.tif", scene_pixels(150, 90).transpose(2, 0, 1))
    usage = module.room_for.__globals__["shutil"].disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("rsprune_lib.deploy.scenes.shutil.disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(RspruneError, match="needs about .* MB"):
            segment_scene(segmenter, path, tmp_path / "map.tif", progress=False)
    save, calls = np.save, []

    def full(*args):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(RspruneError, match=r"(?i)no space left on device.*make room"):
            segment_scene(segmenter, path, tmp_path / "map.tif", force=True, progress=False)
    assert not (tmp_path / "map.tif").exists()
    segment_scene(segmenter, path, tmp_path / "map.tif", resume=True, progress=False)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["map.tif", "scene.tif"]


def test_gdal_that_cannot_write_leaves_no_half_map(segmenter, tmp_path, monkeypatch):
    path = write(tmp_path / "scene.tif", scene_pixels(90, 600).transpose(2, 0, 1))
    (soft, hard), write_geotiff = resource.getrlimit(resource.RLIMIT_FSIZE), module.write_geotiff

    def limited(*args, **options):  # files of 5,000 bytes at most
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        try:
            write_geotiff(*args, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    shares = {"probabilities": tmp_path / "shares.tif"}
    for fail_at, left in ((1, ["map.tif.part"]), (2, ["map.tif", "map.tif.part"])):  # at the map, at the probabilities
        calls = iter([write_geotiff] * (fail_at - 1) + [limited])
        with monkeypatch.context() as patch, pytest.raises(RspruneError, match=r"Cannot write .*make room"):
            patch.setattr(module, "write_geotiff", lambda *args, **options: next(calls)(*args, **options))  # noqa: B023
            segment_scene(segmenter, path, tmp_path / "map.tif", resume=fail_at == 2, **shares, progress=False)
        assert sorted(os.listdir(tmp_path)) == [*left, "scene.tif"]
    windows = segmenter.model.windows
    segment_scene(segmenter, path, tmp_path / "map.tif", resume=True, **shares, progress=False)
    assert segmenter.model.windows == windows
    assert sorted(os.listdir(tmp_path)) == ["map.tif", "scene.tif", "shares.tif"]


def test_a_map_is_measured_on_labels_of_the_whole_scene(segmenter, tmp_path):
    pixels = scene_pixels(60, 70)
    truth = pixels.argmax(2).astype(np.uint8)
    truth[:10] = (truth[:10] + 1) % 3
    truth[50:] = 255
    segment_scene(
        segmenter, write(tmp_path / "scene.tif", pixels.transpose(2, 0, 1)), tmp_path / "map.tif", progress=False
    )
    numbers = write(tmp_path / "numbers.tif", truth[None])
    colours = np.array([*PALETTE, *[(1, 2, 3)] * 253], np.uint8)[truth]
    colours = write(tmp_path / "colours.tif", colours.transpose(2, 0, 1))
    found, other = compare_maps(tmp_path / "map.tif", numbers, "abc", PALETTE, rare=(2,))
    assert found.accuracy == pytest.approx(40 / 50) and other == 0 and found.confusion.sum() == 50 * 70
    assert found.metrics["minority mIoU"] == found.per_class[2]
    again, other = compare_maps(tmp_path / "map.tif", colours, "abc", PALETTE)
    assert np.array_equal(again.confusion, found.confusion) and other == 10 * 70
    truth[0, :3] = 9
    with pytest.raises(DataError, match=r"9 \(3 pixels\); expected class numbers from 0 to 2"):
        compare_maps(tmp_path / "map.tif", write(tmp_path / "bad.tif", truth[None]), "abc", PALETTE)
    small = write(tmp_path / "small.tif", truth[None, :30])
    with pytest.raises(DataError, match="30 x 70 pixels, the scene has 60 x 70"):
        segment_scene(segmenter, tmp_path / "scene.tif", tmp_path / "second.tif", truth=small, progress=False)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_the_command_writes_a_map_and_measures_it(tmp_path, capsys):
    model = create_model("ued_bes", 3, width=0.25, seed=0).eval()
    about = {
        "name": "toy", "task": "segmentation", "classes": ["road", "roof", "car"], "image_size": [64, 96], "rare": [2],
        "mean": [0.5] * 3, "std": [0.25] * 3, "palette": [list(colour) for colour in PALETTE],
    }  # fmt: skip
    folder = save_bundle(tmp_path / "bundle", model, data=about, provenance={}, measured={})
    pixels = scene_pixels(100, 120)
    scene = write(tmp_path / "scene.tif", pixels.transpose(2, 0, 1))
    truth = write(tmp_path / "truth.tif", pixels.argmax(2)[None].astype(np.uint8))
    out = tmp_path / "map.tif"
    command = ["segment", str(folder), str(scene), "--out", str(out), "--truth", str(truth)]
    assert main([*command, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    with rasterio.open(out) as made:
        answer = made.read(1)
    assert row["size"] == [100, 120] and sum(row["shares"].values()) == pytest.approx(1)
    assert row["truth"]["accuracy"] == pytest.approx((answer == pixels.argmax(2)).mean())
    assert list(row["truth"]["per_class"]) == about["classes"]
    assert row["truth"]["metrics"]["minority mIoU"] == row["truth"]["per_class"]["car"]
    assert main([*command, "--force"]) == 0
    assert "minority mIoU" in capsys.readouterr().out
    assert main(command) == 1 and "--force" in capsys.readouterr().err
    assert (
        main([*command[:3], "--out", str(folder / "map.tif")]) == 1 and "inside the bundle" in capsys.readouterr().err
    )
    plain = save_bundle(
        tmp_path / "plain", create_model("resnet18", 3, width=0.125), data={}, provenance={}, measured={}
    )
    assert main(["segment", str(plain), *command[2:], "--force"]) == 1 and "does not segment" in capsys.readouterr().err


def test_the_middle_of_a_window_is_answered_as_in_the_whole_scene():
    """Otherwise no overlap could bring both together; resizing with aligned corners depends on the size."""
    model, images = create_model("unet1", 3, width=0.05, seed=0).eval(), torch.randn(1, 3, 384, 320)
    with torch.no_grad():
        whole, window = model(images)[0, :, 184:200, 152:168], model(images[:, :, 64:, 32:288])[0, :, 120:136, 120:136]
    assert torch.allclose(whole, window, atol=1e-4 * whole.abs().max())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_network_that_gives_no_numbers_draws_no_map(tmp_path, segmenter, bad):
    """Of NaN, argmax makes the first class: the map looked like an answer, and the exit status was 0."""
    segmenter.model.scale.data.fill_(bad)
    scene = write(tmp_path / "scene.tif", scene_pixels(100, 120).transpose(2, 0, 1))
    with pytest.raises(RspruneError, match="NaN or infinite logits for . of . windows"):
        segment_scene(segmenter, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
    segmenter.model.scale.data.fill_(5.0)
    segment_scene(segmenter, scene, tmp_path / "map.tif", force=True)
    assert (tmp_path / "map.tif").exists()
