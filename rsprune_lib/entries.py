"""Entries of the registries: what a name stands for, said once; help texts, menus, tables and errors are made of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from rsprune_lib.errors import RspruneError, unknown

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
        options: names of options, or names with values, whose types are checked then.

    Raises:
        RspruneError: the name or an option is unknown, or a value has another type than the option.
    """
    if name not in known:
        raise unknown(kind, name, known)
    for option in options:
        if option not in known[name].options:
            raise unknown(f"option of {kind} {name}", option, known[name].options)
    if isinstance(options, Mapping) and options:
        _check_types(f"{kind} {name}", known[name].run, options)
    return known[name]


def _check_types(what: str, run: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuses values that the annotation of an option does not allow: they come from a command line, too."""
    from pydantic import ConfigDict, ValidationError, create_model

    run = run.func if isinstance(run, functools.partial) else run
    hints = get_type_hints(run.__init__ if isinstance(run, type) else run)
    how = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
    fields = {option: (hints.get(option, Any), ...) for option in options}
    try:
        create_model("Options", __config__=how, **fields)(**options)
    except ValidationError as error:
        fault = error.errors()[0]
        wanted = inspect.formatannotation(hints[fault["loc"][0]]).replace("collections.abc.", "")
        raise RspruneError(
            f"The option {fault['loc'][0]} of {what} is {fault['input']!r:.60} but must be {wanted}; correct it."
        ) from None


def menu(known: Mapping[str, Entry], names: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """What a menu shows and the name behind it, for all entries or for those with these names."""
    return [(known[name].title or name, name) for name in (known if names is None else names)]
