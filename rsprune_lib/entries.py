"""Entries of the registries: what a name stands for, said once; help texts, menus, tables and errors are made of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rsprune_lib.errors import unknown

__all__ = ["Entry", "find", "menu"]


@dataclass(frozen=True)
class Entry:
    """One criterion, loss, recovery or selector.

    Attributes:
        title: what a menu shows; the name itself where that is empty.
        summary: what it does, in one line.
        run: does it, or builds what does it; its arguments with a default are the options.
        needs: what it cannot do without: ``"images"``, ``"gates"``, a ``"rank"``; of a loss see `Task.gives`.
    """

    title: str
    summary: str
    run: Callable[..., Any]
    needs: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Name -> default of each option."""
        parameters = inspect.signature(self.run).parameters.values()
        return {one.name: one.default for one in parameters if one.default is not one.empty}


Kind = TypeVar("Kind", bound=Entry)


def find(kind: str, known: Mapping[str, Kind], name: str, options: Iterable[str] = ()) -> Kind:
    """Returns the entry of a name if it has the named options.

    Args:
        kind: what the names stand for, in errors.
        known: the registry.
        name: key of it.
        options: names of options.

    Raises:
        RspruneError: the name or an option is unknown.
    """
    if name not in known:
        raise unknown(kind, name, known)
    for option in options:
        if option not in known[name].options:
            raise unknown(f"option of {kind} {name}", option, known[name].options)
    return known[name]


def menu(known: Mapping[str, Entry], names: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """What a menu shows and the name behind it, for all entries or for those with these names."""
    return [(known[name].title or name, name) for name in (known if names is None else names)]
