"""Forward passes that advance layer by layer: what a layer gets, and what the network sends on from there.

A repair goes through a network one layer at a time and needs, for every batch, the input of the next layer once all
layers before it are repaired. Each batch's forward pass is therefore *paused* in front of the layer (a greenlet, one a
batch) and goes on from there when the layer is done, so that every layer runs only once. Where the paused activations
would need too much memory, or greenlet is missing, each step starts anew instead and breaks off at the layer: the same
numbers, more time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import Unit

try:
    from greenlet import getcurrent, greenlet
except ImportError:  # the slower road works without it
    greenlet = None

__all__ = ["Walk", "activation_bytes"]

Spot = tuple[str, str]  # (layer, "in" or "out")


class _Reached(BaseException):
    pass


class Walk:
    """Forward passes of one network over several batches, all advanced to the same spot; a context manager.

    Args:
        model: the network, in eval mode. Its weights may change behind the spot that was reached.
        batches: images, (B, C, H, W) each, on the network's device.
        paused: keep the passes (fast), or start anew at each step (little memory).

    Example:
        >>> with Walk(model, batches) as walk:
        ...     walk.watch_inputs(model.units())
        ...     shapes = [x.shape for x in walk.at("layer1.0.conv1", "in")]
    """

    def __init__(self, model: nn.Module, batches: Sequence[Tensor], *, paused: bool = True) -> None:
        self._model, self._batches = model, batches
        self._paused = paused and greenlet is not None
        self._passes = [greenlet(partial(model, images)) for images in batches] if self._paused else []
        self._wanted: Spot | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> Walk:
        """Returns the walk itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the hooks away and drops the unfinished passes."""
        for hook in self._hooks:
            hook.remove()
        for unfinished in self._passes:
            if unfinished:
                unfinished.throw()

    def watch_inputs(self, units: Sequence[Unit]) -> None:
        """Watch the spot (layer, "in"): the input of every unit's layer."""
        for unit in units:
            spot, layer = (unit.layer, "in"), self._model.get_submodule(unit.layer)
            self._hooks.append(layer.register_forward_pre_hook(lambda _m, x, spot=spot: self._emit(spot, x[0])))

    def watch_outputs(self, units: Sequence[Unit], pick: Callable[[str, Tensor], Tensor]) -> None:
        """Watch the spot (layer, "out"): ``gate * norm(layer(x))``, before any nonlinearity, as far as they exist.

        Args:
            units: the layers; one whose ``gate`` is None is watched behind its norm.
            pick: ``(layer, value) -> value``, takes the wanted channels of a value (B, C, ...), as a copy, because the
                network may go on in place.
        """
        for unit in units:
            self._watch_output(unit, pick)

    def _watch_output(self, unit: Unit, pick: Callable[[str, Tensor], Tensor]) -> None:
        spot, waiting = (unit.layer, "out"), []

        def behind_norm(_module: nn.Module, _x: object, y: Tensor) -> None:
            waiting.append(pick(unit.layer, y))
            if unit.gate is None:
                self._emit(spot, waiting.pop())

        def behind_gate(_module: nn.Module, _x: object, gate: Tensor) -> None:
            gate = pick(unit.layer, gate)  # (B, C)
            self._emit(spot, waiting.pop() * gate[:, :, None, None])

        norm = self._model.get_submodule(unit.norm or unit.layer)
        self._hooks.append(norm.register_forward_hook(behind_norm))
        if unit.gate is not None:
            sigmoid = self._model.get_submodule(unit.gate).sigmoid
            self._hooks.append(sigmoid.register_forward_hook(behind_gate))

    def at(self, layer: str, side: str) -> Iterator[Tensor]:
        """Advances pass after pass to a spot and yields what is there, in the order of the batches.

        Raises:
            ModelError: a pass comes to another spot first: the network's units are not in execution order.
        """
        for number, images in enumerate(self._batches):
            spot, value = self._go_on(number) if self._paused else self._start_anew(images, (layer, side))
            if spot != (layer, side):
                raise ModelError(
                    f"The network came to {spot[0]!r} ({spot[1]}) where its units name {layer!r} ({side}) next; "
                    "units() must list every layer once, in execution order."
                )
            yield value

    def _emit(self, spot: Spot, value: Tensor) -> None:
        if self._paused:
            getcurrent().parent.switch((spot, value))
        elif spot == self._wanted:
            raise _Reached(spot, value)

    def _go_on(self, number: int) -> tuple[Spot, Tensor | None]:
        reached = self._passes[number].switch()
        return (("its end", "out"), None) if self._passes[number].dead else reached

    def _start_anew(self, images: Tensor, spot: Spot) -> tuple[Spot, Tensor | None]:
        self._wanted = spot
        try:
            self._model(images)
        except _Reached as reached:
            return reached.args
        return ("its end", "out"), None


@torch.no_grad()
def activation_bytes(model: nn.Module, units: Sequence[Unit], image: Tensor) -> int:
    """Returns how much memory a paused pass holds for one image at most, estimated as the largest (input + output).

    Args:
        model: the network, in eval mode.
        units: its units.
        image: one image, (1, C, H, W).
    """
    sizes: list[int] = []
    hooks = [
        model.get_submodule(unit.layer).register_forward_hook(lambda _m, x, y: sizes.append(x[0].nbytes + y.nbytes))
        for unit in units
    ]
    try:
        model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)
