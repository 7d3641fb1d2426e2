"""The store of results: one row per measured number, with where it comes from, in a sqlite file or in memory.

Rows are read from tables (``results/*.json``), folders of sweeps and of course runs, and bundles. A row is known by its
content, so that reading twice adds nothing, and a number that was measured anew stands beside the old one, each with
its commit.
"""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rsprune_lib.errors import RspruneError, visible
from rsprune_lib.files import committed, parse_json, read_json
from rsprune_lib.places import absolute
from rsprune_lib.records import Kept, MeasuredRow, Origin, checked
from rsprune_lib.run_mark import kind_of
from rsprune_lib.sweeps.attempts import read_result
from rsprune_lib.sweeps.rows import CellResult, rows_within

__all__ = ["COLUMNS", "Store", "sources_below"]

COLUMNS = {
    "id": "TEXT PRIMARY KEY", "source": "TEXT", "name": "TEXT", "job": "TEXT", "data": "TEXT", "synthetic": "INTEGER",
    "part": "TEXT", "profile": "TEXT", "seed": "INTEGER", "metric": "TEXT", "value": "REAL", "low": "REAL",
    "high": "REAL", "n": "INTEGER", "params": "INTEGER", "macs": "INTEGER", "latency_ms": "REAL", "device": "TEXT",
    "torch": "TEXT", "code": "TEXT", "commit": "TEXT", "dirty": "INTEGER", "date": "TEXT", "command": "TEXT",
    "row": "TEXT",
}  # fmt: skip
_TYPES = {"TEXT": str | None, "INTEGER": int | None, "REAL": int | float | None}


class _Network(Kept):
    cells: dict[str, dict[str, Any]] | None = None


class _Recoveries(Kept):
    networks: dict[str, _Network]
    provenance: Origin | None = None


class Store:
    """Rows in sqlite.

    Args:
        path: Of the file; in memory without one.

    Raises:
        RspruneError: The file is no store.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        columns, self._name = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items()), path or "the memory"
        with self._readable():
            if path is not None:
                absolute(path).parent.mkdir(parents=True, exist_ok=True)
            self._sql = sqlite3.connect(str(absolute(path)) if path is not None else ":memory:")
            self._sql.execute(f"CREATE TABLE IF NOT EXISTS results ({columns})")
            found = [line[1] for line in self._sql.execute("PRAGMA table_info(results)")]
        if found != list(COLUMNS):
            raise RspruneError(
                f"{path} holds a table of other columns, so it is no store of results; choose another file."
            )

    def collect(self, sources: Iterable[str | Path]) -> int:
        """Reads rows and returns how many were new.

        Args:
            sources: Tables, bundles, folders of runs, or folders that hold such.

        Raises:
            RspruneError: One is none of these.
        """
        marks, new = ", ".join("?" * len(COLUMNS)), 0
        for source in sources:
            lines = [_line(name, row) for path in sources_below(absolute(source)) for name, row in _checked(path)]
            with self._readable(), self._sql:
                new += self._sql.executemany(f"INSERT OR IGNORE INTO results VALUES ({marks})", lines).rowcount
        return new

    def rows(self) -> list[dict]:
        """Returns all rows: the columns, and under ``row`` everything that was recorded.

        Raises:
            RspruneError: The file is damaged, or holds rows that this library did not write.
        """
        with self._readable():
            found = self._sql.execute("SELECT * FROM results ORDER BY source, rowid").fetchall()
            rows = [dict(zip(COLUMNS, line, strict=True)) for line in found]
            for row in rows:
                wrong = next((k for k, v in row.items() if not isinstance(v, _TYPES[COLUMNS[k].split()[0]])), None)
                if wrong or not isinstance(kept := parse_json(row["row"] or ""), dict):
                    raise ValueError(f"{wrong or 'row'} is {row[wrong or 'row']!r:.60}")
                row["row"] = checked(MeasuredRow, kept, f"A row of {self._name}")
        return rows

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Says in a sentence what sqlite or a row in the file has against it."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise RspruneError(
                f"Cannot use {self._name} as a store of results ({error}); choose another file, or make room."
            ) from None


def sources_below(path: Path) -> Iterator[Path]:
    """Yields what holds rows: the path itself, or the tables, runs and bundles that lie in a folder.

    Raises:
        RspruneError: There is nothing at the path.
    """
    if path.is_file() or kind_of(path) in ("sweep", "course") or committed(path, "config.json").is_file():
        yield path
        return
    if not path.is_dir():
        raise RspruneError(f"Found nothing at {path}; expected a table, a run, a bundle, or a folder of them.")
    for inner in sorted(path.iterdir()):
        if inner.suffix == ".json" and inner.is_file():
            yield inner
        elif inner.is_dir() and (kind_of(inner) in ("sweep", "course") or (inner / "config.json").is_file()):
            yield inner


def _checked(path: Path) -> Iterator[tuple[str, dict]]:
    """Source and row of everything that a table, a run or a bundle recorded."""
    for number, (name, row) in enumerate(_rows(path), 1):
        yield visible(name), checked(MeasuredRow, row, f"Row {number} of {path}")


def _rows(path: Path) -> Iterator[tuple[str, dict]]:
    """The rows as they were read, whoever wrote them."""
    if path.is_file():
        found = read_json(path, "a table of results")
        for row in [*rows_within(found if isinstance(found.get("rows"), list) else {}), *_of_recoveries(found)]:
            yield path.name, row
    elif (kind := kind_of(path)) == "sweep":
        for folder in sorted((path / "cells").glob("*/result.json")):
            for row in checked(CellResult, read_result(path, folder.parent.name), str(folder))["rows"]:
                yield path.name, row
    elif kind == "course":
        for row in rows_within(read_json(path / "results.json", "the results of a run")):
            yield path.name, row
    else:
        config = read_json(committed(path, "config.json"), "the description of a bundle")
        origin = {"provenance": config.get("provenance") or {}, "command": config.get("command")}
        yield path.name, {**(config.get("measured") or {}), **origin}


def _of_recoveries(found: Mapping) -> Iterator[dict]:
    """Rows of the table of recoveries, which keeps cells by name for each network."""
    networks = found.get("networks")
    if isinstance(networks, Mapping):
        checked(_Recoveries, dict(found), "The table of recoveries")
    for network in networks.values() if isinstance(networks, Mapping) else ():
        for name, cell in (network.get("cells") or {}).items():
            origin = found.get("provenance") or {}
            git = {"commit": cell.get("commit") or (origin.get("git") or {}).get("commit")}
            about = {"name": name, "network": network.get("folder"), "part": found.get("part")}
            yield about | cell | {"provenance": origin | {"git": git, "date": cell.get("date") or origin.get("date")}}


def _line(source: str, row: Mapping) -> tuple:
    """A row as the values of `COLUMNS`."""
    origin = row.get("provenance") or {}
    data, git = origin.get("data") or {}, origin.get("git") or {}
    metric = row.get("metric") or "accuracy"
    value = (row.get("metrics") or {}).get(metric, row.get("accuracy", row.get("test_accuracy")))
    low, high = row.get("ci") or (None, None)
    text = json.dumps(row, sort_keys=True)
    held = {
        "id": hashlib.sha256(f"{source} {text}".encode()).hexdigest()[:16], "source": source,
        "name": str(row.get("name") or row.get("network") or row.get("stage") or source), "job": row.get("job"),
        "data": data.get("name") or row.get("data"), "synthetic": data.get("synthetic", row.get("synthetic")),
        "part": row.get("part") or row.get("split"), "profile": origin.get("profile"),
        "seed": row.get("seed", origin.get("seed")), "metric": metric, "value": value, "low": low, "high": high,
        "n": row.get("n"), "params": row.get("params"), "macs": row.get("macs"), "latency_ms": row.get("latency_ms"),
        "device": origin.get("device"), "torch": (origin.get("versions") or {}).get("torch"), "code": row.get("code"),
        "commit": git.get("commit"), "dirty": git.get("dirty"), "date": origin.get("date"),
        "command": row.get("command"), "row": text,
    }  # fmt: skip
    return tuple(value if isinstance(value, str | int | float | None) else str(value) for value in held.values())
