"""What moves the weights: the optimiser, its schedule, and the average of the weights over the steps."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rsprune_lib.models import SqueezeExcite
from rsprune_lib.training.recipes import Recipe

__all__ = ["make_optimizer", "make_schedule", "warm_average"]


def warm_average(decay: float) -> Callable:
    """An exponential moving average whose decay rises from 0.1, so that the random start is soon forgotten."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)  # counters of batch norms

    return update


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Builds SGD; weights of convolutions and of the classifier decay, all else only if the recipe says so.

    SE blocks are spared like norms: their gradients are so small that decay at a high learning rate wins against them
    and leaves gates that are the same for every image (5 % of their weights were left after 30 epochs).
    """
    gates = {id(p) for block in model.modules() if isinstance(block, SqueezeExcite) for p in block.parameters()}
    weights = [p for p in model.parameters() if recipe.decay_all or (p.ndim > 1 and id(p) not in gates)]
    chosen = {id(p) for p in weights}
    others = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(
        [g for g in groups if g["params"]], lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Builds a schedule that is stepped after every batch; ``steps`` is batches an epoch."""
    total = recipe.epochs * steps
    warm = max(1, round(recipe.warmup * total))
    drops = [round(share * recipe.epochs) * steps for share in recipe.milestones]

    def one_cycle(step: int) -> float:
        if step < warm:
            return 0.04 + 0.96 * step / warm
        return 0.5 * (1 + math.cos(math.pi * min(1, (step - warm) / max(1, total - warm))))

    def falling(step: int) -> float:
        return 0.1 ** sum(step >= drop for drop in drops)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, falling if recipe.schedule == "step" else one_cycle)
