"""The checks of notebook 08: each catches the errors that its text warns of."""

import pytest
import torch

from rsprune_lib.course import CheckFailed
from rsprune_lib.course.checks.notebook_08 import check_clip_scale, check_pick, check_quantise


def quantised(values, steps=255, low=None, zero=None, shift=True):
    low = min(float(values.min()), 0.0) if low is None else low(values)
    high = max(float(values.max()), 0.0)
    scale = (high - low) / steps
    zero = round(-low / scale) if zero is None else zero(low, scale)
    return scale, zero, (torch.round(values / scale) + (zero if shift else 0)).clamp(0 if shift else -255, 255)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x: quantised(x, steps=256), "255 steps"),
        (lambda x: quantised(x, low=lambda v: float(v.min())), "0 must be among"),  # the trap: no exact zero
        (lambda x: quantised(x, shift=False), "lack the zero point"),
        (lambda x: quantised(x, zero=lambda low, scale: -low / scale + 0.25), "one of the whole numbers"),
        (lambda x: (x.abs().max() / 127, 0, torch.round(x / (x.abs().max() / 127))), "expected 0.01"),  # symmetric
        (lambda x: x, "expected scale, zero point"),
        (lambda x: None, "return missing"),
    ],
)
def test_quantise_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_quantise(wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, share: x.max() / 255, "one per cent be clipped"),  # the trap: the outlier decides
        (lambda x, share: torch.quantile(x, share), "one step of 255"),
        (lambda x, share: torch.quantile(x, share) / 256, "255 steps"),
        (lambda x, share: share * x.max() / 255, "expected"),
        (lambda x, share: [1, 2], "expected one number"),
    ],
)
def test_clip_scale_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_clip_scale(wrong)


def best(rows, budget, key=lambda row: (row["accuracy"], -row["mb"]), fits=lambda ms, budget: ms <= budget):
    fitting = [row for row in rows if fits(row["ms"], budget)]
    return max(fitting, key=key)["name"] if fitting else "none"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda rows, budget: best(rows, budget, lambda row: -row["ms"]), "accuracy is"),  # the trap: the fastest
        (lambda rows, budget: best(rows, 1e9), "not a choice"),
        (lambda rows, budget: best(rows, budget, lambda row: row["accuracy"]), "smaller"),
        (lambda rows, budget: best(rows, budget, fits=lambda ms, most: ms < most), "fit into a budget"),
        (lambda rows, budget: best(rows, budget).replace("none", "d"), "nothing fits"),
    ],
)
def test_pick_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_pick(wrong)
