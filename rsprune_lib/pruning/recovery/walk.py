"""Forward passes that advance layer by layer: what a layer gets, and what the network sends on from there.

A repair goes through a network one layer at a time and needs, for every batch, the input of the next layer once all
layers before it are repaired. Each batch's forward pass is therefore *paused* in front of the layer (a greenlet, one a
batch) and goes on from there when the layer is done, so that every layer runs only once. Where the paused activations
would need too much memory, or greenlet is missing, each step starts anew instead and breaks off at the layer: the same
numbers, more time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import Unit, hooked
from rsprune_lib.pruning.flow import Spot

try:
    from greenlet import getcurrent, greenlet
except ImportError:  # the slower road works without it
    greenlet = None

__all__ = ["Walk", "activation_bytes"]


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
        ...     walk.watch_inputs(units(model))
        ...     shapes = [x.shape for x in walk.at("layer1.0.conv1", "in")]
    """

    def __init__(self, model: nn.Module, batches: Sequence[Tensor], *, paused: bool = True) -> None:
        self._model, self._batches = model, batches
        self._paused = paused and greenlet is not None
        self._passes = [greenlet(partial(model, images)) for images in batches] if self._paused else []
        self._wanted: Spot | None = None
        self._number = 0  # of the pass that is running
        self._noted: dict[tuple[int, Spot], Tensor] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> Walk:
        """Returns the walk itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the hooks away and drops the unfinished passes."""
        self._hooks.close()
        for unfinished in self._passes:
            if unfinished:
                unfinished.throw()

    def watch_inputs(self, units: Sequence[Unit]) -> None:
        """Watch the spot (layer, "in"): the input of every unit's layer."""
        for unit in units:
            self._hook_input(unit, self._emit)

    def watch_outputs(self, units: Sequence[Unit], pick: Callable[[str, Tensor], Tensor]) -> None:
        """Watch the spot (layer, "out"): ``gate * norm(layer(x))``, before any nonlinearity, as far as they exist.

        Args:
            units: the layers; one whose ``gate`` is None is watched behind its norm.
            pick: ``(layer, value) -> value``, takes the wanted channels of a value (B, C, ...), as a copy, because the
                network may go on in place.
        """
        for unit in units:
            self._hook_output(unit, pick, self._emit)

    def note(self, units: Sequence[Unit], spots: Sequence[Spot], pick: Callable[[str, Tensor], Tensor]) -> None:
        """Keep the values at these spots for `recall`; an input whole, an output as far as ``pick`` takes it."""
        for unit in units:
            if (unit.layer, "in") in spots:
                self._hook_input(unit, self._keep)
            if (unit.layer, "out") in spots:
                self._hook_output(unit, pick, self._keep)

    def recall(self, spot: Spot) -> Tensor:
        """What the pass that `at` yielded last had at a noted spot; to be asked once."""
        return self._noted.pop((self._number, spot))

    def _hook_input(self, unit: Unit, then: Callable[[Spot, Tensor], None]) -> None:
        spot, layer = (unit.layer, "in"), self._model.get_submodule(unit.layer)
        self._hooks.enter_context(hooked(in_front=[(layer, lambda _m, x: then(spot, x[0]))]))

    def _hook_output(
        self, unit: Unit, pick: Callable[[str, Tensor], Tensor], then: Callable[[Spot, Tensor], None]
    ) -> None:
        spot, waiting = (unit.layer, "out"), []

        def behind_norm(_module: nn.Module, _x: object, y: Tensor) -> None:
            waiting.append(pick(unit.layer, y))
            if unit.gate is None:
                then(spot, waiting.pop())

        def behind_gate(_module: nn.Module, _x: object, gate: Tensor) -> None:
            gate = pick(unit.layer, gate)  # (B, C)
            then(spot, waiting.pop() * gate[:, :, None, None])

        watched = [(self._model.get_submodule(unit.norm or unit.layer), behind_norm)]
        if unit.gate is not None:
            watched.append((self._model.get_submodule(unit.gate).sigmoid, behind_gate))
        self._hooks.enter_context(hooked(watched))

    def at(self, layer: str, side: str) -> Iterator[Tensor]:
        """Advances pass after pass to a spot and yields what is there, in the order of the batches.

        Raises:
            ModelError: a pass comes to another spot first: the network's units are not in execution order.
        """
        for number, images in enumerate(self._batches):
            self._number = number
            spot, value = self._go_on() if self._paused else self._start_anew(images, (layer, side))
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

    def _keep(self, spot: Spot, value: Tensor) -> None:
        self._noted[self._number, spot] = value

    def _go_on(self) -> tuple[Spot, Tensor | None]:
        current = self._passes[self._number]
        reached = current.switch()
        return (("its end", "out"), None) if current.dead else reached

    def _start_anew(self, images: Tensor, spot: Spot) -> tuple[Spot, Tensor | None]:
        self._wanted = spot
        self._noted.clear()
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
    with hooked(
        (model.get_submodule(unit.layer), lambda _m, x, y: sizes.append(x[0].nbytes + y.nbytes)) for unit in units
    ):
        model(image)
    return max(sizes)
