"""Checks of the exercises in notebook 08: whole numbers for some values, a scale without the outlier, a pick."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_clip_scale", "check_pick", "check_quantise"]


@exercise(
    "low = min(0, lowest), high = max(0, highest); s = (high - low) / 255; z = round(-low / s); q = "
    "clip(round(x / s) + z, 0, 255)"
)
def check_quantise(quantise: Callable[[Tensor], tuple[float, int, Tensor]]) -> Passed:
    """Checks ``quantise(values) -> (scale, zero point, whole numbers)``: 0 to 255, with a zero that is exact."""
    hint = "scale = (high - low) / 255 with low at most 0 and high at least 0; zero point = round(-low / scale)."
    values = torch.tensor([-1.0, -0.4, 0.0, 0.3, 0.9, 1.55])
    scale, zero, whole = _three(call(quantise, values.clone(), hint=hint), hint)
    if abs(scale - 2.55 / 256) < 1e-7:
        raise CheckFailed("The scale is a little too small.", "256 values have 255 steps between them.")
    expect_close("the scale of numbers from -1 to 1.55", scale, 0.01, hint, tolerance=1e-6)
    if zero != round(zero):
        raise CheckFailed(
            f"The zero point is {zero:.3f}.", "It is one of the whole numbers, so that 0 stays exactly 0."
        )
    expect_close("the zero point", zero, 100, hint)
    right = torch.tensor([0, 60, 100, 130, 190, 255])
    if torch.equal(whole.round().long(), right - 100):
        raise CheckFailed(
            "The whole numbers lack the zero point.", "q = round(x / scale) + zero point, within 0 to 255."
        )
    expect_close("the whole numbers", whole, right, hint)
    positive = "Every value here is above 0; yet 0 must be among the 256 (a border of zeros is in every layer)."
    scale, zero, whole = _three(call(quantise, torch.tensor([2.0, 3.0, 5.1]), hint=positive), positive)
    expect_close("the scale of 2.0 3.0 5.1", scale, 0.02, positive, tolerance=1e-6)
    expect_close("their zero point", zero, 0, positive)
    expect_close("their whole numbers", whole, [100, 150, 255], positive)
    return Passed("Right: one multiplication and one addition turn 256 whole numbers into a range of your choice.")


@exercise("scale = quantile(values, share) / 255")
def check_clip_scale(clip_scale: Callable[[Tensor, float], float]) -> Passed:
    """Checks ``clip_scale(values, share) -> scale``: the share of the values (0 or more) that fits into 0 to 255."""
    hint = "torch.quantile(values, share) is the number that this share of the values does not exceed."
    values = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([51.0])])
    scale = _number(call(clip_scale, values.clone(), 0.99, hint=hint), hint)
    if abs(scale - 0.2) < 1e-4:
        raise CheckFailed(
            f"The scale is {scale:.3f}: one value of 51 decides over 1,000 others, and they share five whole numbers.",
            "Let the largest one per cent be clipped.",
        )
    right = float(torch.quantile(values, 0.99)) / 255
    if abs(scale - right * 255 / 256) < 1e-7:
        raise CheckFailed("The scale is a little too small.", "256 values have 255 steps between them.")
    if abs(scale - right * 255) < 1e-4:
        raise CheckFailed(f"Got {scale:.3f}, which is the largest value that fits.", "The scale is one step of 255.")
    expect_close("the scale at 99 %", scale, right, hint, tolerance=2e-5)
    expect_close("the scale at 100 %", call(clip_scale, values.clone(), 1.0, hint=hint), 0.2, hint, tolerance=1e-4)
    return Passed("Right: ten values lose their size, a thousand keep their differences.")


@exercise('among rows with ms ≤ budget: the largest accuracy, then the smallest mb; "none" if there is no such row')
def check_pick(pick: Callable[[Sequence[Mapping[str, Any]], float], str]) -> Passed:
    """Checks ``pick(rows, budget) -> name``: the most accurate that fits, the smaller file of two as accurate."""
    hint = "First leave out what is too slow, then take the largest accuracy, then the smallest file."
    rows = [
        {"name": "a", "accuracy": 0.97, "ms": 9.0, "mb": 46.0},
        {"name": "b", "accuracy": 0.96, "ms": 1.0, "mb": 4.0},
        {"name": "c", "accuracy": 0.96, "ms": 2.0, "mb": 1.1},
        {"name": "d", "accuracy": 0.91, "ms": 0.3, "mb": 0.3},
    ]
    value = call(pick, [dict(row) for row in rows], 5.0, hint=hint)
    if value == "d":
        raise CheckFailed("You pick d, the fastest.", "Below the budget speed is worth nothing more; accuracy is.")
    if value == "a":
        raise CheckFailed("You pick a, which takes 9 ms of 5.", "What does not fit is not a choice.")
    if value == "b":
        raise CheckFailed("You pick b; c is as accurate, fits as well, and its file is smaller.", hint)
    expect_equal("the pick for 5 ms", value, "c", hint)
    equal = call(pick, [dict(row) for row in rows], 9.0, hint="9 ms fit into a budget of 9 ms.")
    expect_equal("the pick for 9 ms", equal, "a", "9 ms fit into a budget of 9 ms.")
    none = "Say it in words: return the text 'none' where nothing fits."
    expect_equal("the pick for 0.1 ms", call(pick, [dict(row) for row in rows], 0.1, hint=none), "none", none)
    return Passed("Right: a budget is a limit, not a goal.")


def _three(value: object, hint: str) -> tuple[float, float, Tensor]:
    try:
        scale, zero, whole = value
        return float(scale), float(zero), torch.as_tensor(whole).double()
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"Got {value!r:.60}; expected scale, zero point and whole numbers.", hint) from None


def _number(value: object, hint: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"Got {value!r:.60}; expected one number.", hint) from None
