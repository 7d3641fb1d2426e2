"""Checks of the exercises in notebook 06: IoU of each class, edges of a mask, and rare classes that take turns."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal
from rsprune_lib.measure import edges_of

__all__ = ["check_edges", "check_iou", "check_turns"]


@exercise("IoU[k] = C[k, k] / (Σ_j C[k, j] + Σ_i C[i, k] - C[k, k]); 0 / 0 is NaN")
def check_iou(iou: Callable[[Tensor], Tensor]) -> Passed:
    """Checks ``iou(confusion) -> (K,)``: hits over row + column - hits, NaN for a class that occurs nowhere."""
    hint = "Row and column of a class together hold its hits twice; subtract them once."
    confusion = torch.tensor([[6, 1, 0], [2, 5, 1], [0, 1, 4]])
    hits, rows, columns = confusion.diagonal().double(), confusion.sum(1), confusion.sum(0)
    value = call(iou, confusion, hint=hint)
    for wrong, problem, nudge in (
        (hits / rows, "Got the share of each class's own pixels that are right.", "Answers that are wrong count, too."),
        (hits / columns, "Got the share of each answer that is right.", "Pixels that were missed count, too."),
        (hits / (rows + columns), "The union is too large.", hint),
        (2 * hits / (rows + columns), "Got F1 (Dice), which is larger than IoU.", hint),
    ):
        if _same(value, wrong):
            raise CheckFailed(problem, nudge)
    expect_close("the IoU of three classes", value, [6 / 9, 5 / 10, 4 / 6], hint)
    absent = call(iou, torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), hint=hint)
    expect_close("the IoU of the first two classes", torch.as_tensor(absent)[:2], [3 / 4, 4 / 5], hint)
    if not math.isnan(float(absent[2])):
        nudge = "0 / 0 must stay NaN: a class that is nowhere has no IoU, and no place in a mean."
        raise CheckFailed(f"A class without any pixel got the IoU {float(absent[2]):g}.", nudge)
    return Passed("Right. The mean of these is mIoU, in which a bicycle counts as much as the road.")


@exercise("edge[y, x] = any of mask[y + a, x + b] ≠ mask[y, x] for a, b in {-1, 0, 1} inside the mask")
def check_edges(edges: Callable[[Tensor], Tensor]) -> Passed:
    """Checks ``edges(mask) -> (H, W) bool``: a pixel of another class lies among its eight neighbours."""
    hint = "Compare the mask with itself moved by one pixel, in all eight directions, and join the answers by or."
    mask = torch.zeros(5, 6, dtype=torch.int64)
    mask[1:4, 2:4] = 2
    right = edges_of(mask[None], 1)[0] == 1
    value = torch.as_tensor(call(edges, mask, hint=hint))
    expect_equal("the shape of the edges", tuple(value.shape), (5, 6), hint)
    got = value.bool()
    if not got.any():
        raise CheckFailed("No edge was found between the classes 0 and 2.", "Ask whether they differ, not by how much.")
    if not (got & (mask == 0)).any() or not (got & (mask == 2)).any():
        raise CheckFailed(
            "Only one side of the boundary is marked.",
            "Both sides are edge: what lies darker in a palette must not decide. Compare in both directions.",
        )
    if _same(got, right & ~_diagonal(mask, right)):
        raise CheckFailed("The corners are missing.", "A neighbour may lie on the diagonal, too.")
    frame = torch.zeros_like(got)
    frame[0], frame[-1], frame[:, 0], frame[:, -1] = True, True, True, True
    if (got & frame & ~right).any():
        raise CheckFailed("The border of the image is marked.", "Behind the border there is no other class.")
    expect_equal("the number of edge pixels", int(got.sum()), int(right.sum()), hint)
    expect_equal("the edges of a block", got.tolist(), right.tolist(), hint)
    far = torch.tensor([[1, 1, 5], [1, 1, 5]])
    nudge = "Class numbers are names: 1 beside 5 is the same as 1 beside 2. Ask whether they differ, not by how much."
    value = torch.as_tensor(call(edges, far, hint=nudge)).bool()
    expect_equal("the edges between classes 1 and 5", value.tolist(), [[False, True, True]] * 2, nudge)
    return Passed("Right: no colour, no grey value, no class number decides what is an edge.")


def _diagonal(mask: Tensor, right: Tensor) -> Tensor:
    """The edge pixels that differ from diagonal neighbours only."""
    direct = torch.zeros_like(right)
    direct[1:] |= mask[1:] != mask[:-1]
    direct[:-1] |= mask[1:] != mask[:-1]
    direct[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    direct[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    return right & ~direct


@exercise("order = for r = 0, 1, ...: for each class, its filter of rank r; the first `keep` different ones of it")
def check_turns(turns: Callable[[Tensor, int], list[int]]) -> Passed:
    """Checks ``turns(table, keep) -> list``: classes name their best filters in turn, the first named stay."""
    hint = "Round 1: the best filter of each class, in the order of the rows; round 2: the second best; skip repeats."
    table = torch.tensor([[0.6, 0.5, 0.8, 0.0, 0.9, 0.7], [2.0, 6.0, 1.0, 7.0, 9.0, 8.0]])
    ranked = table.argsort(dim=1, descending=True).tolist()
    named = list(dict.fromkeys(n for pair in zip(*ranked, strict=True) for n in pair))  # 4 2 5 3 0 1
    got = _numbers(call(turns, table, 4, hint=hint), hint)
    if len(set(got)) < len(got):
        nudge = "Both classes name filter 4 first; it stays once, and frees a place for the next one."
        raise CheckFailed(f"Got {got}: a filter stays twice.", nudge)
    if len(got) < 4:
        nudge = "Go on naming until enough filters are found; a filter that is named again fills no place."
        raise CheckFailed(f"Got {len(got)} filters, expected 4.", nudge)
    for wrong, problem, nudge in (
        (range(4), "the lowest numbers", "A set or torch.unique sorts by number and forgets who was named first."),
        (named[-4:], "those named last", "What is named first matters most, and stays."),
        (ranked[0][:4], "what the first class names", "After one filter of a class the next class has its turn."),
        (table.sum(0).topk(4).indices.tolist(), "the largest sums", "In a sum the class with large numbers decides."),
    ):
        if set(got) == set(wrong):
            raise CheckFailed(f"Got {got}: {problem}.", nudge)
    expect_equal("the four filters that stay", sorted(got), sorted(named[:4]), hint)
    one = _numbers(call(turns, table[:1], 2, hint=hint), hint)
    expect_equal("the two that stay if one class decides", sorted(one), [2, 4], hint)
    return Passed("Right. A rare class names as many filters as a frequent one.")


def _numbers(value: object, hint: str) -> list[int]:
    try:
        return [int(x) for x in value]
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"Got {value!r:.60}; expected a list of filter numbers.", hint) from None


def _same(value: object, other: Tensor) -> bool:
    try:
        mine = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return False
    return mine.shape == other.shape and torch.allclose(mine, other.double(), atol=1e-6, equal_nan=True)
