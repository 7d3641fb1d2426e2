"""Early exits, measured: networks with heads on their frozen backbone or trained together, against plain ones.

    python benchmarks/exits_table.py benchmarks/sweeps/exits_eurosat.json

Exits that are trained (a network and its heads together, taught by others) are trained first, and kept in
``runs/exits``; a run that was stopped goes on. For each network of the sweep and each way to make its exits: accuracy
of every exit on the test part, the loosest threshold that loses nothing on validation, what it costs on test (accuracy,
share of the MACs, rates), how images of each class leave, the bounds (an oracle; everyone to the end), and a promise
made on a calibration half of validation.
Then all networks, plain and with exits, are timed in turn on the same test images, at each batch size, one thread.
The test part chooses nothing. ``--page`` only writes page and figure anew.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from rows import RESULTS, ROOT, RUNS

from rsprune_lib.bundle import load_bundle
from rsprune_lib.data import Batches, Dataset, load_data
from rsprune_lib.device import describe_device
from rsprune_lib.files import read_json, write_json
from rsprune_lib.measure import (
    EarlyExit,
    Latency,
    Speed,
    cost,
    exit_costs,
    latencies_on,
    oracle,
    outcome,
    predict,
    promise,
    provenance,
    quality,
    sweep,
    tuned_to,
)  # fmt: skip
from rsprune_lib.models import add_exits, without_exits
from rsprune_lib.plots import latency_front, png
from rsprune_lib.training import Distillation, fit, fit_heads, recipe

KINDS = ("max_probability", "entropy", "margin", "patience")


def network(sweep_: dict, entry: dict, data: Dataset) -> torch.nn.Module:
    """The network of an entry with its exits, in eval mode; what is trained is kept in ``runs/exits``."""
    bundle = load_bundle(ROOT / entry["bundle"])
    made = add_exits(bundle.model, sweep_["places"], pool=sweep_["pool"], norm=sweep_["norm"])
    images = Batches(data, "train", 256, limit=sweep_["train_images"], seed=0)
    fitted = fit_heads(made, images, progress=False)
    if "train" not in entry:
        return fitted.eval()
    out = RUNS / "exits" / f"{entry['bundle'].split('/')[-1]}_{entry['way']}".replace(" ", "_")
    teachers = [load_bundle(ROOT / path).model for path in entry["teachers"]]
    objective, how = Distillation(teachers, **entry["teach"]), recipe("strong_finetune", **entry["train"])
    trained = fit(fitted, data, how, objective=objective, seed=0, out=out, resume=True, progress=False)
    print(entry["name"], entry["way"], [round(row["val_accuracy"], 4) for row in trained.history], flush=True)
    return trained.model.eval()


def judged(name: str, entry: dict, model: torch.nn.Module, data: Dataset) -> tuple[dict, EarlyExit]:
    """All numbers of a row but its times, and the network with the threshold that loses nothing on validation."""
    val, test = (predict(model, Batches(data, part, 256), progress=False) for part in ("val", "test"))
    costs = exit_costs(model, data.image_size)
    final = (val[0][:, -1].argmax(1) == val[1]).double().mean().item()
    found = {kind: tuned_to(sweep(*val, costs, kind), accuracy=final) for kind in KINDS}
    best = min(found, key=lambda kind: found[kind].cost)  # the cheapest rule on validation
    rule = found[best].rule
    got, left = outcome(*test, costs, rule), rule.exits(test[0])
    exits = quality(test[0].gather(1, left[:, None, None].expand(-1, 1, test[0].shape[2])).squeeze(1), test[1])
    plain = quality(test[0][:, -1], test[1])
    ideal = outcome(*test, costs, oracle(*test))
    order = np.random.default_rng(0).permutation(len(val[1]))[: len(val[1]) // 2]
    kept = promise(val[0][order], val[1][order], costs, lost=0.005, confidence=0.9, kind=best)
    held = outcome(*test, costs, kept.rule)
    per_class = [
        [(left[test[1] == k] == e).double().mean().item() for e in range(len(costs))] for k in range(data.num_classes)
    ]
    row = {
        "name": name, "way": entry["way"], "bundle": entry["bundle"], "params": cost(model, data.image_size).params,
        "macs": costs[-1], "costs": costs, "exit_accuracy": [q.accuracy for q in each(test)], "n": len(test[1]),
        "accuracy": plain.accuracy, "ci": plain.ci, "worst_class": min(plain.per_class), "part": "test",
        "early": {
            "rule": best, "threshold": rule.thresholds[0], "accuracy": exits.accuracy, "cost": got.cost,
            "rates": got.rates, "accuracies": got.accuracies, "lost": got.lost, "worst_class": min(exits.per_class),
            "rates_of_classes": per_class, "costs_of_rules": {kind: found[kind].cost for kind in KINDS},
        },
        "oracle": {"accuracy": ideal.accuracy, "cost": ideal.cost, "rates": ideal.rates},
        "promise": {
            "lost_at_most": 0.005, "confidence": 0.9, "images": len(order), "threshold": kept.rule.thresholds[0],
            "accuracy": held.accuracy, "lost": held.lost, "cost": held.cost,
        },
        "provenance": provenance(data.info(), seed=0, profile="full"),
    }  # fmt: skip
    return row, EarlyExit(model, rule)


def each(test: tuple[torch.Tensor, torch.Tensor]) -> list:
    """Quality of each exit alone, the final classifier last."""
    return [quality(test[0][:, number], test[1]) for number in range(test[0].shape[1])]


def times(networks: dict[str, torch.nn.Module], data: Dataset, batches: list[int], images: int) -> dict[str, dict]:
    """Times of all networks in turn, and their speeds against the first one."""
    order = np.random.default_rng(0).permutation(data.split.test)[:images]
    pixels = torch.cat([x for x, _ in Batches(data, order, 256)])
    found: dict[str, dict] = {name: {} for name in networks}
    for batch in batches:
        rounds = min(10, len(pixels) // batch)
        took = latencies_on(list(networks.values()), pixels, batch=batch, threads=1, rounds=rounds)
        for name, one in zip(networks, took, strict=True):
            found[name][str(batch)] = timed(one, took[0])
    return found


def timed(one: Latency, first: Latency) -> dict:
    """JSON-able; the mean of a round counts, because an image's time hangs on the image."""
    speed = Speed.of(first, one)
    return {
        "ms": float(np.median(one.rounds_ms)), "factor": speed.factor, "low": speed.low, "high": speed.high,
        "words": str(speed), "busy": one.busy,
    }  # fmt: skip


def page(sweep_: dict, table: dict) -> str:
    """Markdown."""
    rows, times_, batches = table["rows"], table["times"], [str(batch) for batch in sweep_["batches"]]
    named = [f"{row['name']} | {row['way']}" for row in rows]
    lines = [f"# {sweep_['title']}", "", sweep_["text"], "", "## What exits cost and save", ""]
    heads = [
        "accuracy of each exit, final last",
        "final",
        "with exits",
        "worst class",
        "mean MACs",
        "left at each exit",
    ]
    lines += grid(["network", "exits", *heads, *(f"batch {batch}" for batch in batches)], [
        [name, *cells(row), *(ratio(times_, row, batch) for batch in batches)]
        for name, row in zip(named, rows, strict=True)
    ])  # fmt: skip
    lines += ["", "Speeds against the same network without exits. In brackets: points of accuracy that the exits cost."]
    lines += ["", "## All networks, timed in turn", ""]
    heads = [head for batch in batches for head in (f"ms, batch {batch}", f"against {rows[0]['name']}")]
    reached = accuracies(rows)
    lines += grid(["network", "test accuracy", *heads], [
        [name, f"{reached[name]:.2%}", *(cell for b in batches for cell in (f"{own[b]['ms']:.2f}", own[b]["words"]))]
        for name, own in times_.items()
    ])  # fmt: skip
    lines += ["", "## Bounds and a promise", ""]
    heads = ["oracle: accuracy", "MACs", "threshold of the promise", "lost on test", "accuracy", "MACs"]
    lines += grid(["network", "exits", *heads], [
        [name, f"{row['oracle']['accuracy']:.2%}", f"{row['oracle']['cost']:.0%}", *promised(row["promise"])]
        for name, row in zip(named, rows, strict=True)
    ])  # fmt: skip
    kept = rows[0]["promise"]
    lines += ["", f"The promise: at most {kept['lost_at_most']:.1%} of the images lost (right in the whole network, "
              f"wrong with exits), {kept['confidence']:.0%} sure, from {kept['images']:,} "
              "validation images."]  # fmt: skip
    lines += ["", "## Images of each class that leave before the end", ""]
    lines += grid(["network", "exits", *table["classes"]], [
        [name, *(f"{1 - rates[-1]:.0%}" for rates in row["early"]["rates_of_classes"])]
        for name, row in zip(named, rows, strict=True)
    ])  # fmt: skip
    commits = sorted({(row["provenance"]["git"] or {}).get("commit", "none")[:9] for row in rows})
    lines += ["", f"{rows[0]['n']:,} test images, which chose nothing; one seed. Rule and threshold (one for all "
              f"exits) are the cheapest of {', '.join(KINDS)} that lose nothing on validation. {table['device']}, one "
              f"thread, torch {rows[0]['provenance']['versions']['torch']}, commit {', '.join(commits)}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def grid(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    width = sum(head.count("|") + 1 for head in heads)
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * width, *rows)]


def cells(row: dict) -> list[str]:
    """What a network with exits reaches."""
    early = row["early"]
    return [
        " / ".join(f"{100 * accuracy:.1f}" for accuracy in row["exit_accuracy"]),
        f"{row['accuracy']:.2%}",
        f"{early['accuracy']:.2%} ({100 * (early['accuracy'] - row['accuracy']):+.2f})",
        f"{row['worst_class']:.1%} → {early['worst_class']:.1%}",
        f"{early['cost'] * row['macs'] / 1e6:.1f} of {row['macs'] / 1e6:.1f} M ({early['cost']:.0%})",
        " / ".join(f"{rate:.0%}" for rate in early["rates"]),
    ]


def promised(kept: dict) -> list[str]:
    """What a promise cost, and whether the test part kept it."""
    return [f"{kept['threshold']:.3f}", f"{kept['lost']:.2%}", f"{kept['accuracy']:.2%}", f"{kept['cost']:.0%}"]


def ratio(times_: dict, row: dict, batch: str) -> str:
    """How many times as fast with exits, from two networks that were timed in turn."""
    plain, own = times_[row["name"]][batch], times_[f"{row['name']}, {row['way']}"][batch]
    return f"{plain['ms'] / own['ms']:.2f} times"


def accuracies(rows: list[dict]) -> dict[str, float]:
    """Timed network -> test accuracy: plain, and with exits."""
    plain = {row["name"]: row["accuracy"] for row in rows}
    return plain | {f"{row['name']}, {row['way']}": row["early"]["accuracy"] for row in rows}


def main() -> None:
    """Measures what the sweep names and writes rows, page and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--page", action="store_true", help="only write page and figure")
    args = parser.parse_args()
    sweep_ = read_json(args.sweep, "a sweep")
    store = RESULTS / f"{args.sweep.stem}.json"
    if not args.page:
        data = load_data(sweep_["data"])
        rows, networks = [], {}
        for entry in sweep_["networks"]:
            model = network(sweep_, entry, data)
            row, leaving = judged(entry["name"], entry, model, data)
            rows.append(row)
            networks.setdefault(entry["name"], without_exits(model).eval())
            networks[f"{entry['name']}, {entry['way']}"] = leaving
            early = row["early"]
            print(f"{row['name']}, {row['way']}: {early['accuracy']:.4f} at {early['cost']:.3f}", flush=True)
        table = {
            "sweep": args.sweep.name, "classes": list(data.classes), "device": describe_device(torch.device("cpu")),
            "times": times(networks, data, sweep_["batches"], sweep_["timed_images"]), "rows": rows,
        }  # fmt: skip
        write_json(store, table)
    table = read_json(store, "a table")
    store.with_suffix(".md").write_text(page(sweep_, table), encoding="utf-8")
    reached = accuracies(table["rows"])
    points = [
        {"name": name, "series": series(name, sweep_), "accuracy": reached[name],
         "ms": {b: t["ms"] for b, t in own.items()}}
        for name, own in table["times"].items()
    ]  # fmt: skip
    store.with_suffix(".png").write_bytes(png(latency_front(points, title=sweep_["figure"])))


def series(name: str, sweep_: dict) -> str:
    """What kind of network a timed one is, for the figure's legend."""
    kinds = {entry["name"]: entry["kind"] for entry in sweep_["networks"]}
    return kinds[name] if name in kinds else f"{kinds[name.split(', ')[0]]} + exits"


if __name__ == "__main__":
    main()
