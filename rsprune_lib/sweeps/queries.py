"""Questions to the store: which rows, one setting against another, and tables of the answers in several formats."""

import csv
import io
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic, json_text, jsonable

__all__ = ["FORMATS", "SHOWN", "compare", "field", "rendered", "where", "write_parquet"]

FORMATS = ("table", "markdown", "csv", "json", "parquet")
SHOWN = ("name", "data", "part", "seed", "metric", "value", "low", "high", "n", "params", "macs", "latency_ms",
         "commit", "source")  # fmt: skip
_CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
_TESTS: dict[str, Callable] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
# what a run measures; everything else in a row says what was measured
_MEASURED = {
    "accuracy", "value", "low", "high", "ci", "ece", "nll", "n", "per_class", "latency_ms", "latency_iqr_ms",
    "latency_least_ms", "speed", "params", "macs", "params_paper", "val_accuracy", "best_epoch", "metrics", "name",
    "cell", "command", "code", "provenance", "out", "seconds", "folder", "val",
}  # fmt: skip


def field(row: Mapping, name: str) -> object:
    """Returns a column of a row, or what was recorded under that name, also among the values of a sweep's axes."""
    inner = row.get("row") or {}
    for place in (
        row,
        inner,
        inner.get("values") or {},
        inner.get("how") if isinstance(inner.get("how"), Mapping) else {},
    ):
        if place.get(name) is not None:
            return place[name]
    return None


def where(rows: Sequence[Mapping], conditions: Sequence[str]) -> list[Mapping]:
    """Returns the rows that meet all conditions.

    Args:
        rows: Of the store.
        conditions: Such as ``"data=eurosat"``, ``"params<=1e6"``, ``"criterion!=random"``; ``*`` stands for any text.

    Raises:
        RspruneError: A condition cannot be read, or no row has such a field.
    """
    for text in conditions:
        found = _CONDITION.fullmatch(text)
        if not found:
            raise RspruneError(f"Got the condition {text!r}; expected NAME=VALUE, or one of != < > <= >= between them.")
        name, sign, wanted = found.groups()
        if rows and all(field(row, name) is None for row in rows):
            raise RspruneError(
                f"No result has a field {name!r}; columns are {', '.join(SHOWN)}, and what rows recorded."
            )
        rows = [row for row in rows if _meets(field(row, name), sign, wanted)]
    return list(rows)


def _meets(value: object, sign: str, wanted: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        if sign in ("=", "!=") and "*" in wanted:
            import fnmatch

            return fnmatch.fnmatchcase(text, wanted) == (sign == "=")
        return _TESTS[sign](text, wanted)
    try:
        return _TESTS[sign](value, float(wanted))
    except ValueError:
        return sign == "!="


def compare(rows: Sequence[Mapping], name: str, one: str, other: str) -> list[dict]:
    """Pairs rows that differ in one field only.

    Args:
        rows: Of the store.
        name: Of the field, e.g. ``"criterion"``.
        one: Its value in the first row of a pair.
        other: In the second.

    Returns:
        Rows with ``what`` (the settings that both share), both values, ``difference`` in points (second less first) and
        ``clear``: whether the intervals of the two lie apart.

    Raises:
        RspruneError: No two rows pair up.
    """
    sides = [{_setting(row, name): row for row in where(rows, [f"{name}={value}"])} for value in (one, other)]
    found = []
    for key in (key for key in sides[0] if key in sides[1]):
        a, b = sides[0][key], sides[1][key]
        if None in (a["value"], b["value"]):
            continue
        unknown = None in (a["low"], a["high"], b["low"], b["high"])
        apart = None if unknown else a["high"] < b["low"] or b["high"] < a["low"]
        what = ", ".join(f"{k}={v}" for k, v in key if k not in ("table", "dirty"))
        pair = {"what": what, "metric": a["metric"], one: a["value"], other: b["value"]}
        found.append(pair | {"difference": 100 * (b["value"] - a["value"]), "clear": apart})
    if not found:
        raise RspruneError(
            f"No two results differ in {name} ({one}, {other}) alone: {len(sides[0])} have the one, {len(sides[1])} "
            "the other, all in other settings; choose with --where what is to be compared."
        )
    return found


def _setting(row: Mapping, name: str) -> tuple:
    """What was measured, without one field, as a key."""
    inner = row["row"]
    plain = {k: v for k, v in {**inner, **(inner.get("values") or {})}.items() if isinstance(v, str | int | float)}
    plain |= {"data": row["data"], "part": row["part"], "seed": row["seed"], "metric": row["metric"]}
    return tuple(sorted((k, v) for k, v in plain.items() if k not in _MEASURED and k != name and v is not None))


def rendered(rows: Sequence[Mapping], form: str, columns: Sequence[str] | None = None) -> str:
    """Returns rows as text.

    Args:
        rows: Of the store, or of `compare`.
        form: ``"table"``, ``"markdown"``, ``"csv"`` or ``"json"``.
        columns: Their fields, in order; those that any row has by default.
    """
    if form == "json":
        return json_text(list(rows), indent=1)
    names = columns or list(dict.fromkeys(k for row in rows for k in row if k != "row"))
    names = [name for name in names if any(field(row, name) is not None for row in rows)]
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([names, *([field(row, name) for name in names] for row in rows)])
        return text.getvalue().rstrip("\n")
    body = [[_text(name, field(row, name)) for name in names] for row in rows]
    if form == "markdown":
        return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["---"] * len(names), *body])
    widths = [max(map(len, column)) for column in zip(names, *body, strict=True)] if names else []
    return "\n".join(
        "  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in [names, *body]
    )


def _text(name: str, value: object) -> str:
    if value is None:
        return "–"
    if name == "commit":
        return str(value)[:9]
    if name in ("params", "macs", "n"):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/").replace("\n", " ")


def write_parquet(rows: Sequence[Mapping], path: Path) -> None:
    """Writes rows as a Parquet file.

    Raises:
        RspruneError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise RspruneError("Parquet needs DuckDB, which is not installed; get it with: pip install duckdb") from None
    import tempfile

    with tempfile.TemporaryDirectory() as folder, atomic(path) as temporary:
        lines = Path(folder) / "rows.json"
        lines.write_text("\n".join(json.dumps(jsonable({**r, "row": json.dumps(r.get("row"))})) for r in rows))
        quoted = str(temporary).replace("'", "''")
        duckdb.sql(
            f"COPY (SELECT * FROM read_json('{lines}', format='newline_delimited')) TO '{quoted}' (FORMAT parquet)"
        )
