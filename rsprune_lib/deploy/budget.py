"""The plan that fits a budget of milliseconds, found by measuring exported networks, never from MACs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.deploy.bench import timing_images
from rsprune_lib.deploy.export import export_onnx, pixels
from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.runtimes import RUNTIMES, Candidate
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import runs_in_turn
from rsprune_lib.pruning import Request, prune
from rsprune_lib.pruning.criteria.gates import Gates

__all__ = ["Trial", "ratio_within"]

MOST = 0.95  # share of the channels that may go
_NEAR = 0.85  # of the budget: a network that uses so much of it is near enough
_IMAGES = 40


@dataclass(frozen=True)
class Trial:
    """A ratio that was tried.

    Attributes:
        ratio: share of the channels that went.
        ms: median over the rounds, an image, one thread; of computing where other programs had the processor.
        busy: whether they had it.
        gone: share of the channels that really went; limits such as multiples of 8 can keep some.
    """

    ratio: float
    ms: float
    busy: bool
    gone: float = 0.0


def ratio_within(
    budget_ms: float, model: nn.Module, data: Dataset, facts: Facts, request: Request | None = None, *,
    gates: Gates | None = None, tries: int = 7, say: Callable[[str], None] = lambda line: None,
) -> list[Trial]:  # fmt: skip
    """Finds the smallest ratio whose exported network takes at most so many milliseconds an image.

    Each try cuts the network, exports it and times the file on real images; nothing is repaired, because a repair does
    not change the time. Between a ratio that fits and one that does not the next one is interpolated.

    Args:
        budget_ms: milliseconds an image, batch 1, one thread.
        model: the trained network.
        data: what it was trained on; images are of its validation part.
        facts: of the network.
        request: criterion, scope and limits of the pruning; its amount and recovery do not count.
        gates: gate statistics of the network, if they are known.
        tries: networks that are exported at most.
        say: takes a line on each try.

    Returns:
        All tries; the last one fits.

    Raises:
        RspruneError: the budget is no number above 0, or even the smallest network takes longer.
    """
    if not 0 < budget_ms < float("inf"):
        raise RspruneError(f"Got a budget of {budget_ms} ms; give a number above 0.")
    request = replace(request or Request(ratio=MOST), threshold=None, macs=None, recovery="none", repairing={})
    images = timing_images(Batches(data, "val", 64), _IMAGES)
    images = images[torch.arange(_IMAGES) % len(images)]  # few ones are timed again and again
    trials: list[Trial] = []

    def measured(ratio: float) -> Trial:
        cut = prune(model, data, replace(request, ratio=ratio), gates=gates, progress=False)
        small, gone = cut.model, 1 - sum(cut.plan.widths.values()) / max(1, sum(cut.plan.sizes.values()))
        with tempfile.TemporaryDirectory() as folder:
            made = export_onnx(small, replace(facts, plan=None), Path(folder) / "try.onnx", pixels(data, "val", 8))
            run = RUNTIMES["onnx"].load(Candidate("try", small, facts, Path(folder), made.path), 1)
            (took,) = runs_in_turn([run], images, batch=1, threads=1, rounds=10)
        rounds = took.own_rounds_ms if took.busy else took.rounds_ms
        found = Trial(ratio, sorted(rounds)[len(rounds) // 2], took.busy, gone)
        say(f"ratio {ratio:.3f}: {found.ms:.3g} ms{' of computing, the machine is busy' if took.busy else ''}")
        trials.append(found)
        return found

    slow = measured(0.0)
    if slow.ms <= budget_ms:
        return trials
    fits = measured(MOST)
    if fits.ms > budget_ms:
        raise RspruneError(
            f"Even without {fits.gone:.0%} of its channels, as many as may go, the network takes {fits.ms:.3g} ms, "
            f"more than {budget_ms:g}; give a larger budget, smaller images, or other widths (--multiple-of)."
        )
    while len(trials) < tries and fits.ms < _NEAR * budget_ms and fits.ratio - slow.ratio > 0.01:
        share = (slow.ms - 0.95 * budget_ms) / (slow.ms - fits.ms)  # aims a little below the budget
        share = min(0.9, max(0.1, share))
        one = measured(round(slow.ratio + share * (fits.ratio - slow.ratio), 3))
        slow, fits = (slow, one) if one.ms <= budget_ms else (one, fits)
    return [*(trial for trial in trials if trial is not fits), fits]
