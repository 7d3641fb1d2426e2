"""The second stage of training early exits: heads and gates in turn, or the network with them.

Papers: https://arxiv.org/abs/2507.20623 (GFNet-Dynn), https://arxiv.org/abs/2310.09163 (JEI-DNN). Different from the
published code: the gates do weigh the exits (there the weights cancel), the balance of the gates' targets counts what
the targets are, heads and gates take turns over the ends of epochs instead of starting anew in each, and validation is
not the test part. `rsprune_lib.training.fit_gates` solves gates for fixed heads exactly and is a good start for them.

Example:
    >>> stage = SecondStage(exit_costs(model, data.image_size), trade=0.35)
    >>> model = fit(model, data, recipe("exits"), objective=stage).model
    >>> run_early(model, images, stage.rule.leave())
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import TrainingError, unknown
from rsprune_lib.measure.early_exit import outcome
from rsprune_lib.measure.exit_rules import ExitRule, exit_features
from rsprune_lib.training.exits import gate_targets
from rsprune_lib.training.warm_up import ExitStage, exit_accuracies

__all__ = ["MODES", "SecondStage", "exit_probabilities", "gate_balance"]

MODES = ("dynn", "joint", "backbone_only")
REWEIGHT = ("detached", "legacy_uniform")
BALANCE = ("cumulative", "legacy")


def exit_probabilities(gates: Tensor) -> Tensor:
    """Shares of an image that leave at each exit, the final one last: each gate takes what those before it left over.

    Args:
        gates: (B, E) in [0, 1].

    Returns:
        (B, E + 1), sums are 1; finite also where gates are saturated.
    """
    before = gates.cumsum(1) - gates
    early = torch.minimum(gates, 1 - before).clamp_min(0)
    return torch.cat([early, (1 - early.sum(1, keepdim=True)).clamp_min(0)], dim=1)


def gate_balance(targets: Tensor, balance: str = "cumulative") -> Tensor:
    """(E,) how much more an image counts that should have left: those that should not per one that should, at most 5.

    Args:
        targets: (N, E) of `rsprune_lib.training.gate_targets`.
        balance: ``"legacy"`` counts only the images whose best exit is this one, as the published code does.

    Raises:
        RspruneError: there is no such balance.
    """
    if balance not in BALANCE:
        raise unknown("balance", balance, BALANCE)
    counts = targets.sum(0)
    if balance == "legacy":
        counts = counts.diff(prepend=counts.new_zeros(1))
    return ((len(targets) - counts) / counts.clamp_min(0.1)).clamp_max(5)


class SecondStage(ExitStage):
    """Objective that trains exits together with gates, which say after each exit whether an image leaves.

    A gate is a logistic regression on four signs of certainty; it should open for images whose loss, plus what the
    computation costs, is least at its exit or at an earlier one. The epoch that is kept has the least mean of that sum
    over the validation images, each at the exit where its gates let it leave.

    Args:
        costs: of an image that leaves at each exit, the whole network last, see `rsprune_lib.measure.exit_costs`.
        mode: ``"dynn"``: heads and gates in turn, the network stays; ``"joint"``: network, heads and gates together;
            ``"backbone_only"``: the network, heads and gates stay.
        trade: how much loss a whole network's work is worth; the larger, the earlier images leave.
        period: of mode ``"dynn"``: steps of the heads, then as many of the gates, over the ends of epochs.
        reweight: how the gates weigh the losses of the exits; ``"legacy_uniform"`` is the published expression, whose
            weights cancel, so that all early exits count the same and the final one not at all.
        balance: see `gate_balance`.
        gates: (E, 5) to begin with, e.g. of `fit_gates`; by default every exit takes the same share.
        taught: see `WarmUp`.
        temperature: see `WarmUp`.

    Attributes:
        rule: after `fit`: the rule of the trained gates, as `rsprune_lib.models.run_early` takes its ``leave()``.

    Raises:
        TrainingError: an argument is out of its range; in `fit`, the network has no exits, or costs are not theirs.
        RspruneError: there is no such mode, reweighting or balance.
    """

    def __init__(
        self,
        costs: Sequence[float],
        mode: str = "dynn",
        *,
        trade: float = 0.35,
        period: int = 60,
        reweight: str = "detached",
        balance: str = "cumulative",
        gates: Tensor | None = None,
        taught: float = 0.0,
        temperature: float = 2.0,
    ) -> None:
        super().__init__(taught, temperature)
        for what, value, known in (
            ("mode", mode, MODES),
            ("reweighting", reweight, REWEIGHT),
            ("balance", balance, BALANCE),
        ):
            if value not in known:
                raise unknown(what, value, known)
        if period < 1 or not trade >= 0:
            raise TrainingError(f"Got period={period} and trade={trade}; expected at least 1 step and at least 0.")
        self.costs, self.mode, self.trade, self.period = tuple(map(float, costs)), mode, trade, period
        self.reweight, self.balance, self.first = reweight, balance, gates
        self.rule: ExitRule | None = None

    def on_start(self, model: nn.Module) -> None:
        """Adds the gates to the network for the time of the training and freezes what the mode does not train."""
        super().on_start(model)
        exits = len(model.exits.heads)
        if len(self.costs) != exits + 1:
            raise TrainingError(f"Got {len(self.costs)} costs for {exits} exits and the whole network; give one each.")
        gates = self.first if self.first is not None else torch.tensor([0.0] * 4 + [-math.log(exits)]).repeat(exits, 1)
        if gates.shape != (exits, 5):
            raise TrainingError(f"Got gates of shape {tuple(gates.shape)} for {exits} exits; expected ({exits}, 5).")
        self.rule, self._steps, self._balance = None, 0, None
        model.requires_grad_(self.mode != "dynn")
        for head in model.exits.heads:
            head.requires_grad_(self.mode != "backbone_only")
        model.exits.register_parameter("gates", nn.Parameter(gates.clone().float(), self.mode != "backbone_only"))

    def on_epoch_start(self, epoch: int, model: nn.Module) -> None:
        """Batch norms of a frozen network keep their statistics."""
        model.train(self.mode != "dynn")

    @property
    def phase(self) -> str:
        """What the next step trains: ``"exits"``, ``"gates"`` or ``"all"``."""
        if self.mode != "dynn":
            return "all"
        return ("exits", "gates")[self._steps // self.period % 2]

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of the phase that is on."""
        phase = self.phase
        self._steps += 1
        outputs = model(images)
        weights = getattr(model, "module", model).exits.gates
        features = exit_features(torch.stack([each.float() for each in outputs[:-1]], dim=1))  # (B, E, 4)
        doors = (features * weights[:, :4]).sum(2) + weights[:, 4]  # (B, E), products in float32 also under autocast
        loss = torch.zeros((), device=images.device)
        if phase != "gates":
            loss = loss + self.weighed(self.losses(outputs, labels), exit_probabilities(doors.detach().sigmoid()))
        if phase == "gates" or self.mode == "joint":
            records = torch.stack([each.detach().float() for each in outputs], dim=1)
            targets = gate_targets(records, labels, self.costs, self.trade)
            more = torch.ones(len(self.costs) - 1) if self._balance is None else self._balance
            weight = targets * more.to(targets) + (1 - targets)
            loss = loss + F.binary_cross_entropy_with_logits(doors, targets, weight=weight)
        return loss

    def weighed(self, losses: Tensor, shares: Tensor) -> Tensor:
        """Mean over the images of the exits' losses, weighed by the shares that leave there.

        An image's weights are scaled so that they leave the sum of its losses as it is, but by the number of exits at
        most: without that bound losses that saturated gates exclude grow, and the others' weights with them, to NaN.

        Args:
            losses: (B, E + 1).
            shares: (B, E + 1) of `exit_probabilities`.
        """
        if self.reweight == "legacy_uniform":
            losses, shares = losses[:, :-1], shares[:, :-1]
            ratio = losses.sum(1, keepdim=True) / (shares * losses).sum(1, keepdim=True).clamp_min(1e-12)
            return (shares * losses * ratio).mean()
        ratio = losses.sum(1, keepdim=True) / (shares * losses).sum(1, keepdim=True).clamp_min(1e-12)
        return (shares * losses * ratio.detach().clamp_max(losses.shape[1])).sum(1).mean()

    def on_validation(self, row: dict[str, Any], records: Tensor, labels: Tensor, model: nn.Module) -> None:
        """Counts the targets anew and judges the gates."""
        exits = records.shape[1] - 1
        self._balance = gate_balance(gate_targets(records, labels, self.costs, self.trade), self.balance)
        self._now = ExitRule("gate", (0.5,) * exits, model.exits.gates.detach().float().cpu().clone())
        for number, accuracy in enumerate(exit_accuracies(records, labels), 1):
            row[f"val_accuracy_exit{number}"] = accuracy
        found = outcome(records, labels, self.costs, self._now)
        row |= {"val_gated_accuracy": found.accuracy, "val_cost": found.cost}

    def score(self, records: Tensor, labels: Tensor) -> float:
        """Minus the loss where each image leaves, plus what that costs."""
        left = self._now.exits(records)
        taken = records[torch.arange(len(records)), left].float()
        shares = torch.tensor(self.costs) / self.costs[-1]
        return -float(F.cross_entropy(taken, labels) + self.trade * shares[left].mean())

    def on_end(self, model: nn.Module) -> None:
        """Takes the gates out of the network; they are in `rule`."""
        gates = model.exits.gates.detach().float().cpu().clone()
        self.rule = ExitRule("gate", (0.5,) * len(gates), gates)
        del model.exits.gates
        model.requires_grad_(True)

    def state(self) -> dict[str, Any]:
        """Steps so far and the balance of the targets."""
        return {"steps": self._steps, "balance": self._balance}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts them back."""
        self._steps, self._balance = state["steps"], state["balance"]
