"""A network with exits as it runs: what it answers, costs and takes."""

import pytest
import torch
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import (
    EarlyExit,
    ExitRule,
    cost,
    exit_costs,
    latencies_on,
    layer_costs,
    leaving,
    measure_leaving,
    outcome,
    predict,
)  # fmt: skip
from rsprune_lib.measure.latency import Pass
from rsprune_lib.models import add_exits, create_model, run_early


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return add_exits(create_model("resnet18", 4, width=0.125), ["layer1", "layer2"]).eval()


def test_an_early_exit_network_answers_as_the_early_pass_does(model):
    images, rule = torch.randn(12, 3, 32, 32), ExitRule("margin", (0.02, 0.05))
    early, network = run_early(model, images, rule.leave()), EarlyExit(model, rule)
    assert torch.equal(network(images), early.logits)
    assert torch.equal(network.left, early.exit)
    assert len(set(network.left.tolist())) > 1
    with pytest.raises(RspruneError, match="1 thresholds, but the network has 2"):
        EarlyExit(model, ExitRule("margin", (0.5,)))
    with pytest.raises(RspruneError, match="1 thresholds, but the network has 0"):
        EarlyExit(nn.Linear(2, 2), ExitRule("margin", (0.5,)))


def test_costs_of_exits_count_what_was_computed_up_to_there(model):
    costs = exit_costs(model, 32)
    layers = {row.name: row.macs for row in layer_costs(model, 32)}
    before = {"layer1": ("conv1", "layer1"), "layer2": ("conv1", "layer1", "layer2")}
    heads = [layers["exits.heads.0.fc"], layers["exits.heads.1.fc"]]
    for number, place in enumerate(("layer1", "layer2")):
        backbone = sum(macs for name, macs in layers.items() if name.startswith(before[place]))
        assert costs[number] == backbone + sum(heads[: number + 1])
    assert costs[2] == cost(model, 32).macs == sum(layers.values())


def test_time_is_a_mean_over_the_images(monkeypatch):
    """A median or a minimum would say that hard images cost nothing."""
    seconds = {0.0: 0.001, 1.0: 0.009}
    took = lambda _network, images: Pass(seconds[images.mean().item()], seconds[images.mean().item()])  # noqa: E731
    monkeypatch.setattr(leaving, "timed", took)
    images = (torch.arange(40) % 4 == 0).float().view(40, 1, 1, 1)  # one in four is hard
    (found,) = latencies_on([nn.Conv2d(1, 1, 1)], images, rounds=5)
    assert found.rounds_ms == pytest.approx([3.0] * 5)
    assert found.median_ms == pytest.approx(1.0)
    assert not found.busy


def test_all_networks_see_the_same_images():
    one, other = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    images = torch.arange(44.0).view(44, 1, 1, 1)
    kept = []  # a copy is timed: what it saw is noted outside
    for number, network in enumerate((one, other)):
        network.forward = lambda x, number=number: kept.append((number, tuple(x.flatten().tolist()))) or x
    found = latencies_on([one, other], images, batch=4, rounds=3)
    assert [took.batch for took in found] == [4, 4]
    seen = [[x for own, x in kept if own == number] for number in (0, 1)]
    assert seen[0] == seen[1]
    assert sorted({x for batch in seen[0] for x in batch}) == list(range(36))  # whole rounds only
    with pytest.raises(RspruneError, match="Got 8 images for 3 rounds of batches of 4"):
        latencies_on([one], images[:8], batch=4, rounds=3)


def test_rows_of_networks_with_exits_hold_the_mean_macs_of_their_images(tiny_data):
    torch.manual_seed(0)
    plain = create_model("resnet18", tiny_data.num_classes, width=0.125).eval()
    model = add_exits(plain, ["layer1", "layer3"]).eval()
    batches, size = Batches(tiny_data, "val", 4), tiny_data.image_size
    costs = exit_costs(model, size)
    records, labels = predict(model, batches, progress=False)
    cut = records[:, 0].softmax(1).max(1).values.median().item()  # half of them leave at the first exit
    rule = ExitRule("max_probability", (cut, 2.0))
    rows = measure_leaving({"plain": plain, "early": EarlyExit(model, rule)}, batches, images=8, progress=False)
    found = outcome(records, labels, costs, rule)
    assert rows[0].macs == cost(plain, size).macs and rows[0].speed is None
    assert rows[1].macs == pytest.approx(found.cost * costs[-1], abs=1) and costs[0] < rows[1].macs < costs[-1]
    assert rows[1].accuracy == pytest.approx(found.accuracy) and rows[1].n == len(labels)
    assert rows[1].speed and rows[1].batch == 1 and rows[1].part == "val"
