"""Exercise checks of notebook 03: right answers pass, the usual mistakes and stubs get a hint that fits them."""

import runpy
from pathlib import Path

import pytest
import torch

from rsprune_lib.course import CheckFailed
from rsprune_lib.course.checks.notebook_03 import check_global_keep, check_refit, check_remove_channel

SOLUTIONS = runpy.run_path(str(Path(__file__).resolve().parents[1] / "notebooks" / "solutions" / "03_prune.py"))
SOLVED = {check_remove_channel: "remove_channel", check_global_keep: "global_keep", check_refit: "refit"}


def stub(*arguments):
    raise NotImplementedError


def rows_only(conv1, conv2, fc, channel):
    stay = [c for c in range(len(conv1)) if c != channel]
    return conv1[stay], conv2[stay], fc[:, stay]


def columns_only(conv1, conv2, fc, channel):
    stay = [c for c in range(len(conv1)) if c != channel]
    return conv1[stay], conv2[:, stay], fc[:, stay]


def by_threshold(scores, remove):
    ordered = sorted(float(v) for values in scores.values() for v in values)
    return {n: [c for c, v in enumerate(values) if v >= ordered[remove]] for n, values in scores.items()}


def share_of_each(scores, remove):
    each = remove // len(scores)
    return {n: values.argsort()[each:].tolist() for n, values in scores.items()}


def penalised_bias(batches, ridge):
    x, t = (torch.cat(part) for part in zip(*batches, strict=True))
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    solution = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]), x.T @ t)
    return solution[:-1], solution[-1]


def first_batch(batches, ridge):
    return SOLUTIONS["refit"](batches[:1], ridge)


def without_bias(batches, ridge):
    x, t = (torch.cat(part) for part in zip(*batches, strict=True))
    return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]), x.T @ t), torch.zeros(t.shape[1])


MISTAKES = [
    (check_remove_channel, rows_only, "conv2 .* has shape"),
    (check_remove_channel, columns_only, "conv2 .* has shape"),
    (check_remove_channel, lambda a, b, c, i: a, "expected .conv1, conv2, fc."),
    (check_global_keep, by_threshold, "keeps that one"),
    (check_global_keep, share_of_each, "cut of 2"),
    (check_global_keep, lambda scores, remove: 3, "one list of channel numbers"),
    (check_refit, penalised_bias, "gets no ridge"),
    (check_refit, first_batch, "W without ridge"),
    (check_refit, without_bias, "column of ones"),
    (check_refit, lambda batches, ridge: 1.0, "pair"),
]


@pytest.mark.parametrize("check", SOLVED)
def test_solution_passes_and_stub_does_not(check):
    assert repr(check(SOLUTIONS[SOLVED[check]])).startswith("✓ ")
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub)


@pytest.mark.parametrize(("check", "mistake", "said"), MISTAKES)
def test_usual_mistakes_get_a_hint(check, mistake, said):
    with pytest.raises(CheckFailed, match=said):
        check(mistake)
