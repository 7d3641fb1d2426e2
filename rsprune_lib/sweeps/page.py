"""One page about sweeps and course runs: summary, figures, tables, what failed and why, where the numbers come from.

It is made of the same parts as the report of a course run (`rsprune_lib.course.headless.report`), holds everything that
it shows, and opens offline.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

from rsprune_lib.colours import short
from rsprune_lib.course.headless.report import checked_run, page, picture, plain_table, provenance_table, sections
from rsprune_lib.errors import RspruneError, visible
from rsprune_lib.files import atomic, read_json
from rsprune_lib.places import absolute
from rsprune_lib.plots import pareto, png
from rsprune_lib.records import Inside, Kept, Whole, checked
from rsprune_lib.run_mark import kind_of
from rsprune_lib.sweeps.attempts import read_result
from rsprune_lib.sweeps.published import beside
from rsprune_lib.sweeps.rows import CellResult
from rsprune_lib.sweeps.store import Store
from rsprune_lib.sweeps.summary import TITLES

__all__ = ["write_page"]

_MOST = 400  # lines of a table; the rest is in the files


class _Bad(Kept):
    cell: str
    state: str
    error: str
    again: str | None = None


class _Head(Kept):
    title: str
    profile: str
    file: str
    code: str
    cells: list[Inside]
    about: str | None = None
    published: list[str] | None = None


class _Summary(Kept):
    date: str
    again: str
    command: str | None = None
    jobs: dict[str, dict[Literal[*TITLES], Whole]]
    failed: list[_Bad]


def write_page(runs: Sequence[str | Path], out: str | Path) -> dict:
    """Writes the page.

    Args:
        runs: Folders of sweeps and of course runs.
        out: The HTML file.

    Returns:
        ``cells`` and ``failed``: how many of the sweeps there are.

    Raises:
        RspruneError: A folder is neither.
    """
    parts, facts = [], {"cells": 0, "failed": 0}
    for folder in map(absolute, runs):
        kind = kind_of(folder)
        if kind == "course":
            found, link = checked_run(folder), f"{os.path.relpath(folder, absolute(out).parent)}/"
            parts += sections(found, folder, link=link)
        elif kind == "sweep":
            made, counts = _sweep(folder)
            parts += made
            facts = {key: facts[key] + counts[key] for key in facts}
        else:
            raise RspruneError(f"{folder} is no folder of a sweep or of a course run; give one that rsprune wrote.")
    title = "Reproduced" if len(runs) > 1 else f"Report: {absolute(runs[0]).name}"
    with atomic(out) as temporary:
        temporary.write_text(page(title, "\n".join(parts)), encoding="utf-8")
    return facts


def _sweep(folder: Path) -> tuple[list[str], dict]:
    """The parts of one sweep, and how many cells it has."""
    head, summary = (
        checked(model, read_json(folder / name, what), str(folder / name))
        for model, name, what in ((_Head, "sweep.json", "a sweep"), (_Summary, "summary.json", "a summary of a sweep"))
    )
    names = [name for name in head["cells"] if (folder / "cells" / name).is_dir()]
    read = {name: _result(folder, name) for name in names}
    results = [result for result in read.values() if isinstance(result, dict)]
    rows = [row for result in results for row in result["rows"]]
    bad = summary["failed"] + [
        {"cell": n, "error": r, "state": "damaged"} for n, r in read.items() if isinstance(r, str)
    ]
    counts = {"cells": len(head["cells"]), "failed": len(bad)}
    grouped = over_seeds(rows)
    parts = [_head(head, summary, counts, len(results), rows), _figures(grouped, rows), _table(grouped, rows)]
    parts += [_failed(bad, summary), _published(head, folder), _origin(head, summary, results, rows)]
    return [part for part in parts if part], counts


def _result(folder: Path, name: str) -> dict | str:
    try:
        found = read_result(folder, name)
        return checked(CellResult, found, str(folder / "cells" / name)) if found else "it is not finished"
    except RspruneError as error:
        return str(error)


def over_seeds(rows: Sequence[Mapping]) -> list[dict]:
    """Joins rows that differ in the seed only.

    Args:
        rows: Of cells, those with a leading number count.

    Returns:
        Rows with ``job``, the values, ``part``, ``params``, ``macs``, the leading number's ``mean`` and ``spread``,
        ``low`` and ``high`` (of the seeds; of one seed, its 95 % interval), and ``seeds``. Where some rows are of the
        test part, only those count.
    """
    held = [row for row in rows if _value(row) is not None]
    tested = [row for row in held if _part(row) == "test"]
    groups: dict[str, list[Mapping]] = {}
    places = Counter()  # several results of one cell, such as those of a notebook, are no seeds of each other
    for row in tested or held:
        values = {k: v for k, v in row["values"].items() if k != "seed"}
        known = repr((row["job"], places[row["cell"]], values, _part(row)))
        groups.setdefault(known, []).append(row)
        places[row["cell"]] += 1
    several = {row["job"] for row in tested or held if places[row["cell"]] > 1}
    return [_joined(own, own[0]["job"] in several) for own in groups.values()]


def _joined(own: Sequence[Mapping], named: bool) -> dict:
    first, numbers = own[-1], [_value(row) for row in own]
    low, high = (min(numbers), max(numbers)) if len(own) > 1 else tuple(first.get("ci") or (None, None))
    values = {k: v for k, v in first["values"].items() if k != "seed"}
    size = first.get("deployed") or first
    seeds = sorted({str((row.get("values") or {}).get("seed", "–")) for row in own})
    return {
        "job": first["job"], **({"result": first["name"]} if named else {}), **values, "part": _part(first),
        "metric": first.get("metric") or "accuracy",
        "mean": mean(numbers), "spread": stdev(numbers) if len(numbers) > 1 else None, "low": low, "high": high,
        "params": size.get("params"), "macs": size.get("macs"), "n": first.get("n"), "seeds": ", ".join(seeds),
    }  # fmt: skip


def _value(row: Mapping) -> float | None:
    value = (row.get("metrics") or {}).get(row.get("metric"), row.get("accuracy"))
    return value if isinstance(value, int | float) else None


def _part(row: Mapping) -> str | None:
    return row.get("part") or row.get("split")


def _lines(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of texts and numbers as a table, in the order of their keys; columns without a value are left out."""
    keys = [key for key in dict.fromkeys(k for row in rows for k in row) if any(row.get(key) for row in rows)]

    def text(key: str, value: object) -> str:
        if value is None or value == "":
            return "–"
        return short(value) if key == "macs" else f"{value:,}" if isinstance(value, int) else str(value)

    names = {"params": "parameters", "macs": "MACs", "n": "images"}
    return plain_table([names.get(k, k) for k in keys], [[text(k, row.get(k)) for k in keys] for row in rows])


def _differing(grouped: Sequence[Mapping]) -> list[str]:
    """Axes whose values differ between rows; the others say nothing."""
    fixed = ("job", "part", "metric", "mean", "spread", "low", "high", "params", "macs", "n", "seeds")
    axes = dict.fromkeys(key for row in grouped for key in row if key not in fixed)
    return [
        axis for axis in axes if axis == "result" or len({str(row.get(axis)) for row in grouped if axis in row}) > 1
    ]


def _head(head: Mapping, summary: Mapping, counts: Mapping, done: int, rows: Sequence[Mapping]) -> str:
    good = done == counts["cells"] and not counts["failed"]
    verdict = f'<span class="badge {"good" if good else "bad"}">{done} of {counts["cells"]} cells finished</span>'
    date = escape(summary["date"].replace("T", " "))
    facts = f"profile <b>{escape(head['profile'])}</b> · {date} · {escape(head['file'])}"
    note = ""
    if _synthetic(rows):
        note = (
            '<p class="note">Synthetic data: images were drawn by a program; their numbers say nothing about real '
            "scenes.</p>"
        )
    if head["profile"] != "full":
        note += f'<p class="note">Profile {escape(head["profile"])}: short schedules, made to try, not to quote.</p>'
    jobs = [{"job": job, **{TITLES[s]: n for s, n in own.items() if n}} for job, own in summary["jobs"].items()]
    about = f"<p>{escape(head['about'])}</p>" if head.get("about") else ""
    return f"<section><h1>{escape(head['title'])}</h1><p>{verdict} {facts}</p>{about}{note}{_lines(jobs)}</section>"


def _figures(grouped: Sequence[Mapping], rows: Sequence[Mapping]) -> str:
    """The plane of quality and MACs, one figure a data set and metric, with bars over the seeds."""
    parts, axes = [], [axis for axis in _differing(grouped) if axis != "data"]
    for data, metric in dict.fromkeys((row.get("data"), row["metric"]) for row in grouped):
        own = [row for row in grouped if (row.get("data"), row["metric"]) == (data, metric) and row.get("macs")]
        points = [row | _called(row, axes) | {metric: row["mean"]} for row in own]
        if len(points) > 1:
            title = f"{f'{data}: ' if data else ''}{metric} against MACs, {own[0]['part'] or 'no'} part"
            drawn = png(pareto(points, gain=metric, title=title, synthetic=_synthetic(rows)))
            parts.append(picture(drawn, title))
    note = '<p class="small">Bars: lowest to highest of the seeds; of one seed, the 95 % interval of its images.</p>'
    return f"<section><h2>Quality against cost</h2>{''.join(parts)}{note}</section>" if parts else ""


def _called(row: Mapping, axes: Sequence[str]) -> dict:
    """The family of a point by its job and words, and its own name by its numbers."""
    words = [str(row[axis]) for axis in axes if isinstance(row.get(axis), str)]
    numbers = [f"{row[axis]:g}" for axis in axes if isinstance(row.get(axis), int | float)]
    return {"series": ", ".join([str(row["job"]), *words])[:60], "name": ", ".join(numbers)}


def _synthetic(rows: Sequence[Mapping]) -> bool:
    return any(((row.get("provenance") or {}).get("data") or {}).get("synthetic") for row in rows)


def _table(grouped: Sequence[Mapping], rows: Sequence[Mapping]) -> str:
    if not grouped:
        return '<section><h2>Results</h2><p class="error">No cell measured anything.</p></section>'
    axes, lines = _differing(grouped), []
    for row in grouped[:_MOST]:
        spread = f" ± {100 * row['spread']:.2f}" if row["spread"] is not None else ""
        interval = f"{row['low']:.1%} – {row['high']:.1%}" if row["low"] is not None and row["spread"] is None else ""
        line = {"job": row["job"], **{axis: str(row.get(axis, "–")) for axis in axes}}
        line |= {row["metric"] + ", %": f"{100 * row['mean']:.2f}{spread}", "95 % interval": interval or None}
        lines.append(line | {k: row[k] for k in ("params", "macs", "n", "part", "seeds")})
    more = f'<p class="small">{len(grouped) - _MOST} more in the files.</p>' if len(grouped) > _MOST else ""
    return f"<section><h2>Results</h2>{_lines(lines)}{more}</section>"


def _failed(bad: Sequence[Mapping], summary: Mapping) -> str:
    if not bad:
        return ""
    items = "".join(
        f'<p class="error"><b>{escape(row["cell"])}</b> ({escape(row["state"])}): {escape(visible(row["error"]))}'
        + (f"<br><code>{escape(row['again'])}</code>" if row.get("again") and row["state"] == "failed" else "")
        + "</p>"
        for row in bad[:50]
    )
    more = f"<p>and {len(bad) - 50} more.</p>" if len(bad) > 50 else ""
    again = f'<p class="small">All of it: <code>{escape(summary["again"])}</code></p>'
    return f"<section><h2>What could not be reproduced, and why</h2>{items}{more}{again}</section>"


def _published(head: Mapping, folder: Path) -> str:
    if not head.get("published"):
        return ""
    store = Store()
    store.collect([folder])
    found = beside(store.rows(), head["published"])
    lines = [
        {"name": row["name"], "data": row["data"], "metric": row["metric"], "published": f"{row['value']:.2%}",
         "ours": "not measured" if row["mean"] is None else f"{row['mean']:.2%}"} for row in found
    ]  # fmt: skip
    said = "".join(
        f'<p class="small"><b>{escape(row["system"])}</b>: {escape(row["source"])}. {escape(row["protocol"])} '
        f"{escape(row['explained'])}</p>"
        for row in {row["table"]: row for row in found}.values()
    )
    return f"<section><h2>Published numbers</h2>{_lines(lines)}{said}</section>"


def _origin(head: Mapping, summary: Mapping, results: Sequence[Mapping], rows: Sequence[Mapping]) -> str:
    """Where the numbers come from; more than one commit, device or version is said."""
    origins = [row.get("provenance") or {} for row in rows]

    def seen(read: object) -> str:
        found = dict.fromkeys(str(value) for value in map(read, origins) if value)  # type: ignore[arg-type]
        return ", ".join(found)

    def commit(origin: Mapping) -> str:
        git = origin.get("git") or {}
        return git.get("commit", "")[:12] + (" with local changes" if git.get("dirty") else "")

    names = ("name", "content_hash", "split_hash")
    data = seen(lambda o: " ".join(str((o.get("data") or {}).get(k) or "") for k in names).strip())
    facts = {
        "command": summary.get("command"), "code": head["code"], "git commit": seen(commit),
        "data, content, split": data,
        "device": seen(lambda o: o.get("device")), "versions": seen(lambda o: o.get("versions")),
        "machines": ", ".join(sorted({result["host"] for result in results})),
        "time of all cells, h": f"{sum(result['seconds'] for result in results) / 3600:.2f}",
        "tries": f"{sum(result['tries'] for result in results)} for {len(results)} cells",
    }  # fmt: skip
    return provenance_table(facts)
