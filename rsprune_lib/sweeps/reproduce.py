"""Drives a sweep: what is finished is kept, the rest runs, and a summary says what failed and how to run it again.

The folder of a sweep holds ``sweep.json`` (what was asked for), ``summary.json`` and ``summary.md``, ``cells/`` and the
other folders of `attempts`. Two drivers never work in one folder; workers of a driver that was killed may still
finish cells.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic, write_json
from rsprune_lib.places import project_root
from rsprune_lib.run_folder import RunFolder
from rsprune_lib.run_mark import kind_of
from rsprune_lib.sweeps.attempts import whole_result
from rsprune_lib.sweeps.cell import Outcome
from rsprune_lib.sweeps.engines import INSTALL, has_dask, on_cluster, one_by_one, workers_here
from rsprune_lib.sweeps.grid import cells_of, selected
from rsprune_lib.sweeps.keys import Order, orders_of
from rsprune_lib.sweeps.summary import Progress, summary_text
from rsprune_lib.sweeps.sweep_file import Sweep, read_sweep

__all__ = ["Prepared", "SweepRun", "prepare", "reproduce", "sweep_folder"]

SCHEMA = 1
FILES = ("sweep.json", "summary.json", "summary.md")
_EVERY = 5.0  # seconds between two summaries on disk


@dataclass(frozen=True)
class Prepared:
    """A sweep that is ready to run: the file, its profile, and what to run where."""

    path: Path
    profile: str
    sweep: Sweep
    run: RunFolder
    orders: Sequence[Order]
    only: tuple[str, ...] = ()
    told: str = ""  # the command, for the record


@dataclass(frozen=True)
class SweepRun:
    """What became of a sweep: its folder, its cells and its summary."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    summary: dict

    @property
    def ok(self) -> bool:
        """Whether every cell is finished."""
        return all(outcome.ok for outcome in self.outcomes)


def sweep_folder(path: Path, profile: str) -> Path:
    """Returns where a sweep is kept by default; the same command goes on there."""
    return project_root() / "runs" / "sweeps" / f"{path.stem}_{profile}"


def prepare(
    path: str | Path, *, profile: str, out: str | Path | None = None, only: Sequence[str] = (), retries: int = 1,
    told: str = "",
) -> Prepared:  # fmt: skip
    """Reads a sweep, makes its cells and their keys, and checks its folder; nothing is written.

    Args:
        path: The sweep file.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``.
        out: Folder of the sweep; an earlier run of it in there is gone on with.
        only: Texts; cells whose names hold one of them run, with those that they need.
        retries: How often a cell that failed runs again.
        told: The command, for the record.

    Raises:
        RspruneError: The file, a cell or the folder is not fit.
    """
    path = Path(path).expanduser().absolute()
    sweep = read_sweep(path, profile)
    cells = selected(cells_of(sweep, profile, path.parent), only)
    out = Path(out) if out else sweep_folder(path, profile)
    run = RunFolder(out, "sweep", resume=kind_of(out) == "sweep")
    orders = orders_of(
        cells, run.out, profile=profile, threads=sweep.threads, tries=retries + 1, cwd=Path.cwd()
    )  # fmt: skip
    return Prepared(path, profile, sweep, run, orders, tuple(only), told)


def reproduce(
    prepared: Prepared, *, scheduler: str | None = None, workers: int | None = None,
    tell: Callable[[str], None] = lambda line: None, show: Callable[[Progress], None] = lambda progress: None,
) -> SweepRun:  # fmt: skip
    """Runs what is not finished of a sweep.

    Args:
        prepared: From `prepare`.
        scheduler: Address of a Dask cluster; by default one inside this process.
        workers: Cells side by side on this machine; by default as many as cores and memory allow.
        tell: Called with one line for each cell that ends, and with notes.
        show: Called with the state of the sweep whenever it changes.

    Returns:
        The run; look at ``.ok``.

    Raises:
        RspruneError: Another driver is at work in the folder, or its disk is full.
    """
    with prepared.run.open(FILES) as root:
        started, head = time.perf_counter(), _head(prepared)
        write_json(root / "sweep.json", head)
        progress, written = Progress([(order.cell.name, order.cell.job) for order in prepared.orders]), 0.0
        todo = list(_unfinished(prepared.orders, root, progress, tell))
        show(progress)
        for outcome in _engine(todo, prepared.sweep, scheduler, workers, tell):
            progress.add(outcome)
            tell(progress.line(outcome))
            show(progress)
            if time.perf_counter() - written > _EVERY:
                written = time.perf_counter()
                _write(prepared, root, head, progress, written - started)
        summary = _write(prepared, root, head, progress, time.perf_counter() - started)
    return SweepRun(prepared.run.out, tuple(progress.outcomes.values()), summary)


def _unfinished(
    orders: Sequence[Order], root: Path, progress: Progress, tell: Callable[[str], None]
) -> Iterator[Order]:
    """The cells that have no whole result yet."""
    for order in orders:
        done, note = whole_result(root, order.folder)
        if note:
            tell(f"{order.cell.name}: {note}")
        if done is None:
            yield order
        else:
            progress.add(Outcome(order.cell.name, "kept", done["seconds"], done["tries"]))


def _engine(
    todo: list[Order], sweep: Sweep, scheduler: str | None, workers: int | None, tell: Callable[[str], None]
) -> Iterator[Outcome]:
    """The way that cells run: on a cluster, or one by one where there is no Dask or nothing to share."""
    if not todo:
        return iter(())
    if scheduler and not has_dask():
        raise RspruneError(f"--scheduler needs dask.distributed, which is not installed; get it with: {INSTALL}")
    workers = workers or workers_here(sweep.threads, sweep.memory_gb)
    if not has_dask() and workers > 1:
        tell(f"Cells run one after the other; side by side they run once dask.distributed is here: {INSTALL}")
    if not has_dask() or not (scheduler or workers > 1):
        return one_by_one(todo)
    return on_cluster(todo, workers=workers, scheduler=scheduler)


def _head(prepared: Prepared) -> dict:
    sweep = prepared.sweep
    return {
        "schema": SCHEMA, "title": sweep.title, "about": sweep.about, "file": prepared.path.name,
        "profile": prepared.profile, "axes": sweep.axes, "published": sweep.published, "only": list(prepared.only),
        "command": prepared.told, "code": prepared.orders[0].code, "cells": [order.folder for order in prepared.orders],
    }  # fmt: skip


def _write(prepared: Prepared, root: Path, head: dict, progress: Progress, seconds: float) -> dict:
    """Writes the summary as it is now."""
    again = f"rsprune reproduce {prepared.path} --profile {prepared.profile} --out {prepared.run.out}"
    summary = {key: head[key] for key in ("schema", "title", "file", "profile", "code", "command")}
    summary |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": round(seconds, 1), "again": again}
    summary |= progress.summary(again)
    write_json(root / "summary.json", summary)
    with atomic(root / "summary.md") as temporary:
        temporary.write_text(summary_text(summary), encoding="utf-8")
    return summary
