"""Checks of the exercises in notebook 05: soft targets, leaving early, and what an image costs on average."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_leave", "check_mean_cost", "check_soft_loss"]


@exercise(
    "T² · mean over images of Σ_k p_k · (log p_k - log q_k), with p = softmax(teacher / T) and q = softmax(student / T)"
)
def check_soft_loss(loss: Callable[[Tensor, Tensor, float], Tensor]) -> Passed:
    """Checks ``loss(student, teacher, temperature) -> scalar``: T² KL(teacher || student), mean over the images."""
    hint = "Both sides are divided by T before the softmax; the teacher's probabilities are the weights of the sum."
    student = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 1.0]])
    teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])

    def right(temperature: float) -> Tensor:
        p, q = (logits.div(temperature).log_softmax(1) for logits in (teacher, student))
        return temperature**2 * (p.exp() * (p - q)).sum(1).mean()

    value = call(loss, student, teacher, 4.0, hint=hint)
    if torch.is_tensor(value) and value.dim() == 0:
        if torch.allclose(value.double(), right(4.0).double() / 16, atol=1e-5):
            raise CheckFailed(
                "The loss is 16 times too small at T = 4.", "Its slope shrinks with 1 / T²; make up for it."
            )
        if torch.allclose(value.double(), 2 * right(4.0).double(), atol=1e-5):
            raise CheckFailed("The loss is twice too large for two images.", "Sum over classes, mean over images.")
    expect_close("the loss of two images at T = 4", value, right(4.0), hint)
    expect_close("the loss at T = 1", call(loss, student, teacher, 1.0, hint=hint), right(1.0), hint)
    same = call(loss, teacher, teacher, 2.0, hint=hint)
    expect_close("the loss of a student that says the same", same, 0.0, "Cross-entropy is not 0 there; KL is.")
    return Passed("Right. With T² the teacher's voice keeps its strength whatever the temperature.")


@exercise("the smallest e with max softmax(records[n, e]) ≥ threshold, or the last column if there is none")
def check_leave(leave: Callable[[Tensor, float], Tensor]) -> Passed:
    """Checks ``leave(records, threshold) -> (N,)``: the first exit whose largest probability reaches the threshold."""
    hint = "argmax over booleans finds the first True; an image that no exit is sure of goes to the last column."
    p = torch.tensor([[[0.5, 0.5], [0.9, 0.1], [0.6, 0.4]], [[0.95, 0.05], [0.6, 0.4], [0.99, 0.01]],
                      [[0.6, 0.4], [0.7, 0.3], [0.55, 0.45]], [[0.1, 0.9], [0.5, 0.5], [0.5, 0.5]]])  # fmt: skip
    value = call(leave, p.log(), 0.8, hint=hint)
    got = _whole(value, hint)
    if got == [1, 0, 0, 0]:
        raise CheckFailed(
            f"Got {got}: the third image leaves at exit 0, though no exit is sure of it.",
            "argmax of a row without any True is 0; let the last column be True for everybody.",
        )
    if len(got) == 4 and got[1] == 2:
        raise CheckFailed(f"Got {got}: the second image left too late.", "Take the first that is sure, not the surest.")
    expect_equal("the exits of four images", got, [1, 0, 2, 0], hint)
    everyone = _whole(call(leave, p.log(), 0.0, hint=hint), hint)
    expect_equal("the exits at threshold 0", everyone, [0, 0, 0, 0], "A threshold of 0 lets everyone leave at once.")
    return Passed("Right: four lines decide who leaves where.")


@exercise("Σ_n costs[exits[n]] / (N · costs[-1])")
def check_mean_cost(mean: Callable[[Sequence[int], Sequence[float]], float]) -> Passed:
    """Checks ``mean(exits, costs) -> float``: the mean cost of images, as a share of the whole network's."""
    hint = "Each image pays the cost of the exit where it left; the last entry is the whole network."
    value = call(mean, [0, 0, 1, 2], [2.0, 5.0, 10.0], hint=hint)
    if torch.is_tensor(value) or isinstance(value, float | int):
        number = float(value)
        if abs(number - 17 / 30) < 1e-6:
            raise CheckFailed("Got the mean over the exits.", "An exit counts as often as images take it.")
        if abs(number - 19 / 4) < 1e-6:
            raise CheckFailed("Got 4.75, which is in MACs.", "Divide by the cost of the whole network.")
    expect_close("the mean cost of exits 0 0 1 2 with costs 2 5 10", value, 0.475, hint)
    expect_close("the mean cost if all go to the end", call(mean, [2, 2], [1.0, 3.0, 4.0], hint=hint), 1.0, hint)
    return Passed("Right: half of the images at a fifth of the price bring the mean below a half.")


def _whole(value: object, hint: str) -> list[int]:
    try:
        return [int(x) for x in value]
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"Got {value!r:.60}; expected one exit number an image.", hint) from None
