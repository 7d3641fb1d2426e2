"""Weights from a file of the user's, into a network: as far as they fit, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError

__all__ = ["load_weights"]

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
