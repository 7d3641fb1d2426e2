"""A pruned network taught by the dense one: every run of a sweep is a row with its seed, and the page holds them all.

    python benchmarks/distilled_table.py benchmarks/sweeps/distilled_eurosat.json --seed 0 --run r70_soft

A sweep names a dense bundle and runs: how it is cut (``prune``), how it is taught (``teach``, arguments of
`Distillation`; null trains on the labels alone) and with which recipe. Checkpoints in ``runs/distilled`` let an
interrupted run go on. ``--page`` only writes the page anew.
"""

import argparse
import json
import statistics
from pathlib import Path

from rows import RESULTS, ROOT, RUNS

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.data import Batches, load_data
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import evaluate, measure
from rsprune_lib.pruning import prune
from rsprune_lib.training import Distillation, fit, recipe


def one(sweep: dict, name: str, seed: int) -> dict:
    """Cuts, repairs, trains and measures one network; its weights stay in ``runs/distilled``."""
    run, dense = sweep["runs"][name], load_bundle(ROOT / sweep["dense"])
    data = load_data(sweep["data"])
    cut = prune(dense.model, data, gates=dense.gates, progress=False, **run["prune"])
    how = recipe(run.get("recipe", "strong_finetune"), **run.get("train", {}))
    objective = Distillation([dense.model], **run["teach"]) if run["teach"] else None
    out = RUNS / "distilled" / f"{name}_s{seed}"
    trained = fit(cut.model, data, how, objective=objective, seed=seed, out=out, resume=True, progress=False)
    row = measure(
        f"{name}, seed {seed}", trained.model, Batches(data, "test", 256), seed=seed, progress=False
    ).to_dict()
    val = evaluate(trained.model, Batches(data, "val", 256), progress=False)
    save_bundle(
        out / "bundle", trained.model, plan=cut.plan, data=data.info() | {"source": data.name}, half=True,
        provenance=row["provenance"], measured={"val_accuracy": val.accuracy},
    )  # fmt: skip
    return row | {
        "run": name, "seed": seed, "val_accuracy": val.accuracy, "best_epoch": trained.best_epoch,
        "recipe": how.to_dict(), "teach": run["teach"], "prune": run["prune"],
    }  # fmt: skip


def page(sweep: dict, rows: list[dict]) -> str:
    """Markdown: one line for each run, mean and deviation over its seeds."""
    lines = [f"# {sweep['title']}", "", sweep["text"], ""]
    lines += ["| run | parameters | MACs | test accuracy | validation | seeds |", "|---|---|---|---|---|---|"]
    for name in sweep["runs"]:
        own = sorted((row for row in rows if row["run"] == name), key=lambda row: row["seed"])
        if own:
            test, val = ([100 * row[key] for row in own] for key in ("accuracy", "val_accuracy"))
            spread = f" ± {statistics.stdev(test):.2f}" if len(test) > 1 else ""
            size = f"{own[0]['params']:,} | {own[0]['macs'] / 1e6:.1f} M"
            found = f"{statistics.mean(test):.2f} %{spread} | {statistics.mean(val):.2f} %"
            lines.append(f"| {name} | {size} | {found} | {', '.join(str(row['seed']) for row in own)} |")
    devices = sorted({row["provenance"]["device"] for row in rows})
    commits = sorted({(row["provenance"]["git"] or {}).get("commit", "none")[:9] for row in rows})
    origin = f"{', '.join(devices)}; commits {', '.join(commits)}"
    lines += ["", f"{rows[0]['n']:,} test images; the epoch is chosen on validation. {origin}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is asked for and writes rows and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--run", help="one run of the sweep; by default all")
    parser.add_argument("--seed", type=int, action="append", help="may be given several times; by default 0, 1, 2")
    parser.add_argument("--page", action="store_true", help="only write the page")
    args = parser.parse_args()
    sweep = read_json(args.sweep, "a sweep")
    store = RESULTS / f"{args.sweep.stem}.json"
    rows = json.loads(store.read_text())["rows"] if store.exists() else []
    for name in [args.run] if args.run else sweep["runs"]:
        for seed in [] if args.page else args.seed or (0, 1, 2):
            row = one(sweep, name, seed)
            print(f"{name} seed {seed}: test {row['accuracy']:.4f}, validation {row['val_accuracy']:.4f}", flush=True)
            rows = json.loads(store.read_text())["rows"] if store.exists() else []  # another process may have written
            rows = [r for r in rows if (r["run"], r["seed"]) != (name, seed)] + [row]
            write_json(store, {"sweep": args.sweep.name, "rows": sorted(rows, key=lambda r: (r["run"], r["seed"]))})
    if rows:
        store.with_suffix(".md").write_text(page(sweep, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
