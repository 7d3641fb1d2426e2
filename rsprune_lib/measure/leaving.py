"""A network with exits as it really runs: images leave, and what left is neither computed nor paid for.

Its time hangs on the images, so it is timed on real ones (`latencies_on`), never on noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rsprune_lib.background import at_rest
from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure.cost import example_images
from rsprune_lib.measure.exit_rules import ExitRule
from rsprune_lib.measure.latency import Latency, Pass, summary, timed, using_threads
from rsprune_lib.measure.result import Result, measure, times_of
from rsprune_lib.measure.speed import Speed
from rsprune_lib.models import copied, evaluating, hooked, placement, plain_attention, run_early

__all__ = ["EarlyExit", "exit_costs", "latencies_on", "measure_leaving", "runs_in_turn"]


class EarlyExit(nn.Module):
    """A network and the rule by which images leave it; returns one set of logits (B, K), like a plain classifier.

    Args:
        model: a network with exits, see `rsprune_lib.models.add_exits`.
        rule: with one threshold per exit.

    Attributes:
        left: (B,) the exit of each image of the last batch; the number of exits for the final classifier.

    Raises:
        ModelError: the network has no exits, or another number of them.

    Example:
        >>> evaluate(EarlyExit(model, ExitRule("margin", (0.9, 0.9, 0.9))), batches)
    """

    def __init__(self, model: nn.Module, rule: ExitRule) -> None:
        super().__init__()
        count = len(model.exits.heads) if hasattr(model, "exits") else 0
        if count != len(rule.thresholds):
            raise ModelError(f"The rule has {len(rule.thresholds)} thresholds, but the network has {count} exits.")
        self.model, self.rule, self.left = model, rule, None

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K)."""
        early = run_early(self.model, images, self.rule.leave())
        self.left = early.exit
        return early.logits


def exit_costs(model: nn.Module, image_size: int | tuple[int, int]) -> tuple[int, ...]:
    """MACs of an image that leaves at each exit, the heads on its way included; the whole network last.

    Args:
        model: a network with exits; left as it is.
        image_size: pixels a side, or (height, width).
    """
    images, costs = example_images(model, image_size), []

    def leave(last: int, number: int, _logits: Tensor, rows: Tensor) -> Tensor:
        return torch.full_like(rows, number == last, dtype=torch.bool)

    with evaluating(model), plain_attention():
        for last in range(len(model.exits.heads) + 1):
            with FlopCounterMode(display=False) as counter:
                run_early(model, images, partial(leave, last))
            costs.append(counter.get_total_flops() // 2)
    return tuple(costs)


@torch.inference_mode()
def latencies_on(
    networks: Sequence[nn.Module],
    images: Tensor,
    *,
    batch: int = 1,
    threads: int | None = None,
    rounds: int = 10,
) -> list[Latency]:
    """Times networks in turn on the same images; for networks whose time hangs on the image.

    In each round all networks see the next share of the images, each after one pass that is not counted. A round's time
    is the mean over its batches (`Latency.rounds_ms`), so easy and hard images count as often as they occur.

    Args:
        networks: plain classifiers or `EarlyExit`; they are left as and where they are.
        images: (N, C, H, W) normalised real images in random order, at least ``rounds * batch`` of them.
        batch: images a batch.
        threads: CPU threads inside an operation; by default as many as PyTorch uses now.
        rounds: how often each network has its turn.

    Returns:
        One latency a network; ``median_ms`` is over all batches.

    Raises:
        RspruneError: there are too few images.
    """
    share = _share(images, batch, rounds)
    device, dtype = placement(networks[0])
    images = images[: share * rounds * batch].to(device, dtype).to(memory_format=torch.channels_last)
    ready = [copied(network).eval().to(memory_format=torch.channels_last) for network in networks]
    return runs_in_turn(ready, images, batch=batch, threads=threads, rounds=rounds)


@torch.inference_mode()
def runs_in_turn(
    runs: Sequence[Callable[[Tensor], object]],
    images: Tensor,
    *,
    batch: int = 1,
    threads: int | None = None,
    rounds: int = 10,
) -> list[Latency]:
    """Times whatever takes a batch of images, in turn on the same images; `latencies_on` does it for networks.

    Args:
        runs: each is called with (batch, C, H, W); one with an attribute ``clock`` (seconds of computing so far) is
            watched by it, because it computes on other threads than the one that calls it.
        images: (N, C, H, W) in random order, at least ``rounds * batch`` of them.
        batch: images a batch.
        threads: CPU threads inside an operation of PyTorch; other runtimes were given theirs when they were loaded.
        rounds: how often each has its turn.

    Raises:
        RspruneError: there are too few images.
    """
    share = _share(images, batch, rounds)
    passes: list[list[Pass]] = [[] for _ in runs]
    means: list[list[Pass]] = [[] for _ in runs]
    with at_rest() as quiet, using_threads(threads) as used:
        for part in images[: share * rounds * batch].view(rounds, share, batch, *images.shape[1:]):
            for run, own, mean in zip(runs, passes, means, strict=True):
                run(part[0])
                block = [timed(run, one) for one in part]
                own += block
                mean.append(Pass(sum(one.wall for one in block) / share, sum(one.own for one in block) / share))
    return [summary(own, mean, images[:batch], used, quiet) for own, mean in zip(passes, means, strict=True)]


def _share(images: Tensor, batch: int, rounds: int) -> int:
    """Batches of a round."""
    share = len(images) // (rounds * batch) if rounds > 0 and batch > 0 else 0
    if share < 1:
        raise RspruneError(
            f"Got {len(images)} images for {rounds} rounds of batches of {batch}; each round needs one batch at least."
        )
    return share


def measure_leaving(
    models: Mapping[str, nn.Module],
    batches: Batches,
    *,
    batch: int = 1,
    images: int = 200,
    seed: int | None = None,
    profile: str | None = None,
    progress: bool = True,
) -> list[Result]:
    """Measures plain networks and `EarlyExit` ones, timed in turn on real images; MACs are the mean over the images.

    Args:
        models: name of the row -> network; the first one is what the others' speed is stated against.
        batches: images with labels of a data set, to judge them on.
        batch: images a timed batch.
        images: images that are timed.
        seed: of the training behind the networks; only recorded.
        profile: of the run; only recorded.
        progress: show progress bars.

    Returns:
        One row a network.
    """
    chosen = np.random.default_rng(0).permutation(batches.indices)[:images]
    pixels = torch.cat([x for x, _ in Batches(batches.data, chosen, 256)])
    took = latencies_on(list(models.values()), pixels, batch=batch, threads=1, rounds=min(10, len(pixels) // batch))
    rows = []
    for (name, model), time in zip(models.items(), took, strict=True):
        left: list[Tensor] = []
        watched = [(model, lambda network, _x, _y, left=left: left.append(network.left))]
        with hooked(watched if isinstance(model, EarlyExit) else ()):
            row = measure(name, model, batches, seed=seed, profile=profile, timed=False, progress=progress)
        if left:
            costs = torch.tensor(exit_costs(model.model, batches.data.image_size), dtype=torch.float64)
            mean = costs[torch.cat(left)[-row.n :]].mean()  # the first pass of all counts MACs on noise
            row = replace(row, macs=round(mean.item()))
        speed = str(Speed.of(took[0], time)) if rows else None
        rows.append(replace(row, **times_of(time) | {"latency_ms": float(np.median(time.rounds_ms)), "speed": speed}))
    return rows
