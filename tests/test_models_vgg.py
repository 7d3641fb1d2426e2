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
    """Without the SE blocks the modules are, one by one, those of ``vgg16_bn().features``; so is the answer."""
    from torchvision.models.vgg import cfgs, make_layers

    reference = make_layers([c if c == "M" else c // 8 for c in cfgs["D"]], batch_norm=True).eval()
    model = create_model("vgg16_se", 4, width=0.125).eval()
    plain = nn.Sequential(*(m for m in model.children() if not isinstance(m, SqueezeExcite)))[: len(reference)]
    assert [type(m) for m in plain] == [type(m) for m in reference]
    assert [i for i, m in enumerate(plain) if isinstance(m, nn.Conv2d)] == [
        0,
        3,
        7,
        10,
        14,
        17,
        20,
        24,
        27,
        30,
        34,
        37,
        40,
    ]
    for module in reference:
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.bias)  # ours has none: the norm behind it has one
    plain.load_state_dict({k: v for k, v in reference.state_dict().items() if k in plain.state_dict()})
    x = torch.randn(2, 3, 64, 64)
    for name, module in list(model.named_children()):
        if isinstance(module, SqueezeExcite):
            model.set_submodule(name, nn.Identity())
    with torch.inference_mode():
        torch.testing.assert_close(model.features(x), reference(x))


def test_se_stands_behind_the_relu():
    order = list(create_model("vgg16_se", 4, width=0.125).children())
    places = [i for i, module in enumerate(order) if isinstance(module, SqueezeExcite)]
    assert len(places) == 13 and all(isinstance(order[i - 1], nn.ReLU) for i in places)


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
