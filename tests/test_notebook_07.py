"""The checks of notebook 07: each catches the errors that its text warns of."""

import numpy as np
import pytest
import torch

from rsprune_lib.course import CheckFailed, Passed
from rsprune_lib.course.checks.notebook_07 import check_hits, check_map_of, check_readers


def weighted(A, w):
    return (w * A).sum(1)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda A, G: weighted(A, G.mean((2, 3), keepdim=True)), "below zero"),
        (lambda A, G: weighted(A, G).relu(), "HiRes-CAM"),
        (lambda A, G: weighted(A, G.mean((2, 3), keepdim=True).relu()), "against the class"),
        (lambda A, G: weighted(A, G.mean((0, 2, 3), keepdim=True)).relu(), "share their weights"),
        (lambda A, G: weighted(A, G.mean((2, 3), keepdim=True).abs()), "expected"),
        (lambda A, G: (G.mean((2, 3), keepdim=True) * A).mean((1,)).relu(), "expected"),
        (lambda A, G: weighted(A, G.mean((2, 3), keepdim=True)).relu()[0], "shape"),
    ],
)
def test_map_of_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_map_of(wrong)


def windows(size, kernel, stride, padding):
    last = (size + 2 * padding - kernel) // stride
    return [range(o * stride - padding, o * stride - padding + kernel) for o in range(last + 1)]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda n, k, s, p: [int(any(i in w for w in windows(n, k, s, p))) for i in range(n)], "read twice"),
        (lambda n, k, s, p: [sum(i in w for w in windows(n, k, s, 0)) for i in range(n)], "read twice"),  # no padding
        (lambda n, k, s, p: [sum(i in range(a, a + k) for a in range(-p, n, s)) for i in range(n)], "does not fit"),
        (lambda n, k, s, p: [k] * n, "every second position"),
        (lambda n, k, s, p: 3, "one count for each"),
    ],
)
def test_readers_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_readers(wrong)


def on(maps, objects):
    flat = maps.reshape(len(maps), -1)
    return objects.reshape(len(maps), -1)[np.arange(len(maps)), flat.argmax(1)]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda m, o: on(m, o).mean(), "counted as a hit"),
        (lambda m, o: (on(m, o) & m.any((1, 2))).mean(), "counted as a miss"),
        (lambda m, o: on(m, o)[m.max((1, 2)) > 0.5].sum() / 3, "low maximum"),
        (lambda m, o: ((m * o).sum((1, 2)) > 0)[m.any((1, 2))].mean(), "expected"),  # any evidence on the object
    ],
)
def test_hits_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_hits(wrong)


def test_the_checks_agree_with_the_library():
    def by_autograd(activations, gradients):
        leaf = activations.clone().requires_grad_(True)
        (leaf * gradients).sum().backward()
        return torch.einsum("bc,bchw->bhw", leaf.grad.mean((2, 3)), activations).relu()

    assert isinstance(check_map_of(by_autograd), Passed)
