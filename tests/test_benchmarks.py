"""The scripts that write the tables of `results/`: joining, standing in words, and rows that keep their origin."""

import sys
from types import SimpleNamespace

import collapse_table
import fair_summary
import fair_table
import pytest
import recovery_table
import rows
import similarity_table
import torch
from torch.nn import functional as F

from rsprune_lib.bundle import save_bundle
from rsprune_lib.data import Batches
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import cost
from rsprune_lib.models import create_model

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
