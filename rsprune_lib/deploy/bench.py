"""The same networks in every runtime at hand: timed in turn on the same real images, and judged on the same images.

A fast answer that is another answer is worth nothing, so a row holds time, size *and* accuracy, all three as that
runtime runs the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from rsprune_lib.data import Batches, measuring_batch
from rsprune_lib.deploy.runtimes import RUNTIMES, Candidate, Run
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Latency, Quality, Speed, runs_in_turn
from rsprune_lib.tasks import Task, task_of

__all__ = ["BenchRow", "Timing", "fastest", "in_turn", "judge", "raw_batches", "timing_images"]

ROUNDS = 10


@dataclass(frozen=True)
class Timing:
    """Time of one batch, measured in turn with the other rows of its table.

    Attributes:
        ms: median over the rounds, in milliseconds a batch; a round is the mean over its batches.
        iqr_ms: distance between the quartiles of the rounds.
        least_ms: shortest round.
        factor: how many times as fast as the first row.
        low: lower quartile of that, over the rounds.
        high: upper quartile.
        words: the factor in words; no number where the spread is wider than the difference.
        busy: other work took the processor away; factor and words then compare the milliseconds of computing.
        rounds_ms: all rounds.
        own_ms: median of the milliseconds in which it computed; with one thread `ms` of a machine that is at rest.
        own_rounds_ms: the same of all rounds.
    """

    ms: float
    iqr_ms: float
    least_ms: float
    factor: float
    low: float
    high: float
    words: str
    busy: bool
    rounds_ms: tuple[float, ...]
    own_ms: float
    own_rounds_ms: tuple[float, ...]

    @classmethod
    def of(cls, took: Latency, first: Latency) -> Timing:
        """A latency beside that of the first row."""
        speed, words = _speed(first, took)
        low, ms, high = np.percentile(took.rounds_ms, [25, 50, 75])
        return cls(
            float(ms), float(high - low), took.least_ms, speed.factor, speed.low, speed.high, words, took.busy,
            took.rounds_ms, float(np.median(took.own_rounds_ms)), took.own_rounds_ms,
        )  # fmt: skip


def _speed(first: Latency | Timing, took: Latency | Timing) -> tuple[Speed, str]:
    """How many times as fast, and in words; by the milliseconds of computing where the machine is busy."""
    busy = first.busy or took.busy
    pairs = (first.own_rounds_ms, took.own_rounds_ms) if busy else (first.rounds_ms, took.rounds_ms)
    low, factor, high = np.percentile([a / b for a, b in zip(*pairs, strict=True)], [25, 50, 75])
    speed = Speed(float(factor), float(low), float(high))
    if not busy:
        return speed, str(speed)
    return speed, f"{speed}, computing" if speed.clear else str(speed)


@dataclass(frozen=True)
class BenchRow:
    """One network in one runtime.

    Attributes:
        network: its name.
        runtime: key of `rsprune_lib.deploy.RUNTIMES`.
        bytes: size of the file that was loaded.
        times: batch size -> `Timing`.
        quality: on the judging images, None if it was not judged.
    """

    network: str
    runtime: str
    bytes: int
    times: dict[int, Timing]
    quality: Quality | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        row = {"network": self.network, "runtime": self.runtime, "title": RUNTIMES[self.runtime].title}
        row |= {"bytes": self.bytes, "times": {str(batch): asdict(one) for batch, one in self.times.items()}}
        if self.quality is not None:
            judged = self.quality.to_dict()
            judged.pop("confusion")
            row |= judged | {"score": self.quality.score}
        return row


def in_turn(
    candidates: Sequence[Candidate],
    names: Sequence[str],
    images: Tensor,
    judged_on: Batches | None = None,
    *,
    batches: Sequence[int] = (1, 32),
    threads: int = 1,
    rounds: int = ROUNDS,
    progress: bool = True,
) -> list[BenchRow]:
    """Loads every network into every runtime, times all of them in turn, and judges each.

    Args:
        candidates: networks; what lacks the exported file of a runtime has no row there.
        names: keys of `rsprune_lib.deploy.RUNTIMES`; the first one, of the first network, is the baseline.
        images: (N, 3, H, W) float32 in [0, 1] to time on, see `timing_images`.
        judged_on: images with labels for the accuracy; None leaves it out.
        batches: images a timed batch, one table each.
        threads: CPU threads inside an operation.
        rounds: how often each has its turn; fewer where the images do not suffice.
        progress: show progress bars.

    Raises:
        RspruneError: no network has its file, one cannot be loaded, or there are too few images for a batch.
    """
    runs: dict[tuple[str, str], Run] = {}
    wanted = [(one, name) for one in candidates for name in names if _has_file(one, name)]
    if not wanted:
        raise RspruneError(f"{candidates[0].name} has no exported file for the runtime {names[0]}; export it first.")
    for candidate, name in tqdm(wanted, desc="load", leave=False, disable=not progress):
        runs[candidate.name, name] = RUNTIMES[name].load(candidate, threads)
    times: dict[tuple[str, str], dict[int, Timing]] = {key: {} for key in runs}
    for batch in tqdm(batches, desc="time", unit="batch size", leave=False, disable=not progress):
        for run in runs.values():
            run(images[:batch])  # the first pass of a shape compiles and allocates
        took = runs_in_turn(
            list(runs.values()), images, batch=batch, threads=threads, rounds=max(1, min(rounds, len(images) // batch))
        )
        for key, one in zip(runs, took, strict=True):
            times[key][batch] = Timing.of(one, took[0])
    found = {key: None for key in runs}
    if judged_on is not None:
        task = task_of(None, judged_on)
        for key, run in tqdm(runs.items(), desc="judge", leave=False, disable=not progress):
            found[key] = judge(run, judged_on, task)
    return [BenchRow(*key, run.size, times[key], found[key]) for key, run in runs.items()]


def _has_file(candidate: Candidate, name: str) -> bool:
    file = RUNTIMES[name].file
    return file == "bundle" or getattr(candidate, file) is not None


def judge(run: Callable[[Tensor], Tensor], batches: Batches, task: Task) -> Quality:
    """Quality of a network as a runtime runs it, on images with labels.

    Args:
        run: images (B, 3, H, W) float32 in [0, 1] -> logits, such as `Run`.
        batches: images with labels.
        task: the task of the answers; not that of a network with exits, which returns one answer here.
    """
    records, labels = [], []
    for images, target in raw_batches(batches):
        records.append(task.record(run(images), target))
        labels.append(task.label(target))
    return task.quality(torch.cat(records), torch.cat(labels))


def raw_batches(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images, targets) with images (B, 3, H, W) float32 in [0, 1], as they were before the normalisation."""
    mean, std = (torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (batches.data.mean, batches.data.std))
    for images, target in batches:
        yield (images * std + mean).clamp_(0, 1).contiguous(), target


def timing_images(batches: Batches, images: int, seed: int = 0) -> Tensor:
    """(N, 3, H, W) float32 in [0, 1]: so many images of these batches in random order.

    Args:
        batches: of the part to draw from.
        images: how many, if there are so many.
        seed: of the order.
    """
    chosen = np.random.default_rng(seed).permutation(batches.indices)[:images]
    return torch.cat([x for x, _ in raw_batches(Batches(batches.data, chosen, measuring_batch(batches.data)))])


def fastest(rows: Sequence[BenchRow], batch: int) -> str:
    """Which row is fastest, in words; where the spread is wider than the difference, no winner is named.

    Args:
        rows: timed in turn.
        batch: of which table.
    """
    busy = any(row.times[batch].busy for row in rows)
    order = sorted(rows, key=lambda row: row.times[batch].own_ms if busy else row.times[batch].ms)
    first, others = order[0], order[1:]
    speeds = [_speed(row.times[batch], first.times[batch])[0] for row in others]
    tied = [row for row, speed in zip(others, speeds, strict=True) if speed.alike or not speed.clear]
    note = " Other work had the processor meanwhile, so the milliseconds of computing were compared." if busy else ""
    if tied:
        names = "; ".join(f"{row.network}, {RUNTIMES[row.runtime].title}" for row in (first, *tied))
        return f"Batch {batch}: no winner; the times of these vary more than they differ: {names}.{note}"
    took = first.times[batch].own_ms if busy else first.times[batch].ms
    return f"Batch {batch}: the fastest is {first.network}, {RUNTIMES[first.runtime].title}, with {took:.3g} ms.{note}"
