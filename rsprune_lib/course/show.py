"""Tables that read well in a notebook and as plain text, results with their provenance among them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from rsprune_lib.course.tables import CLOSING, cells
from rsprune_lib.measure import Result

__all__ = ["Table", "mean_text", "results_table"]

_PLACE = re.compile(r"(?<![\w.:/])(?:~|/[\w.+-]+)(?:/[\w.+-]+)*/(?=[\w.+-])")
_NUMBER = re.compile(r"[−+-]?[\d.,]+\s?[%kMGx×s]?(\s.*)?|–|")


class Table:
    """Rows under heads; a notebook shows it as HTML, ``print`` as aligned text.

    Args:
        heads: One text a column.
        rows: One sequence of cells a row; a cell is shown as ``str`` gives it.
        note: A line under the table, e.g. where its numbers come from.

    Example:
        >>> print(Table(["part", "images"], [["train", 16200], ["test", 8100]]))
        part   images
        -----  ------
        train   16200
        test     8100
    """

    def __init__(self, heads: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = "") -> None:
        self.heads, self.note = list(heads), note
        self.rows = [[str(cell) for cell in row] for row in rows]
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.heads)
        self.right = [bool(column) and all(_NUMBER.fullmatch(text) for text in column) for column in columns]

    def _repr_html_(self) -> str:
        sides = [f'style="text-align:{"right" if right else "left"}"' for right in self.right]
        head = "".join(f"<th {side}>{escape(text)}</th>" for text, side in zip(self.heads, sides, strict=True))
        lines = "".join(
            "<tr>" + "".join(f"<td {side}>{escape(t)}</td>" for t, side in zip(row, sides, strict=True)) + "</tr>"
            for row in self.rows
        )
        note = f"<p><small>{escape(self.note)}</small></p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{note}"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        lines = []
        for line in (self.heads, ["-" * width for width in widths], *self.rows):
            texts = zip(line, widths, self.right, strict=True)
            lines.append("  ".join(t.rjust(w) if right else t.ljust(w) for t, w, right in texts).rstrip())
        return "\n".join([*lines, self.note] if self.note else lines)

    def markdown(self) -> str:
        """The table as Markdown, its note below."""
        sides = ["---:" if right else "---" for right in self.right]
        lines = [self.heads, sides, *([text.replace("|", "\\|") for text in row] for row in self.rows)]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{text}\n\n{self.note}" if self.note else text

    def without_places(self) -> "Table":
        """The same table with every absolute path shortened to its last part: a page needs no folder of a machine."""
        return Table(self.heads, [[_PLACE.sub("…/", c) for c in row] for row in self.rows], note=self.note)


def mean_text(values: Sequence[float], form: str = ".2f", within: tuple[float, float] | None = None) -> str:
    """Writes the mean of a number over images with its 95 % interval: ``"0.52 (0.41 to 0.63)"``; NaN is left out.

    Args:
        values: One number an image.
        form: How numbers are written, e.g. ``".0%"``.
        within: What the number can be at least and at most; the interval ends there.
    """
    from rsprune_lib.explain import mean_interval  # imported lazily: takes a second

    mean, low, high = mean_interval(values)
    low, high = (low, high) if within is None else (max(low, within[0]), min(high, within[1]))
    return "–" if mean != mean else f"{mean:{form}} ({low:{form}} to {high:{form}})"


def results_table(results: Iterable[Result | Mapping]) -> Table:
    """Turns results into the closing table of a notebook, with the provenance that they share under it.

    Args:
        results: `Result` objects, or mappings with the same keys.
    """
    rows = [row.to_dict() if isinstance(row, Result) else dict(row) for row in results]
    heads, body = cells([{key: row.get(key) for key in CLOSING} for row in rows])
    notes = dict.fromkeys(_origin(row.get("provenance") or {}) for row in rows)
    return Table(heads, body, note="; ".join(note for note in notes if note))


def _origin(provenance: Mapping) -> str:
    """Data, seed, profile, hardware and versions in one line."""
    data, git = provenance.get("data") or {}, provenance.get("git") or {}
    versions = provenance.get("versions") or {}
    facts = [
        f"data {data['name']}{' (synthetic)' if data.get('synthetic') else ''}, split {data['split_hash']}"
        if data
        else "",
        "" if provenance.get("seed") is None else f"seed {provenance['seed']}",
        f"profile {provenance['profile']}" if provenance.get("profile") else "",
        f"{provenance['device']}, {provenance['threads']} threads" if provenance.get("device") else "",
        f"torch {versions['torch']}" if versions.get("torch") else "",
        f"commit {git['commit'][:8]}{' with changes' if git.get('dirty') else ''}" if git else "",
    ]
    return " · ".join(fact for fact in facts if fact)
