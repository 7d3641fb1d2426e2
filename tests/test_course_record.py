"""What a notebook hands over: rows and figures as files."""

import json

import numpy as np
import pytest

from rsprune_lib.course import record
from rsprune_lib.course.headless.record import read_results, results_folder
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Result
from rsprune_lib.plots import canvas


def test_rows_and_figures_are_written_and_replaced(tmp_path):
    record([Result("dense", 100, 1000, accuracy=0.5)], {"Loss & accuracy": canvas()[0]}, folder=tmp_path)
    path = record([{"name": "dense", "params": np.int64(7)}, {"name": "odd", "x": float("nan")}], folder=tmp_path)
    results = read_results(path)
    assert [row["name"] for row in results["rows"]] == ["dense", "odd"]
    assert results["rows"][0] == {"name": "dense", "params": 7}
    assert results["rows"][1]["x"] is None
    assert results["figures"] == [{"title": "Loss & accuracy", "file": "loss_accuracy.png"}]
    assert (tmp_path / "loss_accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_runner_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_RESULTS", str(tmp_path / "here"))
    assert record([{"name": "a"}]) == tmp_path / "here" / "results.json"
    monkeypatch.delenv("RSPRUNE_RESULTS")
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/03_prune.ipynb")
    assert results_folder().parts[-3:] == ("runs", "scratch", "03_prune")


def test_a_row_needs_a_name(tmp_path):
    with pytest.raises(RspruneError, match="with a name"):
        record([{"params": 3}], folder=tmp_path)


def test_another_schema_is_refused(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(RspruneError, match="schema 99"):
        record([{"name": "a"}], folder=tmp_path)
