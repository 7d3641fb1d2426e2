"""Rare classes in the course: networks judged on the same images, the state behind the panel, and the panel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.bundle import load_bundle
from rsprune_lib.course import PROFILES, ClassPanel, ClassPruning, Judged, begin, mask_row, trained
from rsprune_lib.course.judged import Gain
from rsprune_lib.course.widgets.class_pruning import ClassSetting
from rsprune_lib.data import Batches
from rsprune_lib.errors import RspruneError, Stopped
from rsprune_lib.measure import evaluate
from rsprune_lib.pruning import apply, find_groups


@pytest.fixture(scope="module")
def network():
    """A network that tells the three classes of ``fields`` apart by their colours, with channels to spare."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 1)).eval()
    net.task = "segmentation"
    return net


@pytest.fixture(scope="module")
def pruning(network, fields):
    train, val = (Batches(fields, part, 8, limit=8) for part in ("train", "val"))
    return ClassPruning(network, find_groups(network, (40, 56)), train, val)


def test_networks_are_judged_on_the_same_images(network, fields):
    judged = Judged(Batches(fields, "val", 4))
    means = judged.add("dense", network)
    found = evaluate(network, Batches(fields, "val", 4), progress=False)
    assert means["mIoU"] == pytest.approx(found.score)
    counts = fields.class_pixels("train")
    assert list(judged.order.numbers) == np.argsort(-counts).tolist()
    assert [judged.order.numbers[place] for place in judged.order.rare] == list(fields.rare)
    np.testing.assert_allclose(judged.iou("dense"), np.array(found.per_class)[list(judged.order.numbers)])
    judged.add("same", network)
    assert judged.gain("same", over="dense") == Gain(0, 0, 0) and not judged.gain("same", over="dense").clear
    assert judged.table().rows[0][-1] == "" and judged.table().rows[1][-1].startswith("+0.0")
    assert len(judged.figure({"a": "dense", "b": "same"}).axes) == 1
    with pytest.raises(RspruneError, match="network that was judged"):
        judged.means("other")


def test_a_gain_says_whether_it_may_be_chance():
    assert str(Gain(3.14, 1.0, 5.0)) == "+3.1 (+1.0 to +5.0) points, more than chance"
    assert str(Gain(-0.5, -2.0, 1.0)) == "−0.5 (−2.0 to +1.0) points, not more than chance"
    assert Gain(-3, -4, -2).clear


def test_pictures_of_one_image(fields):
    answers = {"a": np.zeros((40, 56), np.uint8), "b": np.ones((40, 56), np.uint8)}
    row = mask_row(fields, 3, answers)
    assert list(row) == ["image", "truth", "a", "b", "mistakes of b"]
    assert list(mask_row(fields, 3, {})) == ["image", "truth"]
    assert row["a"][5, 5].tolist() == [0, 255, 0] and row["truth"][0, 0].tolist() == [255] * 3


def test_nothing_removed_and_soft_masks_of_one_are_the_dense_network(pruning):
    for setting in (ClassSetting(keep=1.0, repair=False), ClassSetting(left=1.0)):
        view = pruning.apply(setting)
        np.testing.assert_allclose(view.iou, pruning.dense_iou)
        assert view.params == pruning.dense_cost.params


def test_a_setting_leads_to_a_smaller_network(pruning, network, fields):
    setting = replace(pruning.usual(), keep=0.25, repair=False)
    view = pruning.apply(setting)
    assert view.plan.widths == {"0": 4} and view.params < pruning.dense_cost.params and view.macs > 0
    small = apply(network, view.plan, pruning.groups)
    found = evaluate(small, Batches(fields, "val", 8, limit=8), progress=False)
    np.testing.assert_allclose(view.iou, np.array(found.per_class)[list(pruning.order.numbers)])
    repaired = pruning.apply(replace(setting, repair=True))
    assert repaired.plan == view.plan and not np.allclose(repaired.iou, view.iou)
    faded = pruning.apply(replace(setting, left=0.5))
    assert faded.params == pruning.dense_cost.params and "saves nothing" in pruning.sentence(faded)
    assert "of the dense network" in pruning.sentence(view) and "8 validation images" in pruning.sentence(view)


def test_rules_and_minority_decide_what_stays(pruning):
    kept = {
        (rule, some): tuple(
            pruning.apply(ClassSetting(keep=0.25, rule=rule, minority=some, repair=False)).plan.keep["0"]
        )
        for rule, some in (("minority_group", 1), ("minority_group", 3), ("all_classes", 1), ("l1", 1), ("borda", 1))
    }
    assert kept["minority_group", 3] == kept["all_classes", 1]
    assert kept["minority_group", 1] == tuple(
        sorted(pruning._tables["0"][pruning.data.rare[0]].topk(4).indices.tolist())
    )
    assert len(set(kept.values())) > 2


@pytest.mark.parametrize("wrong", [{"keep": 0.0}, {"left": 1.5}, {"image": 8}, {"rule": "l7"}, {"minority": 4}])
def test_wrong_settings_are_one_sentence(pruning, wrong):
    with pytest.raises(RspruneError, match="expected|did you mean|rule"):
        pruning.apply(ClassSetting(**wrong))


def test_work_ends_when_it_is_no_longer_wanted(pruning):
    def unwanted():
        raise Stopped("no longer wanted")

    with pytest.raises(Stopped):
        pruning.apply(ClassSetting(), unwanted)


def test_labels_without_masks_are_refused(network, tiny_data):
    with pytest.raises(RspruneError, match="give a data set with masks"):
        ClassPruning(network, [], Batches(tiny_data, "train"), Batches(tiny_data, "val"))


def test_the_panel_answers_the_last_move(pruning):
    panel = ClassPanel(pruning).settle()

    def shown():
        return panel.sentence.value, bytes(panel.curves.value), bytes(panel.pictures.value)

    first = shown()
    assert first[1].startswith(b"\x89PNG") and panel.view.setting == pruning.usual()
    for keep in (0.9, 0.6, 0.2):
        panel.keep.value = keep
    panel.settle()
    assert panel.view.setting.keep == 0.2
    assert all(
        a != b for a, b in zip(first, (panel.sentence.value, panel.curves.value, panel.pictures.value), strict=True)
    )
    panel.rule.value = "l1"
    assert panel.minority.disabled
    panel.left.value = 0.5
    assert panel.repair.disabled
    panel.reset.click()
    assert panel.settle().setting == pruning.usual() and not panel.minority.disabled and not panel.repair.disabled


def test_an_error_is_shown_where_the_answer_would_stand(pruning, monkeypatch):
    panel = ClassPanel(pruning).settle()

    def broken(setting, check):
        raise RspruneError("no <luck>")

    monkeypatch.setattr(pruning, "apply", broken)
    panel.keep.value = 0.3
    with pytest.raises(RspruneError, match="luck"):
        panel.settle()
    assert panel.sentence.value == "<b>no &lt;luck&gt;</b>"


@pytest.mark.parametrize(
    ("asked", "here", "got"),
    [
        ("auto", True, "camvid"),
        ("auto", False, "synthetic_aerial"),
        ("eurosat", True, "camvid"),
        ("synthetic", True, "synthetic_aerial"),
        ("dubai", False, "dubai"),
        ("/own/masks", True, "/own/masks"),
        ("/own/classes", False, "synthetic_aerial"),
    ],
)
def test_a_notebook_about_masks_gets_data_with_masks(asked, here, got, fields, tiny_data, monkeypatch):
    loaded = []

    def load(name):
        loaded.append(name)
        return tiny_data if name == "/own/classes" else fields

    monkeypatch.setattr("rsprune_lib.course.parameters.load_data", load)
    monkeypatch.setattr("rsprune_lib.course.parameters.at_hand", lambda card: here)
    assert begin("smoke", asked, masks=True, seed=0)[1] is fields
    assert loaded[-1] == got


def test_a_segmenter_is_trained_where_none_fits(fields, tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_BUNDLES", str(tmp_path / "bundles"))
    monkeypatch.setitem(trained.__globals__, "project_root", lambda: tmp_path)
    tiny = replace(PROFILES["smoke"], width=1 / 16, train_images=16, val_images=4, calibration_images=16)
    dense, small = (trained(fields, kind, choice=tiny, progress=False) for kind in ("dense", "pruned"))
    assert dense.config["model"]["name"] == "unet1" and dense.model(torch.zeros(1, 3, 40, 56)).shape == (1, 3, 40, 56)
    assert set(small.plan.how) and small.plan.how["criterion"] == "class_taylor"
    folder = next((tmp_path / "runs" / "trained").glob("*/unet1_k50"))
    assert load_bundle(folder).plan == small.plan
