"""How long each layer takes inside a forward pass: to lay beside `layer_costs`, because time is not where MACs are."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from rsprune_lib.device import synchronize
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure.cost import example_images, layer_costs
from rsprune_lib.models import SqueezeExcite, for_inference, hooked

__all__ = ["LayerTime", "layer_times", "macs_beside_times"]

_REST, _GATES, _SMALL = "between layers", "SE blocks", "norms, ReLU, shortcuts"


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer.

    Attributes:
        name: module name; ``"between layers"`` for what no module does (additions of shortcuts, reshaping, Python).
        kind: class of the module, such as ``"Conv2d"`` or ``"SqueezeExcite"`` (one block counts as one layer).
        ms: shortest milliseconds a batch over the timed passes.
    """

    name: str
    kind: str
    ms: float


def layer_times(
    model: nn.Module, image_size: int, *, batch: int = 32, repeats: int = 7, warmup: int = 2
) -> list[LayerTime]:
    """Times every layer of a copy of the network during whole forward passes, in evaluation and inference mode.

    The shortest pass of each layer counts: whatever else runs on the machine can only add time. The clock waits at each
    layer's border until the device has finished, so on a GPU the sum is longer than an undisturbed pass: use `latency`
    for that, and this for shares.

    Args:
        model: the network; it is left as and where it is.
        image_size: pixels a side.
        batch: images a batch.
        repeats: timed passes, of which the shortest of each layer is taken.
        warmup: passes before them, which are not counted.

    Returns:
        One row a layer in order of execution, the rest last.

    Raises:
        RspruneError: ``repeats`` is below 1 or ``warmup`` negative.
    """
    if repeats < 1 or warmup < 0:
        raise RspruneError(f"Got repeats={repeats} and warmup={warmup}; time at least one pass, after 0 or more.")
    network = for_inference(model).eval().to(memory_format=torch.channels_last)
    images = example_images(network, image_size, batch=batch).to(memory_format=torch.channels_last)
    clock = _Clock(images.device)
    layers = dict(_layers(network))
    starts, stops = ([(m, partial(do, n)) for n, m in layers.items()] for do in (clock.start, clock.stop))
    with torch.inference_mode(), hooked(stops, starts):
        passes = [clock.time(network, images) for _ in range(warmup + repeats)][warmup:]
    names = dict.fromkeys(name for one in passes for name in one)
    kinds = {name: type(module).__name__ for name, module in layers.items()} | {_REST: _REST}
    return [LayerTime(n, kinds[n], 1000 * min(one[n] for one in passes)) for n in names]


def macs_beside_times(
    model: nn.Module, image_size: int, *, batch_sizes: Sequence[int] = (1, 32), repeats: int = 7
) -> tuple[dict[str, int], dict[int, dict[str, float]]]:
    """Counts and times the same layers: each convolution and linear layer, all SE blocks together, and the small rest.

    Args:
        model: the network; it is left as it is.
        image_size: pixels a side.
        batch_sizes: images a batch, one measurement each.
        repeats: timed passes of each.

    Returns:
        Layer -> MACs of one image, in order of execution, and batch size -> (layer -> milliseconds a batch).
    """
    times: dict[int, dict[str, float]] = {}
    for batch in batch_sizes:
        spots = times[batch] = defaultdict(float)
        for row in layer_times(model, image_size, batch=batch, repeats=repeats):
            is_layer = row.kind.startswith(("Conv", "Linear"))
            spots[row.name if is_layer else _GATES if row.kind == "SqueezeExcite" else _SMALL] += row.ms
        times[batch] = dict(spots)
    timed = next(iter(times.values()), {})
    macs: dict[str, int] = defaultdict(int)
    for cost in layer_costs(model, image_size):
        if cost.kind != "norm":
            macs[cost.name if cost.name in timed else _GATES] += cost.macs
    gates = macs.pop(_GATES, 0)
    return macs | ({_GATES: gates} if gates else {}) | {_SMALL: 0}, times


def _layers(model: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Modules that are timed as one piece: those without children, and SE blocks; identities cost nothing."""
    found = []
    for name, module in model.named_children():
        if isinstance(module, SqueezeExcite) or not list(module.children()):
            found += [] if isinstance(module, nn.Identity) else [(prefix + name, module)]
        else:
            found += _layers(module, f"{prefix}{name}.")
    return found


class _Clock:
    """Seconds between the borders of each layer, over one pass."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.began = device, 0.0
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        synchronize(self.device)
        return time.perf_counter()

    def start(self, _name: str, _module: nn.Module, _inputs: object) -> None:
        self.began = self.now()

    def stop(self, name: str, _module: nn.Module, _inputs: object, _output: object) -> None:
        self.seconds[name] += self.now() - self.began

    def time(self, network: nn.Module, images: torch.Tensor) -> dict[str, float]:
        """One pass: layer -> seconds, and what is left over."""
        self.seconds.clear()
        start = self.now()
        network(images)
        total = self.now() - start
        return {**self.seconds, _REST: max(0.0, total - sum(self.seconds.values()))}
