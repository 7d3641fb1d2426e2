"""What is finished of a map while it grows: rows in plain files, with a mark; a killed process goes on from there."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import LOCK, atomic, locked, read_json, write_json

__all__ = ["Partial", "folder_of"]

_MARK = "rsprune-segment.json"
_SCHEMA = "rsprune-segment"


def folder_of(out: Path) -> Path:
    """The folder beside a map in which it grows."""
    return out.with_name(f"{out.name}.part")


class Partial:
    """The folder ``OUT.part`` beside a map that is being written; one process at a time.

    As a context it is removed at the end, and after an error that came before anything was finished::

        with Partial(out, identity, widths, starts, (3, 2149), resume=False, force=False) as partial:
            ...

    Args:
        out: the finished map.
        identity: what makes it what it is, JSON-able; only the same goes on.
        widths: file name -> bytes of a row of the scene in it.
        starts: first row of each row of windows, see `rsprune_lib.deploy.windows.Grid.starts`.
        waiting: (K, W'), two of the sides of `rsprune_lib.deploy.windows.Strip.waiting`.
        resume: go on with what is there.
        force: throw away what is there.

    Raises:
        RspruneError: there is something else, a run to be resumed or replaced, one that lives, or one that is damaged.
    """

    def __init__(
        self, out: Path, identity: dict[str, Any], widths: dict[str, int], starts: list[int], waiting: tuple[int, int],
        *, resume: bool, force: bool,
    ) -> None:  # fmt: skip
        self.folder, self.identity, self.widths = folder_of(out), identity, widths
        self.rows, self.first, self.waiting = 0, 0, None
        self._starts, self._sides, self._lock = starts, waiting, contextlib.ExitStack()
        self._fresh = [path for path in self.folder.parents if not path.exists()]
        try:
            self._begin(out, resume, force)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, out: Path, resume: bool, force: bool) -> None:
        there = self.folder.exists()
        if there and not (self.folder / _MARK).is_file():
            raise RspruneError(f"{self.folder} is in the way and not of rsprune; move it, or choose another --out.")
        if there:
            self._lock.enter_context(locked(self.folder, out))
        if there and not resume and not force:
            raise RspruneError(
                f"{self.folder} holds an interrupted run; pass --resume to go on with it, or --force to begin anew."
            )
        if there and resume:
            self._restore()
            return
        if there:
            for path in self.folder.iterdir():
                if path.name not in (LOCK, _MARK):
                    path.unlink()
        else:
            self.folder.mkdir(parents=True)
            self._lock.enter_context(locked(self.folder, out))
        self._write_mark()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None or not self.first:
            self.remove()
        self._lock.close()
        if kind is not None and not self.first:
            for path in self._fresh:
                with contextlib.suppress(OSError):
                    path.rmdir()

    def _restore(self) -> None:
        mark = read_json(self.folder / _MARK, "an interrupted run")
        before = mark.get("identity")
        changed = [k for k, v in self.identity.items() if not isinstance(before, dict) or before.get(k) != v]
        if mark.get("schema") != _SCHEMA or changed:
            raise RspruneError(
                f"{self.folder} was begun with another {', '.join(changed) or 'version'}; pass --force to begin anew."
            )
        try:
            self.rows, self.first, self.waiting = self._finished(mark["rows"], mark["next"])
        except (KeyError, ValueError, OSError) as error:
            raise RspruneError(f"{self.folder} holds a damaged run ({error}); pass --force to begin anew.") from None
        for name, width in self.widths.items():  # rows that were written after the mark are written again
            with open(self.folder / name, "ab") as file:
                file.truncate(self.rows * width)

    def _finished(self, rows: object, first: object) -> tuple[int, int, Tensor | None]:
        """What a mark says, where the files agree with it.

        Raises:
            KeyError, ValueError, OSError: they do not.
        """
        if not isinstance(first, int) or not 0 <= first <= len(self._starts) or rows != self._rows(first):
            raise ValueError(f"{rows} rows after {first} rows of windows")
        for name, width in self.widths.items():
            if first and (self.folder / name).stat().st_size < rows * width:
                raise ValueError(f"{name} has fewer rows than {rows}")
        if not first:
            return rows, first, None
        waiting = np.load(self._waiting(first), allow_pickle=False)
        (K, across), sides = self._sides, waiting.shape
        if waiting.dtype != np.float32 or len(sides) != 3 or (sides[0], sides[2]) != (K, across):
            raise ValueError(f"sums of {sides} numbers")
        return rows, first, torch.from_numpy(waiting)

    def _rows(self, first: int) -> int:
        """Finished rows after so many rows of windows."""
        return self.identity["rows"] if first == len(self._starts) else self._starts[first]

    def _waiting(self, number: int) -> Path:
        return self.folder / f"waiting-{number}.npy"

    def _write_mark(self) -> None:
        state = {"rows": self.rows, "next": self.first}
        write_json(self.folder / _MARK, {"schema": _SCHEMA, "identity": self.identity, **state})

    def add(self, values: dict[str, np.ndarray], waiting: Tensor) -> None:
        """Appends finished rows, and what the next row of windows goes on with.

        Args:
            values: file name -> uint8 values, rows first.
            waiting: `rsprune_lib.deploy.windows.Strip.waiting`.
        """
        for name, rows in values.items():
            with open(self.folder / name, "ab") as file:
                file.write(np.ascontiguousarray(rows).data)
        with atomic(self._waiting(self.first + 1)) as temporary, open(temporary, "wb") as file:
            np.save(file, waiting.numpy())
        before = self._waiting(self.first)
        self.rows, self.first = self.rows + len(next(iter(values.values()))), self.first + 1
        self._write_mark()
        before.unlink(missing_ok=True)

    def read(self, name: str, top: int, bottom: int) -> np.ndarray:
        """Finished rows of a file, (bottom - top, bytes of a row) uint8."""
        width = self.widths[name]
        found = np.fromfile(self.folder / name, np.uint8, (bottom - top) * width, offset=top * width)
        return found.reshape(bottom - top, width)

    def remove(self) -> None:
        """Removes the folder."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)
