"""Looking at a network without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating", "placement"]


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every module is in the mode it was in."""
    before = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating-point type of the network's weights; CPU and float32 where it has none."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return weight.device, weight.dtype
