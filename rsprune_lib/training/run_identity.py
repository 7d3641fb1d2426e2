"""What makes a training run what it is, as plain values: a run is resumed only by one with the same identity."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.code_version import code_version
from rsprune_lib.data import Dataset
from rsprune_lib.training.recipes import Recipe

__all__ = ["run_identity", "settings"]

_PACKAGES = tuple(
    f"rsprune_lib/{room}" for room in ("data", "models", "measure", "training")
)  # whose source decides about the numbers of a run
_DEEPEST = 6


def run_identity(
    model: nn.Module, data: Dataset, recipe: Recipe, loss: nn.Module | Callable, *, seed: int, limits: list[int | None]
) -> dict[str, Any]:
    """Returns the identity of a run, JSON-able.

    Args:
        model: as it starts; its weights count, and with them what was pruned.
        data: content and split count, not where it lies.
        recipe: all of it.
        loss: the loss or the objective, with its settings and, if it holds networks (teachers), their weights.
        seed: of the run.
        limits: most training images, most validation images.
    """
    return {
        "network": str(getattr(model, "config", type(model).__name__)),
        "start weights": _hash(model.state_dict()),
        "data": f"{data.name} {data.content_hash} split {data.split.hash}",
        "recipe": recipe.to_dict(),
        "loss": settings(loss),
        "seed": seed,
        "limits": limits,
        "code": code_version(*_PACKAGES),
    }


def settings(thing: object, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """Returns a loss, an objective or any value with its settings as plain values, the same in every process.

    Args:
        thing: modules give their class, their attributes and a hash of their tensors; functions give what they hold on
            to (closure, defaults, arguments of a partial); other objects give their class and attributes.
        depth: of the value inside the first one; very deep values give their type only.
    """
    if isinstance(thing, bool | int | float | str | None):
        return _shortened(thing) if isinstance(thing, str) else thing
    if isinstance(thing, Tensor):
        return _hash({"": thing})
    kind = type(thing).__qualname__
    if depth > _DEEPEST:
        return kind
    inner = functools.partial(settings, depth=depth + 1)
    if isinstance(thing, list | tuple):
        return _shortened([inner(value) for value in thing])
    if isinstance(thing, Mapping):
        return _shortened({str(key): inner(value) for key, value in thing.items()})
    if isinstance(thing, functools.partial):
        held = {"of": thing.func, "arguments": thing.args, **thing.keywords}
    elif inspect.ismethod(thing):
        kind, held = thing.__qualname__, {"of": thing.__self__}
    elif inspect.isfunction(thing):
        kind, code = thing.__qualname__, thing.__code__
        cells = [cell.cell_contents for cell in thing.__closure__ or () if cell.cell_contents is not thing]
        held = {"defaults": thing.__defaults__, "keywords": thing.__kwdefaults__, "holds": cells}
        held |= {"code": code.co_code.hex(), "names": code.co_names, "constants": code.co_consts}
    elif isinstance(thing, nn.Module):
        own = {key: value for key, value in vars(thing).items() if key[0] != "_" and key != "training"}
        tensors, layers = [*thing.parameters(), *thing.buffers()], dict(thing.named_children())
        held = own | {"tensors": tensors} | ({"layers": repr(inner(layers))} if tensors else layers)
    else:
        kind = getattr(thing, "__qualname__", kind)
        held = dict(vars(thing)) if hasattr(thing, "__dict__") and not isinstance(thing, type) else {}
    return {"kind": kind} | {key: inner(value) for key, value in held.items()}


def _shortened(value: list | dict | str) -> list | dict | str:
    """A hash in place of what is too long to be read."""
    longest = 100 if isinstance(value, str) else 8
    return value if len(value) <= longest else hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _hash(state: Mapping[str, Tensor]) -> str:
    """First 16 hex digits of the SHA-256 over names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
