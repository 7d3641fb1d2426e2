"""The command line of this chapter: records, teachers, and exits from a bundle to a promise."""

import json

import pytest

from rsprune_lib.bundle import load_bundle
from rsprune_lib.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "cli-home"))
    monkeypatch.setenv("RSPRUNE_TRACKING", "json")
    for name in ("RSPRUNE_MIRROR", "RSPRUNE_PROFILE", "RSPRUNE_DEBUG", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys):
    """Calls the command line; returns exit status, standard output and standard error."""

    def call(*arguments):
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def dense(tiny_folder, tmp_path_factory):
    """A network trained by the command line on a folder of images, with a record of the run."""
    base = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "cli-home"))
        patch.setenv("RSPRUNE_TRACKING", "json")
        options = ["--profile", "smoke", "--epochs", "3", "--width", "0.25", "--out", str(base / "dense"), "--json"]
        assert main(["train", "resnet18", "--data", str(tiny_folder), *options, "--track"]) == 0
    return base / "dense"


def rows(folder):
    return [json.loads(line) for line in (folder / "tracking.jsonl").read_text().splitlines()]


def test_a_tracked_training_run(dense):
    kinds = [row["kind"] for row in rows(dense)]
    assert kinds == ["run", "metrics", "metrics", "metrics", "end", "artefact", "artefact"]
    start, last = rows(dense)[0], rows(dense)[3]
    assert start["params"]["recipe.name"] == "strong" and start["params"]["model.width"] == 0.25
    assert start["params"]["data.split_hash"]
    history = json.loads((dense / "history.json").read_text())["epochs"]
    assert last["metrics"]["val/accuracy"] == history[-1]["val_accuracy"]
    assert "tracking.jsonl" in json.loads((dense / ".rsprune.json").read_text())["files"]


def test_a_student_of_bundles(run, dense, tmp_path):
    options = ["--profile", "smoke", "--teacher", dense, "--spectral", 0.1, "--out", tmp_path / "taught", "--json"]
    small = tmp_path / "small"
    assert run("prune", dense, "--criterion", "l1", "--ratio", 0.5, "--images", 16, "--out", small)[0] == 0
    status, out, err = run("finetune", small, *options)
    assert status == 0, err
    assert (
        json.loads(out)["provenance"]["loss"].startswith("soft distillation")
        and "fine-tuned" in json.loads(out)["name"]
    )
    assert not (tmp_path / "taught" / "tracking.jsonl").exists()
    status, _, err = run(
        "finetune", small, "--profile", "smoke", "--teacher", dense, "--kind", "sfot", "--out", tmp_path / "x"
    )
    assert status == 1 and "did you mean 'soft'" in err and not (tmp_path / "x").exists()


def test_a_teacher_of_other_classes_is_refused(run, dense, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in ("model.safetensors", "config.json"):
        (other / file).write_bytes((dense / file).read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["data"]["classes"][0] = "ice"
    (other / "config.json").write_text(json.dumps(config))
    status, _, err = run("finetune", dense, "--profile", "smoke", "--teacher", other, "--out", tmp_path / "x")
    assert status == 1 and err.count("\n") == 1
    assert (
        "knows the classes ice, forest, river" in err and "take a teacher that was trained on the same classes" in err
    )
    assert load_bundle(dense).config["data"]["classes"][0] == "field"
