"""The studio on a segmenter: numbers, votes of the classes, pictures of answers and mistakes, and the views."""

import dataclasses

import numpy as np
import pytest
import torch

from rsprune_lib.data.masks import UNKNOWN
from rsprune_lib.errors import RspruneError, TrainingError
from rsprune_lib.explain import class_maps
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Scan, score
from rsprune_lib.training import fit, recipe
from rsprune_studio import Setting, Studio
from rsprune_studio.draw import gauges, masks
from rsprune_studio.draw.votes import Votes, vote_map
from rsprune_studio.engine import scans
from rsprune_studio.engine.class_maps import MapChoice, MapRoom
from rsprune_studio.engine.inside import Inside
from rsprune_studio.engine.mask_answers import BOTH_WRONG, LOST, RIGHT, WON, MaskAnswer
from rsprune_studio.engine.threads import Watch
from rsprune_studio.engine.tune_run import TuneOptions
from rsprune_studio.engine.tuning import FineTune
from rsprune_studio.views.inside import LookInside
from rsprune_studio.views.lessons import lesson_panel
from rsprune_studio.views.scan import ScanView


@pytest.fixture(scope="module")
def model(fields):
    """A UNet1 of a sixteenth of the width that tells the common classes, and hardly the rare one."""
    network = create_model("unet1", 3, width=1 / 16, seed=0)
    how = recipe("strong", epochs=2, batch_size=8, lr=0.05)
    return fit(network, fields, how, loss="weighted_ce", seed=0, progress=False).model.eval()


@pytest.fixture(scope="module")
def studio(model, fields):
    return Studio(model, fields, images=16, val_images=None, first=4, batch_size=8, progress=False)


@pytest.fixture(scope="module")
def steps(studio):
    return list(studio.answers(Setting("l2", ratio=0.5, recovery="bn")))


@pytest.fixture(scope="module")
def snapshot(steps):
    return steps[-1]


def test_rare_numbers_stand_beside_miou(snapshot, studio):
    rare, (number,) = snapshot.quality.metrics["minority mIoU"], studio.task.rare
    assert number == 2 and rare == pytest.approx(snapshot.quality.per_class[2])
    text, words = gauges.gauges(snapshot), snapshot.sentence()
    assert text.count('"rsprune-card"') == 6 and f"{rare:.1%}" in text and "Minority mIoU" in text
    assert f"minority mIoU {rare:.1%} (" in words and "worst class" in words and "accuracy" not in text + words.lower()
    worst = studio.data.classes[int(np.argmin(snapshot.quality.per_class))]
    assert f">{worst}; dense" in text


def test_classes_are_listed_rare_ones_first(snapshot, studio):
    text = gauges.classes(snapshot, studio.data.classes, studio.task.rare)
    places = [text.index(f">{name}") for name in ("roof", "field", "soil")]
    assert places == sorted(places) and text.count(">rare<") == 1 and "IoU of each class" in text
    now, dense = snapshot.quality.per_class[0], snapshot.dense.quality.per_class[0]
    assert f"{dense:.0%} → {now:.0%}" in text


def test_votes_are_asked_once_and_agree_with_the_library(studio, model, fields):
    asked = []
    for options in ({}, {"minority": 2}, {"rule": "borda"}, {"rule": "all_classes"}):
        watch = Watch(tell=lambda text, share: asked.append(share))
        mine = studio.scoring.scores("class_taylor", watch, **options)
        library = score(
            model, studio.groups, "class_taylor", data=studio.trained.batches("train", 16), progress=False, **options
        )
        assert all(torch.equal(mine.values[name], library.values[name]) for name in mine.values)
    assert len(asked) == 2  # batches of the first pass
    setting = Setting("class_taylor", ratio=0.5, minority=2)
    assert studio.scoring.knows(setting) and setting.options == {"minority": 2}
    assert Setting("class_taylor", rule="borda", minority=2).options == {"rule": "borda"}
    with pytest.raises(RspruneError, match="minority"):
        studio.apply(dataclasses.replace(setting, minority=4))
    with pytest.raises(RspruneError, match="minority"):
        Setting("class_taylor", minority=0)


def test_a_scan_goes_by_the_classes_that_vote(studio, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(scans, "sensitivity_scan", lambda model, groups, scores, *_, **__: (
        seen.append(scores) or Scan("class_taylor", (0.5,), {g.name: (0.5,) for g in groups}, 0.9, 4, "mIoU")
    ))  # fmt: skip
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path))
    view = ScanView(studio)
    view.settle()
    view.snapshot = studio.apply(Setting("class_taylor", ratio=0.5, minority=2))
    view.run()
    view.settle()
    assert seen[0] is studio.scoring.scores("class_taylor", minority=2)
    assert view.scan.options == {"minority": 2} and not view.guided.disabled
    view.close()
    studio.scans.clear()


def test_code_of_a_minority_and_a_balanced_recovery_runs(studio, model, fields):
    setting = Setting("class_taylor", ratio=0.5, minority=2, recovery="live_balanced")
    assert Setting.from_dict(setting.to_dict()) == setting
    found = {"model": model, "data": fields}
    code = studio.code(setting)
    assert "'minority': 2" in code and 'positions="balanced"' in code
    exec(code, found)
    x = torch.randn(1, 3, 40, 56)
    mine = studio.network(studio.apply(setting).plan, "live_balanced").eval()
    assert found["plan"].keep == studio.apply(setting).plan.keep
    torch.testing.assert_close(found["small"].eval()(x), mine(x), rtol=1e-3, atol=1e-3)
    other = studio.network(studio.apply(setting).plan, "live").eval()
    assert (other(x) - mine(x)).abs().max() > 1e-2


def test_a_network_is_made_before_its_numbers_are_final(steps):
    assert [step.made for step in steps][-2:] == [True, True] and not steps[-2].final and not steps[0].made


def test_pixels_are_told_apart():
    truth = np.array([[0, 0, 1], [1, 2, UNKNOWN]], np.uint8)
    dense = np.array([[0, 0, 1], [0, 1, 0]], np.uint8)
    pruned = np.array([[0, 1, 1], [1, 1, 0]], np.uint8)
    answer = MaskAnswer(dense, pruned, truth)
    assert answer.change.tolist() == [[RIGHT, LOST, RIGHT], [WON, BOTH_WRONG, UNKNOWN]]
    assert answer.shares == {RIGHT: 0.4, LOST: 0.2, WON: 0.2, BOTH_WRONG: 0.2} and answer.wrong == (0.4, 0.4)
    rows = answer.classes(4)
    assert list(rows) == [0, 1, 2] and rows[0] == (0.4, 2 / 3, 0.5) and rows[2] == (0.2, 0, 0)
    assert "20.0% were lost" in masks.said(answer)
    upload = MaskAnswer(dense, pruned)
    assert upload.shares[LOST] == pytest.approx(2 / 6) and "33.3%" in masks.said(upload)
    nothing = MaskAnswer(dense, pruned, np.full_like(truth, UNKNOWN))
    assert "No pixel" in masks.said(nothing) and nothing.wrong == (0, 0)


def test_pictures_have_the_palette_and_hatch_what_is_unknown():
    mask = np.array([[0, 1], [UNKNOWN, UNKNOWN]], np.uint8)
    made = masks.class_picture(np.kron(mask, np.ones((8, 8), np.uint8)), [(1, 2, 3), (4, 5, 6)])
    assert made[0, 0].tolist() == [1, 2, 3] and made[0, 8].tolist() == [4, 5, 6]
    assert len(np.unique(made[8:].reshape(-1, 3), axis=0)) == 2
    large = masks.class_picture(np.zeros((1400, 700), np.uint8), [(1, 2, 3)])
    assert large.shape == (467, 234, 3)
    answer = MaskAnswer(np.array([[0, 0]], np.uint8), np.array([[1, 0]], np.uint8), np.array([[0, 0]], np.uint8))
    picture = masks.change_picture(np.zeros((1, 2, 3), np.uint8), answer)
    assert picture[0, 0].tolist() == [0xD9, 0x60, 0x0A] and len(set(picture[0, 1].tolist())) == 1


def test_answer_is_what_both_networks_say(studio, snapshot, model, fields):
    inside = Inside(studio)
    image = int(inside.images()[0])
    answer = inside.answer(snapshot, image)
    (x, _), *_ = studio.trained.batches(np.array([image]), None)
    with torch.inference_mode():
        small = studio.networks.recovered(snapshot)
        wanted = [network(x)[0].argmax(0).numpy() for network in (model, small)]
    for mine, other in zip((answer.dense, answer.pruned), wanted, strict=True):
        assert mine.dtype == np.uint8 and (mine == other).mean() > 0.995
    assert (answer.truth == fields.masks[image]).all()
    upload = inside.answer(snapshot, np.asarray(fields.images[image]))
    assert upload.truth is None and (upload.pruned == answer.pruned).all()


def test_comparison_ranks_images(studio, snapshot, fields):
    inside = Inside(studio)
    found = inside.compare(snapshot)
    by_hand = {int(image): inside.answer(snapshot, int(image)).wrong for image in found.images}
    worst = found.hardest()
    falls = [by_hand[int(image)][1] for image in worst]
    assert len(worst) == len(found.images) and falls == pytest.approx(sorted(falls, reverse=True), abs=2e-3)
    for image in found.images.tolist():
        assert [1 - one for one in found.numbers(image)] == pytest.approx(by_hand[image], abs=5e-3)
    lost = found.lost()
    assert all(found.numbers(int(image))[1] < found.numbers(int(image))[0] for image in lost)
    rare = found.hardest(2)
    assert set(rare.tolist()) == set(inside.images(2).tolist())
    assert (np.diff(found.iou[1, [int(np.flatnonzero(found.images == one)[0]) for one in rare], 2]) >= 0).all()
    assert found.change.sum() == 0 and found.pixels.sum() == (fields.masks[found.images] != UNKNOWN).sum()


def test_view_shows_pictures_of_the_chosen_image(studio, snapshot):
    look = LookInside(studio)
    look.active = True
    look.show(dataclasses.replace(snapshot, final=False, made=False))
    look.settle()
    assert "Follows" in look.one.words.value and look.one.pictures.value.count("<img") == 2
    look.show(dataclasses.replace(snapshot, final=False))  # the network is there, the numbers of all images are not
    look.settle()
    assert look.one.pictures.value.count("<img") == 5 and "of the pixels wrong" in look.one.words.value
    assert "Follows" in look.mistakes.words.value
    look.show(snapshot)
    look.settle()
    assert "became worse" in look.mistakes.words.value and "% wrong" in look.gallery.slots[0][0].value
    look.gallery.label.value, look.gallery.source.value = 2, "hardest"
    assert look.gallery.images.tolist() == look.inside.compare(snapshot).hardest(2).tolist()
    assert look.gallery.label.options[1] == ("roof (rare)", 2)
    look.gallery.choose(0)
    look.settle()
    assert f"image {look.gallery.images[0]}" in look.one.pictures.value
    look.pages.selected_index = list(look.pages.titles).index("Channels")
    look.settle()
    assert look.channels.cards.value.count("feature map") > 3
    look.close()


def test_channels_fade_while_the_whole_network_is_trained(studio, snapshot, model, fields):
    job = FineTune(studio)
    job.start(snapshot, TuneOptions(epochs=2, images=16, lr=0.003, decay=0.5))
    run = job.settle()
    assert run.phase == "done" and run.result.best_epoch == 2 and run.batch == 64
    setting = job.keep()
    kept = studio.networks.kept.tuned(snapshot.plan)
    assert {name: kept.model.get_submodule(name).out_channels for name in snapshot.plan.widths} == snapshot.plan.widths
    found = {"model": model, "data": fields}
    exec(studio.code(setting, kept.note), found)
    x = torch.randn(1, 3, 40, 56)
    torch.testing.assert_close(found["small"].eval()(x), kept.model(x), rtol=1e-3, atol=1e-3)
    with pytest.raises(TrainingError, match="2 epochs or more"):
        TuneOptions(epochs=1, decay=0.5)
    job.close()
    studio.forget_tuned(snapshot.plan)


def test_map_says_which_channels_speak_for_rare_classes():
    table = np.array([[4.0, 0, 0, 1], [0, 3, 1, 0], [0, 0, 0, 0]])
    votes = Votes(
        "a", table, np.array([True, False, True, False]), np.array([0.1, 0.2, 0.4, 0.3]), ["x", "y", "z"], [1]
    )
    assert votes.rows == [1, 0, 2] and votes.speaks.tolist() == [0, 1, 1, 0]
    assert votes.columns("class").tolist() == [1, 2, 0, 3] and votes.columns("score").tolist() == [2, 3, 1, 0]
    np.testing.assert_allclose(votes.stays, [0.8, 0.25, np.nan])
    assert "of the 2 channels that stay 1 speak for a rare class, of the 2 that go 1" in votes.sentence()
    text = vote_map(votes)
    assert "y loses most: 25%" in text and text.count("<img") == 2 and "#1 (goes), #2" in text and "not seen" in text


def test_panel_of_a_segmenter(studio):
    panel = lesson_panel(studio, "rare")
    panel.settle()
    controls, titles = panel.controls, panel.tabs.titles
    assert titles.index("Filters") < titles.index("Inside") and panel.tabs.selected_index == titles.index("Inside")
    assert "Rare here: roof" in panel.hint.value and controls.votes.layout.display == ""
    assert ("closed form, live, balanced", "live_balanced") in controls.recovery.options
    controls.votes.minority.value = 2
    assert panel.settle().setting.minority == 2 and "Rare here: roof, " in panel.hint.value
    panel.tabs.selected_index = titles.index("Filters")
    panel.parts["Filters"].settle()
    assert "speak for a rare class" in panel.parts["Filters"].picture.value
    controls.votes.rule.value = "borda"
    assert controls.votes.minority.layout.display == "none" and panel.settle().setting.options == {"rule": "borda"}
    controls.criterion.value = "l2"
    assert controls.votes.layout.display == "none" and panel.settle().setting.options == {}
    panel.close()


def test_other_views_work_on_a_segmenter(studio, tmp_path):
    panel = lesson_panel(studio, "free", folder=tmp_path)
    snapshot = panel.settle()
    assert "Exits" not in panel.tabs.titles
    scan, take = panel.parts["Sensitivity"], panel.parts["Take away"]
    scan.settle()
    scan.scanner.scan("l2", images=4, ratios=(0.0, 0.6))
    scan.active = True
    assert "upwards: mIoU" in scan.curves.value and "on other images" not in scan.curves.value
    assert (tmp_path / "sensitivity_l2.json").is_file()
    scan.ask(0.05)
    panel.settle()
    take.active = True
    take.prepare()
    assert "Bundle (" in take.packed.value, take.status.value
    panel.presets.buttons["global"].click()
    assert panel.settle().complete and snapshot.complete and "session.json" in take.links.value
    panel.close()


def test_class_maps_of_a_segmenter_ask_for_labelled_pixels_where_there_are_any(studio, snapshot, fields):
    room = MapRoom(Inside(studio))
    image = next(int(n) for n in room.inside.images() if (fields.masks[n] == 1).any())
    own = room.pair(snapshot, image, MapChoice("layercam", label=1))
    labelled = room.pair(snapshot, image, MapChoice("layercam", label=1, labelled=True))
    assert labelled.labelled and not own.labelled
    where = torch.from_numpy(np.asarray(fields.masks[image]) == 1)
    right = class_maps(studio.model, room.inside.tensor(image), 1, method="layercam", pixels=where)
    assert np.allclose(labelled.dense.maps, right.maps, atol=1e-5)
    pixels = np.asarray(fields.images[image])
    assert not room.pair(snapshot, pixels, MapChoice("layercam", label=1, labelled=True)).labelled  # no mask is known
    look = LookInside(studio)
    assert look.maps.over is not None
    look.close()
