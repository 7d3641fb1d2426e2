import copy

import pytest
import torch
from pruning_toys import COURSE, TOYS, Concat, Depthwise, Flatten, Unpool, course_model, groups_of, network
from torch import nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import create_model, model_names
from rsprune_lib.pruning import Group, Member, find_groups


def places(group):
    return [(member.layer, member.side) for member in group.members]


def test_resnet_groups_are_the_streams_and_the_inner_convolutions_in_execution_order():
    groups = find_groups(create_model("resnet18", 4, width=0.125), 32)
    assert groups.sizes() == {
        "conv1": 8,
        "layer1.0.conv1": 8,
        "layer1.1.conv1": 8,
        "layer2.0.conv1": 16,
        "layer2.0.conv2": 16,
        "layer2.1.conv1": 16,
        "layer3.0.conv1": 32,
        "layer3.0.conv2": 32,
        "layer3.1.conv1": 32,
        "layer4.0.conv1": 64,
        "layer4.0.conv2": 64,
        "layer4.1.conv1": 64,
    }


def test_a_residual_stream_couples_every_branch_and_every_reader():
    groups = {group.name: group for group in find_groups(create_model("resnet18", 4, width=0.125))}
    assert places(groups["layer1.0.conv1"]) == [
        ("layer1.0.conv1", "out"),
        ("layer1.0.bn1", "out"),
        ("layer1.0.conv2", "in"),
    ]
    assert places(groups["layer2.0.conv2"]) == [
        ("layer2.0.conv2", "out"),
        ("layer2.0.bn2", "out"),
        ("layer2.0.downsample.0", "out"),
        ("layer2.0.downsample.1", "out"),
        ("layer2.1.conv1", "in"),
        ("layer2.1.conv2", "out"),
        ("layer2.1.bn2", "out"),
        ("layer3.0.conv1", "in"),
        ("layer3.0.downsample.0", "in"),
    ]


@pytest.mark.parametrize("name", [name for name in model_names() if name.endswith("_se")])
def test_live_se_blocks_join_but_their_hidden_width_is_no_group(name):
    plain = find_groups(create_model(name.removesuffix("_se"), 4, width=0.125))
    live = find_groups(create_model(name, 4, width=0.125))
    assert live.sizes() == plain.sizes()
    touched = {place for group in live for place in places(group)}
    gates = {unit.gate for unit in create_model(name, 4, width=0.125).units() if unit.gate}
    assert {layer for layer, _ in touched if "se" in layer} == {f"{g}.{fc}" for g in gates for fc in ("fc1", "fc2")}
    assert {(f"{gate}.fc1", "in") for gate in gates} | {(f"{gate}.fc2", "out") for gate in gates} <= touched
    assert not {(f"{gate}.fc1", "out") for gate in gates} & touched


@pytest.mark.parametrize("name", COURSE)
def test_input_and_output_of_the_network_are_in_no_group(name):
    model = create_model(name, 4, width=0.125)
    touched = {place for group in find_groups(model) for place in places(group)}
    units = model.units()
    assert (units[0].layer, "in") not in touched and (units[0].layer, "out") in touched
    assert (units[-1].layer, "out") not in touched and (units[-1].layer, "in") in touched
    for unit in units[:-1]:  # every other layer is cut on its outputs, and its norm with it
        assert (unit.layer, "out") in touched
        assert unit.norm is None or (unit.norm, "out") in touched


def test_the_network_and_the_random_state_are_left_as_they_were():
    model = create_model("resnet18_se", 4, width=0.125, seed=0).train()
    model.conv1.weight.requires_grad_(False)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    find_groups(model, 32)
    assert model.training and not model.conv1.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())
    assert torch.equal(random, torch.get_rng_state())


def test_groups_are_the_same_every_time_and_in_every_gradient_mode():
    model = create_model("resnet18_se", 4, width=0.125)
    first = find_groups(model, 32)
    with torch.no_grad():
        assert find_groups(model, 32) == first
    with torch.inference_mode():
        assert find_groups(model, 64) == first
    assert find_groups(model.half()) == first
    assert first.model == model.config


def test_concatenation_shifts_positions():
    a, b, c = find_groups(Concat(), 8)
    assert [group.name for group in (a, b, c)] == ["a", "b", "c"]
    assert a.members[1:] == (
        Member("bn", "norm", "out", ((0,), (1,), (2,), (3,))),
        Member("c", "conv", "in", ((0,), (1,), (2,), (3,))),
    )
    assert b.members[1].positions == b.members[2].positions == ((4,), (5,), (6,), (7,), (8,))


def test_flattening_gives_a_channel_one_position_a_pixel():
    conv, hidden = find_groups(Flatten(), 8)
    reader = conv.members[-1]
    assert (reader.layer, reader.kind, reader.fan) == ("hidden", "linear", 16)
    assert reader.positions[1] == tuple(range(16, 32))
    assert reader.index.shape == (4, 16)
    assert places(hidden) == [("hidden", "out"), ("head", "in")]


def test_depthwise_layers_and_slopes_follow_their_input():
    first, second = find_groups(Depthwise(), 8)
    assert [(m.layer, m.kind) for m in first.members] == [
        ("conv", "conv"),
        ("depth", "depthwise"),
        ("bn", "norm"),
        ("slope", "prelu"),
        ("point", "conv"),
    ]
    assert places(second) == [("point", "out"), ("head", "in")]  # one slope for all channels is nothing to cut


def test_an_output_behind_operations_without_weights_is_still_the_output():
    model, size = network("Transposed")
    assert find_groups(model, size).sizes() == {"down": 4, "up": 6}


def test_ties_that_no_graph_shows_are_declared_by_the_model():
    loose = find_groups(Unpool(hidden=True), 8)  # cut and silenced differ, so they stay whole
    assert loose.sizes() == {"inner": 7} and "differ" in loose.fixed["encode"] and "differ" in loose.fixed["middle"]
    tied = find_groups(Unpool(hidden=True, tied=True), 8)
    assert tied.sizes() == find_groups(Unpool(), 8).sizes() == {"encode": 4, "inner": 7}
    assert ("middle", "out") in places(tied[0]) and ("head", "in") in places(tied[0])


def test_impossible_ties_are_refused():
    model = Unpool()
    model.ties = lambda: [("encode", "inner")]
    with pytest.raises(ModelError, match=r"'encode' \(4 channels\) to 'inner' \(7 channels\)"):
        find_groups(model, 8)
    model.ties = lambda: [("encode", "head")]
    with pytest.raises(ModelError, match="ties 'head', but no group"):
        find_groups(model, 8)


def test_groups_of_one_shape_have_one_signature():
    groups = {group.name: group for group in find_groups(create_model("resnet18", 4, width=0.125))}
    assert groups["layer1.0.conv1"].signature == groups["layer4.1.conv1"].signature
    assert groups["layer2.0.conv2"].signature == groups["layer3.0.conv2"].signature
    assert groups["layer2.0.conv2"].signature != groups["layer2.0.conv1"].signature


class Broadcast(nn.Module):
    """A spatial mask of one channel times a feature map; the engine couples the two wrongly."""

    def __init__(self):
        super().__init__()
        self.conv, self.mask, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        x = self.conv(x)
        return self.head(x * torch.sigmoid(self.mask(x)))


def test_a_channel_that_serves_several_stays_whole():
    groups = find_groups(Broadcast(), 8)
    assert groups.sizes() == {"conv": 4} and "one channel serves several" in groups.fixed["mask"]


class Written(nn.Module):
    """Its code writes the number of channels down."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
        self.inner = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.head(torch.relu(self.inner(x)).reshape(len(x), 6, *x.shape[2:]))


class Softmax(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 1), nn.Softmax(1), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 3, 1))


def test_what_cannot_be_cut_stays_whole_and_says_why():
    groups = find_groups(Written(), 8)
    assert groups.sizes() == {"conv": 6} and "writes a number of channels down" in groups.fixed["inner"]
    groups = find_groups(Softmax(), 8)
    assert groups.sizes() == {"2": 5} and "softmax runs over channels" in groups.fixed["0"]


def test_groups_do_not_depend_on_the_weights():
    model = TOYS["Tokens"]()
    broken = copy.deepcopy(model)
    for parameter in broken.parameters():
        parameter.data.fill_(float("nan"))  # as memory can hold it while a bundle is being loaded
    assert find_groups(broken, 8) == find_groups(model, 8)


@pytest.mark.parametrize(
    ("name", "sizes", "members"),
    [
        ("Grouped", {"conv": 4, "shares": 6, "point": 8}, {"shares": ("conv", "out"), "whole": ("point", "out")}),
        ("Tokens", {"patches": 10, "fc1": 8}, {"positions": ("patches", "out"), "norm2": ("patches", "out")}),
        ("Padded", {"conv": 8, "conv1": 16}, {"conv2": ("conv", "out")}),
        ("Filter", {"patches": 8}, {"weight": ("patches", "out")}),
    ],
)
def test_couplings_of_every_kind(name, sizes, members):
    groups = {group.name: group for group in groups_of(name)}
    assert {n: g.size for n, g in groups.items()} == sizes
    for layer, (group, side) in members.items():
        assert layer in {m.layer for m in groups[group].members}, side


def test_padding_of_a_fixed_width_stays():
    """Channels 4 to 11 of the wide stream are those of the shortcut, the others meet zeros and cannot go."""
    (member,) = [m for m in groups_of("Padded")[0].members if (m.layer, m.side) == ("conv2", "out")]
    assert member.index.ravel().tolist() == list(range(4, 12))
    assert "fixed number" in groups_of("Padded").fixed["conv2"]


def test_a_member_says_in_which_dimension_its_channels_stand():
    axes = {m.layer: m.axis for m in groups_of("Tokens")[0].members}
    assert axes["patches"] == 1 and axes["fc1"] == axes["norm1"] == -1
    assert (axes["positions"], axes["scale"]) == (2, 0)
    assert {m.layer: m.axis for m in groups_of("Filter")[0].members}["weight"] == 2


def test_networks_that_do_not_run_are_refused():
    with pytest.raises(ModelError, match="could not be traced with an image of 9 pixels"):
        find_groups(Flatten(), 9)
    with pytest.raises(ModelError, match="no convolution"):
        find_groups(nn.Sequential(nn.ReLU()), 8)
    with pytest.raises(ModelError, match="at least 32x32"):
        find_groups(create_model("vgg16", 4, width=0.125), 16)


def test_a_pruned_network_has_groups_of_its_own():
    from rsprune_lib.pruning import Plan, apply

    model = course_model("resnet18")
    groups = find_groups(model)
    plan = Plan(groups.model, {g.name: tuple(range(0, g.size, 2)) for g in groups}, groups.sizes())
    halves = find_groups(apply(model, plan, groups)).sizes()
    assert halves == {name: size // 2 for name, size in groups.sizes().items()}


def test_groups_are_plain_values():
    member = Member("conv", "conv", "out", ((0,), (1,)))
    assert Group("conv", 2, (member,)) == Group("conv", 2, (Member("conv", "conv", "out", ((0,), (1,))),))
    assert len({member, Member("conv", "conv", "out", ((0,), (1,)))}) == 1
