"""Several files in a folder replaced as one, next to others that stay.

A rename replaces one file at a time, and replacing the whole folder would take its other files along. So the new files
are first written into a folder inside, whose appearance under its final name ``.next`` is the moment of change (one
rename): from then on they count, before and while they are moved to their places. A process killed before that moment
has changed nothing; one killed after it leaves the rest of the moving to whoever writes next, and readers look into
``.next`` first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rsprune_lib.files import atomic

__all__ = ["commit", "committed"]

_NEXT = ".next"


@contextlib.contextmanager
def commit(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write into; on success its files replace those of the same name in ``folder``.

    Args:
        folder: an existing folder.
    """
    _move(folder)
    for stale in folder.glob(f".tmp-{_NEXT}-*"):  # of a writer that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with atomic(folder / _NEXT) as fresh:
        fresh.mkdir()
        yield fresh
    _move(folder)


def committed(folder: Path, name: str) -> Path:
    """Where the current version of a file is (whether it exists or not)."""
    waiting = folder / _NEXT / name
    return waiting if waiting.is_file() else folder / name


def _move(folder: Path) -> None:
    """Moves files that wait in ``.next`` to their places."""
    waiting = folder / _NEXT
    if waiting.is_dir():
        for path in sorted(waiting.iterdir()):
            os.replace(path, folder / path.name)
        waiting.rmdir()
