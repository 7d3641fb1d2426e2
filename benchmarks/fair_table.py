"""The fair table: every criterion, scope and fine-tuning loss at equal MACs, on the same networks and splits.

One row a cell and seed, appended to ``results/NAME.json`` as soon as it is measured, so a stopped run goes on where
it was. ``results/NAME.md`` shows means and deviations over the seeds. Nothing is chosen on the test part: fine-tuning
keeps the epoch that is best on validation, and the test part is looked at once a cell.

Seeds or scopes can be measured side by side, each under a name of its own, and joined afterwards.

Example:
    python benchmarks/fair_table.py runs/dense_s0 runs/dense_s1 runs/dense_s2 --data eurosat --epochs 6
    python benchmarks/fair_table.py --join results/fair_s0.json results/fair_s1.json
"""

import argparse
import copy
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from fair_summary import page
from rows import RESULTS

from rsprune_lib.bundle import load_bundle
from rsprune_lib.data import Batches, Dataset, load_data
from rsprune_lib.device import pick_device
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import cost, evaluate, measure
from rsprune_lib.pruning import CRITERIA, fold, gate_statistics, prune, reestimate_bn, sequential
from rsprune_lib.pruning.criteria.registry import scale_of
from rsprune_lib.training import LOSSES, fit, recipe

SCOPES = {"local": ("local", None), "global": ("global", None), "global, by layer mean": ("global", "mean")}
CELL = ("criterion", "scope", "loss", "stage")  # what rows of one cell share; they differ in the seed
KEY = ("seed", *CELL, "budget", "epochs")  # what no two rows share


class Table:
    """Rows on disk, found by their key."""

    def __init__(self, path: Path, key: tuple[str, ...] = KEY) -> None:
        self.path, self.key = path, key
        self.rows = read_json(path, "a table of results")["rows"] if path.exists() else []

    def __contains__(self, key: dict) -> bool:
        return any(all(row.get(k) == v for k, v in key.items()) for row in self.rows)

    def join(self, other: Path) -> None:
        """Takes the rows of another table whose cells this one does not have yet."""
        for row in read_json(other, "a table of results")["rows"]:
            if {name: row[name] for name in self.key if name in row} not in self:
                self.rows.append(row)
        self.rows.sort(key=lambda row: row["seed"])
        write_json(self.path, {"rows": self.rows})

    def add(self, key: dict, numbers: dict) -> None:
        """Appends a row and saves the table."""
        self.rows.append(key | numbers)
        write_json(self.path, {"rows": self.rows})
        print({**key, "test": round(numbers["accuracy"], 4), "val": numbers.get("val_accuracy")}, flush=True)


def measured(model: object, data: Dataset, seed: int, name: str) -> dict:
    """Everything about one network: cost, latency, test quality, validation accuracy, provenance."""
    device = pick_device()
    model = model.to(device)
    row = measure(name, model, Batches(data, "test", 256, device=device), seed=seed, progress=False).to_dict()
    val = evaluate(model, Batches(data, "val", 256, device=device), progress=False)
    return row | {"val_accuracy": val.accuracy}


def baselines(table: Table, bundle: object, data: Dataset, seed: int, images: int) -> None:
    """Dense, folded, folded with BN re-estimation, folded with closed form: what folding alone costs."""
    gates = bundle.gates
    for stage in ("dense", "folded", "folded + BN", "folded + closed form"):
        key = {"seed": seed, "stage": stage}
        if key in table:
            continue
        model = bundle.model
        calibration = Batches(data, "train", 64, limit=images)
        if stage != "dense":
            gates = gates or gate_statistics(bundle.model, Batches(data, "train", 256), progress=False)
            model = fold(bundle.model, gates)
        if stage == "folded + BN":
            model = reestimate_bn(model, calibration, progress=False)
        if stage == "folded + closed form":
            model = sequential(bundle.model, model, None, calibration, progress=False)
        table.add(key, measured(model, data, seed, stage))


def cells(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Scopes and criteria to measure, each pair once."""
    for scope, criterion in product(arguments.scopes, arguments.criteria):
        if SCOPES[scope][1] != scale_of(criterion):  # that would be its plain global again
            yield scope, criterion


def pruned_rows(table: Table, bundle: object, data: Dataset, seed: int, arguments: argparse.Namespace) -> None:
    """Raw cut, closed form, and the fine-tuned network of every loss, for every scope and criterion."""
    run = recipe(arguments.recipe, epochs=arguments.epochs or None, lr=arguments.lr)
    for name, criterion in cells(arguments):
        choice = {"criterion": criterion, "macs": arguments.macs}
        cell = {"seed": seed, "criterion": criterion, "scope": name, "budget": arguments.macs}
        raw, closed = (cell | {"stage": stage} for stage in ("raw", "closed form"))
        tuned = [
            cell | {"loss": loss, "stage": "fine-tuned", "epochs": run.epochs}
            for loss in (arguments.losses if arguments.epochs else ())
        ]
        if all(key in table for key in (raw, closed, *tuned)):
            continue
        given = {"gates": bundle.gates, "images": arguments.images, "seed": seed, "progress": False}
        scope, normalise = SCOPES[name]
        options = {} if normalise is None else {"normalise": normalise}
        small = prune(bundle.model, data, **choice, scope=scope, choosing=options, **given)
        if raw not in table:
            cut = prune(bundle.model, data, plan=small.plan, recovery="none", **given)
            table.add(raw, measured(cut.model, data, seed, "raw"))
        if closed not in table:
            table.add(closed, measured(small.model, data, seed, "closed form") | {"widths": small.plan.widths})
        for key in tuned:
            if key not in table:
                best = fit(copy.deepcopy(small.model), data, run, loss=key["loss"], seed=seed, progress=False)
                numbers = measured(best.model, data, seed, "fine-tuned")
                table.add(key, numbers | {"recipe": run.to_dict(), "best_epoch": best.best_epoch})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path, help="trained dense bundles, one a seed")
    parser.add_argument("--join", nargs="+", type=Path, default=[], help="tables measured elsewhere, to take rows from")
    parser.add_argument("--data", default="eurosat")
    parser.add_argument("--name", default="fair_table")
    parser.add_argument("--macs", type=float, default=15.11e6, help="MACs that may be left for one image")
    parser.add_argument("--epochs", type=int, default=6, help="of fine-tuning; 0 leaves it out")
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--recipe", default="strong_finetune")
    parser.add_argument("--images", type=int, default=1024, help="training images of scores and closed form")
    parser.add_argument("--criteria", nargs="+", default=list(CRITERIA))
    parser.add_argument("--scopes", nargs="+", choices=list(SCOPES), default=list(SCOPES))
    parser.add_argument("--losses", nargs="+", default=list(LOSSES))
    arguments = parser.parse_args()
    data, table = load_data(arguments.data), Table(RESULTS / f"{arguments.name}.json")
    if not arguments.bundles and not arguments.join:
        parser.error("nothing to measure and nothing to join: name trained bundles, or tables with --join")
    for path in arguments.join:
        table.join(path)
    for folder in arguments.bundles:
        bundle = load_bundle(folder)
        seed = bundle.config["provenance"]["seed"]
        assert cost(bundle.model, data.image_size).macs > arguments.macs
        baselines(table, bundle, data, seed, arguments.images)
        pruned_rows(table, bundle, data, seed, arguments)
    title = f"Pruning at equal MACs ({arguments.macs / 1e6:.2f} M), {data.title}"
    (RESULTS / f"{arguments.name}.md").write_text(page(table.rows, title), encoding="utf-8")
    print(RESULTS / f"{arguments.name}.md")


if __name__ == "__main__":
    main()
