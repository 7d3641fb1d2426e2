"""VGG-16: sizes, torchvision's positions, names, smallest image."""

import pytest
import torch
from torch import nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import SqueezeExcite, create_model


def test_size_without_se():
    model = create_model("vgg16", 10)
    convolutions = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 5 * 512**2)
    assert sum(p.numel() for p in model.parameters()) == convolutions + 2 * 4224 + 512 * 10 + 10 == 14_724_042


def test_layers_stand_where_torchvision_has_them():
    """vgg16_bn.features is conv, BN, ReLU, ... pool; here an SE block follows each ReLU."""
    model = create_model("vgg16_se", 4, width=0.125)
    plain = [m for m in model.children() if not isinstance(m, SqueezeExcite)]
    positions = {kind: [i for i, m in enumerate(plain) if isinstance(m, kind)] for kind in (nn.Conv2d, nn.MaxPool2d)}
    assert positions[nn.Conv2d] == [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    assert positions[nn.MaxPool2d] == [6, 13, 23, 33, 43]
    order = list(model.children())
    assert all(isinstance(order[i - 1], nn.ReLU) for i, m in enumerate(order) if isinstance(m, SqueezeExcite))


def test_thirteen_gates_with_readable_names():
    units = create_model("vgg16_se", 4, width=0.125).units()
    assert len(units) == 14 and units[-1].layer == "fc"
    assert (units[6].layer, units[6].norm, units[6].gate) == ("conv3_3", "bn3_3", "se3_3")


def test_removing_se_keeps_the_relu():
    model = create_model("vgg16", 4, width=0.125, seed=0).eval()
    with torch.inference_mode():
        assert model.features(torch.randn(2, 3, 32, 32)).min() >= 0
    assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == 13


@pytest.mark.parametrize(("stem", "size", "expected"), [("imagenet", 64, 2), ("imagenet", 32, 1), ("small", 32, 2)])
def test_image_sizes(stem, size, expected):
    model = create_model("vgg16_se", 4, width=0.125, stem=stem).eval()
    with torch.inference_mode():
        assert model.features(torch.zeros(1, 3, size, size)).shape[2:] == (expected, expected)
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 4)


@pytest.mark.parametrize(("stem", "smallest"), [("imagenet", 32), ("small", 16)])
def test_too_small_an_image_is_one_clear_sentence(stem, smallest):
    model = create_model("vgg16", 4, width=0.125, stem=stem).eval()
    model(torch.zeros(1, 3, smallest, smallest))
    with pytest.raises(ModelError, match=f"{smallest - 1}x64 pixels but needs at least {smallest}x{smallest}"):
        model(torch.zeros(1, 3, smallest - 1, 64))
