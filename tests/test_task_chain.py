"""The whole chain on other tasks: oblong images with masks, and a network with two exits; added by one entry each."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.data import Batches
from rsprune_lib.measure import evaluate, measure
from rsprune_lib.models import NETWORKS, Network, NetworkEntry, create_model, model_names, run_early
from rsprune_lib.pruning import find_groups, masked, prune, score, sensitivity_scan
from rsprune_lib.tasks import task_of
from rsprune_lib.training import fit, recipe
from rsprune_studio import Setting, Studio

RUN = recipe("strong", epochs=6, batch_size=16, lr=0.05)


class ToySegmenter(Network):
    """Three convolutions at full size."""

    def __init__(self, num_classes, in_channels=3, width=1.0):
        super().__init__()
        wide = max(2, round(12 * width))
        self.conv1, self.bn1 = nn.Conv2d(in_channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)
        self.conv2, self.bn2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)
        self.head = nn.Conv2d(wide, num_classes, 1)

    def forward(self, x):
        return self.head(torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))))


@pytest.fixture(scope="module", autouse=True)
def _toy_network():
    NETWORKS["toy_segmenter"] = NetworkEntry("three convolutions", ToySegmenter, {"width": 1.0}, ())
    yield
    del NETWORKS["toy_segmenter"]


@pytest.fixture(scope="module")
def segmenter(fields):
    return fit(create_model("toy_segmenter", 3, seed=0), fields, RUN, seed=0, progress=False)


def test_a_network_is_one_entry():
    assert "toy_segmenter" in model_names()
    assert create_model("toy_segmenter", 3, width=0.5).config == {
        "name": "toy_segmenter", "num_classes": 3, "in_channels": 3, "width": 0.5,
    }  # fmt: skip


def test_a_segmenter_is_trained_by_its_leading_number(segmenter, fields):
    values = [row["val_mIoU"] for row in segmenter.history]
    assert segmenter.best_epoch == 1 + int(np.argmax(values)) and max(values) > 0.6
    found = evaluate(segmenter.model, Batches(fields, "val"), progress=False)
    assert found.score == pytest.approx(max(values), abs=0.02) and found.confusion.sum() == found.n * (40 * 56 - 4)


@pytest.mark.parametrize("criterion", ["l2", "taylor", "class_taylor"])
def test_a_segmenter_is_pruned_repaired_measured_and_kept(segmenter, fields, criterion, tmp_path):
    raw, small = (
        prune(segmenter.model, fields, criterion=criterion, ratio=0.5, recovery=how, images=32, progress=False)
        for how in ("none", "closed_form")
    )
    groups = find_groups(segmenter.model, fields.image_size)
    images, _ = next(iter(Batches(fields, "val", 4)))
    with torch.no_grad(), masked(segmenter.model, raw.plan, groups):
        silenced = segmenter.model(images)
    with torch.no_grad():
        assert torch.allclose(raw.model(images), silenced, atol=1e-4)
    scores = [evaluate(net, Batches(fields, "val"), progress=False).score for net in (raw.model, small.model)]
    assert scores[1] > scores[0] and scores[1] > 0.5
    row = measure("small", small.model, Batches(fields, "test"), seed=0, timed=False, progress=False)
    assert row.metric == "mIoU" and row.part == "test" and row.macs < measure_macs(segmenter.model, fields) / 2
    json.dumps(row.to_dict(), allow_nan=False)
    path = save_bundle(
        tmp_path / "b", small.model, plan=small.plan, data=fields.info(), provenance=row.provenance,
        measured=row.to_dict() | {"provenance": None},
    )  # fmt: skip
    again = load_bundle(path)
    with torch.no_grad():
        assert torch.equal(again.model(images), small.model(images))
    assert again.config["data"]["task"] == "segmentation" and again.config["data"]["image_size"] == [40, 56]


def measure_macs(model, data):
    return measure("x", model, None, image_size=data.image_size, timed=False).macs


def test_a_scan_of_a_segmenter_reads_its_leading_number(segmenter, fields):
    groups = find_groups(segmenter.model, fields.image_size)
    scan = sensitivity_scan(
        segmenter.model, groups, score(segmenter.model, groups, "l2"), Batches(fields, "val"), (0.5,), progress=False
    )
    whole = evaluate(segmenter.model, Batches(fields, "val"), progress=False)
    assert scan.metric == "mIoU" and scan.dense == pytest.approx(whole.score) and scan.n == whole.n
    assert type(scan).from_dict(json.loads(json.dumps(scan.to_dict()))) == scan


def test_the_studio_shows_a_segmenter(segmenter, fields):
    studio = Studio(segmenter.model, fields, images=32, progress=False)
    final = studio.final(Setting("l2", ratio=0.5, recovery="live"))
    assert final.complete and final.dense.metric == final.quality.metric == "mIoU"
    assert "mIoU" in final.sentence() and "accuracy" not in final.sentence()
    raw = studio.final(Setting("l2", ratio=0.5, recovery="none"))
    assert studio.final(Setting("class_taylor", ratio=0.5, recovery="sequential")).complete
    assert final.quality.score >= raw.quality.score


EXITS = {"places": ["layer1", "layer2"], "pool": "mean_max", "norm": True}


@pytest.fixture(scope="module")
def leaver(tiny_data):
    model = create_model("resnet18", 4, width=0.25, exits=EXITS, seed=0)
    return fit(model, tiny_data, recipe("strong", epochs=8, batch_size=16, lr=0.05), seed=0, progress=False)


def test_a_network_with_exits_goes_through_the_chain(leaver, tiny_data, tmp_path):
    model = leaver.model
    assert task_of(model, tiny_data).name == "exits" and len(leaver.history) == 8
    dense = evaluate(model, Batches(tiny_data, "val"), progress=False)
    assert dense.accuracy > 0.6 and len(dense.metrics) == 2
    small = prune(model, tiny_data, criterion="taylor", ratio=0.4, images=48, progress=False)
    found = evaluate(small.model, Batches(tiny_data, "val"), progress=False)
    assert found.accuracy > 0.4 and len(found.metrics) == 2
    path = save_bundle(
        tmp_path / "b", small.model, plan=small.plan, data=tiny_data.info(), provenance={}, measured=found.to_dict()
    )
    again = load_bundle(path).model
    images, _ = next(iter(Batches(tiny_data, "val", 9)))
    leave = lambda number, logits, rows: logits.softmax(1).amax(1) > 0.5  # noqa: E731
    one, other = (run_early(net, images, leave) for net in (small.model, again))
    assert torch.equal(one.exit, other.exit) and torch.allclose(one.logits, other.logits, atol=1e-6)
    assert len(again.exits.heads[0].norm.weight) < len(model.exits.heads[0].norm.weight)  # heads are cut with the map


def test_the_studio_opens_a_network_with_exits(leaver, tiny_data):
    studio = Studio(leaver.model, tiny_data, images=48, progress=False)
    final = studio.final(Setting("l2", ratio=0.3, recovery="sequential"))
    assert final.complete and final.quality.metrics and final.quality.metric == "accuracy"
