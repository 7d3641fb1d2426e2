"""What exit rules cost and how right they are, and thresholds that keep a promise.

Everything here works on records (N, E + 1, K), the logits of E exits and of the final classifier for N images, as
`rsprune_lib.measure.predict` returns them for such a network.

Paper: thresholds tested in a fixed order with a bound that holds for finitely many images
https://arxiv.org/abs/2110.01052.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure.exit_rules import ExitRule

__all__ = [
    "Outcome",
    "check_promise",
    "conformal_level",
    "oracle",
    "outcome",
    "promise",
    "sweep",
    "tuned_to",
]

_GRID = 1 / (
    1 + np.exp(-np.linspace(9.0, -9.0, 241))
)  # from strict to loose, fine near 1; fixed before any image is seen


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
