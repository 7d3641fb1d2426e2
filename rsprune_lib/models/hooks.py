"""Forward hooks that are gone afterwards, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["NetworkHook", "hooked", "without_guests"]


class NetworkHook:
    """Base of the hooks that are a part of a network, such as those of early exits; they are copied with it."""


def without_guests(model: nn.Module) -> nn.Module:
    """Removes all forward hooks that are no part of a network, in place, and returns it; for copies.

    A copied hook would go on reporting to its old owner, and mix the images of two jobs.
    """
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if not isinstance(hook, NetworkHook)]:
                del hooks[key]
    return model


@contextmanager
def hooked(
    behind: Iterable[tuple[nn.Module, Callable[..., Any]]] = (),
    in_front: Iterable[tuple[nn.Module, Callable[..., Any]]] = (),
    *,
    first: bool = False,
) -> Iterator[None]:
    """Hangs hooks on modules for the time of the block.

    Args:
        behind: modules with forward hooks ``(module, inputs, output)``.
        in_front: modules with forward pre-hooks ``(module, inputs)``.
        first: they run before the hooks that are there already, such as those of early exits.
    """
    handles = []
    try:
        handles += [module.register_forward_hook(hook, prepend=first) for module, hook in behind]
        handles += [module.register_forward_pre_hook(hook, prepend=first) for module, hook in in_front]
        yield
    finally:
        for handle in handles:
            handle.remove()
