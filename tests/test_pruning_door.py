"""The one call: fold, score, choose, cut, repair, with everything to be overridden."""

import pytest
import torch

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError, PlanError, RspruneError
from rsprune_lib.measure import cost
from rsprune_lib.models import create_model
from rsprune_lib.pruning.criteria.gates import fold, gate_statistics
from rsprune_lib.pruning.criteria.registry import CRITERIA, score
from rsprune_lib.pruning.prune import prune
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, sequential
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


def test_images_and_seed_reach_their_places(tiny_data):
    model = create_model("resnet18", 4, width=0.125, seed=0).eval()
    few, options = Batches(tiny_data, "train", limit=8), {"images": 8, "progress": False}
    done = prune(model, tiny_data, criterion="taylor", ratio=0.5, recovery="none", **options)
    given = {"groups": done.groups, "progress": False}
    wanted = score(model, criterion="taylor", data=few, **given).values
    assert all(torch.equal(value, wanted[name]) for name, value in done.scores.values.items())
    drawn = prune(model, tiny_data, criterion="random", ratio=0.5, recovery="none", seed=3, **options).scores
    wanted = score(model, criterion="random", seed=3, **given).values
    assert all(torch.equal(value, wanted[name]) for name, value in drawn.values.items())
    plan, small = done.plan, apply(model, done.plan, done.groups)
    found = prune(model, tiny_data, plan=plan, **options).model
    assert _same(found, sequential(model, small, plan, few, **given))
    found = prune(model, tiny_data, plan=plan, recovery="bn", **options).model
    assert _same(found, reestimate_bn(small, few, progress=False))


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
        ({"ratio": float("nan")}, PlanError, "ratio"),
        ({"macs": -1}, PlanError, "above 0"),
        ({"macs": 10}, PlanError, "cannot be reached"),
        ({"threshold": float("inf")}, PlanError, "finite"),
        ({"ratio": 0.5, "scope": "globl"}, RspruneError, "did you mean 'global'"),
        ({"ratio": 0.5, "options": {"consumers": True}}, RspruneError, "Unknown option of criterion attention"),
        ({"ratio": 0.5, "choosing": {"multiple_of": 1000}}, PlanError, "widest group has 64 channels"),
        ({"ratio": 0.5, "choosing": {"multiple_of": 0}}, PlanError, "multiple_of must be"),
        ({"ratio": 0.5, "choosing": {"min_keep": -1}}, PlanError, "min_keep must be"),
        ({"ratio": 0.5, "choosing": {"locked": ["conv9"]}}, RspruneError, "did you mean 'conv1'"),
        ({"ratio": 0.5, "choosing": {"lest": 1}}, RspruneError, "Unknown argument of choose 'lest'"),
        ({"ratio": 0.5, "choosing": {"normalise": "men"}}, RspruneError, "did you mean 'mean'"),
        ({"criterion": "similarity", "threshold": 2}, PlanError, "above 0 and at most 1"),
        ({"criterion": "similarity", "threshold": float("nan")}, PlanError, "finite"),
        ({"criterion": "similarity", "threshold": 0.7, "options": {"selector": "papr"}}, RspruneError, "'paper'"),
        ({"criterion": "similarity", "threshold": 0.7, "options": {"selector": "core"}}, PlanError, "needs rank"),
        ({"criterion": "similarity", "threshold": 0.7, "options": {"rank": "l3"}}, RspruneError, "did you mean"),
        ({"criterion": "similarity", "threshold": 0.7, "choosing": {"least": 2}}, PlanError, r"must be from 0 to 1"),
        ({"criterion": "similarity", "threshold": 0.7, "choosing": {"multiple_of": 8}}, RspruneError, "One threshold"),
    ],
)
def test_bad_arguments_are_told_before_an_image_is_seen(wrong, kind, sentence, tiny_se, tiny_data, monkeypatch):
    def seen(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(Batches, "epoch", seen)
    with pytest.raises(kind, match=sentence) as caught:
        prune(tiny_se, tiny_data, progress=False, **wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18_se", "vgg16"])
def test_a_pruned_network_is_pruned_again(name, tiny_data, tmp_path):
    model = create_model(name, 4, width=0.25, seed=0).eval()
    given = {"criterion": "l1", "images": 8, "recovery": "none", "progress": False}
    once = prune(model, tiny_data, ratio=0.5, **given)
    twice = prune(once.model, tiny_data, ratio=0.5, first=once.plan, **given)
    thrice = prune(twice.model, tiny_data, ratio=0.999, first=twice.plan, **given)
    for done in (twice, thrice):
        assert done.plan.sizes == once.plan.sizes, "it speaks of the first network"
        assert all(set(done.plan.keep[group]) < set(kept) for group, kept in once.plan.keep.items() if len(kept) > 1)
        folder = tmp_path / str(id(done))
        save_bundle(folder, done.model, plan=done.plan, data=None, provenance={}, measured={})
        assert _same(load_bundle(folder).model, done.model)
    assert set(thrice.plan.widths.values()) == {1}
    given["recovery"] = "closed_form" if name == "resnet18_se" else "bn"
    same = prune(thrice.model, tiny_data, ratio=0.5, first=thrice.plan, **given)
    assert same.plan.keep == thrice.plan.keep, "one channel stays"


def test_a_plan_that_could_not_be_saved_is_found_before_the_work(tiny_se, tiny_data, monkeypatch):
    first = prune(tiny_se, tiny_data, criterion="l2", ratio=0.5, images=8, recovery="none", progress=False)
    monkeypatch.setattr(Batches, "epoch", lambda *_: pytest.fail("the work began"))
    with pytest.raises(PlanError, match="not for the network that the first one leaves"):
        prune(tiny_se, tiny_data, criterion="l2", ratio=0.5, first=first.plan, progress=False)
    with pytest.raises(PlanError, match="use the unpruned network"):
        prune(first.model, tiny_data, plan=first.plan, first=first.plan, progress=False)


def test_network_and_data_must_fit(tiny_data):
    with pytest.raises(ModelError, match="10 classes apart"):
        prune(create_model("resnet18", 10, width=0.125), tiny_data, criterion="l2", ratio=0.5, progress=False)
