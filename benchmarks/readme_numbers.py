"""Writes the measured numbers of the README, and its picture, from the files they were measured into.

No number is typed by hand: they come from ``results/fair_table.json``, ``results/seeds.json`` and
``bundles/*/config.json``.

Example:
    python benchmarks/readme_numbers.py          # or --check, which only tells whether the README is up to date
"""

import argparse
import statistics
import sys
from pathlib import Path

from rsprune_lib.colours import short
from rsprune_lib.files import atomic, read_json
from rsprune_lib.plots import ladder, png
from rsprune_lib.training import RECIPES

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- measured: start -->", "<!-- measured: end -->"


Way = list[tuple[str, list[dict]]]  # name of a step, its rows: one a seed


def steps() -> Way:
    """The way from the dense network to the shipped one."""
    rows = read_json(ROOT / "results" / "fair_table.json", "the fair table")["rows"]
    seeds = read_json(ROOT / "results" / "seeds.json", "the table of seeds")["rows"]

    def plain(stage: str) -> list[dict]:
        return [row for row in rows if row["stage"] == stage and "criterion" not in row]

    def cut(stage: str) -> list[dict]:
        wanted = (stage, "attention", "local")
        return [row for row in rows if (row["stage"], row.get("criterion"), row.get("scope")) == wanted]

    tuned = [row for row in seeds if row["stage"] == "pruned, fine-tuned"]
    return [
        ("dense SE-ResNet-18", [row for row in seeds if row["stage"] == "dense"]),
        ("gates folded away, nothing pruned", plain("folded")),
        ("the same + BN re-estimation", plain("folded + BN")),
        ("the same by closed form", plain("folded + closed form")),
        ("70 % of the channels removed (attention), raw", cut("raw")),
        ("the same by closed form: no label, no training", cut("closed form")),
        (f"the same + {tuned[0]['provenance']['recipe']['epochs']} epochs of fine-tuning", tuned),
    ]


def mean(rows: list[dict]) -> float:
    """Mean accuracy over the seeds, in [0, 1]."""
    return statistics.mean(row["accuracy"] for row in rows)


def span(rows: list[dict]) -> tuple[float, float]:
    """Lowest and highest accuracy over the seeds; of one seed, the interval of its test images."""
    values = [row["accuracy"] for row in rows]
    return (min(values), max(values)) if len(values) > 1 else tuple(rows[0]["ci"])


def comparison() -> str:
    """Says in words what folding costs, and how attention and the losses compare at equal MACs."""
    rows = read_json(ROOT / "results" / "fair_table.json", "the fair table")["rows"]
    plain = {row["stage"]: [r for r in rows if r["stage"] == row["stage"]] for row in rows if "criterion" not in row}
    lost, left = (100 * (mean(plain["dense"]) - mean(plain[name])) for name in ("folded", "folded + closed form"))
    local = [row for row in rows if row.get("scope") == "local"]
    closed = by([row for row in local if row["stage"] == "closed form"], "criterion")
    tuned = by([row for row in local if row["stage"] == "fine-tuned" and row["loss"] == "ce"], "criterion")
    losses = by([row for row in local if row["stage"] == "fine-tuned" and row["criterion"] == "attention"], "loss")
    text = [
        f"Folding the gates costs {lost:.0f} points, of which the closed form leaves {left:.1f}.",
        f"At {closed['attention'][0]['macs'] / 1e6:.1f} M MACs, local scope, after the closed form and before any "
        f"training: {ranking(closed)}; attention is number {list(closed).index('attention') + 1} of {len(closed)}.",
    ]
    if len(tuned) > 1:
        epochs = tuned["attention"][0]["recipe"]["epochs"]
        text.append(
            f"After {epochs} epochs of fine-tuning with cross-entropy: {ranking(tuned)}: attention is number "
            f"{list(tuned).index('attention') + 1} of {len(tuned)}."
        )
    if len(losses) > 1:
        text.append(f"The losses, with attention: {ranking(losses)}.")
    rivals = [row for row in rows if row.get("scope", "local") != "local" and row["stage"] == "fine-tuned"]
    rivals = by([row for row in rivals if row["loss"] == "ce"], "criterion")
    best = {name: next(iter(by(own, "scope").values())) for name, own in rivals.items()}  # global, or by layer mean
    if best:
        best = dict(sorted(best.items(), key=lambda item: -mean(item[1])))
        text.append(f"Globally, each criterion with the better of its two scales: {ranking(best)}.")
    return " ".join([*text, paper()])


def paper() -> str:
    """Says in words how far the shortened recipe of the paper gets."""
    rows = read_json(ROOT / "results" / "seeds.json", "the table of seeds")["rows"]
    found = {row["stage"].removeprefix("paper: "): row for row in rows if row["stage"].startswith("paper: ")}
    if not found:
        return ""
    recipes = [row["provenance"]["recipe"] for row in (found["dense"], found["pruned, fine-tuned"])]
    (epochs, tuning), whole = (r["epochs"] for r in recipes), [RECIPES[r["name"]].epochs for r in recipes]
    dense, closed, tuned = (found[key] for key in ("dense", "pruned, closed form", "pruned, fine-tuned"))
    return (
        f"The papers' recipe (`--recipe paper`: plain SGD, no augmentation), cut to {epochs} of its {whole[0]} epochs "
        f"and {tuning} of {whole[1]} of fine-tuning with its mining loss, one seed: dense {dense['accuracy']:.1%}, "
        f"pruned alike by closed form {closed['accuracy']:.1%}, fine-tuned {tuned['accuracy']:.1%}."
    )


def by(rows: list[dict], key: str) -> dict[str, list[dict]]:
    """Rows by one of their values, the best mean first; only of those seeds that all have, so that they compare."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    shared = set.intersection(*({row["seed"] for row in own} for own in found.values())) if found else set()
    found = {name: [row for row in own if row["seed"] in shared] for name, own in found.items()}
    return dict(sorted(found.items(), key=lambda item: -mean(item[1])))


def ranking(found: dict[str, list[dict]]) -> str:
    """Names with their mean accuracies, in the order given, and how many seeds are behind them."""
    seeds = len(next(iter(found.values())))
    text = ", ".join(f"{name} {mean(rows):.1%}" for name, rows in found.items())
    return f"{text} ({seeds} seed{'s' if seeds > 1 else ''})"


def table() -> str:
    """The measured table in Markdown, with where it comes from."""
    way = steps()
    lines = ["| EuroSAT, test part | parameters | MACs | accuracy | seeds |", "|---|---|---|---|---|"]
    for name, rows in way:
        spread = f" ± {100 * statistics.stdev(row['accuracy'] for row in rows):.2f}" if len(rows) > 1 else ""
        size = f"{rows[0]['params']:,} | {rows[0]['macs'] / 1e6:.1f} M"
        lines.append(f"| {name} | {size} | {100 * mean(rows):.2f} %{spread} | {len(rows)} |")
    first = way[0][1][0]
    origin, (low, high) = first["provenance"], first["ci"]
    data, versions = origin["data"], origin["versions"]
    note = (
        f"Mean and deviation over the seeds {sorted(row['seed'] for row in way[0][1])}; {first['n']:,} test images, "
        f"split {data['split_hash']} (60/10/30), {origin['device']}, torch {versions['torch']}. Another draw of test "
        f"images moves a row as well (95 % interval of the first: {low:.2%} to {high:.2%}). Every criterion and scope "
        "at equal MACs: [results/fair_table.md](results/fair_table.md); every seed: "
        "[results/seeds.md](results/seeds.md)."
    )
    return "\n".join([*lines, "", comparison(), "", note])


def shelf() -> str:
    """The table of the bundles that come with the project."""
    lines = ["| bundle | what | parameters | MACs | accuracy, or mIoU (95 % interval) |", "|---|---|---|---|---|"]
    for path in sorted((ROOT / "bundles").glob("*/config.json")):
        measured = read_json(path, "a bundle")["measured"]
        less, (low, high) = measured.get("deployed") or measured, measured["ci"]
        size = f"{less['params']:,} | {less['macs'] / 1e6:.1f} M"
        images = f"{measured['n']:,} {'test' if measured['part'] == 'test' else 'validation'} images"
        reached = measured.get("metrics", {}).get("mIoU", measured["accuracy"])
        accuracy = f"{reached:.2%} ({low:.2%} to {high:.2%}, {images})"
        if (rare := measured.get("metrics", {}).get("minority mIoU")) is not None:
            accuracy += f"; rare classes {rare:.2%}"
        lines.append(f"| `{path.parent.name}` | {measured['name']} | {size} | {accuracy} |")
    return "\n".join(lines)


def filled(path: Path, content: str) -> tuple[str, str]:
    """A file's text as it is, and with the content between its two marks."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(START)
    return text, f"{before}{START}\n{content}\n{END}{rest.split(END)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if the README is out of date")
    check = parser.parse_args().check
    files = {ROOT / "README.md": table(), ROOT / "bundles" / "README.md": shelf()}
    texts = {path: filled(path, content) for path, content in files.items()}
    if check:
        return int(any(old != new for old, new in texts.values()))
    way = steps()
    ends = (short(way[0][1][0]["params"]), short(way[-1][1][0]["params"]))
    picture = ladder(
        [(name, mean(rows), span(rows)) for name, rows in way],
        title=f"EuroSAT, test part: from {ends[0]} to {ends[1]} parameters",
    )
    with atomic(ROOT / "results" / "overview.png") as temporary:
        temporary.write_bytes(png(picture))
    for path, (_, text) in texts.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(table(), shelf(), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
