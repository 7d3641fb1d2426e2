"""``rsprune reproduce``: a sweep file run to its end, here or on a cluster."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import Json, emit, say

if TYPE_CHECKING:
    from rsprune_lib.sweeps.summary import Progress

__all__ = ["reproduce"]


def reproduce(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")],
    profile: Annotated[
        str | None, typer.Option("--profile", help="smoke, quick or full; by default RSPRUNE_PROFILE, else quick.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder; by default runs/sweeps/NAME_PROFILE. What is finished is kept."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster that sees the same folders.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=1024, help="Cells side by side; by cores and memory without.")
    ] = None,
    retries: Annotated[
        int, typer.Option("--retries", min=0, max=100, help="How often a cell that failed runs again.")
    ] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="TEXT", help="Cells with this in their names, and those that they need."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a sweep: a grid of commands or notebooks, each cell a process of its own. The same command goes on with it.

    Exit status 1 if a cell failed; the summary names it and the command that runs it again.
    """
    import os

    from rsprune_lib.sweeps import reproduce as driver
    from rsprune_lib.sweeps.summary import summary_text

    name = profile or os.environ.get("RSPRUNE_PROFILE") or "quick"
    told = " ".join(["rsprune", *sys.argv[1:]])
    plan = driver.prepare(sweep, profile=name, out=out, only=only or (), retries=retries, told=told)
    say(f"{plan.sweep.title}: {len(plan.orders)} cells in {plan.run.out}")
    with _live() as show:
        done = driver.reproduce(plan, scheduler=scheduler, workers=workers, tell=say, show=show)
    emit({"out": str(done.folder), "ok": done.ok, **done.summary}, as_json, summary_text(done.summary))
    if not done.ok:
        raise typer.Exit(1)


@contextlib.contextmanager
def _live() -> "Iterator[Callable[[Progress], None]]":
    """A table that stays at the foot of a terminal while cells end; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from rsprune_lib.sweeps.summary import TITLES

    with Live(console=Console(stderr=True), refresh_per_second=4, redirect_stderr=True) as live:

        def show(progress: "Progress") -> None:
            table = Table("job", *TITLES.values(), box=None)
            for job, counts in progress.table():
                table.add_row(job, *(str(counts[state]) for state in TITLES))
            live.update(table)

        yield show
