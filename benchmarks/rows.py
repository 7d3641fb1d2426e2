"""Lines of the speed tables and how they are rendered, and where all scripts here write."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# a cell of a sweep has a folder of its own for both (`rsprune reproduce` names it)
RESULTS = Path(os.environ.get("RSPRUNE_TABLES") or ROOT / "results")
RUNS = Path(os.environ["RSPRUNE_TABLES"]) / "runs" if os.environ.get("RSPRUNE_TABLES") else ROOT / "runs"


def row(name: str, ours: float, baseline: float, against: str, ratio: float | None, budget: float | None) -> dict:
    """One line of the table."""
    return {"name": name, "ours": ours, "baseline": baseline, "against": against, "ratio": ratio, "budget": budget}


def table(rows: list[dict]) -> str:
    """Renders the rows as a Markdown table."""
    lines = ["| what | ours | baseline | baseline is | ratio | budget |", "|---|---|---|---|---|---|"]
    for r in rows:
        ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
        budget = "" if r["budget"] is None else f"{r['budget']:g}"
        lines.append(f"| {r['name']} | {r['ours']:.3g} | {r['baseline']:.3g} | {r['against']} | {ratio} | {budget} |")
    return "\n".join(lines)
