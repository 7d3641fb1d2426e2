"""``rsprune bench``: networks in every runtime of this machine, timed in turn and judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsprune_lib.commands.common import Bands, Data, Force, Json, data_paths, emit, open_run, say
from rsprune_lib.errors import ModelError, RspruneError, unknown
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.bundle import Bundle
    from rsprune_lib.course import Table
    from rsprune_lib.data import Dataset
    from rsprune_lib.deploy import BenchRow, Candidate

__all__ = ["bench"]

FILES = ("bench.json", "bench.md", "bench.png")
USUAL = (1, 32)  # images a batch; those that there are images for
Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Bundles; the first one is the baseline.")]
Runtimes = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        help="{runtimes}; may be given several times, the first is the baseline. By default all that run here, but "
        "torch.compile, which takes a minute a network.",
    ),
]
BatchSizes = Annotated[
    list[int] | None, typer.Option("--batch", min=1, help="Images a timed batch; 1 and, if there are so many, 32.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=256, help="CPU threads inside an operation.")]
Timed = Annotated[int, typer.Option("--images", min=1, help="Images to time on.")]
Limit = Annotated[
    int, typer.Option("--limit", min=0, help="Images to judge on, class-balanced; 0 leaves accuracy out.")
]
Folder = Annotated[
    Path | None, typer.Option("--out", help=f"Folder to write {', '.join(FILES)}; new or empty.", show_default=False)
]


def bench(
    folders: Folders, runtime: Runtimes = None, batch: BatchSizes = None, threads: Threads = 1, images: Timed = 320,
    limit: Limit = 2000, split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    out: Folder = None, data: Data = None, bands: Bands = None, force: Force = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Time bundles in PyTorch, ONNX Runtime and OpenVINO, in turn on the same real images, and judge their answers."""
    from rsprune_lib.course.bench_rows import bench_note, bench_table
    from rsprune_lib.data import Batches, measuring_batch
    from rsprune_lib.data.split import PARTS
    from rsprune_lib.deploy import fastest, in_turn, timing_images, usable

    if split not in PARTS:
        raise unknown("part", split, PARTS)
    names, missing = usable(runtime)
    if not runtime:
        names = [name for name in names if name != "compile"]
    for name, why in missing.items():
        say(f"Not measured, {name}: {why}")
    run = RunFolder(out, "bench", force=force, inputs=[*folders, *data_paths(data)]) if out else None
    opened = _opened(folders, data, bands)
    loaded = opened[0][1]
    part = Batches(loaded, split, measuring_batch(loaded))
    sizes = _sizes(batch, min(images, part.size))
    candidates = [_candidate(bundle, each, names) for bundle, each in opened]
    judged = Batches(loaded, split, measuring_batch(loaded), limit=limit) if limit else None
    rows = in_turn(candidates, names, timing_images(part, images), judged, batches=sizes, threads=threads)
    result = _result(rows, loaded, {"split": split, "threads": threads, "images": images, "missing": missing})
    table, winners = bench_table(result["rows"], bench_note(result)), [fastest(rows, size) for size in sizes]
    lines = [str(table), *winners]
    if run is not None:
        with run.open(FILES, needed=1_000_000, resumable=False) as place:
            _write(place, result, table, winners)
        lines.append(f"Written to {run.out}")
    emit(result | {"fastest": winners}, as_json, "\n".join(lines))


def _opened(folders: list[Path], data: str | None, bands: str | None) -> list[tuple[Bundle, Dataset]]:
    """Bundles with their data, which must be the same for all."""
    opened = [open_run(folder, data, bands) for folder in folders]
    names = [bundle.path.resolve().name for bundle, _ in opened]
    if doubles := {name for name in names if names.count(name) > 1}:
        raise RspruneError(
            f"Two bundles are called {doubles.pop()}; rename a folder, so that their rows can be told apart."
        )
    first = opened[0][1]
    for bundle, loaded in opened:
        if (loaded.content_hash, loaded.image_size) != (first.content_hash, first.image_size):
            raise RspruneError(
                f"{bundle.path} is for {loaded.title}, {folders[0]} for {first.title}; bench networks of the same "
                "images together, or give --data."
            )
    return opened


def _sizes(asked: list[int] | None, images: int) -> list[int]:
    """Batch sizes, for which there must be images enough."""
    if asked and max(asked) > images:
        raise RspruneError(
            f"Got batches of {max(asked)} and {images} images to time on; give smaller batches, or more --images."
        )
    return sorted(set(asked or [size for size in USUAL if size <= images]))


def _candidate(bundle: Bundle, data: Dataset, names: list[str]) -> Candidate:
    """A network with the exported files that the runtimes load."""
    from rsprune_lib.deploy import RUNTIMES, Candidate, Facts, kept_onnx
    from rsprune_lib.measure import EarlyExit

    files = {RUNTIMES[name].file for name in names} - {"bundle"}
    say(f"Exporting {bundle.path} where that was not done before; this takes some seconds.") if files else None
    made = {}
    for file in sorted(files, reverse=True):  # onnx, then int8
        try:
            made[file] = kept_onnx(bundle, data, int8=file == "int8")
        except ModelError as error:  # int8 that costs a class too much, an operation without a counterpart
            say(f"Not measured, {file} of {bundle.path}: {error}")
    model = bundle.model if bundle.rule is None else EarlyExit(bundle.model, bundle.rule)
    return Candidate(bundle.path.resolve().name, model, Facts.of(bundle), bundle.path, **made)


def _result(rows: list[BenchRow], data: Dataset, how: dict[str, Any]) -> dict[str, Any]:
    from rsprune_lib.measure import provenance

    origin = provenance(data.info(), seed=None) | {"threads": how["threads"]}
    return {
        "data": data.title,
        "synthetic": data.synthetic,
        **how,
        "rows": [r.to_dict() for r in rows],
        "provenance": origin,
    }


def _write(place: Path, result: dict[str, Any], table: Table, winners: list[str]) -> None:
    from rsprune_lib.files import write_json
    from rsprune_lib.plots import deployed_front, png

    write_json(place / FILES[0], result)
    lines = ["# Networks in every runtime", "", table.markdown(), "", *(f"* {line}" for line in winners)]
    (place / FILES[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if result["rows"][0].get("n"):  # without an accuracy there is nothing to draw it against
        figure = deployed_front(
            result["rows"], title=f"{result['data']}: accuracy, time and size", synthetic=result["synthetic"]
        )
        (place / FILES[2]).write_bytes(png(figure))
