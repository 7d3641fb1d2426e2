"""Closed-form recovery: patches, normal equations, the rebuilt layer, and the walk through whole networks."""

import pytest
import torch
from pruning_toys import Unwanted
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import DataError, ModelError, PlanError, Stopped
from rsprune_lib.models import Network, create_model
from rsprune_lib.pruning.calibration import RecoveryError
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.criteria.gates import fold, gate_statistics
from rsprune_lib.pruning.criteria.registry import score
from rsprune_lib.pruning.groups import find_groups
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.recovery import recoveries, walk
from rsprune_lib.pruning.recovery.least_squares import accumulate, factorise, install, patches, solve
from rsprune_lib.pruning.recovery.relu_aware import rectified
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, sequential
from rsprune_lib.pruning.surgery import apply

CONVS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 7, "stride": 2, "padding": 3},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": (3, 1), "padding": (1, 0)},
    {"kernel_size": 3, "dilation": 2, "padding": "same"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 3, "padding": 1, "groups": 6},
]


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _randomise(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5, generator=generator)
            module.bias.data.uniform_(-0.3, 0.3, generator=generator)
            module.running_mean.uniform_(-0.3, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def _images(count=4, size=32, seed=0):
    return [(_noise(16, 3, size, size, seed=seed + i), torch.zeros(16)) for i in range(count)]


def _error(model, dense, batches):
    """Mean squared difference of the logits, relative to their variance."""
    with torch.no_grad():
        wanted = torch.cat([dense(x) for x, _ in batches])
        return float((torch.cat([model(x) for x, _ in batches]) - wanted).square().mean() / wanted.var())


def _whole(model, **keep):
    """Arguments of a plan that keeps everything but what ``keep`` says."""
    sizes = {group.name: group.size for group in find_groups(model, 32)}
    return {"keep": {name: keep.get(name, tuple(range(size))) for name, size in sizes.items()}, "sizes": sizes}


def _second_sum(model, x):
    """The sum in the second block of the first stage, what its last convolution gets, and the shortcut it adds."""
    block = model.layer1[1]
    shortcut = model.layer1[0](model.maxpool(model.relu(model.bn1(model.conv1(x)))))
    inner = block.relu(block.bn1(block.conv1(shortcut)))
    return block.bn2(block.conv2(inner)) + shortcut, inner, shortcut


def _half(model, groups, criterion="l2", ratio=0.5):
    return choose(score(model, groups, criterion), groups, ratio=ratio)


@pytest.mark.parametrize("options", CONVS, ids=str)
def test_patches_times_weights_is_the_convolution(options):
    conv = nn.Conv2d(6, 12, bias=False, **options)
    x = _noise(3, 6, 11, 9)
    rows = patches(conv, x)  # (N, G, D + 1), D in the order (row, column, channel)
    assert torch.equal(rows[..., -1], torch.ones(rows.shape[:2]))
    weight = conv.weight.permute(0, 2, 3, 1).reshape(conv.groups, 12 // conv.groups, -1)
    out = torch.einsum("ngd,god->ngo", rows[..., :-1], weight).flatten(1)
    torch.testing.assert_close(out, conv(x).permute(0, 2, 3, 1).reshape(-1, 12), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 12, **options) for options in CONVS] + [nn.Linear(6, 12)], ids=str)
def test_a_layer_is_found_again_from_its_inputs_and_outputs(layer, monkeypatch):
    monkeypatch.setattr("rsprune_lib.pruning.recovery.least_squares._CHUNK", 50_000)  # several pieces a batch
    monkeypatch.setattr("rsprune_lib.pruning.recovery.least_squares._BLOCK", 7)  # and several blocks a matrix
    gram = None
    for seed in range(3):
        x = _noise(8, 6, 11, 9, seed=seed) if isinstance(layer, nn.Conv2d) else _noise(50, 6, seed=seed)
        gram = accumulate(gram, layer, x, layer(x).detach())
    fit = solve(gram.moments(), layer, ridge=1e-8)
    torch.testing.assert_close(fit.weight.float(), layer.weight, rtol=0, atol=2e-4)
    torch.testing.assert_close(fit.bias.float(), layer.bias, rtol=0, atol=2e-4)


def test_normal_equations_are_the_ridge_regression():
    layer, x, t = nn.Linear(5, 3), _noise(40, 5) + 2, _noise(40, 3, seed=1)
    fit = solve(accumulate(None, layer, x, t).moments(), layer, ridge=0.1)
    centred, goal = (x - x.mean(0)).double(), (t - t.mean(0)).double()
    damping = 0.1 * centred.square().mean() * 40
    wanted = torch.linalg.solve(centred.T @ centred + damping * torch.eye(5), centred.T @ goal)
    torch.testing.assert_close(fit.weight, wanted.T, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fit.mean, x.mean(0).double() @ wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fit.bias, t.mean(0).double() - x.mean(0).double() @ wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fit.var, (x.double() @ wanted).var(0, correction=0), rtol=1e-4, atol=1e-5)


def test_a_layer_that_can_add_no_constant_is_fitted_through_the_origin():
    """Neither bias nor norm: the least squares of the values themselves, not of what is left without their means."""
    dense = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False)).eval()
    x, plan = _noise(16, 3, 8, 8), Plan({}, {"0": (0, 2, 3)}, {"0": 6})
    repaired = sequential(dense, apply(dense, plan), plan, [(x, torch.zeros(16))], ridge=1e-9, progress=False)
    rows = repaired[:2](x).transpose(0, 1).flatten(1).T.double()
    wanted = torch.linalg.lstsq(rows, dense(x).transpose(0, 1).flatten(1).T.double()).solution
    torch.testing.assert_close(repaired[2].weight.flatten(1).T.double(), wanted, rtol=1e-3, atol=1e-4)
    assert rows.mean() > 0.1, "means that would make a difference"


def test_fewer_rows_than_columns_and_dead_channels_still_have_a_solution():
    layer, x = nn.Conv2d(32, 4, 3, padding=1), _noise(2, 32, 3, 3).relu()
    x[:, 5:9] = 0
    fit = solve(accumulate(None, layer, x, _noise(2, 4, 3, 3)).moments(), layer)
    assert all(value.isfinite().all() for value in vars(fit).values())
    assert fit.weight[:, 5:9].abs().max() < 1e-6
    x.zero_()
    fit = solve(accumulate(None, layer, x, torch.ones(2, 4, 3, 3)).moments(), layer)
    assert fit.weight.abs().max() == 0 and torch.equal(fit.bias, torch.ones(4, dtype=torch.float64))


def _cut_off(y, target):
    """The loss that `rectified` lowers."""
    return torch.where(target > 0, (target - y).square(), y.clamp_min(0).square()).sum()


@pytest.mark.parametrize("options", [CONVS[1], CONVS[6]], ids=str)
def test_a_relu_behind_the_layer_makes_the_fit_better_where_it_counts(options):
    conv, x = nn.Conv2d(6, 4, bias=False, **options), _noise(16, 6, 9, 9)
    target = 2 * nn.Conv2d(6, 4, **options)(x).detach() ** 3 - 0.5  # not linear in x
    moments = accumulate(None, conv, x, target).moments()
    factor = factorise(moments, 1e-8)
    losses = []
    for steps in (0, 1, 2, 10):
        fit = rectified(solve(moments, conv, 1e-8), moments, factor, conv, lambda: [(x, target, None)], steps)
        out = nn.functional.conv2d(
            x, fit.weight.float(), fit.bias.float(), conv.stride, conv.padding, groups=conv.groups
        )
        losses.append(float(_cut_off(out, target)))
        torch.testing.assert_close(fit.mean + fit.bias, out.mean((0, 2, 3)).double(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(fit.var, out.var((0, 2, 3), correction=0).double(), rtol=1e-3, atol=1e-4)
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.95 * losses[0]


def test_a_shortcut_counts_before_the_relu():
    layer, x, shortcut = nn.Linear(5, 3), _noise(60, 5), 2 * _noise(60, 3, seed=2)
    target = _noise(60, 3, seed=1)
    moments = accumulate(None, layer, x, target).moments()
    factor, before = factorise(moments, 1e-8), solve(moments, layer, 1e-8)
    after = rectified(before, moments, factor, layer, lambda: [(x, target, shortcut)], 20)
    losses = [_cut_off(x @ fit.weight.T.float() + fit.bias + shortcut, target + shortcut) for fit in (before, after)]
    assert losses[1] < 0.95 * losses[0]


def test_only_layers_in_front_of_a_relu_are_fitted_to_what_it_lets_through():
    x, weights = _noise(16, 3, 8, 8), {}
    for tail in ((), (nn.ReLU(), nn.Conv2d(4, 4, 1))):
        torch.manual_seed(0)
        dense = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), *tail).eval()
        sizes = {group.name: group.size for group in find_groups(dense, 8)}
        plan = Plan({}, {name: (0, 2, 3) if name == "0" else tuple(range(n)) for name, n in sizes.items()}, sizes)
        for steps in (0, 10):
            how = {"rectify": steps, "progress": False}
            fitted = sequential(dense, apply(dense, plan), plan, [(x, torch.zeros(16))], **how)
            weights[len(tail), steps] = fitted[2].weight
    torch.testing.assert_close(weights[0, 0], weights[0, 10], rtol=0, atol=1e-4)
    assert (weights[2, 0] - weights[2, 10]).abs().max() > 1e-2


def test_rebuilt_norm_passes_the_fit_through_and_trains():
    conv, norm = nn.Conv2d(6, 5, 3, padding=1, bias=True), nn.BatchNorm2d(5)
    x, t = _noise(16, 6, 8, 8), _noise(16, 5, 8, 8, seed=1) * 3 + 1
    t += nn.Conv2d(6, 5, 3, padding=1)(x).detach()
    t[:, 0] = 0.01 * x[:, 0]  # so small a variance that the norm's eps counts
    fit = solve(accumulate(None, conv, x, t).moments(), conv)
    install(fit, conv, norm)
    wanted = nn.functional.conv2d(x, fit.weight.float(), fit.bias.float(), padding=1)
    with torch.no_grad():
        torch.testing.assert_close(norm.eval()(conv(x)), wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(norm(conv(x))[:, 0], wanted[:, 0], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(norm.train()(conv(x)), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "vgg16_cifar", "resnet20", "densenet40"])
def test_nothing_pruned_is_the_identity(name):
    dense = _randomise(create_model(name, 4, width=0.125, seed=0))
    repaired = sequential(dense, dense, None, _images(), ridge=1e-9, progress=False)
    assert _error(repaired, dense, _images()) < 1e-5
    assert repaired is not dense


@pytest.mark.parametrize(
    "name", ["resnet18", "vgg16", "resnet18_se", "vgg16_se", "vgg16_cifar", "resnet20", "densenet40"]
)
def test_recovery_lowers_the_error_of_every_network(name):
    dense, batches = _randomise(create_model(name, 4, width=0.125, seed=0)), _images(8)
    plain = fold(dense, gate_statistics(dense, batches, progress=False)) if name.endswith("se") else dense
    groups = find_groups(plain, 32)
    plan = _half(plain, groups)
    small = apply(plain, plan, groups)
    repaired = sequential(dense, small, plan, batches, groups=groups, progress=False)
    assert _error(repaired, dense, batches) < 0.3 * _error(small, dense, batches)
    shapes = [(name, value.shape) for name, value in small.state_dict().items()]
    assert [(name, value.shape) for name, value in repaired.state_dict().items()] == shapes


def test_recovery_repairs_what_folding_the_gates_costs():
    dense = _randomise(create_model("resnet18_se", 4, width=0.125, seed=0))
    for module in dense.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(8)  # gates that move with the image
    batches = _images(8)
    folded = fold(dense, gate_statistics(dense, batches, progress=False))
    repaired = sequential(dense, folded, None, batches, progress=False)
    assert _error(repaired, dense, batches) < 0.5 * _error(folded, dense, batches)


def test_both_roads_give_the_same_network_and_touch_nothing(tiny_se):
    batches = _images(3)
    gates = gate_statistics(tiny_se, batches, progress=False)
    plain = fold(tiny_se, gates)
    groups = find_groups(plain, 32)
    plan = _half(plain, groups)
    small = apply(plain, plan, groups).train()
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in (tiny_se, small)]
    state = torch.random.get_rng_state()
    fast = sequential(tiny_se, small, plan, batches, groups=groups, progress=False)
    slow = sequential(tiny_se, small, plan, batches, groups=groups, memory=0, progress=False)
    again = sequential(tiny_se, small, plan, batches, progress=False)  # finds the groups itself
    for key, value in fast.state_dict().items():
        assert torch.equal(value, slow.state_dict()[key]) and torch.equal(value, again.state_dict()[key]), key
    for model, old in zip((tiny_se, small), before, strict=True):
        assert all(torch.equal(value, old[key]) for key, value in model.state_dict().items())
        hooks = [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]
        assert not hooks
    assert small.training and fast.training and not tiny_se.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_error_of_the_shortcut_is_taken_back():
    """The first block loses most of its inner channels; what it gets wrong comes to the second as its shortcut."""
    dense, batches = _randomise(create_model("resnet18", 4, width=0.125, seed=0)), _images(4)
    plan = Plan({}, **_whole(dense, **{"layer1.0.conv1": (0, 1)}))
    repaired = sequential(dense, apply(dense, plan), plan, batches, rectify=0, ridge=1e-8, progress=False)
    x = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        wanted, _, shortcut = _second_sum(dense, x)
        found, inner, have = _second_sum(repaired, x)
    rows = torch.nn.functional.unfold(inner, 3, padding=1).transpose(1, 2).flatten(0, 1).double()
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)

    def best(goal):
        """What the least squares of the last convolution of the block makes of a goal (B, C, H, W)."""
        goal = goal.permute(0, 2, 3, 1).flatten(0, 2).double()
        return goal - rows @ torch.linalg.solve(rows.T @ rows + 1e-9 * torch.eye(rows.shape[1]), rows.T @ goal)

    taken_back = best(wanted - have).square().mean()
    left_out = (best(wanted - shortcut) + (shortcut - have).permute(0, 2, 3, 1).flatten(0, 2)).square().mean()
    assert left_out > 1.05 * taken_back > 0.01, "there is an error to take back"
    torch.testing.assert_close((found - wanted).double().square().mean(), taken_back, rtol=1e-3, atol=0)


def test_without_greenlet_the_slower_road_is_taken(monkeypatch):
    dense = _randomise(create_model("vgg16", 4, width=0.125, seed=0))
    fast = sequential(dense, dense, None, _images(2), progress=False)
    monkeypatch.setattr(walk, "greenlet", None)
    slow = sequential(dense, dense, None, _images(2), progress=False)
    assert all(torch.equal(value, slow.state_dict()[key]) for key, value in fast.state_dict().items())


class _Separable(Network):
    """A depthwise and a grouped convolution, a layer without norm, a flatten in front of the classifier."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.point = nn.Conv2d(8, 12, 1)
        self.fc = nn.Linear(12 * 16, 4)
        self.config = {"name": "separable"}

    def forward(self, x):
        x = self.bn2(self.depthwise(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.point(x).relu().flatten(1))


def test_depthwise_layers_and_flattened_maps():
    torch.manual_seed(0)
    dense, batches = _randomise(_Separable()), _images(8, size=8)
    groups = find_groups(dense, 8)
    plan = _half(dense, groups)
    small = apply(dense, plan, groups)
    assert small.depthwise.groups == 4 and small.fc.in_features == 96
    repaired = sequential(dense, small, plan, batches, groups=groups, progress=False)
    assert _error(repaired, dense, batches) < 0.5 * _error(small, dense, batches)
    whole = sequential(dense, dense, None, batches, ridge=1e-9, progress=False)
    assert _error(whole, dense, batches) < 1e-6


def test_gates_that_stay_are_not_in_the_target(tiny_se):
    batches = _images(6)
    whole = sequential(tiny_se, tiny_se, None, batches, ridge=1e-9, progress=False)
    assert _error(whole, tiny_se, batches) < 1e-3


def test_units_out_of_order_are_noticed():
    dense = _randomise(create_model("vgg16", 4, width=0.125, seed=0))
    units = dense.units()
    dense.units = lambda: [units[1], units[0], *units[2:]]
    with pytest.raises(ModelError, match="execution order"):
        sequential(dense, dense, None, _images(1), progress=False)
    hooks = [h for m in dense.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]
    assert not hooks


def test_nan_is_an_error_and_not_a_network(tiny_se):
    batches = [(torch.full((4, 3, 32, 32), float("nan")), torch.zeros(4))]
    with pytest.raises(RecoveryError, match="NaN"):
        sequential(tiny_se, fold(tiny_se, gate_statistics(tiny_se, _images(1), False)), None, batches, progress=False)


def test_wrong_plan_wrong_network_wrong_images(tiny_se, tiny_data):
    plain = fold(tiny_se, gate_statistics(tiny_se, _images(1), progress=False))
    groups = find_groups(plain, 32)
    plan = Plan({}, {"conv1": (0,)}, {"conv1": 8}, {})
    with pytest.raises(PlanError):
        sequential(tiny_se, plain, plan, _images(1), groups=groups, progress=False)
    with pytest.raises(ModelError, match="other layers"):
        sequential(tiny_se, create_model("vgg16", 4, width=0.125), None, _images(1), progress=False)
    with pytest.raises(DataError, match="training split"):
        sequential(tiny_se, plain, None, Batches(tiny_data, "test"), progress=False)
    with pytest.raises(DataError, match="no image"):
        sequential(tiny_se, plain, None, [], progress=False)


def test_it_can_be_stopped(tiny_se):
    plain = fold(tiny_se, gate_statistics(tiny_se, _images(1), progress=False))
    with pytest.raises(Stopped):
        sequential(tiny_se, plain, None, Unwanted(_images(2), 12), progress=False)
    with pytest.raises(Stopped):
        reestimate_bn(plain, Unwanted(_images(2), 0), progress=False)


def test_reestimated_statistics_are_those_of_the_images():
    model = _randomise(create_model("vgg16", 4, width=0.125, seed=0))
    conv = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    batches = _images(3)
    assert reestimate_bn(model, batches, progress=False) is model
    with torch.no_grad():
        outputs = [conv(x) for x, _ in batches]
    means = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    variances = torch.stack([y.transpose(0, 1).flatten(1).var(1) for y in outputs]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, variances, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())
    assert norm.momentum == 0.1 and not norm.training


def test_stopped_reestimation_leaves_the_statistics(tiny_se):
    before = tiny_se.bn1.running_mean.clone()
    with pytest.raises(Stopped):
        reestimate_bn(tiny_se, Unwanted(_images(3), 4), progress=False)
    assert torch.equal(tiny_se.bn1.running_mean, before)


def test_batch_norm_does_not_mind_data_sorted_by_class():
    """Two classes far apart, each in batches of its own: the variance must be that of all images together."""
    generator = torch.Generator().manual_seed(0)
    classes = [torch.randn(32, 3, 8, 8, generator=generator) + offset for offset in (-4.0, 4.0)]
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)).eval()
    sorted_batches = [(x, torch.zeros(16)) for images in classes for x in images.split(16)]
    reestimate_bn(model, sorted_batches, progress=False)
    out = model[0](torch.cat(classes)).detach()
    assert torch.allclose(model[1].running_var, out.var(dim=(0, 2, 3)), rtol=0.1)


def test_options_of_the_closed_form_reach_it(monkeypatch):
    seen = {}
    monkeypatch.setattr(recoveries, "sequential", lambda *_args, **given: seen.update(given))
    options = {"memory": 7.0, "ridge": 0.5, "rectify": 1, "positions": "uniform"}
    case = recoveries.Repair(None, None, None, ["a group"], [])
    recoveries.RECOVERIES["closed_form"].run(case, **options)
    assert seen == options | {"groups": ["a group"], "progress": True}
