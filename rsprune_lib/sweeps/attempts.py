"""The files of a cell: worked on in an attempt of one process, and whole from the moment they have the cell's name.

Below the folder of a sweep: ``attempts/FOLDER/N`` while a process is at work, ``cells/FOLDER`` once it is finished (one
rename, which only one of two attempts can win), ``failed/FOLDER.json`` with the reason where all tries failed, and
``damaged/`` for results that could not be read.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json

__all__ = ["Attempt", "failed_path", "open_attempt", "publish", "read_result", "whole_result"]

SCHEMA = 1
RESULT = "result.json"


@dataclass(frozen=True)
class Attempt:
    """Folder of one process that works on a cell, and whether an interrupted one began in it."""

    path: Path
    begun: bool

    @property
    def out(self) -> Path:
        """What ``{out}`` stands for."""
        return self.path / "out"


@contextlib.contextmanager
def open_attempt(root: Path, folder: str) -> Iterator[Attempt]:
    """Yields an attempt that is this process's alone: one that an ended process left, else a new one.

    The lock of an attempt ends with its process, however that ends. There is no waiting: where another process is at
    work on the same cell, both go on, each in its own folder.
    """
    from filelock import FileLock, Timeout  # imported lazily: takes 0.1 s

    place = root / "attempts" / folder
    for number in range(1000):
        path = place / str(number)
        begun = path.is_dir()
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / f"{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            path.mkdir(parents=True, exist_ok=True)  # may have been published since
            yield Attempt(path, begun and any(path.iterdir()))
        finally:
            lock.release()
            _tidy(root, folder)
        return
    raise RspruneError(f"{place} holds 1000 attempts that are at work; look which processes run there.")


def _tidy(root: Path, folder: str) -> None:
    """Removes what is left of the attempts on a finished cell; whoever comes later sees that it is finished."""
    place = root / "attempts" / folder
    with contextlib.suppress(OSError):
        if (root / "cells" / folder).is_dir():
            with contextlib.suppress(OSError):
                (place / "0").rmdir()  # made by one who came too late
            if not any(path.is_dir() for path in place.iterdir()):
                shutil.rmtree(place)


def publish(attempt: Attempt, root: Path, folder: str, result: dict) -> bool:
    """Gives an attempt the name of its cell; returns False, and removes it, where another one was first."""
    write_json(attempt.path / RESULT, result | {"schema": SCHEMA, "digest": digest(result)})
    final = root / "cells" / folder
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(attempt.path, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(attempt.path, ignore_errors=True)
        return False
    for end in (".json", ".log"):  # of earlier tries
        (root / "failed" / f"{folder}{end}").unlink(missing_ok=True)
    return True


def read_result(root: Path, folder: str) -> dict | None:
    """Returns what a finished cell recorded; None where it is not finished.

    Raises:
        RspruneError: Its record is damaged.
    """
    path = root / "cells" / folder / RESULT
    if not path.parent.is_dir():
        return None
    found = read_json(path, "the result of a cell")
    kept = {name: value for name, value in found.items() if name not in ("schema", "digest")}
    if found.get("schema") != SCHEMA or found.get("digest") != digest(kept):
        raise RspruneError(
            f"{path} is not as it was written (its digest differs); it is damaged or was changed by hand."
        )
    return kept


def whole_result(root: Path, folder: str) -> tuple[dict | None, str]:
    """Returns what a finished cell recorded, or None; a damaged record is set aside, and the second value says so."""
    try:
        return read_result(root, folder), ""
    except RspruneError as error:
        try:
            return None, f"{error} It was moved to {set_aside(root, folder)}, and the cell runs again."
        except FileNotFoundError:  # another process did so
            return None, str(error)


def set_aside(root: Path, folder: str) -> Path:
    """Moves a damaged result out of the way, so that its cell can run again; returns where it is."""
    for number in range(1000):
        place = root / "damaged" / f"{folder}.{number}"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.rename(root / "cells" / folder, place)
            return place
    raise RspruneError(f"{root / 'damaged'} is full of results of {folder}; look at its disk, then remove them.")


def failed_path(root: Path, folder: str) -> Path:
    """Where it stands why a cell failed."""
    return root / "failed" / f"{folder}.json"


def digest(result: dict) -> str:
    """Returns 16 hex digits over a record."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()[:16]
