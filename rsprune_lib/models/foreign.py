"""Networks of other libraries by name: ``"torchvision:convnext_tiny"``, ``"timm:mobilenetv3_large_100"``.

And those of segmentation-models-pytorch, with the name of an encoder: ``"smp:unet:resnet18"``. They come with fresh
weights; trained ones are read from a file of yours by `load_weights`.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib._torchvision import ensure_torchvision
from rsprune_lib.errors import ModelError, unknown

__all__ = ["LIBRARIES", "foreign_model", "foreign_takes_size"]


def foreign_model(name: str, num_classes: int, *, in_channels: int = 3, image_size: int | None = None) -> nn.Module:
    """Builds a network of another library with fresh weights.

    Args:
        name: ``library:network``.
        num_classes: number K of classes.
        in_channels: channels of an image.
        image_size: height and width of the images in pixels, for networks that are made for one size (ViT, Swin).

    Raises:
        ModelError: the library is not installed, or does not build the network like this.
        RspruneError: there is no such library or network.
    """
    library, _, network = name.partition(":")
    if library not in LIBRARIES:
        raise unknown("library", library, list(LIBRARIES))
    try:
        model = LIBRARIES[library](network, num_classes, in_channels, image_size)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelError(
            f"{library} does not build {network!r} with {num_classes} classes, {in_channels} channels and image_size "
            f"{image_size} ({error}); leave out what it does not take."
        ) from None
    model.in_channels = in_channels
    if image_size is not None:
        model.image_size = image_size
    return model


def foreign_takes_size(name: str) -> bool:
    """Whether a network of another library is made for images of one size, so that it must be told which."""
    library, _, network = name.partition(":")
    if library == "torchvision":
        return network.startswith(("vit_", "maxvit"))
    if library != "timm":
        return False
    ensure_torchvision()
    with contextlib.suppress(ImportError):
        import timm

        config = timm.get_pretrained_cfg(network, allow_unregistered=True) if timm.is_model(network) else None
        return bool(config and config.fixed_input_size)
    return False


def _near(network: str, names: list[str]) -> list[str]:
    """A handful of names to offer; there are more than a thousand."""
    return difflib.get_close_matches(network, names, 6, 0.3) or names[:6]


def _torchvision(network: str, num_classes: int, in_channels: int, image_size: int | None) -> nn.Module:
    ensure_torchvision()
    from torchvision import models

    names = [n for n in models.list_models() if not n.startswith("quantized_")]
    if network not in names:
        raise unknown("network of torchvision", network, _near(network, names))
    builder = models.get_model_builder(network)
    options: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    takes = inspect.signature(builder).parameters
    if "weights_backbone" in takes:
        options["weights_backbone"] = None
    if network in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if image_size is not None and network.startswith(("vit", "maxvit")):
        options |= {"image_size": image_size} if network.startswith("vit") else {"input_size": (image_size, image_size)}
    model = builder(**options)
    if in_channels != 3:
        _widen(model, in_channels)
    segments = builder.__module__.startswith("torchvision.models.segmentation")
    return _changed(model, lambda forward, x: forward(x)["out"]) if segments else model


def _widen(model: nn.Module, in_channels: int) -> None:
    """Replaces the first convolution by one that reads another number of image channels."""
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    options = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    model.set_submodule(name, nn.Conv2d(in_channels, old.out_channels, bias=old.bias is not None, **options))


def _timm(network: str, num_classes: int, in_channels: int, image_size: int | None) -> nn.Module:
    ensure_torchvision()
    try:
        import timm
    except ImportError:
        raise ModelError(
            f"timm:{network} needs the package timm, which is not installed; get it with: pip install timm."
        ) from None
    if not timm.is_model(network):
        raise unknown("network of timm", network, _near(network, timm.list_models()))
    options = {} if image_size is None else {"img_size": image_size}
    with contextlib.suppress(TypeError):
        return timm.create_model(network, pretrained=False, num_classes=num_classes, in_chans=in_channels, **options)
    return timm.create_model(network, pretrained=False, num_classes=num_classes, in_chans=in_channels)


def _smp(network: str, num_classes: int, in_channels: int, image_size: int | None) -> nn.Module:
    """A decoder on an encoder, ``unet:resnet18`` or ``unet`` (on a ResNet-34); ``tu-NAME`` is an encoder of timm."""
    ensure_torchvision()
    try:
        import segmentation_models_pytorch as smp
        from segmentation_models_pytorch.encoders import get_encoder_names
    except ImportError:
        raise ModelError(
            f"smp:{network} needs the package segmentation-models-pytorch, which is not installed; get it with: "
            "pip install segmentation-models-pytorch."
        ) from None
    decoder, _, encoder = network.partition(":")
    encoder = encoder or "resnet34"
    decoders = list(smp.MODEL_ARCHITECTURES_MAPPING)
    if decoder not in decoders:
        raise unknown("network of smp", decoder, decoders)
    if encoder not in get_encoder_names() and not encoder.startswith("tu-"):
        raise unknown("encoder of smp", encoder, _near(encoder, get_encoder_names()))
    model = smp.create_model(decoder, encoder, encoder_weights=None, in_channels=in_channels, classes=num_classes)
    return _changed(model, _any_size)


def _changed(model: nn.Module, change: Callable[..., Tensor]) -> nn.Module:
    """The same network, whose forward function is ``change(its own, x)``."""
    own = type(model).forward
    namespace = {"forward": lambda self, x: change(partial(own, self), x), "__module__": type(model).__module__}
    namespace["config"] = None  # of smp a property, where ours is to stand
    model.__class__ = type(type(model).__name__, (type(model),), namespace)
    return model


def _any_size(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Images are continued to multiples of 32 pixels, which most of these networks need, and the logits cut again."""
    H, W = x.shape[2:]
    if H % 32 == W % 32 == 0:
        return forward(x)
    return forward(F.pad(x, (0, -W % 32, 0, -H % 32), mode="replicate"))[..., :H, :W]


LIBRARIES: dict[str, Callable[[str, int, int, int | None], nn.Module]] = {
    "torchvision": _torchvision, "timm": _timm, "smp": _smp,
}  # fmt: skip
