"""Looking inside: gates of single images, frozen gates, drift of changed networks, distinctness of scores."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.explain import GateValues, drift, frozen, gate_values, gini, kept_overlap, rank_correlation, variation
from rsprune_lib.models import create_model
from rsprune_lib.pruning.criteria.gates import fold, gate_statistics


@pytest.fixture
def batches(tiny_data):
    return Batches(tiny_data, "train", 16)


@pytest.fixture
def gates(tiny_se, batches):
    return gate_statistics(tiny_se, batches, progress=False)


@pytest.fixture
def values(tiny_se, batches):
    return gate_values(tiny_se, batches, progress=False)


def test_values_average_to_the_statistics(values, gates, tiny_data):
    assert list(values.values) == list(gates.mean)
    for norm, value in values.values.items():
        assert value.shape == (len(tiny_data.split.train), len(gates.mean[norm]))
        torch.testing.assert_close(value.double().mean(0), gates.mean[norm])
        torch.testing.assert_close(value.double().var(0, correction=0), gates.var[norm], atol=1e-9, rtol=1e-4)


def test_values_of_one_image_are_the_gate_of_its_features(tiny_se, tiny_data):
    batch = Batches(tiny_data, tiny_data.split.val[:1])
    values = gate_values(tiny_se, batch, progress=False)
    features = tiny_se.relu(tiny_se.bn1(tiny_se.conv1(next(iter(batch))[0])))
    torch.testing.assert_close(values.values["bn1"], tiny_se.se1.gate(features).detach())
    assert values.labels.tolist() == tiny_data.labels[tiny_data.split.val[:1]].tolist()


def test_class_means(values):
    mine = values.labels == 2
    expected = values.values["bn1"][mine].double().mean(0)
    torch.testing.assert_close(values.by_class("bn1", 4)[2], expected)
    assert values.by_class("bn1", 5)[4].isnan().all()


def test_spread_splits_the_variance_over_images():
    gates = torch.rand(30, 7, generator=torch.Generator().manual_seed(0)).double()
    values = GateValues({"bn1": gates}, torch.arange(30) % 4)
    spread = values.spread("bn1")
    assert spread.mean == pytest.approx(gates.mean().item())
    assert spread.images == pytest.approx(gates.var(0, correction=0).mean().sqrt().item())
    within = sum((gates[values.labels == k].var(0, correction=0) * (values.labels == k).sum()).sum() for k in range(4))
    assert spread.classes == pytest.approx(1 - within.item() / (spread.images**2 * gates.numel()))


def test_a_gate_that_never_moves_has_no_class_share(tiny_se, batches):
    nn.init.zeros_(tiny_se.se1.fc2.weight)
    spread = gate_values(tiny_se, batches, progress=False).spread("bn1")
    assert (spread.images, spread.classes) == (0.0, 0.0)


def test_frozen_gates_are_the_folded_network(tiny_se, batches, gates):
    images = next(iter(batches))[0]
    with torch.no_grad():
        live = tiny_se(images)
        with frozen(tiny_se, gates):
            held = tiny_se(images)
        assert (fold(tiny_se, gates)(images) - held).abs().max() < 1e-5
        assert (live - held).abs().max() > 1e-3
        torch.testing.assert_close(tiny_se(images), live)  # live again


def test_freezing_one_gate_leaves_the_others_live(tiny_se, batches, gates):
    images = next(iter(batches))[0]
    seen = {}
    for block in ("se1", "layer1.0.se1"):
        tiny_se.get_submodule(block).register_forward_hook(
            lambda _m, x, out, b=block: seen.update({b: (out / x[0]).nan_to_num()})
        )
    with torch.no_grad(), frozen(tiny_se, gates, only=["bn1"]):
        tiny_se(images)
    alive = {block: ratio.amax((2, 3)).std(0).max() for block, ratio in seen.items()}
    assert alive["se1"] < 1e-6 < 1e-4 < alive["layer1.0.se1"]


def test_frozen_gates_come_back_after_an_error(tiny_se, gates):
    with pytest.raises(KeyboardInterrupt), frozen(tiny_se, gates):
        raise KeyboardInterrupt
    assert not tiny_se.se1.sigmoid._forward_hooks


def test_unknown_gate_and_network_without_gates(tiny_se, gates, batches):
    with pytest.raises(RspruneError, match=r"layer1\.0\.bn1"), frozen(tiny_se, gates, only=["layer1.0.bn7"]):
        pass
    with pytest.raises(ModelError, match="no live SE block"):
        gate_values(create_model("resnet18", 4, width=0.125), batches)
    with pytest.raises(ModelError, match="no image"):
        gate_values(tiny_se, [])


def test_drift_of_the_network_itself_is_none(tiny_se, batches):
    found = drift(tiny_se, {"same": tiny_se}, batches)["same"]
    assert len(found) == 17
    for place in found.values():
        assert (place.scale, place.error) == pytest.approx((1, 0))
        assert place.floor < 1e-3


def test_a_doubled_gate_drifts_by_its_factor_and_a_norm_could_repair_it(tiny_se, batches):
    louder = copy.deepcopy(tiny_se)
    louder.layer4[1].bn2.weight.data *= 2
    louder.layer4[1].bn2.bias.data *= 2
    gates = gate_statistics(tiny_se, batches, progress=False)
    with frozen(louder, gates, only=["layer4.1.bn2"]), frozen(tiny_se, gates, only=["layer4.1.bn2"]):
        place = drift(tiny_se, {"louder": louder}, batches)["louder"]
    assert place["layer4.1.bn1"].scale == pytest.approx(1)
    assert place["layer4.1.bn2"].scale == pytest.approx(2, rel=1e-4)
    assert place["layer4.1.bn2"].error == pytest.approx(1, rel=1e-4)
    assert place["layer4.1.bn2"].floor < 1e-3


def test_drift_compares_like_with_like(tiny_se, batches, gates):
    folded = fold(tiny_se, gates)
    found = drift(tiny_se, {"folded": folded}, batches)["folded"]
    assert all(0 < place.floor <= place.error for place in found.values())
    with pytest.raises(ModelError, match="not pruned"):
        drift(tiny_se, {"wide": create_model("resnet18", 4, width=0.25)}, batches)
    with pytest.raises(ModelError, match="no live SE block"):
        drift(folded, {"same": folded}, batches)
    with pytest.raises(ModelError, match="no image"):
        drift(tiny_se, {"folded": folded}, [])


def test_gini_and_variation_by_hand():
    assert gini(torch.ones(5)) == pytest.approx(0)
    assert gini(torch.tensor([0.0, 0.0, 0.0, 1.0])) == pytest.approx(3 / 4)
    x = torch.tensor([1.0, 3.0, 4.0, 8.0])
    pairs = np.abs(x.numpy()[:, None] - x.numpy()).mean()
    assert gini(x) == pytest.approx(pairs / 2 / 4)
    assert variation(x) == pytest.approx(np.std(x.numpy()) / 4)
    assert gini(10 * x) == pytest.approx(gini(x))


def test_rank_correlation_and_overlap():
    x = torch.arange(10.0)
    assert rank_correlation(x, x**3) == pytest.approx(1)
    assert rank_correlation(x, -x) == pytest.approx(-1)
    assert kept_overlap(x, x**3, 0.7) == 1
    assert kept_overlap(x, -x, 0.7) == 0
    assert kept_overlap(x, x.roll(1), 0.7) == pytest.approx(2 / 3)
    assert kept_overlap(torch.ones(10), -x, 0.7) == 1  # of equal scores the lower index stays


def test_bad_scores_get_a_sentence():
    for bad in (torch.tensor([1.0]), torch.tensor([1.0, float("nan")])):
        with pytest.raises(RspruneError, match="at least 2"):
            variation(bad)
    with pytest.raises(RspruneError, match="magnitudes"):
        gini(torch.tensor([-1.0, 2.0]))
