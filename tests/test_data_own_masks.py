"""Own folders of images and masks: pairing, lists of classes, values, sizes, rasters, and what is wrong with them."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from rsprune_lib.data import load_again, load_data
from rsprune_lib.data.legend import read_legend
from rsprune_lib.data.mask_folders import folder_pairs
from rsprune_lib.data.masks import counted
from rsprune_lib.data.minority import strata, training_pixels
from rsprune_lib.errors import DataError

IMAGES = [f"images/{name}.jpg" for name in "abc"]


def pairs(*names):
    found = folder_pairs(names, "set")
    return found and dict(zip(found.images, found.masks, strict=True))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("img/{}.tif", "labels/{}_label.tif"),
        ("images/{}_sat.jpg", "gt/{}_mask.png"),
        ("images/img_{}1.jpg", "annotations/mask_{}1.png"),
        ("data/train/{}.jpg", "data/train_masks/{}_mask.gif"),
        ("all/train/{}.png", "all/trainannot/{}.png"),
        ("city/2_Ortho_RGB/top_{}_RGB.tif", "city/5_Labels_all/top_{}_label.tif"),
        ("rgb/{}.jpg", "Ground Truth/{}.png"),
        ("images/{}.jpg", "cartes/{}.png"),
    ],
)
def test_masks_are_found_and_paired_by_name(image, mask):
    names = [pattern.format(name) for pattern in (image, mask) for name in ("a", "b", "c")]
    assert pairs(*names) == {image.format(n): mask.format(n) for n in "abc"}
    assert not folder_pairs(names, "set").lonely


@pytest.mark.parametrize(
    "names",
    [
        [f"{label}/{i}.jpg" for label in ("forest", "river") for i in range(3)],
        [f"{label}/{label}_{i}.jpg" for label in ("with_mask", "without_mask") for i in range(3)],
        [f"{label}/{i}.jpg" for label in ("mask", "nomask") for i in range(3)],
        [f"train/{label}/{i}.jpg" for label in ("target", "other") for i in range(3)],
        ["1.jpg", "2.jpg"],
    ],
)
def test_folders_of_class_folders_stay_what_they_are(names):
    assert pairs(*names) is None


def test_what_has_no_partner_is_left_out_and_parts_and_tiles_are_read():
    found = folder_pairs([*IMAGES, "masks/a.png", "masks/b.png", "masks/x.png"], "set")
    assert found.images == ("images/a.jpg", "images/b.jpg") and found.lonely == ("images/c.jpg", "masks/x.png")
    assert found.fixed is None and "images/a.jpg with masks/a.png" in found.notes[0]
    names = [f"{part}/{kind}/{part}.png" for part in ("train", "valid") for kind in ("images", "masks")]
    parted = folder_pairs(names, "set")
    assert parted.fixed == ("train", "test") and "validation is cut from train" in parted.notes[1]
    assert folder_pairs([*names, "test/images/t.png", "test/masks/t.png"], "set").fixed == ("test", "train", "val")
    with pytest.raises(DataError, match="more lie in none"):
        folder_pairs([*names, "images/t.png", "masks/t.png"], "set")
    tiled = folder_pairs([f"Tile {t}/{k}/{i}.png" for t in range(5) for k in ("images", "masks") for i in "ab"], "set")
    assert tiled.tiles == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4) and "split by tile" in tiled.notes[1]
    scenes = folder_pairs(
        [f"{k}/s{s}_{i}_0.tif" for s in range(5) for k in ("images", "masks") for i in (0, 64)], "set"
    )
    assert len(set(scenes.tiles)) == 5


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            [*IMAGES, "masks/x.png", "masks/y.png"],
            r"no mask is named like an image \(first images/a.jpg and masks/x.png\)",
        ),
        ([*IMAGES, "cartes/x.png"], "one more folder, cartes"),
        ([*IMAGES, "masks/a.png", "masks/a_mask.png"], "two masks belong to the image images/a.jpg"),
        ([*IMAGES, "images/a.png", "masks/a.png"], "two images belong to the mask masks/a.png"),
    ],
)
def test_names_that_do_not_fit_are_said(names, words):
    with pytest.raises(DataError, match=words):
        folder_pairs(names, "set")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("classes.txt", "road\nlow vegetation\n", [("road", 0, None), ("low vegetation", 1, None)]),
        ("classes.txt", "# a comment\n0: road\n7 = car\n", [("road", 0, None), ("car", 7, None)]),
        ("classes.txt", "road 128 64 128\nlow veg #00ff00", [("road", 0, 0x804080), ("low veg", 1, 0x00FF00)]),
        ("label_colors.txt", "64 128 64\tAnimal\n0 0 0 Big Arch", [("Animal", 0, 0x408040), ("Big Arch", 1, 0)]),
        ("classes.txt", "3 road 1 2 3\n4 car 1 2 4", [("road", 3, 0x010203), ("car", 4, 0x010204)]),
        ("classes.txt", "class 1\nclass 2", [("class 1", 0, None), ("class 2", 1, None)]),
        ("class_dict.csv", "name,r,g,b\nlow veg,1,2,3\nCar,9,9,9", [("low veg", 0, 0x010203), ("Car", 1, 0x090909)]),
        ("classes.csv", "id;name\n3;road\n9;car", [("road", 3, None), ("car", 9, None)]),
        ("classes.json", '["a", "b"]', [("a", 0, None), ("b", 1, None)]),
        ("classes.json", '{"a": 4, "b": 2}', [("a", 4, None), ("b", 2, None)]),
        ("classes.json", '{"a": [1, 2, 3], "b": "#fff000"}', [("a", 0, 0x010203), ("b", 1, 0xFFF000)]),
        ("classes.json", '{"classes": [{"title": "A", "color": "#010203"}, {"title": "B", "color": "#010204"}]}',
         [("A", 0, 0x010203), ("B", 1, 0x010204)]),
    ],
)  # fmt: skip
def test_lists_of_classes(name, text, expected):
    assert [(entry.name, entry.value, entry.colour) for entry in read_legend(name, text.encode())] == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("classes.txt", "road 1 2 3\nroad 2 3 4", "name road twice"),
        ("classes.txt", "a 1 2 3\nb 1 2 3", "colour #010203 twice"),
        ("classes.txt", "a 1 2 3\nb", "no colour of b"),
        ("classes.txt", "a 1 2 300\nb 1 2 3", "no colour of three numbers"),
        ("classes.txt", "a\nvoid", "fewer than two classes"),
        ("classes.txt", "a 1 2\nb 2 3", "line 1"),
        ("classes.json", "{", "classes.json"),
        ("classes.json", "[1, 2]", "is no class"),
        ("classes.txt", "\xff\xfe", "classes.txt"),
    ],
)
def test_lists_of_classes_that_cannot_be_read_are_named(name, text, words):
    with pytest.raises(DataError, match=words):
        read_legend(name, text.encode("latin-1"))


def test_pixels_are_counted_by_runs():
    values = np.random.default_rng(0).integers(0, 5, (30, 40))
    assert counted(values) == dict(zip(*np.unique(values, return_counts=True), strict=True))


def save(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([part for colour in palette for part in colour])
    image.save(path)


def folder(root, masks, side=16, **options):
    """A folder of images and masks; the red of each image is 20 times the first band of its mask."""
    for i, mask in enumerate(masks):
        first = mask if mask.ndim == 2 else mask[..., 0]
        save(
            root / "images" / f"{i}.png",
            np.repeat((first.astype(np.int64) * 20 % 256).astype(np.uint8)[..., None], 3, 2),
        )
        save(root / "masks" / f"{i}_mask.png", mask, **options)
    return root


def random_masks(count=6, high=3, side=16):
    random = np.random.default_rng(count)
    return [random.integers(0, high, (side, side), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    return lambda path, **options: load_data(path, progress=False, **options)


def test_numbers_without_a_list_are_classes_and_255_is_none(tmp_path, load):
    masks = random_masks()
    masks[0][:4] = 255
    masks[1][masks[1] == 1] = 7
    data = load(folder(tmp_path / "own", masks))
    assert data.task.name == "segmentation" and data.classes == ("class 0", "class 1", "class 2", "class 7")
    assert data.images.shape == (6, 16, 16, 3) and len(set(data.palette)) == 4
    known = masks[1].astype(int)
    assert (data.masks[1] == np.where(known == 7, 3, known)).all() and (data.masks[0][:4] == 255).all()
    assert (data.images[2][..., 0] == masks[2] * 20).all()
    told = " ".join(data.notes)
    assert "paired by name: images/0.png with masks/0_mask.png" in told and "255 stands for no class" in told
    assert f"0 ({sum(int((mask == 0).sum()) for mask in masks):,} pixels)" in told
    binary = [np.where(mask > 0, 255, 0).astype(np.uint8) for mask in random_masks()]
    assert load(folder(tmp_path / "binary", binary)).classes == ("class 0", "class 255")


def test_colours_with_and_without_a_list(tmp_path, load):
    table = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    masks = random_masks()
    own = folder(tmp_path / "own", [table[mask] for mask in masks])
    data = load(own)
    assert data.classes == ("#0000FF", "#00FF00", "#FF0000") and data.palette[2] == (255, 0, 0)
    assert "#FF0000 (" in " ".join(data.notes)
    (own / "classes.txt").write_text("car 255 0 0\nroad 0 255 0\nunknown 0 0 255\n")
    listed = load(own)  # a new list is a new decoding
    assert listed.classes == ("car", "road") and listed.palette == ((255, 0, 0), (0, 255, 0))
    assert (listed.masks[3] == np.array([0, 1, 255])[masks[3]]).all()
    assert not any("left out" in note for note in listed.notes)  # the list is no stray file
    again = load_again(listed.info())
    assert again.content_hash == listed.content_hash and again.source == str(own)
    (own / "classes.txt").write_text("car 255 0 0\nroad 0 255 0\n")
    blue = sum(int((mask == 2).sum()) for mask in masks)
    with pytest.raises(
        DataError, match=rf"#0000FF \({blue:,} pixels, first in masks/0_mask.png\); known are .*classes.txt"
    ):
        load(own)
    (own / "classes.txt").write_text("car\nroad\n")
    with pytest.raises(DataError, match="The masks are in colours, but the list of classes classes.txt gives none"):
        load(own)
    (own / "classes.txt").write_text("truck 255 0 0\nroad 0 255 0\nsky 0 0 255\n")
    with pytest.raises(DataError, match="knows the classes car, road"):
        load_again(listed.info())


def test_palette_images_count_by_their_numbers_unless_the_list_knows_only_the_colours(tmp_path, load):
    masks = random_masks()
    own = folder(tmp_path / "own", masks, palette=[(9, 9, 9), (0, 200, 0), (0, 0, 200)])
    (own / "classes.txt").write_text("0 a\n1 b\n2 c\n")
    assert (load(own).masks[2] == masks[2]).all()
    (own / "classes.txt").write_text("5 b 0 200 0\n6 a 9 9 9\n7 c 0 0 200\n")
    assert (load(own).masks[2] == np.array([1, 0, 2])[masks[2]]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda own: save(own / "masks/1_mask.png", np.zeros((8, 16), np.uint8)),
         r"1 of 6 masks .* masks/1_mask.png: 16 x 8 pixels for an image of 16 x 16"),
        (lambda own: (own / "classes.txt").write_text("a\nb\n"), r"values that stand for no class: 2 \("),
        (lambda own: [save(file, np.zeros((16, 16), np.uint8)) for file in own.glob("masks/*")], "one value only"),
        (lambda own: [save(file, np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8))
                      for file in own.glob("masks/*")], "different values, more than the 64"),
    ],
)  # fmt: skip
def test_masks_that_cannot_be_used_are_said(tmp_path, load, change, words):
    own = folder(tmp_path / "own", random_masks())
    change(own)
    with pytest.raises(DataError, match=words):
        load(own)
    assert not list((tmp_path / "home").rglob("masks.npy"))  # nothing half-written


def test_files_that_cannot_be_read_are_left_out_and_named(tmp_path, load):
    own = folder(tmp_path / "own", random_masks(8))
    for file in (own / "masks/1_mask.png", own / "images/4.png"):
        file.write_bytes(file.read_bytes()[:60])  # a header and no more
    (own / "images/6.png").write_bytes(b"no image at all")
    data = load(own)
    assert {file.split("/")[-1] for file in data.files} == {f"{i}.png" for i in (0, 2, 3, 5, 7)}
    told = " ".join(data.notes)
    assert "3 that cannot be read (images/6.png" in told


def test_large_images_are_cut_into_windows_and_small_ones_are_filled(tmp_path, load):
    masks = random_masks(4, side=600)
    masks[0][:256, :256] = 255  # a window without any class
    masks.append(random_masks(1, side=100)[0])
    data = load(folder(tmp_path / "own", masks))
    assert data.image_size == 256 and len(data.masks) == 4 * 9 - 1 + 1
    told = " ".join(data.notes)
    assert "1 images (or windows) left out" in told and "1 images are smaller than a window" in told
    assert (data.masks[-1][:100, :100] == masks[-1]).all() and (data.masks[-1][100:] == 255).all()
    image = [file.split("/")[-1].split("_")[0] for file in data.files]
    parts = [{image[i] for i in data.part(part)} for part in ("train", "val", "test")]
    assert sum(map(len, parts)) == 5 and not (parts[0] & parts[1] | parts[0] & parts[2])
    pixels = sum(int((mask == 2).sum()) for mask in masks)
    assert sum(data.class_pixels(part)[2] for part in ("train", "val", "test")) == pixels  # each counts once
    assert (training_pixels(data) == data.class_pixels("train")).all()
    assert load(tmp_path / "own", image_size=(128, 192)).masks.shape[1:] == (128, 192)


def test_rasters_of_four_deep_bands_with_nodata(tmp_path, load):
    import rasterio

    masks = random_masks(5)
    how = {"driver": "GTiff", "height": 16, "width": 16, "crs": "EPSG:32633"}
    how["transform"] = rasterio.transform.from_origin(500_000, 5_600_000, 0.4, 0.4)
    for i, mask in enumerate(masks):
        for name in ("img", "gt"):
            (tmp_path / "own" / name).mkdir(parents=True, exist_ok=True)
        bands = np.stack([100 + k + 3000 * mask.astype(np.uint16) for k in range(4)])
        bands[:, :2] = 0
        with rasterio.open(tmp_path / f"own/img/s{i}.tif", "w", count=4, dtype="uint16", nodata=0, **how) as file:
            file.write(bands)
            file.descriptions = ("blue", "green", "red", "nir")
        labels = mask.astype(np.int16)
        labels[-3:] = -9
        with rasterio.open(tmp_path / f"own/gt/s{i}.tif", "w", count=1, dtype="int16", nodata=-9, **how) as file:
            file.write(labels, 1)
    data = load(tmp_path / "own")
    assert data.classes == ("class 0", "class 1", "class 2") and data.images.shape == (5, 16, 16, 3)
    assert (data.masks[:, :2] == 255).all() and (data.masks[:, -3:] == 255).all()  # of the image, and of the mask
    assert (data.masks[0][2:-3] == masks[0][2:-3]).all() and not data.images[:, :2].any()
    assert any("of 4 bands red, green, blue" in note for note in data.notes)
    assert any("of 4 bands nir" in note for note in load(tmp_path / "own", bands="nir").notes)


def test_parts_an_archive_and_a_class_that_is_not_trained(tmp_path, load):
    random = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for part, high in (("train", 2), ("val", 3), ("test", 3)):
            for i in range(3):
                mask = random.integers(0, high, (16, 16), dtype=np.uint8)
                for name, pixels in (
                    (f"images/{part}/{i}.png", np.dstack([mask * 40] * 3)),
                    (f"masks/{part}/{i}.png", mask),
                ):
                    file = io.BytesIO()
                    Image.fromarray(pixels).save(file, "png")
                    archive.writestr(f"mine/{name}", file.getvalue())
        archive.writestr("mine/classes.txt", "road\ncar\nplane")
    data = load(tmp_path / "own.zip")
    assert [len(data.part(part)) for part in ("train", "val", "test")] == [3, 3, 3]
    assert all(f"images/{part}" in data.files[i] or part in data.files[i] for part in ("train", "val", "test")
               for i in data.part(part))  # fmt: skip
    assert "The training part has no pixels of plane: the network cannot learn them." in data.notes
    assert data.rare == (1,) or data.rare == (0,)  # never one without training pixels


def test_a_split_of_masks_is_stratified_by_the_rarest_class():
    counts = np.zeros((60, 3), np.int64)
    counts[:, 0], counts[:30, 1], counts[:12, 2] = 100, 10, 1
    found = strata(counts)
    assert len({*found[:12]}) == len({*found[12:30]}) == len({*found[30:]}) == 1 and len({*found}) == 3
    assert len({*strata(counts[6:])}) == 2  # six images with the rarest class are no stratum
    assert not strata(counts, sources=[i // 2 for i in range(60)]).any()  # 6, 9 and 15 sources
    assert len({*strata(np.repeat(counts, 2, 0), sources=[i // 2 for i in range(120)])}) == 3


def test_tiles_stay_in_one_part_and_rare_classes_are_in_every_part(tmp_path, load):
    for tile in range(5):
        for i, mask in enumerate(random_masks(2)):
            save(tmp_path / f"tiled/t{tile}/images/{tile}{i}.png", np.dstack([mask * 20 + tile + 5 * i] * 3))
            save(tmp_path / f"tiled/t{tile}/masks/{tile}{i}.png", mask)
    data = load(tmp_path / "tiled")
    tiles = [{data.files[i].split("/")[0] for i in data.part(part)} for part in ("train", "val", "test")]
    assert sum(map(len, tiles)) == 5 and all(tiles)
    masks = [np.full((16, 16), 1 + i % 2, np.uint8) for i in range(100)]
    for i, mask in enumerate(masks):
        mask[0, 0] = 3 if i % 10 == 0 else 2  # one pixel of a rare class in each tenth image
        mask[1] = np.arange(16) < i % 16
    rare = load(folder(tmp_path / "rare", masks))
    found = [int((rare.masks[rare.part(part)] == 3).sum()) for part in ("train", "val", "test")]
    assert found == [6, 1, 3]


def test_the_first_mask_is_named_whichever_thread_is_ahead():
    import io

    from rsprune_lib.data.masks import Coding

    def mask(value):
        buffer = io.BytesIO()
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    coding = Coding.of([[0], [1]])
    for name in ("b.png", "a.png", "c.png"):
        coding.decode(mask(9), name)
    assert coding.where == {9: "a.png"} and coding.strange[9] == 48
