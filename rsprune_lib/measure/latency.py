"""How long a network takes: measured, never derived from MACs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rsprune_lib.device import describe_device, synchronize
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure.cost import example_images
from rsprune_lib.models import copied, placement

__all__ = ["Latency", "latency"]


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
    """

    median_ms: float
    iqr_ms: float
    batch: int
    threads: int
    device: str
    repeats: int

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
    """Time the forward pass of a copy of the network, in evaluation and inference mode.

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
    device = torch.device(device or placement(model)[0])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = copied(model).eval().to(device, memory_format=layout)
    images = example_images(network, image_size, batch=batch, in_channels=in_channels).to(memory_format=layout)
    with _using_threads(threads) as used:
        times = _time(network, images, repeats, warmup, at_most_ms)
    low, median, high = np.percentile(1000 * np.asarray(times), [25, 50, 75])
    return Latency(float(median), float(high - low), batch, used, describe_device(device), len(times))


@torch.inference_mode()
def _time(network: nn.Module, images: torch.Tensor, repeats: int, warmup: int, at_most_ms: float | None) -> list[float]:
    """Seconds of each of up to ``repeats`` passes."""
    for _ in range(warmup):
        network(images)
    times = []
    for _ in range(repeats):
        synchronize(images.device)
        start = time.perf_counter()
        network(images)
        synchronize(images.device)
        times.append(time.perf_counter() - start)
        if at_most_ms is not None and len(times) >= 3 and 1000 * sum(times) >= at_most_ms:
            break
    return times


@contextmanager
def _using_threads(threads: int | None) -> Iterator[int]:
    """PyTorch uses this many threads inside an operation; yields the number, and restores the old one at the end."""
    if threads is not None and threads < 1:
        raise RspruneError(f"Got threads={threads}; a network needs at least 1.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
