"""The first stage of training early exits: heads on the frozen network, each until it gets no better.

Papers: https://arxiv.org/abs/2507.20623 (GFNet-Dynn), https://arxiv.org/abs/2310.09163 (JEI-DNN). Everything is decided
on the validation part. `rsprune_lib.training.fit_heads` solves the same heads in seconds, without augmentation, and is
what this has to beat; the second stage is `rsprune_lib.training.SecondStage`.

Example:
    >>> model = fit(add_exits(dense, 3), data, recipe("exits_warmup"), objective=WarmUp()).model
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import TrainingError
from rsprune_lib.training.callback import Callback, StopTraining

__all__ = ["ExitStage", "WarmUp", "exit_accuracies"]


def exit_accuracies(records: Tensor, labels: Tensor) -> list[float]:
    """Accuracy of each early exit of records (N, E + 1, K)."""
    return (records[:, :-1].argmax(2) == labels[:, None]).double().mean(0).tolist()


class ExitStage(Callback):
    """What both stages share: the losses of all exits, and which parts of the network move."""

    def __init__(self, taught: float, temperature: float) -> None:
        if not 0 <= taught <= 1 or not temperature > 0:
            raise TrainingError(
                f"Got taught={taught} and temperature={temperature}; expected a share in [0, 1], a temperature above 0."
            )
        self.taught, self.temperature = taught, temperature

    def on_start(self, model: nn.Module) -> None:
        """Refuses what cannot be trained here."""
        if not hasattr(model, "exits"):
            raise TrainingError("The network has no exits to train; add some with add_exits.")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TrainingError("Exits are trained by one process; start it without accelerate launch.")

    def losses(self, outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
        """(B, E + 1) cross-entropy of each exit; part of it against the final answer, see ``taught``."""
        logits = torch.stack([each.float() for each in outputs], dim=1)
        B, exits, K = logits.shape
        own = F.cross_entropy(logits.reshape(-1, K), labels.repeat_interleave(exits), reduction="none").view(B, exits)
        if not self.taught:
            return own
        said = (logits / self.temperature).log_softmax(2)
        wanted = said[:, -1:].detach()
        gap = (wanted.exp() * (wanted - said)).sum(2)
        share = torch.full((exits,), self.taught, device=own.device)
        share[-1] = 0
        return (1 - share) * own + share * self.temperature**2 * gap


class WarmUp(ExitStage):
    """Objective that trains the heads alone; each head is frozen with its best weights when it stops getting better.

    Training ends when all heads are frozen, or with the recipe; the network that `fit` returns has the best weights of
    each head by its own accuracy on the validation part.

    Args:
        patience: epochs without a better accuracy after which a head is frozen.
        taught: share of a head's loss that comes from the final classifier's answer instead of the label, in [0, 1].
        temperature: of that answer.

    Raises:
        TrainingError: a number is out of its range; in `fit`, the network has no exits.
    """

    def __init__(self, patience: int = 2, *, taught: float = 0.0, temperature: float = 2.0) -> None:
        super().__init__(taught, temperature)
        if patience < 1:
            raise TrainingError(f"Got patience={patience}; expected at least one epoch.")
        self.patience = patience

    def on_start(self, model: nn.Module) -> None:
        """Freezes all but the heads and forgets an earlier run."""
        super().on_start(model)
        count = len(model.exits.heads)
        model.requires_grad_(False)
        self._best, self._waited, self._frozen = [-1.0] * count, [0] * count, [False] * count
        self._weights: list[dict[str, Tensor]] = [{} for _ in range(count)]
        self._trained: nn.Module | None = None

    def on_epoch_start(self, epoch: int, model: nn.Module) -> None:
        """Lets only heads move that are not frozen; ends training when there is none."""
        if all(self._frozen):
            raise StopTraining
        self._trained = model.eval()  # batch norms of the frozen network keep their statistics
        for head, frozen in zip(model.exits.heads, self._frozen, strict=True):
            head.requires_grad_(not frozen).train(not frozen)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Sum over the heads that still move; early ones weigh more (5, 4, 3, 2 for four), as published."""
        each = self.losses(model(images), labels).mean(0)  # (E + 1,)
        exits = len(self._frozen)
        moving = [number for number in range(exits) if not self._frozen[number]]
        return torch.stack([(exits + 1 - number) * each[number] for number in moving]).sum() / exits

    def on_validation(self, row: dict[str, Any], records: Tensor, labels: Tensor, model: nn.Module) -> None:
        """Keeps the best weights of each head; freezes those that have waited long enough."""
        accuracies = exit_accuracies(records, labels)
        for number, accuracy in enumerate(accuracies):
            row[f"val_accuracy_exit{number + 1}"] = accuracy
            if self._frozen[number]:
                continue
            if accuracy > self._best[number]:
                self._best[number], self._waited[number] = accuracy, 0
                self._weights[number] = copy.deepcopy(model.exits.heads[number].state_dict())
                continue
            self._waited[number] += 1
            if self._waited[number] >= self.patience:
                self._frozen[number] = True
                for network in (self._trained, model):  # the same one where the recipe averages nothing
                    network.exits.heads[number].load_state_dict(self._weights[number])
        row["exits_frozen"] = sum(self._frozen)

    def score(self, records: Tensor, labels: Tensor) -> float:
        """Mean accuracy of the early exits."""
        return sum(exit_accuracies(records, labels)) / (records.shape[1] - 1)

    def on_end(self, model: nn.Module) -> None:
        """Puts the best weights of every head into the network, whose parameters can be trained again."""
        for head, weights in zip(model.exits.heads, self._weights, strict=True):
            if weights:
                head.load_state_dict(weights)
        model.requires_grad_(True)

    def state(self) -> dict[str, Any]:
        """Counters and the best weights of each head."""
        return {"best": self._best, "waited": self._waited, "frozen": self._frozen, "weights": self._weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts them back."""
        self._best, self._waited = list(state["best"]), list(state["waited"])
        self._frozen, self._weights = list(state["frozen"]), list(state["weights"])
