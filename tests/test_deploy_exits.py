"""Early exits in one ONNX file: images leave where they leave in PyTorch, and what left is computed no further."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from rsprune_lib.deploy import Deployed, Facts, OnnxNetwork, export_onnx, traced
from rsprune_lib.deploy.exit_graph import early
from rsprune_lib.deploy.quantiser import Quantiser
from rsprune_lib.errors import ModelError
from rsprune_lib.measure import EXIT_RULES, ExitRule
from rsprune_lib.models import add_exits


class Chain(nn.Module):
    """Three steps and a classifier."""

    in_channels, image_size = 3, (32, 32)

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (
            nn.Sequential(nn.Conv2d(into, 6, 3, 2, 1), nn.ReLU(inplace=True)) for into in (3, 6, 6)
        )
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.third(self.second(self.first(x))).mean((2, 3)))


def facts(rule):
    """Of a network with four classes."""
    return Facts(("a", "b", "c", "d"), (0.5,) * 3, (0.2,) * 3, (32, 32), "exits", rule=rule and rule.to_dict())


@pytest.fixture(scope="module")
def network():
    """A tiny network with two exits, untrained, whose certainties differ."""
    torch.manual_seed(0)
    model = add_exits(Chain(), ["first", "second"]).eval()
    with torch.no_grad():
        for layer in (*(head.fc for head in model.exits.heads), model.fc):
            layer.weight.mul_(5)
    return model


@pytest.fixture(scope="module")
def images():
    """Noise of several contrasts."""
    random = torch.Generator().manual_seed(0)
    return (torch.rand(40, 3, 32, 32, generator=random) * torch.linspace(0.1, 1, 40).view(-1, 1, 1, 1)).clamp(0, 1)


def rule_of(kind, network, images):
    """A rule by which some images leave at each exit."""
    gates = torch.randn(2, 5, generator=torch.Generator().manual_seed(1)) if kind == "gate" else None
    if kind == "patience":
        return ExitRule(kind, (2.0, 2.0))
    with torch.no_grad():
        records = network((images - 0.5) / 0.2)[:2]
    rule = ExitRule("max_probability" if kind == "conformal" else kind, (0.0, 0.0), gates)
    cuts = [float(rule.readiness(n, records[n]).quantile(0.6)) for n in range(2)]
    return ExitRule(kind, tuple(cuts), gates)


@pytest.fixture(scope="module")
def exported(network, images, tmp_path_factory):
    """A rule and the file of a network with it; each is made once."""
    made = {}

    def make(kind):
        if kind not in made:
            rule = rule_of(kind, network, images)
            graphs = traced(Deployed(network, facts(rule)), facts(rule))
            path = tmp_path_factory.mktemp(kind) / "m.onnx"
            made[kind] = rule, export_onnx(network, facts(rule), path, images, graphs=graphs), graphs
        return made[kind]

    return make


@pytest.mark.parametrize("kind", ["max_probability", "patience"])
def test_images_leave_where_they_leave_in_pytorch(network, images, exported, kind):
    rule, made, _ = exported(kind)
    assert made.parity.agreement == 1.0 and made.parity.difference < 1e-4 * made.parity.scale
    assert made.shapes["image"] == ("batch", 3, 32, 32) and made.shapes["thresholds"] == (2,)
    assert made.shapes["logits"] == ("batch", 4) and made.shapes["exit"] == ("batch",)
    reference, file = Deployed(network, facts(rule)), OnnxNetwork(made.path)
    for count in (1, 7, 40):
        expected, got = early(reference, images[:count], rule), file.answers(images[:count])
        torch.testing.assert_close(got["logits"], expected.logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(got["exit"], expected.exit)
    assert len(set(got["exit"].tolist())) == (2 if kind == "patience" else 3), "the test sees every way"
    stay = file.answers(images, (9.0, 9.0))
    assert set(stay["exit"].tolist()) == {2}
    with torch.no_grad():
        whole = network((images - 0.5) / 0.2)[-1]
    torch.testing.assert_close(stay["logits"], whole, rtol=1e-4, atol=1e-5)


def staying(graph):
    """What a graph does with the images that stay."""
    decision = next(node for node in graph.node if node.op_type == "If")
    return next(attribute.g for attribute in decision.attribute if attribute.name == "then_branch")


def test_what_left_is_computed_no_further(images, exported, tmp_path):
    """Weights behind the last exit that are not a number do no harm as long as nothing gets there."""
    model = onnx.load(exported("max_probability")[1].path)
    deepest = staying(staying(model.graph))
    weight = next(item for item in deepest.initializer if item.name.endswith("weight"))
    values = numpy_helper.to_array(weight).copy()
    weight.CopyFrom(numpy_helper.from_array(np.full_like(values, np.nan), weight.name))
    onnx.save(model, tmp_path / "poisoned.onnx")
    file = OnnxNetwork(tmp_path / "poisoned.onnx")
    gone = file.answers(images, (0.0, 9.0))
    assert set(gone["exit"].tolist()) == {0} and bool(gone["logits"].isfinite().all())
    at_second = file.answers(images, (9.0, 0.0))
    assert set(at_second["exit"].tolist()) == {1} and bool(at_second["logits"].isfinite().all())
    assert bool(file.answers(images, (9.0, 9.0))["logits"].isnan().any())


def test_parts_are_quantised_before_they_are_joined(images, exported, tmp_path):
    rule, made, graphs = exported("max_probability")
    job = Quantiser(graphs, facts(rule), images, tmp_path, True, None)
    file = OnnxNetwork(job.file(job.quantised(), "int8.onnx"))
    exact, got = OnnxNetwork(made.path).answers(images), file.answers(images)
    assert (exact["exit"] == got["exit"]).float().mean() > 0.8 and len(set(got["exit"].tolist())) == 3
    together = exact["exit"] == got["exit"]
    assert (exact["logits"] - got["logits"])[together].abs().max() < 0.3 * exact["logits"].abs().max()
    graph = onnx.load(tmp_path / "int8.onnx").graph
    for depth in (graph, staying(graph), staying(staying(graph))):
        kinds = {item.data_type for item in depth.initializer if item.name.endswith("weight_quantized")}
        assert kinds == {onnx.TensorProto.INT8}, "every part has weights of its own in 8 bits"


@pytest.mark.parametrize("kind", EXIT_RULES)
def test_every_rule_decides_on_a_threshold_that_is_a_tensor_as_it_does_on_a_number(network, images, kind):
    rule = rule_of(kind, network, images)
    with torch.no_grad():
        logits = network((images - 0.5) / 0.2)[0]
    agreed = torch.arange(40) % 3 if kind == "patience" else None
    cut = rule.thresholds[0]
    found = rule.decides(0, logits, torch.tensor(cut), agreed)
    assert torch.equal(found, rule.decides(0, logits, cut, agreed)) and 0 < found.sum() < 40


def test_exits_without_a_rule_are_refused(network, images, tmp_path):
    with pytest.raises(ModelError, match="have no rule yet; calibrate them with `rsprune exits`"):
        export_onnx(network, facts(None), tmp_path / "m.onnx", images)
    assert not list(tmp_path.iterdir())
