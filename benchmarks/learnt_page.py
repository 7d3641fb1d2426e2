"""What we learnt: the five published systems, what their papers say, what we measured, and what did not hold.

    python benchmarks/learnt_page.py    # docs/learnt.md, from results/*.json and the published numbers

Every number of the page is read from committed results; what was not measured is called so.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsprune_lib.files import read_json
from rsprune_lib.sweeps.published import published

ROOT = Path(__file__).resolve().parents[1]
Row = Mapping[str, Any]

HEAD = """# What we learnt

Five published systems were built again from their papers and code, each done right, and measured beside plain
baselines at equal cost. This page is made by `python benchmarks/learnt_page.py` from `results/`: no number on it was
typed. Data, seeds, schedule, hardware and commit of each row stand in the files there. Where protocols differ, the
difference is named, and numbers do not compare.
"""
CAMVID = "segmentation_camvid"
MASKS = {
    CAMVID: "CamVid",
    "segmentation_dubai": "Dubai",
    "segmentation_synthetic_aerial": "synthetic aerial scenes",
}


def rows(name: str, **wanted: object) -> list[Row]:
    """Rows of a file of results that hold these values; none where it is not there."""
    path = ROOT / "results" / f"{name}.json"
    found = read_json(path, "results").get("rows") or [] if path.exists() else []
    return [row for row in found if all(row.get(key) == value for key, value in wanted.items())]


def mean(found: Sequence[Row], key: str = "accuracy") -> float:
    """Mean of a share over the seeds, in percent."""
    return 100 * statistics.mean(row[key] for row in found)


def said(found: Sequence[Row], key: str = "accuracy") -> str:
    """Mean, deviation and number of seeds of a share, in words."""
    values = [100 * row[key] for row in found]
    if not values:
        return "not measured"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} % ({len(values)} seed{'s' * (len(values) > 1)})"


def points(row: Row) -> str:
    """MIoU and that of the rare classes."""
    return f"{100 * row['metrics']['mIoU']:.1f} / {100 * row['metrics']['minority mIoU']:.1f}"


def papers(system: str) -> list[str]:
    """What is published of a system, in lines of Markdown."""
    found = [row for row in published() if row["table"] == system]
    lines = ["| published | data | | parameters | MACs |", "|---|---|---|---|---|"]
    for row in found[:9]:
        size = " | ".join(f"{row[key]:,}" if row.get(key) else "" for key in ("params", "macs"))
        lines.append(f"| {row['name']} | {row['data']} | {row['metric']} {100 * row['value']:.2f} % | {size} |")
    more = [f"{len(found) - 9} more rows in `rsprune_lib/sweeps/published.json`.", ""] if len(found) > 9 else []
    return [*lines, "", *more, f"Source: {found[0]['source']}. Protocol: {found[0]['protocol']}"]


def attention() -> list[str]:
    """RemoteTrimmer: is the mean gate a good criterion, and is the mining loss a good loss?"""
    closed, tuned = (rows("fair_table", scope="local", stage=stage) for stage in ("closed form", "fine-tuned"))
    fair = {name: [row for row in closed if row["criterion"] == name] for name in {r["criterion"] for r in closed}}
    order = sorted(fair, key=lambda name: -mean(fair[name]))
    after = {n: mean([r for r in tuned if (r["criterion"], r["loss"]) == (n, "ce")]) for n in (order[0], "attention")}
    best = [
        max((row for row in tuned if (row["criterion"], row["seed"]) == (name, 0)), key=lambda row: row["accuracy"])
        for name in sorted(fair)
    ]
    losses = [row["loss"] for row in best]
    counts = ", ".join(f"{name} {losses.count(name)} times" for name in sorted(set(losses)))
    return [
        "- **The criterion.** At equal MACs, repaired by closed form, attention is number "
        f"{order.index('attention') + 1} of {len(order)} with {said(fair['attention'])}; {order[0]} is first with "
        f"{said(fair[order[0]])}. After three epochs of fine-tuning the gap is "
        f"{after[order[0]] - after['attention']:.1f} points. `results/fair_table.md`",
        f"- **The loss.** Over {len(losses)} criteria, the best loss of the fine-tuning was {counts} (one seed).",
        "- **The recipe matters more than both.** Trained and tuned as published (plain SGD, no augmentation): "
        f"{said(rows('seeds', stage='paper: pruned, fine-tuned'))} on test. The same criterion and ratio with an "
        f"ordinary modern recipe: {said(rows('seeds', stage='pruned, fine-tuned'))}; dense "
        f"{said(rows('seeds', stage='dense'))}. `results/seeds.md`",
        "- **Why gates say little.** With weight decay on the SE blocks they hardly depend on the image any more: "
        "`results/se_gates.md`.",
    ]


def similarity() -> list[str]:
    """Similarity graph: does look-alike mean expendable?"""
    found, lines, behind = rows("similarity_cifar10", stage="closed form"), [], []
    methods = ("l1", "random", "similarity, dominating")
    for budget in sorted({row["budget"] for row in found if row["budget"]}, reverse=True):
        own = {m: [row for row in found if (row["budget"], row["method"]) == (budget, m)] for m in methods}
        if all(own.values()):
            numbers = "; ".join(f"{name} {said(one)}" for name, one in own.items())
            lines.append(f"- **{budget / 1e6:.1f} M MACs, CIFAR-10, closed form**: {numbers}.")
            behind.append([mean(own["similarity, dominating"]) < mean(own[other]) for other in ("l1", "random")])
    of = [sum(column) for column in zip(*behind, strict=True)]
    taught = [row for row in rows("taught_cifar10", method="l1") if row["stage"] != "dense"]
    return [
        *lines,
        f"- At equal MACs, channels that the graph of similar maps leaves are behind those of L1 at {of[0]} of "
        f"{len(behind)} sizes, and behind a random choice at {of[1]}. What the graph does find is *where* channels "
        "are spare: `results/similarity_eurosat.md`, rows “at the widths of similarity”.",
        f"- Half of the network by L1, taught by three whole ones for 40 epochs: {said(taught)} at 20 M MACs.",
        *without_mean_term(),
    ]


def without_mean_term() -> list[str]:
    """The hash as published against the hash without the mean of the map, on the seeds that both were measured on."""
    found, lines = rows("similarity_eurosat", stage="closed form"), []
    for row in (row for row in found if row["method"].endswith(", no mean term")):
        other = {"method": row["method"].removesuffix(", no mean term"), "budget": row["budget"], "seed": row["seed"]}
        published_hash = next(one for one in found if all(one[key] == value for key, value in other.items()))
        apart = row["ci"][0] > published_hash["ci"][1] or row["ci"][1] < published_hash["ci"][0]
        lines.append(
            f"{other['method'].removeprefix('similarity, ')} at {row['budget'] / 1e6:.0f} M MACs "
            f"{100 * published_hash['accuracy']:.2f} → {100 * row['accuracy']:.2f} %{'' if apart else ' (even)'}"
        )
    intro = "**The hash without the mean of the map**, EuroSAT, closed form, one seed (even: the intervals overlap): "
    return [f"- {intro}{'; '.join(lines)}."] if lines else []


def exits() -> list[str]:
    """GFNet-Dynn: exits, gates and distillation."""
    lines = [
        f"- **{row['name']}, exits on a frozen backbone**: {100 * row['accuracy']:.2f} % without, "
        f"{100 * row['early']['accuracy']:.2f} % with exits at {row['early']['cost']:.0%} of the MACs, one seed."
        for row in rows("exits_eurosat")
    ]
    taught, alone = rows("distilled_eurosat", run="r70_soft"), rows("seeds", stage="pruned, fine-tuned")
    verdict = "has not earned its place" if mean(taught) <= mean(alone) else "is ahead; a few seeds say no more"
    return [
        *lines,
        f"- **A teacher for the pruned network** (soft answers, temperature 4): {said(taught)}; the same schedule on "
        f"the labels alone: {said(alone)}. The teacher {verdict}.",
        "- Not measured yet: a GFNet student, the spectral term against the logits alone, exits trained together with "
        "their backbone.",
    ]


def light() -> list[str]:
    """UED, BES, SFM: what is measured of the light networks."""
    own = [row for row in rows(CAMVID, stage="dense") if row["network"].startswith("ued")]
    lines = ["- Parameters and MACs of all three networks equal the published constants to the unit (tests)."]
    lines += [f"- **{row['network']}**, CamVid, mIoU / rare classes: {points(row)} %." for row in own]
    if len({row["network"].split(",")[0] for row in own}) < 3:
        lines.append(
            "- Not measured yet: whether BES and SFM each pay for themselves. Vaihingen asks for a registration."
        )
    return lines


def minority() -> list[str]:
    """MCAG: do the rare classes gain when they choose?"""
    lines = [line for name, title in MASKS.items() for line in _rare(title, rows(name))]
    measured = [name for name in MASKS if (ROOT / "results" / f"{name}.md").exists()]
    return [*lines, f"All rows: {', '.join(f'`results/{name}.md`' for name in measured)}."]


def _rare(title: str, of_data: Sequence[Row]) -> list[str]:
    """What a data set with masks says, at each share of the channels."""
    found, lines = [row for row in of_data if row["network"].startswith("unet1")], []
    for keep in sorted({row["keep"] for row in found if row["keep"] < 1}, reverse=True):
        tuned = [row for row in found if row["keep"] == keep and row["stage"] == "fine-tuned"]
        if len(tuned) > 1:
            order = sorted(tuned, key=lambda row: -row["metrics"]["minority mIoU"])
            gap = 100 * (order[0]["metrics"]["minority mIoU"] - order[1]["metrics"]["minority mIoU"])
            lead = order[0]["method"] if gap >= 1 else "none; differences below a point are not one seed's to tell"
            words = "; ".join(f"{row['method']} {points(row)}" for row in tuned)
            whole = "; ".join(
                f"{row['method']} {points(row)}" for row in found if row["method"] in ("dense", "trained on")
            )
            lines.append(
                f"- **{title}, unet1, {keep:.0%} of the channels stay, fine-tuned** (mIoU / rare classes, one seed): "
                f"{words}. Whole: {whole}. Ahead on rare classes: {lead}."
            )
    chosen = [row for row in found if row["method"] == "class_taylor"]
    raw = [row for row in chosen if row["stage"] == "raw"]
    closed = [row for row in chosen if row["stage"].startswith("closed form")]
    if raw and closed:
        lines.append(
            f"- {title}, before any training: {points(raw[0])} % after the cut, "
            f"{points(max(closed, key=lambda row: row['metrics']['mIoU']))} % after the closed form, without a label."
        )
    return lines


def closed() -> list[str]:
    """The closed form: how much of a network comes back without a label and without training."""
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows("recovery_ways")):
        own = rows("recovery_ways", network=network)
        dense = [row for row in own if row["way"] == "dense"]
        for ratio in sorted({row["ratio"] for row in own if row["ratio"]}):
            here = [row for row in own if row["ratio"] == ratio]
            least = min(row["macs"] for row in here)
            ways: dict[str, list[Row]] = {}
            for row in here:
                if row["macs"] < 1.05 * least:  # equals
                    ways.setdefault(row["way"], []).append(row)
            if len(ways) > 1:
                order = sorted(ways, key=lambda way: -mean(ways[way], "val_accuracy"))
                best, last = ways[order[0]], ways[order[-1]]
                size = statistics.mean(row["params"] for row in best) / dense[0]["params"]
                lines.append(
                    f"- **{network}, {ratio:.0%} removed** ({least / dense[0]['macs']:.1%} of the MACs; test; dense "
                    f"{said(dense)}): best on validation, {order[0]}, {said(best)} with {size:.1%} of the parameters; "
                    f"last, {order[-1]}, {said(last)}."
                )
    return [*lines, "All ways: `results/recovery_ways.md`."]


SYSTEMS: dict[str, tuple[str, str, Callable[[], list[str]]]] = {
    "remotetrimmer": ("RemoteTrimmer: attention and a mining loss", "notebooks 02 and 04", attention),
    "similarity_graph": ("Similarity-graph filter pruning", "notebook 03b", similarity),
    "gfnet_exits": ("GFNet-Dynn: distillation and early exits", "notebook 05", exits),
    "ued": ("UED, BES, SFM: light segmentation", "notebook 06", light),
    "camvid_others": (
        "MCAG: rare classes choose the channels (published: what others reach on CamVid)",
        "notebook 06",
        minority,
    ),
    "closed_forms": ("Beyond them: recovery in closed form (published: what others reach)", "notebook 03", closed),
}


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for key, (title, where, own) in SYSTEMS.items():
        lines += [f"## {title}", "", f"Taught in {where}.", "", *papers(key), "", "What we measured:", "", *own(), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    (ROOT / "docs" / "learnt.md").write_text(page(), encoding="utf-8")
