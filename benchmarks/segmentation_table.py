"""Which pruning spares the rare classes: networks with masks, cut at equal MACs, raw, repaired and fine-tuned.

    python benchmarks/segmentation_table.py benchmarks/sweeps/segmentation_camvid.json --jobs 2

For each network and seed of the sweep a dense one is trained, and trained on for as many epochs as its children are
fine-tuned. For each share of the channels that stays and each method: the raw cut, the closed form with places drawn
uniformly and balanced over the classes, and the fine-tuned network. The same share of every layer stays whatever the
method (scope local), so all have the same MACs. A method with ``soft`` starts from the same dense network and prunes it
while it trains for those epochs.

Networks and checkpoints lie in ``runs/segmentation``; rows are kept as soon as a cell is measured, so a run that was
stopped goes on. Epochs are chosen on validation; the test part is looked at once a row. ``--time`` measures times in
turn, and what scores by classes cost; ``--page`` only writes the page.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rows import RESULTS, ROOT, RUNS
from segmentation_page import page
from torch import nn

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.data import Batches, Dataset, load_data, measuring_batch
from rsprune_lib.device import describe_device
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import Speed, evaluate, latencies, measure, provenance
from rsprune_lib.models import create_model
from rsprune_lib.pruning import class_scores, find_groups, prune
from rsprune_lib.training import SoftPruning, fit, recipe


@dataclass(frozen=True)
class Cell:
    """What one process measures: a network of the sweep, a seed, and of a pruned one the method and what stays."""

    network: str
    seed: int
    method: str = "dense"
    keep: float = 1.0


class Case:
    """A sweep with one of its networks: data, settings and folders."""

    def __init__(self, sweep: dict, name: str, seed: int, runs: Path) -> None:
        self.how = {key: value for key, value in sweep.items() if key != "networks"} | sweep["networks"][name]
        self.seed, self.folder = seed, runs / f"{name}_s{seed}".replace(" ", "_").replace("/", "_")
        size = self.how.get("size")
        self.data = load_data(self.how["data"], image_size=tuple(size) if size else None, progress=False)

    def fitted(self, model: nn.Module, kind: str, place: str, **more: object) -> object:
        """Trains a network for the sweep's epochs; a run that was stopped goes on."""
        base = {"": "epochs", "_finetune": "tuning"}[kind]
        how = recipe(f"segmentation{kind}", **{"epochs": self.how[base], **self.how.get(f"recipe{kind}", {})})
        given = {"loss": self.how["loss"], "seed": self.seed, "out": self.folder / place, "resume": True}
        return fit(model, self.data, how, progress=False, **given, **more)

    def dense(self) -> nn.Module:
        """The dense network: of the bundle that the sweep names, else trained, once."""
        if "bundle" in self.how:
            return load_bundle(ROOT / self.how["bundle"]).model
        place = self.folder / "bundle"
        if not (place / "config.json").exists():
            own = {"width": self.how.get("width", 1.0), "seed": self.seed}
            trained = self.fitted(create_model(self.how["model"], self.data.num_classes, **own), "", "dense")
            origin = provenance(self.data.info(), seed=self.seed)
            about = {"data": self.data.info(), "provenance": origin, "measured": {"best_epoch": trained.best_epoch}}
            save_bundle(place, trained.model, **about)
        return load_bundle(place).model

    def row(self, model: nn.Module, name: str, stage: str, cell: Cell, epochs: int) -> dict:
        """All numbers of a network but its times."""
        batch = measuring_batch(self.data)
        numbers = measure(
            name, model, Batches(self.data, "test", batch), seed=self.seed, timed=False, progress=False
        ).to_dict()
        val = evaluate(model, Batches(self.data, "val", batch), progress=False)
        print(f"{name}, {stage}: {numbers['metrics']}", flush=True)
        return asdict(cell) | {"stage": stage, "epochs": epochs, "val": val.metrics} | numbers


def measured(case: Case, cell: Cell) -> list[dict]:
    """The rows of a cell."""
    first, more = case.how["epochs"], case.how.get("tuning", 0)
    title = f"{cell.network}, seed {cell.seed}"
    if cell.method == "dense":
        return [case.row(case.dense(), title, "dense", cell, first)]
    if cell.method == "trained on":
        longer = case.fitted(case.dense(), "_finetune", "longer").model
        return [case.row(longer, f"{title}, trained on", "fine-tuned", cell, first + more)]
    title, dense = f"{title}, {cell.keep:g} by {cell.method}", case.dense()
    place = f"{cell.method}_{cell.keep:g}".replace(" ", "_").replace(",", "")
    method = dict(case.how["methods"][cell.method])
    if soft := method.pop("soft", None):
        fading = SoftPruning(case.data, ratio=1 - cell.keep, images=case.how["images"], **soft, **method)
        trained = case.fitted(dense, "_finetune", place, callbacks=[fading]).model
        return [case.row(fading.small(trained), title, "fine-tuned", cell, first + more)]
    given = {"images": case.how["images"], "seed": cell.seed, "progress": False}
    cut = prune(dense, case.data, ratio=1 - cell.keep, recovery="none", **given, **method)
    rows = [case.row(cut.model, title, "raw", cell, first)]
    for how in ("uniform", "balanced"):
        again = {"plan": cut.plan, "groups": cut.groups, "repairing": {"positions": how}}
        small = prune(dense, case.data, **again, **given).model
        rows.append(case.row(small, title, f"closed form, {how}", cell, first))
    tuned = case.fitted(small, "_finetune", place).model
    return [*rows, case.row(tuned, title, "fine-tuned", cell, first + more)]


def cells(sweep: dict) -> Iterator[Cell]:
    """All cells of a sweep, the dense networks first."""
    for name, own in sweep["networks"].items():
        yield from (Cell(name, seed) for seed in sweep["seeds"])
        kept, methods = own.get("keep", sweep["keep"]), own.get("methods", sweep["methods"])
        for seed in sweep["seeds"] if kept else ():
            yield Cell(name, seed, "trained on")
            yield from (Cell(name, seed, method, keep) for keep in kept for method in methods)


def work(sweep: dict, cell: Cell, runs: Path) -> list[dict]:
    """A cell in a process of its own."""
    torch.set_num_threads(1)
    return measured(Case(sweep, cell.network, cell.seed, runs), cell)


def run(todo: list[Cell], sweep: dict, runs: Path, jobs: int, keep: Callable[[list[dict]], None]) -> None:
    """Measures cells side by side, a network's dense one before its others, and keeps rows as they come."""
    waves = [[c for c in todo if c.method == "dense"], [c for c in todo if c.method != "dense"]]
    for wave in waves:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            for found in as_completed([pool.submit(work, sweep, cell, runs) for cell in wave]):
                keep(found.result())


def times(sweep: dict, name: str, runs: Path) -> dict:
    """Times of a network's sizes in turn, one thread, and what scores by classes cost in epochs of training."""
    case = Case(sweep, name, sweep["seeds"][0], runs)
    dense, kept = case.dense(), case.how.get("keep", [])
    cuts = [prune(dense, case.data, criterion="l1", ratio=1 - k, recovery="none", progress=False).model for k in kept]
    took = latencies([dense, *cuts], case.data.image_size, threads=1, rounds=20)
    rows = {
        f"{share:g}": {"ms": one.median_ms, "iqr_ms": one.iqr_ms, "words": str(Speed.of(took[0], one))}
        for share, one in zip([1, *kept], took, strict=True)
    }
    return {"latency": rows, "scores_in_epochs": scoring(case.data, dense, case.how) if kept else None}


def scoring(data: Dataset, model: nn.Module, how: dict, images: int = 48) -> float:
    """Processor time of scores by classes over some images, in epochs of training on the same (medians of three)."""
    groups, one = find_groups(model, data.image_size), recipe("segmentation", epochs=1, half_size=0.0)
    spent: dict[str, list[float]] = {"epoch": [], "scores": []}
    for _ in range(3):
        start = time.process_time()
        fit(model, data, one, loss=how["loss"], limit=images, val_limit=1, progress=False)
        middle = time.process_time()
        class_scores(model, groups, Batches(data, "train", one.batch_size, limit=images), progress=False)
        spent["epoch"].append(middle - start)
        spent["scores"].append(time.process_time() - middle)
    return statistics.median(spent["scores"]) / statistics.median(spent["epoch"])


def main() -> None:
    """Measures what is missing of the sweep and writes rows and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="cells that are measured side by side, one thread each")
    parser.add_argument("--network", nargs="+", help="only these of the sweep")
    parser.add_argument("--method", nargs="+", help="only these of the sweep; 'dense' and 'trained on' are such, too")
    parser.add_argument("--keep", nargs="+", type=float, help="only these shares of the channels that stay")
    parser.add_argument("--time", action="store_true", help="measure times, too")
    parser.add_argument("--page", action="store_true", help="only write the page")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sweep, runs = read_json(args.sweep, "a sweep"), RUNS / "segmentation" / args.sweep.stem
    store = RESULTS / f"{args.sweep.stem}.json"
    table = read_json(store, "a table") if store.exists() else {"sweep": args.sweep.name, "times": {}, "rows": []}
    order = list(cells(sweep))
    places = {tuple(asdict(cell).values()): number for number, cell in enumerate(order)}

    def place(row: dict) -> tuple:
        return tuple(row[key] for key in ("network", "seed", "method", "keep"))

    def keep(rows: list[dict]) -> None:
        table.update(read_json(store, "a table") if store.exists() else {})  # another process may have written
        table["rows"] = sorted([*table["rows"], *rows], key=lambda row: places.get(place(row), len(places)))
        write_json(store, table)

    there = {place(row) for row in table["rows"]}
    wanted = [c for c in order if not args.network or c.network in args.network]
    wanted = [c for c in wanted if not args.method or c.method in args.method]
    wanted = [c for c in wanted if not args.keep or c.keep in (1, *args.keep)]
    if not args.page:
        run([c for c in wanted if tuple(asdict(c).values()) not in there], sweep, runs, args.jobs, keep)
    for name in dict.fromkeys(c.network for c in wanted) if args.time else ():
        took = times(sweep, name, runs) | {"device": describe_device(torch.device("cpu"))}
        keep([])
        table["times"][name] = took
        write_json(store, table)
    if table["rows"]:
        store.with_suffix(".md").write_text(page(sweep, table), encoding="utf-8")


if __name__ == "__main__":
    main()
