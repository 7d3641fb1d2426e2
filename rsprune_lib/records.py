"""Measured rows and results as files hold them: whoever wrote a file, what is read of it has the right type.

Files of results are passed on and edited by hand. Each is checked against one of the models below before anything is
made of it; entries that the library does not read are kept as they are.
"""

import json
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rsprune_lib.errors import RspruneError

__all__ = ["Inside", "Kept", "MeasuredRow", "Number", "Origin", "Results", "Run", "Whole", "checked", "entry_of"]

_LARGEST = 2**63 - 1  # of a whole number in sqlite


class Kept(BaseModel):
    """An object whose other entries are kept unread."""

    model_config = ConfigDict(extra="allow", strict=True)


def _inside(name: str) -> str:
    """A path that leads nowhere but into the folder that it is looked up in."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise ValueError("it leads out of its folder")
    return name


Whole = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
Number = Whole | Annotated[float, Field(allow_inf_nan=False)]
Inside = Annotated[str, AfterValidator(_inside)]


class _Git(Kept):
    commit: str | None = None
    dirty: bool | None = None


class _DataName(Kept):
    name: str | None = None
    synthetic: bool | None = None


class Origin(Kept):
    """Where a number comes from; see `rsprune_lib.measure.provenance`."""

    data: _DataName | None = None
    git: _Git | None = None
    versions: dict[str, Any] | None = None
    seed: Whole | None = None
    profile: str | None = None
    device: str | None = None
    date: str | None = None


class _Size(Kept):
    params: Whole | None = None
    macs: Number | None = None


class MeasuredRow(_Size):
    """What is read of a row; see `rsprune_lib.measure.Result`."""

    name: str | None = None
    metric: str | None = None
    metrics: dict[str, Number | None] | None = None
    accuracy: Number | None = None
    test_accuracy: Number | None = None
    ci: Annotated[list[Number | None], Field(min_length=2, max_length=2)] | None = None
    n: Whole | None = None
    latency_ms: Number | None = None
    part: str | None = None
    split: str | None = None
    seed: Whole | str | None = None
    values: dict[str, Any] | None = None
    deployed: _Size | None = None
    provenance: Origin | None = None


class _Recorded(MeasuredRow):
    name: str


class _Figure(Kept):
    title: str
    file: Inside


class Results(Kept):
    """``results.json`` of a notebook."""

    rows: list[_Recorded]
    figures: list[_Figure]


class _OfNotebook(_Recorded):
    notebook: str


class _DrawnBy(_Figure):
    notebook: str


class _Notebook(Kept):
    name: Inside
    ok: bool
    seconds: Number
    error: str | None = None


class Run(Kept):
    """``results.json`` of a run of the course."""

    profile: str
    data: str
    started: str
    seconds: Number
    about: Origin | None = None
    notes: list[str] = []
    notebooks: list[_Notebook]
    rows: list[_OfNotebook]
    figures: list[_DrawnBy]


def checked(model: type[BaseModel], found: Any, what: str) -> dict:  # noqa: ANN401 - any JSON value
    """Returns what was read, unchanged.

    Args:
        model: what it has to be.
        found: from a file.
        what: name of the file, and of the row if there are several.

    Raises:
        RspruneError: an entry has another type, or one is missing.
    """
    try:
        model.model_validate(found)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RspruneError(f"{what} holds half of a character; take the original file, or measure again.") from None
    except RecursionError:
        raise RspruneError(f"{what} is nested too deeply; take the original file, or measure again.") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = entry_of(fault)
        got = "is missing" if fault["type"] == "missing" else f"is {fault['input']!r:.60}"
        words = fault["msg"].removeprefix("Value error, ")
        raise RspruneError(
            f"{what} is not as rsprune writes it: {where or 'it'} {got} ({words}); take the original file, or measure "
            "again."
        ) from None
    return found


def entry_of(fault: dict[str, Any]) -> str:
    """Returns the place of a fault that pydantic found, such as ``provenance.data``, without members of unions."""
    kinds = ("constrained-", "list[", "int", "float", "str")
    return ".".join(str(key) for key in fault["loc"] if not str(key).startswith(kinds))[:80]
