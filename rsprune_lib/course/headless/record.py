"""How a notebook hands over its numbers: rows and figures beside its executed copy, as files that a report can read."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic, jsonable, read_json, write_json
from rsprune_lib.places import project_root
from rsprune_lib.plots import png
from rsprune_lib.records import Results, checked

__all__ = ["SCHEMA", "read_results", "record", "results_folder"]

SCHEMA = 1


def results_folder() -> Path:
    """Returns where a notebook's numbers go: ``RSPRUNE_RESULTS`` (set by the runner), else in ``runs/scratch``."""
    if os.environ.get("RSPRUNE_RESULTS"):
        return Path(os.environ["RSPRUNE_RESULTS"])
    notebook = Path(os.environ.get("JPY_SESSION_NAME") or "notebook").stem
    return project_root() / "runs" / "scratch" / notebook


def record(
    rows: Iterable[object] = (), figures: Mapping[str, Figure] | None = None, folder: Path | None = None
) -> Path:
    """Adds rows and figures to ``results.json`` of this notebook; what has the same name is replaced.

    Args:
        rows: `rsprune_lib.measure.Result` objects, or mappings with at least ``name``.
        figures: Title -> figure; saved as PNG beside the file and shown in the report under that title.
        folder: Where to write; by default `results_folder`.

    Returns:
        The path of ``results.json``.

    Raises:
        RspruneError: A row has no name.

    Example:
        >>> record([{"name": "dense", "params": 11181642}], figures={"Curves": figure})  # doctest: +SKIP
    """
    path = Path(folder or results_folder()) / "results.json"
    kept = read_results(path) if path.exists() else {"schema": SCHEMA, "rows": [], "figures": []}
    for row in map(_plain_row, rows):
        kept["rows"] = [r for r in kept["rows"] if r["name"] != row["name"]] + [row]
    for title, figure in (figures or {}).items():
        file = re.sub(r"\W+", "_", title.lower()).strip("_")[:60] + ".png"
        with atomic(path.parent / file) as temporary:
            temporary.write_bytes(png(figure))
        kept["figures"] = [f for f in kept["figures"] if f["file"] != file] + [{"title": title, "file": file}]
    return write_json(path, kept)


def read_results(path: Path) -> dict:
    """Reads a ``results.json`` that `record` wrote.

    Raises:
        RspruneError: It is no such file, or of another schema.
    """
    results = read_json(path, "the recorded results of a notebook")
    if results.get("schema") != SCHEMA:
        raise RspruneError(f"{path} has schema {results.get('schema')}, expected {SCHEMA}; run the notebook again.")
    return checked(Results, results, str(path))


def _plain_row(row: object) -> dict:
    if hasattr(row, "to_dict"):
        row = row.to_dict()
    elif dataclasses.is_dataclass(row):
        row = dataclasses.asdict(row)
    if not isinstance(row, Mapping) or not row.get("name"):
        raise RspruneError(
            f"Got the row {row!r:.80}; expected a Result or a mapping with a name, so that it can be found."
        )
    return jsonable(row)
