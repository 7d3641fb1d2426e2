"""OpenVINO's files: the answers of the ONNX file, exits included; what is said where OpenVINO is absent."""

import sys

import pytest
import torch
from test_deploy_exits import Chain, facts, rule_of

from rsprune_lib.cli import main
from rsprune_lib.deploy import Deployed, OnnxNetwork, export_onnx, traced
from rsprune_lib.deploy.exit_graph import early
from rsprune_lib.deploy.export import compared
from rsprune_lib.deploy.openvino_files import OPENVINO_FILES, OpenVinoNetwork, write_openvino
from rsprune_lib.errors import ModelError
from rsprune_lib.models import add_exits


def test_a_missing_openvino_is_a_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "x"), "--format", "openvino"]) == 1
    said = capsys.readouterr().err
    assert "openvino is not installed, and this needs it; run: pip install 'rsprune[openvino]'" in said
    assert not list(tmp_path.iterdir())


def test_exits_leave_in_openvino_too(tmp_path):
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    network = add_exits(Chain(), ["first", "second"]).eval()
    images = torch.rand(24, 3, 32, 32) * torch.linspace(0.1, 1, 24).view(-1, 1, 1, 1)
    rule = rule_of("max_probability", network, images)
    known, reference = facts(rule), Deployed(network, facts(rule))
    made = export_onnx(network, known, tmp_path / "m.onnx", images, graphs=traced(reference, known))
    file = OpenVinoNetwork(write_openvino(made.path, tmp_path, known))
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", *OPENVINO_FILES}
    assert file.facts == OnnxNetwork(made.path).facts == known
    expected, got = early(reference, images, rule), file.answers(images)
    assert torch.equal(got["exit"], expected.exit) and len(set(got["exit"].tolist())) == 3
    torch.testing.assert_close(got["logits"], expected.logits, rtol=1e-3, atol=1e-4)
    assert compared(reference, file, [images[:1], images[:7]]).good, "thresholds are still an input"
    with pytest.raises(ModelError, match="Found no OpenVINO file"):
        OpenVinoNetwork(tmp_path / "none.xml")
