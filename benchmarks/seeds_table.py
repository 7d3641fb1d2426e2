"""The same training and pruning with several seeds: means and deviations of their quality on the test part.

Takes finished bundles (``rsprune train``, ``prune``, ``finetune``), groups them by what they are, and writes
``results/seeds.json`` and ``.md``. The commands measure on the validation part; the test part is opened here, once the
networks are finished (a bundle that came with numbers of its test part keeps them).

Example:
    python benchmarks/seeds_table.py dense=runs/d0,runs/d1,runs/d2 "pruned, fine-tuned"=runs/ft0,runs/ft1,runs/ft2
"""

import argparse
import statistics
from pathlib import Path

from rows import RESULTS

from rsprune_lib.bundle import Bundle, load_bundle
from rsprune_lib.data import Batches, load_again
from rsprune_lib.files import write_json
from rsprune_lib.measure import measure

KEYS = ("params", "macs", "accuracy", "ci", "n", "per_class", "ece", "nll", "part")


def tested(bundle: Bundle) -> dict:
    """The numbers of a bundle on the test part: those that it came with, else measured now."""
    measured, info = bundle.config["measured"], bundle.config["data"]
    if measured.get("part") == "test":
        return measured
    data = load_again(info)
    return measure(measured["name"], bundle.model, Batches(data, "test", 256), timed=False, progress=False).to_dict()


def row(name: str, folder: Path) -> dict:
    """A finished bundle as a row of the table."""
    bundle = load_bundle(folder)
    numbers, origin = tested(bundle), bundle.config["provenance"]
    numbers = {key: numbers[key] for key in KEYS}
    return {"stage": name, "seed": origin["seed"], **numbers, "command": bundle.config["command"], "provenance": origin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="+", help="name=folder,folder,...: one folder a seed")
    rows = []
    for text in parser.parse_args().groups:
        name, folders = text.rsplit("=", 1)
        rows += [row(name, Path(folder)) for folder in folders.split(",")]
    write_json(RESULTS / "seeds.json", {"rows": rows})
    lines = ["# Several seeds", "", "Mean and standard deviation over the seeds, EuroSAT test part.", ""]
    lines += [
        "| network | recipe | parameters | MACs | test accuracy | seeds | each |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["stage"] for r in rows):
        own = [r for r in rows if r["stage"] == name]
        values = [100 * r["accuracy"] for r in own]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        each = ", ".join(f"{r['seed']}: {v:.2f}" for r, v in zip(own, values, strict=True))
        size = f"{own[0]['params']:,} | {own[0]['macs'] / 1e6:.2f} M"
        used = own[0]["provenance"].get("recipe")
        used = f"{used['name']}, {used['epochs']} epochs" if used else ""
        lines.append(f"| {name} | {used} | {size} | {statistics.mean(values):.2f} %{spread} | {len(own)} | {each} |")
    (RESULTS / "seeds.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
