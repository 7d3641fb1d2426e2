"""The state of a sweep: how many cells of each job are finished, what failed, and how to run it again."""

import shlex
from collections import Counter
from collections.abc import Sequence

from rsprune_lib.sweeps.cell import Outcome

__all__ = ["STATES", "TITLES", "Progress", "summary_text"]

STATES = ("ok", "kept", "failed", "waits")
TITLES = {"ok": "done", "kept": "kept", "failed": "failed", "waits": "not run", "left": "left"}
_SHOWN = 20  # cells that the text of a summary names


class Progress:
    """What became of the cells so far.

    Args:
        cells: name and job of each cell.
    """

    def __init__(self, cells: Sequence[tuple[str, str]]) -> None:
        self.jobs = dict(cells)
        self.outcomes: dict[str, Outcome] = {}
        self._counts = {job: Counter() for job in self.jobs.values()}
        self._totals = Counter(self.jobs.values())

    def add(self, outcome: Outcome) -> None:
        """Takes in a cell that has ended."""
        self.outcomes[outcome.name] = outcome
        self._counts[self.jobs[outcome.name]][outcome.state] += 1

    def table(self) -> list[tuple[str, dict[str, int]]]:
        """Returns for each job how many of its cells are in which state."""
        return [
            (job, {**{s: own[s] for s in STATES}, "left": self._totals[job] - own.total()})
            for job, own in self._counts.items()
        ]

    def line(self, outcome: Outcome) -> str:
        """Returns one line about a cell that has just ended."""
        state = "FAILED" if outcome.state == "failed" else TITLES[outcome.state]
        text = f"[{len(self.outcomes)}/{len(self.jobs)}] {outcome.name}: {state}, {outcome.seconds:.1f} s"
        text += f", try {outcome.tries}" if outcome.tries > 1 else ""
        return text + "".join(f": {part}" for part in (outcome.error, outcome.note) if part)

    def summary(self, again: str) -> dict:
        """Returns the state as plain values.

        Args:
            again: The command of the sweep, which a failed cell's own command begins with.
        """
        bad = [outcome for outcome in self.outcomes.values() if not outcome.ok]
        notes = [f"{outcome.name}: {outcome.note}" for outcome in self.outcomes.values() if outcome.note]
        return {
            "jobs": {job: counts for job, counts in self.table()},
            "failed": [
                {"cell": o.name, "state": o.state, "tries": o.tries, "error": o.error,
                 "again": f"{again} --only {shlex.quote(o.name)}"} for o in bad
            ],
            "notes": notes,
        }  # fmt: skip


def summary_text(summary: dict) -> str:
    """Returns a summary as Markdown."""
    heads = list(TITLES.values())
    lines = [f"# {summary['title']}", "", f"Profile {summary['profile']}, {summary['date']}, {summary['code']}.", ""]
    lines += [f"| job | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {job} | {' | '.join(str(own[s]) for s in TITLES)} |" for job, own in summary["jobs"].items()]
    bad = [row for row in summary["failed"] if row["state"] == "failed"]
    if bad:
        lines += ["", f"## {len(bad)} failed", ""]
        for row in bad[:_SHOWN]:
            lines += [f"- **{row['cell']}** after {row['tries']} tries: {row['error']}", f"  `{row['again']}`"]
        lines += [f"- and {len(bad) - _SHOWN} more, see summary.json"] if len(bad) > _SHOWN else []
    if waits := [row for row in summary["failed"] if row["state"] == "waits"]:
        lines += ["", f"{len(waits)} cells did not run, because cells that they need failed: {waits[0]['cell']}, ..."]
    lines += ["", *(f"- {note}" for note in summary["notes"][:_SHOWN])]
    lines += [f"Go on, or run what failed again: `{summary['again']}`"]
    return "\n".join(lines) + "\n"
