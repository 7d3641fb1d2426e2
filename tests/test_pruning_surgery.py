import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_toys import COURSE, NETWORKS, course_model, groups_of, images, network, random_plan, random_scores
from torch import nn

from rsprune_lib.errors import PlanError
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Plan, apply, choose, faded, find_groups, full_plan, masked


def snapshot(model):
    return {
        name: (tensor, tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()
    }


def assert_untouched(model, before):
    for name, tensor in model.state_dict(keep_vars=True).items():
        same, place, value = before[name]
        assert tensor is same and tensor.data_ptr() == place and torch.equal(tensor, value), name


@torch.no_grad()
def assert_masked_is_applied(model, plan, groups, x):
    small = apply(model, plan, groups)
    with masked(model, plan, groups) as quiet:
        got = quiet(x)
    expected = small(x)
    assert expected.abs().max() > 1e-3  # or the comparison says nothing
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    return small


@pytest.mark.parametrize("ratio", [0.3, 0.7, 0.999])
@pytest.mark.parametrize("name", NETWORKS)
def test_masked_equals_applied(name, ratio):
    (model, size), groups = network(name), groups_of(name)
    before, plan = snapshot(model), random_plan(groups, ratio, seed=1)
    small = assert_masked_is_applied(model, plan, groups, images(size))
    assert_untouched(model, before)
    if ratio < 0.5:  # a depthwise convolution of one channel is an ordinary one
        assert find_groups(small, size).sizes() == plan.widths


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_masked_equals_applied_for_any_plan(data):
    model, groups = network("resnet18_se")[0], groups_of("resnet18_se")
    widths = {g.name: data.draw(st.sets(st.integers(0, g.size - 1), min_size=1).map(tuple)) for g in groups}
    plan = Plan(groups.model, widths, groups.sizes())
    assert_masked_is_applied(model, plan, groups, images(32, seed=3))


@pytest.mark.parametrize("name", COURSE)
def test_a_plan_of_the_plain_network_cuts_the_one_with_se_too(name):
    plan = random_plan(groups_of(name.removesuffix("_se")), 0.5)
    assert_masked_is_applied(network(name)[0], plan, groups_of(name), images(32))


@pytest.mark.parametrize("name", NETWORKS)
def test_removing_nothing_changes_nothing(name):
    (model, size), groups = network(name), groups_of(name)
    same = apply(model, full_plan(groups), groups)
    assert torch.equal(same(images(size)), model(images(size)))
    with masked(model, full_plan(groups), groups):
        assert torch.equal(same(images(size)), model(images(size)))
    shared = {t.data_ptr() for t in same.state_dict().values()} & {t.data_ptr() for t in model.state_dict().values()}
    assert not shared


@pytest.mark.parametrize("name", NETWORKS)
def test_attributes_agree_with_the_smaller_tensors(name):
    groups = groups_of(name)
    small = apply(network(name)[0], random_plan(groups, 0.6), groups)
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
        elif isinstance(module, nn.ConvTranspose2d):
            assert module.weight.shape[:2] == (module.in_channels, module.out_channels)
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
        elif isinstance(module, nn.BatchNorm2d):
            assert {len(t) for t in (module.weight, module.bias, module.running_mean, module.running_var)} == {
                module.num_features
            }
        elif isinstance(module, nn.PReLU):
            assert len(module.weight) == module.num_parameters


def test_the_sizes_of_the_published_network():
    model = create_model("resnet18", 10)
    groups = find_groups(model)
    small = apply(model, choose(random_scores(groups), groups, ratio=0.7), groups)
    assert sum(parameter.numel() for parameter in small.parameters()) == 999_552
    widths = [small.get_submodule(name).out_channels for name in groups.sizes()]
    assert widths == [19] * 3 + [38] * 3 + [76] * 3 + [153] * 3


def test_the_kept_weights_are_those_of_the_plan():
    model, size = network("Concat")
    groups = find_groups(model, size)
    plan = Plan({}, {"a": (1, 3), "b": (0, 4), "c": (2,)}, groups.sizes())
    small = apply(model, plan, groups)
    assert torch.equal(small.a.weight, model.a.weight[[1, 3]]) and torch.equal(small.b.bias, model.b.bias[[0, 4]])
    assert torch.equal(small.bn.running_var, model.bn.running_var[[1, 3, 4, 8]])
    assert torch.equal(small.c.weight, model.c.weight[[2]][:, [1, 3, 4, 8]])
    assert torch.equal(small.fc.weight, model.fc.weight[:, [2]]) and torch.equal(small.fc.bias, model.fc.bias)


def test_the_small_network_is_a_network_of_the_course():
    model = course_model("resnet18_se")
    groups = groups_of("resnet18_se")
    small = apply(model, random_plan(groups), groups)
    assert small.config == model.config and small.units() == model.units()
    assert not small.training
    assert apply(model.train(), random_plan(groups), groups).training


def test_the_small_network_trains():
    model = course_model("resnet18_se").train()
    model.bn1.weight.requires_grad_(False)
    model(images(32)).sum().backward()
    groups = groups_of("resnet18_se")
    small = apply(model, random_plan(groups), groups)
    assert all(parameter.is_leaf and parameter.grad is None for parameter in small.parameters())
    small(images(32)).square().sum().backward()
    assert [n for n, parameter in small.named_parameters() if parameter.grad is None] == ["bn1.weight"]


def test_memory_format_is_kept():
    model = course_model("resnet18").to(memory_format=torch.channels_last)
    groups = groups_of("resnet18")
    small = apply(model, random_plan(groups), groups)
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_silenced_channels_are_zero_behind_every_norm_and_in_the_stream():
    model = course_model("resnet18_se")
    groups = groups_of("resnet18_se")
    plan = random_plan(groups)
    seen = {}
    for name in ("relu", "layer1.0.bn1", "layer2.0.bn2", "layer2.0.downsample.1", "layer2.0", "layer2.1"):
        model.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: seen.__setitem__(name, y.clone()))
    with masked(model, plan, groups):
        model(images(32))
    owners = {"relu": "conv1", "layer1.0.bn1": "layer1.0.conv1"}
    for name, value in seen.items():
        owner = owners.get(name, "layer2.0.conv2")
        alive = value.abs().amax((0, 2, 3)) > 0
        assert not set(alive.nonzero().flatten().tolist()) - set(plan.keep[owner])
        assert alive.any()


def test_masking_undoes_itself_bit_for_bit_even_on_an_error():
    model = course_model("resnet18_se")
    groups = groups_of("resnet18_se")
    plan, before = random_plan(groups), snapshot(model)
    with masked(model, plan, groups) as quiet:
        assert quiet is model and not torch.equal(model.bn1.weight, before["bn1.weight"][2])
        with masked(model, random_plan(groups, seed=5), groups):  # nested
            pass
        with torch.no_grad():
            model.conv1.weight.add_(1)
    assert_untouched(model, before)
    with pytest.raises(KeyboardInterrupt), masked(model, plan, groups):
        raise KeyboardInterrupt
    assert_untouched(model, before)


def test_groups_are_found_where_they_are_not_given():
    model, groups = network("vgg16")[0], groups_of("vgg16")
    plan = random_plan(groups)
    assert torch.equal(apply(model, plan)(images(32)), apply(model, plan, groups)(images(32)))
    with masked(model, plan):
        assert model(images(32)).isfinite().all()


def test_plans_of_other_networks_touch_nothing():
    model, groups = network("resnet18")[0], groups_of("resnet18")
    before, plan = snapshot(model), random_plan(groups_of("vgg16"))
    with pytest.raises(PlanError, match="made for a network with name 'vgg16'"):
        apply(model, plan, groups)
    with pytest.raises(PlanError, match="made for a network with name 'vgg16'"), masked(model, plan, groups):
        pass
    small = apply(model, random_plan(groups), groups)
    with pytest.raises(PlanError, match="use the unpruned network"):
        apply(small, random_plan(groups), groups)
    assert_untouched(model, before)


@torch.no_grad()
def test_a_faded_channel_sends_on_a_share():
    (model, size), groups = network("resnet18_se"), groups_of("resnet18_se")
    before, plan, x = snapshot(model), random_plan(groups, 0.5, seed=1), images(size)
    torch.testing.assert_close(faded(model, plan, groups, left=1.0)(x), model(x))
    with masked(model, plan, groups) as quiet:
        torch.testing.assert_close(faded(model, plan, groups, left=0.0)(x), quiet(x), rtol=0, atol=1e-5)
    group = groups[0]
    norm = next(member.layer for member in group.makers)
    gone = sorted(set(range(group.size)) - set(plan.keep[group.name]))
    small = faded(model, plan, groups, left=0.3).get_submodule(norm)
    torch.testing.assert_close(small.weight[gone], 0.3 * model.get_submodule(norm).weight[gone])
    stay = list(plan.keep[group.name])
    torch.testing.assert_close(small.bias[stay], model.get_submodule(norm).bias[stay])
    assert_untouched(model, before)
