"""The look inside the pruned network: answers, comparison, channels, uploads, and the view that shows them."""

import io
import struct
import threading
import time
import zlib

import ipywidgets as widgets
import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from torch.nn import functional as F

from rsprune_lib.data import Batches
from rsprune_lib.data.decode import quiet
from rsprune_lib.data.upload import MAX_BYTES, read_upload
from rsprune_lib.errors import DataError, RspruneError, Stopped
from rsprune_lib.measure import wilson
from rsprune_lib.models import create_model
from rsprune_studio import Setting, Studio
from rsprune_studio.draw import inside as inside_charts
from rsprune_studio.draw.inside import agreement, heat_map, largest_changes
from rsprune_studio.engine.comparison import Answer, Comparison
from rsprune_studio.engine.inside import Inside
from rsprune_studio.engine.network_cache import Kept
from rsprune_studio.engine.threads import Watch
from rsprune_studio.views.gallery import SLOTS
from rsprune_studio.views.inside import LookInside

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def model(lively_se):
    return lively_se


@pytest.fixture(scope="module")
def studio(model, tiny_data):
    return Studio(model, tiny_data, images=32, val_images=None, first=4, batch_size=4, progress=False)


@pytest.fixture(scope="module")
def snapshot(studio):
    return studio.final(Setting("l2", ratio=0.5, recovery="bn"))


@pytest.fixture(scope="module")
def other(studio):
    return studio.final(Setting("l2", ratio=0.25, recovery="none"))


@pytest.fixture(scope="module")
def inside(studio):
    return Inside(studio)


def logits(network, data, images):
    """By hand: one image at a time, normalised in float64."""
    mean, std = np.array(data.mean), np.array(data.std)
    x = torch.from_numpy((data.images[images] / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return torch.cat([network(one[None]) for one in x])


# the state


def test_an_answer_is_what_the_networks_say(inside, studio, snapshot, tiny_data):
    image = int(inside.images()[1])
    answer = Inside(studio).answer(snapshot, image)
    dense, pruned = (
        logits(network, tiny_data, [image])[0].double().softmax(0).numpy()
        for network in (studio.model, studio.networks.recovered(snapshot))
    )
    np.testing.assert_allclose(answer.dense, dense, atol=1e-5)
    np.testing.assert_allclose(answer.pruned, pruned, atol=1e-5)
    assert answer.label == tiny_data.labels[image]
    assert answer.says == (dense.argmax(), pruned.argmax())
    assert answer.confidence == (answer.dense.max(), answer.pruned.max())
    inside.compare(snapshot)
    np.testing.assert_allclose(inside.answer(snapshot, image).pruned, pruned, atol=1e-5)


def test_an_upload_is_treated_like_the_images_of_the_data(inside, snapshot, tiny_data):
    image = int(inside.images()[0])
    upload = inside.answer(snapshot, np.array(tiny_data.images[image]))
    own = inside.answer(snapshot, image)
    assert (upload.label, upload.image, own.image) == (None, None, image)
    np.testing.assert_allclose(upload.pruned, own.pruned, atol=1e-5)
    batch, _ = next(iter(Batches(tiny_data, np.array([image]), 1)))
    torch.testing.assert_close(inside.tensor(image), batch)


def test_the_true_class_is_always_among_the_bars():
    answer = Answer(np.array([0.7, 0.2, 0.1, 0.0]), np.array([0.1, 0.2, 0.7, 0.0]), label=3)
    assert answer.top(3) == [0, 2, 3]
    assert Answer(answer.dense, answer.pruned).top(3) == [0, 2, 1]


def test_only_validation_images_and_images_of_the_right_shape(inside, snapshot, tiny_data):
    with pytest.raises(DataError, match="none of the .* validation images"):
        inside.answer(snapshot, int(tiny_data.split.test[0]))
    with pytest.raises(DataError, match=r"Got pixels of shape \(8, 8, 3\)"):
        inside.answer(snapshot, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="float"):
        inside.answer(snapshot, np.zeros(tiny_data.images.shape[1:]))


def test_images_of_a_class_come_in_an_order_of_their_own(inside, studio, tiny_data):
    every = inside.images()
    assert sorted(every) == sorted(studio.validation.indices)
    np.testing.assert_array_equal(every, inside.images())
    assert set(tiny_data.labels[inside.images(2)]) == {2}
    assert sum(len(inside.images(label)) for label in range(4)) == len(every)


def test_a_comparison_holds_against_plain_torch(inside, studio, snapshot, tiny_data):
    found, images = inside.compare(snapshot), studio.validation.indices
    labels = torch.from_numpy(tiny_data.labels[images])
    dense, pruned = (
        logits(studio.model, tiny_data, images),
        logits(studio.networks.recovered(snapshot), tiny_data, images),
    )
    torch.testing.assert_close(found.dense, dense, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.pruned, pruned, rtol=1e-4, atol=1e-4)
    loss = F.cross_entropy(pruned, labels, reduction="none").numpy()
    np.testing.assert_allclose(found.losses, loss, atol=1e-3)
    order = found.hardest()
    assert sorted(order) == sorted(images)
    by_image = dict(zip(images.tolist(), loss.tolist(), strict=True))
    ordered = [by_image[image] for image in order.tolist()]
    assert ordered == pytest.approx(sorted(loss, reverse=True), abs=1e-3)
    same = int((dense.argmax(1) == pruned.argmax(1)).sum())
    assert found.agreement == (same / len(images), wilson(same, len(images)))


def test_the_change_of_the_confusions_sums_up(inside, snapshot):
    found, change = inside.compare(snapshot), inside.compare(snapshot).confusion_change
    assert change.dtype == np.int64
    assert (change.sum(1) == 0).all()  # every image is answered once before and once after
    np.testing.assert_array_equal(change, snapshot.quality.confusion - snapshot.dense.quality.confusion)
    assert np.trace(change) == found.paired.gained - found.paired.lost


def test_lost_ones_were_right_and_are_wrong(inside, snapshot, tiny_data):
    found = inside.compare(snapshot)
    lost = found.lost()
    assert len(lost) == found.paired.lost
    for image in lost.tolist():
        before, after = found.answer(image).says
        assert before == tiny_data.labels[image] != after
    for label in range(4):
        np.testing.assert_array_equal(found.lost(label), lost[tiny_data.labels[lost] == label])
        np.testing.assert_array_equal(found.hardest(label), found.hardest()[tiny_data.labels[found.hardest()] == label])


def toy(dense, pruned, labels):
    one = torch.eye(3) * 4
    return Comparison(np.arange(10, 10 + len(labels)), torch.tensor(labels), one[dense], one[pruned])


def test_a_comparison_that_can_be_counted_by_hand():
    found = toy([0, 0, 1, 2, 2], [0, 1, 1, 1, 0], [0, 0, 1, 2, 0])
    assert found.confusion_change.tolist() == [[0, 1, -1], [0, 0, 0], [0, 1, -1]]
    assert found.lost().tolist() == [11, 13]
    assert found.agreement[0] == 0.4
    assert (found.paired.lost, found.paired.gained) == (2, 1)
    assert found.hardest(0).tolist() == [11, 10, 14]


def test_nothing_pruned_changes_nearly_nothing(inside, studio):
    whole = studio.final(Setting("l2", ratio=0.0, recovery="none"))
    found = inside.compare(whole)
    assert found.agreement[0] > 0.5
    text = largest_changes(np.zeros((4, 4), int), studio.data.classes)
    assert text == "No mistake became more or less frequent."


def test_what_was_judged_is_not_asked_again(studio, snapshot, other, monkeypatch):
    inside, asked = Inside(studio), []
    told = lambda text, share: asked.append(text)  # noqa: E731
    latest = studio.final(Setting("l2", ratio=0.4, recovery="none"))
    assert inside.known(latest) is None
    first = inside.compare(latest, Watch(tell=told))
    assert asked == []  # its logits are those behind the accuracy on the screen
    assert float((first.pruned.argmax(1) == first.labels).float().mean()) == pytest.approx(latest.quality.accuracy)
    assert float((first.dense.argmax(1) == first.labels).float().mean()) == pytest.approx(studio.dense.quality.accuracy)
    assert inside.compare(latest, Watch(tell=told)) is first is inside.known(latest)
    monkeypatch.setattr(studio.networks, "kept", Kept())  # others have come since
    again = Inside(studio).compare(latest, Watch(tell=told))
    assert set(asked) == {"Asking the pruned network"}
    assert again.dense is first.dense
    torch.testing.assert_close(again.pruned, first.pruned)


def test_a_comparison_can_be_stopped_and_started_again(studio, snapshot, monkeypatch):
    monkeypatch.setattr(studio.networks, "kept", Kept())
    inside, asked = Inside(studio), []
    studio.networks.recovered(snapshot)
    with pytest.raises(Stopped):
        inside.compare(snapshot, Watch(lambda: asked.append(1) or len(asked) > 1))
    assert len(asked) == 2
    assert inside.known(snapshot) is None
    assert inside.compare(snapshot).pruned.shape == (len(studio.validation.indices), 4)


def test_a_plan_that_is_tuned_again_is_compared_again(model, tiny_data):
    studio = Studio(model, tiny_data, images=16, val_images=8, first=4, batch_size=4, progress=False)
    raw = studio.final(Setting("l2", ratio=0.5, recovery="none"))
    inside, seen = Inside(studio), []
    for factor in (0.5, 2.0):
        small = studio.network(raw.plan)
        small.fc.weight.data *= factor
        studio.keep_tuned(raw.plan, small, {})
        tuned = studio.final(Setting("l2", ratio=0.5, recovery="tuned"))
        seen.append(inside.compare(tuned).pruned)
    assert not torch.allclose(*seen)


@pytest.mark.parametrize("group", ["conv1", "layer1.0.conv1", "layer3.0.conv2", "layer4.1.conv1"])
def test_channels_are_the_plan_the_scores_the_weights_and_the_maps(inside, studio, snapshot, tiny_data, group):
    image = int(inside.images()[0])
    page = inside.channels(snapshot, group, image, limit=64)
    scores, keep = studio.scoring.values("l2")[group], snapshot.plan.keep[group]
    assert sorted(page.number) == list(range(page.size))
    np.testing.assert_array_equal(page.score, scores[page.number])
    assert (np.diff(page.score) <= 0).all()
    assert set(page.number[page.kept]) == set(keep)
    assert page.kept_of_all == len(keep)
    weight = studio.model.get_submodule(group).weight.detach()[page.number]
    expected = weight.permute(0, 2, 3, 1) if group == "conv1" else weight.abs().mean(1)
    np.testing.assert_allclose(page.filters, expected.numpy(), atol=1e-6)
    unit = next(unit for unit in studio.model.units() if unit.layer == group)
    seen = []
    hook = studio.model.get_submodule(unit.norm).register_forward_hook(lambda _m, _x, y: seen.append(y.clone()))
    logits(studio.model, tiny_data, [image])
    hook.remove()
    np.testing.assert_allclose(page.maps, seen[0][0][page.number].numpy(), atol=1e-4)


def test_channels_come_some_at_a_time(inside, snapshot):
    image = int(inside.images()[0])
    whole = inside.channels(snapshot, "layer3.0.conv1", image)
    part = inside.channels(snapshot, "layer3.0.conv1", image, first=5, limit=7)
    np.testing.assert_array_equal(part.number, whole.number[5:12])
    np.testing.assert_array_equal(part.maps, whole.maps[5:12])
    assert (part.map_scale, part.filter_scale) == (whole.map_scale, whole.filter_scale)
    with pytest.raises(RspruneError, match=r"Unknown group 'layer9'.*conv1"):
        inside.channels(snapshot, "layer9", image)


def test_linear_roots_and_networks_without_attention_have_channels(tiny_data):
    plain = create_model("vgg16", 4, width=0.0625, seed=0)
    studio = Studio(plain, tiny_data, images=16, val_images=8, first=4, progress=False)
    inside, snapshot = Inside(studio), studio.apply(Setting("l2", recovery="none"))
    for group in studio.groups:
        page = inside.channels(snapshot, group.name, int(inside.images()[0]))
        assert len(page.filters) == len(page.maps) == group.size
        assert page.maps.ndim == 3
        assert "stays" in inside_charts.channels(page, "l2", "an image")


def test_the_networks_are_left_alone(studio, snapshot):
    model = studio.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen = []
    hook = model.conv1.register_forward_hook(lambda *_: seen.append(1))  # as work on another thread would
    inside = Inside(studio)
    inside.answer(snapshot, int(inside.images()[0]))
    inside.compare(snapshot)
    inside.channels(snapshot, "conv1", int(inside.images()[0]))
    hook.remove()
    assert seen == []
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    own = dict(inside.dense.named_parameters())
    assert all(own[name].data_ptr() == value.data_ptr() for name, value in model.named_parameters())


# uploads


def encoded(kind, size=(40, 30), mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, size, 120 if mode == "L" else (200, 30, 60)).save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, data))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_good_uploads_come_at_the_size_of_the_data(kind):
    pixels = read_upload(f"tile.{kind.lower()}", encoded(kind), 32)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    assert np.abs(pixels.astype(int) - (200, 30, 60)).max() < 12
    assert read_upload("grey.png", memoryview(encoded("PNG", mode="L")), 16).shape == (16, 16, 3)


def test_a_satellite_tiff_of_16_bits_can_be_uploaded(tmp_path):
    bands = np.random.default_rng(0).integers(0, 3000, (4, 50, 50)).astype(np.uint16)
    with quiet(), rasterio.open(tmp_path / "s2.tif", "w", width=50, height=50, count=4, dtype="uint16") as raster:
        raster.write(bands)
    pixels = read_upload("s2.tif", (tmp_path / "s2.tif").read_bytes(), 50)
    assert pixels.std() > 30


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.png", b"", r"empty\.png is empty; upload an image"),
        ("notes.txt", b"dear reader", r"notes\.txt is no image of a known format; upload one of JPEG, PNG"),
        ("page.svg", b"<svg onload='alert(1)'/>", "no image of a known format"),
        ("program.ps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "no image of a known format"),
        ("raster.vrt", b"<VRTDataset rasterXSize='1' rasterYSize='1'/>", "no image of a known format"),
        ("big.png", png_header(10_000, 10_000), r"10000 x 10000 pixels \(100 megapixels\), but at most 32 megapixels"),
        ("bomb.png", png_header(60_000, 60_000), "far too many pixels, but at most 32 megapixels"),
        ("cut.jpg", encoded("JPEG", (200, 200))[:700], r"cut\.jpg looks like an image but cannot be read"),
        ("hollow.png", png_header(64, 64), "looks like an image but cannot be read"),
        ("fake.tif", b"II*\x00" + bytes(40), "looks like an image but cannot be read"),
        ("../../etc/cut.jpg", b"\xff\xd8\xff", r"^The file cut\.jpg looks"),
        ("huge.png", b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES), r"has 64 MB, but at most 64 MB are read"),
    ],
)
def test_bad_uploads_are_one_sentence(name, content, says, recwarn):
    with pytest.raises(DataError, match=says) as caught:
        read_upload(name, content, 32)
    assert "\n" not in str(caught.value)
    assert not [warning for warning in recwarn if "Bomb" in warning.category.__name__]


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr("rsprune_lib.data.upload.decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="100 megapixels"):
        read_upload("big.png", png_header(10_000, 10_000), 32)


# charts


def test_words_say_what_became_of_an_image():
    names = ("field", "forest <b>")
    sure, unsure = np.array([0.999, 0.001]), np.array([0.2, 0.8])
    assert inside_charts.said(Answer(sure, sure, 0), names) == (
        "Both say field (dense > 99% sure, pruned > 99%), which is right."
    )
    assert "lost by pruning" in inside_charts.said(Answer(sure, unsure, 0), names)
    assert "won by pruning" in inside_charts.said(Answer(sure, unsure, 1), names)
    assert inside_charts.said(Answer(unsure, unsure), names).endswith("pruned 80%).")
    html = inside_charts.answers(Answer(sure, unsure, 0), names)
    assert "✓ right" in html
    assert "✗ wrong" in html
    assert "forest <b>" not in html


def test_the_heat_map_and_its_words_tell_better_from_worse():
    change = np.array([[-3, 3, 0], [1, -1, 0], [0, -2, 2]])
    names = ("a&b", "forest", "river")
    svg, words = heat_map(change, names), largest_changes(change, names, 3)
    assert svg.count("<rect") == 9
    assert svg.count("stroke-width") == 3
    assert "a&amp;b, answered forest: +3" in svg
    assert ">−3</text>" in svg
    assert "3 more</b> a&amp;b taken for forest" in words
    assert "2 fewer</b> river taken for forest" in words
    assert words.index("3 more") < words.index("2 fewer") < words.index("1 more")
    found = toy([0, 0, 1, 2, 2], [0, 1, 1, 1, 0], [0, 0, 1, 2, 0])
    assert "answer 40.0% of 5 validation images alike" in agreement(found)
    assert len(heat_map(np.zeros((45, 45), int), [f"class {k}" for k in range(45)])) > 1000


# the view


@pytest.fixture
def look(studio, snapshot):
    view = LookInside(studio)
    view.active = True
    view.show(snapshot)
    view.settle()
    return view


def test_everything_is_drawn(look, snapshot, tiny_data):
    answer = look.inside.answer(snapshot, look.image)
    assert inside_charts.said(answer, tiny_data.classes) in look.one.words.value.replace("&gt;", ">").replace(
        "&lt;", "<"
    )
    assert "<svg" in look.mistakes.confusion.value
    assert look.mistakes.hardest.value.count("<img") == 8
    assert look.channels.cards.value.count("stays</b>") == len(snapshot.plan.keep["conv1"])
    assert look.channels.cards.value.count("✕ removed") == 8 - len(snapshot.plan.keep["conv1"])
    assert look.status.value == look.progress.value == ""
    assert look.error is None


def test_an_inactive_view_computes_nothing(studio, snapshot, other, monkeypatch):
    view = LookInside(studio)
    for name in ("answer", "compare", "channels"):
        monkeypatch.setattr(view.inside, name, lambda *_, **__: pytest.fail("computed"))
    view.show(snapshot)
    view.gallery.step(1)
    view.channels.group.value = "layer1.0.conv1"
    view.gallery.source.value = "hardest"
    view.settle()
    assert view.one.bars.value == ""
    monkeypatch.undo()
    view.active = True
    view.settle()
    assert view.one.bars.value
    view.active = False
    view.show(other)
    view.settle()
    assert view.one.bars.value == ""  # what is on the screen when it comes to the front again is not of another setting
    assert view.mistakes.confusion.value == ""


def test_choosing_an_image_shows_its_answer(look, snapshot, tiny_data):
    for press in (look.gallery.next.click, look.gallery.previous.click, look.gallery.previous.click):
        press()
        look.settle()
        assert f"image {look.image} (" in look.one.picture.value
        answer = look.inside.answer(snapshot, look.image)
        assert look.one.bars.value == inside_charts.answers(answer, tiny_data.classes)
    look.gallery.slots[3][1].click()
    assert look.image == look.gallery.images[3]
    assert look.gallery.slots[3][1].description == "shown"
    look.settle()


def test_the_gallery_lists_hard_and_lost_ones_and_classes(look, snapshot, tiny_data):
    found = look.inside.compare(snapshot)
    look.gallery.source.value = "hardest"
    assert look.gallery.images.tolist() == found.hardest().tolist()
    assert (
        f"Look at image {found.hardest()[0]}" == look.gallery.slots[0][1].tooltip
    )  # the hardest, whatever is looked at
    look.gallery.label.value = 1
    assert look.gallery.images.tolist() == found.hardest(1).tolist()
    assert f"of {tiny_data.classes[1]}" in look.mistakes.hardest.value
    look.gallery.source.value = "lost"
    look.gallery.label.value = next((k for k in range(4) if not len(found.lost(k))), -1)
    if look.gallery.wanted is not None:
        assert "There is no such image" in look.gallery.words.value
        look.gallery.next.click()  # goes nowhere
        assert look.gallery.slots[0][1].layout.visibility == "hidden"
    look.settle()


def test_next_starts_with_the_list_that_is_in_sight(look):
    look.gallery.images = np.repeat(look.inside.images()[1:], 4)[:20]  # the image that is looked at is not in it
    look.gallery.turn()
    look.gallery.step(1)
    assert look.image == look.gallery.images[SLOTS]
    look.settle()


def test_more_goes_round(look):
    look.gallery.images = np.repeat(look.inside.images(), 4)[:20]
    seen = []
    for _ in range(-(-20 // SLOTS)):
        look.gallery.turn()
        seen.append(sum(button.layout.visibility == "visible" for _, button in look.gallery.slots))
    assert seen == [8, 4, 8]


def test_a_setting_without_accuracy_takes_the_answers_down_but_shows_channels(look, studio):
    waiting = studio.apply(Setting("l2", ratio=0.8, recovery="bn"))
    assert not waiting.final
    look.show(waiting)
    assert look.one.bars.value == look.mistakes.confusion.value == ""
    assert "Follows" in look.one.words.value
    look.settle()
    assert look.one.bars.value == ""
    assert look.channels.cards.value.count("stays</b>") == len(waiting.plan.keep["conv1"])
    look.gallery.source.value = "hardest"
    assert len(look.gallery.images) == 0
    look.show(studio.final(waiting.setting))
    look.settle()
    assert look.one.bars.value
    assert len(look.gallery.images) == len(studio.validation.indices)


def test_stale_answers_are_dropped(look, snapshot, other, studio, tiny_data, monkeypatch):
    gate, entered, answer = threading.Event(), threading.Event(), look.inside.answer

    def slow(which, *rest):
        if which is other:
            entered.set()
            gate.wait(5)
        return answer(which, *rest)

    drawn, draw = [], look.one.draw
    monkeypatch.setattr(look.inside, "answer", slow)
    monkeypatch.setattr(look.one, "draw", lambda found: (drawn.append(found), draw(found)))
    look.show(other)
    assert entered.wait(5)
    look.show(snapshot)
    gate.set()
    look.settle()
    assert len(drawn) == 1
    assert look.one.bars.value == inside_charts.answers(answer(snapshot, look.image), tiny_data.classes)


def test_a_comparison_that_is_no_longer_wanted_stops(studio, snapshot, other, monkeypatch):
    view, gate, stopped = LookInside(studio), threading.Event(), []
    compare = view.inside.compare

    def slow(which, watch):
        if which is snapshot:
            gate.wait(5)
            stopped.append(watch.stop())
            raise Stopped("x")
        return compare(which, watch)

    monkeypatch.setattr(view.inside, "compare", slow)
    view.active = True
    view.show(snapshot)
    time.sleep(0.05)
    view.show(other)
    gate.set()
    view.settle()
    assert stopped == [True]
    assert view.error is None
    assert "<svg" in view.mistakes.confusion.value


def test_the_next_image_does_not_start_the_comparison_anew(studio, snapshot, monkeypatch):
    view, gate, started = LookInside(studio), threading.Event(), []
    compare = view.inside.compare
    monkeypatch.setattr(view.inside, "compare", lambda *a: (started.append(1), gate.wait(5), compare(*a))[-1])
    view.active = True
    view.show(snapshot)
    for _ in range(3):
        view.gallery.step(1)
        view.channels.turn(1)
    view._looker.settle(10)
    assert view.one.bars.value  # although the comparison is not there yet
    gate.set()
    view.settle()
    assert started == [1]


def sent(view, name, content):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": None}
    view.gallery._uploaded((file,))


def test_an_upload_is_answered_and_a_bad_one_leaves_it(look, tiny_data):
    sent(look, "field <1>.png", encoded("PNG", (50, 50)))
    look.settle()
    assert look.image.shape == tiny_data.images.shape[1:]
    assert "your image field &lt;1&gt;.png" in look.one.picture.value
    assert "true class" not in look.one.bars.value
    assert "◂ its answer" in look.one.bars.value
    assert all(button.description == "show" for _, button in look.gallery.slots)
    good = look.one.bars.value
    sent(look, "big.png", png_header(10_000, 10_000))
    assert "100 megapixels" in look.status.value
    assert look.one.bars.value == good
    with pytest.raises(DataError):
        look.settle()
    look.gallery.step(1)
    look.settle()
    assert look.status.value == ""
    assert look.gallery.upload.value == ()
    sent(look, "C:\\images\\\u202egnp" + "x" * 5000, encoded("PNG", (50, 50)))
    said = look.one.picture.value
    assert "one value everywhere" in said and "images" not in said.split("alt=")[1][:40]
    assert "\u202e" not in said and "x" * 200 not in said.split("base64")[0]
    look.settle()


def test_a_failure_is_a_sentence_and_the_next_move_works(look, monkeypatch):
    monkeypatch.setattr(look.inside, "channels", lambda *_, **__: 1 / 0)
    cards = look.channels.cards.value
    look.channels.group.value = "layer2.0.conv1"
    with pytest.raises(ZeroDivisionError):
        look.settle()
    assert "ZeroDivisionError" in look.status.value
    assert look.channels.cards.value == cards
    monkeypatch.undo()
    look.channels.group.value = "layer3.0.conv1"
    look.settle()
    assert look.status.value == ""
    assert "in layer3.0.conv1" in look.channels.cards.value


def test_pages_of_channels_stay_within_the_group(look, snapshot, monkeypatch):
    monkeypatch.setattr("rsprune_studio.views.inside_pages.PAGE", 8)
    page = look.channels
    page.group.value = "layer4.0.conv1"  # 64 channels, 32 stay
    assert page.first(snapshot) == 28
    for _ in range(9):
        page.turn(1)
    assert page.first(snapshot) == 56
    assert page.next.disabled
    for _ in range(9):
        page.turn(-1)
    assert page.first(snapshot) == 0
    assert page.previous.disabled
    page.place.value = "worst"
    assert page.first(snapshot) == 56
    page.group.value = "conv1"
    assert page.first(snapshot) == 0
    assert page.previous.disabled
    assert page.next.disabled
    look.settle()


def test_no_name_of_the_widgets_own_is_taken(look):
    for view in (look, look.gallery, look.one, look.mistakes, look.channels):
        own = {name for name, value in vars(type(view)).items() if callable(value) and not name.startswith("__")}
        assert not {name for name in own - {"close"} if hasattr(widgets.HBox, name)}


def test_every_control_says_what_it_is(look):
    for control in (
        look.gallery.source, look.gallery.label, look.gallery.previous, look.gallery.next, look.gallery.more,
        look.gallery.upload, look.channels.group, look.channels.place, look.channels.previous, look.channels.next,
    ):  # fmt: skip
        assert control.description
        assert control.tooltip
    assert 'alt="' in look.gallery.slots[0][0].value


def test_rapid_moves_end_with_the_last_one(look, studio, snapshot, other, tiny_data):
    for step in range(30):
        look.show((snapshot, other)[step % 2])
        look.gallery.step(1 if step % 3 else -1)
        look.active = step % 7 != 0
    look.active = True
    look.show(other)
    look.settle()
    assert look.one.bars.value == inside_charts.answers(look.inside.answer(other, look.image), tiny_data.classes)
    change = look.inside.compare(other).confusion_change
    assert look.mistakes.confusion.value == heat_map(change, tiny_data.classes)
