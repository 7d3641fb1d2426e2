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
    layout = card_layout([*names, "x/readme/1.jpg"], card, "x.zip")
    assert len(layout.members) == 20_000 and layout.files[0] == "beach/0.jpg" and layout.classes == card.classes
    with pytest.raises(DataError, match=r"holds 19,999 images .*expected 20,000"):
        card_layout(names[1:], card, "x.zip")


def test_real_archives_have_the_layout_of_their_cards(mirror):
    from rsprune_lib.data.archives import read_members

    for name in ("eurosat", "ucmerced"):
        card = get_card(name)
        members = [member for member, _ in read_members(mirror / card.sources[0].filename, contents=False)]
        assert len(card_layout(members, card, name).members) == card.num_images
