"""The command line of this chapter: records, teachers, and exits from a bundle to a promise."""

import json

import pytest

from rsprune_lib.bundle import load_bundle
from rsprune_lib.cli import main


@pytest.fixture(autouse=True)
def _tracked(home, monkeypatch):
    monkeypatch.setenv("RSPRUNE_TRACKING", "json")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


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


def exits(run, dense, out, *options, **expected):
    status, printed, err = run("exits", dense, "--profile", "smoke", "--out", out, *options, "--json")
    assert status == 0, err
    return json.loads(printed)


def test_exits_on_a_frozen_network_and_what_eval_says(run, dense, tmp_path):
    found = exits(run, dense, tmp_path / "e", "--places", "layer1,layer2", "--cost", 0.9)
    chosen = found["exits"]
    assert chosen["chosen"] == {"by": "cost", "cost": 0.9, "images": 8} and chosen["cost"] <= 0.9
    bundle, whole = load_bundle(tmp_path / "e"), load_bundle(dense).model.state_dict()
    assert all((value == whole[name]).all() for name, value in bundle.model.state_dict().items() if name in whole)
    assert bundle.rule.thresholds == tuple(chosen["rule"]["thresholds"]) and bundle.model.exits.places == (
        "layer1",
        "layer2",
    )
    assert bundle.config["data"]["classes"] == ["field", "forest", "river", "roofs"]
    assert bundle.config["exits"]["costs"] == chosen["costs"] and len(chosen["costs"]) == 3
    status, out, _ = run("eval", tmp_path / "e", "--json")
    said = json.loads(out)["exits"]
    assert status == 0 and sum(said["rates"]) == pytest.approx(1) and len(said["accuracies"]) == 3
    mean = sum(rate * cost for rate, cost in zip(said["rates"], said["costs"], strict=True)) / said["costs"][-1]
    assert said["cost"] == pytest.approx(mean)
    text = run("eval", tmp_path / "e")[1]
    assert (
        "Leaving by max_probability: accuracy" in text
        and "exit 1 " in text
        and "lost against the whole network" in text
    )


def test_exits_on_a_pruned_network_by_a_gate(run, dense, tmp_path):
    assert (
        run("prune", dense, "--criterion", "l1", "--ratio", 0.25, "--images", 16, "--out", tmp_path / "small")[0] == 0
    )
    found = exits(run, tmp_path / "small", tmp_path / "e", "--exits", 2, "--rule", "gate", "--half")["exits"]
    assert found["rule"]["kind"] == "gate" and found["chosen"]["images"] == 4  # the others were for the gates
    bundle = load_bundle(tmp_path / "e")
    assert bundle.rule.gates.shape == (2, 5) and bundle.plan is not None
    assert found["accuracy"] >= found["accuracies"][-1]


def test_two_stages_write_checkpoints_that_say_what_they_are(run, dense, tmp_path):
    found = exits(
        run, dense, tmp_path / "e", "--exits", 2, "--stages", "dynn", "--rule", "gate", "--track", "--epochs", 2
    )
    name = load_bundle(dense).config["data"]["name"]
    folder = tmp_path / "e" / f"checkpoint_{name}_0.35_confEE"
    assert {path.name for path in folder.iterdir()} == {"best", "_warmup", "last"}
    for part in ("best", "_warmup"):
        bundle = load_bundle(folder / part)
        assert bundle.rule is not None and bundle.config["exits"]["costs"] and bundle.config["data"]["classes"]
        assert bundle.config["version"] and bundle.model.exits.places
    assert load_bundle(folder / "best").rule.to_dict() == found["exits"]["rule"]
    names = {key for row in rows(tmp_path / "e") if row["kind"] == "metrics" for key in row["metrics"]}
    assert {"warm_up/val/accuracy_exit1", "second/val/rate_exit1", "second/val/cost", "calibration/cost"} <= names


def test_a_killed_second_stage_goes_on_to_the_same_numbers(run, dense, tmp_path, monkeypatch):
    from rsprune_lib.training import SecondStage

    options = ["--exits", 2, "--stages", "joint", "--rule", "gate", "--epochs", 2]
    whole = exits(run, dense, tmp_path / "whole", *options)
    start, started = SecondStage.on_epoch_start, []

    def killed(self, epoch, model):
        started.append(epoch)
        if epoch == 1:
            raise KeyboardInterrupt
        return start(self, epoch, model)

    monkeypatch.setattr(SecondStage, "on_epoch_start", killed)
    status, _, _ = run("exits", dense, "--profile", "smoke", "--out", tmp_path / "cut", *options)
    assert status == 130 and started == [0, 1]
    monkeypatch.setattr(SecondStage, "on_epoch_start", start)
    again = exits(run, dense, tmp_path / "cut", *options, "--resume")
    assert again["exits"] == whole["exits"]
    one, other = (load_bundle(tmp_path / name).model.state_dict() for name in ("whole", "cut"))
    assert all((value == other[name]).all() for name, value in one.items())


@pytest.mark.parametrize(
    "options, words",
    [
        (["--places", "layer9"], "no module 'layer9' to hang an exit on; possible places: "),
        (["--places", "layer2,layer1"], "in execution order"),
        (["--exits", 0], "Got 0 exits; expected at least 1"),
        (["--exits", 99], "Got 99 exits, but the network has"),
        (["--promise", 0.5], "With 8 calibration images .* the best promise that so many images can carry is 25"),
        (["--promise", 0.5, "--confidence", 2], "expected shares between 0 and 1"),
        (["--promise", "nan"], "expected shares between 0 and 1"),
        (["--accuracy", 1.01], "Got an accuracy of 1.01; expected a share up to 1"),
        (["--cost", "nan"], "No threshold costs nan of the network or less; the least is"),
        (["--cost", 0.001], "No threshold costs 0.00 of the network or less; the least is"),
        (["--norm", "shared"], "no last layer norm to share"),
        (["--rule", "entropie"], "did you mean 'entropy'"),
        (["--stages", "jiont"], "did you mean 'joint'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_before_the_work(run, dense, tmp_path, monkeypatch, options, words):
    import re

    monkeypatch.setattr("rsprune_lib.commands.leaving.Job.trained", None)
    status, out, err = run("exits", dense, "--profile", "smoke", "--out", tmp_path / "x", *options)
    assert (status, out) == (1, "") and re.search(words, err), err
    assert sum(line.startswith("rsprune: ") for line in err.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_two_wishes_are_wrong_usage(run, dense, tmp_path):
    assert run("exits", dense, "--promise", 1, "--cost", 0.5, "--out", tmp_path / "x")[0] == 2
    assert run("exits", dense, "--force", "--resume", "--out", tmp_path / "x")[0] == 2
