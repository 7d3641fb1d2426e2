"""Writes the measured numbers of the README, and its picture, from the files they were measured into.

No number of that table is typed by hand: rows come from ``results/fair_table.json`` and ``bundles/*/config.json``.

Example:
    python benchmarks/readme_numbers.py          # or --check, which only tells whether the README is up to date
"""

import argparse
import sys
from pathlib import Path

from rsprune_lib.files import atomic, read_json
from rsprune_lib.plots import ladder, png, short

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- measured: start -->", "<!-- measured: end -->"


def steps() -> list[tuple[str, dict]]:
    """The way from the dense network to the shipped one: (name, row)."""
    rows = read_json(ROOT / "results" / "fair_table.json", "the fair table")["rows"]
    first = min(row["seed"] for row in rows)
    found = {row["stage"]: row for row in rows if row["seed"] == first and "criterion" not in row}
    cut = {
        row["stage"]: row
        for row in rows
        if (row["seed"], row.get("criterion"), row.get("scope")) == (first, "attention", "local")
    }
    tuned = read_json(ROOT / "bundles" / "eurosat_resnet18_se_r70" / "config.json", "a bundle")
    pruned = tuned["measured"] | {"provenance": tuned["provenance"]}
    return [
        ("dense SE-ResNet-18", found["dense"]),
        ("gates folded away, nothing pruned", found["folded"]),
        ("the same + BN re-estimation", found["folded + BN"]),
        ("the same by closed form", found["folded + closed form"]),
        ("70 % of the channels removed (attention), raw", cut["raw"]),
        ("the same by closed form: no label, no training", cut["closed form"]),
        (f"the same + {tuned['provenance']['recipe']['epochs']} epochs of fine-tuning", pruned),
    ]


def comparison() -> str:
    """Says in one sentence how attention compares with the other criteria before fine-tuning, at equal MACs."""
    rows = read_json(ROOT / "results" / "fair_table.json", "the fair table")["rows"]
    closed = [row for row in rows if row["stage"] == "closed form" and row["scope"] == "local"]
    closed.sort(key=lambda row: -row["accuracy"])
    told = ", ".join(f"{row['criterion']} {row['accuracy']:.1%}" for row in closed)
    place = [row["criterion"] for row in closed].index("attention") + 1
    return (
        f"At {closed[0]['macs'] / 1e6:.1f} M MACs, local scope, after the closed form and before any training: {told}. "
        f"Attention is number {place} of {len(closed)} here."
    )


def table() -> str:
    """The measured table in Markdown, with where it comes from."""
    rows = steps()
    lines = ["| EuroSAT, test part | parameters | MACs | accuracy | 95 % interval |", "|---|---|---|---|---|"]
    for name, row in rows:
        low, high = row["ci"]
        size = f"{row['params']:,} | {row['macs'] / 1e6:.1f} M"
        lines.append(f"| {name} | {size} | {row['accuracy']:.2%} | {low:.2%} to {high:.2%} |")
    origin = rows[0][1]["provenance"]
    data, versions = origin["data"], origin["versions"]
    note = (
        f"One seed ({origin['seed']}), {rows[0][1]['n']:,} test images, split {data['split_hash']} (60/10/30), "
        f"{origin['device']}, torch {versions['torch']}. The interval is that of the test images; another seed moves "
        "each row too. Every criterion and scope at equal MACs: [results/fair_table.md](results/fair_table.md)."
    )
    return "\n".join([*lines, "", comparison(), "", note])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if the README is out of date")
    check = parser.parse_args().check
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(START)
    fresh = f"{before}{START}\n{table()}\n{END}{rest.split(END)[1]}"
    if check:
        return int(fresh != text)
    way = steps()
    picture = ladder(
        [(name, row["accuracy"], tuple(row["ci"])) for name, row in way],
        title=f"EuroSAT, test part: from {short(way[0][1]['params'])} to {short(way[-1][1]['params'])} parameters",
    )
    with atomic(ROOT / "results" / "overview.png") as temporary:
        temporary.write_bytes(png(picture))
    with atomic(path) as temporary:
        temporary.write_text(fresh, encoding="utf-8")
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
