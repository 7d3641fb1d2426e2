"""Checks of the exercises in notebook 03b: all pairs in one product, a sweep that leaves none alone, a least share."""

import dis
from collections.abc import Callable
from types import CodeType

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close

__all__ = ["check_all_pairs", "check_dominating", "check_protect"]


@exercise("s = 2 · bits - 1; share(i, j) = (1 + s_i · s_j / M) / 2")
def check_all_pairs(all_pairs: Callable[[Tensor], Tensor]) -> Passed:
    """Checks ``all_pairs(bits) -> (C, C)``: the share of bits that agree, from (C, M) hashes, without a loop."""
    hint = "Write the bits as -1 and +1. What is the product of two equal ones, of two different ones, and their sum?"
    draw = torch.Generator().manual_seed(3)
    for channels, count in ((3, 4), (5, 64)):
        bits = torch.rand(channels, count, generator=draw) < 0.5
        right = (bits[:, None] == bits[None]).double().mean(-1)
        value = call(all_pairs, bits.clone(), hint=hint)
        expect_close(f"the similarity of {channels} hashes of {count} bits", value, right, hint)
    if _loops(getattr(all_pairs, "__code__", None)):
        raise CheckFailed("The numbers are right, but a loop goes through the channels.", hint)
    return Passed("One matrix product compares all pairs: that is the whole trick behind the factor of thousands.")


@exercise(
    "repeat: v = the vertex with the most neighbours among those left (ties: the smallest number); keep "
    "v; v and its neighbours leave"
)
def check_dominating(dominating: Callable[[np.ndarray], list[int]]) -> Passed:
    """Checks ``dominating(edges) -> kept``: the vertex with most neighbours that are left stays, they go, and so on."""
    order = (
        "The vertex with most neighbours stays, its neighbours go, and so on; ties: the lower index. None: it stays."
    )
    now = "Count neighbours among the vertices that are left: after each step the counts change, so count again."
    for count, pairs, right, hint in (
        (3, [], [0, 1, 2], order),
        (3, [(0, 1), (1, 2)], [1], order),
        (5, [(0, 1), (1, 2), (2, 3), (2, 4)], [0, 2], order),
        (6, [(0, 1), (0, 2), (0, 3), (3, 4), (4, 5)], [0, 4], order),
        # after 0 and its neighbours are gone, vertex 5 has one neighbour left instead of three, and vertex 6 has two
        (8, [(0, 1), (0, 2), (0, 3), (0, 4), (5, 2), (5, 3), (5, 6), (6, 7)], [0, 6], now),
    ):
        edges = np.zeros((count, count), dtype=bool)
        for i, j in pairs:
            edges[i, j] = edges[j, i] = True
        value = _indices(call(dominating, edges.copy(), hint=hint), hint)
        if value != right:
            raise CheckFailed(f"With edges {pairs} of {count} vertices you keep {value}, expected {right}.", hint)
    return Passed("Everybody who left has a neighbour that stayed: that is what dominating means.")


@exercise(
    "removed channels in rising order of max over kept k of similar[c, k]; the first least - len(kept) "
    "of them come back"
)
def check_protect(protect: Callable[[list[int], np.ndarray, int], list[int]]) -> Passed:
    """Checks ``protect(kept, similar, least) -> kept``: removed channels come back until ``least`` of them stay.

    Those come first whose largest similarity to a channel *kept by the selector* is smallest.
    """
    hint = (
        "For every removed channel take the largest similarity to a kept one; the smallest of these comes back first."
    )
    similar = np.array([
        [1.0, 0.9, 0.6, 0.3],
        [0.9, 1.0, 0.5, 0.8],
        [0.6, 0.5, 1.0, 0.7],
        [0.3, 0.8, 0.7, 1.0],
    ])  # fmt: skip
    for kept, least, right in (([0], 1, [0]), ([0], 2, [0, 3]), ([0], 3, [0, 2, 3]), ([1, 2], 3, [1, 2, 3])):
        value = _indices(call(protect, list(kept), similar.copy(), least, hint=hint), hint)
        if value != right:
            raise CheckFailed(f"From {kept} with least {least} you get {value}, expected {right}.", hint)
    return Passed("The most unlike come back first: each of them says something that no kept channel says.")


def _loops(code: CodeType | None) -> bool:
    """Whether a function holds a loop or a comprehension; in Python 3.11 the latter is a code object inside it."""
    if code is None:
        return False
    jumps = any(
        step.opname.startswith(("FOR_ITER", "JUMP_BACKWARD", "POP_JUMP_BACKWARD"))
        for step in dis.get_instructions(code)
    )
    return jumps or any(_loops(inner) for inner in code.co_consts if isinstance(inner, CodeType))


def _indices(value: object, hint: str) -> list[int]:
    try:
        return sorted(int(v) for v in value)
    except (TypeError, ValueError):
        raise CheckFailed(f"Got {value!r:.60}; expected a list of vertex numbers.", hint) from None
