"""Exercise checks: right answers pass, the usual mistakes and stubs get a hint, and a notebook shows only the hint."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from rsprune_lib.course import CheckFailed
from rsprune_lib.course.checks.expect import Passed, call, expect_close
from rsprune_lib.course.checks.notebook_00 import check_leaks, check_weights_left
from rsprune_lib.course.checks.notebook_03 import check_sensitivity
from rsprune_lib.course.checks.notebook_03b import check_all_pairs, check_dominating, check_protect
from rsprune_lib.course.checks.notebook_04 import check_hardest_class, check_mining


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


def leaks_with_twins(train, val, test):
    """A number that stands twice inside one part is counted as well."""
    _, times = np.unique(np.concatenate([train, val, test]), return_counts=True)
    return int((times > 1).sum())


def weights_rounded(c_in, c_out, ratio):
    return round(c_in * (1 - ratio)) * round(c_out * (1 - ratio)) / (c_in * c_out)


def weights_half_up(c_in, c_out, ratio):
    return int(c_in * (1 - ratio) + 0.5) * int(c_out * (1 - ratio) + 0.5) / (c_in * c_out)


def class_of_the_worst_image(losses, labels):
    return int(labels[losses.argmax()])


def class_by_sum(losses, labels):
    return int(torch.bincount(labels, weights=losses).argmax())


def class_by_mean_of_none(losses, labels):
    means = torch.stack([losses[labels == k].mean() for k in range(int(labels.max()) + 1)])
    return int(means.argmax())  # nan is the largest of all


def dominating_by_first_degrees(edges):
    """Degrees are counted once, at the start."""
    kept, gone = [], set()
    for vertex in sorted(range(len(edges)), key=lambda v: (-edges[v].sum(), v)):
        if vertex not in gone:
            kept.append(vertex)
            gone |= {vertex, *np.flatnonzero(edges[vertex])}
    return kept


def dominating_without_the_lonely(edges):
    left, kept = set(range(len(edges))), []
    while any(edges[v, u] for v in left for u in left):
        busiest = max(sorted(left), key=lambda v: sum(edges[v, u] for u in left))
        kept.append(busiest)
        left -= {busiest, *np.flatnonzero(edges[busiest])}
    return kept


def pairs_in_a_loop(bits):
    out = torch.zeros(len(bits), len(bits))
    for i in range(len(bits)):
        for j in range(len(bits)):
            out[i, j] = (bits[i] == bits[j]).float().mean()
    return out


def pairs_in_a_comprehension(bits):
    return torch.stack([(bits == row).float().mean(1) for row in bits])


def pairs_of_ones(bits):
    return bits.float() @ bits.float().T / bits.shape[1]


def most_similar_first(kept, similar, least):
    removed = sorted((c for c in range(len(similar)) if c not in kept), key=lambda c: -similar[c, kept].max())
    return kept + removed[: max(0, least - len(kept))]


SOLVED = {
    check_mining: mining,
    check_sensitivity: scan,
}
MISTAKES = [
    (check_mining, mining_of_the_mean, "one sample"),
    (check_sensitivity, scan_all_at_once, "conv1"),
    (check_sensitivity, lambda accuracy_of, groups, ratios: [], "one list"),
    (check_leaks, leaks_with_twins, "unique first"),
    (check_weights_left, weights_rounded, "rounds down"),
    (check_weights_left, weights_half_up, "rounds down"),
    (check_weights_left, lambda c_in, c_out, ratio: (1 - ratio) ** 2, "Channels are whole"),
    (check_hardest_class, class_of_the_worst_image, "One bad image"),
    (check_hardest_class, class_by_sum, "divide by how often"),
    (check_hardest_class, class_by_mean_of_none, "has no sample"),
    (check_dominating, dominating_by_first_degrees, "count again"),
    (check_dominating, dominating_without_the_lonely, "it stays"),
    (check_dominating, lambda edges: list(range(len(edges))), "its neighbours go"),
    (check_all_pairs, pairs_in_a_loop, "a loop goes through"),
    (check_all_pairs, pairs_in_a_comprehension, "a loop goes through"),
    (check_all_pairs, pairs_of_ones, "-1 and .1"),
    (check_protect, most_similar_first, "smallest of these comes back first"),
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


def all_checks():
    """Every check of every notebook."""
    from importlib import import_module
    from pkgutil import iter_modules

    from rsprune_lib.course import checks

    names = [module.name for module in iter_modules(checks.__path__) if module.name.startswith("notebook_")]
    modules = [import_module(f"{checks.__name__}.{name}") for name in names]
    return [getattr(module, name) for module in modules for name in module.__all__]


def test_help_comes_in_three_steps():
    """The task for the stub, a hint for the first wrong answer, the formula from the second on."""

    def said(answer):
        with pytest.raises(CheckFailed) as caught:
            check_hardest_class(answer)
        return str(caught.value), caught.value._render_traceback_()

    def right(losses, labels):
        return int((torch.bincount(labels, losses) / torch.bincount(labels).clamp(min=1)).argmax())

    assert check_hardest_class(right)
    for _ in range(3):  # a stub is no answer
        text, _ = said(stub)
        assert "not written yet" in text and "Formula" not in text
    text, lines = said(class_by_sum)
    assert "Formula" not in text and [line.split(":")[0] for line in lines] == ["Not yet", "Hint"]
    for _ in range(2):
        text, lines = said(class_by_sum)
        assert lines[-1] == f"Formula: {check_hardest_class.formula}" and lines[-1] in text
        assert [line.split(":")[0] for line in lines] == ["Not yet", "Hint", "Formula"]
    text, _ = said(stub)
    assert "Formula" not in text
    assert check_hardest_class(right)  # and the next learner begins anew
    assert "Formula" not in said(class_by_sum)[0]
    check_hardest_class(right)


def test_every_check_has_a_formula_and_no_code():
    checks = all_checks()
    assert len(checks) > 25
    for check in checks:
        formula = check.formula
        assert 15 < len(formula) < 200 and "\n" not in formula, check.__name__
        assert not any(code in formula for code in ("def ", "return", "lambda", "torch.", "np.")), check.__name__
