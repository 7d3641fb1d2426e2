"""The cells of a sweep: each job times the values of the axes that it names, in an order that respects needs."""

import itertools
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.places import project_root
from rsprune_lib.sweeps.sweep_file import PLACEHOLDER, Job, Sweep, Value

__all__ = ["Cell", "cells_of", "selected"]

MOST = 100_000  # cells of a sweep
NEED = re.compile(r"\{@(\w+)\}")  # in the words of a cell: the folder of a cell that it needs


@dataclass(frozen=True)
class Cell:
    """One process to run.

    Attributes:
        name: e.g. ``"small, criterion=l1, seed=0"``; no two cells of a sweep share it.
        job: of the sweep.
        values: of the axes that it uses, in words.
        steps: commands as words; ``{out}`` is the cell's folder, ``{@dense}`` that of the cell of job ``dense``.
        needs: job -> name of the cell that has to be there before.
        seconds: after which it counts as hung; None for never.
    """

    name: str
    job: str
    values: Mapping[str, str | int | float]
    steps: tuple[tuple[str, ...], ...]
    needs: Mapping[str, str]
    seconds: float | None


def cells_of(sweep: Sweep, profile: str, folder: Path) -> list[Cell]:
    """Returns the cells of a sweep, those that others need first.

    Args:
        sweep: In one profile.
        profile: Its name, for ``{profile}``.
        folder: Of the sweep file; scripts lie there or in the project.

    Raises:
        RspruneError: A job names what is no axis and no job, needs itself, runs what is neither ``rsprune`` nor a
            script of the project, or there are too many cells.
    """
    uses = {name: _axes_of(name, sweep) for name in sweep.jobs}
    total = sum(math.prod(len(sweep.axes[axis]) for axis in axes) for axes in uses.values())
    if total > MOST:
        raise RspruneError(f"The sweep has {total:,} cells, expected at most {MOST:,}; take fewer values.")
    found = []
    for name in _ordered(sweep):
        for chosen in itertools.product(*(sweep.axes[axis] for axis in uses[name])):
            found.append(_cell(name, dict(zip(uses[name], chosen, strict=True)), sweep, uses, profile, folder))
    names = [cell.name for cell in found]
    if len({*names}) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise RspruneError(
            f"Two cells of the sweep are called {double!r}; give the values of its axes names that differ."
        )
    return found


def selected(cells: Sequence[Cell], wanted: Sequence[str]) -> list[Cell]:
    """Returns the cells whose names hold one of the texts, and those that they need; all where nothing is wanted.

    Raises:
        RspruneError: A text is in no name.
    """
    if not wanted:
        return list(cells)
    for text in wanted:
        if not any(text in cell.name for cell in cells):
            raise RspruneError(f"No cell of the sweep has {text!r} in its name; its first one is {cells[0].name!r}.")
    by_name, keep = {cell.name: cell for cell in cells}, set()
    asked = [cell.name for cell in cells if any(text in cell.name for text in wanted)]
    while asked:
        name = asked.pop()
        if name not in keep:
            keep.add(name)
            asked += by_name[name].needs.values()
    return [cell for cell in cells if cell.name in keep]


def _texts(job: Job) -> list[str]:
    return [*job.run, *([job.notebook] if job.notebook else ()), *(str(v) for v in job.parameters.values())]


def _named(name: str, sweep: Sweep) -> list[str]:
    """What the texts of a job name, in order."""
    found = [(n, text) for text in _texts(sweep.jobs[name]) for n, _ in PLACEHOLDER.findall(text)]
    for other, text in found:
        if other not in (*sweep.axes, *sweep.jobs, "out", "profile"):
            raise RspruneError(
                f"The job {name!r} names {{{other}}} in {text[:80]!r}, which is no axis and no job of the sweep; "
                f"known: {', '.join([*sweep.axes, *sweep.jobs, 'out', 'profile'])}."
            )
    return list(dict.fromkeys(other for other, _ in found))


def _axes_of(name: str, sweep: Sweep, above: tuple[str, ...] = ()) -> list[str]:
    """Axes that a job uses, itself or through jobs that it needs, in the order of the sweep."""
    if name in above:
        raise RspruneError(f"The jobs {' -> '.join([*above, name])} need each other in a circle; break it.")
    used = set()
    for other in _named(name, sweep):
        used |= {other} if other in sweep.axes else set()
        used |= set(_axes_of(other, sweep, (*above, name))) if other in sweep.jobs else set()
    return [axis for axis in sweep.axes if axis in used]


def _ordered(sweep: Sweep) -> list[str]:
    done: list[str] = []

    def add(name: str) -> None:
        for other in _named(name, sweep):
            if other in sweep.jobs and other not in done:
                add(other)
        if name not in done:
            done.append(name)

    for name in sweep.jobs:
        add(name)
    return done


def _cell(
    job: str, values: dict[str, Value], sweep: Sweep, uses: Mapping[str, list[str]], profile: str, folder: Path
) -> Cell:
    own = sweep.jobs[job]
    needs = {n: _name(n, {axis: values[axis] for axis in uses[n]}) for n in _named(job, sweep) if n in sweep.jobs}
    fill = values | {"profile": profile}
    lines = own.run or [_notebook(own, fill)]
    steps = tuple(tuple(_command(_words(line, fill, needs), job, folder)) for line in lines)
    return Cell(_name(job, values), job, {a: _label(v) for a, v in values.items()}, steps, needs, own.seconds)


def _notebook(job: Job, fill: Mapping[str, Value]) -> str:
    """A notebook as a command: papermill in a process of its own."""
    words = ["rsprune", "run", job.notebook or "", "--out", "{out}/course"]
    for name, value in job.parameters.items():
        found = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
        value = fill.get(found[1], value) if found else value
        words += ["--data", str(value)] if name == "data_name" else ["--parameter", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def _words(line: str, fill: Mapping[str, Value], needs: Mapping[str, str]) -> list[str]:
    """The words of a command with values in place; a word that is nothing but a list of values becomes several."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise RspruneError(f"The command {line[:80]!r} cannot be read ({error}); correct its quotes.") from None
    made: list[str] = []
    for word in words:
        whole = PLACEHOLDER.fullmatch(word)
        value = _looked_up(whole, fill, line) if whole and whole[1] in fill else None
        if isinstance(value, list):
            made += map(str, value)
        else:
            made.append(PLACEHOLDER.sub(lambda found: _filled(found, fill, needs, line), word))
    return made


def _filled(found: re.Match, fill: Mapping[str, Value], needs: Mapping[str, str], line: str) -> str:
    if found[1] == "out":
        return found[0]
    if found[1] in needs:
        return f"{{@{found[1]}}}"
    value = _looked_up(found, fill, line)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _looked_up(found: re.Match, fill: Mapping[str, Value], line: str) -> Value:
    value = fill[found[1]]
    if isinstance(value, Mapping):
        key = found[2] or "name"
        if key not in value:
            raise RspruneError(f"{found[0]} in {line[:80]!r} has no {key!r} there; known: {', '.join(value)}.")
        return value[key]
    if found[2]:
        raise RspruneError(f"{found[0]} in {line[:80]!r} is one value, {value!r:.40}, without parts; correct it.")
    return value


def _command(words: list[str], job: str, folder: Path) -> list[str]:
    """Checks what runs: ``rsprune ...``, or ``python SCRIPT`` with a script beside the sweep file or in the project."""
    if words[:1] == ["rsprune"] and len(words) > 1:
        return words
    if words[:1] == ["python"] and len(words) > 1 and not words[1].startswith("-"):
        for base in (folder.resolve(), project_root().resolve()):
            script = (base / words[1]).resolve()
            if script.is_file() and script.is_relative_to(base):
                return ["python", str(script), *words[2:]]
        raise RspruneError(
            f"The job {job!r} runs the script {words[1]!r}, which lies neither beside the sweep file nor in the "
            "project; give its path from there."
        )
    raise RspruneError(
        f"The job {job!r} runs {shlex.join(words)[:80]!r}; expected a command that begins with "
        "rsprune, or python with a script."
    )


def _label(value: Value) -> str | int | float:
    if isinstance(value, Mapping):
        return str(value.get("name") or ", ".join(f"{k}={v}" for k, v in value.items()))
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else value


def _name(job: str, values: Mapping[str, Value]) -> str:
    """The job with all its values, so that a cell keeps its name when an axis gets more of them."""
    return ", ".join([job, *(f"{axis}={_label(value)}" for axis, value in values.items())])
