"""The same training and pruning with several seeds: means and deviations of what the bundles were measured at.

Takes finished bundles (``rsprune train``, ``prune``, ``finetune``), groups them by what they are, and writes
``results/seeds.json`` and ``.md``. Nothing is measured here: each number is the one that the command wrote beside its
weights, on the test part, with its own provenance.

Example:
    python benchmarks/seeds_table.py dense=runs/d0,runs/d1,runs/d2 "pruned, fine-tuned"=runs/ft0,runs/ft1,runs/ft2
"""

import argparse
import statistics
from pathlib import Path

from rsprune_lib.bundle import load_bundle
from rsprune_lib.files import write_json

RESULTS = Path(__file__).resolve().parents[1] / "results"
KEYS = ("params", "macs", "accuracy", "ci", "n", "per_class", "ece", "nll", "part")


def row(name: str, folder: Path) -> dict:
    """What a bundle says of itself."""
    config = load_bundle(folder).config
    measured = {key: config["measured"][key] for key in KEYS}
    origin = config["provenance"]
    return {"stage": name, "seed": origin["seed"], **measured, "command": config["command"], "provenance": origin}


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
