"""Which layers of a network send on maps, how fine they are, and which of them the answer depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import Network, SqueezeExcite, hooked, placement
from rsprune_lib.models.copying import copied
from rsprune_lib.models.places import channel_dim, example
from rsprune_lib.tasks import Task, task_of

__all__ = ["LEAST", "FrozenCopy", "MapLayer", "as_map", "cam_layer", "cam_layers", "deepest", "map_layers"]

LEAST = 7  # positions a side that a map needs so that something can be seen in it


@dataclass(frozen=True)
class MapLayer:
    """A module that sends on a map.

    Attributes:
        grid: height and width of the map.
        axis: where the channels of its output stand, 1 or -1.
        heard: whether the logits depend on any position of it (what follows the class token alone, or an exit, does
            not hear the map).
    """

    grid: tuple[int, int]
    axis: int
    heard: bool


def cam_layers(
    model: nn.Module, image_size: int | tuple[int, int] | None = None, *, exit: int | None = None
) -> dict[str, tuple[int, int]]:
    """Modules whose outputs are maps that the answer depends on, in execution order: name -> (height, width).

    Stages and blocks; of a network that has none, its layers. Of modules that send on the same tensor only the
    outermost is listed, and what has the classes for channels is an answer, no map.

    Args:
        model: any network of the course.
        image_size: side of the images, or (height, width), in pixels; by default that of the network.
        exit: of a network with exits, the number of the one whose answer counts; None: the final one.

    Raises:
        ModelError: no module sends on a map of more than one position.
    """
    size = tuple(example(model, 1).shape[2:]) if image_size is None else _both(image_size)
    _, places = map_layers(FrozenCopy(model, exit), size)
    return {name: place.grid for name, place in places.items() if place.heard}


def cam_layer(
    model: nn.Module, image_size: int | tuple[int, int] | None = None, *, exit: int | None = None, least: int = LEAST
) -> str:
    """The deepest of `cam_layers` with at least ``least`` positions a side; else the deepest of the finest ones.

    At 64 pixels the last map of a ResNet has 2 x 2 positions, in which nothing can be seen.
    """
    return deepest(cam_layers(model, image_size, exit=exit), least)


def deepest(layers: Mapping[str, tuple[int, int]], least: int = LEAST) -> str:
    """The deepest layer with at least ``least`` positions a side; else the deepest of the finest ones."""
    fine = [name for name, grid in layers.items() if min(grid) >= least]
    return fine[-1] if fine else max(reversed(layers), key=lambda name: min(layers[name]))


def map_layers(said: FrozenCopy, size: tuple[int, int]) -> tuple[tuple[int, ...], dict[str, MapLayer]]:
    """Shape of the answer to one image, and all modules that send on maps, from one pass forward and one back.

    Raises:
        ModelError: no module sends on a map of more than one position.
    """
    network = said.network
    image = torch.rand(1, getattr(network, "in_channels", 3), *size, generator=torch.Generator().manual_seed(0))
    image = image.to(*placement(network)).requires_grad_(True)
    for chosen in _candidates(network):
        outputs: dict[str, Tensor] = {}
        with (
            torch.enable_grad(),
            hooked((network.get_submodule(name), partial(_note, outputs, name)) for name in chosen),
        ):
            logits = said(image)
        if len(outputs) > 2:
            break
    gradients = torch.autograd.grad(logits.square().sum(), list(outputs.values()), allow_unused=True)
    found = {}
    for (name, y), gradient in zip(outputs.items(), gradients, strict=True):
        axis, grid = _layout(network, name, y, size)
        answer = logits.dim() == 4 and y.shape[axis] == logits.shape[1]
        if grid is not None and min(grid) > 1 and not answer:
            heard = gradient is not None and bool(as_map(axis, size, gradient).abs().max() > 0)
            found[name] = MapLayer(grid, axis, heard)
    if not found:
        raise ModelError(
            f"Found no layer of {type(network).__name__} that sends on a map of more than one position at {size[0]} x "
            f"{size[1]} px; give larger images."
        )
    if not any(place.heard for place in found.values()):  # a classifier that starts with weights of zero
        found = {name: replace(place, heard=True) for name, place in found.items()}
    return tuple(logits.shape[1:]), found


def _candidates(network: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the stages and blocks, and of the layers, both without exits and the inside of SE blocks."""
    skipped = ("exits.", *(f"{name}." for name, m in network.named_modules() if isinstance(m, SqueezeExcite)))
    names = [name for name, module in network.named_modules() if name and not f"{name}.".startswith(skipped)]
    blocks = [name for name in names if next(network.get_submodule(name).children(), None) is not None]
    if isinstance(network, Network):
        return blocks, [unit.norm or unit.layer for unit in network.units()]
    return blocks, [name for name in names if name not in blocks]


def _note(outputs: dict[str, Tensor], name: str, _module: nn.Module, _x: Any, y: Any) -> None:  # noqa: ANN401
    """Notes what a module sends on; of modules that send on the same tensor the last one stays."""
    if isinstance(y, Tensor) and y.dim() in (3, 4) and len(y) == 1:
        for other in [other for other, seen in outputs.items() if seen is y]:
            del outputs[other]
        outputs[name] = y


def _layout(network: nn.Module, name: str, y: Tensor, size: Sequence[int]) -> tuple[int, tuple[int, int] | None]:
    """Where the channels of an output stand, and the height and width of its map; None if it is none."""
    order = (1, -1) if channel_dim(network, name, y) == 1 else (-1, 1)
    for axis in order:
        grid = _grid(y, axis, size)
        if grid is not None and abs(grid[0] * size[1] - grid[1] * size[0]) <= max(size):  # the shape of the image
            return axis, grid
    return order[0], None


class FrozenCopy(nn.Module):
    """A network of its own, without gradients, that shares all weights and returns the logits that are asked for.

    Args:
        model: a network; left as it is.
        exit: number of the exit whose logits are asked for; None: the final ones.

    Raises:
        ModelError: there is no such exit.
    """

    def __init__(self, model: nn.Module, exit: int | None) -> None:
        super().__init__()
        shared: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
        self.network = copied(model, shared | {id(b): b for b in model.buffers()}).eval()
        for module in self.network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False
        self.task: Task = task_of(model)
        if exit is not None:
            count = len(model.exits.places) if hasattr(model, "exits") else 0
            if not 0 <= exit < count:
                raise ModelError(f"Got exit {exit}; the network has {count} exits, counted from 0.")
        self.exit = exit

    def forward(self, images: Tensor) -> Tensor:
        """Returns (B, K) or (B, K, H, W)."""
        outputs = self.network(images)
        return self.task.final(outputs) if self.exit is None else outputs[self.exit]


def _grid(y: Tensor, axis: int, size: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of an output, (B, C, h, w), (B, h, w, C) or (B, N, C) with or without a class token."""
    if y.dim() == 4:
        return tuple(y.shape[2:]) if axis == 1 else tuple(y.shape[1:3])
    tokens = y.shape[1] if axis == -1 else y.shape[2]
    for count in (tokens, tokens - 1):
        height = round((count * size[0] / size[1]) ** 0.5)
        if height > 1 and height * round(count / height) == count:
            return height, count // height
    return None


def as_map(axis: int, size: Sequence[int], y: Tensor) -> Tensor:
    """A layer's output, or its gradient, as a map of its own: (B, C, h, w)."""
    if y.dim() == 4:
        return y.clone() if axis == 1 else y.permute(0, 3, 1, 2).contiguous()
    tokens = y if axis == -1 else y.transpose(1, 2)  # (B, N, C)
    height, width = _grid(y, axis, size)
    tokens = tokens[:, tokens.shape[1] - height * width :]  # without the class token
    return tokens.reshape(len(y), height, width, -1).permute(0, 3, 1, 2).contiguous()


def _both(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
