"""Results as tables: which columns, in which order, written how; in plain text and as cells for the report."""

from collections.abc import Mapping, Sequence

from rsprune_lib.colours import short

__all__ = ["CLOSING", "cells", "closing_rows", "closing_table"]

# what closing tables are made of, in a notebook, in the report and in plain text
CLOSING = ("name", "params", "macs", "latency_ms", "speed", "accuracy", "metrics", "ci", "n", "part", "provenance")

_IOU = ("mIoU", "minority mIoU", "worst class")
_HEADS = {
    "name": "network",
    "params": "parameters",
    "macs": "MACs",
    "latency_ms": "latency, ms",
    "speed": "speed",
    "accuracy": "accuracy",
    **{name: name for name in _IOU},
    "ci": "95 % interval",
    "n": "images",
    "ece": "calibration error",
    "part": "part",
}
_HIDDEN = {
    "metric", "notebook", "provenance", "per_class", "latency_iqr_ms", "latency_least_ms", "batch", "nll", "confusion",
    "schema",
}  # fmt: skip


def closing_rows(rows: Sequence[Mapping]) -> list[Mapping]:
    """Returns the rows that describe a network (parameters and MACs); a name that returns keeps its last row."""
    networks = {row["name"]: row for row in rows if row.get("params") is not None and row.get("macs") is not None}
    return list(networks.values())


def cells(rows: Sequence[Mapping]) -> tuple[list[str], list[list[str]]]:
    """Turns rows into a heading and texts: known columns first, empty ones left out.

    Args:
        rows: What `rsprune_lib.course.headless.record` wrote.

    Returns:
        Column heads and one list of texts a row; a network of synthetic data says so behind its name. Segmentation has
        its numbers from ``metrics`` in place of the accuracy.
    """
    rows = [_spread(row) for row in rows]
    keys = [k for k in _HEADS if any(row.get(k) is not None for row in rows)]
    extra = dict.fromkeys(k for row in rows for k in row if k not in _HEADS and k not in _HIDDEN)
    keys += [k for k in extra if any(isinstance(row.get(k), int | float | str) for row in rows)]
    heads = [_HEADS.get(k, k.replace("_", " ")) for k in keys]
    return heads, [[_text(key, row.get(key), row) for key in keys] for row in rows]


def closing_table(rows: Sequence[Mapping]) -> str:
    """Returns the networks of a run as a table in plain text; a sentence where there are none."""
    networks = closing_rows(rows)
    if not networks:
        return "No notebook recorded a network."
    heads, body = cells([{key: row.get(key) for key in CLOSING} for row in networks])
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    lines = [heads, ["-" * w for w in widths], *body]
    return "\n".join(
        "  ".join(
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _spread(row: Mapping) -> Mapping:
    named = {name: value for name, value in (row.get("metrics") or {}).items() if name in _IOU}
    return {**row, **named, "accuracy": None} if named else row


def _text(key: str, value: object, row: Mapping) -> str:
    data = (row.get("provenance") or {}).get("data") or {}
    if key == "name":
        return f"{value} (synthetic)" if data.get("synthetic") and "synthetic" not in str(value) else str(value)
    if not isinstance(value, int | float | str | list):
        return "–"
    if key == "ci":
        if None in value:
            return "–"
        return f"{value[0]:.2%} – {value[1]:.2%}"
    if key in ("params", "n"):
        return f"{value:,}"
    if key == "macs":
        return short(value)
    if isinstance(value, float) and ("accuracy" in key or key in _IOU):
        return f"{value:.2%}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
