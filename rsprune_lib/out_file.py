"""One file that a command writes: what lies there already, and what the command reads, is not lost by it."""

from collections.abc import Iterable
from pathlib import Path

from rsprune_lib.errors import RspruneError
from rsprune_lib.places import absolute

__all__ = ["within", "writable"]


def writable(out: str | Path, inputs: Iterable[str | Path] = (), *, force: bool = False) -> Path:
    """Returns the full path of a file that may be written.

    Args:
        out: the file.
        inputs: files and folders that are read; the file must be none of them and lie in none of them.
        force: replace a file that is already there.

    Raises:
        RspruneError: it is a folder or an input, or is there without ``force``.
    """
    path = absolute(out)
    if path.is_dir():
        raise RspruneError(f"--out {out} is a folder; give the name of a file in it.")
    for given in inputs:
        if within(path.resolve(), absolute(given).resolve()):
            raise RspruneError(f"--out {out} would change {given}, which is read; choose a place apart from it.")
    if path.exists() and not force:
        raise RspruneError(f"{out} is already there; choose another name, or pass --force to replace it.")
    return path


def within(path: Path, folder: Path) -> bool:
    """Returns whether a path is a folder or lies inside it, also where the folder has two names."""
    return any(
        parent == folder or (parent.exists() and folder.exists() and parent.samefile(folder))
        for parent in (path, *path.parents)
    )
