"""Orders: cells with a key over everything that their numbers depend on, ready to be sent to any process."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import rsprune_lib
from rsprune_lib.code_version import code_hash, code_version
from rsprune_lib.files import sha256
from rsprune_lib.places import absolute, project_root
from rsprune_lib.sweeps.grid import NEED, Cell

__all__ = ["Order", "current_code", "orders_of", "shown"]


@dataclass(frozen=True)
class Order:
    """A cell with all that is needed to run it anywhere; plain values only.

    Attributes:
        root: folder of the sweep, on a disk that all workers see.
        cell: the cell.
        key: 12 hex digits over commands, code, data, files that are read, and keys of the cells it needs.
        folders: job -> name of the folder of the cell that it needs.
        code: `current_code` of who gave the order; another one refuses it.
        profile: for ``RSPRUNE_PROFILE``.
        threads: of the cell.
        tries: how often it may fail.
        cwd: where commands run.
    """

    root: str
    cell: Cell
    key: str
    folders: Mapping[str, str]
    code: str
    profile: str
    threads: int
    tries: int
    cwd: str

    @property
    def folder(self) -> str:
        """Name of the folder of the finished cell: readable, and known by the key at its end."""
        return f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', self.cell.name)[:100].strip('_')}-{self.key}"


def current_code() -> str:
    """Returns the version of the library as it lies here, with a hash of its source and the version of PyTorch.

    The source is read again only where a file has another time or size, since every cell asks.
    """
    folder, stamps = Path(rsprune_lib.__file__).parent, []
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py"):
                state = os.stat(os.path.join(place, name))
                stamps.append((place, name, state.st_mtime_ns, state.st_size))
    return _code(tuple(sorted(stamps)))


@lru_cache(maxsize=1)
def _code(_stamps: tuple) -> str:
    return code_version("rsprune_lib")


def orders_of(
    cells: Sequence[Cell], root: Path, *, profile: str, threads: int = 1, tries: int = 1, cwd: Path
) -> list[Order]:
    """Gives cells their keys; data sets that commands name by ``--data`` are loaded for their hash.

    Args:
        cells: Those that others need first.
        root: Folder of the sweep.
        profile: Of all cells.
        threads: Of each cell.
        tries: How often a cell may fail.
        cwd: Where commands run, and what relative paths in them start from.

    Raises:
        RspruneError: A data set cannot be loaded.
    """
    code, found, known = current_code(), {}, {}
    for cell in cells:
        folders = {job: found[name].folder for job, name in cell.needs.items()}
        keys = {job: found[name].key for job, name in cell.needs.items()}
        steps = [[NEED.sub(lambda m, keys=keys: keys[m[1]], word) for word in shown(words)] for words in cell.steps]
        about = {"steps": steps, "code": code, "profile": profile, "inputs": _inputs(cell.steps, cwd, known)}
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        found[cell.name] = Order(str(root), cell, key, folders, code, profile, threads, tries, str(cwd))
    return list(found.values())


def shown(words: Sequence[str]) -> list[str]:
    """Returns a command with its script by its place in the project, or by its name, the same on every machine."""
    if words[0] != "python":
        return list(words)
    script, root = Path(words[1]), project_root()
    return ["python", str(script.relative_to(root)) if script.is_relative_to(root) else script.name, *words[2:]]


def _inputs(steps: Iterable[Sequence[str]], cwd: Path, known: dict[str, str | None]) -> dict[str, str]:
    """What commands read -> its hash: data sets, bundles, files; the folder of a script with it.

    Args:
        steps: Commands.
        cwd: Where they run.
        known: Hashes of this sweep so far; a file is read once, however many cells name it.
    """
    found = {}
    for words in steps:
        for before, word in zip(("", *words), words, strict=False):
            if before == "--data":
                name, read = word, _data_hash
            elif before == "python":
                name, read = Path(word).name, _script_hash
            else:
                name, read = word, lambda word: _file_hash(cwd / word)
            if name not in known:
                known[name] = read(word)
            if known[name] is not None:
                found[name] = known[name]
    return found


def _data_hash(name: str) -> str:
    from rsprune_lib.data import is_card, load_data

    info = load_data(name if name == "auto" or is_card(name) else str(absolute(name)), progress=False).info()
    return f"{info.get('name')} {info.get('content_hash')} {info.get('split_hash')}"


def _script_hash(script: str) -> str:
    """Hash of a script and of those beside it, which it may import."""
    return code_hash(files=tuple(Path(script).parent.glob("*.py")))


def _file_hash(path: Path) -> str | None:
    """Hash of a file, or of the description of a bundle, which holds the hashes of its other files; else None."""
    try:
        path = path / "config.json" if path.is_dir() else path
        return sha256(path) if path.is_file() else None
    except OSError:
        return None
