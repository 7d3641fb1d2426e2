"""Every network of the course, by name."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from rsprune_lib.errors import ModelError, unknown
from rsprune_lib.models.blocks import Network
from rsprune_lib.models.cifar import CifarResNet, CifarVGG
from rsprune_lib.models.densenet import DenseNet
from rsprune_lib.models.foreign import foreign_model
from rsprune_lib.models.resnet import ResNet
from rsprune_lib.models.vgg import VGG

__all__ = ["create_model", "model_names", "plain_name"]

STEMS = ("imagenet", "small")
LARGEST = 5e8  # parameters: 2 GB as float32


def _resnet18(*, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    return ResNet(widths=_scaled((64, 128, 256, 512), width), **options)


def _vgg16(*, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    return VGG(widths=_scaled((64, 128, 256, 512, 512), width), **options)


def _vgg16_cifar(*, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    return CifarVGG(widths=_scaled((64, 128, 256, 512, 512), width), **options)


def _cifar_resnet(depth: int, *, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    return CifarResNet(depth=depth, widths=_scaled((16, 32, 64), width), **options)


def _densenet40(*, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    initial, growth = _scaled((16, 12), width)
    return DenseNet(initial=initial, growth=growth, **options)


# these come plain and with SE blocks, and with two stems
_BUILDERS: dict[str, Callable[..., Network]] = {"resnet18": _resnet18, "vgg16": _vgg16}
# these come as they were published on CIFAR-10
_SMALL: dict[str, Callable[..., Network]] = {
    "vgg16_cifar": _vgg16_cifar,
    **{f"resnet{depth}": partial(_cifar_resnet, depth) for depth in (20, 32, 44, 56, 110)},
    "densenet40": _densenet40,
}


def model_names() -> list[str]:
    """Names that `create_model` knows; ``..._se`` is the network with SE blocks."""
    return [name + suffix for name in _BUILDERS for suffix in ("", "_se")] + list(_SMALL)


def plain_name(name: str) -> str:
    """Name of the same network without SE blocks: ``"resnet18_se"`` -> ``"resnet18"``; a plain name stays as it is."""
    return name if ":" in name else name.removesuffix("_se")


def create_model(
    name: str,
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    width: float = 1.0,
    stem: str | None = None,
    image_size: int | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build a network with fresh weights.

    ``model.config`` holds exactly these arguments but the seed, so ``create_model(**model.config)`` builds it again.

    Args:
        name: one of `model_names`, or ``torchvision:NETWORK`` or ``timm:NETWORK`` (these know no width and no stem).
        num_classes: number K of classes; the network returns (B, K) logits.
        in_channels: channels of an image.
        width: factor on the number of channels of every layer, rounded to whole channels.
        stem: ``"imagenet"`` or, for images of 32 pixels and less, ``"small"``, which leaves out the first downsampling
            (ResNet: stride and max-pool of the stem; VGG: the first max-pool). None takes the usual one: ``"small"``
            for the networks that were published on CIFAR-10, which have no other, ``"imagenet"`` for the rest.
        image_size: height and width of the images, for networks of other libraries that are made for one size.
        seed: weights depend on it alone; None draws from PyTorch's global generator. The global state is left as it was
            when a seed is given.

    Returns:
        The network in training mode, on the CPU, float32.

    Raises:
        ModelError: an argument is out of its range.
        RspruneError: the name is unknown; the message offers the nearest names.

    Example:
        >>> model = create_model("resnet18_se", 10)
        >>> sum(p.numel() for p in model.parameters())
        11360382
    """
    if ":" in str(name):
        if width != 1.0 or stem is not None:
            raise ModelError(f"{name} comes as its library builds it; leave width and stem out.")
        config = {"name": name, "num_classes": _count("num_classes", num_classes)}
        config |= {"in_channels": _count("in_channels", in_channels)}
        config |= {} if image_size is None else {"image_size": _count("image_size", image_size)}
        with _seeded(seed):
            model = foreign_model(**config)
        model.config = config
        return model
    if image_size is not None:
        raise ModelError(f"{name} takes images of any size; leave image_size out.")
    if name not in model_names():
        raise unknown("model", str(name), model_names())
    config = {
        "name": name,
        "num_classes": _count("num_classes", num_classes),
        "in_channels": _count("in_channels", in_channels),
        "width": _positive("width", width),
        "stem": stem or ("small" if name in _SMALL else "imagenet"),
    }
    if config["stem"] not in STEMS:
        raise ModelError(f"stem is {stem!r} but must be one of {', '.join(map(repr, STEMS))}.")
    if name in _SMALL and config["stem"] != "small":
        raise ModelError(f"{name} was published with one stem, 'small', but stem is {stem!r}; leave stem out.")
    if config["num_classes"] > 10_000 or config["in_channels"] > 64 or config["width"] > 4:
        _check_size(config)
    with _seeded(seed):
        model = _build(config)
    model.config = config
    return model


def _build(config: dict[str, Any]) -> Network:
    name, options = config["name"], {key: value for key, value in config.items() if key != "name"}
    if name in _SMALL:
        return _SMALL[name](**{key: value for key, value in options.items() if key != "stem"})
    return _BUILDERS[plain_name(name)](se=name.endswith("_se"), **options)


def _check_size(config: dict[str, Any]) -> None:
    """Refuses a network that no machine of the course holds, before any memory is taken for it."""
    try:
        with torch.device("meta"):  # tensors with a shape and nothing else
            params = sum(parameter.numel() for parameter in _build(config).parameters())
    except (RuntimeError, OverflowError, TypeError):  # a size that does not fit 64 bits
        params = math.inf
    if params > LARGEST:
        sizes = ", ".join(f"{key} {config[key]:.10g}" for key in ("num_classes", "in_channels", "width"))
        raise ModelError(
            f"{config['name']} with {sizes} would have {params:.3g} parameters, but at most {LARGEST:.0e} are allowed; "
            "give smaller numbers."
        )


def _scaled(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    """Multiply channel counts by ``factor``, rounded; a layer must keep at least one channel."""
    scaled = tuple(round(width * factor) for width in widths)
    if min(scaled) < 1:
        raise ModelError(f"width is {factor} but must leave every layer a channel; use at least {1 / min(widths):g}.")
    return scaled


def _count(what: str, value: int) -> int:
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ModelError(f"{what} is {value!r} but must be a whole number of at least 1.")
    return count


def _positive(what: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ModelError(f"{what} is {value!r} but must be a number above 0, such as 0.5.")
    return number


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from a generator seeded with ``seed`` inside; afterwards the global CPU generator is as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed the accelerators
        yield
