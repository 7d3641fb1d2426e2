"""What a cell measured: the rows that its commands printed or wrote, with the cell and their origin beside them."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsprune_lib.files import parse_json
from rsprune_lib.records import Kept, MeasuredRow, Number, Whole
from rsprune_lib.sweeps.keys import Order, shown

__all__ = ["CellResult", "rows_of", "rows_within"]


class _CellRow(MeasuredRow):
    name: str
    job: str
    cell: str
    values: dict[str, Any]


class CellResult(Kept):
    """What is read of the record of a finished cell."""

    rows: list[_CellRow]
    host: str
    seconds: Number
    tries: Whole


def rows_within(found: object) -> list[dict]:
    """Returns the rows of a table or of what a command printed: its ``rows``, else itself if it measures something."""
    if not isinstance(found, dict):
        return []
    if isinstance(found.get("rows"), list):
        return [row for row in found["rows"] if isinstance(row, dict)]
    measured = ("accuracy", "params", "metrics", "name", "latency_ms")
    return [found] if any(key in found for key in measured) else []


def rows_of(order: Order, folder: Path) -> list[dict]:
    """Returns the rows of a cell whose commands have ended.

    Args:
        order: Of the cell.
        folder: Where its commands ran.
    """
    cell, rows = order.cell, []
    about = {"job": cell.job, "cell": cell.name, "values": dict(cell.values), "code": order.code}
    for number, words in enumerate(cell.steps):
        for row in _printed(folder / f"step{number}.out"):
            rows.append(row | about | {"name": str(row.get("name") or cell.name), "command": shlex.join(shown(words))})
    for path in sorted((folder / "out").glob("*.json")):
        if any(words[0] == "python" for words in cell.steps):
            rows += [row | about | {"table": path.stem} for row in rows_within(_parsed(path.read_text("utf-8")))]
    return [row if row.get("provenance") else row | {"provenance": _origin(order, row)} for row in rows]


def _printed(path: Path) -> Iterator[dict]:
    """The JSON object in the last line that a command printed."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.is_file() else []
    yield from rows_within(_parsed(lines[-1])) if lines else ()


def _parsed(text: str) -> object:
    try:
        return parse_json(text)
    except ValueError:
        return None


def _origin(order: Order, row: dict) -> dict:
    """Where numbers come from whose command does not say so; loaded late, because it takes PyTorch."""
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import provenance

    seed = order.cell.values.get("seed")
    seed = seed if isinstance(seed, int) else None
    found = provenance(None, seed=seed, profile=order.profile, device=pick_device())
    data = {"name": row.get("data"), "synthetic": row.get("synthetic")}
    return found | {"data": data if isinstance(row.get("data"), str) else None, "threads": order.threads}
