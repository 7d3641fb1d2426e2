"""Where the output of a layer goes: is something added to it, and does a ReLU follow? Seen in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rsprune_lib.models import Unit, hooked

__all__ = ["Flow", "Spot", "trace_flow"]

Spot = tuple[str, str]  # (layer, "in") is what comes into a layer, (layer, "out") what leaves its norm and gate
_ADD = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_RELU = {"relu", "relu_"}


@dataclass(frozen=True)
class Flow:
    """What happens to the output of a unit.

    Attributes:
        partner: the spot whose value is added to it, where that is known before the layer runs: a shortcut. None where
            nothing is added, or where it is this output that waits for the other.
        rectified: a ReLU follows, behind the sum if there is one, and nothing sees the value before.
    """

    partner: Spot | None = None
    rectified: bool = False


@torch.no_grad()
def trace_flow(model: nn.Module, units: Sequence[Unit], image: Tensor) -> dict[str, Flow]:
    """Watches one forward pass.

    Args:
        model: the network, in eval mode.
        units: its units.
        image: one image, (1, C, H, W).

    Returns:
        Layer name -> its flow.
    """
    watch = _Watch()
    names = {unit.layer: unit.norm or unit.layer for unit in units}
    ins = [(model.get_submodule(n), lambda _m, x, name=n: watch.see((name, "in"), x[0])) for n in names]
    outs = [(model.get_submodule(b), lambda _m, _x, y, name=n: watch.see((name, "out"), y)) for n, b in names.items()]
    with hooked(outs, ins), watch:
        model(image)
    return {unit.layer: watch.flow((unit.layer, "out")) for unit in units}


class _Watch(TorchFunctionMode):
    """Follows tensors by identity; all are held, so that no identity is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[Any] = []
        self._spots: dict[int, Spot] = {}  # tensor -> the first spot that it was seen at, until it is written over
        self._order: list[Spot] = []
        self._sums: dict[int, tuple[Spot, Spot]] = {}
        self._partner: dict[Spot, Spot] = {}
        self._rectified: set[Spot] = set()

    def see(self, spot: Spot, value: Tensor) -> None:
        """A value is at a spot."""
        self._held.append(value)
        self._order.append(spot)
        self._spots.setdefault(id(value), spot)

    def flow(self, spot: Spot) -> Flow:
        """What became of the value at a spot."""
        return Flow(self._partner.get(spot), spot in self._rectified)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # noqa: ANN401
        """Sees every call of a torch function."""
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _ADD and not kwargs and len(args) == 2:
            self._added(*args, out)
        elif name in _RELU:
            self._rectify(args[0])
        if isinstance(out, Tensor):
            self._held.append(out)
            if any(out is arg for arg in args):  # written in place: the old value is gone
                self._spots.pop(id(out), None)
        return out

    def _added(self, one: Tensor, other: Tensor, out: Tensor) -> None:
        pair = [self._spots.get(id(value)) for value in (one, other)]
        if None in pair or one.shape != other.shape:
            return
        early, late = sorted(pair, key=self._order.index)
        if late[1] == "out":
            self._partner[late] = early
            self._sums[id(out)] = late

    def _rectify(self, value: Tensor) -> None:
        spot = self._sums.get(id(value), self._spots.get(id(value)))
        if spot is not None and spot[1] == "out":
            self._rectified.add(spot)
