"""What is finished of a map while it grows: rows in plain files, with a mark; a killed process goes on from there."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic, read_json, write_json

__all__ = ["Partial", "folder_of"]

_MARK = "rsprune-segment.json"
_SCHEMA = "rsprune-segment"


def folder_of(out: Path) -> Path:
    """The folder beside a map in which it grows."""
    return out.with_name(f"{out.name}.part")


class Partial:
    """The folder ``OUT.part`` beside a map that is being written.

    Args:
        out: the finished map.
        identity: what makes it what it is, JSON-able; only the same goes on.
        widths: file name -> bytes of a row of the scene in it.
        resume: go on with what is there.
        force: throw away what is there.

    Raises:
        RspruneError: there is something else, or a run to be resumed or replaced.
    """

    def __init__(
        self, out: Path, identity: dict[str, Any], widths: dict[str, int], *, resume: bool, force: bool
    ) -> None:
        self.folder, self.identity, self.widths = folder_of(out), identity, widths
        self.rows, self.first, self.waiting = 0, 0, None
        there = self.folder.exists()
        if there and not (self.folder / _MARK).is_file():
            raise RspruneError(f"{self.folder} is in the way and not of rsprune; move it, or choose another --out.")
        if there and not resume and not force:
            raise RspruneError(
                f"{self.folder} holds an interrupted run; pass --resume to go on with it, or --force to begin anew."
            )
        if there and resume:
            self._restore()
            return
        if there:
            self.remove()
        self.folder.mkdir(parents=True)
        self._write_mark()

    def _restore(self) -> None:
        mark = read_json(self.folder / _MARK, "an interrupted run")
        changed = [key for key, value in self.identity.items() if mark.get("identity", {}).get(key) != value]
        if mark.get("schema") != _SCHEMA or changed:
            raise RspruneError(
                f"{self.folder} was begun with another {', '.join(changed) or 'version'}; pass --force to begin anew."
            )
        self.rows, self.first = int(mark["rows"]), int(mark["next"])
        if self.first:
            self.waiting = torch.from_numpy(np.load(self._waiting(self.first), allow_pickle=False))
        for name, width in self.widths.items():  # rows that were written after the mark are written again
            with open(self.folder / name, "ab") as file:
                file.truncate(self.rows * width)

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
