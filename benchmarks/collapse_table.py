"""What one threshold does to every layer: the published sweep over the published thresholds, bare and protected.

For each network of the sweep and each threshold: how many channels the thinnest layer keeps, the MACs, and the test
accuracy after the closed form, without any training; once as published and once with a least share for every layer.
Rows are kept as soon as they are measured, so a run that was stopped goes on where it was.

Example:
    python benchmarks/collapse_table.py benchmarks/sweeps/collapse_vgg16.json
"""

import argparse
from pathlib import Path

from fair_table import Table, measured
from rows import RESULTS
from similarity_table import origin, trained

from rsprune_lib.bundle import Bundle
from rsprune_lib.data import Dataset, load_data
from rsprune_lib.files import read_json
from rsprune_lib.pruning import prune

KEY = ("seed", "threshold", "least")  # what no two rows share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="what to measure, a file of benchmarks/sweeps")
    parser.add_argument("--networks", nargs="+", type=Path, help="trained bundles in place of the sweep's")
    arguments = parser.parse_args()
    sweep, name = read_json(arguments.sweep, "a sweep"), arguments.sweep.stem
    table = Table(RESULTS / f"{name}.json", KEY)
    data = load_data(sweep["data"])
    for seed, folder in enumerate(arguments.networks or map(Path, sweep["networks"])):
        measure_network(trained(folder, sweep["train"], seed), data, sweep, table)
    (RESULTS / f"{name}.md").write_text(page(table.rows, sweep), encoding="utf-8")
    print(RESULTS / f"{name}.md")


def measure_network(bundle: Bundle, data: Dataset, sweep: dict, table: Table) -> None:
    """Fills in the rows of one network that are missing."""
    seed = bundle.config["provenance"]["seed"]
    dense = {"seed": seed, "threshold": None, "least": None}
    if dense not in table:
        table.add(dense, measured(bundle.model, data, seed, "dense"))
    for threshold in sweep["thresholds"]:
        for least in (0.0, sweep["least"]):
            key = {"seed": seed, "threshold": threshold, "least": least}
            if key in table:
                continue
            how = {"criterion": "similarity", "threshold": threshold, "options": {"selector": "paper"}}
            given = {"gates": bundle.gates, "seed": seed, "progress": False}
            choosing = {"least": least}
            plan = prune(
                bundle.model, data, images=sweep["images"], recovery="none", choosing=choosing, **how, **given
            ).plan
            small = prune(bundle.model, data, plan=plan, **given).model
            thinnest = min(plan.widths, key=lambda name: plan.widths[name] / plan.sizes[name])
            table.add(key, measured(small, data, seed, "closed form") | {"thinnest": thinnest, "widths": plan.widths})


def page(rows: list[dict], sweep: dict) -> str:
    """Markdown: a line a threshold, bare and protected side by side, the published accuracy beside."""
    dense = next(row for row in rows if row["threshold"] is None)
    least = f"{sweep['least']:.0%}"
    heads = ["threshold", "published, fine-tuned", "MACs", "thinnest layer", "accuracy"]
    heads += [f"MACs, at least {least}", "thinnest layer", "accuracy"]
    lines = [
        f"# {sweep['title']}",
        "",
        f"{origin(rows, sweep)} The published sweep on {sweep['images']} training images, then the closed form from "
        "1,024, no training; test accuracy in %. On the right the same with a least share that every layer keeps.",
        "",
        f"Dense: {100 * dense['accuracy']:.2f} at {dense['macs'] / 1e6:.1f} M MACs.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for threshold in sweep["thresholds"]:
        published = sweep["published"].get(str(threshold))
        cells = [f"{threshold:.2f}", "" if published is None else f"{100 * published:.2f}"]
        for share in (0.0, sweep["least"]):
            for row in rows:
                if (row["threshold"], row["least"]) == (threshold, share):
                    width = f"{row['thinnest']}: {row['widths'][row['thinnest']]}"
                    cells += [f"{row['macs'] / dense['macs']:.0%}", width, f"{100 * row['accuracy']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
