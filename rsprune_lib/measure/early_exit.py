"""When an image may leave: rules over the exits' logits, what they cost, and thresholds that keep a promise.

Everything here works on records (N, E + 1, K), the logits of E exits and of the final classifier for N images, as
`rsprune_lib.measure.predict` returns them for such a network. `ExitRule.leave` is what `run_early` takes.

Papers: patience https://arxiv.org/abs/2006.04152, conformal sets https://arxiv.org/abs/2009.14193, thresholds tested in
a fixed order with a bound that holds for finitely many images https://arxiv.org/abs/2110.01052.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.errors import ModelError, RspruneError, unknown

__all__ = [
    "RULES",
    "ExitRule",
    "Outcome",
    "conformal_level",
    "exit_features",
    "oracle",
    "outcome",
    "promise",
    "sweep",
    "tuned_to",
]

RULES = {  # name -> title in menus
    "max_probability": "largest probability",
    "entropy": "entropy",
    "margin": "margin of the two largest",
    "patience": "agreement of exits in a row",
    "conformal": "one class in the conformal set",
    "gate": "learned gate",
}
_GRID = 1 / (
    1 + np.exp(-np.linspace(9.0, -9.0, 241))
)  # from strict to loose, fine near 1; fixed before any image is seen


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
    """Who leaves where.

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
        if self.kind not in RULES:
            raise unknown("exit rule", self.kind, RULES)
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


@dataclass(frozen=True)
class Outcome:
    """What a rule does to a set of images.

    Attributes:
        accuracy: share of right answers.
        cost: mean cost of an image, as a share of the whole network's.
        rates: share of the images that leave at each exit, the final one last.
        accuracies: accuracy of those that leave there; NaN where none does.
        lost: share of the images that the whole network has right and the rule has wrong.
        rule: the rule.
    """

    accuracy: float
    cost: float
    rates: tuple[float, ...]
    accuracies: tuple[float, ...]
    lost: float
    rule: ExitRule | None = None


def outcome(records: Tensor, labels: Tensor, costs: Sequence[float], rule: ExitRule | Tensor) -> Outcome:
    """Judges a rule, or the exits (N,) that were chosen for each image.

    Args:
        records: (N, E + 1, K).
        labels: (N,).
        costs: of an image that leaves at each exit, the last one for the whole network; any unit.
        rule: an `ExitRule`, or exits (N,).
    """
    chosen = isinstance(rule, ExitRule)
    return _judge(records, labels, costs, (rule.exits(records) if chosen else rule)[None], [rule if chosen else None])[
        0
    ]


def _judge(
    records: Tensor, labels: Tensor, costs: Sequence[float], left: Tensor, rules: Sequence[ExitRule | None]
) -> list[Outcome]:
    """Outcomes of several choices at once; left: (G, N)."""
    right = (records.argmax(2) == labels[:, None]).T  # (E + 1, N)
    exits, (G, N) = len(right), left.shape
    chosen = right.gather(0, left)  # (G, N)
    place = (left + exits * torch.arange(G)[:, None]).flatten()
    counts = torch.bincount(place, minlength=G * exits).view(G, exits).double()
    hits = torch.bincount(place[chosen.flatten()], minlength=G * exits).view(G, exits).double()
    lost = (right[-1] & ~chosen).sum(1).double() / N
    cost = counts @ torch.tensor(costs, dtype=torch.float64) / (N * costs[-1])
    return [
        Outcome(
            accuracy=float(hits[g].sum() / N),
            cost=float(cost[g]),
            rates=tuple((counts[g] / N).tolist()),
            accuracies=tuple((hits[g] / counts[g]).tolist()),
            lost=float(lost[g]),
            rule=rule,
        )
        for g, rule in enumerate(rules)
    ]


def oracle(records: Tensor, labels: Tensor) -> Tensor:
    """(N,) the first exit that is right, the final one if none is: what no rule can beat."""
    right = records.argmax(2) == labels[:, None]
    right[:, -1] = True
    return right.int().argmax(1)


def sweep(
    records: Tensor, labels: Tensor, costs: Sequence[float], kind: str = "max_probability", gates: Tensor | None = None
) -> list[Outcome]:
    """Outcomes of one rule from strict to loose, one threshold for all exits; see `outcome`."""
    exits = records.shape[1] - 1
    if kind in ("patience", "conformal"):
        grid = range(exits + 1, 0, -1) if kind == "patience" else [1.0 + 1e-9, *_GRID.tolist()]
        rules = [ExitRule(kind, (float(cut),) * exits, gates) for cut in grid]
        left = torch.stack([rule.exits(records) for rule in rules])
    else:  # one comparison for all thresholds
        rules = [ExitRule(kind, (float(cut),) * exits, gates) for cut in (1.0 + 1e-9, *_GRID)]
        ready = torch.stack([rules[0].readiness(number, records[:, number]) for number in range(exits)], 1)  # (N, E)
        over = ready >= torch.tensor([rule.thresholds[0] for rule in rules]).to(ready)[:, None, None]  # (G, N, E)
        left = torch.where(over.any(2), over.int().argmax(2), exits)
    return _judge(records, labels, costs, left, rules)


def tuned_to(outcomes: Sequence[Outcome], *, accuracy: float | None = None, cost: float | None = None) -> Outcome:
    """The cheapest outcome of at least an accuracy, or the most accurate one of at most a mean cost.

    Choose on validation images; the accuracy on others may be lower, see `promise`.

    Raises:
        RspruneError: none reaches it; the message says what can be reached.
    """
    if (accuracy is None) == (cost is None):
        raise RspruneError("Give either an accuracy or a cost.")
    if accuracy is not None:
        good = [found for found in outcomes if found.accuracy >= accuracy]
        if not good:
            best = max(found.accuracy for found in outcomes)
            raise RspruneError(f"No threshold reaches an accuracy of {accuracy:.2%}; the best is {best:.2%}.")
        return min(good, key=lambda found: (found.cost, -found.accuracy))
    cheap = [found for found in outcomes if found.cost <= cost]
    if not cheap:
        least = min(found.cost for found in outcomes)
        raise RspruneError(f"No threshold costs {cost:.2f} of the network or less; the least is {least:.2f}.")
    return max(cheap, key=lambda found: (found.accuracy, -found.cost))


def promise(
    records: Tensor,
    labels: Tensor,
    costs: Sequence[float],
    *,
    lost: float = 0.005,
    confidence: float = 0.9,
    kind: str = "max_probability",
    gates: Tensor | None = None,
) -> Outcome:
    """The loosest threshold that loses at most a share of the images, with a confidence that holds for any data.

    An image is lost if the whole network has it right and the rule has it wrong; the share of lost images is never less
    than the drop in accuracy. Thresholds are tried from strict to loose, in an order fixed beforehand; each must show
    by an exact binomial test that more than ``lost`` is unlikely, and the first that cannot ends the search. So the
    probability (over calibration images) that the promise is broken is at most ``1 - confidence``.

    Args:
        records: (N, E + 1, K) of calibration images: neither trained on nor used to choose anything else.
        labels: (N,).
        costs: see `outcome`.
        lost: what may be lost, in (0, 1).
        confidence: in (0, 1).
        kind: of the rule.
        gates: of the rule.

    Raises:
        RspruneError: there are no calibration images, a share is out of range, or even the strictest threshold cannot
            be promised (too few images); the message says what could be promised with so many.
    """
    from scipy.stats import binom  # imported lazily: takes 1 s

    n = len(labels)
    check_promise(n, lost, confidence)
    tried = sweep(records, labels, costs, kind, gates)
    doubt = binom.cdf([round(found.lost * n) for found in tried], n, lost)  # of seeing so few if more than that is lost
    shown = int(np.argmax([*(doubt > 1 - confidence), True]))  # how many pass before the first that does not
    return tried[max(shown, 1) - 1]  # at the first nobody leaves and nothing is lost


def check_promise(images: int, lost: float, confidence: float) -> None:
    """Says before any work whether so many calibration images can carry a promise; see `promise`.

    Raises:
        RspruneError: there are none, a share is out of range, or not even the strictest threshold can be promised.
    """
    if images == 0:
        raise RspruneError("Got no calibration images; a promise needs some that nothing else was chosen on.")
    if not 0 < lost < 1 or not 0 < confidence < 1:
        raise RspruneError(f"Got lost={lost} and confidence={confidence}; expected shares between 0 and 1.")
    least = 1 - (1 - confidence) ** (1 / images)
    if lost < least:
        raise RspruneError(
            f"With {images} calibration images a loss of at most {lost:.2%} cannot be promised at {confidence:.0%} "
            f"confidence; the best promise that so many images can carry is {least:.2%}."
        )


def conformal_level(records: Tensor, labels: Tensor, alpha: float) -> tuple[float, ...]:
    """Thresholds of the rule ``"conformal"``: the sets {p >= threshold} of each exit hold the truth for 1 - alpha.

    Args:
        records: (N, E + 1, K) of calibration images.
        labels: (N,).
        alpha: share of the sets that may miss the truth.
    """
    n = len(labels)
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)  # the small term undoes rounding errors
    if rank > n:  # so few images can promise only the set of all classes, with which none leaves
        return (0.0,) * (records.shape[1] - 1)
    held = records[:, :-1].double().softmax(2)[torch.arange(n), :, labels]  # (N, E) probability of the truth
    return tuple(held.sort(dim=0, descending=True).values[rank - 1].tolist())
