"""Networks of torchvision and timm by name: ``"torchvision:convnext_tiny"``, ``"timm:mobilenetv3_large_100"``.

They come with fresh weights; trained ones are read from a file of yours by `load_weights`.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from rsprune_lib._torchvision import ensure_torchvision
from rsprune_lib.errors import ModelError, unknown

__all__ = ["LIBRARIES", "foreign_model", "foreign_takes_size", "load_weights"]


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
    return model


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


LIBRARIES: dict[str, Callable[[str, int, int, int | None], nn.Module]] = {"torchvision": _torchvision, "timm": _timm}
_WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema")


def load_weights(model: nn.Module, path: str | Path) -> list[str]:
    """Fills a network with the weights of a file, as far as they fit; nothing in the file is executed.

    A head for other classes stays as it is, with its fresh weights. The file of a classifier fills the encoder of a
    segmentation network (``model.encoder``), but then as a whole: only what reads the image may differ in its channels.

    Args:
        model: changed in place.
        path: a state dict: ``.safetensors``, or ``.pt``/``.pth`` (read with ``weights_only``).

    Returns:
        One sentence for each key that was left out or is missing.

    Raises:
        ModelError: the file is not there or no state dict, or none of it fits, or not the whole of an encoder.
    """
    state, own = _read(Path(path)), model.state_dict()
    if state.keys() - own.keys() and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    if hasattr(model, "encoder") and not state.keys() & own.keys() and state.keys() & model.encoder.state_dict().keys():
        return _fill_encoder(model, state, path)
    fits = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if not fits:
        raise ModelError(
            f"No weight in {path} fits the network (it has {next(iter(state), 'nothing')!r}, the network "
            f"{next(iter(own))!r} of shape {tuple(next(iter(own.values())).shape)}); take the file of this network."
        )
    notes = []
    for key in sorted(state.keys() | own.keys()):
        if key not in own:
            notes.append(f"{key}: the network has no such weight")
        elif key not in state:
            notes.append(f"{key}: not in the file, stays fresh")
        elif key not in fits:
            notes.append(f"{key}: {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} here, stays fresh")
    model.load_state_dict(fits, strict=False)
    return notes


def _fill_encoder(model: nn.Module, state: dict[str, Tensor], path: str | Path) -> list[str]:
    own = model.encoder.state_dict()
    first = next(key for key, value in own.items() if value.dim() == 4)
    wrong = [
        f"{key} is {tuple(state[key].shape)} there and {tuple(value.shape)} here" if key in state else f"no {key}"
        for key, value in own.items()
        if (key not in state and value.is_floating_point()) or (key in state and state[key].shape != value.shape)
    ]
    seen, wrong = wrong, [line for line in wrong if not line.startswith(f"{first} ")]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(
            f"{path} does not fit the encoder: {', '.join(wrong[:3])}{more}; take the file of this network and width."
        )
    fresh = [first] if seen else []
    model.encoder.load_state_dict({k: v for k, v in state.items() if k in own and k not in fresh}, strict=False)
    notes = [f"encoder.{seen[0]}, stays fresh"] if seen else []
    unused = sorted({key.rpartition(".")[0] for key in state.keys() - own.keys()})
    notes += [f"{', '.join(unused)}: no part of the encoder, left out"] if unused else []
    rest = [name for name, _ in model.named_children() if name != "encoder"]
    return [*notes, f"{', '.join(rest)}: not in the file, stays fresh"]


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"Found no weights at {path}; check the path.")
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # both libraries raise whatever a broken file brings up
        raise ModelError(
            f"Cannot read {path} as plain weights: it is cut off, or holds more than tensors; save a state dict "
            "(torch.save(model.state_dict(), ...) or safetensors), no pickled network."
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(
            f"{path} holds no state dict (names and tensors); save one with torch.save(model.state_dict())."
        )
    return state
