"""Parameters and MACs: published numbers, PyTorch's counter, and shapes seen by hooks must agree."""

import copy

import pytest
import torch
from pruning_toys import STEMS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure import Cost, cost, example_images, layer_costs
from rsprune_lib.models import create_model
from rsprune_lib.models.resnet import ResNet


def totals(rows):
    return Cost(sum(row.params for row in rows), sum(row.macs for row in rows))


def counted(model, images):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return Cost(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)


def test_published_numbers():
    plain, se = cost(create_model("resnet18"), 64), cost(create_model("resnet18_se"), 64)
    assert plain == Cost(11_181_642, 148_050_944)
    widths = [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4
    assert se.macs - plain.macs == sum(2 * c * c // 16 for c in widths) == 174_592


def test_published_numbers_after_pruning():
    pruned = ResNet(10, widths=(19, 38, 76, 153))
    assert cost(pruned, 64).params == 999_552
    assert cost(pruned, 64).macs == pytest.approx(15.10e6, abs=5e3)
    assert totals(layer_costs(pruned, 64)) == cost(pruned, 64)


@pytest.mark.parametrize("width", [0.125, 0.17])
@pytest.mark.parametrize(("name", "stem"), STEMS)
def test_layers_add_up_to_the_counter(name, width, stem):
    model = create_model(name, 5, in_channels=4, width=width, stem=stem)
    expected = counted(model.eval(), torch.zeros(1, 4, 32, 48))
    assert cost(model, (32, 48)) == totals(layer_costs(model, (32, 48))) == expected


class Zoo(nn.Module):
    """One layer of each kind, tokens, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, dilation=2, bias=True)
        self.norm = nn.GroupNorm(3, 12)
        self.depthwise = nn.Conv2d(12, 12, (3, 5), groups=12, bias=False)
        self.grouped = nn.Conv2d(12, 8, 3, groups=4, padding=1)
        self.twice = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2)
        self.tokens = nn.Linear(6, 10, bias=False)
        self.token_norm = nn.LayerNorm(10)
        self.line = nn.Conv1d(10, 4, 3)
        self.line_norm = nn.BatchNorm1d(4, affine=False)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = self.grouped(self.depthwise(self.norm(self.stem(x))))
        x = self.up(self.twice(self.twice(x)))
        x = self.token_norm(self.tokens(x.flatten(2).transpose(1, 2)))
        return self.line_norm(self.line(x.transpose(1, 2)))


def test_any_network_of_modules():
    zoo = Zoo().eval()
    rows = {row.name: row for row in layer_costs(zoo, 20)}
    assert totals(rows.values()).macs == cost(zoo, 20).macs == counted(zoo, torch.zeros(1, 3, 20, 20)).macs
    for name, row in rows.items():
        assert row.params == sum(p.numel() for p in zoo.get_submodule(name).parameters()), name
    assert "unused" not in rows
    assert rows["depthwise"].macs == 12 * 15 * 6 * 4
    assert rows["twice"].macs == 2 * 64 * 6 * 4 and rows["twice"].params == 72
    assert rows["tokens"].out_positions == 13 * 9 and rows["tokens"].macs == 60 * 13 * 9
    assert rows["norm"].macs == rows["token_norm"].macs == 0


def test_matrix_products_outside_of_layers_are_counted():
    class Product(nn.Module):
        def forward(self, x):
            return x.flatten(2) @ x.flatten(2).transpose(1, 2)

    assert cost(Product(), 4) == Cost(0, 3 * 3 * 16)


@pytest.mark.parametrize("function", [cost, layer_costs])
def test_the_network_is_left_as_it_was(function):
    model = create_model("resnet18_se", 4, width=0.125, seed=0).train()
    model.bn1.eval()
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    function(model, 32)
    assert model.training and model.layer1.training and not model.bn1.training
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert not any(m._forward_hooks for m in model.modules())


def test_hooks_leave_when_the_pass_fails():
    model = create_model("vgg16", 4, width=0.125).train()
    with pytest.raises(ModelError, match="at least 32x32"):
        layer_costs(model, 8)
    assert model.training and not any(m._forward_hooks for m in model.modules())


def test_example_images_fit_the_network():
    model = create_model("resnet18", 4, in_channels=5, width=0.125).double()
    images = example_images(model, (8, 16), batch=3)
    assert images.shape == (3, 5, 8, 16) and images.dtype == torch.float64
    assert torch.equal(images, example_images(model, (8, 16), batch=3))
    with pytest.raises(RspruneError, match="0x0 pixels is impossible"):
        example_images(model, 0)
