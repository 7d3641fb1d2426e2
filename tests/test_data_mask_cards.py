"""Cards of segmentation sets that need a registration: tiny replicas of each archive's layout, read from a mirror."""

import dataclasses
import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from test_data_fetch import no_mirror  # noqa: F401 - a fixture

from rsprune_lib.data import catalogue, get_card, load_data
from rsprune_lib.data.masks import Coding
from rsprune_lib.errors import DataError

pytestmark = pytest.mark.usefixtures("no_mirror")
RANDOM = np.random.default_rng(0)


def packed(pixels, kind):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


def picture(labels, kind="tiff"):
    """An image whose red says the class."""
    return packed(np.repeat((labels * 30).astype(np.uint8)[..., None], 3, 2), kind)


def coloured(labels, card, kind="tiff"):
    table = np.zeros((256, 3), np.uint8)
    table[: len(card.classes)] = card.masks.palette
    return packed(table[labels], kind)


def labels(card, side=16, unknown=False):
    made = RANDOM.integers(0, len(card.classes), (side, side), dtype=np.uint8)
    if unknown:
        made[:2] = 255
    return made


def mirror_of(folder, archives):
    """Archives with their sums, as a mirror holds them."""
    folder.mkdir(exist_ok=True)
    for name, members in archives.items():
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in folder.glob("*.zip")]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def vaihingen(card):
    masks = {str(k): labels(card, unknown="eroded" in card.name) for k in range(1, 39) if k not in (9, 18, 19, 25, 36)}
    images = {f"top/top_mosaic_09cm_area{k}.tif": picture(mask) for k, mask in masks.items()}
    images |= {f"gts_for_participants/top_mosaic_09cm_area{k}.tif": b"II*\0" for k in (1, 3)}
    images |= {"dsm/dsm_09cm_matching_area1.tif": b"II*\0", "readme.txt": b"x"}
    end = "_noBoundary.tif" if "eroded" in card.name else ".tif"
    truth = {f"top_mosaic_09cm_area{k}{end}": coloured(mask, card) for k, mask in masks.items()}
    return {card.sources[0].filename: images, card.more[0][0].filename: truth}, masks


def potsdam(card):
    places = [place for part in card.masks.parts.values() for place in part] + ["7_10"]
    masks = {place: np.kron(labels(card, 8), np.ones((4, 4), np.uint8)) for place in places}
    end = "_noBoundary" if "eroded" in card.name else ""
    images = {f"2_Ortho_RGB/top_potsdam_{k}_RGB.tif": picture(mask) for k, mask in masks.items()}
    images |= {f"2_Ortho_RGB/top_potsdam_{k}_RGB.tfw": b"0.05" for k in masks}
    truth = {f"top_potsdam_{k}_label{end}.tif": coloured(mask, card) for k, mask in masks.items()}
    return {"2_Ortho_RGB.zip": images, card.more[0][0].filename: truth}, masks


@pytest.mark.parametrize("name", ["vaihingen_full", "vaihingen_eroded", "potsdam_full", "potsdam_eroded"])
def test_tiles_stand_in_their_parts_and_the_label_form_is_named(name, tmp_path):
    card = get_card(name)
    archives, masks = (vaihingen if "vaihingen" in name else potsdam)(card)
    given = {"image_size": 16, "root": tmp_path / "home", "progress": False}
    data = load_data(name, mirror=mirror_of(tmp_path / "mirror", archives), **given)
    assert name.split("_")[1] in data.name and f"{name.split('_')[1]} labels" in data.title
    for part, places in card.masks.parts.items():
        found = {data.files[i].split(".")[0] for i in data.part(part)}
        assert len(found) == len(places) and all(any(f"{place}_" in file for file in found) for place in places)
    row = next(i for i in data.part("test") if f"{card.masks.parts['test'][0]}_" in data.files[i])
    mask = masks[card.masks.parts["test"][0]]
    assert (data.masks[row] == (mask if "vaihingen" in name else mask[::2, ::2])).all()
    assert (data.masks == 255).any() == (name == "vaihingen_eroded") and data.palette[4] == (255, 255, 0)
    (tmp_path / "mirror" / card.more[0][0].filename).unlink()
    with pytest.raises(DataError, match=f"get {card.more[0][0].filename} from https://www.isprs.org.* and place it as"):
        load_data(name, mirror=tmp_path / "mirror", **(given | {"root": tmp_path / "other"}))


def test_colours_saved_with_a_loss_become_the_nearest_and_others_are_told():
    mask = np.array([[(255, 255, 0), (252, 255, 3)], [(0, 0, 255), (120, 130, 120)]], np.uint8)
    content = packed(np.kron(mask, np.ones((8, 8, 1), np.uint8)), "png")
    near = Coding.of([[0xFFFF00], [0x0000FF]], colours=True, near=64)
    assert near.decode(content, "a")[::8, ::8].tolist() == [[0, 0], [1, 255]] and set(near.strange) == {0x788278}
    exact = Coding.of([[0xFFFF00], [0x0000FF]], colours=True)
    assert exact.decode(content, "a")[0, 8] == 255 and len(exact.strange) == 2


def test_loveda_counts_from_one_and_cuts_validation_from_train(tmp_path, monkeypatch):
    card = dataclasses.replace(get_card("loveda"), num_images=44)
    monkeypatch.setitem(catalogue.CARDS, "loveda", card)
    archives, masks = {"Train.zip": {}, "Val.zip": {}}, {}
    for part, count in (("Train", 15), ("Val", 7)):
        for scene in ("Urban", "Rural"):
            for i in range(count):
                mask = masks[part, scene, i] = RANDOM.integers(0, 8, (32, 32), dtype=np.uint8)
                place = f"{part}/{scene}/{{}}_png/{i}.png"
                archives[f"{part}.zip"] |= {place.format("images"): picture(mask, "png")}
                archives[f"{part}.zip"] |= {place.format("masks"): packed(mask, "png")}
    mirror = mirror_of(tmp_path / "mirror", archives)
    data = load_data("loveda", image_size=16, root=tmp_path / "home", mirror=mirror, progress=False)
    assert [len(data.part(part)) for part in ("train", "val", "test")] == [27, 3, 14]
    assert all(data.files[i].startswith("Val") == (i in data.part("test")) for i in range(44))
    row = data.files.index("Val/Rural/images_png/3_0_0.png")
    mask = np.asarray(Image.fromarray(masks["Val", "Rural", 3]).resize((16, 16), Image.Resampling.NEAREST)).astype(int)
    assert (data.masks[row] == np.where(mask == 0, 255, mask - 1)).all()


def test_cityscapes_holds_out_cities_and_counts_nineteen_classes(tmp_path, monkeypatch):
    card = dataclasses.replace(get_card("cityscapes"), num_images=4)
    monkeypatch.setitem(catalogue.CARDS, "cityscapes", card)
    images, truth, masks = {}, {}, {}
    for part, city in (
        ("train", "aachen"),
        ("train", "ulm"),
        ("val", "munster"),
        ("train", "zurich"),
        ("test", "bonn"),
    ):
        mask = masks[city] = RANDOM.integers(0, 34, (16, 32), dtype=np.uint8)
        images[f"leftImg8bit/{part}/{city}/{city}_000000_000019_leftImg8bit.png"] = picture(mask // 5, "png")
        for kind in ("labelIds", "instanceIds", "color"):
            pixels = mask if kind == "labelIds" else np.zeros_like(mask)
            truth[f"gtFine/{part}/{city}/{city}_000000_000019_gtFine_{kind}.png"] = packed(pixels, "png")
    archives = {"leftImg8bit_trainvaltest.zip": images, "gtFine_trainvaltest.zip": truth}
    mirror = mirror_of(tmp_path / "mirror", archives)
    data = load_data("cityscapes", image_size=(16, 32), root=tmp_path / "home", mirror=mirror, progress=False)
    parts = {
        part: [data.files[i].split("/")[-1].split("_")[0] for i in data.part(part)] for part in ("train", "val", "test")
    }
    assert parts == {"train": ["aachen"], "val": ["ulm", "zurich"], "test": ["munster"]}
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]  # as the benchmark numbers them
    table = np.full(34, 255)
    table[ids] = range(19)
    assert (data.masks[data.part("test")[0]] == table[masks["munster"]]).all() and data.classes[13] == "car"
