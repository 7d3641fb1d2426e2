"""The scripts that write the tables of `results/`: joining, standing in words, and rows that keep their origin."""

import dataclasses
import sys
from types import SimpleNamespace

import collapse_table
import fair_summary
import fair_table
import numpy as np
import pytest
import recovery_table
import rows
import segmentation_page
import segmentation_table
import similarity_table
import torch
from torch.nn import functional as F

from rsprune_lib.bundle import save_bundle
from rsprune_lib.data import Batches
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import cost
from rsprune_lib.models import create_model
from rsprune_lib.tasks import Segmentation

ORIGIN = {
    "git": {"commit": "0123456789abcdef"},
    "data": {"name": "toy", "split_hash": "abc"},
    "device": "a machine",
    "threads": 1,
    "versions": {"torch": "2"},
}


def row(seed: int, accuracy: float, **key: object) -> dict:
    numbers = {"accuracy": accuracy, "val_accuracy": accuracy, "params": 10, "macs": 2e6, "n": 100}
    return {"seed": seed, **key, **numbers, "provenance": ORIGIN}


def cell(seed: int, criterion: str, loss: str, accuracy: float) -> dict:
    return row(seed, accuracy, criterion=criterion, scope="local", loss=loss, stage="fine-tuned", epochs=3, budget=2e6)


def test_tables_measured_side_by_side_are_joined_without_doubling(tmp_path):
    first = [row(1, 0.5, stage="dense"), cell(1, "l1", "ce", 0.6)]
    second = [row(0, 0.4, stage="dense"), cell(1, "l1", "ce", 0.9), cell(1, "l1", "focal", 0.7)]
    write_json(tmp_path / "second.json", {"rows": second})
    write_json(tmp_path / "table.json", {"rows": first})
    table = fair_table.Table(tmp_path / "table.json")
    for _ in range(2):
        table.join(tmp_path / "second.json")
    assert table.rows == [second[0], *first, second[2]], "a cell that is there stays as it was measured"
    assert read_json(tmp_path / "table.json", "a table")["rows"] == table.rows


def test_page_says_where_attention_does_not_win():
    rows = [row(0, 0.97, stage="dense")]
    rows += [cell(s, "l1", "ce", 0.95) for s in (0, 1)] + [
        cell(s, "attention", "ce", a) for s, a in ((0, 0.9), (1, 1.0))
    ]
    rows += [cell(0, "l1", "focal", 0.8), cell(0, "attention", "focal", 0.7), cell(1, "attention", "focal", 0.9)]
    page = fair_summary.page(rows, "Title")
    assert "| l1 | 10 | 2.00 M | 95.00 ± 0.00 (2) | 80.00 (1) |" in page
    assert "focal: attention is 2 of 2, 10.00 points behind l1 (seeds 0)." in page, "over the seeds that both have"
    assert "0123456789" in page and "mining" not in page


def test_recovery_tables_of_different_networks_are_not_joined():
    cells = {"folder": "b", "cells": {"dense": {"accuracy": 0.9}}}
    one = {"model": "resnet18_se", "part": "val", "provenance": ORIGIN, "networks": {"1": cells}}
    found = {"networks": {"0": {"folder": "a", "cells": {"dense": {"accuracy": 0.8}}}}}
    recovery_table.join(found, one)
    recovery_table.join(found, one | {"networks": {"1": {"folder": "b", "cells": {"dense": {"accuracy": 0.1}}}}})
    assert [n["cells"]["dense"]["accuracy"] for n in found["networks"].values()] == [0.8, 0.9]
    with pytest.raises(SystemExit, match=r"'val' and 'test' cannot be joined"):
        recovery_table.join(found, one | {"part": "test"})


def test_rows_of_a_benchmark_keep_the_run_they_come_from(monkeypatch, tmp_path):
    import bench

    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    for name in ("training", "pruning", "latency"):
        monkeypatch.setattr(bench, f"{name}_rows", lambda *_, name=name: [rows.row(name, 1.0, 2.0, "it", 2.0, None)])
    monkeypatch.setattr(bench, "load_data", lambda _: type("Data", (), {"title": "toy", "info": lambda self: {}})())
    monkeypatch.setattr(sys, "argv", ["bench.py", "--parts", "training", "pruning"])
    bench.main()
    before = read_json(tmp_path / "bench.json", "speeds")["rows"]
    monkeypatch.setattr(bench, "pruning_rows", lambda *_: [rows.row("pruning", 7.0, 2.0, "it", 2.0, None)])
    monkeypatch.setattr(sys, "argv", ["bench.py", "--parts", "pruning"])
    bench.main()
    after = read_json(tmp_path / "bench.json", "speeds")["rows"]
    assert [row["part"] for row in after] == ["training", "pruning"]
    assert after[0] == before[0] and after[1]["ours"] == 7.0
    assert "| pruning | 7 |" in (tmp_path / "bench.md").read_text()


def test_similarity_table_holds_every_method_to_the_same_budget_and_goes_on_where_it_was(tmp_path, tiny_data):
    model = create_model("resnet20", 4, width=0.25, seed=0).eval()
    bundle = SimpleNamespace(model=model, gates=None, config={"provenance": {"seed": 3}})
    budget = 0.6 * cost(model, tiny_data.image_size).macs
    sweep = {
        "title": "toy", "train": "none", "images": 16,
        "points": [{"threshold": 0.7, "macs": budget, "published": 0.5}],
        "graphs": [{"selector": "dominating"}, {"selector": "scored", "rank": "l1"}],
        "against": ["l1"],
        "at_graph_widths": ["l1"],
    }  # fmt: skip
    both = "l1, at the widths of similarity"
    every = {"similarity, as published", "similarity, dominating", "similarity, scored, l1", "l1", both}
    assert {key["method"] for key, _ in similarity_table.cells(sweep)} == every
    table = fair_table.Table(tmp_path / "toy.json", similarity_table.KEY)
    similarity_table.measure_network(bundle, tiny_data, sweep, {"l1"}, 0, table)
    assert [(row["method"], row["stage"]) for row in table.rows] == [
        ("dense", "dense"), ("l1", "raw"), ("l1", "closed form"),
    ]  # fmt: skip
    first = list(table.rows)
    similarity_table.measure_network(bundle, tiny_data, sweep, every, 1, table)
    assert table.rows[:3] == first and len(table.rows) == 1 + 5 * 3, "raw, closed form and fine-tuned a method"
    for found in table.rows[1:]:
        assert found["seed"] == 3 and found["params_paper"] < found["params"]
        assert found["budget"] is None or 0.8 * budget < found["macs"] <= budget
    widths = {row["method"]: row["widths"] for row in table.rows[1:]}
    assert widths[both] == widths["similarity, dominating"] != widths["l1"]
    before = list(table.rows)
    similarity_table.measure_network(bundle, tiny_data, sweep, every, 1, table)
    assert table.rows == before, "nothing is measured twice"
    page = similarity_table.page(table.rows, sweep)
    assert "(published: 50.00 % at threshold 0.7)" in page and page.count("| similarity, ") == 3


def test_taught_networks_hear_the_mean_of_their_teachers(tmp_path, tiny_data):
    models = [create_model("resnet20", 4, width=0.5, seed=seed).eval() for seed in (0, 1)]  # see `strides_outside`
    paths = [str(tmp_path / f"teacher{seed}") for seed in (0, 1)]
    for model, path in zip(models, paths, strict=True):
        save_bundle(path, model, data=tiny_data.info(), provenance={"seed": 0}, measured={})
    images, labels = next(iter(Batches(tiny_data, "train", 8)))
    logits = torch.stack([model(images) for model in models]).detach()
    agreement = -((logits / 2).softmax(2).mean(0) * (logits[1] / 2).log_softmax(1)).sum(1).mean() * 4
    hard = F.cross_entropy(logits[1], labels)
    loss = similarity_table.taught(paths, soft=0.25, temperature=2.0)(models[1], images, labels)
    torch.testing.assert_close(loss, 0.25 * agreement + 0.75 * hard)
    loss = similarity_table.taught(paths[1:], soft=1.0)(models[1], images, labels)
    loss.backward()
    largest = max(p.grad.abs().max() for p in models[1].parameters())
    assert largest < 1e-4, "who says what its teacher says has nothing to learn"

    bundle = SimpleNamespace(model=models[0], gates=None, config={"provenance": {"seed": 0}})
    sweep = {
        "title": "toy", "train": "none", "images": 16, "stages": ["taught"], "teachers": paths,
        "points": [{"macs": 0.6 * cost(models[0], tiny_data.image_size).macs}], "graphs": [], "against": ["l1"],
    }  # fmt: skip
    table = fair_table.Table(tmp_path / "toy.json", similarity_table.KEY)
    similarity_table.measure_network(bundle, tiny_data, sweep, {"l1"}, 1, table)
    assert [row["stage"] for row in table.rows] == ["dense", "taught"] and table.rows[1]["teachers"] == paths
    page = similarity_table.page(table.rows, sweep)
    assert "| method | threshold | parameters | MACs | taught, 1 ep. |" in page
    assert "90% of the loss is the mean opinion of 2 teachers at temperature 4." in page


def test_collapse_table_shows_every_threshold_bare_and_protected(tmp_path, tiny_data):
    model = create_model("vgg16_cifar", 4, width=0.0625, seed=0).eval()
    bundle = SimpleNamespace(model=model, gates=None, config={"provenance": {"seed": 0}})
    sweep = {
        "title": "toy", "train": "none", "images": 16, "thresholds": [0.9, 0.5], "least": 0.5,
        "published": {"0.9": 0.9, "0.5": 0.1},
    }  # fmt: skip
    table = fair_table.Table(tmp_path / "toy.json", collapse_table.KEY)
    for _ in range(2):
        collapse_table.measure_network(bundle, tiny_data, sweep, table)
    assert len(table.rows) == 1 + 2 * 2
    for row in table.rows[1:]:
        share = row["widths"][row["thinnest"]] / model.get_submodule(row["thinnest"]).out_channels
        assert share >= row["least"] and (row["least"] or row["threshold"] > 0.5 or share < 0.5)
    page = collapse_table.page(table.rows, sweep)
    assert page.count("| 0.90 | 90.00 |") == page.count("| 0.50 | 10.00 |") == 1


def scenes(tiny_data):
    """Images of 32 px, masks by quadrants with a rare class."""
    masks = np.zeros((len(tiny_data.labels), 32, 32), np.uint8)
    masks[:, 16:], masks[:, :4, :4], masks[:, 30:] = 1, 2, 255
    return dataclasses.replace(
        tiny_data, images=tiny_data.images[:, :32, :32], masks=masks, classes=("a", "b", "c"),
        task=Segmentation(rare=(2,)), palette=((0, 0, 255), (0, 255, 0), (255, 0, 0)),
    )  # fmt: skip


def test_segmentation_table_holds_every_method_to_the_same_macs_and_epochs(tmp_path, tiny_data, monkeypatch):
    sweep = {
        "title": "toy", "text": "", "data": "toy", "seeds": [0], "keep": [0.25], "images": 8, "epochs": 1, "tuning": 2,
        "recipe": {"batch_size": 8}, "loss": "weighted_ce",
        "methods": {
            "class_taylor": {"criterion": "class_taylor"},
            "sfp": {"criterion": "l2", "soft": {"decay": 0.0, "refresh": 1, "norms": False, "hard_epochs": 1}},
        },
        "networks": {"narrow": {"model": "unet1", "width": 0.125}, "alone": {"model": "unet1", "keep": []}},
    }  # fmt: skip
    monkeypatch.setattr(segmentation_table, "load_data", lambda *_, **__: scenes(tiny_data))
    every = list(segmentation_table.cells(sweep))
    assert [(c.network, c.method, c.keep) for c in every] == [
        ("narrow", "dense", 1.0), ("narrow", "trained on", 1.0), ("narrow", "class_taylor", 0.25),
        ("narrow", "sfp", 0.25), ("alone", "dense", 1.0),
    ]  # fmt: skip
    case = segmentation_table.Case(sweep, "narrow", 0, tmp_path)
    dense, longer, cut, soft = (segmentation_table.measured(case, cell) for cell in every[:4])
    assert [row["stage"] for row in cut] == ["raw", "closed form, uniform", "closed form, balanced", "fine-tuned"]
    assert {row["epochs"] for row in (*longer, cut[-1], *soft)} == {3} and dense[0]["epochs"] == cut[0]["epochs"] == 1
    assert {row["macs"] for row in (*cut, *soft)} == {cut[0]["macs"]} and 8 * cut[0]["macs"] < dense[0]["macs"]
    assert dense[0]["metrics"] != longer[0]["metrics"] and {row["part"] for row in cut} == {"test"}
    assert segmentation_table.measured(case, every[0])[0]["metrics"] == dense[0]["metrics"], "trained once"
    table = {"sweep": "toy.json", "times": {}, "rows": [*dense, *longer, *cut, *soft]}
    text = segmentation_page.page(sweep, table)
    assert text.count("| 0.25 of the channels, ") == 2 and "32 x 32 pixels, loss weighted_ce, 1 epochs" in text


def test_page_of_masks_says_where_the_minority_aware_cut_does_not_win():
    def one(method: str, stage: str, keep: float, whole: float, rare: float) -> dict:
        numbers = {"mIoU": whole, "minority mIoU": rare, "worst class": 0.0, "OA": 0.9}
        return row(0, 0.9, network="n", method=method, stage=stage, keep=keep, metrics=numbers)

    rows = [one("dense", "dense", 1, 0.5, 0.4), one("trained on", "fine-tuned", 1, 0.52, 0.42)]
    rows += [one("class_taylor", "raw", 0.5, 0.1, 0.0), one("class_taylor", "closed form, uniform", 0.5, 0.3, 0.25)]
    rows += [one("class_taylor", "closed form, balanced", 0.5, 0.4, 0.2)]
    rows += [one("class_taylor", "fine-tuned", 0.5, 0.51, 0.39), one("l1", "fine-tuned", 0.5, 0.50, 0.41)]
    found = "\n".join(segmentation_page.verdicts(rows))
    assert (
        "brings mIoU from 10.0 to 40.0 (75% of what was lost; dense 50.0) and minority mIoU from 0.0 to 20.0" in found
    )
    assert "ahead of uniform ones in 0 of 1 repairs (-5.0 to -5.0 points of minority mIoU)" in found
    assert "**behind** the best of 1 others (l1) by 2.0 points of minority mIoU" in found
    assert "ahead of the best of 1 others (l1) by 1.0 points of mIoU" in found
    assert "-1.0 points of mIoU, -3.0 points of minority mIoU" in found
    rows[2] = one("class_taylor", "raw", 0.5, 0.1, 0.3)  # less than the repaired one has
    assert "minority mIoU from 30.0 to 20.0 (**worse**; dense 40.0)" in "\n".join(segmentation_page.verdicts(rows))
