"""Checks of the exercises of notebook 01: what a convolution costs, a moving average, the most confused pair."""

from collections.abc import Callable

import numpy as np

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_average", "check_conv_cost", "check_most_confused"]


@exercise(
    "side = floor((size + 2 · padding - kernel) / stride) + 1; parameters = c_in · c_out · kernel²; MACs "
    "= parameters · side²"
)
def check_conv_cost(conv_cost: Callable[[int, int, int, int, int, int], tuple[int, int]]) -> Passed:
    """Checks ``conv_cost(c_in, c_out, kernel, size, stride, padding) -> (parameters, MACs)``.

    The convolution has no bias; ``size`` is the side of its square input in pixels.
    """
    hint = "Every output pixel costs all weights once; a side has (size + 2·padding − kernel) // stride + 1 of them."
    cases = (
        ((3, 64, 7, 64, 2, 3), (9_408, 9_633_792)),
        ((64, 64, 3, 16, 1, 1), (36_864, 9_437_184)),
        ((64, 128, 1, 16, 2, 0), (8_192, 524_288)),
        ((2, 3, 3, 5, 1, 0), (54, 486)),
    )
    for arguments, right in cases:
        got = call(conv_cost, *arguments, hint=hint)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise CheckFailed(f"conv_cost returned {got!r:.40}; expected the pair (parameters, MACs).", hint)
        name = "conv_cost({}, {}, {}, {}, {}, {})".format(*arguments)
        expect_equal(f"{name}: parameters", int(got[0]), right[0], "One weight for each kernel cell, input and output.")
        expect_equal(f"{name}: MACs", int(got[1]), right[1], hint)
    return Passed("Right, strides and borders included: you can now price any convolution on paper.")


@exercise("a[0] = v[0]; a[t] = decay · a[t - 1] + (1 - decay) · v[t]")
def check_average(average: Callable[[list[float], float], list[float]]) -> Passed:
    """Checks ``average(values, decay) -> list``: the exponential moving average after each value, from the first on."""
    hint = "Start at the first value; each step keeps decay · (old average) and adds (1 − decay) · (new value)."
    for values, decay, right in (
        ([1.0, 0.0, 0.0], 0.9, [1.0, 0.9, 0.81]),
        ([2.0, 4.0, 8.0], 0.5, [2.0, 3.0, 5.5]),
        ([3.0], 0.99, [3.0]),
    ):
        got = call(average, list(values), decay, hint=hint)
        expect_close(f"average({values}, {decay})", list(got) if isinstance(got, tuple) else got, right, hint)
    return Passed("Right: the weights of a step fade by the factor `decay` with every step that follows.")


@exercise("the (i, j), i ≠ j, with the largest matrix[i, j] / Σ_k matrix[i, k]")
def check_most_confused(most_confused: Callable[[np.ndarray], tuple[int, int]]) -> Passed:
    """Checks ``most_confused(matrix) -> (true, answer)``: the pair with the largest share of a true class."""
    hint = "Divide each row by its sum, so that a large class does not win by size; then leave the diagonal out."
    large_class = np.array([[900, 60, 40], [1, 9, 0], [0, 30, 70]])
    columns = np.array([[8, 2, 0], [0, 10, 0], [5, 0, 5]])
    for matrix, right in ((large_class, (2, 1)), (columns, (2, 0))):
        before = matrix.copy()
        got = call(most_confused, matrix, hint=hint)
        if not isinstance(got, tuple | list | np.ndarray) or len(got) != 2:
            raise CheckFailed(f"most_confused returned {got!r:.40}; expected the pair (true, answer).", hint)
        expect_equal(f"the most confused pair of {matrix.tolist()}", tuple(int(i) for i in got), right, hint)
        if not np.array_equal(matrix, before):
            raise CheckFailed(
                "most_confused changed the matrix it was given.", "Work on a copy: matrix / matrix.sum(…)."
            )
    return Passed("Right: the share of a class, not the number of images.")
