"""The mark in a folder that lists the files that rsprune wrote there; no other file is ever replaced or removed."""

import contextlib
from pathlib import Path, PurePosixPath

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json

__all__ = ["MARK", "files_below", "is_run", "kind_of", "ours", "remove", "write_mark"]

MARK = ".rsprune.json"
SCHEMA, VERSION = "rsprune-run", 1
ABOUT = "rsprune wrote the files below; it replaces and removes no others in this folder"


def is_run(folder: Path) -> bool:
    """Returns whether a folder holds the results of a run; images that a script wrote are none (kind ``"data"``)."""
    return kind_of(folder) not in (None, "data")


def kind_of(folder: Path) -> str | None:
    """Returns what wrote a folder, such as ``"train"``; None for a folder without our mark.

    Raises:
        RspruneError: the mark is damaged.
    """
    mark = _read(folder)
    return None if mark is None else str(mark.get("kind"))


def ours(folder: Path) -> set[str]:
    """Returns the files that the mark of a folder lists, relative to it, whether they exist or not.

    A mark may come from someone else: names that lead out of the folder do not count.

    Raises:
        RspruneError: the mark is damaged.
    """
    names, whole = (_read(folder) or {"files": []})["files"], folder.resolve()
    inner = {n for n in names if isinstance(n, str) and n and ".." not in PurePosixPath(n).parts}
    return {n for n in inner if (folder / n).parent.resolve().is_relative_to(whole)}


def write_mark(folder: Path, kind: str, names: set[str]) -> None:
    """Writes the mark of a folder, atomically."""
    mark = {"schema": SCHEMA, "version": VERSION, "kind": kind, "about": ABOUT, "files": sorted(names)}
    write_json(folder / MARK, mark)


def files_below(folder: Path) -> set[str]:
    """Returns the names of all files in a folder and its folders, relative to it, without its mark."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths} - {MARK}


def remove(folder: Path, names: set[str]) -> None:
    """Removes files, and the folders around them that are empty then; a mark may name folders, which stay."""
    for name in names:
        if (folder / name).is_symlink() or not (folder / name).is_dir():
            (folder / name).unlink(missing_ok=True)
        for parent in list(PurePosixPath(name).parents)[:-1]:
            with contextlib.suppress(OSError):
                (folder / parent).rmdir()


def _read(folder: Path) -> dict | None:
    path = folder / MARK
    try:
        if not path.is_file():
            return None
    except OSError:  # a folder that may not be entered
        return None
    mark = read_json(path, "the mark of a run")
    if (mark.get("schema"), mark.get("version")) != (SCHEMA, VERSION) or not isinstance(mark.get("files"), list):
        raise RspruneError(f"{path} is no mark of a run that this library reads; choose another folder.")
    return mark
