"""Layouts: what is a class, what is a part, and what is left out."""

import pytest

from rsprune_lib.data import get_card
from rsprune_lib.data.layout import card_layout, folder_layout
from rsprune_lib.errors import DataError


def test_wrappers_are_skipped_and_nested_images_belong_to_their_class():
    names = ["set/Images/b/2.png", "set/Images/a/deep/er/1.png", "set/Images/a/1.png"]
    layout = folder_layout(names, "set")
    assert layout.classes == ("a", "b") and layout.labels == (0, 0, 1)
    assert layout.files == ("a/1.png", "a/deep/er/1.png", "b/2.png")
    assert layout.rows == {"set/Images/a/1.png": 0, "set/Images/a/deep/er/1.png": 1, "set/Images/b/2.png": 2}
    assert layout.fixed is None


def test_images_beside_the_class_folders_are_left_out():
    assert folder_layout(["preview.png", "a/1.png", "b/1.png"], "set").members == ("a/1.png", "b/1.png")


def test_parts_as_top_folders():
    names = [f"{part}/{label}/{i}.png" for part in ("train", "Valid", "test") for label in "ab" for i in range(2)]
    layout = folder_layout(names, "set")
    assert layout.classes == ("a", "b")
    assert dict(zip(layout.files, layout.fixed, strict=True))["Valid/a/0.png"] == "val"
    without_test = folder_layout([name for name in names if not name.startswith("test")], "set")
    assert set(without_test.fixed) == {"train", "test"}, "a val folder alone serves as test"
    plain = folder_layout(["train/1.png", "river/1.png"], "set")
    assert plain.classes == ("river", "train"), "a class may be called train"


def test_one_class_and_none():
    for names in (["river/1.png", "river/2.png"], ["set/river/1.png"]):
        with pytest.raises(DataError, match=r"one class folder only \(river\).*at least two"):
            folder_layout(names, "set")
    for names in ([], ["1.png"]):
        with pytest.raises(DataError, match="expected set/<class>/<image>"):
            folder_layout(names, "set")


def test_card_layout_forgives_spelling_and_counts():
    card = get_card("nasc_tg2")
    names = [f"x/{c.replace('_', '').title()}/{i}.jpg" for c in card.classes for i in range(2_000)]
    layout = card_layout([*names[::-1], "x/readme/1.jpg"], card, "x.zip")
    assert len(layout.members) == 20_000 and layout.files[0] == "beach/0.jpg" and layout.classes == card.classes
    with pytest.raises(DataError, match=r"holds 19,999 images .*expected 20,000"):
        card_layout(names[1:], card, "x.zip")
    with pytest.raises(DataError, match="holds 20,001 images"):
        card_layout([*names, names[0].replace("0.jpg", "new.jpg")], card, "x.zip")


def test_real_archives_have_the_layout_of_their_cards(mirror):
    from rsprune_lib.data.archives import read_members

    for name in ("eurosat", "ucmerced"):
        card = get_card(name)
        members = [member for member, _ in read_members(mirror / card.sources[0].filename, contents=False)]
        assert len(card_layout(members, card, name).members) == card.num_images


def lay(**folders):
    """``lay(train="ab", test="ab")``: two images in each of the classes a and b of each part."""
    return [f"{top.replace('__', '/')}/{label}/{i}.png" for top, own in folders.items() for label in own for i in "12"]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training", "TESTING"),
        ("training_set", "test_set"),
        ("trainset", "testset"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("EuroSAT-train", "EuroSAT-test"),
        ("TrainImages", "TestImages"),
        ("train2017", "test2017"),
        ("train/images", "test/images"),
        ("train/train", "test"),
        ("trainval", "holdout"),
        ("1_train", "2_test"),
    ],
)
def test_parts_under_their_many_names(train, test):
    names = [f"{top}/{label}/{i}.png" for top in (train, test) for label in ("forest", "water") for i in range(2)]
    layout = folder_layout(["set/" + name for name in names], "set")
    assert layout.classes == ("forest", "water")
    assert [
        part for part, name in zip(layout.fixed, layout.members, strict=True) if name.startswith(f"set/{train}/")
    ] == ["train"] * 4
    assert layout.fixed.count("test") == 4


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev", "val_set", "eval"])
def test_validation_under_its_many_names(val):
    layout = folder_layout(lay(train=("a", "b"), test=("a", "b"), **{val: ("a", "b")}), "set")
    assert sorted(set(layout.fixed)) == ["test", "train", "val"] and layout.note is None
    alone = folder_layout(lay(train=("a", "b"), **{val: ("a", "b")}), "set")
    assert sorted(set(alone.fixed)) == ["test", "train"] and "validation part serves as test" in alone.note


def test_parts_in_each_class_folder():
    layout = folder_layout(lay(forest=("train", "test"), water=("train", "test")), "set")
    assert layout.classes == ("forest", "water") and layout.fixed.count("test") == 4


def test_a_class_is_one_however_its_parts_spell_it():
    layout = folder_layout(lay(train=("Annual Crop", "water"), test=("annual_crop", "Water")), "set")
    assert layout.classes == ("Annual Crop", "water") and layout.labels == (0,) * 4 + (1,) * 4
    accents = folder_layout(lay(train=("for\u00eat", "b"), test=("fore\u0302t", "b")), "set")  # as Macs write them
    assert accents.classes == ("b", "for\u00eat")
    letters = folder_layout(lay(train=("a", "A"), test=("a", "A")), "set")
    assert letters.classes == ("A", "a"), "the training part tells them apart"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            lay(train=("a", "b"), test=("a", "b"), pred=("x",)),
            "the parts test, train, and beside them pred, which is neither a part",
        ),
        (
            [*lay(train=("a", "b"), test=("a", "b")), "extra/1.png", "more/1.png"],
            "beside them extra, more, which is neither",
        ),
        ([*lay(train=("a", "b")), "test/1.png"], "beside them test, which holds no class folders"),
        (lay(val=("a", "b"), test=("a", "b")), "holds test, val, but no training part"),
        (["train/1.png", "test/1.png", "val/1.png"], "parts test, train, val, but no class folders"),
        (lay(images=("a", "b"), masks=("a", "b")), r"images, masks, and in images the folders a, b: .*set/images"),
        (
            lay(a=("train", "test"), b=("train", "2019"), c=("x",)),
            "folders a, b hold parts .*but b/2019, c/x are no parts",
        ),
        ([*lay(a=("train", "test")), "b/1.png"], "the class folders a hold parts .*but b is no part; sort"),
        (lay(site1=("a", "b"), site2=("a", "b")), "which are the classes is not clear"),
        ([*lay(images=("a", "b")), "docs/1.png"], "such as set/images"),
    ],
)
def test_what_is_neither_part_nor_class_is_refused_by_name(names, told):
    with pytest.raises(DataError, match=told):
        folder_layout(names, "set")


def test_a_part_that_was_unpacked_into_itself_has_no_class_more():
    layout = folder_layout(lay(train=("a", "b"), train__train=("a", "b"), test=("a", "b")), "set")
    assert layout.classes == ("a", "b") and layout.fixed.count("train") == 8


def test_classes_may_be_called_like_parts_and_have_folders():
    assert folder_layout(["tiles/1.png", "water/1.png"], "set").classes == ("tiles", "water")
    stations = ["train_station/1.png", "test_track/1.png", "river/1.png"]
    assert folder_layout(stations, "set").classes == ("river", "test_track", "train_station")
    years = folder_layout(lay(forest=("2019", "2020"), water=("2019", "2020")), "set")
    assert years.classes == ("forest", "water") and years.fixed is None
    assert "folders inside them (forest/2019, forest/2020, water/2019, …) are not told apart" in years.note
    both = folder_layout([*lay(forest=("a", "b"), water=("a", "b")), "forest/1.png"], "set")
    assert both.classes == ("forest", "water"), "an image lies in the class folder itself"
    deep = folder_layout(lay(forest__images=("train",), water__train=("a",)), "set")
    assert deep.classes == ("forest", "water") and deep.fixed is None, "no part stands beside this train"


def test_an_image_beside_the_class_folders_does_not_hide_them():
    layout = folder_layout(["set/overview.png", *(f"set/{name}" for name in lay(train="ab", test="ab"))], "set")
    assert layout.fixed and layout.beside == ("set/overview.png",)
