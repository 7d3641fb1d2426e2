"""Writing that is whole or not there at all, and reading that says what is wrong."""

import contextlib
import ctypes
import errno
import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rsprune_lib.errors import RspruneError

__all__ = [
    "LOCK",
    "atomic",
    "commit",
    "committed",
    "json_text",
    "jsonable",
    "locked",
    "parse_json",
    "read_json",
    "remove_leftovers",
    "settle",
    "sha256",
    "swap_in",
    "write_json",
]

LOCK, _NEXT = ".rsprune.lock", ".rsprune-next"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_DIGITS = 20  # of a whole number with its sign: 64 bits; Python reads thousands, and computes with none of them


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> None:
    """Swaps two paths in one step (``renameat2`` with ``RENAME_EXCHANGE``), so that no moment exists without ``other``.

    Where the system or the file system has no such call, two renames do it, with a moment between them.
    """
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if renameat2 is not None and renameat2(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
        return
    aside = one.with_name(".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary sibling of ``path`` and renames it onto ``path`` only if the block succeeds.

    Works for a file and for a folder (create the one you need at the yielded path). A process killed inside the block
    leaves at most a ``.tmp-`` sibling; ``path`` itself is the old state or the new one, never a mixture. An existing
    folder is exchanged in one step and the old one then removed.

    Args:
        path: Where the result shall stand.

    Raises:
        RspruneError: The disk is full or read-only.
    """
    path = Path(path)
    holder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".tmp-{path.name}-", dir=path.parent))
        temporary = holder / path.name
        yield temporary
        if temporary.is_dir() and path.exists():
            _exchange(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise RspruneError(
            f"Cannot write {path} ({error.strerror}); make room there, or write to another disk."
        ) from None
    finally:
        if holder is not None:
            _remove(holder)


def remove_leftovers(path: Path) -> None:
    """Removes what `atomic` left of a writer of this path that was killed; only where no other one can be at work."""
    for left in path.parent.glob(f".tmp-{glob.escape(path.name)}-*"):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def commit(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write into; on success its files replace those of the same name in ``folder``, as one.

    A rename replaces one file at a time, and replacing the whole folder would take its other files along. So the new
    files are written into a folder inside, whose appearance under its final name is the moment of change (one rename):
    from then on they count, before and while they are moved to their places. A process killed before that moment has
    changed nothing; one killed after it leaves the rest of the moving to whoever writes next, and readers look there
    first (`committed`).

    Args:
        folder: an existing folder.
    """
    settle(folder)
    remove_leftovers(folder / _NEXT)
    with atomic(folder / _NEXT) as fresh:
        fresh.mkdir()
        yield fresh
    settle(folder)


@contextlib.contextmanager
def locked(folder: Path, out: Path | None = None) -> Iterator[None]:
    """Holds the lock of a folder; it ends with this process, however that ends.

    Args:
        folder: an existing folder.
        out: what a person knows it as; the folder itself by default.

    Raises:
        RspruneError: another process holds it, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout  # imported lazily: takes 0.1 s

    lock, out = FileLock(folder / LOCK), out or folder
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RspruneError(
            f"Another run is writing into {out} just now; wait until it ends, or choose another --out."
        ) from None
    except OSError as error:
        raise RspruneError(f"Cannot write into {out} ({error.strerror}); choose another --out.") from None
    try:
        yield
    finally:
        lock.release()


def swap_in(folder: Path, ready: Path) -> None:
    """Replaces files in ``folder`` by those of ``ready`` (on the same disk; gone afterwards), as `commit` does."""
    settle(folder)
    ready.rename(folder / _NEXT)
    settle(folder)


def committed(folder: Path, name: str) -> Path:
    """Where the current version of a file is (whether it exists or not)."""
    waiting = folder / _NEXT / name
    return waiting if waiting.is_file() else folder / name


def settle(folder: Path) -> None:
    """Moves files of a `commit` or `swap_in` that was killed to their places."""
    waiting = folder / _NEXT
    if waiting.is_dir():
        for path in sorted(path for path in waiting.rglob("*") if not path.is_dir()):
            place = folder / path.relative_to(waiting)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
        shutil.rmtree(waiting)


def write_json(path: str | Path, obj: Any) -> Path:  # noqa: ANN401 - any JSON value
    """Writes ``obj`` as indented JSON, atomically. Returns the path."""
    path = Path(path)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(obj, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return path


def jsonable(value: Any) -> Any:  # noqa: ANN401 - any value
    """Turns arrays, tuples and not-a-number into what JSON knows (NaN and infinity become None)."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # of numpy and PyTorch
        return jsonable(value.tolist())
    if isinstance(value, list | tuple | set):
        return [jsonable(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def json_text(value: Any, indent: int | None = None) -> str:  # noqa: ANN401 - any value
    """Returns a value as JSON that can be printed: what a terminal would obey is escaped."""
    text = json.dumps(jsonable(value), ensure_ascii=False, indent=indent)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parses JSON that came from somebody else: every number is finite, and no name stands twice in one object.

    Raises:
        ValueError: it is no such JSON, with the reason.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_no_doubles, parse_constant=_finite, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return result


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is not a JSON number that can be computed with")
    return number


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text[:8]}… is a whole number of {len(text)} digits")
    return int(text)


def read_json(path: str | Path, what: str) -> dict:
    """Reads a JSON object from a file.

    Args:
        path: The file.
        what: What the file should hold, for the error sentence, e.g. ``"a pruning plan"``.

    Raises:
        RspruneError: There is no such file, or it holds no JSON object.
    """
    path = Path(path)
    try:
        obj = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RspruneError(f"Found no file {path}; expected {what} there: check the path.") from None
    except (OSError, ValueError) as error:
        raise RspruneError(f"Cannot read {path} as {what} ({error}); make it again or take an unbroken copy.") from None
    if not isinstance(obj, dict):
        raise RspruneError(
            f"{path} holds a JSON {type(obj).__name__}, but {what} is a JSON object; take the right file."
        )
    return obj


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits, reading it in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
