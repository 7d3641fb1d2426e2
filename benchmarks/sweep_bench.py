"""What a sweep costs beside its cells: thousands of empty cells, in which no process is started, and some real ones.

    python benchmarks/sweep_bench.py --cells 1000 10000 --workers 1 2

Measured: making cells and keys, running them one by one and on the embedded Dask cluster, going on with a finished
sweep, files and bytes, memory; and what the start of a process adds. ``results/sweep_scale.json`` keeps it.
"""

import argparse
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psutil
from rows import RESULTS

from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import provenance
from rsprune_lib.sweeps import cell as cell_module
from rsprune_lib.sweeps import reproduce
from rsprune_lib.sweeps.processes import Ended
from rsprune_lib.sweeps.store import Store


def timed(run: Callable[[], object]) -> tuple[float, float, object]:
    """Wall and processor seconds of a call (of this process and its threads), and what it returns."""
    wall, used = time.perf_counter(), time.process_time()
    found = run()
    return time.perf_counter() - wall, time.process_time() - used, found


def sweep(place: Path, cells: int) -> Path:
    """A sweep file of so many cells whose script does nothing."""
    (place / "nothing.py").write_text("pass\n")
    values = list(range(cells))
    (place / "empty.yaml").write_text(
        f"title: Empty cells\naxes: {{n: {values}}}\njobs: {{a: {{run: 'python nothing.py {{n}}'}}}}\n"
    )
    return place / "empty.yaml"


def empty(words: list, folder: Path, number: int, *_: object) -> Ended:
    """In place of a process: what it would have printed."""
    (folder / f"step{number}.out").write_text('{"name": "x", "accuracy": 0.5, "provenance": {"seed": 0}}\n')
    return Ended(True)


def one(place: Path, cells: int, workers: int) -> dict:
    """All numbers of one way to run empty cells."""
    path, out = sweep(place, cells), place / f"out{workers}"
    prepared = timed(lambda: reproduce.prepare(path, profile="full", out=out))
    with mock.patch.object(cell_module, "run_process", empty):
        ran = timed(lambda: reproduce.reproduce(prepared[2], workers=workers))
    assert ran[2].ok
    again = timed(lambda: reproduce.reproduce(reproduce.prepare(path, profile="full", out=out), workers=workers))
    read = timed(lambda: Store().collect([out]))
    sizes = [file.stat().st_size for file in out.rglob("*") if file.is_file()]
    shutil.rmtree(out)
    return {
        "name": f"{cells:,} empty cells, {workers} side by side",
        "cells": cells, "workers": workers, "prepare_s": prepared[0], "run_s": ran[0], "run_cpu_s": ran[1],
        "ms_a_cell": 1000 * ran[0] / cells, "cpu_ms_a_cell": 1000 * ran[1] / cells, "again_s": again[0],
        "store_s": read[0], "files_a_cell": len(sizes) / cells, "bytes_a_cell": sum(sizes) / cells,
        "peak_mb": psutil.Process().memory_info().rss / 1e6, "load": os.getloadavg(),
    }  # fmt: skip


def processes(place: Path, cells: int) -> dict:
    """What the start of a process adds: an empty script, and an ``rsprune`` command that loads PyTorch."""
    path = sweep(place, cells)
    plan = reproduce.prepare(path, profile="full", out=place / "processes")
    script = timed(lambda: reproduce.reproduce(plan, workers=1))[0] / cells
    (place / "real.yaml").write_text(
        "title: T\naxes: {n: [1, 2, 3]}\njobs: {a: {run: 'rsprune cost resnet20 --classes {n}'}}"
    )
    real = reproduce.prepare(place / "real.yaml", profile="full", out=place / "real")
    command = timed(lambda: reproduce.reproduce(real, workers=1))[0] / 3
    return {"script_s": script, "rsprune_s": command, "load": os.getloadavg()}


def page(table: dict) -> str:
    """Markdown: one line for each size, then what a process adds."""
    times = "keys, wall, processor, going on, reading rows"
    heads = ["cells", "side by side", *(f"{name}, ms a cell" for name in times.split(", "))]
    heads += ["files a cell", "bytes a cell", "driver's memory, MB", "load"]
    lines = ["# What a sweep costs beside its cells", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in table["rows"]:
        times = [1000 * row[key] / row["cells"] for key in ("prepare_s", "run_s", "run_cpu_s", "again_s", "store_s")]
        numbers = [f"{time:.2f}" for time in times]
        numbers += [f"{row[key]:.0f}" for key in ("files_a_cell", "bytes_a_cell", "peak_mb")]
        lines.append(f"| {row['cells']:,} | {row['workers']} | {' | '.join(numbers)} | {row['load'][0]:.1f} |")
    text = (
        "Empty cells: no process is started; one side by side runs without Dask. Wall times grow with the load, which "
    )
    lines += ["", text + "other programs caused; processor times are of the driver's process."]
    if started := table["processes"]:
        lines.append(
            f"The start of a process adds {started['script_s']:.2f} s for an empty Python script and "
            f"{started['rsprune_s']:.1f} s for `rsprune cost` (wall, at load {started['load'][0]:.1f})."
        )
    origins = [row["provenance"] for row in table["rows"]]
    commits = sorted({(origin["git"] or {}).get("commit", "none")[:9] for origin in origins})
    lines.append(f"{origins[0]['device']}, {origins[0]['date'][:10]}, commit {', '.join(commits)}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, and keeps each number as soon as it is there; an earlier table keeps its other sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    store = RESULTS / "sweep_scale.json"
    table = read_json(store, "a table") if store.exists() else {"rows": [], "processes": None}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for cells, workers in itertools.product(args.cells, args.workers):
            row = one(Path(folder), cells, workers) | {"provenance": provenance(None, seed=None)}
            print(row, flush=True)
            others = [old for old in table["rows"] if (old["cells"], old["workers"]) != (cells, workers)]
            table["rows"] = sorted([*others, row], key=lambda r: (r["cells"], r["workers"]))
            write_json(store, table)
        table["processes"] = processes(Path(folder), 20)
    write_json(store, table)
    store.with_suffix(".md").write_text(page(table), encoding="utf-8")


if __name__ == "__main__":
    main()
