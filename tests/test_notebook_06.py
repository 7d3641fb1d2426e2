"""The checks of notebook 06: each catches the errors that its text warns of."""

import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.course import CheckFailed, Passed
from rsprune_lib.course.checks.notebook_06 import check_edges, check_iou, check_turns
from rsprune_lib.measure import class_numbers, edges_of
from rsprune_lib.pruning import channel_scores


def test_the_librarys_own_answers_pass():
    assert isinstance(check_iou(lambda c: torch.from_numpy(class_numbers(c.numpy()).iou)), Passed)
    assert isinstance(check_edges(lambda mask: edges_of(mask[None], 1)[0] == 1), Passed)

    def turns(table, keep):
        return channel_scores(table, range(len(table)), "minority_group").topk(keep).indices

    assert isinstance(check_turns(turns), Passed)


def parts(c):
    return c.diagonal().double(), c.sum(1), c.sum(0)


def recall(c):
    hits, rows, _ = parts(c)
    return hits / rows


def twice(c):
    hits, rows, columns = parts(c)
    return hits / (rows + columns)


def never_nan(c):
    hits, rows, columns = parts(c)
    return hits / (rows + columns - hits).clamp_min(1)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (recall, "own pixels"),
        (lambda c: recall(c.T), "that were missed"),
        (twice, "hold its hits twice"),
        (lambda c: 2 * twice(c), "Dice"),
        (never_nan, "must stay NaN"),
        (lambda c: (c.diagonal().sum() / c.sum()).double(), "shape"),
        (lambda c: None, "return missing"),
    ],
)
def test_iou_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_iou(wrong)


def moved(mask, direct=True, both=True):
    found = torch.zeros_like(mask, dtype=torch.bool)
    for dim in (0, 1):
        here, there = (mask.narrow(dim, start, mask.shape[dim] - 1) for start in (0, 1))
        differ = here != there
        found.narrow(dim, 0, differ.shape[dim]).logical_or_(differ)
        if both:
            found.narrow(dim, 1, differ.shape[dim]).logical_or_(differ)
    return found


def darker_side(mask):
    """As published: a Laplacian of values with its negative half cut."""
    kernel = torch.tensor([[1.0, 1, 1], [1, -8, 1], [1, 1, 1]])[None, None]
    return F.conv2d(F.pad(mask[None, None].float(), (1, 1, 1, 1), mode="replicate"), kernel)[0, 0] > 0


def next_number(mask):
    """Asks by how much class numbers differ."""
    padded = F.pad(mask[None, None].float(), (1, 1, 1, 1), mode="replicate")
    most, least = F.max_pool2d(padded, 3, 1), -F.max_pool2d(-padded, 3, 1)
    return (most - least)[0, 0] == 2


def border_too(mask):
    return edges_of(F.pad(mask, (1, 1, 1, 1), value=9)[None], 1)[0, 1:-1, 1:-1] == 1


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (darker_side, "one side"),
        (lambda mask: moved(mask, both=False), "corners|expected"),
        (moved, "diagonal"),
        (next_number, "not by how much"),
        (border_too, "border"),
        (lambda mask: moved(mask)[1:], "shape"),
        (lambda mask: mask == mask + 1, "Ask whether they differ"),
    ],
)
def test_edges_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_edges(wrong)


def named(table):
    return table.argsort(dim=1, descending=True).T.flatten().tolist()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda t, k: torch.unique(torch.tensor(named(t)))[:k], "torch.unique sorts"),  # what the published code does
        (lambda t, k: list(dict.fromkeys(named(t)))[-k:], "named first matters"),
        (lambda t, k: named(t)[:k], "stays twice"),
        (lambda t, k: sorted(set(named(t)[:k])), "fills no place"),
        (lambda t, k: t.sum(0).topk(k).indices, "large numbers"),
        (lambda t, k: list(dict.fromkeys(t.argsort(1, descending=True).flatten().tolist()))[:k], "next class"),
        (lambda t, k: t.max(), "list of filter numbers"),
    ],
)
def test_turns_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_turns(wrong)
