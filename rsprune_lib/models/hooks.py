"""Forward hooks that are gone afterwards, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["hooked"]


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
