"""Class activation maps: where in an image a network finds what it says, before and after pruning.

The maps come from pytorch-grad-cam. Around it stands what makes two networks comparable: the same class for both, a
layer whose map is fine enough to be seen, tokens turned into maps, exits and segmentation networks, and a count of the
maps that are blank.

What differs from calling the library directly: a copy of the network is looked at, with frozen weights, so that neither
hooks nor gradients stay on the network, whatever happens; activations are copied before a later in-place ReLU changes
them; the sign of an Eigen-CAM, which is arbitrary, is fixed as in Seg-Eigen-CAM (https://doi.org/10.3390/app15137562).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.entries import Entry, find
from rsprune_lib.errors import ModelError, unknown
from rsprune_lib.models import Network, SqueezeExcite, hooked, placement
from rsprune_lib.models.places import channel_dim, example
from rsprune_lib.tasks import Task, task_of

__all__ = ["METHODS", "ClassMaps", "cam_layer", "cam_layers", "class_maps"]

LEAST = 7  # positions a side that a map needs so that something can be seen in it
_LARGEST = 16  # images that are looked at together


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """What `class_maps` returns.

    Attributes:
        maps: (B, H, W) float32 in [0, 1], at the size of the images; each map has its own scale.
        classes: (B,) the class that each map is for.
        layer: name of the module whose output was looked at.
        grid: height and width of that output.
        blank: (B,) bool; nothing speaks for the class at this layer, so the map is zero everywhere.
    """

    maps: np.ndarray
    classes: np.ndarray
    layer: str
    grid: tuple[int, int]
    blank: np.ndarray


def _library(name: str) -> Callable[..., Any]:
    """Imported lazily: takes 2 s."""

    def build(model: nn.Module, layer: nn.Module, reshape: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401
        import pytorch_grad_cam

        return getattr(pytorch_grad_cam, name)(model=model, target_layers=[layer], reshape_transform=reshape)

    return build


def _eigen(model: nn.Module, layer: nn.Module, reshape: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction as project

    cam = _library("EigenCAM")(model, layer, reshape)
    cam.get_cam_image = lambda _images, _layer, _targets, activations, *_: project(activations)
    return cam


METHODS: dict[str, Entry] = {
    "gradcam": Entry("Grad-CAM", "channels weighted by their mean gradient", _library("GradCAM")),
    "gradcam++": Entry("Grad-CAM++", "positions with a positive gradient count more", _library("GradCAMPlusPlus")),
    "layercam": Entry("Layer-CAM", "every position weighted by its own positive gradient", _library("LayerCAM")),
    "hirescam": Entry("HiRes-CAM", "gradient times activation, position by position", _library("HiResCAM")),
    "eigencam": Entry("Eigen-CAM", "first principal component of the activations, for no class", _eigen),
}


@dataclass(frozen=True)
class _Place:
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
    return {name: place.grid for name, place in _places(_Said(model, exit), size).items() if place.heard}


def cam_layer(
    model: nn.Module, image_size: int | tuple[int, int] | None = None, *, exit: int | None = None, least: int = LEAST
) -> str:
    """The deepest of `cam_layers` with at least ``least`` positions a side; else the deepest of the finest ones.

    At 64 pixels the last map of a ResNet has 2 x 2 positions, in which nothing can be seen.
    """
    return _deepest(cam_layers(model, image_size, exit=exit), least)


def _deepest(layers: Mapping[str, tuple[int, int]], least: int) -> str:
    fine = [name for name, grid in layers.items() if min(grid) >= least]
    return fine[-1] if fine else max(reversed(layers), key=lambda name: min(layers[name]))


def _places(said: _Said, size: tuple[int, int]) -> dict[str, _Place]:
    """All modules that send on maps, found by one pass forward and one back, with a random image."""
    network, outputs = said.network, {}
    skipped = ("exits.", *(f"{name}." for name, m in network.named_modules() if isinstance(m, SqueezeExcite)))
    names = [name for name, module in network.named_modules() if name and not f"{name}.".startswith(skipped)]
    blocks = [name for name in names if next(network.get_submodule(name).children(), None) is not None]
    course = isinstance(network, Network)
    layers = [unit.norm or unit.layer for unit in network.units()] if course else [n for n in names if n not in blocks]

    def note(name: str, _module: nn.Module, _x: Any, y: Any) -> None:  # noqa: ANN401
        if isinstance(y, Tensor) and y.dim() in (3, 4) and len(y) == 1:
            for other in [other for other, seen in outputs.items() if seen is y]:
                del outputs[other]
            outputs[name] = y

    image = torch.rand(1, getattr(network, "in_channels", 3), *size, generator=torch.Generator().manual_seed(0))
    image = image.to(*placement(network)).requires_grad_(True)
    for chosen in (blocks, layers):
        outputs.clear()
        with torch.enable_grad(), hooked((network.get_submodule(name), partial(note, name)) for name in chosen):
            logits = said(image)
        if len(outputs) > 2:
            break
    gradients = torch.autograd.grad(logits.square().sum(), list(outputs.values()), allow_unused=True)
    found = {}
    for (name, y), gradient in zip(outputs.items(), gradients, strict=True):
        axis, grid = _layout(network, name, y, size)
        answer = logits.dim() == 4 and y.shape[axis] == logits.shape[1]
        if grid is not None and min(grid) > 1 and not answer:
            heard = gradient is not None and bool(_as_map(axis, size, gradient).abs().max() > 0)
            found[name] = _Place(grid, axis, heard)
    if not found:
        raise ModelError(
            f"Found no layer of {type(network).__name__} that sends on a map of more than one position at {size[0]} x "
            f"{size[1]} px; give larger images."
        )
    silent = not any(place.heard for place in found.values())  # a classifier that starts with weights of zero
    return {name: replace(place, heard=True) for name, place in found.items()} if silent else found


def _layout(network: nn.Module, name: str, y: Tensor, size: Sequence[int]) -> tuple[int, tuple[int, int] | None]:
    """Where the channels of an output stand, and the height and width of its map; None if it is none."""
    order = (1, -1) if channel_dim(network, name, y) == 1 else (-1, 1)
    for axis in order:
        grid = _grid(y, axis, size)
        if grid is not None and abs(grid[0] * size[1] - grid[1] * size[0]) <= max(size):  # the shape of the image
            return axis, grid
    return order[0], None


def class_maps(
    model: nn.Module,
    images: Tensor,
    classes: int | Sequence[int] | Tensor | None = None,
    *,
    method: str = "gradcam",
    layer: str | None = None,
    exit: int | None = None,
    pixels: Tensor | None = None,
) -> ClassMaps:
    """Where each image speaks for a class, as a network sees it.

    Args:
        model: a classifier, a classifier with exits, or a segmentation network; left as it is, without hooks and
            gradients, also after an error.
        images: (B, 3, H, W), normalised as for the network.
        classes: one class for all, or one for each image; None takes what the network says (the class of most pixels
            of a segmentation network).
        method: key of `METHODS`.
        layer: name from `cam_layers`; None takes `cam_layer`.
        exit: number of the exit whose logits are asked, from 0; None takes the final ones.
        pixels: of a segmentation network, (B, H, W) or (H, W) bool: the logits of these are summed; None takes those
            that the network gives to the class, or all if there are none.

    Raises:
        ModelError: the layer sends on no map, a class or an exit does not exist, or the shapes do not fit.
        RspruneError: the method is unknown.

    Example:
        >>> found = class_maps(model, images, method="layercam")
        >>> found.maps.shape, found.layer, int(found.blank.sum())
        ((8, 64, 64), 'layer2', 0)
    """
    entry = find("method", METHODS, method)
    if images.dim() != 4 or len(images) == 0:
        raise ModelError(f"Got images of shape {tuple(images.shape)}; expected (B, 3, H, W) with one image or more.")
    size = (int(images.shape[2]), int(images.shape[3]))
    said = _Said(model, exit)
    places = _places(said, size)
    heard = {name: place.grid for name, place in places.items() if place.heard}
    layer = _deepest(heard, LEAST) if layer is None else layer
    if layer not in places:
        raise unknown("layer with a map", layer, places)
    place = places[layer]
    if not place.heard:
        raise ModelError(f"The answer does not depend on the map of {layer}; choose one of {', '.join(heard)}.")
    wanted = _wanted(said, images, classes, pixels)
    inner = said.network.get_submodule(layer)
    maps = []
    for start in range(0, len(images), _LARGEST):
        part = images[start : start + _LARGEST].detach().to(*placement(model)).clone().requires_grad_(True)
        with torch.enable_grad(), entry.run(said, inner, partial(_as_map, place.axis, size)) as cam:
            maps.append(cam(part, wanted[start : start + _LARGEST]))
    values = np.concatenate(maps).astype(np.float32)
    blank = values.reshape(len(values), -1).max(1) < 0.5  # scaled to 1 unless there is nothing to scale
    values[blank] = 0
    return ClassMaps(values, np.array([one.label for one in wanted]), layer, place.grid, blank)


class _Said(nn.Module):
    """A frozen copy of a network that returns the logits that are asked for."""

    def __init__(self, model: nn.Module, exit: int | None) -> None:
        super().__init__()
        self.network = copy.deepcopy(model).eval().requires_grad_(False)
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
        outputs = self.network(images)
        return self.task.final(outputs) if self.exit is None else outputs[self.exit]


@dataclass(frozen=True)
class _Target:
    """The number whose gradient is taken, from the logits of one image."""

    label: int
    pixels: Tensor | None = None  # (H, W) bool, of a segmentation network

    def __call__(self, logits: Tensor) -> Tensor:
        own = logits[self.label]
        return own if self.pixels is None else (own * self.pixels).sum()


def _wanted(said: _Said, images: Tensor, classes: Any, pixels: Tensor | None) -> list[_Target]:  # noqa: ANN401
    """What each image's map is of."""
    B, size = len(images), images.shape[2:]
    with torch.no_grad():
        parts = images.to(*placement(said.network)).split(_LARGEST)
        logits = torch.cat([said(part) for part in parts])  # (B, K) or (B, K, H, W)
    answers = logits.argmax(1)
    if classes is None:
        labels = answers.tolist() if answers.dim() == 1 else answers.flatten(1).mode().values.tolist()
    else:
        labels = [int(classes)] * B if isinstance(classes, int) else [int(label) for label in classes]
    K = logits.shape[1]
    if len(labels) != B or not all(0 <= label < K for label in labels):
        raise ModelError(f"Got the classes {labels} for {B} images; expected one each, from 0 to {K - 1}.")
    if logits.dim() == 2:
        if pixels is not None:
            raise ModelError("Got pixels for a network that gives one answer an image; leave them out.")
        return [_Target(label) for label in labels]
    if pixels is None:
        own = [answers[row] == label for row, label in enumerate(labels)]
        own = [where if where.any() else torch.ones_like(where) for where in own]
    else:
        if pixels.shape[-2:] != size or pixels.dim() not in (2, 3):
            raise ModelError(f"Got pixels of shape {tuple(pixels.shape)} for images of {tuple(size)} pixels.")
        own = list(pixels.bool().expand(B, *size).to(logits.device))
    return [_Target(label, where) for label, where in zip(labels, own, strict=True)]


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


def _as_map(axis: int, size: Sequence[int], y: Tensor) -> Tensor:
    """A layer's output, or its gradient, as a map of its own: (B, C, h, w)."""
    if y.dim() == 4:
        return y.clone() if axis == 1 else y.permute(0, 3, 1, 2).contiguous()
    tokens = y if axis == -1 else y.transpose(1, 2)  # (B, N, C)
    height, width = _grid(y, axis, size)
    tokens = tokens[:, tokens.shape[1] - height * width :]  # without the class token
    return tokens.reshape(len(y), height, width, -1).permute(0, 3, 1, 2).contiguous()


def _both(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
