"""How long a network takes: measured, never derived from MACs; networks that are compared are timed in turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rsprune_lib.background import at_rest
from rsprune_lib.device import describe_device, synchronize
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure.cost import example_images
from rsprune_lib.models import for_inference, placement

__all__ = ["Latency", "latencies", "latency"]

_PASSES, _BLOCK_MS = 3, 10.0  # timed passes of a network before the next one's turn, and when they are enough
_OWN = 0.8  # share of a pass in which its thread computed; below, other work had the processor


@dataclass(frozen=True)
class Latency:
    """Wall-clock time of one forward pass.

    Attributes:
        median_ms: median, in milliseconds a batch.
        iqr_ms: distance between the quartiles, in milliseconds: how much to trust the median.
        batch: images a batch.
        threads: CPU threads PyTorch could use inside an operation.
        device: the hardware, in words.
        repeats: timed passes.
        rounds_ms: shortest pass of each round, in milliseconds; of networks timed in turn, the same place is the same
            round.
        busy: other work took the processor away in most rounds, so the time is too long.
        own_rounds_ms: of the same passes, the milliseconds in which they computed; other work hardly touches them, but
            with several threads they are no time on the wall's clock.
    """

    median_ms: float
    iqr_ms: float
    batch: int
    threads: int
    device: str
    repeats: int
    rounds_ms: tuple[float, ...] = ()
    busy: bool = False
    own_rounds_ms: tuple[float, ...] = ()

    @property
    def least_ms(self) -> float:
        """The shortest pass: other work makes a pass longer, never shorter."""
        return min(self.rounds_ms, default=self.median_ms)

    @property
    def images_per_second(self) -> float:
        """Throughput at the median."""
        return 1000 * self.batch / self.median_ms


def latency(
    model: nn.Module,
    image_size: int | tuple[int, int],
    *,
    batch: int = 1,
    device: torch.device | str | None = None,
    threads: int | None = None,
    repeats: int = 50,
    warmup: int = 10,
    at_most_ms: float | None = None,
    channels_last: bool = True,
    in_channels: int | None = None,
) -> Latency:
    """Time the forward pass of a copy of the network (`for_inference`), in evaluation and inference mode.

    Each pass is timed on its own, from an idle device to an idle device; the copy of the images to the device is not.

    Args:
        model: the network; it is left as and where it is.
        image_size: pixels a side, or (height, width).
        batch: images a batch.
        device: where to measure; by default where the network is.
        threads: CPU threads inside an operation; by default as many as PyTorch uses now. Restored afterwards.
        repeats: timed passes.
        warmup: passes before them, which are not counted.
        at_most_ms: end after this many milliseconds of timed passes, but not before the third; None makes all passes.
        channels_last: memory layout of weights and images, usually the faster one for convolutions.
        in_channels: channels of an image; the model's own by default.

    Raises:
        RspruneError: a number is out of its range.
    """
    if repeats < 1 or warmup < 0:
        raise RspruneError(f"Got repeats={repeats} and warmup={warmup}; time at least one pass, after 0 or more.")
    network, images = _ready(model, image_size, batch, device, channels_last, in_channels)
    with at_rest() as quiet, using_threads(threads) as used:
        times = _time(network, images, repeats, warmup, at_most_ms)
    return summary(times, times, images, used, quiet)


def latencies(
    models: Sequence[nn.Module],
    image_size: int | tuple[int, int],
    *,
    batch: int = 1,
    device: torch.device | str | None = None,
    threads: int | None = None,
    rounds: int = 10,
    at_most_ms: float | None = None,
) -> list[Latency]:
    """Times networks in turn, so that what disturbs one disturbs the others in the same rounds; see `Speed.of`.

    In each round a network makes one pass that is not counted (the one before has emptied the caches) and up to three
    that are. Background work of the live tools rests meanwhile.

    Args:
        models: the networks; they are left as and where they are.
        image_size: as `latency` takes it, and so are the next three.
        batch: see there.
        device: see there.
        threads: see there.
        rounds: how often each network has its turn.
        at_most_ms: no further round once this many milliseconds were timed a network, but three at least.

    Returns:
        One latency a network.

    Raises:
        RspruneError: a number is out of its range.

    Example:
        >>> slow, fast = latencies([dense, small], 64)
        >>> print(Speed.of(slow, fast))
        5.9 times as fast
    """
    if rounds < 1:
        raise RspruneError(f"Got rounds={rounds}; time at least one round.")
    ready = [_ready(model, image_size, batch, device, True, None) for model in models]
    times: list[list[list[Pass]]] = [[] for _ in ready]
    with at_rest() as quiet, using_threads(threads) as used:
        for count in range(rounds):
            for (network, images), own in zip(ready, times, strict=True):
                own.append(_time(network, images, _PASSES, 1, _BLOCK_MS, least=1))
            spent = 1000 * sum(one.wall for own in times for block in own for one in block)
            if at_most_ms is not None and count >= 2 and spent >= at_most_ms * len(ready):
                break
    return [
        summary(
            [one for block in own for one in block], [min(b, key=lambda one: one.wall) for b in own], x, used, quiet
        )
        for (_, x), own in zip(ready, times, strict=True)
    ]


@dataclass(frozen=True)
class Pass:
    """Seconds of a pass on the wall's clock, and those in which its thread computed."""

    wall: float
    own: float


def _ready(
    model: nn.Module,
    image_size: int | tuple[int, int],
    batch: int,
    device: torch.device | str | None,
    channels_last: bool,
    in_channels: int | None,
) -> tuple[nn.Module, torch.Tensor]:
    """A copy of a network on its device, and images for it."""
    device = torch.device(device or placement(model)[0])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = for_inference(model).eval().to(device, memory_format=layout)
    return network, example_images(network, image_size, batch=batch, in_channels=in_channels).to(memory_format=layout)


def summary(passes: Sequence[Pass], rounds: Sequence[Pass], images: torch.Tensor, threads: int, quiet: bool) -> Latency:
    """What all passes and the pass that stands for each round say; images are those of one pass."""
    walls = [1000 * one.wall for one in passes]
    low, median, high = np.percentile(walls, [25, 50, 75])
    measurable = (
        images.device.type == "cpu" and sys.platform != "win32"
    )  # there, a thread's time comes in steps of 16 ms
    disturbed = sum(one.own < _OWN * one.wall for one in rounds) if measurable else 0
    return Latency(
        float(median), float(high - low), len(images), threads, describe_device(images.device), len(walls),
        tuple(1000 * one.wall for one in rounds), not quiet or 2 * disturbed > len(rounds),
        tuple(1000 * one.own for one in rounds),
    )  # fmt: skip


@torch.inference_mode()
def _time(
    network: nn.Module, images: torch.Tensor, repeats: int, warmup: int, at_most_ms: float | None, least: int = 3
) -> list[Pass]:
    """Times up to ``repeats`` passes."""
    for _ in range(warmup):
        network(images)
    times: list[Pass] = []
    spent = 0.0
    for _ in range(repeats):
        times.append(timed(network, images))
        spent += 1000 * times[-1].wall
        if at_most_ms is not None and len(times) >= least and spent >= at_most_ms:
            break
    return times


def timed(network: Callable[[torch.Tensor], object], images: torch.Tensor) -> Pass:
    """One pass, from an idle device to an idle device; what computes on other threads brings a ``clock`` of its own."""
    clock = getattr(network, "clock", time.thread_time)
    synchronize(images.device)
    own, start = clock(), time.perf_counter()
    network(images)
    synchronize(images.device)
    wall = time.perf_counter() - start
    return Pass(wall, clock() - own)


@contextmanager
def using_threads(threads: int | None) -> Iterator[int]:
    """PyTorch uses this many threads inside an operation; yields the number, and restores the old one at the end."""
    if threads is not None and threads < 1:
        raise RspruneError(f"Got threads={threads}; a network needs at least 1.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
