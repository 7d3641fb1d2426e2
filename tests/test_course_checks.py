"""Exercise checks: right answers pass, the usual mistakes and stubs get a hint, and a notebook shows only the hint."""

import pytest
from torch.nn import functional

from rsprune_lib.course import CheckFailed
from rsprune_lib.course.checks.expect import Passed, call, expect_close
from rsprune_lib.course.checks.notebook_03 import check_sensitivity
from rsprune_lib.course.checks.notebook_04 import check_mining


def stub(*arguments):
    raise NotImplementedError


def mining(logits, target):
    p = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
    d = 2 / logits.shape[1] * (1 - p)
    return (d + d * d).exp().mean() + functional.cross_entropy(logits, target)


def scan(accuracy_of, groups, ratios):
    return {group: [accuracy_of(group, ratio) for ratio in ratios] for group in groups}


def mining_of_the_mean(logits, target):
    p = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
    d = (2 / logits.shape[1] * (1 - p)).mean()
    return (d + d * d).exp() + functional.cross_entropy(logits, target)


def scan_all_at_once(accuracy_of, groups, ratios):
    return {group: [min(accuracy_of(g, ratio) for g in groups) for ratio in ratios] for group in groups}


SOLVED = {
    check_mining: mining,
    check_sensitivity: scan,
}
MISTAKES = [
    (check_mining, mining_of_the_mean, "one sample"),
    (check_sensitivity, scan_all_at_once, "conv1"),
    (check_sensitivity, lambda accuracy_of, groups, ratios: [], "one list"),
]


@pytest.mark.parametrize("check", SOLVED)
def test_solution_passes_and_stub_does_not(check):
    assert repr(check(SOLVED[check])).startswith("✓ ")
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub)
    with pytest.raises(CheckFailed, match="is a return missing"):
        check(lambda *arguments: None)


@pytest.mark.parametrize(("check", "mistake", "said"), MISTAKES)
def test_usual_mistakes_get_a_hint(check, mistake, said):
    with pytest.raises(CheckFailed, match=said):
        check(mistake)


def test_a_crash_is_named():
    with pytest.raises(CheckFailed, match=r"ZeroDivisionError: division by zero"):
        call(lambda: 1 / 0, hint="none")


def test_words_instead_of_numbers_are_named():
    with pytest.raises(CheckFailed, match="is a str; expected numbers"):
        expect_close("the value", "three", 3.0, "give a number")


def test_a_notebook_shows_the_hint_without_a_traceback():
    shown = CheckFailed("got 2, expected 3.", "count again")._render_traceback_()
    assert shown == ["Not yet: got 2, expected 3.", "Hint: count again"]
    assert Passed("good") == "good"
