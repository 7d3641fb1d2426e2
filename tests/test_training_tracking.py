"""Records of runs: means over images, nothing written twice or lost, a server that is away costs a warning."""

import json
import socket
import time
import warnings

import pytest
import torch

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import ExitRule
from rsprune_lib.models import add_exits, create_model
from rsprune_lib.training import Callback, SecondStage, StopTraining, WarmUp, fit, recipe, track, tracking
from rsprune_lib.training.tracking import Tracker, tracking_backend

RUN = recipe("strong", epochs=3, batch_size=16, lr=0.05)


@pytest.fixture(autouse=True)
def log_only(monkeypatch):
    monkeypatch.setenv("RSPRUNE_TRACKING", "json")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def small():
    return create_model("resnet18", 4, width=0.125, seed=0)


def lines(folder, kind=None):
    rows = [json.loads(line) for line in (folder / "tracking.jsonl").read_text().splitlines()]
    return [row for row in rows if kind in (None, row["kind"])]


def test_a_run_is_written_by_the_names_of_its_numbers(small, tiny_data, tmp_path):
    with track(tmp_path, "tiny", RUN.to_dict() | {"seed": 0}) as tracker:
        found = fit(small, tiny_data, RUN, callbacks=[tracker], progress=False)
        tracker.artefacts([tmp_path / "history.json"])
    kinds = [row["kind"] for row in lines(tmp_path)]
    assert kinds == ["run", *["metrics"] * 3, "artefact", "end"]
    start, *epochs = lines(tmp_path, "run") + lines(tmp_path, "metrics")
    assert start["params"]["lr"] == 0.05 and start["params"]["augment.dihedral"] is True
    assert [row["step"] for row in epochs] == [1, 2, 3]
    for row, history in zip(epochs, found.history, strict=True):
        assert row["metrics"]["train/loss"] == history["train_loss"] and row["metrics"]["lr"] == history["lr"]
        assert row["metrics"]["val/accuracy"] == history["val_accuracy"]
        assert {"val/ece", "val/confidence", "val/loss"} < row["metrics"].keys()
    assert lines(tmp_path, "end")[0]["status"] == "FINISHED"


def test_numbers_of_exits_by_hand(small, tmp_path):
    """Four images, two exits: means are over all four, whatever batches they came in."""
    p = torch.tensor([[[0.95, 0.05], [0.99, 0.01], [0.999, 0.001]], [[0.6, 0.4], [0.95, 0.05], [0.999, 0.001]],
                      [[0.3, 0.7], [0.55, 0.45], [0.9, 0.1]], [[0.92, 0.08], [0.8, 0.2], [0.3, 0.7]]])  # fmt: skip
    labels, row = torch.tensor([0, 0, 0, 1]), {}
    model = add_exits(create_model("resnet18", 2, width=0.125, seed=0), ["layer1", "layer2"])
    tracker = Tracker(tmp_path, "x", {}, costs=(1, 2, 4))
    tracker.on_validation(row, p.log(), labels, model)
    confidence = {"exit1": (0.95 + 0.6 + 0.7 + 0.92) / 4, "exit2": (0.99 + 0.95 + 0.55 + 0.8) / 4}
    for name, value in (confidence | {"final": (0.999 * 2 + 0.9 + 0.7) / 4}).items():
        assert row[f"val_confidence_{name}"] == pytest.approx(value, abs=1e-5)
    assert [row[f"val_accuracy_{n}"] for n in ("exit1", "exit2", "final")] == [0.5, 0.75, 1.0]
    ece = (0.05 + 0.4 + 0.7 + 0.92) / 4  # each confidence is alone in its bin of 1 / 15
    assert row["val_ece_exit1"] == pytest.approx(ece, abs=1e-5)
    rates = [row[f"val_rate_{n}"] for n in ("exit1", "exit2", "final")]  # confidence of .9: images 0 and 3, then 1
    assert rates == [0.5, 0.25, 0.25] and row["val_gated_accuracy"] == 0.75
    assert row["val_cost"] == pytest.approx((1 + 1 + 2 + 4) / 4 / 4)
    tracker.rule = ExitRule("max_probability", (0.5, 0.5))
    tracker.on_validation(row, p.log(), labels, model)
    assert row["val_rate_exit1"] == 1.0 and row["val_cost"] == 0.25


def test_both_stages_of_exits_in_one_record(small, tiny_data, tmp_path):
    model = add_exits(small, ["layer1", "layer2"])
    how = {"progress": False, "limit": 32, "val_limit": 8}
    with track(tmp_path, "exits", {}, costs=(1, 2, 4)) as tracker:
        tracker.stage = "warm_up"
        run = recipe("exits_warmup", epochs=2, batch_size=16)
        model = fit(model, tiny_data, run, objective=WarmUp(), callbacks=[tracker], **how).model
        tracker.stage = "second"
        stage = SecondStage((1, 2, 4))
        fit(model, tiny_data, run, objective=stage, callbacks=[tracker], **how)
    rows = lines(tmp_path, "metrics")
    assert [(row["stage"], row["step"]) for row in rows] == [
        ("warm_up", 1),
        ("warm_up", 2),
        ("second", 1),
        ("second", 2),
    ]
    assert rows[0]["metrics"]["warm_up/exits_frozen"] == 0 and "second/val/cost" in rows[3]["metrics"]


class _Stop(Callback):
    def on_epoch(self, history, model):
        if history[-1]["epoch"] == 2:
            raise StopTraining


def test_a_resumed_run_writes_no_epoch_twice_and_none_is_missing(small, tiny_data, tmp_path):
    """Killed behind the checkpoint of epoch 2 and before its row, in the middle of a line."""
    for resume in (False, True):
        with track(tmp_path, "tiny", {"seed": 0}) as tracker:
            callbacks = [tracker] if resume else [tracker, _Stop()]
            fit(small, tiny_data, RUN, out=tmp_path, resume=resume, callbacks=callbacks, progress=False)
        if not resume:
            log = (tmp_path / "tracking.jsonl").read_text().splitlines(keepends=True)
            assert json.loads(log[2])["step"] == 2
            (tmp_path / "tracking.jsonl").write_text("".join(log[:2]) + log[2][:40])
    assert [row["step"] for row in lines(tmp_path, "metrics")] == [1, 2, 3]
    assert [row["kind"] for row in lines(tmp_path)] == ["run", "metrics", "resume", "metrics", "metrics", "end"]


@pytest.mark.parametrize("error, status", [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_a_run_that_breaks_says_so(tmp_path, error, status):
    with pytest.raises(error), track(tmp_path, "x", {}):
        raise error
    assert lines(tmp_path, "end")[0]["status"] == status


def test_off_is_off(small, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_TRACKING", "off")
    with track(tmp_path / "none", "x", {}) as tracker:
        found = fit(small, tiny_data, RUN, callbacks=[tracker], limit=16, val_limit=8, progress=False)
        tracker.artefacts(["x"])
    assert not (tmp_path / "none").exists() and "val_ece" not in found.history[0]


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with track(tmp_path / "none", "x", {}):
        pass
    assert not (tmp_path / "none").exists()


def test_backends_by_name(monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("RSPRUNE_TRACKING")
    assert tracking_backend() == "json"
    monkeypatch.setenv("RSPRUNE_TRACKING", "mlflow")
    with pytest.raises(RspruneError, match="not installed; run: pip install mlflow"):
        tracking_backend()
    monkeypatch.setenv("RSPRUNE_TRACKING", "mlfow")
    with pytest.raises(RspruneError, match="did you mean 'mlflow'"):
        tracking_backend()
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("RSPRUNE_TRACKING")
    assert tracking_backend() == "mlflow"


class FakeRun:
    """In place of MLflow; a store whose name begins with http answers as often as it is allowed to."""

    stores, answers = {}, 0

    def __init__(self, uri, artefacts, name, run):
        self.uri, self.run = uri, run or f"run{len(FakeRun.stores)}"
        self._answer()
        FakeRun.stores.setdefault(uri, [])

    def _answer(self):
        if self.uri.startswith("http"):
            FakeRun.answers -= 1
            if FakeRun.answers < 0:
                raise ConnectionError("no route to host\nlong story")

    def write(self, row):
        self._answer()
        FakeRun.stores[self.uri].append(row)


@pytest.mark.parametrize("answers, served", [(0, []), (3, ["run", "metrics"])])
def test_a_server_that_goes_away_costs_one_warning_and_nothing_is_lost(tmp_path, monkeypatch, answers, served):
    monkeypatch.setattr(tracking, "MlflowRun", FakeRun)
    monkeypatch.setattr(tracking, "tracking_backend", lambda: "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@nowhere:5000")
    FakeRun.stores, FakeRun.answers = {}, answers + bool(answers)  # opening, then the row that names the store
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with track(tmp_path, "x", {"a": {"b": 1}}) as tracker:
            for epoch in (1, 2, 3):
                tracker.log({"loss": 1 / epoch}, epoch)
    (warning,) = (str(one.message) for one in heard)
    assert "http://nowhere:5000 failed (no route to host); nothing is lost" in warning and "secret" not in warning
    remote, local = FakeRun.stores.get("http://me:secret@nowhere:5000", []), FakeRun.stores[tracker._local]
    assert [row["kind"] for row in remote if row["kind"] != "store"] == served
    for rows in (lines(tmp_path), local):
        assert [row["step"] for row in rows if row["kind"] == "metrics"] == [1, 2, 3]
        assert [row["params"] for row in rows if row["kind"] == "run"] == [{"a.b": 1}]
        assert rows[-1]["status"] == "FINISHED"
    assert "secret" not in (tmp_path / "tracking.jsonl").read_text()


def test_mlflow_keeps_what_the_log_has(small, tiny_data, tmp_path, monkeypatch):
    """The real thing, where it is installed: a local store, read back, moved with its folder, gone on with."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("RSPRUNE_TRACKING", "mlflow")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tiny")
    draft, home = tmp_path / "draft", tmp_path / "home"
    with track(draft, "tiny", RUN.to_dict(), home=home) as tracker:
        fit(small, tiny_data, RUN, callbacks=[tracker], limit=32, val_limit=8, progress=False)
    draft.rename(home)
    (home / "plot.json").write_text("{}")
    (name,) = tracker.artefact_names([home / "plot.json"])
    tracker.artefacts([home / "plot.json"])
    assert (home / name).is_file()
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.data.params["lr"] == "0.05" and run.info.status == "FINISHED" and run.info.run_name == "tiny"
    wanted = {row["step"]: row["metrics"] for row in lines(home, "metrics")}
    for metric in wanted[1]:
        kept = {one.step: one.value for one in client.get_metric_history(run.info.run_id, metric)}
        assert kept == pytest.approx({step: numbers[metric] for step, numbers in wanted.items()})
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["plot.json"]
    with track(home, "tiny", RUN.to_dict()) as again:
        again.log({"more": 1.0}, 4)
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert client.get_run(run.info.run_id).data.metrics["more"] == 1


def test_mlflow_with_a_server_that_is_not_there_goes_on_quickly(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("RSPRUNE_TRACKING", "mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    start = time.monotonic()
    with pytest.warns(UserWarning, match="nothing is lost") as heard, track(tmp_path, "x", {"a": 1}) as tracker:
        tracker.log({"loss": 0.5}, 1)
    assert time.monotonic() - start < 60 and sum("nothing is lost" in str(one.message) for one in heard) == 1
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("rsprune").experiment_id])
    assert run.data.metrics == {"loss": 0.5} and run.data.params == {"a": "1"}
