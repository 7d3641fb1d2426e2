"""8-bit files: classes keep their accuracy or the file is refused by name, harmful layers stay in float."""

import copy
import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.cli import main
from rsprune_lib.data import Batches
from rsprune_lib.deploy import (
    Deployed,
    Facts,
    OnnxNetwork,
    calibration_images,
    export_int8,
    int8,
    judged,
    losses,
    traced,
)
from rsprune_lib.errors import DataError, ModelError, RspruneError
from rsprune_lib.measure import Quality, evaluate, provenance
from rsprune_lib.models import create_model
from rsprune_lib.training import fit, recipe


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """One cache for this file, no mirror."""
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "export-home"))
    monkeypatch.delenv("RSPRUNE_MIRROR", raising=False)


@pytest.fixture(scope="module")
def data(tiny_data):
    """The tiny images, most of those that are not trained on for validation."""
    split = dataclasses.replace(tiny_data.split, val=tiny_data.split.test, test=tiny_data.split.val)
    return dataclasses.replace(tiny_data, split=split)


@pytest.fixture(scope="module")
def bundle(data, tmp_path_factory):
    """A tiny trained classifier."""
    run = recipe("strong", epochs=12, ema=0, half_size=0, lr=0.05, batch_size=8)
    model = fit(create_model("resnet18", 4, width=0.0625, seed=0), data, run, progress=False).model.eval()
    about = {"data": data.info(), "provenance": provenance(data.info(), seed=0), "measured": {}}
    return load_bundle(save_bundle(tmp_path_factory.mktemp("int8") / "small", model, **about))


@pytest.fixture(scope="module")
def graphs(bundle):
    """Its graphs, traced once."""
    facts = Facts.of(bundle)
    return traced(Deployed(bundle.model, facts), facts)


def test_an_int8_file_is_smaller_and_keeps_every_class(bundle, graphs, data, tmp_path):
    made = export_int8(graphs, Facts.of(bundle), tmp_path / "m.onnx", data, images=40, reduced=True)
    float_accuracy = evaluate(bundle.model, Batches(data, "val", 64)).accuracy
    assert made.before.accuracy == float_accuracy > 0.9 and not losses(made.before, made.after, data.classes)
    assert made.file.size < made.float_size and made.float_layers == () and made.file.facts.precision == "int8"
    graph = onnx.load(tmp_path / "m.onnx").graph
    kinds = {item.name: item.data_type for item in graph.initializer}
    per_channel = [item for item in graph.initializer if item.name.endswith("weight_scale") and len(item.dims) == 1]
    weights = [kind for name, kind in kinds.items() if name.endswith("weight_quantized")]
    assert len(weights) == 21 and set(weights) == {onnx.TensorProto.INT8} and len(per_channel) >= 20
    zeros = {kinds[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert zeros == {onnx.TensorProto.UINT8}, "activations are unsigned"
    largest = max(
        int(np.abs(onnx.numpy_helper.to_array(item).astype(int)).max())
        for item in graph.initializer
        if item.name.endswith("weight_quantized")
    )
    assert largest <= 64, "7 bits"
    assert judged(OnnxNetwork(tmp_path / "m.onnx"), data).accuracy == made.after.accuracy


def spoiled(bundle):
    """The same network where one channel of a layer is so large that its neighbours vanish in 8 bits."""
    model = copy.deepcopy(bundle.model)
    block = model.layer1[0]
    with torch.no_grad():  # a channel that the next layer ignores
        block.bn1.weight[0] *= 3000
        block.bn1.bias[0] = 3000
        block.conv2.weight[:, 0] = 0
    return model


def test_a_layer_that_hurts_is_found_and_left_in_float(bundle, data, tmp_path):
    facts, said = Facts.of(bundle), []
    model = spoiled(bundle)
    graphs = traced(Deployed(model, facts), facts)
    made = export_int8(graphs, facts, tmp_path / "m.onnx", data, images=40, reduced=False, say=said.append)
    assert made.float_layers and any("int8 costs too much" in line for line in said)
    assert not losses(made.before, made.after, data.classes)
    with pytest.raises(RspruneError, match="Unknown layer 'conv9'"):
        export_int8(graphs, facts, tmp_path / "n.onnx", data, images=40, keep_float=["conv9"])
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_class_that_is_lost_is_named_and_nothing_is_written(bundle, graphs, data, tmp_path, monkeypatch):
    real = int8.judged

    def spoilt(network, *given, **more):
        found = real(network, *given, **more)
        worse = (found.per_class[0] - (0.5 if network.facts.precision == "int8" else 0), *found.per_class[1:])
        return dataclasses.replace(found, per_class=worse)

    monkeypatch.setattr(int8, "judged", spoilt)
    monkeypatch.setattr(int8.Quantiser, "attempts", lambda self, first, *_: iter([first]))
    with pytest.raises(ModelError, match=r"int8 costs more than 2 points of field \(.* to .* %\)"):
        export_int8(graphs, Facts.of(bundle), tmp_path / "m.onnx", data, images=40)
    assert not list(tmp_path.iterdir())


def quality(per_class, count):
    """Of a classifier with so many images of each class."""
    confusion = np.diag([count] * len(per_class))
    return Quality(0.9, (0.8, 1.0), per_class, 0.0, 0.0, count * len(per_class), confusion)


def test_losses_are_more_than_two_points_and_more_than_one_image():
    assert losses(quality((0.95, 0.9), 1000), quality((0.929, 0.9), 1000), ["a", "b"]).keys() == {"a"}
    assert not losses(quality((0.95, 0.9), 1000), quality((0.931, 0.9), 1000), ["a", "b"])
    assert not losses(quality((1.0, 0.9), 10), quality((0.9, 0.9), 10), ["a", "b"])  # one image
    assert losses(quality((1.0, 0.9), 10), quality((0.8, 0.9), 10), ["a", "b"]).keys() == {"a"}
    with_gap = quality((1.0, float("nan")), 10)
    assert not losses(with_gap, with_gap, ["a", "b"])


def test_calibration_images_are_balanced_and_shuffled_and_sorted_ones_refused(bundle, graphs, data, tmp_path):
    images, labels = calibration_images(data, 20)
    assert images.shape == (20, 3, 32, 32) and np.bincount(labels).tolist() == [5, 5, 5, 5]
    assert (np.diff(labels) != 0).sum() > 6
    order = np.argsort(labels)
    for given, said in (((images[order], labels[order]), "sorted by class"), ((images[:1], labels[:1]), "Got 1 image")):
        with pytest.raises(DataError, match=said):
            export_int8(graphs, Facts.of(bundle), tmp_path / "m.onnx", data, calibrate=given)
    lacking = dataclasses.replace(data, labels=np.where(data.labels == 2, 1, data.labels))
    with pytest.raises(DataError, match="has no image of river, so int8 cannot be calibrated"):
        calibration_images(lacking, 20)


def test_calibration_folders_that_do_not_fit(bundle, tiny_folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        (tmp_path / "other" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "other" / name / f"{number}.png").write_bytes(
                (tiny_folder / "field" / f"{number:02}.png").read_bytes()
            )
    given = ["export", str(bundle.path), "--out", str(tmp_path / "x"), "--int8", "--calibration"]
    for folder, said in (("empty", "No image"), ("other", "knows the classes field, forest, river, roofs")):
        assert main([*given, str(tmp_path / folder)]) == 1
        assert said in capsys.readouterr().err
    assert main([*given[:4], "--calibration", "x"]) == 2 and main([*given[:4], "--keep-float", "x"]) == 1
    assert "belong to int8" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_the_command_tells_size_and_classes(bundle, graphs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rsprune_lib.deploy.shipping.traced", lambda *_, **__: graphs)
    given = ["export", str(bundle.path), "--out", str(tmp_path / "x"), "--int8", "--images", "40"]
    assert main([*given, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["int8"]["per_class"].keys() == set(bundle.config["data"]["classes"]) and row["parity"]["agreement"] == 1
    assert row["bytes"] < row["int8"]["bytes_before"] and (tmp_path / "x" / "model_int8.onnx").is_file()
    assert main([*given, "--force"]) == 0
    assert "validation images" in (said := capsys.readouterr().out) and "river" in said
