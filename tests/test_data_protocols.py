"""The public scene sets in their real layouts, fetched from a local server, and split by published protocols."""

import dataclasses
import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from test_data_fetch import no_mirror, server  # noqa: F401 - fixtures

from rsprune_lib.data import Source, catalogue, get_card, is_card, load_again, load_data
from rsprune_lib.errors import RspruneError

LAYOUTS = {  # as the archives have it: folders, name of an image, kind
    "ucmerced": ("UCMerced_LandUse/Images/{c}/{c}{n:02d}.tif", "tiff"),
    "aid": ("AID/{c}/{c}_{n}.jpg", "jpeg"),
    "nasc_tg2": ("NaSC-TG2/{c}/{c}_{n:04d}.jpg", "jpeg"),
    "resisc45": ("NWPU-RESISC45/{c}/{c}_{n:03d}.jpg", "jpeg"),
    "patternnet": ("PatternNet/images/{c}/{c}{n:03d}.jpg", "jpeg"),
}
EACH = 10


def replica(name):
    """Bytes of a tiny archive with the layout of the real one."""
    pattern, kind = LAYOUTS[name]
    random, content = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(pattern.split("/")[0] + "/readme.txt", "cite us")
        for c in get_card(name).classes:
            for n in range(1, EACH + 1):
                pixels, file = random.integers(0, 256, (12, 12, 3), dtype=np.uint8), io.BytesIO()
                Image.fromarray(pixels).save(file, format=kind)
                archive.writestr(pattern.format(c=c, n=n), file.getvalue())
    return content.getvalue()


def served(name, server, monkeypatch):  # noqa: F811
    """Puts a replica on the server and its address and hash into the card."""
    content, card = replica(name), get_card(name)
    file = card.sources[0].filename
    server.files["/" + file] = content
    source = Source(f"{server.url}/{file}", file, md5=hashlib.md5(content).hexdigest())
    changed = dataclasses.replace(card, sources=(source,), num_images=EACH * len(card.classes))
    monkeypatch.setitem(catalogue.CARDS, name, changed)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_scene_set_is_downloaded_and_read_as_it_comes(name, server, monkeypatch, tmp_path):  # noqa: F811
    served(name, server, monkeypatch)
    data = load_data(name, image_size=8, root=tmp_path, progress=False)
    card = get_card(name)
    assert data.classes == card.classes and data.images.shape == (EACH * len(card.classes), 8, 8, 3)
    assert (np.bincount(data.labels) == EACH).all()
    assert [file.split("/")[0] for file in data.files[::EACH]] == list(card.classes)


def test_protocols_by_name_share_the_images_and_keep_their_own_split(server, monkeypatch, tmp_path):  # noqa: F811
    served("ucmerced", server, monkeypatch)
    how = {"image_size": 8, "root": tmp_path, "progress": False}
    usual, most, half = (load_data(f"ucmerced{end}", **how) for end in ("", "-80-20", "-50-50"))
    assert len(server.requests) == 1  # decoded once
    sizes = [[len(data.part(part)) for part in ("train", "val", "test")] for data in (usual, most, half)]
    assert sizes == [[126, 21, 63], [147, 21, 42], [84, 21, 105]]
    assert most.name == "ucmerced-80-20" and most.title.endswith("protocol 80/20") and usual.title.endswith("Use")
    assert len({data.split.hash for data in (usual, most, half)}) == 3
    for data in (most, half):  # stratified: every class has its share in every part
        for part in ("train", "val", "test"):
            assert len(set(np.bincount(data.labels[data.part(part)]))) == 1
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path))
    assert load_again(most.info(), progress=False).split.hash == most.split.hash


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ucmerced-80-30", "two shares that sum to 100"),
        ("ucmerced-100-0", "two shares that sum to 100"),
        ("cifar10-80-20", "has a split of its own"),
        ("synthetic-80-20", "has a split of its own"),
        ("ucmercedd-80-20", "ucmerced"),
    ],
)
def test_impossible_protocols_are_refused(name, sentence):
    with pytest.raises(RspruneError, match=sentence):
        get_card(name)


def test_a_name_with_a_protocol_is_the_name_of_a_card():
    assert is_card("aid-20-80") and is_card("aid") and not is_card("aid-20") and not is_card("aid-a-b")
