"""Where outputs go: shortcuts and ReLUs found by watching one forward pass."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsprune_lib.models import Unit, create_model
from rsprune_lib.pruning.flow import Flow, trace_flow


def _flows(model, size=32):
    return trace_flow(model.eval(), model.units(), torch.zeros(1, 3, size, size))


def test_residual_network():
    flows = _flows(create_model("resnet18", 4, width=0.125))
    assert flows["conv1"] == Flow(None, True)
    assert flows["layer1.0.conv1"] == Flow(None, True)
    assert flows["layer1.1.conv2"] == Flow(("layer1.1.conv1", "in"), True)
    assert flows["layer2.0.conv2"] == Flow(None, False)  # waits for the shortcut's own convolution
    assert flows["layer2.0.downsample.0"] == Flow(("layer2.0.conv2", "out"), True)
    assert flows["fc"] == Flow(None, False)


def test_chain():
    flows = _flows(create_model("vgg16", 4, width=0.125))
    assert flows.pop("fc") == Flow(None, False)
    assert set(flows.values()) == {Flow(None, True)}


def test_live_gates_stand_between_a_sum_and_its_layer():
    flows = _flows(create_model("resnet18_se", 4, width=0.125))
    assert flows["layer1.1.conv1"] == Flow(None, True)
    assert flows["layer1.1.conv2"] == Flow(None, False)


class _Toy(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)

    def units(self):
        return [Unit("a"), Unit("b")]


@pytest.mark.parametrize(
    ("forward", "a", "b"),
    [
        (lambda m, x: m.b(m.a(x)) + x, Flow(), Flow(("a", "in"), False)),
        (lambda m, x: F.relu(x + m.b(m.a(x))), Flow(), Flow(("a", "in"), True)),
        (lambda m, x: m.b(m.a(x).relu_()).add_(x), Flow(None, True), Flow(("a", "in"), False)),
        (lambda m, x: torch.relu(m.a(x)) + m.b(x), Flow(None, True), Flow()),  # what is added is no spot
        (lambda m, x: m.b(F.relu_(y := m.a(x)) + 1) + y, Flow(None, True), Flow()),  # y was written over
        (lambda m, x: F.relu(m.a(x) + m.b(x).mean((2, 3), keepdim=True)), Flow(), Flow()),
        (lambda m, x: torch.add(m.a(x), m.b(x), alpha=2), Flow(), Flow()),  # not a plain sum
        (lambda m, x: F.gelu(m.a(x) + m.b(x)), Flow(), Flow(("a", "out"), False)),
    ],
)
def test_toys(forward, a, b):
    assert _flows(_Toy(forward), 8) == {"a": a, "b": b}


def test_no_hook_stays():
    model = create_model("resnet18", 4, width=0.125)
    _flows(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
