"""Least squares in a few dimensions: exact where nothing is left out, near where little is, small where asked."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.pruning.calibration import RecoveryError
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.criteria.registry import score
from rsprune_lib.pruning.groups import find_groups
from rsprune_lib.pruning.recovery.least_squares import accumulate, solve
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.low_rank import low_rank


def _moments(inputs=40, hidden=6, noise=0.1, outputs=7, rows=4000):
    """A linear layer whose inputs vary in a few directions, and a little in all."""
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=random)  # noqa: E731
    x = draw(rows, hidden) @ draw(hidden, inputs) + noise * (0.5 + torch.rand(inputs, generator=random)) * draw(
        rows, inputs
    )
    layer = nn.Linear(inputs, outputs)
    target = x @ draw(inputs, outputs) + 0.3 * draw(rows, outputs) + 2
    return x, target, layer, accumulate(None, layer, x + 1, target).moments()


def test_with_all_directions_it_is_the_exact_solution():
    _, _, layer, moments = _moments()
    exact, other = solve(moments, layer, 1e-3), low_rank(moments, 40, 1e-3).solve(layer)
    for name, value in vars(exact).items():
        torch.testing.assert_close(getattr(other, name), value, rtol=1e-6, atol=1e-8, msg=name)


def test_the_covariance_is_kept_but_for_what_is_small():
    _, _, _, moments = _moments()
    found = low_rank(moments, 6)
    damping = 1e-4 * moments.covariance.diagonal(dim1=1, dim2=2).mean()
    rebuilt = found.basis @ found.basis.mT + torch.diag_embed(found.noise - damping)
    torch.testing.assert_close(rebuilt, moments.covariance, rtol=0, atol=0.03)  # inputs vary by about 6
    torch.testing.assert_close(rebuilt.diagonal(dim1=1, dim2=2), moments.covariance.diagonal(dim1=1, dim2=2))
    leading = torch.linalg.eigvalsh(moments.covariance[0])[-6:]
    torch.testing.assert_close(found.basis[0].square().sum(0), leading, rtol=1e-4, atol=0)


def test_a_cut_layer_is_fitted_nearly_as_well_as_exactly():
    x, target, _, moments = _moments()
    rows, outputs, layer = torch.arange(3, 28), torch.tensor([0, 4, 5]), nn.Linear(25, 3)
    wanted = target[:, outputs].double()

    def error(fit):
        y = (x + 1)[:, rows].double() @ fit.weight.T + fit.bias
        torch.testing.assert_close(fit.mean + fit.bias, y.mean(0), rtol=1e-4, atol=1e-4)
        return float((y - wanted).square().mean())

    best = error(solve(moments.cut(rows, outputs), layer))
    fit = low_rank(moments, 8).cut(rows, outputs).solve(layer)
    near, y = error(fit), (x + 1)[:, rows].double() @ fit.weight.T
    torch.testing.assert_close(fit.var, y.var(0, correction=0), rtol=0.05, atol=1e-3)
    assert best <= near < 1.1 * best
    assert 1.5 * near < error(low_rank(moments, 2).cut(rows, outputs).solve(layer))  # so the rank is really used


def test_it_is_the_same_each_time_and_leaves_the_random_numbers_alone():
    _, _, _, moments = _moments()
    state = torch.get_rng_state()
    first, second = low_rank(moments, 8), low_rank(moments, 8)
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_solution_is_said():
    _, _, layer, moments = _moments()
    broken = replace(low_rank(moments, 8), lost=moments.cross[:, :8] * float("nan"))
    with pytest.raises(RecoveryError, match="NaN"):
        broken.solve(layer)


def test_live_recovery_of_wide_layers_is_near_the_exact_one_and_smaller(tiny_se, tiny_data):
    batches, groups = Batches(tiny_data, "train", 16), find_groups(tiny_se, 32)
    exact, quick = (Live(tiny_se, None, batches, rank=rank, progress=False) for rank in (None, 32))
    assert quick.nbytes < exact.nbytes / 2
    plan = choose(score(tiny_se, groups, "l2"), groups, ratio=0.5)
    x = torch.cat([images for images, _ in Batches(tiny_data, "train", 16)])
    with torch.no_grad():
        want, near = (live.solve(plan, batches=batches)(x) for live in (exact, quick))
        dense = tiny_se(x)
    assert (near - want).square().mean() < 0.1 * (dense - dense.mean(0)).square().mean()


@pytest.mark.parametrize("rows", [torch.arange(2, 38), torch.arange(30, 38)], ids=["few removed", "many removed"])
def test_both_ways_to_what_was_lost_agree_with_the_model_solved_whole(rows):
    """The solution for the kept inputs of the low-rank model itself, by its whole matrix."""
    _, _, _, moments = _moments()
    found, outputs, layer = low_rank(moments, 8, 1e-2), torch.tensor([1, 6]), nn.Linear(len(rows), 2)
    model = (found.basis @ found.basis.mT + torch.diag_embed(found.noise))[0]
    cross = (model @ found.weight[0])[rows][:, outputs]
    wanted = torch.linalg.solve(model[rows][:, rows], cross)
    fit = found.cut(rows, outputs).solve(layer)
    torch.testing.assert_close(fit.weight.T, wanted)
    gone = found.weight[0][:, outputs].clone()
    gone[rows] -= wanted
    torch.testing.assert_close(found.var[0, outputs] - fit.var, (gone * (model @ gone)).sum(0))


def test_nothing_removed_is_the_exact_solution_whatever_the_rank():
    _, _, layer, moments = _moments()
    exact, fit = solve(moments, layer, 1e-4), low_rank(moments, 3).cut(torch.arange(40), torch.arange(7)).solve(layer)
    for name, value in vars(exact).items():
        torch.testing.assert_close(getattr(fit, name), value, rtol=1e-6, atol=1e-8, msg=name)


def test_a_cut_of_a_cut_is_one_cut():
    _, _, _, moments = _moments()
    found, layer, every = low_rank(moments, 8), nn.Linear(12, 7), torch.arange(7)
    twice = found.cut(torch.arange(5, 35), every).cut(torch.arange(3, 15), every).solve(layer)
    once = found.cut(torch.arange(8, 20), every).solve(layer)
    for name, value in vars(once).items():
        torch.testing.assert_close(getattr(twice, name), value, msg=name)
