"""Published numbers as data, each with its source and protocol, and ours beside them."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from rsprune_lib.files import read_json

__all__ = ["beside", "published"]


@cache
def published() -> tuple[dict, ...]:
    """Returns all published rows.

    Returns:
        Rows with ``table``, ``system``, ``source``, ``protocol``, ``explained``, ``name``, ``data``, ``metric``,
        ``value`` (a share) and, where known, ``params``, ``macs`` and ``ours``: what our rows beside it must hold.
    """
    tables = read_json(Path(__file__).with_name("published.json"), "published numbers")["tables"]
    return tuple(
        {"table": name, **{key: table[key] for key in ("system", "source", "protocol", "explained")}, **row}
        for name, table in tables.items()
        for row in table["rows"]
    )


def beside(rows: Sequence[Mapping], wanted: Sequence[str] = ()) -> list[dict]:
    """Returns published rows with the mean of ours beside them.

    Args:
        rows: Of a `rsprune_lib.sweeps.store.Store`; those of the test part count.
        wanted: Tables; all by default.

    Returns:
        The published row with ``mean``, ``spread`` (deviation over the seeds, None for one), ``seeds``, ``commits`` and
        ``difference`` in points; ``mean`` is None where we have not measured it.
    """
    found = []
    for row in published():
        if wanted and row["table"] not in wanted:
            continue
        ours = [own for own in rows if own.get("part") == "test" and _stands_beside(own, row)]
        found.append(row | _mean(ours, row["value"]))
    return found


def _stands_beside(own: Mapping, row: Mapping) -> bool:
    wanted = row.get("ours")
    held = {**(own.get("row") or {}), **own}
    held["table"] = held.get("table") or Path(str(own.get("source"))).stem
    return bool(wanted) and own.get("metric") == row["metric"] and all(held.get(k) == v for k, v in wanted.items())


def _mean(ours: Sequence[Mapping], value: float) -> dict:
    from statistics import mean, stdev

    seeds = {own.get("seed"): own for own in ours}  # the last of a seed
    values = [own["value"] for own in seeds.values()]
    if not values:
        return {"mean": None, "spread": None, "seeds": [], "commits": [], "difference": None}
    commits = sorted({str(own.get("commit") or "unknown")[:9] for own in seeds.values()})
    return {
        "mean": mean(values), "spread": stdev(values) if len(values) > 1 else None, "commits": commits,
        "seeds": sorted(seeds, key=str), "difference": 100 * (mean(values) - value),
    }  # fmt: skip
