"""Exported files: the network's answers, facts inside, a folder that runs them without PyTorch, and refusals."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.cli import main
from rsprune_lib.deploy import Deployed, Facts, OnnxNetwork, Shipment, export_onnx, parity, pixels, ship
from rsprune_lib.deploy.export import try_batches
from rsprune_lib.deploy.onnx_files import read_onnx
from rsprune_lib.deploy.tracing import Graphs
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure import provenance
from rsprune_lib.models import create_model

WITHOUT_TORCH = """
import importlib.abc, runpy, sys
class Forbid(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "rsprune_lib", "torchvision"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Forbid())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """One cache for this file, no mirror."""
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "export-home"))
    monkeypatch.delenv("RSPRUNE_MIRROR", raising=False)


def network(seed):
    """A tiny classifier: few layers, because the exporter takes its time for each."""
    return create_model("vgg16_cifar", 4, width=0.0625, seed=seed).eval()


def saved(folder, model, data, **more):
    """A bundle of a network as it is."""
    about = {"data": data.info(), "provenance": provenance(data.info(), seed=0), "measured": {}}
    return load_bundle(save_bundle(folder, model, **about, **more))


@pytest.fixture(scope="module")
def small(tiny_data, tmp_path_factory):
    """A bundle of a tiny classifier, untrained."""
    return saved(tmp_path_factory.mktemp("bundles") / "small", network(0), tiny_data)


@pytest.fixture(scope="module")
def shipped(small, tiny_data, tmp_path_factory):
    """The same, exported: the folder and what is known of the file."""
    folder = tmp_path_factory.mktemp("shipped")
    return folder, ship(small, tiny_data, folder).file


def test_the_file_answers_as_the_network_at_other_batch_sizes(shipped, small, tiny_data):
    folder, made = shipped
    assert made.parity.agreement == 1.0 and made.parity.difference < 1e-4 * made.parity.scale
    assert {shape[0] for shape in made.parity.shapes} == {1, 7} and made.shapes["image"] == ("batch", 3, 32, 32)
    images, mean, std = (
        pixels(tiny_data, "test", 5),
        *(torch.tensor(v).view(3, 1, 1) for v in (tiny_data.mean, tiny_data.std)),
    )
    with torch.no_grad():  # normalised by hand, once
        torch.testing.assert_close(
            OnnxNetwork(made.path)(images), small.model((images - mean) / std), rtol=1e-4, atol=1e-5
        )
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "model.onnx", "run/run.py", "run/README.md", "run/requirements.txt",
    }  # fmt: skip


def test_the_facts_travel_in_the_file(shipped, small, tiny_data):
    facts = OnnxNetwork(shipped[1].path).facts
    assert facts == Facts.of(small) and facts.classes == tiny_data.classes and facts.size == (32, 32)
    assert str(Path.cwd()) not in shipped[1].path.read_bytes().decode("latin-1")  # nor any path of this machine
    assert facts.bundle == "small" and facts.plan is None and facts.precision == "float32"


def test_the_run_folder_needs_no_pytorch(shipped, tiny_data, tmp_path):
    folder, made = shipped
    chosen = tiny_data.part("test")[:3]
    for row in chosen:
        Image.fromarray(np.asarray(tiny_data.images[row])).save(tmp_path / f"{row}.png")
    names = [str(tmp_path / f"{row}.png") for row in chosen]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(folder / "run" / "run.py"), *names], capture_output=True, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    answers = OnnxNetwork(made.path)(torch.from_numpy(tiny_data.images[chosen]).permute(0, 3, 1, 2) / 255).argmax(1)
    expected = [f"{name} {tiny_data.classes[answer]}" for name, answer in zip(names, answers, strict=True)]
    assert done.stdout.splitlines() == expected, done.stderr
    assert len((folder / "run" / "run.py").read_text().splitlines()) <= 12


def test_a_wrong_file_is_not_shipped(small, shipped, tiny_data, tmp_path):
    graphs = Graphs((read_onnx(shipped[1].path),), lambda parts: parts[0])
    with pytest.raises(ModelError, match="does not give the answers of small: .* nothing was written"):
        export_onnx(
            network(5), Facts.of(small), tmp_path / "model.onnx", pixels(tiny_data, "val", 8), graphs=graphs
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_parity_names_what_is_wrong(small, tiny_data):
    reference, images = Deployed(small.model, Facts.of(small)), pixels(tiny_data, "val", 4)
    assert parity(reference, reference, [images]).difference == 0
    assert not parity(reference, lambda x: reference(x) * 1.01, [images]).good
    with pytest.raises(ModelError, match="gives .4, 3. for images"):
        parity(reference, lambda x: reference(x)[:, :3], [images])
    with pytest.raises(ModelError, match="not finite"):
        parity(reference, lambda x: reference(x) * float("nan"), [images])


class Odd(torch.nn.Module):
    """A network with an operation that ONNX lacks."""

    def forward(self, x):
        return torch.linalg.eigvals(x.mean(1)).abs()[:, :4]


def test_an_operation_without_export_is_named(small, tiny_data, tmp_path):
    with pytest.raises(ModelError, match=r"ONNX has no operation for aten.linalg_eig"):
        export_onnx(Odd(), Facts.of(small), tmp_path / "model.onnx", pixels(tiny_data, "val", 4))
    assert not list(tmp_path.iterdir())


def test_wrong_wishes_are_told_before_the_work(tmp_path, capsys):
    for given, said in (
        (["--format", "tflite"], "Unknown format 'tflite'"),
        (["--opset", "11"], "Opset 11 is not written; give one from 18 to 23"),
        (["--batch", "none"], "Got --batch 'none'; expected dynamic"),
        (["--batch", "0"], "Got --batch '0'"),
        (["--size", "64x"], "Got --size '64x'"),
        (["--size", "3"], "whole number of pixels from 8"),
    ):
        assert main(["export", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"), *given]) == 1
        assert said in capsys.readouterr().err, given
    assert not list(tmp_path.iterdir())


def test_a_folder_of_somebody_else_and_a_full_disk(small, tmp_path, capsys, monkeypatch, small_files):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.onnx").write_text("mine")
    for force in ([], ["--force"]):
        assert main(["export", str(small.path), "--out", str(tmp_path / "theirs"), *force]) == 1
        assert "not written by rsprune, so it is not replaced" in capsys.readouterr().err
    assert (tmp_path / "theirs" / "model.onnx").read_text() == "mine"
    with small_files:
        assert main(["export", str(small.path), "--out", str(tmp_path / "full")]) == 1
    assert "make room there, or write to another disk" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


KILLED = """
import os, signal, sys
import rsprune_lib.deploy as deploy
from rsprune_lib.cli import main
right = deploy.ship
def ship(*given, **named):
    right(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
deploy.ship = ship
main(sys.argv[1:])
"""


def test_an_export_that_is_killed_leaves_the_earlier_one_and_can_be_repeated(small, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(small.path), "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    words = ["export", str(small.path), "--out", str(out), "--force", "--batch", "2"]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, timeout=300)
    assert done.returncode == -9
    assert {path: path.read_bytes() for path in before} == before
    assert main(words) == 0
    assert {path.name for path in out.iterdir()} == {".rsprune.json", "model.onnx", "run"}
    assert (out / "model.onnx").read_bytes() != before[out / "model.onnx"]
    fresh = tmp_path / "fresh"
    words[words.index("--out") + 1] = str(fresh)
    assert subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, timeout=300).returncode == -9
    assert main(words) == 0 and {path.name for path in fresh.iterdir()} == {".rsprune.json", "model.onnx", "run"}


def test_a_missing_package_is_a_sentence(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(small.path), "--out", str(tmp_path / "x")]) == 1
    assert (
        "onnxruntime is not installed, and this needs it; run: pip install 'rsprune[deploy]'" in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_a_plan_that_does_not_fit_its_weights(small, tmp_path, capsys):
    from rsprune_lib.files import sha256, write_json
    from rsprune_lib.pruning import find_groups, full_plan

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in small.path.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    plan = full_plan(find_groups(small.model, 32))
    name = next(name for name, keep in plan.keep.items() if len(keep) > 1)
    dataclasses.replace(plan, keep=plan.keep | {name: plan.keep[name][:1]}).save(broken / "plan.json")
    config = json.loads((broken / "config.json").read_text())
    write_json(
        broken / "config.json", config | {"files": config["files"] | {"plan.json": sha256(broken / "plan.json")}}
    )
    assert main(["export", str(broken), "--out", str(tmp_path / "x")]) == 1
    assert "does not fit its own config and plan" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_a_file_that_is_no_export(tmp_path):
    with pytest.raises(ModelError, match="Found no ONNX file"):
        OnnxNetwork(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="ONNX Runtime does not load .*text.onnx"):
        OnnxNetwork(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="does not say which classes"):
        Facts.from_metadata({}, "x.onnx")
    with pytest.raises(RspruneError, match="Unknown format"):
        Shipment("coreml")
    good = Facts(("a", "b"), (0.5,) * 3, (0.25,) * 3, (32, 48))
    assert Facts.from_metadata(good.to_metadata(), "x.onnx") == good
    for key, value in (
        ("classes", "[1, 2]"), ("classes", "[]"), ("classes", "7"), ("mean", '"abc"'), ("mean", "[NaN, 0, 0]"),
        ("mean", "[0.5]"), ("std", "[1, 1, 0]"), ("std", "[1, 1]"), ("size", "[1e9, 3]"), ("size", '"big"'),
        ("task", "[]"), ("rule", '{"kind": "x"}'), ("rule", "5"), ("classes", "[" * 100_000),
    ):  # fmt: skip
        with pytest.raises(ModelError, match="does not say which classes"):
            Facts.from_metadata(good.to_metadata() | {f"rsprune.{key}": value}, "x.onnx")
    assert Path(tmp_path).is_dir()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_a_segmenter_is_compared_on_as_few_images_as_there_are(count, batch):
    facts = Facts(("a", "b"), (0.5,) * 3, (0.25,) * 3, (32, 48), task="segmentation")
    found = list(try_batches(torch.rand(count, 3, 32, 48), facts, batch))
    assert [tuple(x.shape[2:]) for x in found] == [(32, 48), (25, 57), (54, 32)]
    assert all(len(x) == (batch or len(x)) and len(x) > 0 for x in found)
