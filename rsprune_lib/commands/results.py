"""``rsprune results`` and ``rsprune report``: what was measured, as tables and as one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from rsprune_lib.commands.common import Json, emit, say
from rsprune_lib.words import counted

__all__ = ["report", "results"]

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="CONDITION", help="E.g. data=eurosat, 'params<=1e6', 'name=*attention*'; repeatable."
    ),
]
ForceFile = Annotated[bool, typer.Option("--force", help="Replace a file that is already there.")]
Compare = Annotated[
    tuple[str, str, str] | None,
    typer.Option(
        "--compare", metavar="NAME A B", help="Pair results that differ in this field alone: criterion l1 attention."
    ),
]


def results(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[TABLE|RUN|BUNDLE]...", help="What to read; without, results/, bundles/ and runs/sweeps."
        ),
    ] = None,
    condition: Where = None,
    compare: Compare = None,
    published: Annotated[bool, typer.Option("--published", help="Of others, ours beside them.")] = False,
    leaderboard: Annotated[
        bool, typer.Option("--leaderboard", help="Who leads at equal MACs and at equal latency: --out x.html or x.md.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option("--columns", help="E.g. name,criterion,value; any field of rows.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="table, markdown, csv, json or parquet (with DuckDB).")
    ] = "table",
    out: Annotated[Path | None, typer.Option("--out", help="File to write in place of the screen.")] = None,
    store: Annotated[Path | None, typer.Option("--store", help="sqlite file that keeps what was read.")] = None,
    force: ForceFile = False,
    as_json: Json = False,
) -> None:
    """Show, filter, compare and export measured results, each with its commit and source."""
    from rsprune_lib.errors import RspruneError, unknown
    from rsprune_lib.out_file import writable
    from rsprune_lib.sweeps import published as numbers
    from rsprune_lib.sweeps import queries
    from rsprune_lib.sweeps.leaderboard import write_leaderboard
    from rsprune_lib.sweeps.store import Store

    form = "json" if as_json else form
    if form not in queries.FORMATS:
        raise unknown("format", form, queries.FORMATS)
    if form == "parquet" and out is None:
        raise RspruneError("Parquet is no text; name a file with --out.")
    if leaderboard and out is None:
        raise RspruneError("A leaderboard is a page; name it with --out, such as leaderboard.html.")
    sources = sources or _usual()
    if out is not None:
        writable(out, [*_read(sources), *([store] if store else [])], force=force)
    held = Store(store)
    held.collect(sources)
    rows = queries.where(held.rows(), condition or ())
    if leaderboard:
        say(f"{counted(write_leaderboard(rows, out), 'board')}, written to {out}")
        return
    shown = columns.split(",") if columns else list(queries.SHOWN)
    if published:
        rows = numbers.beside(rows)
        shown = ["table", "name", "data", "metric", "value", "mean", "spread", "difference", "seeds", "commits"]
    elif compare:
        rows, shown = queries.compare(rows, *compare), None
    _put(rows, form, shown, out)
    say(counted(len(rows), "pair" if compare else "result") + (f", written to {out}" if out else ""))
    for row in {row["table"]: row for row in rows}.values() if published else ():
        say(f"{row['table']}: {row['system']}; {row['source']}. Protocol: {row['protocol']} {row['explained']}")


def _read(sources: Sequence[Path]) -> list[Path]:
    """The tables, runs and bundles that are read."""
    from rsprune_lib.places import absolute
    from rsprune_lib.sweeps.store import sources_below

    return [path for source in sources for path in sources_below(absolute(source))]


def _put(rows: Sequence[Mapping], form: str, columns: Sequence[str] | None, out: Path | None) -> None:
    """Prints rows, or writes them."""
    from rsprune_lib.errors import visible
    from rsprune_lib.files import atomic
    from rsprune_lib.sweeps.queries import rendered, write_parquet

    if form == "parquet" and out is not None:
        write_parquet(rows, out)
        return
    text = rendered(rows, form, columns)
    if out is None:
        print(visible(text))
        return
    with atomic(out) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _usual() -> list[Path]:
    """Tables, bundles and sweeps of the project, as far as they are there."""
    from rsprune_lib.places import bundles_folder, project_root

    root = project_root()
    return [path for path in (root / "results", bundles_folder(), root / "runs" / "sweeps") if path.is_dir()]


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of sweeps and of course runs.")],
    out: Annotated[Path, typer.Option("--out", help="The page.")] = Path("report.html"),
    pdf: Annotated[bool, typer.Option("--pdf", help="Also a PDF beside it, by the Chromium that is there.")] = False,
    force: ForceFile = False,
    as_json: Json = False,
) -> None:
    """Write one HTML page about runs: tables, figures, what failed, where numbers come from. It opens offline."""
    from rsprune_lib.out_file import writable
    from rsprune_lib.sweeps.page import write_page
    from rsprune_lib.sweeps.pdf import find_browser, print_pdf

    writable(out, runs, force=force)
    printed = writable(out.with_suffix(".pdf"), [out, *runs], force=force) if pdf else None
    if pdf:
        find_browser()  # told before the page is made
    facts = write_page(runs, out)
    if printed is not None:
        print_pdf(out, printed)
        facts["pdf"] = str(printed)
    emit({"out": str(out), **facts}, as_json, f"{out}: {counted(facts['cells'], 'cell')}, {facts['failed']} failed")
