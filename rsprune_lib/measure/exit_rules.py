"""When an image may leave: rules over the logits of an exit.

`ExitRule.leave` is what `run_early` takes; `ExitRule.exits` judges records (N, E + 1, K), the logits of E exits and of
the final classifier for N images, as `rsprune_lib.measure.predict` returns them for such a network.

Papers: patience https://arxiv.org/abs/2006.04152, conformal sets https://arxiv.org/abs/2009.14193.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rsprune_lib.errors import ModelError, unknown

__all__ = ["EXIT_RULES", "ExitRule", "exit_features"]

EXIT_RULES = {  # name -> title in menus
    "max_probability": "largest probability",
    "entropy": "entropy",
    "margin": "margin of the two largest",
    "patience": "agreement of exits in a row",
    "conformal": "one class in the conformal set",
    "gate": "learned gate",
}
_LARGEST = 1e6  # threshold; every rule's readiness is far below


def exit_features(logits: Tensor) -> Tensor:
    """Four signs of certainty, all in [0, 1] and computed where the logits are; nothing flows back into the logits.

    Args:
        logits: (..., K).

    Returns:
        (..., 4): largest probability; entropy; margin between the two largest; entropy of the squared, renormalised
        probabilities. Entropies are divided by ln K, so that they mean the same for any number of classes.
    """
    log_p = logits.detach().float().log_softmax(-1)
    p = log_p.exp()
    two = p.topk(2, dim=-1).values
    log_q = (2 * log_p).log_softmax(-1)
    top = math.log(logits.shape[-1])
    entropy, sharp = (-(log.exp() * log).sum(-1) / top for log in (log_p, log_q))
    return torch.stack([two[..., 0], entropy, two[..., 0] - two[..., 1], sharp], dim=-1)


@dataclass(frozen=True)
class ExitRule:
    """Which images leave where.

    Attributes:
        kind: ``"max_probability"``, ``"margin"`` (both at least the threshold), ``"entropy"`` (1 - entropy / ln K at
            least the threshold), ``"patience"`` (as many exits in a row as the threshold says agree), ``"conformal"``
            (the set of classes that the level asks for has one member) or ``"gate"`` (a learned gate's probability).
        thresholds: one per exit.
        gates: of kind ``"gate"``: (E, 5) weights of the four features and a bias.
    """

    kind: str
    thresholds: tuple[float, ...]
    gates: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind not in EXIT_RULES:
            raise unknown("exit rule", self.kind, EXIT_RULES)
        if self.kind == "gate" and (self.gates is None or self.gates.shape != (len(self.thresholds), 5)):
            raise ModelError(f"The rule 'gate' needs {len(self.thresholds)} x 5 weights; train gates first.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` makes it a rule again."""
        gates = None if self.gates is None else self.gates.tolist()
        return {"kind": self.kind, "thresholds": list(self.thresholds), "gates": gates}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> ExitRule:
        """Reads what `to_dict` wrote, also from a file of somebody else.

        Raises:
            RspruneError: it is no rule.
        """
        try:
            gates = row.get("gates")
            thresholds = tuple(float(cut) for cut in row["thresholds"])
            if not all(abs(cut) <= _LARGEST for cut in thresholds):  # so is NaN
                raise ValueError(f"a threshold of {thresholds} is none")
            return cls(
                str(row["kind"]), thresholds, None if gates is None else torch.tensor(gates, dtype=torch.float32)
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"This is no rule for leaving early ({error}); calibrate the exits again.") from None

    def readiness(self, number: int, logits: Tensor, agreed: Tensor | None = None) -> Tensor:
        """(b,) a number that is compared with the threshold of an exit: the larger, the sooner an image leaves."""
        if self.kind == "patience":
            return agreed.float()
        if self.kind == "gate":
            features = exit_features(logits)
            weights = self.gates[number].to(features)
            return torch.sigmoid(features @ weights[:4] + weights[4])
        if self.kind == "max_probability":  # few operations: each costs a small network as much as a layer
            return logits.float().softmax(-1).amax(-1)
        if self.kind == "margin":
            two = logits.float().softmax(-1).topk(2, dim=-1).values
            return two[..., 0] - two[..., 1]
        log_p = logits.float().log_softmax(-1)
        return 1 + (log_p.exp() * log_p).sum(-1) / math.log(logits.shape[-1])

    def leave(self) -> Callable[[int, Tensor, Tensor], Tensor]:
        """A fresh decision for one batch of `rsprune_lib.models.run_early`."""
        said: dict[str, Tensor] = {}

        def decide(number: int, logits: Tensor, rows: Tensor) -> Tensor:
            agreed = None
            if self.kind == "patience":  # exits in a row, this one included, with the same answer
                answer, size = logits.argmax(1), int(rows.max()) + 1
                if number:
                    agreed = torch.where(answer == said["answer"][rows], said["agreed"][rows] + 1, 1)
                else:
                    agreed = torch.ones_like(answer)
                for name, value in (("answer", answer), ("agreed", agreed)):
                    said.setdefault(name, value.new_zeros(size))[rows] = value
            return self.decides(number, logits, self.thresholds[number], agreed)

        return decide

    def decides(self, number: int, logits: Tensor, cut: float | Tensor, agreed: Tensor | None = None) -> Tensor:
        """(b,) whether each image leaves at an exit.

        Args:
            number: of the exit.
            logits: (b, K) of the exit.
            cut: its threshold.
            agreed: (b,) of kind ``"patience"``: how many exits in a row, this one included, gave the same answer.
        """
        if self.kind == "conformal":
            first, _, margin, _ = exit_features(logits).unbind(-1)
            return (first >= cut) & (first - margin < cut)
        return self.readiness(number, logits, agreed) >= cut

    def exits(self, records: Tensor) -> Tensor:
        """(N,) where each image leaves, the number of exits for the final classifier; nothing is computed anew."""
        N, last = len(records), records.shape[1] - 1
        if len(self.thresholds) != last:
            raise ModelError(f"The rule has {len(self.thresholds)} thresholds, but the network has {last} exits.")
        decide, rows, left = self.leave(), torch.arange(N), torch.full((N,), last)
        for number in range(last):
            if len(rows):
                done = decide(number, records[rows, number], rows)
                left[rows[done]] = number
                rows = rows[~done]
        return left
