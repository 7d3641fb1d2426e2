"""Folders and archives read member by member, straight from the file: nothing hostile is ever written to disk."""

import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from rsprune_lib.data.decode import is_image
from rsprune_lib.data.leftovers import Left, set_aside
from rsprune_lib.errors import DataError
from rsprune_lib.run_mark import is_run

__all__ = ["BROKEN", "SUFFIXES", "folder_files", "read_members"]

PACKED = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".jp2")
RAW = (".tif", ".tiff", ".bmp", ".ppm", ".pgm")  # a flat tile of these packs a thousand times smaller
SUFFIXES = PACKED + RAW
MAX_MEMBER = 256 << 20  # bytes of one unpacked file; an image of the course has far less
MAX_TOTAL = 64 << 30  # bytes of all unpacked files
MAX_RATIO = 200  # unpacked / packed size of one member that is packed already, as most images are
MAX_MEMBERS = 2_000_000
MAX_HEADER = 1 << 20  # bytes of a tar header that is read before its member
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError),  # what zipfile raises for unknown methods, passwords, odd fields
)


def read_members(
    path: Path, suffixes: tuple[str, ...] = SUFFIXES, contents: bool = True, left: Left | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, bytes)`` of every file with one of the suffixes, in the order of the archive (folder: sorted).

    Images whose names have no suffix are found by their first bytes. Hidden files, empty ones, and what systems keep
    (thumbnails, recycle bins, ``__MACOSX``) are left out.

    Args:
        path: folder, zip or tar archive (also compressed).
        suffixes: endings wanted, lower case with dot.
        contents: False yields empty bytes, which is faster where only the names are wanted.
        left: takes down what is left out.

    Raises:
        DataError: if the archive is broken, hostile, or of a kind that cannot be read.
    """
    left = left or Left()
    if path.is_dir():
        for name, file in folder_files(path, suffixes, left):
            yield name, _content(file) if contents else b""
        return
    if not path.is_file():
        raise DataError(f"{path} is neither a folder nor a file; expected a folder of class folders or an archive.")
    if path.suffix.lower() in (".rar", ".7z"):
        raise DataError(
            f"{path.name} is a {path.suffix[1:].upper()} archive, which is not read here; unpack it by hand and "
            f"give the folder that holds the class folders (--data PATH)."
        )
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes); take a whole copy of it.")
        seen: set[str] = set()
        for name, content in (_from_zip if zipfile.is_zipfile(path) else _from_tar)(path, suffixes, contents, left):
            if name in seen:
                left.add("twice", name)
                continue
            seen.add(name)
            yield name, content
    except BROKEN as error:
        raise DataError(f"{path} is damaged or cut off ({error}); take a whole copy of it.") from error


def folder_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES, left: Left | None = None) -> list[tuple[str, Path]]:
    """(relative name, path) of the wanted files below a folder, sorted; linked folders are followed once, no loops.

    Raises:
        DataError: if the folder is one that rsprune wrote; such folders inside are left out.
    """
    left = left or Left()
    if is_run(root):
        raise DataError(f"{root} was written by rsprune and holds its results; expected a folder of class folders.")
    found: list[tuple[str, Path]] = []
    folders, links, seen = [(root, "")], [], set()
    while folders or links:  # all plain folders first: a link to one of them is the second way to it
        folder, prefix = folders.pop() if folders else links.pop(0)
        try:
            at = os.stat(folder)
            if (at.st_dev, at.st_ino) in seen:
                left.add("links", prefix[:-1])
                continue
            seen.add((at.st_dev, at.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            left.add("unreadable", prefix[:-1] or str(root))
            continue
        for entry in entries:
            name = prefix + entry.name
            if not _is_folder(entry):
                _take(entry, name, suffixes, found, left)
            elif entry.name.startswith("."):
                left.add("hidden", name)
            elif is_run(Path(entry.path)):
                left.add("runs", name)
            else:
                left.folder(name)
                (links if entry.is_symlink() else folders).append((Path(entry.path), f"{name}/"))
    return sorted(found)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that may not be followed
        return False


def _take(entry: os.DirEntry, name: str, suffixes: tuple[str, ...], found: list[tuple[str, Path]], left: Left) -> None:
    """Put a file of a folder on one of the two lists; a pipe or a device is never opened."""
    path = Path(entry.path)
    try:
        info, readable = entry.stat(), os.access(path, os.R_OK)
    except OSError:  # a link to nothing
        info, readable = None, False
    if info is not None and not stat.S_ISREG(info.st_mode):
        left.add("special", name)
        return
    reason = _why_not(name, suffixes, info.st_size if info else 1, lambda: _content(path, 16) if readable else b"")
    if reason is None and not readable:
        reason = "unreadable"
    if reason:
        left.add(reason, name)
    else:
        found.append((name, path))


def _content(path: Path, limit: int = -1) -> bytes:
    """The bytes of a file; none if it cannot be read, which decoding then says."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def _why_not(name: str, suffixes: tuple[str, ...], size: int, head: Callable[[], bytes]) -> str | None:
    """Why a file is left out, or None.

    Args:
        name: relative path.
        suffixes: wanted endings.
        size: bytes.
        head: returns its first bytes; called only where the name has no suffix.
    """
    reason = set_aside(name)
    if reason:
        return reason
    if not name.lower().endswith(suffixes):
        unnamed = not re.search(r"\.[A-Za-z][A-Za-z0-9]{0,8}$", name.rpartition("/")[2])
        if suffixes is not SUFFIXES or not unnamed or not is_image(head()):
            return "other"
    return None if size else "empty"


def _safe_name(name: str, archive: str) -> str:
    """A member's name with plain slashes; absolute names, drive letters and ``..`` are refused."""
    name = name.replace("\\", "/").removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise DataError(f"{archive} holds the member {name!r}, which points outside the archive; do not use this file.")
    return name


class _Budget:
    """Counts what an archive declares and refuses what only a bomb declares."""

    def __init__(self, archive: str) -> None:
        self.archive, self.total, self.count = archive, 0, 0

    def take(self, name: str, size: int, packed: int | None = None) -> None:
        self.total, self.count = self.total + size, self.count + 1
        raw = name.lower().endswith(RAW)
        swollen = packed is not None and not raw and size > max(1 << 20, MAX_RATIO * packed)
        if size > MAX_MEMBER or self.total > MAX_TOTAL or self.count > MAX_MEMBERS or swollen:
            raise DataError(
                f"{self.archive} would unpack to an absurd size (member {name!r}, {size:,} bytes); "
                f"do not use this file."
            )


def _from_zip(path: Path, suffixes: tuple[str, ...], contents: bool, left: Left) -> Iterator[tuple[str, bytes]]:
    budget = _Budget(path.name)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _safe_name(member.filename, path.name)
            if member.is_dir():
                left.folder(name.rstrip("/"))
                continue
            reason = _why_not(name, suffixes, member.file_size, lambda member=member: archive.open(member).read(16))
            if reason:
                left.add(reason, name)
                continue
            budget.take(name, member.file_size, member.compress_size)
            # zipfile never returns more than the declared size, and checks the CRC at its end
            yield name, archive.read(member) if contents else b""


def _from_tar(path: Path, suffixes: tuple[str, ...], contents: bool, left: Left) -> Iterator[tuple[str, bytes]]:
    budget = _Budget(path.name)
    try:
        opened = tarfile.open(path, tarinfo=_BoundedHeader)
    except tarfile.ReadError as error:
        raise DataError(f"{path} is no zip or tar archive, or it is cut off; take a whole copy of it.") from error
    with opened as archive:
        for member in archive:
            name = _safe_name(member.name, path.name)
            budget.take(name, member.size)  # before the next header is sought: also skipped members are unpacked
            if member.isdir():
                left.folder(name)
                continue
            reason = "special"
            if member.isfile():
                reason = _why_not(name, suffixes, member.size, lambda member=member: _tar_content(archive, member, 16))
            if reason:
                left.add(reason, name)
            else:
                yield name, _tar_content(archive, member) if contents else b""


def _tar_content(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int = -1) -> bytes:
    file = archive.extractfile(member)
    return file.read(limit) if file else b""


class _BoundedHeader(tarfile.TarInfo):
    """A tar header whose extension (long name, pax fields) is read only if it is small."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Self:
        """Parse one block, refusing huge extensions."""
        header = super().frombuf(buf, encoding, errors)
        if header.size > MAX_HEADER and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header
