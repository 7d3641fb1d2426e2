"""Similarity of feature maps against the plain way, the selectors by hand and by their promises, plans from graphs."""

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from pruning_toys import course_model, images, network
from scipy.fft import dct
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import DataError, ModelError, PlanError, RspruneError
from rsprune_lib.measure import layer_costs
from rsprune_lib.pruning import (
    SELECTORS,
    Scores,
    Selection,
    Similarity,
    apply,
    choose,
    find_groups,
    masked,
    perceptual_hash,
    plan_cost,
    score,
    select,
    select_in_scope,
    similarity,
)
from rsprune_lib.pruning.similarity.hashes import _cosines, redundancy
from rsprune_lib.pruning.similarity.selectors import Graph, _highest_core, core, dominating, nested, paper, scored


def plain_hash(image):
    """As it is published, for one map: DCT-II along both axes, the 8 x 8 corner, against its mean."""
    low = dct(dct(image, type=2, axis=0), type=2, axis=1)[:8, :8]
    return (low >= low.mean()).ravel()


def plain_similarity(maps):
    """Pair by pair, hashing both for every pair; maps (N, C, H, W) float64."""
    count, channels = maps.shape[:2]
    found = np.eye(channels)
    for i in range(channels):
        for j in range(i):
            agree = [np.mean(plain_hash(maps[n, i]) == plain_hash(maps[n, j])) for n in range(count)]
            found[i, j] = found[j, i] = np.mean(agree)
    return found


class Maps(nn.Module):
    """A network whose first convolution's maps are the channels of the image, as they are."""

    def __init__(self, channels=4):
        super().__init__()
        self.in_channels = channels
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv.weight.data.copy_(torch.eye(channels)[:, :, None, None])
        self.head = nn.Conv2d(channels, 3, 1)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)))


def batches(count=6, size=32, channels=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, channels, size, size, generator=random)
    return [(x[:4], torch.zeros(4).long()), (x[4:], torch.zeros(count - 4).long())]


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (7, 9), (8, 8), (5, 32), (33, 16)])
def test_hash_is_the_published_one(size):
    random = np.random.default_rng(0)
    maps = random.normal(size=(20, *size)) + random.normal(size=(20, 1, 1))
    found = perceptual_hash(torch.from_numpy(maps)).numpy()
    assert np.array_equal(found, [plain_hash(image) for image in maps])
    assert found.shape[1] == min(8, size[0]) * min(8, size[1])


def test_waves_are_computed_in_double_precision():
    found = _cosines(64, "cpu")
    expected = dct(np.eye(64), type=2, axis=0)[:8]
    assert found.dtype == torch.float64 and np.abs(found.numpy() - expected).max() < 1e-13


def test_hash_of_dead_and_constant_maps():
    maps = torch.zeros(3, 16, 16)
    maps[1], maps[2] = 0.3, -0.3
    dead, bright, dark = perceptual_hash(maps)
    assert dead.all()
    assert bright[0] and bright.sum() == 1
    assert not dark[0] and dark.sum() == 63


def test_unrelated_maps_agree_by_the_sign_of_their_means_unless_the_mean_term_is_left_out():
    draw = torch.Generator().manual_seed(3)
    maps = torch.randn(60, 16, 16, generator=draw) + 3.0 * (-1.0) ** torch.arange(60)[:, None, None]
    shares = []
    for how in (True, False):
        bits = perceptual_hash(maps, mean_term=how).float() * 2 - 1
        agree = (1 + bits @ bits.T / bits.shape[1]) / 2
        same = (torch.arange(60)[:, None] - torch.arange(60)) % 2 == 0
        shares.append([agree[same & ~torch.eye(60, dtype=bool)].mean().item(), agree[~same].mean().item()])
    assert shares[0][0] > 0.58 and shares[0][1] < 0.42
    assert shares[1] == pytest.approx([0.5, 0.5], abs=0.03)
    model = course_model("resnet20")
    groups = find_groups(model, 32)
    first, second = (similarity(model, groups, batches(), mean_term=how, progress=False) for how in (True, False))
    assert not torch.equal(first.values[groups[0].name], second.values[groups[0].name])
    scored = score(model, groups, "similarity", data=batches(), mean_term=False, progress=False).values
    assert all(torch.equal(scored[n], v) for n, v in redundancy(second, groups).items())


@pytest.mark.parametrize("name", ["resnet20", "vgg16_cifar", "densenet40", "resnet18_se"])
def test_similarities_equal_the_plain_pairwise_loop(name):
    model = course_model(name)
    groups, seen = find_groups(model, 32), {}
    hooks = [
        model.get_submodule(g.name).register_forward_hook(
            lambda _m, _x, y, g=g: seen.setdefault(g.name, []).append(y.clone())
        )
        for g in groups[:4]
    ]
    found = similarity(model, groups, batches(), progress=False)
    for hook in hooks:
        hook.remove()
    assert found.images == 6 and not model.training
    for group in groups[:4]:
        expected = plain_similarity(torch.cat(seen[group.name]).detach().double().numpy())
        np.testing.assert_allclose(found.values[group.name], expected, atol=1e-6)


def test_mean_over_all_makers_of_a_residual_stream():
    model = course_model("resnet18")
    groups = find_groups(model, 32)
    stream = next(g for g in groups if g.name == "layer2.0.conv2")
    each = []
    for layer in ("layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2"):
        alone = [type(stream)(layer, stream.size, tuple(m for m in stream.members if m.layer == layer))]
        each.append(similarity(model, alone, batches(), progress=False).values[layer])
    both = similarity(model, [stream], batches(), makers="all", progress=False).values[stream.name]
    torch.testing.assert_close(both, torch.stack(each).mean(0))
    root = similarity(model, [stream], batches(), progress=False).values[stream.name]
    torch.testing.assert_close(root, each[0])


def test_layers_that_say_nothing_are_named_and_left_whole():
    model = course_model("vgg16_cifar")
    groups = find_groups(model, 32)
    found = similarity(model, groups, batches(), progress=False)
    assert found.blind == {"hidden": "its channels have no feature maps"}
    plan = select(found, groups, threshold=0.5)
    assert plan.widths["hidden"] == 64 and plan.how["blind"] == ["hidden"]
    small = course_model("resnet18")
    groups = find_groups(small, 32)
    tiny = [(torch.randn(4, 3, 8, 8), torch.zeros(4).long())]
    found = similarity(small, groups, tiny, progress=False)
    assert set(found.blind.values()) == {"its feature maps have one pixel"} and "layer4.0.conv1" in found.blind
    assert select(found, groups, threshold=0.1).widths["layer4.0.conv1"] == 64


def test_fewer_images_than_asked_are_all_compared_and_counted(tiny_data, tiny_se):
    groups, everything = find_groups(tiny_se, 32), Batches(tiny_data, "train", 8)
    found = similarity(tiny_se, groups, Batches(tiny_data, "train", 8, limit=10_000), progress=False)
    assert found.images == everything.size < 10_000
    whole = similarity(tiny_se, groups, everything, progress=False)
    assert all(found.values[name].equal(value) for name, value in whole.values.items())


def test_dead_filters_are_all_alike_and_one_stays():
    model, x = Maps(5), torch.randn(3, 5, 16, 16)
    x[:, 1:4] = 0
    groups = find_groups(model, 16)
    found = similarity(model, groups, [(x, torch.zeros(3).long())], progress=False)
    assert found.values["conv"][1:4, 1:4].eq(1).all()
    kept = select(found, groups, threshold=1.0).keep["conv"]
    assert len({1, 2, 3} & set(kept)) == 1 and {0, 4} <= set(kept)


def test_bad_networks_and_images_are_one_clear_sentence():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(ModelError, match="no convolution whose feature maps"):
        similarity(flat, find_groups(flat, 2), batches(size=2), progress=False)
    model = course_model("resnet20")
    groups = find_groups(model, 32)
    with pytest.raises(DataError, match="no image"):
        similarity(model, groups, [], progress=False)
    with pytest.raises(DataError, match=r"'conv1' are not finite"):
        similarity(model, groups, [(torch.full((2, 3, 32, 32), math.nan), torch.zeros(2))], progress=False)
    with pytest.raises(ModelError, match="makers is 'most'"):
        similarity(model, groups, batches(), makers="most", progress=False)
    assert not any(module._forward_hooks for module in model.modules())


# --- selectors: graphs by hand ---


def graph(count, edges, rank=None):
    """A graph from {(i, j): similarity}."""
    values = np.eye(count)
    for (i, j), value in edges.items():
        values[i, j] = values[j, i] = value
    return Graph.at(values, 0.5, rank)


def kept(selector, *given, **options):
    return np.flatnonzero(selector(graph(*given, **options))).tolist()


def test_published_sweep_case_by_case():
    assert kept(paper, 3, {}) == [0, 1, 2], "isolated vertices stay"
    assert kept(paper, 2, {(0, 1): 0.9}) == [0], "a pair keeps the first"
    # a leaf goes before its hub is looked at, and the hub goes for a busier neighbour: nobody stands for the leaf
    star = {(0, 1): 0.9, (1, 2): 0.9, (2, 3): 0.9, (2, 4): 0.9}
    assert kept(paper, 5, star) == [2], "0 is a leaf of 1; 1 goes for 2; 0 is not dominated"
    # the largest degree, then the largest sum of weights, then the first seen, which is the vertex itself
    assert kept(paper, 3, {(0, 1): 0.9, (1, 2): 0.9, (0, 2): 0.6}) == [1]
    assert kept(paper, 3, {(0, 1): 0.9, (1, 2): 0.9, (0, 2): 0.9}) == [0]
    # weights count in hundredths: 0.901 and 0.899 are the same
    assert kept(paper, 3, {(0, 1): 0.899, (1, 2): 0.901, (0, 2): 0.9}) == [0]
    # all its neighbours are decided already: it stays (3 and 4 stand at the ends of what 1 and 2 left)
    square = {(0, 1): 0.9, (0, 2): 0.9, (1, 3): 0.9, (2, 3): 0.9}
    assert kept(paper, 4, square) == [0, 3]


def test_published_sweep_may_keep_neighbours_and_lose_the_last_of_a_kind():
    """A path of five: 0 is a leaf (goes), 1 is chosen against 2 (equal degree, first seen), 3 meets 4."""
    path = {(0, 1): 0.9, (1, 2): 0.9, (2, 3): 0.9, (3, 4): 0.9}
    assert kept(paper, 5, path) == [1, 3]


def test_dominating_by_hand():
    star = {(0, 1): 0.9, (1, 2): 0.9, (2, 3): 0.9, (2, 4): 0.9}
    assert kept(dominating, 5, star) == [0, 2], "2 first; 1, 3, 4 go; what is left of 0 has no neighbour"
    assert kept(dominating, 3, {(0, 1): 0.9, (1, 2): 0.9}) == [1]


def test_scored_keeps_the_better_of_two():
    path = {(0, 1): 0.9, (1, 2): 0.9}
    assert kept(scored, 3, path, [1.0, 0.5, 2.0]) == [0, 2]
    assert kept(scored, 3, path, [1.0, 3.0, 2.0]) == [1]
    assert kept(scored, 3, path, [1.0, 1.0, 1.0]) == [0, 2], "equal ranks: the lower index"


def test_nested_lets_every_edge_remove_its_worse_end():
    path = {(0, 1): 0.9, (1, 2): 0.9}
    assert kept(nested, 3, path, [3.0, 2.0, 1.0]) == [0], "2 goes for 1, which goes for 0"
    assert kept(nested, 3, path, [1.0, 3.0, 2.0]) == [1]
    assert kept(nested, 3, path, [1.0, 1.0, 1.0]) == [0]


def test_core_by_hand():
    """A triangle with a tail: the triangle is the 2-core, its best stays; then the tail's pair, if an edge is left."""
    tail = {(0, 1): 0.9, (1, 2): 0.9, (0, 2): 0.9, (2, 3): 0.9}
    assert kept(core, 4, tail, [3.0, 2.0, 1.0, 0.5]) == [0, 3]
    assert kept(core, 4, tail, [1.0, 2.0, 3.0, 0.5]) == [2], "then 2 and 3 are a pair, and 2 is the better one"


def random_graph(seed, count=40, density=0.12):
    random = np.random.default_rng(seed)
    values = np.triu(np.where(random.random((count, count)) < density, random.uniform(0.5, 1, (count, count)), 0), 1)
    return Graph.at(values + values.T + np.eye(count), 0.5, random.random(count))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("density", [0.03, 0.12, 0.5])
def test_promises_of_the_selectors(seed, density):
    one = random_graph(seed, density=density)
    for name, entry in SELECTORS.items():
        stays = entry.run(one)
        assert stays.shape == (40,) and stays.dtype == bool and stays.any()
        assert stays[one.degree == 0].all(), f"{name} keeps what is like nothing else"
        assert np.array_equal(stays, entry.run(one)), "deterministic"
    for selector in (dominating, scored):
        stays = selector(one)
        assert one.edges[~stays][:, stays].any(1).all(), "every removed channel keeps a similar one alive"
        assert not one.edges[stays][:, stays].any(), "what stays is not alike"
    stays = scored(one)
    for v in np.flatnonzero(~stays):
        assert one.rank[np.flatnonzero(one.edges[v] & stays)].max() > one.rank[v], "a better one"
    stays = core(one)
    assert not one.edges[stays][:, stays].any()
    assert stays[np.argmax(one.rank)], "the best of all is never removed"


@pytest.mark.parametrize("seed", range(6))
def test_densest_core_is_networkx_s(seed):
    one = random_graph(seed, density=0.2)
    expected = sorted(nx.k_core(nx.from_numpy_array(one.edges)))
    assert np.flatnonzero(_highest_core(one.edges)).tolist() == expected


def plain_paper(values, threshold):
    """The sweep once more, word for word over Python sets, as the reference is described."""
    count = len(values)
    near = {v: {u for u in range(count) if u != v and values[v][u] >= threshold} for v in range(count)}
    weight = {v: sum(round(100 * values[v][u]) for u in near[v]) for v in near}
    saved, deleted = {v for v in near if not near[v]}, set()
    for v in [v for v in range(count) if near[v]]:
        if v in saved or v in deleted:
            continue
        if len(near[v]) == 1:
            (u,) = near[v]
            (saved if len(near[u]) == 1 else deleted).add(v)
            if len(near[u]) == 1:
                deleted.add(u)
            continue
        rest = sorted(near[v] - saved - deleted)
        if not rest:
            saved.add(v)
            continue
        best = v
        for u in rest:
            if (len(near[u]), weight[u]) > (len(near[best]), weight[best]):
                best = u
        saved.add(best)
        deleted |= ({v} | set(rest)) - {best}
    assert saved | deleted == set(range(count)) and not saved & deleted
    return sorted(saved)


@pytest.mark.parametrize("seed", range(20))
def test_published_sweep_equals_its_description(seed):
    random = np.random.default_rng(seed)
    values = random.random((30, 30)).round(2)
    values = np.maximum(values, values.T)
    np.fill_diagonal(values, 1)
    threshold = random.choice([0.75, 0.9, 0.97])
    assert np.flatnonzero(paper(Graph.at(values, threshold))).tolist() == plain_paper(values, threshold)


# --- plans ---


@pytest.fixture(scope="module")
def case():
    model, size = network("resnet20")
    groups = find_groups(model, size)
    return model, groups, similarity(model, groups, batches(), progress=False), layer_costs(model, size)


@pytest.mark.parametrize("selector", SELECTORS)
def test_plan_of_a_threshold_is_cut_as_it_is_masked(case, selector):
    model, groups, found, _ = case
    plan = select(found, groups, threshold=0.6, selector=selector, rank=score(model, groups, "l1"))
    assert 0 < sum(plan.widths.values()) < sum(groups.sizes().values())
    x = images(32)
    with torch.no_grad():
        small = apply(model, plan, groups)(x)
        with masked(model, plan, groups):
            torch.testing.assert_close(small, model(x), rtol=0, atol=1e-5)


def test_threshold_one_keeps_all_but_twins_and_lower_ones_keep_less(case):
    _, groups, found, _ = case
    values = {name: matrix.clone() for name, matrix in found.values.items()}
    for matrix in values.values():
        matrix[matrix >= 1] = 0.99
        matrix.fill_diagonal_(1)
    unlike = Similarity(values, 6)
    assert select(unlike, groups, threshold=1.0).widths == groups.sizes()
    totals = [sum(select(unlike, groups, threshold=t).widths.values()) for t in (0.9, 0.7, 0.5, 0.3)]
    assert totals == sorted(totals, reverse=True) and len(set(totals)) == 4


def test_edge_at_exactly_the_threshold_counts():
    values = torch.eye(2) + (1 - torch.eye(2)) * torch.tensor(0.7)  # float32: a little less than 0.7
    groups = find_groups(Maps(2), 8)
    assert select(Similarity({"conv": values}, 1), groups, threshold=0.7).widths == {"conv": 1}


def test_budget_is_met_closely_and_by_one_threshold(case):
    _, groups, found, costs = case
    full = plan_cost(costs, groups, {g.name: range(g.size) for g in groups}).macs
    for share in (0.3, 0.5, 0.8, 1.0):
        plan = select(found, groups, macs=share * full, costs=costs)
        assert plan.how["reached"] == plan_cost(costs, groups, plan.keep).macs <= share * full
        assert plan.how["reached"] > 0.9 * share * full
        at = select(found, groups, threshold=plan.how["threshold"])
        assert all(set(at.keep[name]) <= set(plan.keep[name]) for name in at.keep)
    with pytest.raises(PlanError, match=r"budget of 10 MACs cannot be reached; the smallest possible is [\d,]+"):
        select(found, groups, macs=10, costs=costs)


def test_least_kept_protects_every_layer(case):
    _, groups, found, _ = case
    bare = select(found, groups, threshold=0.05)
    assert min(bare.widths.values()) == 1, "all alike: one stays"
    plan = select(found, groups, threshold=0.05, least=0.5, min_keep=2)
    assert all(plan.widths[g.name] == max(2, math.ceil(g.size / 2)) for g in groups)
    assert all(set(bare.keep[name]) <= set(plan.keep[name]) for name in bare.keep)
    assert select(found, groups, threshold=0.05, locked=["conv1"]).widths["conv1"] == groups[0].size


def test_layers_may_have_thresholds_of_their_own_and_follow_others():
    model = course_model("vgg16_cifar")
    groups = find_groups(model, 32)
    found = similarity(model, groups, batches(), progress=False)
    plan = select(found, groups, threshold=0.6, per_group={"conv1_1": 1.0}, follow={"hidden": "conv5_3"})
    assert plan.keep["hidden"] == plan.keep["conv5_3"] and plan.widths["conv1_1"] == 8
    with pytest.raises(PlanError, match=r"'hidden' has 64 channels and cannot follow 'conv1_1' with 8"):
        select(found, groups, threshold=0.6, follow={"hidden": "conv1_1"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"threshold": 0.0}, r"threshold is 0\.0 but must be above 0 and at most 1"),
        ({"threshold": 1.2}, r"threshold is 1\.2"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({}, "needs one amount.* got none"),
        ({"threshold": 0.7, "macs": 1e6}, "got threshold and macs"),
        ({"ratio": 1.0}, r"ratio must be at least 0 and below 1.* it is 1\.0"),
        ({"macs": math.nan}, "macs must be a finite number above 0"),
        ({"macs": -1}, "macs must be a finite number above 0"),
        ({"widths": {"conv9": 1}}, "conv9"),
        ({"widths": {"conv1": 1.5}}, r"width of 'conv1' is 1\.5"),
        ({"widths": {"conv1": 0}}, "width of 'conv1' is 0, but of its"),
        ({"widths": {"conv1": 99}}, "width of 'conv1' is 99"),
        ({"widths": {"conv1": 1}, "least": 1}, "it keeps at least"),
        ({"widths": {"conv1": 1}, "locked": ["conv1"]}, "it stays whole"),
        ({"macs": 1e6}, "needs the costs"),
        ({"threshold": 0.7, "selector": "papr"}, "paper"),
        ({"threshold": 0.7, "selector": "scored"}, "needs rank"),
        ({"threshold": 0.7, "least": 2}, "keeps is 2, but must be from 0 to 1"),
        ({"threshold": 0.7, "min_keep": 0}, "min_keep is 0, but"),
        ({"threshold": 0.7, "locked": ["conv9"]}, "conv9"),
        ({"threshold": 0.7, "per_group": {"conv1": 0}}, "threshold of 'conv1' is 0"),
    ],
)
def test_bad_arguments_are_one_clear_sentence(case, arguments, sentence):
    _, groups, found, _ = case
    with pytest.raises(RspruneError, match=sentence):
        select(found, groups, **arguments)


@pytest.mark.parametrize("selector", SELECTORS)
def test_given_widths_are_met_exactly_by_the_graph_of_each_layer(case, selector):
    model, groups, found, _ = case
    rank = score(model, groups, "l1")
    widths = choose(rank, groups, ratio=0.4, locked=["conv1"]).widths
    plan = select(found, groups, widths=widths, selector=selector, rank=rank, locked=["conv1"])
    assert plan.widths == widths and "conv1" not in plan.how["thresholds"]
    for group in groups[1:]:
        values, kept = found.values[group.name].double().numpy(), np.isin(np.arange(group.size), plan.keep[group.name])
        at = plan.how["thresholds"][group.name]
        alone = SELECTORS[selector].run(Graph.at(values, at, rank.values[group.name].double().numpy()))
        assert (alone <= kept).all(), "the selector's own are among them"
        back, others = np.flatnonzero(kept & ~alone), np.flatnonzero(~kept)
        nearest = values[:, alone].max(1)
        assert nearest[back].max(initial=0) <= nearest[others].min(), "what comes back is what is most unlike"


def test_a_share_of_all_channels_has_one_threshold(case):
    _, groups, found, _ = case
    total = sum(group.size for group in groups)
    for ratio in (0.0, 0.3, 0.6):
        plan = select(found, groups, ratio=ratio)
        assert sum(plan.widths.values()) == plan.how["reached"] == math.floor(total * (1 - ratio) + 1e-9)
        one = select(found, groups, threshold=plan.how["threshold"])
        assert all(set(one.keep[name]) <= set(plan.keep[name]) for name in plan.keep)


def test_what_comes_back_within_a_budget_is_what_is_most_unlike(case):
    _, groups, found, _ = case
    some = False
    for ratio in (0.25, 0.4, 0.45, 0.55, 0.65):
        plan = select(found, groups, ratio=ratio)
        at = select(found, groups, threshold=plan.how["threshold"])
        nearest = {True: [], False: []}  # whether it came back -> the similarity to the most alike of what had stayed
        for name, values in found.values.items():
            for channel in set(range(len(values))) - set(at.keep[name]):
                nearest[channel in plan.keep[name]].append(float(values[channel, list(at.keep[name])].max()))
        assert max(nearest[True], default=0) <= min(nearest[False])
        some |= len(set(nearest[True] + nearest[False])) > 1 and bool(nearest[True])
    assert some, "a choice of what comes back"


def test_locked_groups_and_those_without_maps_do_not_count_for_a_share():
    model = course_model("vgg16_cifar")
    groups = find_groups(model, 32)
    found = similarity(model, groups, batches(), progress=False)
    plan = select(found, groups, ratio=0.5, locked=["conv4_1"])
    free = {name: size for name, size in groups.sizes().items() if name not in ("hidden", "conv4_1")}
    assert sum(plan.widths[name] for name in free) == sum(free.values()) // 2
    assert all(plan.widths[name] == groups.sizes()[name] for name in ("hidden", "conv4_1"))
    followed = {"follow": {"hidden": "conv5_3"}}
    for amount in (
        *({"ratio": share} for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
        {"widths": {"conv5_3": 10, "hidden": 10}},
    ):
        plan = select(found, groups, **amount, **followed)
        assert plan.keep["hidden"] == plan.keep["conv5_3"] != tuple(range(64)), amount


def test_a_group_that_others_follow_takes_nothing_back_without_them():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    pairs = torch.block_diag(*[torch.tensor([[1.0, 0.9], [0.9, 1.0]])] * 2)
    similar = Similarity({"0": pairs}, 1, {"2": "none were looked at"})
    plan = select(similar, find_groups(model, 8), ratio=0.25, follow={"2": "0"})
    assert plan.keep["0"] == plan.keep["2"] == (0, 2), "three of four channels would be allowed to stay"


def test_layers_without_maps_go_last_in_the_order_of_the_rank_or_of_l1():
    model = course_model("vgg16_cifar")
    groups = find_groups(model, 32)
    found = similarity(model, groups, batches(), progress=False)
    given = {"data": batches(), "progress": False, "similar": found}
    for rank, by in ((None, "l1"), ("lamp", "lamp")):
        values = score(model, groups, "similarity", rank=rank, **given).values["hidden"]
        other = score(model, groups, by).values["hidden"]
        assert torch.equal(values.argsort(stable=True), other.argsort(stable=True)) and values.min() >= 0.9
        assert values.max() == pytest.approx(1)


def test_scopes_of_a_selector_are_those_of_any_criterion(case):
    model, groups, found, _ = case
    rank = score(model, groups, "l1")
    scores = Scores("similarity", redundancy(found, groups))
    selection = Selection(found, groups, "scored", rank)
    same = select_in_scope(selection, groups, scores, scope="local", ratio=0.5, multiple_of=2)
    assert same.widths == choose(rank, groups, ratio=0.5, multiple_of=2).widths
    assert same.how["scope"] == "local" and same.how["ratio"] == 0.5 and same.how["rank"] == "l1"
    own = select_in_scope(selection, groups, scores, scope="local", per_group={"conv1": 0.5})
    assert own.widths == choose(rank, groups, per_group={"conv1": 0.5}).widths
    one = select_in_scope(selection, groups, scores, scope="global", ratio=0.5)
    assert one == select(found, groups, ratio=0.5, selector="scored", rank=rank)
    like = select_in_scope(selection, groups, scores, scope="isomorphic", ratio=0.5)
    assert like.widths == choose(scores, groups, scope="isomorphic", ratio=0.5).widths
    with pytest.raises(RspruneError, match="scope"):
        select_in_scope(selection, groups, scores, scope="world", ratio=0.5)
    for amounts in ({}, {"ratio": 0.5, "macs": 1e6}):
        with pytest.raises(PlanError, match="one amount"):
            select_in_scope(selection, groups, scores, scope="global", **amounts)


def test_similarities_of_another_network_are_refused(case):
    _, groups, found, _ = case
    other = Similarity({**found.values, "conv1": torch.eye(3)}, 6)
    with pytest.raises(PlanError, match=r"'conv1' have shape \(3, 3\)"):
        select(other, groups, threshold=0.7)
    with pytest.raises(PlanError, match=r"scores of 'conv1' have shape"):
        select(found, groups, threshold=0.7, selector="scored", rank=Scores("l1", {"conv1": torch.ones(3)}))


def test_redundancy_is_the_graph_at_every_threshold(case):
    model, groups, found, _ = case
    rank = score(model, groups, "l1")
    scores = Scores("similarity", redundancy(found, groups, rank.values))
    for t in (0.9, 0.7, 0.55):
        plan = choose(scores, groups, threshold=1 - t, clip=True)
        assert plan.keep == select(found, groups, threshold=t, selector="nested", rank=rank).keep
        for group in groups:
            one = Graph.at(found.values[group.name].double().numpy(), t, rank.values[group.name].double().numpy())
            assert set(plan.keep[group.name]) <= set(np.flatnonzero(scored(one)))
    scores = Scores("similarity", redundancy(found, groups))
    more = [choose(scores, groups, threshold=1 - t, clip=True).keep for t in (0.5, 0.7, 0.9)]
    assert more[1] == select(found, groups, threshold=0.7, selector="nested").keep
    assert all(set(a[name]) <= set(b[name]) for a, b in pairwise(more) for name in a), "nested"


def test_criterion_scores_every_channel(case):
    model, groups, _, _ = case
    scores = score(model, groups, "similarity", data=batches(), progress=False)
    assert all(
        v.shape == (g.size,) and v.max() == 1 and v.min() >= 0
        for g, v in zip(groups, scores.values.values(), strict=True)
    )
    every = score(model, groups, "similarity", data=batches(), makers="all", progress=False).values
    wanted = redundancy(similarity(model, groups, batches(), makers="all", progress=False), groups)
    assert all(torch.equal(value, wanted[name]) for name, value in every.items())
    assert not all(torch.equal(value, scores.values[name]) for name, value in every.items())
    ranked = score(model, groups, "similarity", data=batches(), rank="l1", progress=False)
    best = score(model, groups, "l1").values["conv1"].argmax()
    assert ranked.values["conv1"][best] == 1
    with pytest.raises(RspruneError, match="must be another criterion"):
        score(model, groups, "similarity", data=batches(), rank="similarity", progress=False)
    with pytest.raises(RspruneError, match="needs training images"):
        score(model, groups, "similarity")
