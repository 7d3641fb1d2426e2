"""Where a network can be looked at half way: modules that everything passes through, and how deep they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models.blocks import NORMS, SqueezeExcite
from rsprune_lib.models.hooks import hooked
from rsprune_lib.models.mode import evaluating, placement

__all__ = ["channel_dim", "dominates", "example", "exit_places", "logits_of", "spread_places", "watched"]


def exit_places(model: nn.Module) -> list[str]:
    """Names of the modules behind which exits can stand: everything that the network computes later passes through.

    Stages, blocks, activations and poolings; found by running three images and dropping one behind each candidate.

    Raises:
        ModelError: there is none.
    """
    images = example(model, 3)
    with evaluating(model), torch.no_grad():
        whole = logits_of(model(images))
        names = [name for name, module in model.named_modules() if name and not _is_trivial(name, module)]
        found = [name for name in names if dominates(model, name, images, whole)]
    if not found:
        raise ModelError(f"Found no place for an exit in {type(model).__name__}; it has no chain of blocks.")
    return found


def logits_of(outputs: Any) -> Tensor:  # noqa: ANN401 - whatever a network returns
    """The outputs, if they are logits (B, K)."""
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        raise ModelError("Exits stand on classifiers, which return logits (B, K); this network returns something else.")
    return outputs


def example(model: nn.Module, count: int) -> Tensor:
    """Random images of the size that the network is made for."""
    size = getattr(model, "image_size", None) or max(64, getattr(model, "min_size", 1))
    height, width = (size, size) if isinstance(size, int) else size
    device, dtype = placement(model)
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, getattr(model, "in_channels", 3), height, width, generator=random).to(device, dtype)


def _is_trivial(name: str, module: nn.Module) -> bool:
    """Modules in the middle of something: a layer whose norm or activation is still to come, a gate."""
    return name.startswith("exits.") or isinstance(module, (nn.Conv2d, nn.Linear, nn.Identity, SqueezeExcite, *NORMS))


def dominates(model: nn.Module, name: str, images: Tensor, whole: Tensor) -> bool:
    """Whether dropping an image behind a module drops it from everything that follows."""
    keep = torch.tensor([0, 2], device=images.device)

    def drop(_module: nn.Module, _x: Any, y: Any) -> Any:  # noqa: ANN401
        return y[keep] if isinstance(y, Tensor) and y.dim() > 2 and len(y) == len(images) else y

    try:
        with hooked([(model.get_submodule(name), drop)]):
            found = model(images)
    except (RuntimeError, IndexError, ValueError):  # shapes that no longer fit: something flows past
        return False
    return found.shape == whole[keep].shape and torch.allclose(
        found, whole[keep], rtol=1e-3, atol=1e-3 * float(whole.abs().max())
    )


def watched(model: nn.Module, places: Sequence[str], images: Tensor, seen: dict[str, Tensor]) -> Any:  # noqa: ANN401
    """Runs the network and notes the outputs of some modules, in execution order."""
    modules = dict(model.named_modules())

    def note(name: str, _module: nn.Module, _x: Any, y: Tensor) -> None:  # noqa: ANN401
        seen[name] = y

    with hooked((modules[name], partial(note, name)) for name in places if name in modules):
        return model(images)


def channel_dim(model: nn.Module, place: str, y: Tensor) -> int:
    """Where the channels of a module's output stand, 1 or -1; the last layer inside says how many there are.

    Layers of SE gates do not count: they see pooled maps, so they look like those of tokens.
    """
    whole = model.get_submodule(place)
    gates = {id(m) for block in whole.modules() if isinstance(block, SqueezeExcite) for m in block.modules()}
    kinds = nn.Conv2d | nn.Linear | nn.LayerNorm
    layers = [m for m in whole.modules() if isinstance(m, kinds) and id(m) not in gates]
    last = layers[-1] if layers else None
    dims = (1, -1) if last is None or isinstance(last, nn.Conv2d) else (-1, 1)
    width = getattr(last, "out_channels", None) or getattr(last, "out_features", None) or y.shape[dims[0]]
    return next((d for d in dims if y.shape[d] == width), dims[0])


def spread_places(model: nn.Module, count: int) -> list[str]:
    """Names of the places nearest to equal shares of the work: parameters times positions stand for it.

    Args:
        model: a classifier without exits.
        count: how many.

    Raises:
        ModelError: there are not so many.
    """
    if count < 1:
        raise ModelError(f"Got {count} exits; expected at least 1.")
    places, images = exit_places(model), example(model, 1)
    done, at = 0.0, {}

    def add(module: nn.Module, _x: Any, y: Tensor) -> None:  # noqa: ANN401
        nonlocal done
        done += y.numel() * module.weight[0].numel()

    def mark(name: str, *_: Any) -> None:  # noqa: ANN401
        at[name] = done

    modules = dict(model.named_modules())
    counted = [(module, add) for module in modules.values() if isinstance(module, nn.Conv2d | nn.Linear)]
    marked = [(modules[name], partial(mark, name)) for name in places]
    with evaluating(model), torch.no_grad(), hooked(counted + marked):
        model(images)
    last = {work: name for name, work in at.items()}  # of several modules at one depth the outermost, which ends last
    inner = [name for work, name in sorted(last.items()) if work < 0.95 * done]
    if len(inner) < count:
        raise ModelError(f"Got {count} exits, but the network has {len(inner)} places for one: {', '.join(inner)}.")
    chosen: list[str] = []
    for number in range(1, count + 1):
        left = [name for name in inner if name not in chosen and (not chosen or at[name] > at[chosen[-1]])]
        spare = len(left) - (count - number)  # so that enough stay for the exits behind
        chosen.append(min(left[:spare], key=lambda name: abs(at[name] / done - number / (count + 1))))
    return chosen
