"""The sensitivity scan: the same numbers as pruning each group by itself, from less work."""

import pytest
import torch
from pruning_toys import Unwanted

from rsprune_lib.errors import DataError, PlanError, Stopped
from rsprune_lib.models import create_model
from rsprune_lib.pruning import apply, choose, find_groups, score, sensitivity_scan

RATIOS = (0.0, 0.5, 0.8)


def network(name):
    model = create_model(name, 4, width=0.125, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5, generator=generator)
            module.bias.data.uniform_(-0.3, 0.3, generator=generator)
    return model


def case(name, sizes=(12, 5)):
    """A network whose answers vary, and images that it is always right about."""
    model, generator = network(name), torch.Generator().manual_seed(2)
    images = [torch.randn(n, 3, 32, 32, generator=generator) for n in sizes]
    with torch.no_grad():
        model.get_submodule(model.units()[-1].layer).bias -= model(torch.cat(images)).mean(0)
        return model, [(x, model(x).argmax(1)) for x in images]


@pytest.mark.parametrize("name", ["resnet18_se", "resnet18", "vgg16_se"])
def test_same_as_pruning_each_group_by_itself(name):
    model, data = case(name)
    groups = find_groups(model, 32)
    scores = score(model, groups, "l2")
    scan = sensitivity_scan(model, groups, scores, data, RATIOS, progress=False)
    assert (scan.dense, scan.n, scan.ratios, scan.criterion) == (1.0, 17, RATIOS, "l2")
    assert list(scan.curves) == [group.name for group in groups]
    for group in groups[::3]:
        for ratio, accuracy in zip(RATIOS, scan.curves[group.name], strict=True):
            small = apply(model, choose(scores, groups, per_group={group.name: ratio}), groups)
            with torch.no_grad():
                right = sum(int((small(x).argmax(1) == y).sum()) for x, y in data)
            assert accuracy == right / 17, (group.name, ratio)
    assert min(min(row) for row in scan.curves.values()) < 1


def test_the_network_is_left_alone_and_the_fragile_come_first():
    model, data = case("resnet18_se")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    groups = find_groups(model, 32)
    scan = sensitivity_scan(model, groups, score(model, groups, "l2"), data, (0.5, 0.8))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert not any("forward" in vars(module) for module in model.modules())
    means = [sum(scan.curves[name]) for name in scan.fragile]
    assert means == sorted(means)


def test_it_can_be_stopped_and_says_what_is_missing():
    model, data = case("resnet18_se")
    groups = find_groups(model, 32)
    scores = score(model, groups, "l2")

    with pytest.raises(Stopped):
        sensitivity_scan(model, groups, scores, Unwanted(data, 3), (0.5,))
    with pytest.raises(PlanError, match="at least one ratio"):
        sensitivity_scan(model, groups, scores, data, ())
    with pytest.raises(PlanError, match="below 1"):
        sensitivity_scan(model, groups, scores, data, (1.0,))
    with pytest.raises(DataError, match="no image"):
        sensitivity_scan(model, groups, scores, [], (0.5,))
