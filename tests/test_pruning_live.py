"""The live form: one pass over the images, then any plan by small solves."""

from functools import partial

import pytest
import torch
from pruning_toys import Unwanted, groups_of, network, random_plan
from pruning_toys import images as pictures

from rsprune_lib.data import Batches
from rsprune_lib.errors import DataError, PlanError, Stopped
from rsprune_lib.models import hooked
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.criteria.gates import fold, gate_statistics
from rsprune_lib.pruning.criteria.registry import score
from rsprune_lib.pruning.groups import find_groups
from rsprune_lib.pruning.plan import Plan, full_plan
from rsprune_lib.pruning.recovery.least_squares import accumulate, solve
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.sequential import kept_channels, rebuildable, sequential
from rsprune_lib.pruning.surgery import apply


@pytest.fixture
def batches(tiny_data):
    return Batches(tiny_data, "train", 16)


@pytest.fixture
def live(tiny_se, batches):
    return Live(tiny_se, None, batches, progress=False)


def _plan(model, ratio):
    groups = find_groups(model, 32)
    return choose(score(model, groups, "l2"), groups, ratio=ratio)


def _inputs(model, layer, batches):
    """Everything that comes into a layer."""
    seen = []
    hook = model.get_submodule(layer).register_forward_pre_hook(lambda _m, x: seen.append(x[0].clone()))
    with torch.no_grad():
        for images, _ in batches:
            model(images)
    hook.remove()
    return torch.cat(seen)


def test_a_layer_is_the_ridge_regression_on_the_kept_dense_inputs(tiny_se, batches):
    plan = _plan(tiny_se, 0.5)
    small = Live(tiny_se, None, batches, ridge=1e-3, progress=False).solve(plan)
    x = _inputs(tiny_se, "layer2.0.conv2", batches)[:, list(plan.keep["layer2.0.conv1"])]
    rows = torch.nn.functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1).double()  # (N, C * 9)
    block = tiny_se.layer2[0]
    with torch.no_grad():
        y = torch.cat([block.bn2(block.conv2(part)) for part in _inputs(tiny_se, "layer2.0.conv2", batches).split(16)])
        y = (y * block.se2.gate(y)[:, :, None, None])[:, list(plan.keep["layer2.0.conv2"])]
    goal = y.permute(0, 2, 3, 1).flatten(0, 2).double()
    centred = rows - rows.mean(0)
    damping = 1e-3 * centred.square().mean() * len(rows)
    gram = centred.T @ centred + damping * torch.eye(rows.shape[1])
    wanted = torch.linalg.solve(gram, centred.T @ (goal - goal.mean(0)))
    conv, norm = small.layer2[0].conv2, small.layer2[0].bn2
    torch.testing.assert_close(conv.weight.flatten(1).T.double(), wanted, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(norm.running_mean.double(), rows.mean(0) @ wanted, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(norm.running_var.double(), (centred @ wanted).square().mean(0), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["Depthwise", "Grouped", "Transposed", "Concat", "Flatten"])
def test_rows_and_columns_of_the_moments_are_the_moments_of_the_kept_channels(name):
    """Of every kind of layer: the same weights come out of the least squares over what the dense network shows it."""
    (model, size), groups = network(name), groups_of(name)
    x, plan = pictures(size, 64), random_plan(groups, 0.5)
    small = Live(model, groups, [(x, torch.zeros(64))], ridge=1e-2, progress=False).solve(plan)
    kept, seen = kept_channels(model, plan, groups), {}

    def keep(key, _module, x, y=None):
        seen[key] = (x[0] if y is None else y).clone()

    chain = rebuildable(model)
    at = {"in": [u.layer for u in chain], "out": [u.norm or u.layer for u in chain]}
    spots = {
        side: [(model.get_submodule(n), partial(keep, (u.layer, side))) for u, n in zip(chain, at[side], strict=True)]
        for side in at
    }
    with torch.no_grad(), hooked(spots["out"], in_front=spots["in"]):
        model(x)
    for unit in chain:
        layer, into, out = small.get_submodule(unit.layer), *(kept(unit.layer, side) for side in ("in", "out"))
        if name == "Grouped" and unit.layer == "whole":  # eight groups of two inputs and three outputs go as they are
            into = (2 * (out[::3] // 3)[:, None] + torch.arange(2)).flatten()
        x, target = (seen[unit.layer, side].index_select(1, at) for side, at in (("in", into), ("out", out)))
        fit = solve(accumulate(None, layer, x, target).moments().to(torch.float32), layer, 1e-2)
        torch.testing.assert_close(layer.weight, fit.weight, rtol=1e-3, atol=1e-3, msg=unit.layer)


def test_nothing_pruned_repairs_the_folding(tiny_se, live, batches):
    groups = find_groups(tiny_se, 32)
    whole = live.solve(full_plan(groups))
    folded = fold(tiny_se, gate_statistics(tiny_se, batches, progress=False))
    images = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        error = [(model(images) - tiny_se(images)).square().mean() for model in (whole, folded)]
    assert error[0] < error[1]
    assert whole.config == folded.config


@pytest.mark.parametrize("ratio", [0.3, 0.7])
def test_better_than_the_raw_cut_and_of_the_same_shape(ratio, tiny_se, live, batches):
    plan, plain = _plan(tiny_se, ratio), fold(tiny_se, gate_statistics(tiny_se, batches, progress=False))
    raw, repaired = apply(plain, plan), live.solve(plan)
    shapes = {name: value.shape for name, value in raw.state_dict().items()}
    assert {name: value.shape for name, value in repaired.state_dict().items()} == shapes
    images = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        error = [(model(images) - tiny_se(images)).square().mean() for model in (repaired, raw)]
    assert error[0] < error[1]


def test_any_number_of_plans_and_each_time_the_same(tiny_se, live):
    before = {name: value.clone() for name, value in tiny_se.state_dict().items()}
    first, other, again = (live.solve(_plan(tiny_se, ratio)).state_dict() for ratio in (0.5, 0.2, 0.5))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert other["fc.weight"].shape != first["fc.weight"].shape
    assert all(torch.equal(value, before[name]) for name, value in tiny_se.state_dict().items())


def test_statistics_can_be_reestimated_afterwards(tiny_se, live, batches):
    plan = _plan(tiny_se, 0.5)
    plain, fitted = live.solve(plan), live.solve(plan, batches=batches)
    assert torch.equal(plain.fc.weight, fitted.fc.weight)
    assert not torch.equal(plain.layer3[0].bn1.running_mean, fitted.layer3[0].bn1.running_mean)


def test_first_layer_is_that_of_the_sequential_form(tiny_se, live, batches):
    plan, plain = _plan(tiny_se, 0.5), fold(tiny_se, gate_statistics(tiny_se, batches, progress=False))
    other = sequential(tiny_se, apply(plain, plan), plan, batches, progress=False)
    torch.testing.assert_close(live.solve(plan).conv1.weight, other.conv1.weight, rtol=1e-2, atol=1e-3)


def test_memory_is_what_it_says(tiny_se, live):
    squares = sum(
        (layer.weight[0].numel()) ** 2
        for name, layer in tiny_se.named_modules()
        if hasattr(layer, "weight") and layer.weight.dim() > 1 and ".fc" not in name and "se" not in name
    )
    assert 4 * squares < live.nbytes < 1.5 * 4 * squares + 200_000


def test_errors_and_stopping(tiny_se, tiny_data, live, batches):
    with pytest.raises(PlanError):
        live.solve(Plan({}, {"conv1": (0,)}, {"conv1": 8}, {}))
    with pytest.raises(DataError, match="training split"):
        Live(tiny_se, None, Batches(tiny_data, "val"), progress=False)
    with pytest.raises(Stopped):
        Live(tiny_se, None, Unwanted(batches, 9), progress=False)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny_se.modules())
