"""Numbers of segmentation: a published confusion matrix, classes left out in two ways, rare classes, boundaries."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.cli import main
from rsprune_lib.commands import evaluate as command
from rsprune_lib.commands.quality_text import left_out, quality_text
from rsprune_lib.confusion import class_numbers, mean
from rsprune_lib.course.tables import closing_table
from rsprune_lib.data import Batches, measuring_batch
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import (
    Result,
    boundary_counts,
    boundary_f1,
    evaluate,
    measure,
    resampled_classes,
    resampled_gain,
)
from rsprune_lib.models import create_model
from rsprune_lib.tasks import IGNORE, TASKS, Segmentation, task_of

# UED on Vaihingen (https://doi.org/10.1109/IGARSS47720.2021.9554244): rows the answer, columns the truth;
# building, clutter, car, impervious surface, low vegetation, tree
PUBLISHED = np.array([
    [6246442, 1261, 3958, 146725, 92315, 7951],
    [538, 0, 118, 4011, 21, 0],
    [3204, 843, 210226, 26395, 869, 294],
    [334031, 5275, 43143, 6314480, 267921, 45945],
    [110498, 5514, 2907, 303433, 4224152, 437139],
    [24010, 47, 2602, 87181, 1003631, 6179377],
]).T  # fmt: skip


def test_the_published_numbers_come_out():
    every = class_numbers(PUBLISHED)
    assert (every.oa, mean(every.iou), mean(every.f1)) == pytest.approx((0.88668, 0.64858, 0.72726), abs=6e-6)
    assert mean(every.accuracy) == pytest.approx(0.72147, abs=6e-6)
    legacy = class_numbers(PUBLISHED, [1], "rowcol")
    assert (legacy.oa, mean(legacy.iou), mean(legacy.f1)) == pytest.approx((0.88728, 0.77913, 0.87326), abs=6e-6)
    assert mean(legacy.accuracy) == pytest.approx(0.86596, abs=6e-6)
    assert legacy.f1[[0, 2, 3, 4, 5]] == pytest.approx([0.9453, 0.8345, 0.9096, 0.7920, 0.8848], abs=6e-5)
    assert legacy.iou[[0, 2, 3, 4, 5]] == pytest.approx([0.8963, 0.7160, 0.8342, 0.6556, 0.7934], abs=6e-5)
    truth = class_numbers(PUBLISHED, [1], "truth")
    assert (truth.oa, mean(truth.iou), mean(truth.f1)) == pytest.approx((0.88712, 0.77897, 0.87316), abs=6e-6)
    assert np.isnan(truth.iou[1]) and np.isnan(truth.accuracy[1])


def test_what_cannot_be_left_out_is_named():
    with pytest.raises(RspruneError, match=r"'col'.*rowcol"):
        class_numbers(PUBLISHED, [1], "col")
    with pytest.raises(RspruneError, match="class 6 to leave out; expected numbers from 0 to 5"):
        class_numbers(PUBLISHED, [6])


def test_means_over_rare_classes_and_the_worst_class():
    confusion = np.array([[8, 2, 0, 0], [1, 9, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    iou = [8 / 11, 9 / 13, 1 / 2]
    found = class_numbers(confusion).means(rare=(2, 3))  # class 3 occurs nowhere
    assert found["minority mIoU"] == found["worst class"] == pytest.approx(iou[2])
    assert found["mIoU"] == pytest.approx(sum(iou) / 3) and found["OA"] == pytest.approx(18 / 22)
    assert class_numbers(confusion).means(rare=(0, 2))["minority mIoU"] == pytest.approx((iou[0] + iou[2]) / 2)
    assert "minority mIoU" not in class_numbers(confusion).means()
    confusion[0, 3] = 1  # a class that is only answered is an error of class 0, not the worst class
    assert class_numbers(confusion).means()["worst class"] == pytest.approx(iou[2])


def test_intervals_of_classes_hold_their_value_and_shrink_with_more_images():
    few = np.random.default_rng(0).integers(0, 50, (12, 3, 3))
    few[:, 2], few[:, :, 2] = 0, 0  # class 2 occurs nowhere
    ends, value = resampled_classes(few), class_numbers(few.sum(0)).iou
    assert ((ends[:2, 0] < value[:2]) & (value[:2] < ends[:2, 1])).all() and np.isnan(ends[2]).all()
    many = resampled_classes(np.repeat(few, 16, axis=0))
    assert (np.diff(many[:2]) < 0.5 * np.diff(ends[:2])).all()


def test_a_gain_is_paired_image_by_image():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 200, (30, 2, 2)) * rng.integers(1, 20, (30, 1, 1))  # images differ far more than networks
    second = first.copy()
    moved = first[:, 1, 0] // 10  # every image: a tenth of the misses of class 1 become hits
    second[:, 1, 0] -= moved
    second[:, 1, 1] += moved
    gain, low, high = resampled_gain(first, second, [1])
    expected = class_numbers(second.sum(0)).iou[1] - class_numbers(first.sum(0)).iou[1]
    assert gain == pytest.approx(expected) and 0 < low < gain < high
    spread = np.diff(resampled_classes(first)[1])[0]
    assert high - low < spread / 3
    assert resampled_gain(first, first, [0, 1]) == (0, 0, 0)


class _ByBrightness(nn.Module):
    """Answers by the red band: dark is class 0, then 1, then 2."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        red = x[:, :1] * self.scale
        return torch.cat([-red, torch.zeros_like(red), red], 1) - torch.tensor([0.5, 0, 0.5]).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def scenes(tiny_data):
    masks = np.random.default_rng(0).choice(3, (len(tiny_data.labels), 32, 32), p=(0.7, 0.25, 0.05)).astype(np.uint8)
    masks[:, 0] = 255
    return dataclasses.replace(
        tiny_data, images=tiny_data.images[:, :32, :32], masks=masks, classes=("a", "b", "c"),
        task=Segmentation(rare=(2,)), palette=((0, 0, 255), (0, 255, 0), (255, 0, 0)),
    )  # fmt: skip


def test_rare_classes_come_with_the_data_and_go_into_rows_and_tables(scenes):
    model = _ByBrightness()
    row = measure("by brightness", model, Batches(scenes, "val"), timed=False, progress=False)
    found = evaluate(model, Batches(scenes, "val"), progress=False)
    assert row.metric == "mIoU" and list(row.metrics) == ["mIoU", "mF1", "OA", "minority mIoU", "worst class"]
    assert row.metrics["minority mIoU"] == row.per_class[2] == found.per_class[2]
    again = json.loads(json.dumps(row.to_dict(), allow_nan=False))
    assert Result(**again).metrics == row.metrics
    dense = {"name": "dense", "params": 1, "macs": 1, "accuracy": 0.5}  # a row of a classifier beside it
    table = closing_table([again, dense]).splitlines()
    assert "minority mIoU" in table[0] and "worst class" in table[0] and f"{row.metrics['mIoU']:.2%}" in table[2]
    assert f"{row.accuracy:.2%}" not in table[2] and "50.00%" in table[3]

    class WithHeads(nn.Module):
        task = "body_edge"

    assert task_of(WithHeads(), scenes).rare == (2,) and task_of(WithHeads(), scenes).name == "body_edge"
    assert TASKS["segmentation"].rare == ()
    plain = dataclasses.replace(scenes, task=TASKS["segmentation"], masks=scenes.masks % 2 * 2)  # 0 and 2 only
    assert task_of(None, plain).rare == plain.rare == (2,)  # of three classes one is rare; class 1 has no pixel


def test_the_text_of_a_segmentation_and_classes_left_out(scenes):
    found = evaluate(_ByBrightness(), Batches(scenes, "val"), progress=False)
    text = quality_text(found, scenes.classes)
    assert f"mIoU {found.score:.2%} (95 %" in text and "minority mIoU" in text and "worst class" in text
    some = left_out(found, scenes.classes, ["b"], "rowcol", (1, 2))
    numbers = class_numbers(found.confusion, [1], "rowcol")
    assert some.score == mean(numbers.iou) != found.score and some.metrics["minority mIoU"] == numbers.iou[2]
    assert some.to_dict()["ci"] == [None, None] and "95 %" not in quality_text(some, scenes.classes)
    with pytest.raises(RspruneError, match="Unknown class 'd'"):
        left_out(found, scenes.classes, ["d"], "truth")


def test_boundary_counts_by_hand():
    truth = torch.zeros(1, 5, 9, dtype=torch.int64)
    truth[..., 5:] = 1
    answer = truth.clone()
    answer[..., 5:7] = 0  # the boundary two pixels to the right
    counts = boundary_counts(answer, truth, 3, radius=1)[0].tolist()
    assert counts == [[5, 0, 5, 0], [5, 0, 5, 0], [0, 0, 0, 0]]
    assert boundary_counts(answer, truth, 3, radius=2)[0].tolist()[0] == [5, 5, 5, 5]
    truth[:, 2:] = IGNORE  # unknown pixels count nowhere, and make no boundary in the answer
    assert boundary_counts(answer, truth, 3, radius=2)[0].tolist() == [[2, 2, 2, 2], [2, 2, 2, 2], [0, 0, 0, 0]]


def test_boundary_f1_sums_over_images(scenes):
    model, batches = _ByBrightness(), Batches(scenes, "val", 3)
    value, each = boundary_f1(model, batches, radius=1, progress=False)
    total = sum(boundary_counts(model(x).argmax(1), y, 3, 1).sum(0) for x, y in batches).double()
    precision, recall = total[:, 1] / total[:, 0], total[:, 3] / total[:, 2]
    assert each == pytest.approx((2 * precision * recall / (precision + recall)).tolist()) and value == each.mean()


def test_batches_that_are_measured_hold_a_million_pixels(scenes, tiny_data):
    large = dataclasses.replace(scenes, images=np.broadcast_to(scenes.images[:1, :1, :1], (1, 512, 1024, 3)))
    assert (measuring_batch(tiny_data), measuring_batch(scenes), measuring_batch(large)) == (256, 256, 2)


def test_eval_shows_them_and_leaves_classes_out(scenes, monkeypatch, capsys):
    bundle = SimpleNamespace(model=create_model("unet1", 3, width=0.05, seed=0).eval(), rule=None, config={})
    monkeypatch.setattr(command, "open_run", lambda *_: (bundle, scenes))
    options = ["eval", "x", "--split", "val", "--without", "b", "--exclude", "rowcol", "--boundary", "1"]
    assert main([*options, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    found = evaluate(bundle.model, Batches(scenes, "val"), progress=False)
    numbers = class_numbers(found.confusion, [1], "rowcol")
    assert row["metrics"]["mIoU"] == mean(numbers.iou) and row["per_class"]["b"] is None and row["without"] == ["b"]
    assert 0 <= row["metrics"]["boundary F1"] <= 1 and row["exclude"] == "rowcol" and row["ci"] == [None, None]
    assert main(options) == 0 and "boundary F1" in capsys.readouterr().out
    labelled = dataclasses.replace(scenes, masks=None, task=TASKS["classification"])
    monkeypatch.setattr(command, "open_run", lambda *_: (bundle, labelled))
    assert main(options) == 1 and "are for segmentation" in capsys.readouterr().err


def test_of_answers_that_are_no_numbers_there_is_no_iou():
    """Of NaN, argmax makes the first class, and an mIoU would stand in the tables."""
    task, masks = Segmentation(), torch.zeros(2, 4, 4, dtype=torch.int64)
    logits = torch.randn(2, 3, 4, 4)
    logits[1, 2, 0, 0] = float("nan")
    with pytest.raises(RspruneError, match="NaN or infinite logits for 1 of 2 images"):
        task.quality(task.record(logits, masks), masks)
