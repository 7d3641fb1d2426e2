"""The checks of the course's exercises: ``check_…(your_function)`` raises a hint or answers with one line.

Inputs are small enough to work out by hand, and each check holds at least one case that the most common mistake gets
wrong. Write a new one with `call`, `expect_close` and `expect_equal`; put its solution into ``notebooks/solutions``.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from rsprune_lib.course.checking import CheckFailed, Passed, call, expect_close, expect_equal

__all__ = ["check_attention_mean", "check_fold", "check_kept", "check_mining", "check_sensitivity"]


def check_fold(fold: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Passed:
    """Checks ``fold(weight, bias, gate) -> (weight, bias)``: a mean gate folded into a batch norm, all (C,)."""
    hint = "The gate multiplies the whole output of the batch norm, γ·x̂ + β: which of the two must be scaled?"
    weight, bias, gate = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.5, -1.0, 2.0]), torch.tensor([0.5, 0.1, 0.9])
    before = weight.clone(), bias.clone()
    value = call(fold, weight, bias, gate, hint=hint)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise CheckFailed(f"fold returned {type(value).__name__}; expected the pair (weight, bias).", hint)
    expect_close("the folded weight γ", value[0], before[0] * gate, hint)
    expect_close("the folded bias β", value[1], before[1] * gate, hint)
    if not (torch.equal(weight, before[0]) and torch.equal(bias, before[1])):
        raise CheckFailed("fold changed its inputs in place.", "Return new tensors: weight * gate, not weight *= gate.")
    return Passed("Exactly: the folded network is the SE network with every gate frozen at its mean.")


def check_attention_mean(mean: Callable[[list[Tensor]], Tensor]) -> Passed:
    """Checks ``mean(batches) -> (C,)``: the mean gate over all images of a list of gate tensors (B, C)."""
    hint = (
        "The last batch is shorter. Sum over images and divide by their number; a mean of batch means is another thing."
    )
    batches = [torch.tensor([[0.2, 0.4], [0.4, 0.8]]), torch.tensor([[0.9, 0.0]])]
    expect_close("the mean gate", call(mean, batches, hint=hint), torch.tensor([0.5, 0.4]), hint)
    expect_close("the mean gate of one batch", call(mean, batches[:1], hint=hint), torch.tensor([0.3, 0.6]), hint)
    return Passed("Right, the short last batch included. The published script drops it.")


def check_kept(kept: Callable[[int, float], int]) -> Passed:
    """Checks ``kept(channels, ratio) -> int``: how many channels stay when ``ratio`` of them goes, never none."""
    hint = (
        "Keep the floor of channels · (1 − ratio), but at least one: a layer without channels cuts the network in two."
    )
    for channels, ratio, right in ((64, 0.7, 19), (512, 0.7, 153), (64, 0.0, 64), (256, 0.5, 128), (4, 0.9, 1)):
        expect_equal(f"kept({channels}, {ratio})", call(kept, channels, ratio, hint=hint), right, hint)
    return Passed("19, 38, 76 and 153 of 64, 128, 256 and 512: the widths of the pruned network.")


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


def check_sensitivity(scan: Callable[[Callable[[str, float], float], list[str], list[float]], Mapping]) -> Passed:
    """Checks ``scan(accuracy_of, groups, ratios) -> {group: [accuracy, …]}``: one group pruned at a time."""
    hint = "Prune one group at a time: for each group, ask accuracy_of(group, ratio) for every ratio, in order."
    asked: list[tuple[str, float]] = []

    def accuracy_of(group: str, ratio: float) -> float:
        asked.append((group, ratio))
        return 1.0 - ratio * {"conv1": 0.1, "layer1": 0.5}[group]

    value = call(scan, accuracy_of, ["conv1", "layer1"], [0.0, 0.5, 0.9], hint=hint)
    if not isinstance(value, Mapping) or list(value) != ["conv1", "layer1"]:
        raise CheckFailed(f"scan returned {value!r:.60}; expected one list of accuracies for each group.", hint)
    expect_close("the curve of conv1", value["conv1"], [1.0, 0.95, 0.91], hint)
    expect_close("the curve of layer1", value["layer1"], [1.0, 0.75, 0.55], hint)
    if len(asked) > 6:
        raise CheckFailed(
            f"accuracy_of was asked {len(asked)} times; expected 6.", "Each point costs a test: ask once."
        )
    return Passed("Right: the steep curve is the layer to spare.")
