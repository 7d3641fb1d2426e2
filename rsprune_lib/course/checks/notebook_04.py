"""Checks of the exercises in notebook 04: the mining loss, the hardest class, and what a loss does to a logit."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_hardest_class", "check_logit_pull", "check_mining"]


@exercise("d = (2 / K) · (1 - p_t); loss = mean(exp(d + d²)) + cross-entropy")
def check_mining(loss: Callable[[Tensor, Tensor], Tensor]) -> Passed:
    """Checks ``loss(logits, target) -> scalar``: mean of exp(d + d²) plus cross-entropy, with d = (2/K)(1 − p_t)."""
    hint = "d belongs to one sample: exp(d + d²) comes before the mean over the batch, and K is the number of classes."
    logits, target = torch.tensor([[2.0, 0.0, -1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]]), torch.tensor([0, 2, 1])
    p = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
    d = 2 / 3 * (1 - p)
    right = (d + d * d).exp().mean() + functional.cross_entropy(logits, target)
    expect_close("the loss of three samples", call(loss, logits, target, hint=hint), right, hint, tolerance=1e-4)
    sure, mean_hint = torch.tensor([[50.0, 0.0, 0.0]]), "At p_t = 1 the distance is 0, and exp(0) is 1."
    expect_close("the loss of a perfect sample", call(loss, sure, target[:1], hint=mean_hint), 1.0, mean_hint)
    return Passed("Right. Now look at its slope: with ten classes the exponential term is almost flat.")


@exercise("the k with the largest Σ losses of class k / number of samples of class k")
def check_hardest_class(hardest: Callable[[Tensor, Tensor], int]) -> Passed:
    """Checks ``hardest(losses, labels) -> int``: the class whose samples have the largest mean loss."""
    summed = "A frequent class has a large sum of losses even if each is small: divide by how often the class occurs."
    single = "One bad image does not make a class hard: compare the means of the classes, not their largest losses."
    absent = "Class 1 has no sample here: it has no mean, and it must not win (0 / 0 is nan)."
    cases = (
        ([0.5, 0.1, 0.1], [0, 1, 2], 0, summed),
        ([1.0, 1.2, 1.1, 0.9, 2.5, 0.1, 0.2], [0, 0, 0, 0, 2, 1, 1], 2, summed),
        ([3.0, 0.1, 0.2, 1.4, 1.6, 0.3], [0, 0, 0, 1, 1, 2], 1, single),
        ([1.0, 1.2, 1.1, 0.9, 2.5], [0, 0, 0, 0, 2], 2, absent),
    )
    for losses, labels, right, hint in cases:
        value = call(hardest, torch.tensor(losses), torch.tensor(labels), hint=hint)
        expect_equal(f"the hardest class of losses {losses} with labels {labels}", _number(value, hint), right, hint)
    return Passed("Right, by the mean, and a class without samples does no harm.")


@exercise("-dL/dz = (1 + 2d) · exp(d + d²) · p · (1 - p), with d = 1 - p")
def check_logit_pull(pull: Callable[[Tensor], Tensor]) -> Passed:
    """Checks ``pull(p) -> (P,)``: -dL/dz of the true class's logit for L = exp(d + d²), d = 1 - p."""
    hint = "Chain rule: dL/dz = dL/dp · dp/dz, and the softmax gives dp/dz = p (1 − p). L falls when p grows."
    p = torch.tensor([0.02, 0.2, 0.5, 0.9], dtype=torch.float64)
    d = 1 - p
    right = (1 + 2 * d) * torch.exp(d + d * d) * p * d
    value = call(pull, p, hint=hint)
    if torch.is_tensor(value) and value.shape == right.shape and torch.allclose(value.double(), -right, atol=1e-4):
        raise CheckFailed("The size is right, the sign is not.", "The pull is −dL/dz: positive, it lifts the logit.")
    expect_close("the pull at p = 0.02, 0.2, 0.5, 0.9", value, right, hint, tolerance=1e-4)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    expect_close("the pull at p = 0 and p = 1", call(pull, ends, hint=hint), torch.zeros(2), hint)
    return Passed("Right: steep as the loss is at p = 0, the softmax lets nothing through there.")


def _number(value: object, hint: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"Got {value!r:.60}; expected one class number.", hint) from None
