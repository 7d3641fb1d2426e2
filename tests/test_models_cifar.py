"""The networks of the similarity-graph paper: its sizes to the unit, and what each does in what order."""

import pytest
import torch
from torch import nn

from rsprune_lib.measure import layer_costs
from rsprune_lib.models import create_model
from rsprune_lib.pruning import find_groups

# parameters without norms, MACs: derived from the authors' reference, consistent with every percentage they publish
PUBLISHED = {
    "vgg16_cifar": (14_982_474, 313.46),
    "resnet20": (271_690, 40.81),
    "resnet32": (465_674, 69.12),
    "resnet44": (659_658, 97.44),
    "resnet56": (853_642, 125.75),
    "resnet110": (1_726_570, 253.15),
    "densenet40": (1_001_626, 264.81),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_is_the_published_one(name):
    params, macs = PUBLISHED[name]
    layers = layer_costs(create_model(name), 32)
    assert sum(layer.params for layer in layers if layer.kind != "norm") == params
    assert round(sum(layer.macs for layer in layers) / 1e6, 2) == macs


@pytest.mark.parametrize(("name", "count"), [("vgg16_cifar", 14), ("resnet20", 12), ("densenet40", 39)])
def test_groups_are_the_layers_that_are_selected(name, count):
    """13 convolutions and the hidden layer; stem, 9 blocks and 2 shortcuts; stem, 36 layers and 2 transitions."""
    groups = find_groups(create_model(name, width=0.25), 32)
    assert len(groups) == count
    if name == "resnet20":
        assert groups[4].name == "layer2.0.shortcut", "the shortcut is the root of its stage's stream"
        outs = [member.layer for member in groups[4].members if member.side == "out" and member.kind == "conv"]
        assert outs == ["layer2.0.shortcut", *(f"layer2.{block}.conv2" for block in range(3))]


def test_dense_layers_add_their_channels_behind_the_old_ones():
    model = create_model("densenet40", width=0.25).eval()
    x = torch.randn(2, 4, 8, 8)
    y = model.block1[0](x)
    assert torch.equal(y[:, :4], x) and y.shape == (2, 7, 8, 8)
    member = next(m for m in find_groups(model, 32)[2].members if m.layer == "block1.2.conv" and m.side == "in")
    assert member.index.ravel().tolist() == [7, 8, 9], "the second layer's channels stand behind 4 + 3 others"


def test_norms_are_those_of_keras_and_convolutions_have_biases_as_published():
    for name in ("vgg16_cifar", "resnet20", "densenet40"):
        model = create_model(name, width=0.25)
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
        biased = {m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d)}
        assert biased == {name != "densenet40"}
    model = create_model("vgg16_cifar", width=0.25)
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.3] + [0.4] * 7 + [0.5] * 2
    names = [name for name, _ in model.named_children()][:8]
    assert names == ["conv1_1", "relu1_1", "bn1_1", "drop1_1", "conv1_2", "relu1_2", "bn1_2", "pool1"]


def test_larger_images_are_welcome():
    for name in ("vgg16_cifar", "resnet20", "densenet40"):
        assert create_model(name, 5, width=0.25).eval()(torch.randn(2, 3, 64, 64)).shape == (2, 5)
