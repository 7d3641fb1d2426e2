"""Class maps in the studio: dense beside pruned for the picked image, dropped by the next move, nothing left behind."""

import threading

import numpy as np
import pytest
import torch

from rsprune_lib.errors import RspruneError, Stopped
from rsprune_lib.explain import ClassMapper, class_maps
from rsprune_studio import Setting, Studio
from rsprune_studio.draw.class_maps import class_map_page
from rsprune_studio.engine.class_maps import MapChoice, MapRoom
from rsprune_studio.engine.inside import Inside
from rsprune_studio.engine.threads import Watch
from rsprune_studio.views.inside import LookInside

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def studio(lively_se, tiny_data):
    return Studio(lively_se, tiny_data, images=32, val_images=None, first=4, batch_size=4, progress=False)


@pytest.fixture(scope="module")
def snapshot(studio):
    return studio.final(Setting("l2", ratio=0.5, recovery="bn"))


@pytest.fixture(scope="module")
def room(studio):
    return MapRoom(Inside(studio))


def untouched(*models):
    for model in models:
        assert all(p.grad is None for p in model.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())


def test_a_pair_is_what_class_maps_gives(studio, snapshot, room):
    image = int(room.inside.images()[0])
    pruned = studio.networks.recovered(snapshot)
    pair = room.pair(snapshot, image, MapChoice("layercam"))
    x = room.inside.tensor(image)
    with torch.no_grad():
        says = int(studio.model.eval()(x).argmax())
    assert pair.label == says and pair.dense.layer == pair.pruned.layer == ClassMapper(studio.model, x.shape[-1]).layer
    for network, found in ((studio.model, pair.dense), (pruned, pair.pruned)):
        right = class_maps(network, x, says, method="layercam", layer=pair.dense.layer)
        assert np.allclose(found.maps, right.maps, atol=1e-5)
    assert room.pair(snapshot, image, MapChoice(label=1)).label == 1
    untouched(studio.model, pruned, room.inside.dense)


def test_bad_choices_and_stops_leave_nothing_behind(studio, snapshot, room):
    image = int(room.inside.images()[0])
    for wrong in (MapChoice(layer="conv99"), MapChoice(method="magic"), MapChoice(label=99)):
        with pytest.raises(RspruneError):
            room.pair(snapshot, image, wrong)
    with pytest.raises(Stopped):
        room.pair(snapshot, image, MapChoice(), Watch(lambda: True))
    untouched(studio.model, studio.networks.recovered(snapshot), room.inside.dense)
    assert room.pair(snapshot, image, MapChoice()).dense.maps.shape[0] == 1  # no lock is held


def test_the_page_follows_image_and_controls_and_rests_behind(studio, snapshot):
    look = LookInside(studio)
    look.active = True
    look.show(snapshot)
    look.settle()
    assert look.maps.pair is None  # another page is in front
    look.pages.selected_index = list(look.pages.titles).index("Class maps")
    look.settle()
    first = look.maps.pair
    assert "correlate" in look.maps.view.value or "blank" in look.maps.view.value
    assert len(look.maps.layer.options) == 1 + len(look.maps.room.layers)
    assert all(menu.index is not None for menu in (look.maps.method, look.maps.layer, look.maps.label))  # none is empty
    look.maps.label.value, look.maps.method.value = 1, "eigencam"
    look.settle()
    assert look.maps.pair.label == 1 and "Eigen-CAM" in look.maps.view.value
    look.choose(int(look.inside.images()[1]))
    look.settle()
    assert not np.array_equal(look.maps.pair.pixels, first.pixels)
    look.maps.layer.value = look.maps.layer.options[-1][1]
    look.settle()
    assert look.maps.pair.dense.layer == look.maps.layer.options[-1][1]
    look.show(None)
    assert look.maps.pair is None and "Follows" in look.maps.view.value
    untouched(studio.model, studio.networks.recovered(snapshot))
    look.close()


def test_a_move_drops_what_is_being_made(studio, snapshot, monkeypatch):
    look = LookInside(studio)
    look.active = True
    look.show(snapshot)
    look.settle()
    begun, go, asked = threading.Event(), threading.Event(), []
    plain = look.maps.room.pair

    def slow(snapshot, image, choice, watch):
        asked.append(choice.method)
        if choice.method == "hirescam":
            begun.set()
            assert go.wait(20)
            watch.check("slow")
        return plain(snapshot, image, choice, watch)

    monkeypatch.setattr(look.maps.room, "pair", slow)
    look.pages.selected_index = list(look.pages.titles).index("Class maps")
    look.settle()
    look.maps.method.value = "hirescam"
    assert begun.wait(20)
    for method in ("layercam", "gradcam++"):
        look.maps.method.value = method
    go.set()
    look.settle()
    assert asked[0] == "gradcam" and asked[-1] == "gradcam++" and "layercam" not in asked
    assert "Grad-CAM++" in look.maps.view.value and "HiRes" not in look.maps.view.value
    look.close()


def test_names_are_escaped_and_blank_maps_said(snapshot, room):
    image = int(room.inside.images()[0])
    pair = room.pair(snapshot, image, MapChoice("layercam", label=0))
    text = class_map_page(pair, "layercam", ["<b>x</b>", "y", "z", "w"] * 3)
    assert "<b>x</b>" not in text and "&lt;b&gt;x" in text
    pair.dense.blank[0] = True
    assert "blank" in class_map_page(pair, "layercam", ["a"] * 12)
