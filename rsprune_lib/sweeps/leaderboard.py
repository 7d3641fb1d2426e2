"""Who leads at equal cost: every way of choosing channels, with what was done after the cut, beside its equals.

Two rows are equals where their MACs differ by at most 5 %, or, measured on one machine and batch, their latency by at
most 10 %.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean, median, stdev

from rsprune_lib.colours import short
from rsprune_lib.course.headless.report import page, plain_table
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic
from rsprune_lib.sweeps.queries import field

__all__ = ["Board", "Entry", "boards", "markdown", "write_leaderboard"]

_MACS, _LATENCY = 1.05, 1.10
_CALM = 0.3  # times whose quartiles lie further apart than this share of their median rank nothing
_WHOLE = ("", "dense", "trained on")  # methods that cut nothing
ABOUT = (
    "Networks that were cut, ranked on the test part beside those of the same cost: MACs within 5 %, or latency within "
    "10 % on the same machine. Mean over the seeds, their deviation, and how many there are. A cross stands where the "
    "best of its board is not clearly ahead: their intervals overlap, or it is the best itself. Latency was taken when "
    "a row was measured, not in turn with the others: small differences of it say nothing."
)
HEADS = (
    "", "chosen by", "scope", "after the cut", "quality, %", "seeds", "even with the best", "parameters", "MACs", "ms",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One way, over its seeds.

    Attributes:
        way: Criterion or method, scope, and what was done after the cut.
        values: Quality of each seed, shares.
        low: Lowest that it may be: of the seeds, or the 95 % interval of one.
        high: Highest.
        params: Parameters, the mean over the seeds.
        macs: Multiply-accumulates an image, the mean over the seeds.
        latency: Milliseconds a batch, the median over calm measurements; None where there is none.
    """

    way: tuple[str, str, str]
    values: tuple[float, ...]
    low: float
    high: float
    params: int
    macs: int
    latency: float | None

    @property
    def quality(self) -> float:
        """Mean over the seeds."""
        return mean(self.values)


@dataclass(frozen=True)
class Board:
    """Entries of equal cost, best first.

    Attributes:
        title: Data, metric and cost, in words.
        entries: At least two.
    """

    title: str
    entries: tuple[Entry, ...]

    def lines(self, most: int | None = None) -> list[list[str]]:
        """Returns the cells of the table below `HEADS`, of the first ``most`` entries."""
        return [self._line(place, entry) for place, entry in enumerate(self.entries[:most], 1)]

    def _line(self, place: int, entry: Entry) -> list[str]:
        spread = f" ± {100 * stdev(entry.values):.2f}" if len(entry.values) > 1 else ""
        ms = "–" if entry.latency is None else f"{entry.latency:.3g}"
        even = "×" if entry.high >= self.entries[0].low else ""
        return [str(place), *entry.way, f"{100 * entry.quality:.2f}{spread}", str(len(entry.values)), even,
                f"{entry.params:,}", short(entry.macs), ms]  # fmt: skip


def boards(rows: Sequence[Mapping]) -> list[Board]:
    """Returns all boards, those of equal MACs before those of equal latency.

    Args:
        rows: Of a `rsprune_lib.sweeps.store.Store`; those of the test part with a criterion or method and MACs count.
    """
    tested = [row for row in rows if row["part"] == "test" and row["macs"] and row["value"] is not None]
    own = [row for row in tested if _way(row)[0] not in _WHOLE]
    found = []
    for data, metric in dict.fromkeys((row["data"], row["metric"]) for row in own):
        here = [row for row in own if (row["data"], row["metric"]) == (data, metric)]
        for near in _near(_entries(here), lambda entry: entry.macs, _MACS):
            found.append(_board(f"{data}, {metric}, {short(round(mean(e.macs for e in near)))} MACs", near))
    for data, metric, device, batch in dict.fromkeys(map(_timed, own)):
        here = [row for row in own if _timed(row) == (data, metric, device, batch)]
        timed = [entry for entry in _entries(here) if entry.latency]
        for near in _near(timed, lambda entry: entry.latency or 0, _LATENCY):
            cost = f"{median(e.latency or 0 for e in near):.3g} ms, batch {batch}, {device}"
            found.append(_board(f"{data}, {metric}, {cost}", near))
    return found


def _board(title: str, entries: Sequence[Entry]) -> Board:
    return Board(title, tuple(sorted(entries, key=lambda entry: -entry.quality)))


def _way(row: Mapping) -> tuple[str, str, str]:
    """Who chose the channels, in which scope, and what was done after the cut."""
    stage, loss = field(row, "stage") or field(row, "job") or "", field(row, "loss")
    after = f"{stage}, {loss}" if loss and stage in ("fine-tuned", "tuned") else str(stage)
    who = field(row, "criterion") or field(row, "method")
    if who is None and field(row, "ratio"):  # a way of cutting and repairing, in words
        who, after = field(row, "way"), after or "no training"
    return str(who or ""), str(field(row, "scope") or ""), after


def _timed(row: Mapping) -> tuple:
    return row["data"], row["metric"], row["device"] or "machine not recorded", field(row, "batch")


def _entries(rows: Sequence[Mapping]) -> list[Entry]:
    """Joins rows that differ in their seed and cost little apart; the last row of a seed counts."""
    ways: dict[tuple, dict] = {}
    for row in rows:
        network = field(row, "network")
        key = (
            _way(row),
            row["source"],
            str(network),
            field(row, "keep") or field(row, "ratio") or field(row, "budget"),
        )
        ways.setdefault(key, {})[row["seed"]] = row
    return [_entry(key[0], list(seeds.values())) for key, seeds in ways.items()]


def _entry(way: tuple[str, str, str], rows: Sequence[Mapping]) -> Entry:
    values = tuple(row["value"] for row in rows)
    low, high = (min(values), max(values)) if len(values) > 1 else (rows[0]["low"], rows[0]["high"])
    calm = [row["latency_ms"] for row in rows if _calm(row)]
    sizes = (round(mean(row[key] or 0 for row in rows)) for key in ("params", "macs"))
    known = (values[0] if low is None else low, values[0] if high is None else high)
    return Entry(way, values, *known, *sizes, median(calm) if calm else None)


def _calm(row: Mapping) -> bool:
    spread = field(row, "latency_iqr_ms")
    return bool(row["latency_ms"]) and isinstance(spread, int | float) and spread <= _CALM * row["latency_ms"]


def _near(entries: Sequence[Entry], cost: Callable[[Entry], float], factor: float) -> list[list[Entry]]:
    """Groups of two and more whose dearest costs at most ``factor`` times the cheapest, dearest group first."""
    groups: list[list[Entry]] = []
    for entry in sorted(entries, key=cost, reverse=True):
        if groups and cost(groups[-1][0]) <= factor * cost(entry):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return [group for group in groups if len(group) > 1]


def markdown(found: Sequence[Board], most: int = 12) -> str:
    """Returns the boards as Markdown, the first ``most`` entries of each."""
    parts = ["# Leaderboard", "", ABOUT, ""]
    for board in found:
        rest = len(board.entries) - most
        lines = [HEADS, ["---"] * len(HEADS), *board.lines(most)]
        parts += [f"## {_plain(board.title)}", "", *(f"| {' | '.join(map(_plain, line))} |" for line in lines), ""]
        parts += [f"{rest} more.", ""] if rest > 0 else []
    return "\n".join(parts).rstrip() + "\n"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def write_leaderboard(rows: Sequence[Mapping], out: str | Path) -> int:
    """Writes the page, HTML or (``.md``) Markdown, and returns how many boards it has.

    Raises:
        RspruneError: No two results are equals, or the file has another ending.
    """
    found, ending = boards(rows), Path(out).suffix.lower()
    if ending not in (".html", ".md"):
        raise RspruneError(f"Got {out} for a leaderboard; expected a name that ends in .html or .md.")
    if not found:
        raise RspruneError("No two results of pruned networks have equal MACs or latency; give more tables or sweeps.")
    parts = [f"<section><h1>Leaderboard</h1><p>{escape(ABOUT)}</p></section>"]
    parts += [f"<section><h2>{escape(b.title)}</h2>{plain_table(HEADS, b.lines())}</section>" for b in found]
    with atomic(out) as temporary:
        text = markdown(found) if ending == ".md" else page("Leaderboard", "\n".join(parts))
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return len(found)
