"""The criterion that looks at the reconstruction: its order is that of least squares, its price that of the MACs."""

import pytest
import torch
from pruning_toys import Concat, course_model, lively
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import layer_costs
from rsprune_lib.models import create_model
from rsprune_lib.pruning import apply, choose, find_groups, plan_cost, score, sequential


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _two_layers(width=7):
    """Channels that depend on each other, read by a 1 x 1 convolution, with a norm behind each layer."""
    model = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 5, 1), nn.BatchNorm2d(5)
    )
    for number, module in enumerate(model):
        if isinstance(module, nn.Conv2d):
            module.weight.data = _noise(*module.weight.shape, seed=number)
    return lively(model)


def _images(count=3, size=9):
    return [(_noise(8, 3, size, size, seed=seed), torch.zeros(8)) for seed in range(count)]


def _lost(x, sent, kept):
    """Squared error of the best linear prediction of what the reader sends on, from the kept channels and a one."""
    seen = torch.cat([x[:, kept], torch.ones(len(x), 1)], 1).double()
    return float((sent - seen @ torch.linalg.lstsq(seen, sent).solution).square().sum())


def test_channels_go_in_the_order_of_least_squares_and_score_what_they_add():
    model, images = _two_layers(), _images()
    x = torch.cat([model[:3](image) for image, _ in images]).transpose(0, 1).flatten(1).T.detach()
    sent = torch.cat([model(image) for image, _ in images]).transpose(0, 1).flatten(1).T.detach().double()
    whole = float((sent - sent.mean(0)).square().sum())
    values = score(model, find_groups(model, 9), "reconstruction", data=images, per="channel", progress=False).values
    left, before, order, added = list(range(7)), 0.0, [], []
    while left:  # by brute force
        lost = {number: _lost(x, sent, [c for c in left if c != number]) / whole for number in left}
        gone = min(lost, key=lost.get)
        left.remove(gone)
        order.append(gone)
        added.append(lost[gone] - before)
        before = lost[gone]
    found = values["0"]
    assert found.argsort(stable=True).tolist() == order
    wanted = torch.tensor(added).cummax(0).values
    torch.testing.assert_close(found[order], wanted.float(), rtol=2e-2, atol=1e-3)  # but for the damping


def test_of_two_equal_channels_one_costs_nothing():
    model = _two_layers()
    for module in model[:2]:
        for value in (*module.parameters(), *(b for b in module.buffers() if b.dim())):
            value.data[4] = value.data[2]
    found = score(model, find_groups(model, 9), "reconstruction", data=_images(), progress=False).values["0"]
    first = int(found.argmin())
    assert first in (2, 4) and found[first] < 1e-3 * found.median() and found[6 - first] > 0.01 * found.median()


def test_all_readers_of_a_group_count():
    """A channel that one layer does not read is worth what another reads of it."""
    model = course_model("resnet18")
    groups = find_groups(model, 32)
    stream = next(group for group in groups if group.name == "layer1.0.conv2" or group.name == "conv1")
    readers = [m.layer for m in stream.members if m.side == "in" and m.kind == "conv"]
    assert len(readers) > 2
    for name in readers[:-1]:
        model.get_submodule(name).weight.data[:, 1] = 0
    images = [(_noise(16, 3, 32, 32), torch.zeros(16))]
    read = score(model, groups, "reconstruction", data=images, progress=False).values[stream.name]
    model.get_submodule(readers[-1]).weight.data[:, 1] = 0
    unread = score(model, groups, "reconstruction", data=images, progress=False).values[stream.name]
    assert int(unread.argmin()) == 1 and unread[1] < 1e-9
    assert read[1] > 1e-6


def test_errors_per_macs_are_those_per_channel_over_the_share_of_the_macs(tiny_se, tiny_data):
    plain = create_model("resnet18", 4, width=0.125)
    groups, batches = find_groups(plain, 32), Batches(tiny_data, "train", 16)
    own, priced = (
        score(tiny_se, groups, "reconstruction", data=batches, per=per, progress=False).values
        for per in ("channel", "macs")
    )
    costs, sizes = layer_costs(plain, 32), {g.name: g.size for g in groups}
    whole = plan_cost(costs, groups, sizes).macs
    for group in groups:
        share = 100 * (1 - plan_cost(costs, groups, sizes | {group.name: group.size - 1}).macs / whole)
        torch.testing.assert_close(priced[group.name] * share, own[group.name])


def test_what_no_layer_reads_is_judged_by_itself_and_concatenated_channels_by_their_readers():
    images = [(_noise(16, 3, 9, 9), torch.zeros(16))]
    joined = lively(Concat())
    values = score(joined, find_groups(joined, 9), "reconstruction", data=images, progress=False).values
    assert all(len(set(vector.tolist())) > 1 for vector in values.values()) and set(values) >= {"a", "b"}


def test_it_beats_chance_and_an_unknown_unit_is_refused():
    dense = course_model("resnet18")
    groups = find_groups(dense, 32)
    images = [(_noise(32, 3, 32, 32, seed=seed), torch.zeros(32)) for seed in range(4)]
    error = {}
    for criterion in ("reconstruction", "random"):
        plan = choose(score(dense, groups, criterion, data=images, progress=False), groups, ratio=0.5)
        small = sequential(dense, apply(dense, plan, groups), plan, images, groups=groups, progress=False)
        error[criterion] = float((small(images[0][0]) - dense(images[0][0])).detach().square().mean())
    assert error["reconstruction"] < error["random"]
    with pytest.raises(RspruneError, match=r"'params'.*macs, channel"):
        score(dense, groups, "reconstruction", data=images, per="params")
