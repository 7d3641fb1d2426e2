"""Solutions of notebook 03. Try first: the checks give hints, and a wrong try teaches more than a right copy."""

from collections.abc import Callable

import torch
from torch import Tensor


def remove_channel(conv1: Tensor, conv2: Tensor, fc: Tensor, channel: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows go where the channel is made, columns where it is read; conv2 does both."""
    stay = [c for c in range(len(conv1)) if c != channel]
    return conv1[stay], conv2[stay][:, stay], fc[:, stay]


def scan(accuracy_of: Callable[[str, float], float], groups: list[str], ratios: list[float]) -> dict[str, list[float]]:
    """One group at a time: every other group stays whole."""
    return {group: [accuracy_of(group, ratio) for ratio in ratios] for group in groups}


def global_keep(scores: dict[str, Tensor], remove: int) -> dict[str, list[int]]:
    """All channels in one queue, lowest score first; a group's last channel is passed over."""
    keep = {name: list(range(len(values))) for name, values in scores.items()}
    queue = sorted((float(value), name, c) for name, values in scores.items() for c, value in enumerate(values))
    for _, name, channel in queue:
        if remove and len(keep[name]) > 1:
            keep[name].remove(channel)
            remove -= 1
    return keep


def refit(batches: list[tuple[Tensor, Tensor]], ridge: float) -> tuple[Tensor, Tensor]:
    """The normal equations (X'X + ridge D) W = X'T with ones behind X; D is the identity without its last entry."""
    inputs = batches[0][0].shape[1]
    xx, xt = torch.zeros(inputs + 1, inputs + 1), torch.zeros(inputs + 1, batches[0][1].shape[1])
    for x, t in batches:
        x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
        xx += x.T @ x
        xt += x.T @ t
    xx.diagonal()[:-1] += ridge
    solution = torch.linalg.solve(xx, xt)
    return solution[:-1], solution[-1]
