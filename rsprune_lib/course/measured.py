"""The measured tables that come with the course: long runs that a notebook shows but does not repeat."""

import statistics
from collections.abc import Sequence

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json
from rsprune_lib.places import project_root

__all__ = ["measured", "over_seeds"]


def measured(name: str = "fair_table", **where: object) -> list[dict]:
    """Returns the rows of ``results/NAME.json`` that match; none where the table has not been measured.

    Args:
        name: Name of the table.
        **where: Columns and what they must hold, e.g. ``stage="fine-tuned"``.

    Raises:
        RspruneError: The file is no table.

    Example:
        >>> measured("fair_table", criterion="no such criterion")
        []
    """
    path = project_root() / "results" / f"{name}.json"
    if not path.is_file():
        return []
    rows = read_json(path, "a table of results").get("rows")
    if not isinstance(rows, list):
        raise RspruneError(f"{path} holds no rows; measure the table again.")
    return [row for row in rows if all(row.get(key) == value for key, value in where.items())]


def over_seeds(rows: Sequence[dict], by: str, value: str = "accuracy") -> dict[str, tuple[float, float | None, int]]:
    """Groups rows by a column and returns (mean, standard deviation, number of seeds) of a number, largest mean first.

    Args:
        rows: From `measured`.
        by: Column to group by.
        value: Column to average; rows without it are left out. The deviation of a single row is None.
    """
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.get(value) is not None and by in row:
            groups.setdefault(str(row[by]), []).append(row[value])
    table = {
        key: (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
        for key, values in groups.items()
    }
    return dict(sorted(table.items(), key=lambda item: -item[1][0]))
