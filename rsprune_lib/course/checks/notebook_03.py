"""Checks of the exercises in notebook 03: coupled surgery, sensitivity scan, global cut, least squares."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rsprune_lib.course.checks.expect import CheckFailed, Passed, call, exercise, expect_close, expect_equal

__all__ = ["check_global_keep", "check_refit", "check_remove_channel", "check_sensitivity"]


@exercise("result[g] = [accuracy_of(g, r) for every r], and the keys are the groups in their order")
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


@exercise("conv1 without row c; conv2 without row c and without column c; fc without column c")
def check_remove_channel(remove: Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]) -> Passed:
    """Checks ``remove(conv1, conv2, fc, channel) -> (conv1, conv2, fc)``: weights without one channel of the stream.

    The network is ``y = conv1(x); fc(mean(y + conv2(relu(y))))``, so conv2 both reads and makes the channels.
    """
    hint = "Who makes the channel loses a row (dimension 0), who reads it loses a column (dimension 1). Who does both?"
    draw = torch.Generator().manual_seed(7)
    conv1, conv2, fc = (torch.randn(shape, generator=draw) for shape in ((4, 3, 3, 3), (4, 4, 3, 3), (2, 4)))
    for channel in (2, 0):
        value = call(remove, conv1.clone(), conv2.clone(), fc.clone(), channel, hint=hint)
        if not isinstance(value, tuple | list) or len(value) != 3:
            raise CheckFailed(f"remove returned {type(value).__name__}; expected (conv1, conv2, fc).", hint)
        stay = [c for c in range(4) if c != channel]
        right = (conv1[stay], conv2[stay][:, stay], fc[:, stay])
        for name, got, expected in zip(("conv1", "conv2", "fc"), value, right, strict=True):
            expect_close(f"the weight of {name} without channel {channel}", got, expected, hint)
    return Passed("One channel, four cuts: two rows and two columns. A group is the list of these cuts.")


@exercise(
    "walk through (score, group, channel) from the lowest score on; drop it if its group keeps another "
    "one; stop after `remove` drops"
)
def check_global_keep(keep: Callable[[Mapping[str, Tensor], int], Mapping[str, Sequence[int]]]) -> Passed:
    """Checks ``keep(scores, remove) -> {group: kept channels}``: the lowest scores go, but no group is emptied."""
    hint = "Sort all (score, group, channel) together and take the lowest, but pass over a group's last channel."
    scores = {"a": torch.tensor([0.25, 0.1, 0.2]), "b": torch.tensor([0.5, 0.3, 0.6])}
    for remove, right in ((0, {"a": [0, 1, 2], "b": [0, 1, 2]}), (2, {"a": [0], "b": [0, 1, 2]})):
        expect_equal(f"the cut of {remove}", _kept(call(keep, scores, remove, hint=hint), hint), right, hint)
    last = "Group a is down to its last channel: it keeps that one, and the next lowest score elsewhere goes instead."
    expect_equal("the cut of 3", _kept(call(keep, scores, 3, hint=last), last), {"a": [0], "b": [0, 2]}, last)
    return Passed("Right, and no group was emptied: clipped, not skipped.")


@exercise("A = [X 1]; (Σ AᵀA + ridge · D) [W; b] = Σ AᵀT, where D is the identity with a 0 in its last place")
def check_refit(refit: Callable[[list[tuple[Tensor, Tensor]], float], tuple[Tensor, Tensor]]) -> Passed:
    """Checks ``refit(batches, ridge) -> (W, b)``: the minimum of sum |XW + b - T|^2 + ridge |W|^2 over batches."""
    hint = "Put a column of ones behind X, add up X'X and X'T over the batches, solve once. W has one row an input."
    draw = torch.Generator().manual_seed(11)
    batches = [(torch.randn(n, 3, generator=draw) + 1, torch.randn(n, 2, generator=draw) + 3) for n in (5, 9, 4)]
    weight, bias = _pair(call(refit, batches, 0.0, hint=hint), hint)
    right_weight, right_bias = _solution(batches, 0.0)
    expect_close("W without ridge", weight, right_weight, hint, tolerance=1e-3)
    expect_close("b without ridge", bias, right_bias, hint, tolerance=1e-3)
    shrunk = "Only W is held small: the entry of the ones on the diagonal gets no ridge."
    weight, bias = _pair(call(refit, batches, 10.0, hint=shrunk), shrunk)
    right_weight, right_bias = _solution(batches, 10.0)
    expect_close("W with ridge 10", weight, right_weight, shrunk, tolerance=1e-3)
    expect_close("b with ridge 10", bias, right_bias, shrunk, tolerance=1e-3)
    return Passed("That is the heart of the recovery: the images come in batches, the solution needs two small sums.")


def _solution(batches: list[tuple[Tensor, Tensor]], ridge: float) -> tuple[Tensor, Tensor]:
    """By centring, so that a learner's normal equations are compared with another road to the same place."""
    x, t = (torch.cat(part).double() for part in zip(*batches, strict=True))
    centred = x - x.mean(0)
    weight = torch.linalg.solve(centred.T @ centred + ridge * torch.eye(x.shape[1]), centred.T @ (t - t.mean(0)))
    return weight, t.mean(0) - x.mean(0) @ weight


def _kept(value: object, hint: str) -> dict[str, list[int]]:
    try:
        return {name: sorted(int(channel) for channel in channels) for name, channels in dict(value).items()}
    except (TypeError, ValueError):
        raise CheckFailed(f"Got {value!r:.60}; expected one list of channel numbers for each group.", hint) from None


def _pair(value: object, hint: str) -> tuple[Tensor, Tensor]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise CheckFailed(f"refit returned {type(value).__name__}; expected the pair (W, b).", hint)
    return value[0], value[1]
