"""Processes of cells: they end with the worker that started them, and say in one line why they failed."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rsprune_lib

__all__ = ["Ended", "run_process", "stop_all"]

_RUNNING: set[subprocess.Popen] = set()
_GRACE = 10  # seconds that a process has to end by itself when it is told to


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        ok: whether its status was 0.
        error: its last line, or what ended it.
        can_resume: whether it was ended from outside, so that its files are worth going on with.
    """

    ok: bool
    error: str = ""
    can_resume: bool = False


def run_process(
    words: Sequence[str], folder: Path, number: int, cwd: str, seconds: float | None, environment: Mapping[str, str]
) -> Ended:
    """Runs one command to its end; output goes to ``stepN.out`` and the rest to ``stepN.log`` in a folder.

    Args:
        words: ``rsprune ...`` or ``python SCRIPT ...``; this very interpreter and library run it.
        folder: For the two files.
        number: N.
        cwd: Where it runs.
        seconds: After which it is stopped; None for never.
        environment: Of the process; this library comes first on its import path.
    """
    head = ["-m", "rsprune_lib.cli"] if words[0] == "rsprune" else []
    library = str(Path(rsprune_lib.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (library, environment.get("PYTHONPATH"))))
    log = folder / f"step{number}.log"
    with open(folder / f"step{number}.out", "w") as out, open(log, "a") as err:
        process = subprocess.Popen(
            [sys.executable, *head, *words[1:]], cwd=cwd, env={**environment, "PYTHONPATH": paths}, stdout=out,
            stderr=err, stdin=subprocess.DEVNULL, preexec_fn=_end_with_the_parent(),
        )  # fmt: skip
        _RUNNING.add(process)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _stop(process)
            return Ended(False, f"{_short(words)} took longer than {seconds:g} s and was stopped", can_resume=True)
        finally:
            _RUNNING.discard(process)
    if status == 0:
        return Ended(True)
    if status < 0:
        name = signal.Signals(-status).name if -status in iter(signal.Signals) else f"signal {-status}"
        return Ended(False, f"{_short(words)} was ended by {name}", can_resume=True)
    return Ended(
        False, f"{_last_line(log) or 'it said nothing'} ({_short(words)}, exit status {status})", status == 130
    )


def stop_all() -> None:
    """Ends all processes of cells that this process started; their files stay, to go on with."""
    for process in list(_RUNNING):
        with contextlib.suppress(ProcessLookupError):
            _stop(process)


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)  # rsprune keeps its last epoch then
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_with_the_parent() -> Callable[[], None] | None:
    """On Linux, has the kernel end the child when the worker is killed, so that nothing writes there any more."""
    if sys.platform != "linux":
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1

    def ask() -> None:
        prctl(set_death_signal, signal.SIGKILL)

    return ask


def _short(words: Sequence[str]) -> str:
    name = Path(words[1]).name if words[0] == "python" else words[1]
    return f"{words[0]} {name}"


def _last_line(log: Path) -> str:
    lines = [
        line.strip() for line in log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    ]
    return next((line for line in reversed(lines) if line), "")[:500]
