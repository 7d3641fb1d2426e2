"""The checks of notebook 05: each catches the errors that its text warns of."""

import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.course import CheckFailed, Passed
from rsprune_lib.course.checks.notebook_05 import check_leave, check_mean_cost, check_soft_loss
from rsprune_lib.training.distillation import soft


def kl(student, teacher, temperature, reduction="batchmean"):
    wanted, said = (teacher / temperature).softmax(1), (student / temperature).log_softmax(1)
    return F.kl_div(said, wanted, reduction=reduction)


def test_the_librarys_own_loss_passes():
    assert isinstance(check_soft_loss(lambda s, t, T: soft(s, t, torch.zeros(len(s)), T)), Passed)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (kl, "16 times too small"),
        (lambda s, t, T: T**2 * kl(s, t, T, "sum"), "mean over images"),
        (lambda s, t, T: T**2 * kl(t, s, T), "expected"),  # the other way round
        (lambda s, t, T: T**2 * kl(s, t * T, T), "expected"),  # the temperature on one side only
        (lambda s, t, T: T**2 * F.cross_entropy(s / T, (t / T).softmax(1)), "expected"),
        (lambda s, t, T: None, "return missing"),
    ],
)
def test_soft_loss_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_soft_loss(wrong)


def sure(records):
    return records.softmax(2).max(2).values


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda r, t: (sure(r) >= t).int().argmax(1), "last column"),
        (lambda r, t: sure(r).argmax(1), "not the surest"),
        (lambda r, t: (sure(r) < t).int().argmax(1), "exits"),
        (lambda r, t: 3, "one exit number an image"),
    ],
)
def test_leave_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_leave(wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda exits, costs: sum(costs) / len(costs) / costs[-1], "as often as"),
        (lambda exits, costs: sum(costs[e] for e in exits) / len(exits), "Divide by"),
        (lambda exits, costs: sum(costs[e] for e in exits) / costs[-1], "expected 0.475"),
    ],
)
def test_mean_cost_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_mean_cost(wrong)
