"""Runs one cell: its commands in processes of their own, again after a failure, and its result published once.

This is what a worker is sent, so it needs nothing but an `Order` and the folder of the sweep.
"""

import itertools
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json
from rsprune_lib.sweeps.attempts import Attempt, failed_path, open_attempt, publish, whole_result
from rsprune_lib.sweeps.grid import NEED
from rsprune_lib.sweeps.keys import Order, current_code
from rsprune_lib.sweeps.processes import Ended, run_process
from rsprune_lib.sweeps.rows import rows_of

__all__ = ["Outcome", "run_cell"]

ROOM = 50_000_000  # bytes that must be free before a cell begins
_RESUMABLE = ("train", "finetune", "run", "segment")


class _Refused(RspruneError):
    """A cell may not begin here; another try would find the same."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        name: of the cell.
        state: ``"ok"``, ``"kept"`` (it was finished before), ``"failed"`` or ``"waits"`` (a cell that it needs failed).
        seconds: of the try that ended it.
        tries: how many there were.
        error: why it failed, in one line.
        note: what else has to be said.
    """

    name: str
    state: str
    seconds: float = 0.0
    tries: int = 0
    error: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether its result is there."""
        return self.state in ("ok", "kept")


def run_cell(order: Order, *needs: Outcome) -> Outcome:
    """Runs a cell unless it is finished; whatever its commands do, it does not raise.

    Args:
        order: What to run.
        *needs: What became of the cells that it needs.
    """
    root, name = Path(order.root), order.cell.name
    if missing := [need.name for need in needs if not need.ok]:
        return Outcome(name, "waits", error=f"it needs {missing[0]!r}, which failed")
    note, last = "", False
    for number in range(1, order.tries + 1):
        start = time.perf_counter()
        try:
            with open_attempt(root, order.folder) as attempt:
                done, note = whole_result(root, order.folder)
                if done is not None:
                    return Outcome(name, "kept", done["seconds"], done["tries"], note=note)
                outcome = _tried(order, attempt, number, start)
        except (RspruneError, OSError) as fault:
            last = isinstance(fault, _Refused)
            outcome = Outcome(name, "failed", tries=number, error=" ".join(str(fault).split()))
        outcome = replace(outcome, note=outcome.note or note)
        if outcome.ok:
            return outcome
        if whole_result(root, order.folder)[0] is not None:  # another attempt was first, and took the files along
            return Outcome(name, "kept", outcome.seconds, number, note=note)
        if last:
            break
    return _failed(order, outcome)


def _tried(order: Order, attempt: Attempt, number: int, start: float) -> Outcome:
    """One try in an attempt's folder, and its result."""
    _check(order, attempt.path)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    ended = next((ended for ended in _steps(order, attempt) if not ended.ok), None)
    seconds = round(time.perf_counter() - start, 2)
    if ended is not None:
        if not ended.can_resume:
            _keep_log(order, attempt)
            shutil.rmtree(attempt.path, ignore_errors=True)
        return Outcome(order.cell.name, "failed", seconds, number, ended.error)
    about = asdict(order.cell) | {"key": order.key, "profile": order.profile, "code": order.code}
    about |= {"began": began, "seconds": seconds, "tries": number, "host": socket.gethostname()}
    record = about | {"resumed": attempt.begun, "rows": rows_of(order, attempt.path)}
    first = publish(attempt, Path(order.root), order.folder, json.loads(json.dumps(record)))
    note = "" if first else "another process finished it first; this copy was dropped"
    return Outcome(order.cell.name, "ok" if first else "kept", seconds, number, note=note)


def _check(order: Order, path: Path) -> None:
    """Refuses to run other code than the order was given for, and to begin on a full disk."""
    if (code := current_code()) != order.code:
        raise _Refused(
            f"The code here is {code}, but the sweep was begun with {order.code}; begin it again, so that keys and "
            "code agree."
        )
    free = shutil.disk_usage(path).free
    if free < ROOM:
        raise _Refused(f"The disk of {path} has {free / 1e6:.0f} MB free, a cell needs {ROOM / 1e6:.0f} MB; make room.")


def _steps(order: Order, attempt: Attempt) -> Iterator[Ended]:
    """Runs the commands of a cell; those that ended well before an interruption do not run again."""
    state = attempt.path / "steps.json"
    done = read_json(state, "the state of a cell")["done"] if state.is_file() else 0
    attempt.out.mkdir(exist_ok=True)
    root = Path(order.root)
    for number, words in enumerate(order.cell.steps):
        if number < done:
            continue
        places = {job: str(root / "cells" / folder / "out") for job, folder in order.folders.items()}
        words = [NEED.sub(lambda m, places=places: places[m[1]], word) for word in words]
        words = _again([word.replace("{out}", str(attempt.out)) for word in words], attempt)
        variables = {
            "RSPRUNE_PROFILE": order.profile, "OMP_NUM_THREADS": str(order.threads), "RSPRUNE_TABLES": str(attempt.out),
        }  # fmt: skip
        ended = run_process(words, attempt.path, number, order.cwd, order.cell.seconds, os.environ | variables)
        if ended.ok:
            write_json(state, {"done": number + 1})
        yield ended


def _again(words: list[str], attempt: Attempt) -> list[str]:
    """The command that goes on with what an interrupted one left, or begins anew where nothing was left."""
    if words[0] != "rsprune":
        return words
    words = [*words, *(["--json"] if "--json" not in words else [])]
    place = next((Path(after) for word, after in itertools.pairwise(words) if word == "--out"), None)
    if place is None or not place.is_relative_to(attempt.out):
        return words
    if place == attempt.out and not any(place.iterdir()):
        return words
    from rsprune_lib.run_folder import NEW
    from rsprune_lib.run_mark import kind_of

    if words[1] in _RESUMABLE and place.is_dir() and any(map(kind_of, (place, place / NEW))):
        return [*words, "--resume"]
    if place.exists():
        shutil.rmtree(place)
        attempt.out.mkdir(exist_ok=True)
    return words


def _keep_log(order: Order, attempt: Attempt) -> None:
    """What a failed try printed outlives its folder."""
    target = failed_path(Path(order.root), order.folder).with_suffix(".log")
    target.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(path.read_text(errors="replace") for path in sorted(attempt.path.glob("step*.log")))
    target.write_text(text[-100_000:], encoding="utf-8")


def _failed(order: Order, outcome: Outcome) -> Outcome:
    """Records why a cell failed; the outcome says it even where the disk has no room for the record."""
    place = failed_path(Path(order.root), order.folder)
    steps = [list(words) for words in order.cell.steps]
    try:
        write_json(place, {"schema": 1, **asdict(outcome), "key": order.key, "steps": steps, "code": order.code})
    except (RspruneError, OSError) as error:
        return replace(outcome, note=f"its record could not be written ({' '.join(str(error).split())[:200]})")
    return outcome
