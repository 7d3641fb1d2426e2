"""The one call: fold, score, choose, cut, repair, with everything to be overridden."""

import pytest
import torch

from rsprune_lib.errors import ModelError, PlanError, RspruneError
from rsprune_lib.measure import cost
from rsprune_lib.models import create_model
from rsprune_lib.pruning.calibration import Stopped
from rsprune_lib.pruning.criteria.gates import fold, gate_statistics
from rsprune_lib.pruning.prune import prune
from rsprune_lib.pruning.scores import CRITERIA
from rsprune_lib.pruning.surgery import apply


def _same(one, two):
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_default_is_attention_local_and_closed_form(tiny_se, tiny_data):
    before = {name: value.clone() for name, value in tiny_se.state_dict().items()}
    done = prune(tiny_se, tiny_data, ratio=0.5, progress=False)
    assert done.scores.criterion == "attention" and done.plan.how["scope"] == "local"
    assert set(done.plan.widths.values()) == {4, 8, 16, 32}
    assert done.gates.count == len(tiny_data.split.train)
    assert not done.model.training and done.model.config["name"] == "resnet18"
    raw = prune(tiny_se, tiny_data, ratio=0.5, recovery="none", gates=done.gates, progress=False)
    assert _same(raw.model, apply(fold(tiny_se, done.gates), raw.plan))
    images = torch.from_numpy(tiny_data.images[tiny_data.split.train]).permute(0, 3, 1, 2) / 255.0
    with torch.no_grad():
        error = [(model(images) - tiny_se(images)).square().mean() for model in (done.model, raw.model)]
    assert error[0] < error[1]
    assert all(torch.equal(value, before[name]) for name, value in tiny_se.state_dict().items())


def test_batch_norm_alone(tiny_se, tiny_data):
    gates = gate_statistics(tiny_se, [(torch.randn(4, 3, 32, 32), torch.zeros(4))], progress=False)
    options = {"ratio": 0.5, "gates": gates, "images": 20, "progress": False}
    raw, again = (prune(tiny_se, tiny_data, recovery=how, **options).model for how in ("none", "bn"))
    assert torch.equal(raw.conv1.weight, again.conv1.weight)
    assert not torch.equal(raw.bn1.running_mean, again.bn1.running_mean)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"attention"}))
def test_every_criterion_on_a_plain_network(criterion, tiny_data):
    model = create_model("vgg16", 4, width=0.125, seed=0).eval()
    options = {"criterion": criterion, "scope": "global", "images": 16, "progress": False}
    done = prune(model, tiny_data, ratio=0.4, recovery="none", **options)
    assert done.gates is None and done.plan.how["criterion"] == criterion
    assert sum(done.plan.widths.values()) == int(sum(group.size for group in done.groups) * 0.6)


def test_a_macs_budget_and_options_reach_their_places(tiny_se, tiny_data):
    dense = cost(create_model("resnet18", 4, width=0.125), 32).macs
    done = prune(
        tiny_se,
        tiny_data,
        macs=dense / 2,
        scope="global",
        recovery="none",
        images=16,
        options={"mode": "paper"},
        choosing={"multiple_of": 4},
        progress=False,
    )
    assert cost(done.model, 32).macs <= dense / 2
    assert all(width % 4 == 0 for width in done.plan.widths.values())


def test_a_similarity_graph_decides_under_a_threshold_and_a_global_budget(tiny_se, tiny_data):
    given = {"criterion": "similarity", "images": 16, "recovery": "none", "progress": False}
    done = prune(tiny_se, tiny_data, threshold=0.6, options={"selector": "scored", "rank": "attention"}, **given)
    assert done.scores is None and done.plan.how["selector"] == "scored" and done.plan.how["rank"] == "attention"
    assert done.plan.how["images"] == 16 and 0 < cost(done.model, 32).macs < cost(tiny_se, 32).macs
    given["options"] = {"selector": "dominating"}
    small = prune(tiny_se, tiny_data, macs=1e6, scope="global", choosing={"least": 0.1}, **given)
    wide = prune(tiny_se, tiny_data, ratio=0.5, choosing={"multiple_of": 4}, **given).plan
    assert set(wide.widths.values()) == {4, 8, 16, 64} and wide.how["scope"] == "local", "maps of one pixel stay whole"
    with pytest.raises(RspruneError, match="'normalise'"):
        prune(tiny_se, tiny_data, macs=1e6, scope="global", choosing={"normalise": "mean"}, **given)
    del given["options"]
    assert small.plan.how["selector"] == "dominating" and cost(small.model, 32).macs == small.plan.how["reached"] <= 1e6
    share = prune(tiny_se, tiny_data, ratio=0.5, options={"rank": "l1"}, **given)
    assert share.scores.criterion == "similarity" and set(share.plan.widths.values()) == {4, 8, 16, 32}
    for wrong, sentence in (({"mode": "paper"}, "makers"), ({"selector": "scord"}, "scored")):
        with pytest.raises(RspruneError, match=sentence):
            prune(tiny_se, tiny_data, threshold=0.6, options=wrong, **given)
    with pytest.raises(RspruneError, match="cannot keep multiples"):
        prune(tiny_se, tiny_data, threshold=0.6, choosing={"multiple_of": 8}, **given)


def test_a_finished_plan_is_replayed(tiny_se, tiny_data):
    first = prune(tiny_se, tiny_data, criterion="l2", ratio=0.5, images=16, progress=False)
    again = prune(
        tiny_se, tiny_data, plan=first.plan, gates=first.gates, groups=first.groups, images=16, progress=False
    )
    assert again.scores is None and again.plan is first.plan
    assert _same(first.model, again.model)


@pytest.mark.parametrize(
    ("wrong", "kind", "sentence"),
    [
        ({"ratio": 0.5, "recovery": "bm"}, RspruneError, "Unknown recovery"),
        ({"ratio": 0.5, "criterion": "atention"}, RspruneError, "did you mean 'attention'"),
        ({"ratio": 1.0}, PlanError, "ratio"),
        ({}, PlanError, "one amount"),
        ({"ratio": 0.5, "images": 0}, RspruneError, "at least 1"),
    ],
)
def test_bad_arguments_are_one_sentence(wrong, kind, sentence, tiny_se, tiny_data):
    with pytest.raises(kind, match=sentence):
        prune(tiny_se, tiny_data, progress=False, **wrong)


def test_network_and_data_must_fit(tiny_data):
    with pytest.raises(ModelError, match="10 classes apart"):
        prune(create_model("resnet18", 10, width=0.125), tiny_data, criterion="l2", ratio=0.5, progress=False)


def test_it_can_be_stopped(tiny_data):
    model = create_model("resnet18", 4, width=0.125, seed=0).eval()
    with pytest.raises(Stopped):
        prune(model, tiny_data, criterion="l2", ratio=0.5, progress=False, should_stop=lambda: True)
