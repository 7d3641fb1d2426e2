"""The ground under exercise checks: a failed one shows a hint instead of a traceback, a passed one a kind line.

A check calls the learner's function on small inputs and compares. It says what was got and what was expected, and helps
in three steps: for the stub it names the task, for the first wrong answer it says what to think about, from the second
on it shows the formula. It never shows the code.
"""

from collections.abc import Callable
from functools import wraps

import torch

__all__ = ["CheckFailed", "Passed", "call", "exercise", "expect_close", "expect_equal"]


class CheckFailed(AssertionError):
    """An exercise is not solved yet; a notebook shows only this text, without a traceback."""

    def __init__(self, problem: str, hint: str, *, tried: bool = True, formula: str = "") -> None:
        super().__init__("\n".join([problem, f"Hint: {hint}", *([f"Formula: {formula}"] if formula else [])]))
        self.problem, self.hint, self.tried, self.formula = problem, hint, tried, formula

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {line}" if number == 0 else line for number, line in enumerate(str(self).splitlines())]


class Passed(str):
    """One encouraging line; as the last value of a cell it shows without quotes."""

    def __repr__(self) -> str:
        return f"✓ {self}"


def exercise(formula: str) -> Callable[[Callable], Callable]:
    """Makes a function the check of an exercise: it counts wrong answers until a right one.

    Args:
        formula: What the second wrong answer in a row shows, in one line.
    """

    def mark(check: Callable[[Callable], Passed]) -> Callable[[Callable], Passed]:
        wrong = 0

        @wraps(check)
        def checked(function: Callable) -> Passed:
            nonlocal wrong
            try:
                passed = check(function)
            except CheckFailed as failed:
                wrong += failed.tried
                if wrong < 2 or not failed.tried:
                    raise
                raise CheckFailed(failed.problem, failed.hint, formula=formula) from failed.__cause__
            wrong = 0
            return passed

        checked.formula = formula
        return checked

    return mark


def call(function: Callable, *arguments: object, hint: str) -> object:
    """Calls the learner's function and turns a stub, a crash or a forgotten return into a hint.

    Args:
        function: What the learner wrote.
        *arguments: What it is called with.
        hint: What to think about; a stub gets the task and no hint yet.

    Raises:
        CheckFailed: It is not written yet, raises, or returns nothing.
    """
    name = getattr(function, "__name__", "your function")
    try:
        value = function(*arguments)
    except NotImplementedError:
        start = "replace the line with NotImplementedError by your own; the text above states the task."
        raise CheckFailed(f"{name} is not written yet.", start, tried=False) from None
    except Exception as error:
        raise CheckFailed(f"{name} raised {type(error).__name__}: {error}.", hint) from error
    if value is None or value is Ellipsis:
        raise CheckFailed(f"{name} returned {value}; is a return missing?", hint)
    return value


def expect_close(what: str, got: object, expected: object, hint: str, *, tolerance: float = 1e-5) -> None:
    """Compares numbers or tensors.

    Args:
        what: What is compared, e.g. ``"the folded weight"``.
        got: The learner's value: a number, list, array or tensor.
        expected: The right value.
        hint: What to think about.
        tolerance: Largest absolute difference that passes.

    Raises:
        CheckFailed: Shape or values differ.
    """
    try:
        mine = torch.as_tensor(got, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"{what} is a {type(got).__name__}; expected numbers.", hint) from None
    right = torch.as_tensor(expected, dtype=torch.float64)
    if mine.shape != right.shape:
        raise CheckFailed(f"{what} has shape {tuple(mine.shape)}, expected {tuple(right.shape)}.", hint)
    if not torch.allclose(mine, right, rtol=0, atol=tolerance):
        raise CheckFailed(f"{what} is {_show(mine)}, expected {_show(right)}.", hint)


def expect_equal(what: str, got: object, expected: object, hint: str) -> None:
    """Compares exactly, e.g. counts, names or lists.

    Raises:
        CheckFailed: The values differ.
    """
    if got != expected:
        raise CheckFailed(f"{what} is {got!r}, expected {expected!r}.", hint)


def _show(values: torch.Tensor) -> str:
    numbers = [f"{x:.4g}" for x in values.detach().flatten()[:6].tolist()]
    return numbers[0] if values.ndim == 0 else f"[{', '.join(numbers)}{', …' if values.numel() > 6 else ''}]"
