"""The quick copy of a network, and what its rounding may cost."""

import copy
import importlib

import pytest
import torch
from pruning_toys import lively

from rsprune_lib.data import Batches
from rsprune_lib.measure import lean, predict
from rsprune_lib.pruning import reestimate_bn


@pytest.fixture
def batches(tiny_data):
    return Batches(tiny_data, "train", 16)


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def half(request, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("rsprune_lib.measure.lean"), "supports_bf16", lambda device: request.param
    )
    return request.param


def test_the_answers_are_nearly_those_of_the_network(half, lively_se, batches):
    whole, _ = predict(lively_se, batches, progress=False)
    quick, _ = predict(lean(lively_se), batches, progress=False)
    assert quick.dtype == torch.float32
    near = dict(rtol=0.05, atol=0.05) if half else {}
    torch.testing.assert_close(quick, whole, **near)
    assert torch.equal(quick, whole) is False or not half  # rounding shows, so it was bfloat16


def test_norms_can_become_part_of_the_convolutions(half, lively_se, batches):
    kinds = [type(module).__name__ for module in lean(lively_se, fuse=True).modules()]
    assert "BatchNorm2d" not in kinds and kinds.count("Conv2d") == 20
    exact, _ = predict(lively_se, batches, progress=False)
    fused, _ = predict(lean(lively_se, fuse=True), batches, progress=False)
    torch.testing.assert_close(fused, exact, **(dict(rtol=0.05, atol=0.05) if half else dict(rtol=1e-4, atol=1e-4)))
    assert "BatchNorm2d" in [type(module).__name__ for module in lively_se.modules()]


def test_the_network_is_left_alone_and_norms_stay_float32(half, lively_se):
    before = {name: value.clone() for name, value in lively_se.state_dict().items()}
    quick = lean(lively_se.train())
    assert lively_se.training and not quick.training
    lively_se.eval()
    assert quick.conv1.weight.dtype == (torch.bfloat16 if half else torch.float32)
    assert quick.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert quick.bn1.running_var.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in lively_se.state_dict().items())


def test_quick_statistics_are_nearly_the_exact_ones_and_float32(half, lively_se, batches):
    exact, quick = copy.deepcopy(lively_se), copy.deepcopy(lively_se)
    reestimate_bn(exact, batches, False)
    reestimate_bn(quick, batches, False, quick=True)
    for (name, one), two in zip(exact.state_dict().items(), quick.state_dict().values(), strict=True):
        assert one.dtype == two.dtype, name
        if "running" in name:
            torch.testing.assert_close(two, one, rtol=0.1 if half else 1e-4, atol=0.05 if half else 1e-4, msg=name)
        elif "num_batches" not in name:
            assert torch.equal(one, two), name


def test_a_bias_in_front_of_a_norm_becomes_part_of_the_convolution_too():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1)
    )
    lively(model)[0].bias.data.copy_(torch.tensor([1.0, -2.0, 3.0, -4.0]))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fused = lean(model, fuse=True)
    assert isinstance(fused[1], torch.nn.Identity)
    torch.testing.assert_close(fused(x), model(x))
