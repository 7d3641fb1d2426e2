"""The fair table as a page: what folding costs, then criteria against losses for every scope, then who wins.

``benchmarks/fair_table.py`` measures the rows and writes the page.
"""

import statistics
from collections.abc import Callable

from rsprune_lib.training import LOSSES

STAGES = ("raw", "closed form")
NOTES = {
    "local": "Every group loses the same share.",
    "global": "All channels compete: l1, l2 and fpgm divided by their layer's mean, the others as they are.",
    "global, by layer mean": "All channels compete, every score divided by its layer's mean.",
}
SUBJECT = "attention"  # the published criterion whose standing the page states


def page(rows: list[dict], title: str) -> str:
    """Markdown of all rows; means and deviations over the seeds, in brackets how many seeds where they differ."""
    parts = [f"# {title}", "", *_origin(rows), "", *_baselines([row for row in rows if "criterion" not in row])]
    for scope in dict.fromkeys(row["scope"] for row in rows if "scope" in row):
        parts += ["", *_scope([row for row in rows if row.get("scope") == scope], scope)]
    return "\n".join(parts) + "\n"


def _baselines(rows: list[dict]) -> list[str]:
    lines = ["## Before anything is pruned", "", "| network | parameters | MACs | test accuracy, % | validation, % |"]
    lines.append("|---|---|---|---|---|")
    for stage in dict.fromkeys(row["stage"] for row in rows):
        cell = [row for row in rows if row["stage"] == stage]
        lines.append(f"| {stage} | {_size(cell)} | {_mean(cell)} | {_mean(cell, 'val_accuracy')} |")
    return lines


def _scope(rows: list[dict], scope: str) -> list[str]:
    """One table: a line a criterion, a column a way of recovery; best first by the mean after ``ce``."""
    columns = [
        *((stage, lambda row, stage=stage: row["stage"] == stage) for stage in STAGES),
        *((loss, lambda row, loss=loss: row.get("loss") == loss) for loss in LOSSES),
    ]
    columns = [(title, test) for title, test in columns if any(map(test, rows))]
    lines = [f"## Scope: {scope}", "", f"{NOTES[scope]} Test accuracy, %.", ""]
    lines.append("| criterion | parameters | MACs | " + " | ".join(title for title, _ in columns) + " |")
    lines.append("|---" * (3 + len(columns)) + "|")
    cells = {
        name: [row for row in rows if row["criterion"] == name] for name in sorted({row["criterion"] for row in rows})
    }
    last = next((test for title, test in columns if title == "ce"), columns[-1][1])
    for name in sorted(cells, key=lambda name: (-_value(cells[name], last), name)):
        found = [_mean([row for row in cells[name] if test(row)]) for _, test in columns]
        lines.append(f"| {name} | {_size(cells[name])} | " + " | ".join(found) + " |")
    return [*lines, "", *_standing(cells, columns), *_losses(cells, columns)]


def _standing(cells: dict[str, list[dict]], columns: list[tuple[str, Callable[[dict], bool]]]) -> list[str]:
    """In words: the place of the subject in each column, over the seeds that all criteria of the column share."""
    lines = []
    for title, test in columns[1:]:  # a raw cut is chance for everyone
        found = {name: {row["seed"]: row["accuracy"] for row in rows if test(row)} for name, rows in cells.items()}
        found = {name: seeds for name, seeds in found.items() if seeds}
        if SUBJECT not in found or len(found) < 2:
            continue
        shared = sorted(set.intersection(*(set(seeds) for seeds in found.values())))
        means = {name: 100 * statistics.mean(seeds[s] for s in shared) for name, seeds in found.items() if shared}
        if not means:
            continue
        best = max(means, key=means.__getitem__)
        place = 1 + sum(mean > means[SUBJECT] for mean in means.values())  # who is equal shares the better place
        behind = means[best] - means[SUBJECT]
        ahead = "first" if place == 1 else f"{place} of {len(means)}, {behind:.2f} points behind {best}"
        lines.append(f"- {title}: {SUBJECT} is {ahead} (seeds {', '.join(map(str, shared))}).")
    return lines


def _losses(cells: dict[str, list[dict]], columns: list[tuple[str, Callable[[dict], bool]]]) -> list[str]:
    """In words: how often each loss is the best one for a criterion, over the seeds that all losses share."""
    columns = [(title, test) for title, test in columns if title in LOSSES]
    best: dict[str, int] = {}
    for rows in cells.values():
        found = {title: {row["seed"]: row["accuracy"] for row in rows if test(row)} for title, test in columns}
        shared = set.intersection(*(set(seeds) for seeds in found.values())) if found else set()
        if shared and len(found) > 1:
            means = {title: statistics.mean(seeds[s] for s in shared) for title, seeds in found.items()}
            winner = max(means, key=means.__getitem__)
            best[winner] = best.get(winner, 0) + 1
    order = sorted(best.items(), key=lambda item: -item[1])
    text = ", ".join(f"{title} for {count}" for title, count in order)
    return (
        [f"- Best loss on the seeds that all losses were run on: {text} of {sum(best.values())} criteria."]
        if best
        else []
    )


def _value(rows: list[dict], test: Callable[[dict], bool]) -> float:
    found = [row["accuracy"] for row in rows if test(row)]
    return statistics.mean(found) if found else 0.0


def _size(rows: list[dict]) -> str:
    params, macs = (statistics.mean(row[key] for row in rows) for key in ("params", "macs"))
    return f"{params:,.0f} | {macs / 1e6:.2f} M"


def _mean(rows: list[dict], key: str = "accuracy") -> str:
    if not rows:
        return ""
    values = [100 * row[key] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} ({len(values)})"


def _origin(rows: list[dict]) -> list[str]:
    """Says where the numbers come from, in one paragraph."""
    first = rows[0]["provenance"]
    data = first["data"]
    commits = sorted({str((r["provenance"]["git"] or {}).get("commit", "unknown"))[:10] for r in rows})
    tuned = next((r["recipe"] for r in rows if "recipe" in r), None)
    text = (
        f"Data {data['name']} (split {data['split_hash']}, test n = {rows[0]['n']}), seeds "
        f"{sorted({r['seed'] for r in rows})}, on {first['device']}, {first['threads']} threads, torch "
        f"{first['versions']['torch']}, commits {', '.join(commits)} (each row's in the JSON file). Mean and deviation "
        "over the seeds; in brackets how many seeds stand behind a number: where it is one, differences of a few "
        "tenths of a point mean nothing yet."
    )
    if tuned:
        text += (
            f" Fine-tuning after the closed form: {tuned['epochs']} epochs, one-cycle peak {tuned['lr']}, batch "
            f"{tuned['batch_size']}, the same for every cell; the epoch that is best on validation is kept."
        )
    return [text]
