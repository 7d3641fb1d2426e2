"""Results say where their numbers come from, and never from the wrong repository."""

import json
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rsprune_lib.course.tables import closing_table
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Latency, Result, cost, git_state, measure, measure_in_turn, provenance
from rsprune_lib.measure import result as result_module
from rsprune_lib.models import create_model

INFO = {
    "name": "tiny",
    "synthetic": True,
    "split_hash": "abc",
    "content_hash": "def",
    "classes": ["a", "b"],
    "mean": [0.5],
}


def git(folder, *command):
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *command], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file.py").write_text("1\n")
    git(folder, "add", "file.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_commit_clean_and_dirty(repository):
    clean = git_state(repository)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (repository / "output.txt").write_text("untracked\n")
    assert git_state(repository) == clean
    (repository / "file.py").write_text("2\n")
    assert git_state(repository) == clean | {"dirty": True}


def test_commit_does_not_depend_on_where_we_stand(repository, tmp_path, monkeypatch):
    expected = git_state()
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert git_state() == expected != git_state(repository)


def test_an_installed_copy_does_not_borrow_the_repository_around_it(repository):
    inside = repository / "site-packages"
    inside.mkdir()
    assert git_state(inside) is None


def test_no_commit_no_git_no_repository(repository, tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert git_state(empty) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) is None


def test_provenance_is_complete_and_json(monkeypatch):
    row = json.loads(json.dumps(provenance(INFO, seed=3, profile="smoke", device=torch.device("cpu"))))
    assert set(row) == {"data", "seed", "profile", "device", "threads", "versions", "git", "date"}
    assert row["data"] == {"name": "tiny", "synthetic": True, "split_hash": "abc", "content_hash": "def"}
    assert (row["seed"], row["profile"], row["threads"]) == (3, "smoke", torch.get_num_threads())
    assert row["versions"]["torch"] == torch.__version__ and set(row["versions"]) >= {
        "python",
        "rsprune",
        "torch-pruning",
    }
    assert datetime.fromisoformat(row["date"]).utcoffset() == timedelta(0)
    assert provenance(None, seed=None)["data"] is None


@dataclass
class FakeBatches:
    """What `measure` needs of `Batches`: two batches of images without an image of class 3."""

    indices: np.ndarray
    labels = torch.tensor([0, 1, 2, 0])
    data = SimpleNamespace(
        image_size=32,
        info=lambda: INFO,
        split=SimpleNamespace(train=np.arange(4), val=np.arange(4, 6), test=np.arange(6, 9)),
    )

    def __iter__(self):
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return iter([(images[:3], self.labels[:3]), (images[3:], self.labels[3:])])


@pytest.fixture
def model():
    return create_model("resnet18", 4, width=0.125, seed=0)


def test_measure_everything_once(model):
    row = measure("tiny net", model, FakeBatches(np.array([7, 8])), seed=5, profile="smoke", progress=False)
    assert (row.params, row.macs) == (cost(model, 32).params, cost(model, 32).macs)
    assert row.n == 4 and row.part == "test" and 0 <= row.ci[0] <= row.accuracy <= row.ci[1] <= 1
    assert row.per_class[3] is None and row.latency_ms > 0 and row.batch == 1
    assert row.provenance["seed"] == 5 and row.provenance["data"]["split_hash"] == "abc"
    text = json.dumps(row.to_dict(), allow_nan=False)
    assert Result(**json.loads(text)).to_dict() == row.to_dict()


def test_part_is_found_not_claimed(model):
    parts = [
        measure("x", model, FakeBatches(np.array(i)), timed=False, progress=False).part for i in ([1, 2], [4], [4, 7])
    ]
    assert parts == ["train", "val", None]


def test_what_was_not_measured_is_none(model):
    row = measure("cost only", model, None, image_size=32, timed=False)
    assert row.accuracy is None and row.latency_ms is None and row.part is None and row.params > 0


def test_unknown_image_size_is_one_clear_sentence(model):
    with pytest.raises(RspruneError, match="give image_size"):
        measure("x", model, None)


def test_rows_that_are_compared_are_timed_in_turn_and_say_how_much_faster_if_it_is_clear(model, monkeypatch):
    """The middle network takes a quarter of the time, the last one anything between twice and half."""
    rounds = {"dense": [8, 8, 8], "small": [2, 2, 2], "unclear": [4, 8, 16]}
    calls = []

    def timed(models, size, **given):
        calls.append(len(models))
        return [Latency(own[1], 0.5, 1, 1, "pretended", 3, tuple(own)) for own in rounds.values()]

    monkeypatch.setattr(result_module, "latencies", timed)
    rows = measure_in_turn(dict.fromkeys(rounds, model), FakeBatches(np.array([7, 8])), seeds=3, progress=False)
    assert calls == [3]
    assert [row.speed for row in rows] == [None, "4.0 times as fast", "not clear: this machine is busy"]
    assert [row.latency_least_ms for row in rows] == [8, 2, 4]
    assert [row.provenance["seed"] for row in rows] == [3] * 3 and rows[1].name == "small"
    text = closing_table([row.to_dict() for row in rows])
    assert "4.0 times as fast" in text and "not clear: this machine is busy" in text
