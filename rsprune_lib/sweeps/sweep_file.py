"""Reading a sweep file: YAML without code, references or doubled names, checked to the last key.

A sweep has ``axes`` (name: values) and ``jobs`` (name: what to run). The words of a job may hold ``{axis}``,
``{out}`` (the folder of its cell) and ``{job}`` (the folder of the cell of another job with the same values). A job has
one cell for each combination of the axes that it names, directly or through other jobs::

    title: Two criteria
    axes: {data: [eurosat], seed: [0, 1, 2], criterion: [attention, l1]}
    jobs:
      dense: {run: "rsprune train resnet18_se --data {data} --seed {seed} --out {out}"}
      small: {run: "rsprune prune {dense} --criterion {criterion} --out {out}"}
      numbers: {run: "rsprune eval {small} --split test"}
    profiles:
      smoke: {axes: {data: [synthetic], seed: [0]}}
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.places import absolute

__all__ = ["PLACEHOLDER", "PROFILE_NAMES", "Job", "Sweep", "read_sweep"]

PLACEHOLDER = re.compile(r"\{([a-z]\w*)(?:\.([a-z]\w*))?\}")  # {ratio}, {network.loss}
PROFILE_NAMES = ("smoke", "quick", "full")
LARGEST = 1_000_000  # bytes of a sweep file
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("out", "profile")

Plain = str | int | float
Value = Plain | list[Plain] | dict[str, Plain | list[Plain]]
Axes = dict[str, list[Value]]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Job(_Part):
    """What one kind of cell runs: commands one after the other, or a notebook with parameters."""

    run: list[str] = []
    notebook: str | None = None
    parameters: dict[str, Plain] = {}
    seconds: Annotated[float, Field(gt=0, le=10**7)] | None = None  # after which a cell counts as hung

    @field_validator("run", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> "Job":
        if bool(self.run) == bool(self.notebook):
            raise ValueError("a job has either run or notebook")
        if self.parameters and not self.notebook:
            raise ValueError("parameters are for a notebook")
        return self


class _Changes(_Part):
    """What a profile changes: values of axes, and which jobs it runs (with those that they need)."""

    axes: Axes = {}
    jobs: list[str] | None = None


class Sweep(_Part):
    """A checked sweep, in one profile."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    about: str = ""
    axes: Axes = {}
    jobs: Annotated[dict[str, Job], Field(min_length=1)]
    profiles: dict[str, _Changes] = {}
    threads: Annotated[int, Field(ge=1, le=1024)] = 1  # of one cell
    memory_gb: Annotated[float, Field(gt=0, le=4096)] = 2.0  # of one cell
    published: list[str] = []  # tables of published numbers that stand beside

    @field_validator("axes")
    @classmethod
    def _values(cls, axes: Axes) -> Axes:
        return _checked_axes(axes)

    @model_validator(mode="after")
    def _names(self) -> "Sweep":
        for name in [*self.axes, *self.jobs]:
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"{name!r} is no name for an axis or a job; take lower-case letters, digits and _")
        if both := set(self.axes) & set(self.jobs):
            raise ValueError(f"{min(both)!r} is both an axis and a job")
        for name, changes in self.profiles.items():
            if name not in PROFILE_NAMES:
                raise ValueError(f"there is no profile {name!r}, only {', '.join(PROFILE_NAMES)}")
            _checked_axes(changes.axes)
            if stray := {*changes.axes} - {*self.axes}:
                raise ValueError(f"profile {name} changes the axis {min(stray)!r}, which the sweep does not have")
            if stray := {*(changes.jobs or ())} - {*self.jobs}:
                raise ValueError(f"profile {name} runs the job {min(stray)!r}, which the sweep does not have")
        return self


def read_sweep(path: str | Path, profile: str) -> Sweep:
    """Reads a sweep file as one profile wants it.

    Args:
        path: The file.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``; what the file does not change for it stays.

    Raises:
        RspruneError: There is no such file, it is no YAML, or a key or value in it is wrong (the first one is named).
    """
    path = absolute(path)
    if profile not in PROFILE_NAMES:
        raise unknown("profile", profile, PROFILE_NAMES)
    found = _parsed(path)
    if not isinstance(found, Mapping):
        raise RspruneError(f"{path} holds a {type(found).__name__}, expected names with values: title, axes, jobs.")
    try:
        sweep = Sweep.model_validate(dict(found))
    except (ValidationError, RecursionError) as error:
        raise RspruneError(f"{path} is no sweep: {_fault(error)}; correct the file.") from None
    changes = sweep.profiles.get(profile, _Changes())
    jobs = {name: job for name, job in sweep.jobs.items() if changes.jobs is None or name in _needed(sweep, changes)}
    return sweep.model_copy(update={"axes": sweep.axes | changes.axes, "jobs": jobs})


def _needed(sweep: Sweep, changes: _Changes) -> set[str]:
    """Jobs that a profile runs and those whose folders they name."""
    wanted, found = list(changes.jobs or ()), set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += [other for word in sweep.jobs[name].run for other, _ in PLACEHOLDER.findall(word)
                       if other in sweep.jobs]  # fmt: skip
    return found


def _checked_axes(axes: Axes) -> Axes:
    for name, values in axes.items():
        if not values:
            raise ValueError(f"the axis {name!r} has no values")
        texts = [repr(value) for value in values]
        if len({*texts}) < len(texts):
            double = next(text for text in texts if texts.count(text) > 1)
            raise ValueError(f"the axis {name!r} has the value {double:.60} twice")
        for value in values:
            for number in [value] if isinstance(value, float) else ():
                if not math.isfinite(number):
                    raise ValueError(f"the axis {name!r} has the value {number}, which is no number to compute with")
    return axes


class _Loader(yaml.SafeLoader):
    """Plain values only; no references (a short file can name a huge one with them), and no name twice."""

    def compose_node(self, parent: object, index: object) -> yaml.Node:
        """Refuses references."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1} refers to another place by *")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Refuses a name that stands twice, of which YAML would keep the last one."""
        keys = [key.value for key, _ in node.value]
        if double := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {str(double)[:60]!r} stands twice")
        return super().construct_mapping(node, deep)


def _parsed(path: Path) -> Any:  # noqa: ANN401 - any YAML value
    try:
        if path.stat().st_size > LARGEST:
            raise RspruneError(f"{path} has {path.stat().st_size:,} bytes, too many for a sweep file; split it.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RspruneError(f"Cannot read the sweep file {path} ({error.strerror}); check the path.") from None
    except UnicodeDecodeError:
        raise RspruneError(f"{path} is no text in UTF-8, so it is no sweep file; take the right one.") from None
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader: no tag makes an object
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        words = " ".join(str(error).split())[:200] or "it is nested too deeply"
        raise RspruneError(f"{path} is no YAML that a sweep can have ({words}); correct the file.") from None


def _fault(error: ValidationError | RecursionError) -> str:
    """The first fault in words: where, what was got, what was expected."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    fault = error.errors()[0]
    kinds = ("constrained", "list[", "dict[", "str", "int", "float", "[key]")  # pydantic names members of unions, too
    where = ".".join(str(key) for key in fault["loc"] if not str(key).startswith(kinds))[:80]
    if fault["type"] == "extra_forbidden":
        return f"it has the key {where!r}, which is not known there"
    if fault["type"] == "missing":
        return f"it lacks {where!r}"
    words = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{where + ': ' if where else ''}{words}"
    return f"{where or 'it'} is {fault['input']!r:.60} ({words})"
