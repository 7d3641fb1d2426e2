"""Networks at work: accuracy against measured time and size, in every runtime, with int8 and with early exits.

    python benchmarks/deploy_table.py            # results/deploy_eurosat.{json,md,png}
    python benchmarks/deploy_table.py --widths   # results/deploy_widths.{json,md}: channels in multiples of 1, 8, 16

The first takes every bundle of the data set, and the dense one once more with three exits (heads fitted on training
images, one threshold that loses nothing on validation images). All rows are timed in turn on the same test images, one
thread, and judged on the same test images, as their runtime answers. The test part chooses nothing. ``--page`` only
writes page and figure anew.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rsprune_lib.bundle import Bundle, load_bundle
from rsprune_lib.course.bench_rows import bench_note, bench_table
from rsprune_lib.data import Batches, Dataset, load_data, measuring_batch
from rsprune_lib.deploy import (
    Candidate,
    Deployed,
    Facts,
    export_int8,
    export_onnx,
    fastest,
    in_turn,
    kept_onnx,
    pixels,
    timing_images,
    traced,
    usable,
)  # fmt: skip
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import EarlyExit, cost, exit_costs, predict, provenance, sweep, tuned_to
from rsprune_lib.models import add_exits
from rsprune_lib.plots import deployed_front, png
from rsprune_lib.pruning import prune
from rsprune_lib.training import fit_heads

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("layer1", "layer2", "layer3")
TIMED = 320  # images


def bundles(name: str) -> list[Bundle]:
    """All committed bundles of a data set, the dense one first."""
    found = [load_bundle(path.parent) for path in sorted((ROOT / "bundles").glob(f"{name}_*/config.json"))]
    return sorted(found, key=lambda bundle: bundle.plan is not None)


def plain(bundle: Bundle, data: Dataset) -> Candidate:
    """A bundle with its exported files."""
    files = {"onnx": kept_onnx(bundle, data), "int8": kept_onnx(bundle, data, int8=True)}
    return Candidate(bundle.path.name, bundle.model, Facts.of(bundle), bundle.path, **files)


def leaving(bundle: Bundle, data: Dataset, folder: Path) -> Candidate:
    """A bundle with exits whose threshold loses nothing on validation images, as one file."""
    train = Batches(data, "train", 256, limit=4000, seed=0)
    model = fit_heads(add_exits(bundle.model, PLACES, norm=False), train, progress=False).eval()
    records, labels = predict(model, Batches(data, "val", 256), progress=False)
    whole = (records[:, -1].argmax(1) == labels).double().mean().item()
    rule = tuned_to(sweep(records, labels, exit_costs(model, data.image_size)), accuracy=whole).rule
    name = f"{bundle.path.name}, {len(PLACES)} exits"
    facts = replace(Facts.of(bundle), rule=rule.to_dict(), task="exits", bundle=name)
    graphs = traced(Deployed(model, facts), facts)
    onnx, int8 = folder / "exits.onnx", folder / "exits_int8.onnx"
    export_onnx(model, facts, onnx, pixels(data, "val", 64), graphs=graphs)
    export_int8(graphs, facts, int8, data)
    return Candidate(name, EarlyExit(model, rule), facts, bundle.path, onnx, int8)


def measure_all(data: Dataset, args: argparse.Namespace) -> dict[str, Any]:
    """All rows, and where they come from; files are made, and int8 calibrated, at the data set's own size."""
    found, own = bundles(data.name), load_data(args.data) if args.size else data
    names, missing = usable()
    names = [name for name in args.runtimes or names if name != "compile"]
    test = Batches(data, "test", measuring_batch(data), limit=args.judged)
    with tempfile.TemporaryDirectory() as folder:
        candidates = [plain(bundle, own) for bundle in found]
        candidates += [leaving(found[0], data, Path(folder))] if data.masks is None else []
        timed = timing_images(Batches(data, "test"), args.timed)
        rows = in_turn(candidates, names, timed, test, batches=args.batches, progress=False)
    weights = {one.name: cost(one.model, data.image_size).params for one in candidates}
    return result(data, missing, [row.to_dict() | {"params": weights[row.network]} for row in rows]) | {
        "fastest": [fastest(rows, batch) for batch in args.batches]
    }


def result(data: Dataset, missing: dict[str, str], rows: list[dict]) -> dict[str, Any]:
    """What `bench_note` reads, and the rows."""
    origin = provenance(data.info(), seed=0) | {"threads": 1}
    head = {"data": data.title, "synthetic": data.synthetic, "split": "test", "threads": 1, "missing": missing}
    return head | {"provenance": origin, "rows": [row | {"part": "test", "provenance": origin} for row in rows]}


def measure_widths(data: Dataset, judged: int | None, multiples: Sequence[int] = (1, 8, 16)) -> dict[str, Any]:
    """The dense network, pruned by 70 % with channels in multiples of several numbers; closed form, not tuned."""
    dense = bundles(data.name)[0]
    test = Batches(data, "test", measuring_batch(data), limit=judged)
    candidates, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for multiple in multiples:
            choosing = {"multiple_of": multiple}
            small = prune(
                dense.model, data, criterion="l2", ratio=0.7, choosing=choosing, gates=dense.gates, progress=False
            )
            candidates.append(exported(f"multiples of {multiple}", small.model, dense, data, Path(folder)))
        for row in in_turn(candidates, ["onnx"], timing_images(Batches(data, "test"), TIMED), test, progress=False):
            took, multiple = row.times[1], multiples[len(rows)]
            size = cost(candidates[len(rows)].model, data.image_size)
            words = "–" if not rows else took.words
            more = {"multiple_of": multiple, "params": size.params, "macs": size.macs, "words": words}
            rows.append(row.to_dict() | more | {"ms": took.own_ms if took.busy else took.ms})
    table = result(data, {}, rows)
    note = f"ratio 0.7, l2, closed form, ONNX Runtime float32, batch 1; {bench_note(table)}"
    return table | {"rows": [row | {"note": note} for row in table["rows"]]}


def exported(name: str, model: nn.Module, bundle: Bundle, data: Dataset, folder: Path) -> Candidate:
    """A network with its file."""
    facts = replace(Facts.of(bundle), bundle=name, plan=None)
    made = export_onnx(model, facts, folder / f"{name}.onnx", pixels(data, "val", 64))
    return Candidate(name, model, facts, bundle.path, made.path)


def page(table: dict[str, Any]) -> str:
    """Markdown."""
    sides = table["provenance"]["data"]["image_size"]
    height, width = sides if isinstance(sides, list) else (sides, sides)
    title = f"# Networks at work: {table['data']}, {height} x {width} pixels"
    lines = [title, "", bench_table(table["rows"], bench_note(table)).markdown(), ""]
    lines += [f"* {line}" for line in table.get("fastest", [])]
    lines += [f"* Not measured, {name}: {why}" for name, why in table["missing"].items()]
    commit = (table["provenance"]["git"] or {}).get("commit", "none")[:9]
    command = table.get("command", "python benchmarks/deploy_table.py")
    return "\n".join([*lines, "", f"`{command}`, commit {commit}.", ""])


def widths_page(table: dict[str, Any]) -> str:
    """Markdown."""
    head = [
        "# Channels in multiples of 1, 8 and 16",
        "",
        "| multiple of | parameters | MACs | accuracy | ms | against 1 |",
    ]
    lines = [
        f"| {row['multiple_of']} | {row['params']:,} | {row['macs'] / 1e6:.1f} M | {row['score']:.2%} "
        f"| {row['ms']:.3f} | {row['words']} |"
        for row in table["rows"]
    ]
    return "\n".join([*head, "|---|---|---|---|---|---|", *lines, "", table["rows"][0]["note"], ""])


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="eurosat")
    parser.add_argument("--widths", action="store_true", help="channels in multiples of 1, 8 and 16")
    parser.add_argument("--judged", type=int, help="test images to judge on, class-balanced; all by default")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="in place of the data set's own")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="images a timed batch")
    parser.add_argument("--timed", type=int, default=TIMED, help="images to time on")
    parser.add_argument("--runtimes", nargs="+", help="only these, in place of all that run here")
    parser.add_argument("--page", action="store_true", help="only write page and figure")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    args = parser.parse_args()
    torch.manual_seed(0)
    store = args.out / f"deploy_{'widths' if args.widths else args.data}.json"
    if not args.page:
        data = load_data(args.data, image_size=tuple(args.size) if args.size else None)
        measured = measure_widths(data, args.judged) if args.widths else measure_all(data, args)
        write_json(store, measured | {"command": " ".join(["python", "benchmarks/deploy_table.py", *sys.argv[1:]])})
    table = read_json(store, "a table")
    store.with_suffix(".md").write_text((widths_page if args.widths else page)(table), encoding="utf-8")
    if not args.widths:
        figure = deployed_front(table["rows"], title=f"{table['data']}: accuracy, time and size")
        store.with_suffix(".png").write_bytes(png(figure))


if __name__ == "__main__":
    main()
