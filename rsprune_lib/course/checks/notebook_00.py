"""Checks of the exercises of notebook 00: disjoint parts, normalisation, what pruning leaves of a layer."""

from collections.abc import Callable

import numpy as np

from rsprune_lib.course.checks.expect import Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_leaks", "check_normalise", "check_weights_left"]


@exercise("images whose number occurs in at least two of the sets {train}, {val}, {test}; each counts once.")
def check_leaks(leaks: Callable[[np.ndarray, np.ndarray, np.ndarray], int]) -> Passed:
    """Checks ``leaks(train, val, test) -> int``: how many images lie in more than one part of a split."""
    found = "Put the three parts together: which numbers appear in more than one part? Count each number once."
    pairs = "Count images, not pairs of parts: an image that lies in all three parts is one leak."
    inside = "An image that stands twice in one part is no leak: make the numbers of each part unique first."
    cases = (
        (([0, 1, 2], [3], [4, 5]), 0, found),
        (([0, 1, 2], [2], [4, 1]), 2, found),
        (([5, 6, 7], [7, 8], [8, 7, 9]), 2, pairs),
        (([3, 3, 1], [2], [4, 4]), 0, inside),
        (([0, 0, 1], [1, 2, 2], [3]), 1, inside),
    )
    for parts, right, hint in cases:
        got = call(leaks, *(np.array(part) for part in parts), hint=hint)
        expect_equal(f"leaks{parts}", got, right, hint)
    return Passed("Right: 0 is the only number that lets a test result count.")


@exercise("out[c, y, x] = (image[y, x, c] / 255 - mean[c]) / std[c]")
def check_normalise(normalise: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Passed:
    """Checks ``normalise(image, mean, std)``: (H, W, 3) uint8 becomes (3, H, W), (value / 255 − mean) / std by channel.

    The image has three different channels, so that a forgotten division, a missing transpose and means in the order
    blue, green, red all show.
    """
    hint = "Divide by 255, subtract the mean of each channel, divide by its deviation; then move the channels first."
    image = np.array([[[0, 51, 102], [255, 204, 153]]], dtype=np.uint8)  # one row of two pixels
    mean, std = np.array([0.5, 0.4, 0.2]), np.array([0.5, 0.2, 0.1])
    right = [[[-1.0, 1.0]], [[-1.0, 2.0]], [[2.0, 4.0]]]
    expect_close("the normalised image", call(normalise, image, mean, std, hint=hint), right, hint, tolerance=1e-4)
    flat, hint = np.full((4, 4, 3), 51, dtype=np.uint8), "A pixel at the mean becomes 0, wherever it is."
    got = call(normalise, flat, np.array([0.2, 0.2, 0.2]), std, hint=hint)
    expect_close("an image at the mean", got, np.zeros((3, 4, 4)), hint, tolerance=1e-4)
    return Passed("Right, channel by channel and with the channels first.")


@exercise("kept(c) = floor(c · (1 - ratio)); share = kept(c_in) · kept(c_out) / (c_in · c_out)")
def check_weights_left(weights_left: Callable[[int, int, float], float]) -> Passed:
    """Checks ``weights_left(c_in, c_out, ratio) -> float``: the share of the weights of a layer that pruning leaves."""
    both = "A weight joins one input channel to one output channel. It stays only if both of them stay."
    whole = (
        "Channels are whole: each side keeps floor(channels · (1 − ratio)) of them, and the share follows from that."
    )
    down = "A side rounds down: where 5.5 channels would stay, 5 stay. Use math.floor, not round."
    cases = (
        (64, 64, 0.5, 0.25, both),
        (10, 20, 0.0, 1.0, both),
        (64, 128, 0.7, 19 * 38 / (64 * 128), whole),
        (11, 16, 0.5, 5 * 8 / (11 * 16), down),  # 5.5 stay: round gives 6
        (16, 10, 0.55, 7 * 4 / (16 * 10), down),  # 7.2 and 4.5 stay: round gives 4, int(x + 0.5) gives 5
        (10, 7, 0.05, 9 * 6 / (10 * 7), down),  # 9.5 and 6.65 stay: round gives 10 and 7
    )
    for c_in, c_out, ratio, right, hint in cases:
        got = call(weights_left, c_in, c_out, ratio, hint=hint)
        expect_close(f"weights_left({c_in}, {c_out}, {ratio})", got, right, hint)
    return Passed("Right: a layer shrinks with the square of what is kept.")
