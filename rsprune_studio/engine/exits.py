"""Early exits of the network on the screen, without a single widget: fit, move thresholds, solve for one, time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import (
    EXIT_RULES,
    EarlyExit,
    ExitRule,
    Latency,
    Outcome,
    Quality,
    Speed,
    exit_costs,
    latencies_on,
    oracle,
    outcome,
    predict,
    promise,
    quality,
    sweep,
    tuned_to,
)
from rsprune_lib.models import add_exits, without_exits
from rsprune_lib.training import fit_heads
from rsprune_studio.engine.inside import Key, network_key
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["GOALS", "KINDS", "ExitStudy", "Judged", "make_study", "solve", "time_exits"]

KINDS = {
    name: EXIT_RULES[name] for name in ("max_probability", "entropy", "margin", "patience")
}  # need no fit of their own
GOALS = {
    "accuracy": "lose no accuracy",
    "promise": "promise: lost at most",
    "cost": "mean MACs at most",
}
_TIMED = 160  # images that are timed at batch 1


@dataclass(frozen=True, eq=False)
class ExitStudy:
    """A network with exits, and what each of them says about the validation images.

    The images are in two halves: thresholds are solved for on one, and all numbers on the screen are of the other.

    Attributes:
        network: with exits, in eval mode; shared, so it is left as it is.
        records: (N, E + 1, K) logits of all exits, the final classifier last.
        labels: (N,).
        images: (N,) numbers of the images in the data set.
        costs: MACs of an image that leaves at each exit, the whole network last.
        key: of the snapshot whose network it is, see `network_key`.
        fitted: training images that the heads were fitted on; None if the network came with exits.
    """

    network: nn.Module
    records: Tensor
    labels: Tensor
    images: np.ndarray
    costs: tuple[int, ...]
    key: Key
    fitted: int | None
    _swept: dict[str, list[Outcome]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of exits, the final classifier not included."""
        return len(self.costs) - 1

    @property
    def shown(self) -> slice:
        """The half behind the numbers on the screen."""
        return slice(0, (len(self.labels) + 1) // 2)

    @property
    def kept_back(self) -> slice:
        """The half that thresholds are solved for on."""
        return slice((len(self.labels) + 1) // 2, None)

    def curve(self, kind: str) -> list[Outcome]:
        """What a rule reaches on the half that is shown, from its strictest threshold to its loosest; kept."""
        if kind not in self._swept:
            self._swept[kind] = sweep(self.records[self.shown], self.labels[self.shown], self.costs, kind)
        return self._swept[kind]

    def alone(self) -> list[tuple[float, float]]:
        """(share of the MACs, accuracy) of each exit if all images left there."""
        right = self.records[self.shown].argmax(2) == self.labels[self.shown, None]
        return [
            (cost / self.costs[-1], float(share))
            for cost, share in zip(self.costs, right.double().mean(0), strict=True)
        ]

    def judge(self, rule: ExitRule) -> Judged:
        """What a rule does to the half that is shown; milliseconds."""
        records, labels = self.records[self.shown], self.labels[self.shown]
        left = rule.exits(records)
        answers = records[torch.arange(len(records)), left]
        return Judged(
            rule, outcome(records, labels, self.costs, left), left.numpy(), quality(answers, labels),
            quality(records[:, -1], labels), outcome(records, labels, self.costs, oracle(records, labels)),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Judged:
    """What a rule does to the images that are shown.

    Attributes:
        rule: who leaves where.
        outcome: accuracy, cost and rates.
        left: (n,) the exit of each image; the number of exits for the final classifier.
        quality: of the answers with exits.
        whole: of the answers of the whole network.
        oracle: the outcome of leaving at the first exit that is right.
    """

    rule: ExitRule
    outcome: Outcome
    left: np.ndarray
    quality: Quality
    whole: Quality
    oracle: Outcome


def make_study(
    studio: Studio,
    snapshot: Snapshot,
    count: int = 3,
    *,
    images: int = 2000,
    watch: Watch = UNWATCHED,
) -> ExitStudy:
    """Gives the pruned network of a snapshot exits, if it has none, and asks all of them about the validation images.

    The backbone stays as it is: only a linear layer an exit is fitted, on training images.

    Args:
        studio: the state.
        snapshot: says which network.
        count: exits wanted, at equal shares of the work; a network that has exits keeps its own.
        images: training images to fit the heads on.
        watch: of the work.

    Raises:
        ModelError: the network has no places for so many exits, or is no classifier.
        Stopped: it is no longer wanted.
    """
    network, fitted = studio.networks.recovered(snapshot, watch), None
    if hasattr(network, "exits"):
        network = copy.deepcopy(network).eval()
    else:
        batches = studio.trained.batches("train", images)
        batches = watch.over(batches, f"Fitting {count} exits on {batches.size:,} training images")
        network = fit_heads(add_exits(network, count, norm=False), batches, progress=False).eval()
        fitted = len(batches.indices)
    batches = watch.over(studio.validation, "Asking every exit about the validation images")
    records, labels = predict(network, batches, progress=False)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    costs = exit_costs(network, studio.data.image_size)
    where = batches.indices[order.numpy()]
    return ExitStudy(network, records[order], labels[order], where, costs, network_key(snapshot), fitted)


def solve(study: ExitStudy, kind: str, goal: str, amount: float) -> ExitRule:
    """The loosest threshold, one for all exits, that reaches a goal on the half that is kept back.

    Args:
        study: the network with exits.
        kind: of the rule, key of `KINDS`.
        goal: ``"accuracy"`` (as right as the whole network), ``"promise"`` (at most ``amount`` of the images lost, 90 %
            sure, see `rsprune_lib.measure.promise`) or ``"cost"`` (mean MACs at most ``amount`` of the whole network).
        amount: a share in (0, 1).

    Raises:
        RspruneError: the goal cannot be reached; the message says what can.
    """
    records, labels = study.records[study.kept_back], study.labels[study.kept_back]
    if goal == "promise":
        return promise(records, labels, study.costs, lost=amount, kind=kind).rule
    if goal not in GOALS:
        raise RspruneError(f"Got the goal {goal!r}; known: {', '.join(GOALS)}.")
    swept = sweep(records, labels, study.costs, kind)
    if goal == "cost":
        return tuned_to(swept, cost=amount).rule
    whole = (records[:, -1].argmax(1) == labels).double().mean().item()
    return tuned_to(swept, accuracy=whole).rule


def time_exits(
    studio: Studio, study: ExitStudy, rule: ExitRule, batches: Sequence[int] = (1, 32)
) -> dict[int, tuple[Speed, Latency]]:
    """Batch size -> how fast the network with exits is against the same without, timed in turn on shown images."""
    images = torch.cat([x for x, _ in studio.trained.batches(study.images[study.shown], None)])
    networks, found = [without_exits(study.network), EarlyExit(study.network, rule)], {}
    with studio.networks.quiet():
        for batch in batches:
            several = images[: _TIMED * batch] if batch == 1 else images
            rounds = max(1, min(5, len(several) // batch))
            if len(several) >= rounds * batch:
                whole, early = latencies_on(networks, several, batch=batch, threads=1, rounds=rounds)
                found[batch] = Speed.of(whole, early), early
    return found
