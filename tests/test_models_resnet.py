"""ResNet-18: published sizes, module names, initialisation, stems."""

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.models import SqueezeExcite, create_model


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [("resnet18_se", 10, 11_360_382), ("resnet18", 10, 11_181_642), ("resnet18", 21, 11_187_285)],
)
def test_size_is_the_published_one(name, classes, expected):
    assert parameters(create_model(name, classes)) == expected


def test_seventeen_gates_stand_behind_the_norms_of_the_main_path():
    model = create_model("resnet18_se", 4, width=0.125)
    units = model.units()
    assert sum(unit.gate is not None for unit in units) == 17
    assert sum(unit.norm is not None for unit in units) == 20
    gated = {unit.layer: unit.gate for unit in units}
    assert gated["conv1"] == "se1"
    assert gated["layer2.0.conv1"] == "layer2.0.se1" and gated["layer2.0.conv2"] == "layer2.0.se2"
    assert gated["layer2.0.downsample.0"] is None
    assert units[-1].layer == "fc" and units[-1].norm is None


def test_gates_use_sixteen_fold_reduction():
    hidden = [m.fc1.out_features for m in create_model("resnet18_se").modules() if isinstance(m, SqueezeExcite)]
    assert hidden == [4] * 5 + [8] * 4 + [16] * 4 + [32] * 4


def test_untrained_blocks_pass_their_input_on():
    model = create_model("resnet18_se", 4, width=0.125, seed=0).eval()
    block = model.layer1[0]
    x = torch.rand(2, 8, 6, 6)
    assert torch.equal(block(x), x)
    assert model.layer2[0].downsample[1].weight.eq(1).all()


def test_gate_scales_channels():
    block = SqueezeExcite(32).eval()
    x = torch.randn(3, 32, 5, 5)
    gate = block.gate(x)
    assert gate.shape == (3, 32) and gate.gt(0).all() and gate.lt(1).all()
    torch.testing.assert_close(block(x), x * gate[:, :, None, None])
    seen = []
    block.sigmoid.register_forward_hook(lambda module, inputs, output: seen.append(output))
    block(x)
    assert torch.equal(seen[0], gate)


def test_gate_is_the_formula():
    block = SqueezeExcite(32)
    x = torch.randn(3, 32, 4, 5, generator=torch.Generator().manual_seed(0))
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in block.parameters())
    squeezed = x.double().numpy().mean(axis=(2, 3))
    expected = 1 / (1 + np.exp(-(np.maximum(squeezed @ w1.T + b1, 0) @ w2.T + b2)))
    np.testing.assert_allclose(block.gate(x).detach().numpy(), expected, rtol=1e-5)


def test_plain_network_is_the_one_of_torchvision():
    """Same names, same answers: published ImageNet weights would fit."""
    from torchvision.models import resnet18

    reference = resnet18(num_classes=7).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
    model = create_model("resnet18", 7).eval()
    model.load_state_dict(reference.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), reference(x))


@pytest.mark.parametrize(("stem", "expected"), [("imagenet", 1), ("small", 4)])
def test_stem_decides_the_resolution(stem, expected):
    model = create_model("resnet18", 4, width=0.125, stem=stem).eval()
    with torch.inference_mode():
        assert model.features(torch.zeros(1, 3, 32, 32)).shape == (1, 64, expected, expected)


def test_weights_follow_the_seed_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, same, other = (create_model("resnet18_se", 4, width=0.125, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.conv1.weight, same.conv1.weight) and torch.equal(first.fc.weight, same.fc.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_convolutions_start_with_he_fan_out():
    conv = create_model("resnet18", seed=0).layer4[1].conv1
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert all(m.bias is None for m in create_model("resnet18").modules() if isinstance(m, nn.Conv2d))
