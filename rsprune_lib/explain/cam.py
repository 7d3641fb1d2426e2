"""Class activation maps: where in an image a network finds what it says, before and after pruning.

The maps come from pytorch-grad-cam. Around it stands what makes two networks comparable: the same class for both, a
layer whose map is fine enough to be seen, tokens turned into maps, exits and segmentation networks, and a count of the
maps that are blank.

What differs from calling the library directly: a copy of the network is looked at, with frozen weights, so that neither
hooks nor gradients stay on the network, whatever happens; activations are copied before a later in-place ReLU changes
them; the sign of an Eigen-CAM, which is arbitrary, is fixed as in Seg-Eigen-CAM (https://doi.org/10.3390/app15137562).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.entries import Entry, find
from rsprune_lib.errors import ModelError, unknown
from rsprune_lib.explain.map_layers import FrozenCopy, MapLayer, as_map, deepest, map_layers
from rsprune_lib.models import hooked, placement

__all__ = ["METHODS", "ClassMapper", "ClassMaps", "class_maps"]

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
class _Target:
    """The number whose gradient is taken, from the logits of one image."""

    label: int
    pixels: Tensor | None = None  # (H, W) bool, of a segmentation network

    def __call__(self, logits: Tensor) -> Tensor:
        own = logits[self.label]
        return own if self.pixels is None else (own * self.pixels).sum()


class ClassMapper:
    """Makes class maps of one network for images of one size: what all of them need is found once.

    Args:
        model: a classifier, a classifier with exits, or a segmentation network; left as it is, without hooks and
            gradients, also after an error. Its weights are shared, so that maps follow a training in place.
        image_size: side of the images, or (height, width), in pixels.
        exit: number of the exit whose logits are asked, from 0; None takes the final ones.

    Attributes:
        layers: name -> (height, width) of the map, for every layer that the answer depends on.
        layer: the one that is taken without a wish, see `cam_layer`.

    Raises:
        ModelError: no layer sends on a map, or there is no such exit.
    """

    def __init__(self, model: nn.Module, image_size: int | tuple[int, int], *, exit: int | None = None) -> None:
        self.size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        self._said = FrozenCopy(model, exit)
        self._answer, self._places = map_layers(self._said, self.size)
        self.layers = {name: place.grid for name, place in self._places.items() if place.heard}
        self.layer = deepest(self.layers)

    def maps(
        self,
        images: Tensor,
        classes: int | Sequence[int] | Tensor | None = None,
        *,
        method: str = "gradcam",
        layer: str | None = None,
        pixels: Tensor | None = None,
    ) -> ClassMaps:
        """The maps of some images; the arguments are those of `class_maps`.

        Raises:
            ModelError: the images are of another size, the layer sends on no map, or a class does not exist.
            RspruneError: the method is unknown.
        """
        entry, place = find("method", METHODS, method), self._place(layer or self.layer)
        if images.dim() != 4 or len(images) == 0 or tuple(images.shape[2:]) != self.size:
            raise ModelError(
                f"Got images of shape {tuple(images.shape)}; expected (B, 3, {self.size[0]}, {self.size[1]}) with one "
                "image or more."
            )
        wanted = self._wanted(images, classes, pixels)
        inner, placed = self._said.network.get_submodule(layer or self.layer), placement(self._said)
        maps = []
        for start in range(0, len(images), _LARGEST):
            part = images[start : start + _LARGEST].detach().to(*placed)
            with torch.enable_grad(), hooked([(inner, _begin)], first=True):
                with entry.run(self._said, inner, partial(as_map, place.axis, self.size)) as cam:
                    maps.append(cam(part, wanted[start : start + _LARGEST]))
        values = np.concatenate(maps).astype(np.float32)
        blank = values.reshape(len(values), -1).max(1) < 0.5  # scaled to 1 unless there is nothing to scale
        values[blank] = 0
        labels = np.array([one.label for one in wanted])
        return ClassMaps(values, labels, layer or self.layer, place.grid, blank)

    def _place(self, layer: str) -> MapLayer:
        if layer not in self._places:
            raise unknown("layer with a map", layer, self._places)
        if not self._places[layer].heard:
            raise ModelError(
                f"The answer does not depend on the map of {layer}; choose one of {', '.join(self.layers)}."
            )
        return self._places[layer]

    def _wanted(self, images: Tensor, classes: Any, pixels: Tensor | None) -> list[_Target]:  # noqa: ANN401
        """What each image's map is of."""
        B, K, dense = len(images), self._answer[0], len(self._answer) == 3
        if pixels is not None and not dense:
            raise ModelError("Got pixels for a network that gives one answer an image; leave them out.")
        if pixels is not None and (tuple(pixels.shape[-2:]) != self.size or pixels.dim() not in (2, 3)):
            raise ModelError(f"Got pixels of shape {tuple(pixels.shape)} for images of {self.size} pixels.")
        answers = self._answers(images) if classes is None or (dense and pixels is None) else None
        if classes is None:
            labels = answers.flatten(1).mode().values.tolist() if dense else answers.tolist()
        else:
            labels = [int(classes)] * B if isinstance(classes, int) else [int(label) for label in classes]
        if len(labels) != B or not all(0 <= label < K for label in labels):
            raise ModelError(f"Got the classes {labels} for {B} images; expected one each, from 0 to {K - 1}.")
        if not dense:
            return [_Target(label) for label in labels]
        if pixels is None:
            own = [answers[row] == label for row, label in enumerate(labels)]
            own = [where if where.any() else torch.ones_like(where) for where in own]
        else:
            own = list(pixels.bool().expand(B, *self.size).to(placement(self._said)[0]))
        return [_Target(label, where) for label, where in zip(labels, own, strict=True)]

    @torch.no_grad()
    def _answers(self, images: Tensor) -> Tensor:
        """What the network says: (B,) classes, or (B, H, W)."""
        placed = placement(self._said)
        return torch.cat([self._said(part.to(*placed)).argmax(1) for part in images.split(_LARGEST)])


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
    if images.dim() != 4 or len(images) == 0:
        raise ModelError(f"Got images of shape {tuple(images.shape)}; expected (B, 3, H, W) with one image or more.")
    mapper = ClassMapper(model, tuple(images.shape[2:]), exit=exit)
    return mapper.maps(images, classes, method=method, layer=layer, pixels=pixels)


def _begin(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    """Gradients end at this layer; what lies before it costs none. A clone, which a later layer may change in place."""
    return output.detach().requires_grad_(True).clone()
