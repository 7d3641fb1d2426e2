import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pruning_toys import groups_of, network, random_scores
from torch import nn

from rsprune_lib.errors import PlanError, RspruneError
from rsprune_lib.measure import layer_costs
from rsprune_lib.pruning import (
    CRITERIA,
    SCOPES,
    Group,
    Groups,
    Member,
    Plan,
    Scores,
    apply,
    choose,
    find_groups,
    normalised,
    plan_cost,
)

RESNET = groups_of("resnet18")
MODEL, SIZE = network("resnet18")
COSTS = layer_costs(MODEL, SIZE)
SCORES = random_scores(RESNET)


def toy_groups(*sizes):
    return Groups(
        Group(name, size, (Member(name, "conv", "out", tuple((i,) for i in range(size))),))
        for name, size in zip("abcdef", sizes, strict=False)
    )


def toy_scores(*vectors, criterion="attention"):
    return Scores(criterion=criterion, values=dict(zip("abcdef", map(torch.tensor, vectors), strict=False)))


def equal_scores(groups):
    return Scores(criterion="attention", values={g.name: torch.full((g.size,), 0.5) for g in groups})


def kept(plan):
    return {name: list(indices) for name, indices in plan.keep.items()}


# --- ratio ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "ratio", "left"),
    [
        (64, 0.7, 19),
        (128, 0.7, 38),
        (256, 0.7, 76),
        (512, 0.7, 153),
        (20, 0.9, 2),  # 20 * (1 - 0.9) is 1.9999999999999996
        (10, 0.9, 1),
        (100, 0.29, 71),
        (10, 0.7, 3),
        (3, 0.99, 1),
        (1, 0.5, 1),
        (8, 0, 8),
    ],
)
def test_a_ratio_leaves_the_floor_and_at_least_one(size, ratio, left):
    scores = toy_scores(np.random.default_rng(0).random(size))
    assert choose(scores, toy_groups(size), ratio=ratio).widths == {"a": left}


def test_the_best_stay():
    groups = toy_groups(4, 3)
    scores = toy_scores([0.1, 0.9, 0.2, 0.8], [5.0, 7.0, 6.0])
    assert kept(choose(scores, groups, ratio=0.5)) == {"a": [1, 3], "b": [1]}


def test_global_scope_keeps_the_best_of_all():
    scores = toy_scores([0.1, 0.9, 0.2, 0.8], [0.5, 0.95, 0.85])
    assert kept(choose(scores, toy_groups(4, 3), ratio=0.5, scope="global")) == {"a": [1], "b": [1, 2]}


def test_global_scope_redistributes_what_a_group_at_its_least_cannot_give():
    scores = toy_scores([0.01, 0.02, 0.03, 0.04], [0.5, 0.6, 0.7, 0.8])
    plan = choose(scores, toy_groups(4, 4), ratio=0.75, scope="global")
    assert kept(plan) == {"a": [3], "b": [3]}
    plan = choose(scores, toy_groups(4, 4), ratio=0.5, scope="global", min_keep=2)
    assert kept(plan) == {"a": [2, 3], "b": [2, 3]}
    assert choose(scores, toy_groups(4, 4), ratio=0.9, scope="global", min_keep=3).widths == {"a": 3, "b": 3}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.floats(0, 0.999), st.integers(0, 99))
def test_global_and_isomorphic_counts_are_exact_even_with_ties(sizes, ratio, seed):
    groups, random = toy_groups(*sizes), np.random.default_rng(seed)
    vectors = [random.integers(0, 3, size) / 4 for size in sizes]
    total = sum(sizes)
    asked = max(math.floor(total * (1 - ratio) + 1e-9), len(sizes))
    for scope in ("global", "isomorphic"):  # the toy groups all have one shape
        plan = choose(toy_scores(*vectors), groups, ratio=ratio, scope=scope)
        assert sum(plan.widths.values()) == asked


def test_isomorphic_scope_compares_groups_of_one_shape_only():
    scores = {g.name: torch.rand(g.size) for g in RESNET}
    inner = [g.name for g in RESNET if g.signature == RESNET[1].signature]
    scores["layer1.0.conv1"] += 10  # best of the inner convolutions
    plan = choose(Scores(criterion="attention", values=scores), RESNET, ratio=0.5, scope="isomorphic")
    assert plan.widths["layer1.0.conv1"] == 8
    assert sum(plan.widths[name] for name in inner) == sum(g.size for g in RESNET if g.name in inner) // 2
    assert plan.widths["conv1"] == 4  # alone in its class


def test_ratios_per_group():
    plan = choose(SCORES, RESNET, per_group={"conv1": 0.5, "layer4.1.conv1": 0.9})
    assert plan.widths == RESNET.sizes() | {"conv1": 4, "layer4.1.conv1": 6}
    plan = choose(SCORES, RESNET, ratio=0.25, per_group={"conv1": 0.0})
    assert plan.widths == {name: size * 3 // 4 for name, size in RESNET.sizes().items()} | {"conv1": 8}


def test_locked_groups_stay_whole_and_do_not_count():
    for scope in SCOPES:
        plan = choose(SCORES, RESNET, ratio=0.9, scope=scope, locked=["layer4.0.conv2", "conv1"])
        assert plan.widths["layer4.0.conv2"] == 64 and plan.widths["conv1"] == 8
    free = toy_groups(10, 10, 10)
    scores = toy_scores(*np.random.default_rng(0).random((3, 10)))
    assert sum(choose(scores, free, ratio=0.5, scope="global", locked=["b"]).widths.values()) == 10 + 10


def test_numbers_of_channels_end_at_multiples_or_the_group_stays_whole():
    groups = toy_groups(64, 20, 8, 5)
    scores = toy_scores(*(np.random.default_rng(n).random(size) for n, size in enumerate((64, 20, 8, 5))))
    assert choose(scores, groups, ratio=0.7, multiple_of=8).widths == {"a": 16, "b": 8, "c": 8, "d": 5}
    assert choose(scores, groups, ratio=0.4, multiple_of=8).widths == {"a": 40, "b": 16, "c": 8, "d": 5}
    assert choose(scores, groups, ratio=0.0, multiple_of=8).widths == {"a": 64, "b": 20, "c": 8, "d": 5}
    assert choose(scores, groups, ratio=0.99, multiple_of=8, min_keep=9).widths == {"a": 16, "b": 16, "c": 8, "d": 5}
    for scope in ("global", "isomorphic"):
        widths = choose(scores, groups, ratio=0.5, multiple_of=8, scope=scope).widths
        assert all(widths[g.name] % 8 == 0 or widths[g.name] == g.size for g in groups)
        assert abs(sum(widths.values()) - 48) <= 4


def test_a_step_of_several_channels_competes_with_the_best_of_them():
    scores = toy_scores([0.1, 0.8, 1.0, 1.1], [0.2, 0.3, 1.0, 1.2])
    plan = choose(scores, toy_groups(4, 4), ratio=0.25, scope="global", multiple_of=2)
    assert kept(plan) == {"a": [0, 1, 2, 3], "b": [2, 3]}, "0.8 is worth more than 0.3, though 0.1 is the least of all"


def test_a_multiple_that_only_a_locked_group_could_end_at_is_refused():
    scores = toy_scores([0.1] * 16, [0.1] * 4)
    assert choose(scores, toy_groups(16, 4), ratio=0.5, multiple_of=8).widths == {"a": 8, "b": 4}
    with pytest.raises(PlanError, match="multiple_of is 8, but the widest group has 4 channels"):
        choose(scores, toy_groups(16, 4), ratio=0.5, multiple_of=8, locked=["a"])


# --- invariants ----------------------------------------------------------------------------------------------------

scopes = st.sampled_from(SCOPES)
ratios = st.floats(0, 0.999)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 0.87), scopes)  # beyond, the small groups are at their least and the large ones make up for it
def test_equal_scores_prune_uniformly(ratio, scope):
    plan = choose(equal_scores(RESNET), RESNET, ratio=ratio, scope=scope)
    for group in RESNET:
        assert abs(plan.widths[group.name] - group.size * (1 - ratio)) <= 1 + 1e-9
        assert plan.keep[group.name] == tuple(range(plan.widths[group.name]))  # of equals the first stay


@pytest.mark.parametrize("scope", SCOPES)
def test_nothing_asked_is_nothing_done(scope):
    for amount in ({"ratio": 0}, {"threshold": -1.0}, {"macs": 1e12, "costs": COSTS}, {"per_group": {}}):
        if "per_group" not in amount or scope == "local":
            assert choose(SCORES, RESNET, scope=scope, **amount).widths == RESNET.sizes()


@settings(max_examples=20, deadline=None)
@given(ratios, ratios, scopes, st.sampled_from([1, 3, 8]), st.integers(1, 5))
def test_pruning_more_keeps_a_subset(one, other, scope, multiple_of, min_keep):
    options = {"scope": scope, "multiple_of": multiple_of, "min_keep": min_keep}
    more, less = (choose(SCORES, RESNET, ratio=r, **options) for r in sorted((one, other), reverse=True))
    assert all(set(more.keep[name]) <= set(less.keep[name]) for name in RESNET.sizes())
    assert min(more.widths.values()) >= min_keep


@settings(max_examples=20, deadline=None)
@given(ratios, scopes, st.integers(0, 1000))
def test_choosing_is_deterministic_and_only_order_counts_within_a_group(ratio, scope, seed):
    scores = random_scores(RESNET, seed)
    assert choose(scores, RESNET, ratio=ratio, scope=scope) == choose(scores, RESNET, ratio=ratio, scope=scope)
    cubed = Scores(criterion="attention", values={n: v**3 for n, v in scores.values.items()})
    assert choose(cubed, RESNET, ratio=ratio, scope=scope).keep == choose(scores, RESNET, ratio=ratio, scope=scope).keep


@settings(max_examples=20, deadline=None)
@given(ratios, scopes, st.integers(0, 1000))
def test_permuting_channels_only_relabels_them(ratio, scope, seed):
    scores, random = random_scores(RESNET, seed), np.random.default_rng(seed)
    orders = {g.name: random.permutation(g.size) for g in RESNET}  # new place -> old place
    moved = Scores(criterion="attention", values={n: v[orders[n]] for n, v in scores.values.items()})
    plan = choose(scores, RESNET, ratio=ratio, scope=scope)
    relabelled = {
        n: sorted(orders[n][list(k)]) for n, k in choose(moved, RESNET, ratio=ratio, scope=scope).keep.items()
    }
    assert relabelled == kept(plan)


# --- threshold -----------------------------------------------------------------------------------------------------


def test_a_threshold_removes_what_is_below_it_in_every_scope():
    scores = toy_scores([0.1, 0.5, 0.2, 0.8], [0.5, 0.4])
    for scope in SCOPES:
        assert kept(choose(scores, toy_groups(4, 2), threshold=0.5, scope=scope)) == {"a": [1, 3], "b": [0]}


def test_a_threshold_that_would_empty_a_layer_says_how_far_it_may_go():
    groups, scores = toy_groups(4, 2), toy_scores([0.1, 0.5, 0.2, 0.8], [1 / 3, 0.4])
    with pytest.raises(PlanError, match=r"threshold 0.45 would leave 0 of the 2 channels of 'b'.* threshold is 0.4\.$"):
        choose(scores, groups, threshold=0.45)
    with pytest.raises(PlanError, match=r"leave 1 of the 2 .*at least 2 must stay; .* threshold is 0.333333\.$"):
        choose(scores, groups, threshold=0.35, min_keep=2)
    assert choose(scores, groups, threshold=0.4).widths == {"a": 2, "b": 1}
    assert kept(choose(scores, groups, threshold=0.45, clip=True)) == {"a": [1, 3], "b": [1]}
    assert kept(choose(scores, groups, threshold=9, clip=True)) == {"a": [3], "b": [1]}
    assert choose(scores, groups, threshold=9, clip=True).how["clip"] is True
    assert choose(scores, groups, threshold=0.45, locked=["b"]).widths == {"a": 2, "b": 2}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_the_largest_possible_threshold_is_possible(values):
    scores, groups = toy_scores(values), toy_groups(len(values))
    assume(max(values) < 1e6)
    with pytest.raises(PlanError) as caught:
        choose(scores, groups, threshold=1e6, normalise="none")
    possible = float(str(caught.value).rstrip(".").rsplit(" ", 1)[1])
    assert choose(scores, groups, threshold=possible, normalise="none").widths["a"] >= 1
    assert possible <= max(values) <= possible + abs(possible) * 1e-5 + 1e-30


def test_thresholds_count_on_the_normalised_scale():
    scores = toy_scores([1.0, 2.0, 3.0, 6.0], [100.0, 300.0], criterion="l2")
    assert kept(choose(scores, toy_groups(4, 2), threshold=0.9)) == {"a": [2, 3], "b": [1]}
    assert kept(choose(scores, toy_groups(4, 2), threshold=2.0, normalise="none")) == {"a": [1, 2, 3], "b": [0, 1]}


# --- MACs ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.floats(0.15, 1.0), scopes, st.sampled_from([1, 4]))
def test_a_budget_is_kept_and_nearly_used(share, scope, multiple_of):
    full = plan_cost(COSTS, RESNET, RESNET.sizes()).macs
    options = {"scope": scope, "costs": COSTS, "multiple_of": multiple_of}
    plan = choose(SCORES, RESNET, macs=share * full, **options)
    reached = plan_cost(COSTS, RESNET, plan.keep).macs
    assert reached <= share * full and plan.how["reached"] == reached
    for group in RESNET:  # no group's next channels would still fit
        wider = min(group.size, plan.widths[group.name] + multiple_of)
        if wider > plan.widths[group.name]:
            assert plan_cost(COSTS, RESNET, plan.widths | {group.name: wider}).macs > share * full


@pytest.mark.parametrize("share", [0.3, 0.61, 0.87])
def test_what_comes_back_is_what_went_last(share):
    """The plain way: take the lowest off until the budget is met, then try each again, the last one first."""
    sizes, budget = RESNET.sizes(), share * plan_cost(COSTS, RESNET, RESNET.sizes()).macs
    order = sorted((float(v), n, i) for n, vector in SCORES.values.items() for i, v in enumerate(vector))
    widths, gone = dict(sizes), []
    for _, name, channel in order:
        if plan_cost(COSTS, RESNET, widths).macs <= budget:
            break
        if widths[name] > 1:
            widths[name] -= 1
            gone.append((name, channel))
    for name, channel in reversed(gone.copy()):
        if plan_cost(COSTS, RESNET, widths | {name: widths[name] + 1}).macs <= budget:
            widths[name] += 1
            gone.remove((name, channel))
    plan = choose(SCORES, RESNET, macs=budget, costs=COSTS, scope="global")
    assert kept(plan) == {n: [i for i in range(size) if (n, i) not in gone] for n, size in sizes.items()}


def test_a_budget_keeps_to_the_multiple_where_a_smaller_step_would_still_fit():
    """20 channels go to 16 and then to 8: where these 8 do not fit again, the 4 of the first step may not come back."""
    model = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(), nn.Conv2d(20, 20, 3), nn.ReLU(), nn.Conv2d(20, 4, 1)).eval()
    groups, costs = find_groups(model, 8), layer_costs(model, 8)
    full = plan_cost(costs, groups, groups.sizes()).macs
    for share in np.linspace(0.3, 1, 30):
        plan = choose(random_scores(groups), groups, macs=share * full, costs=costs, multiple_of=8)
        assert set(plan.widths.values()) <= {8, 16, 20}


def test_a_local_budget_is_one_ratio_for_all():
    full = plan_cost(COSTS, RESNET, RESNET.sizes()).macs
    plan = choose(SCORES, RESNET, macs=0.3 * full, costs=COSTS)
    ratio = 1 - plan.widths["layer4.0.conv1"] / 64
    assert all(abs(plan.widths[g.name] - g.size * (1 - ratio)) <= 3 for g in RESNET)


def test_a_global_budget_is_one_cut():
    full = plan_cost(COSTS, RESNET, RESNET.sizes()).macs
    plan = choose(SCORES, RESNET, macs=0.3 * full, costs=COSTS, scope="global")
    lowest_kept = min(float(SCORES.values[n][list(k)].min()) for n, k in plan.keep.items() if len(k) > 1)
    gone = [float(v) for n, vector in SCORES.values.items() for i, v in enumerate(vector) if i not in plan.keep[n]]
    assert sum(v > lowest_kept for v in gone) <= len(RESNET)  # but for what came back in the end


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("scope", SCOPES)
def test_the_exact_budget_of_a_ratio_gives_the_plan_of_that_ratio(ratio, scope):
    plan = choose(SCORES, RESNET, ratio=ratio, scope=scope)
    macs = plan_cost(COSTS, RESNET, plan.keep).macs
    assert choose(SCORES, RESNET, macs=macs, costs=COSTS, scope=scope).keep == plan.keep


def test_an_impossible_budget_names_the_smallest():
    least = plan_cost(COSTS, RESNET, dict.fromkeys(RESNET.sizes(), 1)).macs
    with pytest.raises(PlanError, match=rf"budget of 10 MACs cannot be reached; .* is {least:,}\."):
        choose(SCORES, RESNET, macs=10, costs=COSTS)
    assert set(choose(SCORES, RESNET, macs=least, costs=COSTS).widths.values()) == {1}
    with pytest.raises(PlanError, match="cannot be reached"):
        choose(SCORES, RESNET, macs=least, costs=COSTS, min_keep=2)
    with pytest.raises(PlanError, match="pass costs=layer_costs"):
        choose(SCORES, RESNET, macs=1e6)


# --- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1, 1.0, -0.1, 1.5, math.nan, math.inf, "0.5", True, None])
def test_ratios_outside_their_range_are_refused(ratio):
    with pytest.raises(PlanError, match="at least 0 and below 1|needs one amount"):
        choose(SCORES, RESNET, ratio=ratio)
    with pytest.raises(PlanError, match="The ratio of group 'conv1' must be"):
        choose(SCORES, RESNET, per_group={"conv1": ratio})


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({}, PlanError, "needs one amount.* but got none"),
        ({"ratio": 0.5, "macs": 1e6}, PlanError, "but got ratio and macs"),
        ({"threshold": 0.1, "per_group": {}}, PlanError, "but got threshold and per_group"),
        ({"threshold": math.nan}, PlanError, "threshold must be a finite number"),
        ({"macs": 0}, PlanError, "macs must be a finite number above 0"),
        ({"macs": "15M"}, PlanError, "macs must be a finite number above 0, but it is '15M'"),
        ({"per_group": [0.5]}, PlanError, "per_group must map"),
        ({"per_group": {"conv1": 0.5}, "scope": "global"}, PlanError, "leave nothing to compete for"),
        ({"per_group": {"conv2": 0.5}}, RspruneError, "Unknown group 'conv2'.*did you mean 'conv1'"),
        ({"ratio": 0.5, "scope": "globl"}, RspruneError, "Unknown scope 'globl'; did you mean 'global'"),
        ({"ratio": 0.5, "locked": ["cnv1"]}, RspruneError, "Unknown group 'cnv1'"),
        ({"ratio": 0.5, "locked": "conv1"}, PlanError, "must be a list"),
        ({"ratio": 0.5, "normalise": "men"}, RspruneError, "Unknown normalisation 'men'; did you mean 'mean'"),
        ({"ratio": 0.5, "min_keep": 0}, PlanError, "min_keep must be a whole number of at least 1"),
        ({"ratio": 0.5, "multiple_of": 2.5}, PlanError, "multiple_of must be a whole number"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(options, error, sentence):
    with pytest.raises(error, match=sentence):
        choose(SCORES, RESNET, **options)


def test_scores_that_do_not_fit_are_refused():
    broken = dict(SCORES.values)
    broken["conv1"] = broken["conv1"].clone().index_fill(0, torch.tensor([1, 2]), math.nan)
    with pytest.raises(PlanError, match="2 of the 8 'l2' scores of 'conv1' are not finite"):
        choose(Scores(criterion="l2", values=broken), RESNET, ratio=0.5)
    broken["conv1"] = torch.ones(9)
    with pytest.raises(PlanError, match=r"scores of 'conv1' have shape \(9,\), but its 8"):
        choose(Scores(criterion="l2", values=broken), RESNET, ratio=0.5)
    del broken["conv1"]
    with pytest.raises(PlanError, match="none for 'conv1'"):
        choose(Scores(criterion="l2", values=broken), RESNET, ratio=0.5)
    with pytest.raises(PlanError, match="no groups"):
        choose(SCORES, Groups(), ratio=0.5)


def test_the_plan_tells_how_it_was_made_and_fits_the_network():
    plan = choose(SCORES, RESNET, ratio=0.5, scope="global", locked=["conv1"], multiple_of=2)
    assert plan.model == MODEL.config and Plan.from_json(plan.to_json()) == plan
    assert plan.how == {
        "criterion": "attention",
        "scope": "global",
        "ratio": 0.5,
        "min_keep": 1,
        "multiple_of": 2,
        "locked": ["conv1"],
        "normalise": "none",
    }
    apply(MODEL, plan, RESNET)


# --- normalisation -------------------------------------------------------------------------------------------------


def test_normalisations():
    groups, scores = toy_groups(3, 2), toy_scores([1.0, 2.0, 3.0], [0.0, 0.0])
    expected = {
        "none": [1, 2, 3],
        "mean": [0.5, 1, 1.5],
        "max": [1 / 3, 2 / 3, 1],
        "standard": [-math.sqrt(1.5), 0, math.sqrt(1.5)],
    }
    for how, values in expected.items():
        result = normalised(scores, groups, how)
        np.testing.assert_allclose(result["a"], values)
        np.testing.assert_array_equal(result["b"], [0, 0])  # nothing to divide by


def test_weight_norms_compete_relative_to_their_layer_and_gates_as_they_are():
    vectors = [0.1, 0.2, 0.3, 0.4], [10.0, 20.0, 30.0, 40.0]
    scales = {name: entry.scale for name, entry in CRITERIA.items()}
    for criterion, how in scales.items():
        plan = choose(toy_scores(*vectors, criterion=criterion), toy_groups(4, 4), ratio=0.5, scope="global")
        assert plan.widths == ({"a": 2, "b": 2} if how == "mean" else {"a": 1, "b": 3})
        assert plan.how["normalise"] == how
    assert {c for c, how in scales.items() if how == "mean"} == {"l1", "l2", "fpgm"}
