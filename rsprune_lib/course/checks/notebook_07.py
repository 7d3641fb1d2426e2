"""Checks of the exercises in notebook 07: a map by hand, pixels that a layer reads, and pointing at the object."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_hits", "check_map_of", "check_readers"]


@exercise("map = max(0, Σ_c w_c · A_c), with w_c = mean of gradient c over its pixels")
def check_map_of(map_of: Callable[[Tensor, Tensor], Tensor]) -> Passed:
    """Checks ``map_of(activations, gradients) -> (B, h, w)``: Grad-CAM, not scaled."""
    hint = (
        "One weight a channel and image: the mean of its gradient. Sum weight times map over the channels, then ReLU."
    )
    A = torch.tensor([[[[1.0, 2.0], [0.0, 4.0]], [[3.0, 0.0], [1.0, 1.0]]],
                      [[[2.0, 2.0], [1.0, 0.0]], [[0.0, 5.0], [1.0, 2.0]]]])  # fmt: skip
    G = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[-2.0, 0.0], [-1.0, 1.0]]],
                      [[[0.0, -4.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]])  # fmt: skip
    before = A.clone(), G.clone()
    value = call(map_of, A, G, hint=hint)
    summed = (G.mean((2, 3), keepdim=True) * A).sum(1)
    right = summed.clamp_min(0)
    if torch.is_tensor(value) and value.shape == right.shape:
        got = value.detach().double()
        for wrong, problem, nudge in (
            (summed, "Some values are below zero.", "What speaks against the class is set to 0, after the sum."),
            ((G * A).sum(1).clamp_min(0), "That is HiRes-CAM.", "Take the mean of each gradient first: one weight a "
             "channel, the same at every place."),
            ((G.mean((2, 3), keepdim=True).clamp_min(0) * A).sum(1), "Channels that speak against the class were left "
             "out.", "They count, with their negative weight; ReLU comes after the sum over the channels."),
            ((G.mean((0, 2, 3))[None, :, None, None] * A).sum(1).clamp_min(0), "The images share their weights.",
             "Each image has gradients of its own: average over its pixels, not over the batch."),
        ):  # fmt: skip
            if torch.allclose(got, wrong.double(), atol=1e-5):
                raise CheckFailed(problem, nudge)
    expect_close("the maps of two images", value, right, hint)
    if not (torch.equal(A, before[0]) and torch.equal(G, before[1])):
        raise CheckFailed("map_of changed what it was given.", "Use relu or clamp_min, not relu_.")
    return Passed("Right: one mean a channel, one sum, one ReLU. That is all of Grad-CAM.")


@exercise("count[p] = number of outputs o with o · stride - padding ≤ p ≤ o · stride - padding + kernel - 1")
def check_readers(readers: Callable[[int, int, int, int], list[int]]) -> Passed:
    """Checks ``readers(size, kernel, stride, padding) -> list``: how many outputs read each position of a line."""
    hint = "Output o reads the positions o·stride − padding to o·stride − padding + kernel − 1 that exist."
    several = "Count for each position; where two windows overlap, it is read twice."
    stops = "The last output is number (size + 2·padding − kernel) // stride; a window that does not fit is not there."
    cases = (
        ((4, 1, 2, 0), [1, 0, 1, 0], "A 1 x 1 kernel with stride 2 reads every second position, and never the others."),
        ((5, 3, 2, 1), [1, 2, 1, 2, 1], several),
        ((6, 3, 2, 0), [1, 1, 2, 1, 1, 0], stops),
        ((5, 3, 1, 1), [2, 3, 3, 3, 2], several),
        ((4, 3, 2, 1), [1, 2, 1, 1], stops),
    )
    for arguments, right, more in cases:
        value = call(readers, *arguments, hint=hint)
        try:
            got = [int(count) for count in value]
        except (TypeError, ValueError):
            raise CheckFailed(f"Got {value!r:.60}; expected one count for each position.", hint) from None
        expect_equal("readers({}, {}, {}, {})".format(*arguments), got, right, more)
    return Passed("Right: the network's own grid, before it has seen an image.")


@exercise("number of maps with object[argmax of the map] / number of maps that are not 0 everywhere")
def check_hits(hits: Callable[[np.ndarray, np.ndarray], float]) -> Passed:
    """Checks ``hits(maps, objects) -> float``: share of the maps, blank ones left out, whose largest value is on it."""
    hint = "Find the place of the largest value of each map, and look whether the object is there."
    maps, objects = np.zeros((4, 3, 4), np.float32), np.zeros((4, 3, 4), bool)
    maps[0, 2, 1], maps[0, 0, 3] = 1.0, 0.9
    objects[0, 2, 0:2] = True  # a hit
    maps[1, 1, 3], objects[1, 0, :] = 1.0, True  # a miss, although a weaker value is on it
    maps[1, 0, 0] = 0.6
    objects[2, 0, 0] = True  # blank: argmax says position 0, which is on the object
    maps[3, 0, 2], objects[3, 0, 2] = 0.4, True  # a hit with a low maximum
    value = call(hits, maps, objects, hint=hint)
    if isinstance(value, float | int | np.number):
        for wrong, problem, nudge in (
            (3 / 4, "A blank map was counted as a hit.", "argmax of zeros is position 0, and there lies an object: "
             "leave out maps without any value."),
            (2 / 4, "A blank map was counted as a miss.", "It points nowhere; divide by the number of the others."),
            (1 / 3, "A map with a low maximum was left out.", "Only a map that is zero everywhere is blank."),
        ):  # fmt: skip
            if abs(float(value) - wrong) < 1e-6:
                raise CheckFailed(problem, nudge)
    expect_close("the share of hits among four maps", value, 2 / 3, hint)
    return Passed("Right: a map that is blank makes no claim, so it cannot be right or wrong.")
