"""Heads and gates of early exits, fitted in seconds: the backbone is frozen, so what they see is computed once.

`fit_heads` is the baseline that every other way to train exits has to beat; training the whole network with its exits
is `fit` with a network from `add_exits` (its objective is the mean over the exits, or `Distillation`). `fit_gates` is
the cost-aware target of GFNet-Dynn (https://arxiv.org/abs/2507.20623) and JEI-DNN (https://arxiv.org/abs/2310.09163)
with costs that are counted right; gates are convex here, so nothing has to alternate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from rsprune_lib.errors import TrainingError
from rsprune_lib.measure.exit_rules import exit_features
from rsprune_lib.models import evaluating, hooked, placement

__all__ = ["fit_gates", "fit_heads", "gate_targets"]

Batched = Iterable[tuple[Tensor, Tensor]]


def fit_heads(
    model: nn.Module,
    batches: Batched,
    *,
    decay: float = 1e-4,
    taught: float = 0.0,
    temperature: float = 2.0,
    progress: bool = True,
) -> nn.Module:
    """Fits the heads of a network with exits; everything else stays as it is.

    One pass collects the pooled maps in front of each head; then each head is a small convex problem (given its norm),
    solved by L-BFGS.

    Args:
        model: from `rsprune_lib.models.add_exits`; left as it is.
        batches: training images and labels; some thousand are enough.
        decay: of the squared weights.
        taught: share of the loss that comes from the final classifier's answers instead of the labels, in [0, 1].
        temperature: of those answers.
        progress: show a bar.

    Returns:
        A copy with fitted heads, in the model's mode.

    Raises:
        TrainingError: the network has no exits, or there is no image.
    """
    if not hasattr(model, "exits"):
        raise TrainingError("The network has no exits to fit; add some with add_exits.")
    made = copy.deepcopy(model)
    device, dtype = placement(made)
    seen: list[list[Tensor]] = [[] for _ in made.exits.heads]
    labels, final = [], []

    def keep(rows: list[Tensor], _norm: nn.Module, x: tuple[Tensor]) -> None:
        rows.append(x[0].float().cpu())

    pooled = [(head.norm, partial(keep, rows)) for head, rows in zip(made.exits.heads, seen, strict=True)]
    with evaluating(made), torch.inference_mode(), hooked(in_front=pooled):
        for images, target in tqdm(batches, "exits: features", leave=False, disable=not progress):
            final.append(made(images.to(device, dtype))[-1].float().cpu())
            labels.append(target.cpu())
    if not labels:
        raise TrainingError("Got no image to fit exits on; give batches of the training part.")
    target, answers = torch.cat(labels), torch.cat(final)
    wanted = (answers / temperature).softmax(1)

    def loss(logits: Tensor) -> Tensor:
        own = F.cross_entropy(logits, target)
        if not taught:
            return own
        return (1 - taught) * own + taught * temperature**2 * F.cross_entropy(logits / temperature, wanted)

    for head, rows in zip(made.exits.heads, seen, strict=True):
        x = torch.cat(rows).clone()
        _solve(head, x, loss, decay)
    return made


def _solve(head: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor], decay: float) -> None:
    """Fits a head's linear layer on pooled maps x (N, F), standardised by its layer norm first."""
    worker = copy.deepcopy(head).cpu().float()
    with torch.no_grad():
        x = worker.norm(x)
        mean, std = x.mean(0), x.std(0).clamp_min(1e-6)
        x = (x - mean) / std
    linear = nn.Linear(x.shape[1], worker.fc.out_features)
    nn.init.zeros_(linear.weight), nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=200, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(linear(x)) + decay * linear.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    with torch.no_grad():  # the standardisation goes into the layer
        head.fc.weight.copy_(linear.weight / std)
        head.fc.bias.copy_(linear.bias - linear.weight @ (mean / std))


def gate_targets(records: Tensor, labels: Tensor, costs: Sequence[float], trade: float) -> Tensor:
    """(N, E) 1 where an image should have left by then: at the exit of least loss + trade * cost, and behind it.

    Args:
        records: (N, E + 1, K) logits.
        labels: (N,).
        costs: of an image that leaves at each exit, the whole network last; only their shares of the last one count.
        trade: how much loss a whole network's work is worth; 0 takes the exit of least loss.

    Raises:
        TrainingError: there are not as many costs as exits.
    """
    N, exits, K = records.shape
    if len(costs) != exits:
        raise TrainingError(f"Got {len(costs)} costs for {exits - 1} exits and the whole network; give one each.")
    loss = F.cross_entropy(records.reshape(-1, K).float(), labels.repeat_interleave(exits), reduction="none")
    share = torch.tensor(costs, device=loss.device) / costs[-1]
    best = (loss.view(N, exits) + trade * share).argmin(1)  # ties: the earlier exit
    return (torch.arange(exits - 1, device=loss.device) >= best[:, None]).float()


def fit_gates(
    records: Tensor, labels: Tensor, costs: Sequence[float], trade: float = 0.35, *, decay: float = 1e-3
) -> Tensor:
    """Gates of the rule ``"gate"``: logistic regression of `gate_targets` on four signs of certainty, both sides equal.

    Args:
        records: (N, E + 1, K) logits of images that the exits were not fitted on (of those the exits are too sure).
        labels: (N,).
        costs: see `gate_targets`.
        trade: see `gate_targets`.
        decay: of the squared weights, which keeps separable data finite.

    Returns:
        (E, 5) four weights and a bias for each exit, float32.
    """
    targets = gate_targets(records, labels, costs, trade).double()
    features = exit_features(records[:, :-1]).double()  # (N, E, 4)
    gates = torch.zeros(features.shape[1], 5, dtype=torch.float64, requires_grad=True)
    shares = targets.mean(0).clamp(1e-3, 1 - 1e-3)
    weights = torch.where(targets == 1, 0.5 / shares, 0.5 / (1 - shares))
    optimizer = torch.optim.LBFGS([gates], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = (features * gates[:, :4]).sum(2) + gates[:, 4]
        error = F.binary_cross_entropy_with_logits(logits, targets, weight=weights)
        value = error + decay * gates[:, :4].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return gates.detach().float()
