"""The units of any network: its convolutions and linear layers in execution order, each with the norm behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rsprune_lib.errors import ModelError
from rsprune_lib.models.blocks import Unit
from rsprune_lib.models.hooks import hooked
from rsprune_lib.models.mode import evaluating, placement

__all__ = ["channels_of", "first_image", "units"]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
_NORMS = nn.modules.batchnorm._BatchNorm
_SIZES = (64, 32, 128, 224, 256, 299)  # tried in turn where nothing says how large the images are


def channels_of(model: nn.Module) -> int:
    """Channels of a network's images: its attribute ``in_channels``, else what its first convolution reads, else 3."""
    layer = next((m for m in model.modules() if isinstance(m, _LAYERS)), None)
    return getattr(model, "in_channels", None) or getattr(layer, "in_channels", 3)


def first_image(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> Tensor:
    """One black image that a network takes, (1, C, H, W), on its device and in its type.

    Args:
        model: its attributes ``in_channels`` and ``image_size`` count where it has them.
        image_size: side or (height, width) in pixels; by default the network's own, or the first that it runs with.

    Raises:
        ModelError: it runs with no size that was tried.
    """
    channels = channels_of(model)
    device, dtype = placement(model)
    size = image_size or getattr(model, "image_size", None)
    sizes = (size,) if size else (max(64, getattr(model, "min_size", 1)), *_SIZES[1:])
    fault: Exception | None = None
    for side in sizes:
        height, width = side if isinstance(side, tuple) else (side, side)
        image = torch.zeros(1, channels, height, width, device=device, dtype=dtype)
        try:
            with torch.inference_mode(), evaluating(model):
                model(image)
            return image
        except ModelError:
            raise
        except Exception as error:  # whatever the network raises
            fault = error
    raise ModelError(
        f"The network {type(model).__name__} could not be traced with an image of {sizes[0]} pixels ({fault}); give "
        "the image_size it is used with."
    ) from fault


def units(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> list[Unit]:
    """Every convolution and linear layer that runs once, in execution order; the classifier is usually the last.

    A network of the course says so itself; of others one forward pass is watched. A norm belongs to a layer if it is
    the only reader of the layer's output.

    Args:
        model: any network that takes images.
        image_size: as for `first_image`.

    Raises:
        ModelError: it does not run.
    """
    if hasattr(model, "units"):
        return model.units()
    known = model.__dict__.get("_units")
    if known is None:
        known = model.__dict__["_units"] = _watched(model, first_image(model, image_size))
    return list(known)


def _watched(model: nn.Module, image: Tensor) -> list[Unit]:
    readers = _Readers()
    order: list[str] = []
    made: dict[str, Tensor] = {}
    norms: list[tuple[str, Tensor]] = []

    def ran(name: str, out: Tensor) -> None:
        order.append(name)
        made[name] = out

    named = list(model.named_modules())
    layers = [(m, lambda _m, _x, y, name=n: ran(name, y)) for n, m in named if isinstance(m, _LAYERS)]
    plain = [(n, m) for n, m in named if isinstance(m, _NORMS) and type(m).__module__.startswith("torch.nn")]
    watched = [(m, lambda _m, x, name=n: norms.append((name, x[0]))) for n, m in plain]
    with hooked(layers, watched), torch.inference_mode(), evaluating(model), readers:
        model(image)
    behind = {id(x): name for name, x in norms}
    rows = []
    for name in order:
        if order.count(name) == 1:
            norm = behind.get(id(made[name])) if readers.count.get(id(made[name])) == 1 else None
            rows.append(Unit(name, norm))
    return rows


class _Readers(TorchDispatchMode):
    """Counts the operations that read each tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[int, int] = {}
        self._held: list[Any] = []  # so that no identity is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # noqa: ANN401
        """Runs an operation and notes what it read."""
        for value in args:
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, Tensor):
                    self.count[id(each)] = self.count.get(id(each), 0) + 1
        out = func(*args, **(kwargs or {}))
        self._held.append((args, out))
        return out
