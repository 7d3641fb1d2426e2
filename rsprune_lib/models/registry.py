"""Every network of the course, by name."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from rsprune_lib.errors import ModelError, unknown
from rsprune_lib.models.blocks import Network
from rsprune_lib.models.cifar import CifarResNet, CifarVGG
from rsprune_lib.models.densenet import DenseNet
from rsprune_lib.models.exits import add_exits
from rsprune_lib.models.foreign import foreign_model, foreign_takes_size
from rsprune_lib.models.gfnet import GFNET_SIZES, GFNet, Size
from rsprune_lib.models.resnet import ResNet
from rsprune_lib.models.segmentation import UED, BodyEdgeUED, GhostNet, SegNet, UNet1
from rsprune_lib.models.vgg import VGG

__all__ = ["NETWORKS", "NetworkEntry", "create_model", "model_names", "plain_name", "takes_size"]

STEMS = ("imagenet", "small")
LARGEST = 5e8  # parameters: 2 GB as float32


@dataclass(frozen=True)
class NetworkEntry:
    """A network that `create_model` knows.

    Attributes:
        summary: what it is, in one line.
        build: from ``num_classes``, ``in_channels`` and the options to the network.
        options: name -> default of each option; ``stem`` may be one of `STEMS`, or the only one that there is.
        stems: stems it can have.
    """

    summary: str
    build: Callable[..., nn.Module]
    options: Mapping[str, Any] = field(default_factory=lambda: {"width": 1.0, "stem": "imagenet"})
    stems: tuple[str, ...] = STEMS


def _wide(network: Callable[..., Network], widths: tuple[int, ...], **given: Any) -> Callable[..., Network]:  # noqa: ANN401
    """A builder that scales the widths."""

    def build(*, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
        return network(widths=_scaled(widths, width), **given, **options)

    return build


def _small(network: Callable[..., Network], widths: tuple[int, ...], **given: Any) -> Callable[..., Network]:  # noqa: ANN401
    """The same for a network that has one stem."""

    def build(*, stem: str, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
        return _wide(network, widths, **given)(**options)

    return build


def _densenet40(*, width: float, stem: str, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    initial, growth = _scaled((16, 12), width)
    return DenseNet(initial=initial, growth=growth, **options)


def _gfnet(size: Size, *, width: float, **options: Any) -> Network:  # noqa: ANN401 - handed on unchanged
    return GFNet(size=replace(size, widths=_scaled(size.widths, width)), **options)


def _on_resnet(blocks: tuple[int, ...], bottleneck: bool) -> Callable[..., Network]:
    """A builder of UED with a ResNet in place of the GhostNet."""

    def build(num_classes: int, in_channels: int, *, width: float) -> Network:
        widths = _scaled((64, 128, 256, 512), width)
        encoder = ResNet(0, in_channels, widths, blocks, bottleneck=bottleneck)
        return UED(num_classes, in_channels, encoder=encoder)

    return build


def _entries() -> Iterator[tuple[str, NetworkEntry]]:
    for name, network, widths in (
        ("resnet18", ResNet, (64, 128, 256, 512)),
        ("vgg16", VGG, (64, 128, 256, 512, 512)),
    ):
        yield name, NetworkEntry("without SE blocks", _wide(network, widths, se=False))
        yield f"{name}_se", NetworkEntry("with SE blocks behind every norm", _wide(network, widths, se=True))
    published = {"options": {"width": 1.0, "stem": "small"}, "stems": ("small",)}  # as they were published on CIFAR-10
    yield "vgg16_cifar", NetworkEntry("VGG-16 for 32 px", _small(CifarVGG, (64, 128, 256, 512, 512)), **published)
    for depth in (20, 32, 44, 56, 110):
        build = _small(CifarResNet, (16, 32, 64), depth=depth)
        yield f"resnet{depth}", NetworkEntry(f"ResNet-{depth} for 32 px", build, **published)
    yield "densenet40", NetworkEntry("DenseNet-40 for 32 px, growth 12", _densenet40, **published)
    for name, size in GFNET_SIZES.items():
        options = {"width": 1.0, "image_size": 224, "patch": size.patch}
        yield name, NetworkEntry("global filters on tokens", partial(_gfnet, size), options, ())
    for name, summary, build in (
        ("ghostnet", "half of the channels from depthwise convolutions", GhostNet),
        ("ued", "segmentation, GhostNet encoder", UED),
        ("ued_bes", "the same, bodies and edges separated", BodyEdgeUED),
        ("ued_bes_sfm", "the same, fused by learned scores", partial(BodyEdgeUED, score=True)),
        ("ued_resnet18", "segmentation, ResNet-18 encoder", _on_resnet((2, 2, 2, 2), False)),
        ("ued_resnet34", "segmentation, ResNet-34 encoder", _on_resnet((3, 4, 6, 3), False)),
        ("ued_resnet50", "segmentation, ResNet-50 encoder", _on_resnet((3, 4, 6, 3), True)),
        ("unet1", "segmentation, UNet of 19 convolutions", UNet1),
        ("segnet", "segmentation, VGG-16 and its mirror with unpooling", SegNet),
    ):
        yield name, NetworkEntry(summary, build, {"width": 1.0}, ())


NETWORKS: dict[str, NetworkEntry] = dict(_entries())


def model_names() -> list[str]:
    """Names that `create_model` knows; ``..._se`` is the network with SE blocks."""
    return list(NETWORKS)


def takes_size(name: str) -> bool:
    """Whether a network is made for images of one size, so that it must be told which."""
    return "image_size" in NETWORKS[name].options if name in NETWORKS else foreign_takes_size(name)


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
    image_size: int | tuple[int, int] | None = None,
    patch: int | None = None,
    exits: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build a network with fresh weights.

    ``model.config`` holds exactly these arguments but the seed, so ``create_model(**model.config)`` builds it again.

    Args:
        name: one of `model_names`, or ``torchvision:NETWORK``, ``timm:NETWORK`` or ``smp:NETWORK:ENCODER`` (these know
            no width and no stem).
        num_classes: number K of classes; the network returns (B, K) logits, or (B, K, H, W) for each pixel.
        in_channels: channels of an image.
        width: factor on the number of channels of every layer, rounded to whole channels.
        stem: ``"imagenet"`` or, for images of 32 pixels and less, ``"small"``, which leaves out the first downsampling
            (ResNet: stride and max-pool of the stem; VGG: the first max-pool); None takes the usual one.
        image_size: side, or height and width, of the images, for networks that are made for one size.
        patch: pixels a side of one token, for networks of tokens.
        exits: what `rsprune_lib.models.add_exits` noted in a config: ``places``, ``pool``, ``norm``.
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
    if exits is not None:
        bare = create_model(
            name, num_classes, in_channels=in_channels, width=width, stem=stem, image_size=image_size, patch=patch,
            seed=seed,
        )  # fmt: skip
        return add_exits(bare, **{**exits, "check": False}).train()
    given = {"width": width, "stem": stem, "image_size": image_size, "patch": patch}
    counts = {"num_classes": _count("num_classes", num_classes), "in_channels": _count("in_channels", in_channels)}
    config = {"name": name, **counts, **_options(str(name), given)}
    if ":" not in name and (config["num_classes"] > 10_000 or config["in_channels"] > 64 or config.get("width", 1) > 4):
        _check_size(config)
    with _seeded(seed):
        model = _build(config)
    model.config = config
    return model


def _options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network, checked, with the defaults of those that are not given."""
    if ":" in name:
        _refuse(name, given, ("image_size",))
        size = given["image_size"]
        return {} if size is None else {"image_size": _count("image_size", size)}
    if name not in NETWORKS:
        raise unknown("model", name, NETWORKS)
    entry = NETWORKS[name]
    _refuse(name, given, entry.options)
    options = {
        key: default if given[key] is None else _CHECKED[key](key, given[key]) for key, default in entry.options.items()
    }
    if "stem" in options and options["stem"] not in entry.stems:
        stems = " or ".join(map(repr, entry.stems))
        raise ModelError(f"{name} has the stem {stems}, but stem is {given['stem']!r}.")
    return options


def _refuse(name: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuses options that a network does not have."""
    for key, value in given.items():
        if key not in known and value is not None and value != 1.0:
            raise ModelError(f"{name} knows no {key}; leave it out.")


def _build(config: dict[str, Any]) -> nn.Module:
    if ":" in config["name"]:
        return foreign_model(**config)
    return NETWORKS[config["name"]].build(**{key: value for key, value in config.items() if key != "name"})


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


def _sides(what: str, value: int | tuple[int, int]) -> int | list[int]:
    return [_count(what, side) for side in value] if isinstance(value, list | tuple) else _count(what, value)


_CHECKED: dict[str, Callable[[str, Any], Any]] = {
    "width": lambda what, value: _positive(what, value),
    "stem": lambda what, value: value,
    "image_size": _sides,
    "patch": lambda what, value: _count(what, value),
}


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from a generator seeded with ``seed`` inside; afterwards the global CPU generator is as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed the accelerators
        yield
