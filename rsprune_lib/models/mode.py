"""Looking at a network without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["evaluating", "placement", "plain_attention"]


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


@contextmanager
def plain_attention() -> Iterator[None]:
    """PyTorch's attention layers compute by their single steps inside the block, not by one fused call."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating-point type of the network's weights; CPU and float32 where it has none."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return weight.device, weight.dtype
