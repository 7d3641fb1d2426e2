"""Cards: the facts hang together, and a wrong name is answered with the nearest ones."""

import re

import pytest

from rsprune_lib.data import card_names, get_card
from rsprune_lib.data.drawing import PAINT
from rsprune_lib.errors import RspruneError

CLASSES = {
    "eurosat": (10, 27_000),
    "ucmerced": (21, 2_100),
    "aid": (30, 10_000),
    "nasc_tg2": (10, 20_000),
    "resisc45": (45, 31_500),
    "patternnet": (38, 30_400),
    "cifar10": (10, 60_000),
    "synthetic": (10, 6_000),
    "synthetic_aerial": (6, 64),
    "camvid": (11, 701),
    "dubai": (5, 72),
    "cityscapes": (19, 3_475),
    "vaihingen_full": (6, 16),
    "vaihingen_eroded": (6, 16),
    "potsdam_full": (6, 37),
    "potsdam_eroded": (6, 37),
    "loveda": (7, 4_191),
}


@pytest.mark.parametrize("name", card_names())
def test_card_is_complete(name):
    card = get_card(name)
    assert (len(card.classes), card.num_images) == CLASSES[name]
    assert len(set(card.classes)) == len(card.classes)
    assert card.licence and card.citation and (card.homepage.startswith("http") or card.synthetic)
    assert (card.mean is None) == (card.std is None)
    assert sum(card.split.ratios) == pytest.approx(1)
    assert bool(card.sources) != card.synthetic
    assert (card.task == "segmentation") == (card.masks is not None)
    if card.masks:
        assert len(card.masks.palette) == len(card.masks.codes) == len(card.classes) == len(set(card.masks.palette))


@pytest.mark.parametrize("name", card_names())
def test_sources_are_well_formed(name):
    for source in get_card(name).sources:
        assert re.fullmatch(r"[\w.-]+\.(zip|npz|tar\.gz)", source.filename)
        assert source.url is None or source.url.startswith(("https://", "http://weegee."))
        assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.md5 is None or re.fullmatch(r"[0-9a-f]{32}", source.md5)
        assert source.url is None or source.sha256 or source.md5, "a download without a stated hash"
        assert source.note, "says who states the hash, or why there is none"


def test_eurosat_numbers():
    card = get_card("eurosat")
    assert card.mean == (0.3444, 0.3803, 0.4078) and card.std == (0.2027, 0.1369, 0.1156)
    assert card.image_size == 64 and card.split.ratios == (0.6, 0.1, 0.3)


def test_synthetic_is_labelled_and_can_be_painted():
    card = get_card("synthetic")
    assert card.synthetic and "synthetic" in card.title and card.classes == tuple(PAINT)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(RspruneError, match="'eurosta'.*'eurosat'"):
        get_card("eurosta")
