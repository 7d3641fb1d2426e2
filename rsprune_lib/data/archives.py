"""Folders and archives read member by member, straight from the file: nothing hostile is ever written to disk."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from rsprune_lib.errors import DataError

__all__ = ["BROKEN", "SUFFIXES", "folder_files", "read_members"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".jp2")
MAX_MEMBER = 256 << 20  # bytes of one unpacked file; an image of the course has far less
MAX_TOTAL = 64 << 30  # bytes of all unpacked files
MAX_RATIO = 200  # unpacked / packed size of one member; images are packed already
MAX_MEMBERS = 2_000_000
MAX_HEADER = 1 << 20  # bytes of a tar header that is read before its member
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError),  # what zipfile raises for unknown methods, passwords, odd fields
)


def read_members(
    path: Path, suffixes: tuple[str, ...] = SUFFIXES, contents: bool = True
) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, bytes)`` of every file with one of the suffixes, in the order of the archive (folder: sorted).

    Args:
        path: folder, zip or tar archive (also compressed).
        suffixes: endings wanted, lower case with dot; hidden files and ``__MACOSX`` are left out.
        contents: False yields empty bytes, which is faster where only the names are wanted.

    Raises:
        DataError: if the archive is broken, hostile, or of a kind that cannot be read.
    """
    if path.is_dir():
        for name, file in folder_files(path, suffixes):
            yield name, file.read_bytes() if contents else b""
        return
    if path.suffix.lower() in (".rar", ".7z"):
        raise DataError(
            f"{path.name} is a {path.suffix[1:].upper()} archive, which is not read here; unpack it by hand and "
            f"give the folder that holds the class folders (--data PATH)."
        )
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes); delete it and fetch it again.")
        if zipfile.is_zipfile(path):
            yield from _from_zip(path, suffixes, contents)
        else:
            yield from _from_tar(path, suffixes, contents)
    except BROKEN as error:
        raise DataError(f"{path} is damaged or cut off ({error}); delete it and fetch it again.") from error


def folder_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[tuple[str, Path]]:
    """(relative name, path) of the wanted files below a folder, sorted; linked folders are followed, loops are not."""
    found, seen = [], set()
    for base, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for file in files:
            path = Path(base, file)
            name = path.relative_to(root).as_posix()
            if _wanted(name, suffixes):
                found.append((name, path))
    return sorted(found)


def _wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and "/." not in f"/{name}" and "__MACOSX/" not in name


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
        swollen = packed is not None and size > max(1 << 20, MAX_RATIO * packed)
        if size > MAX_MEMBER or self.total > MAX_TOTAL or self.count > MAX_MEMBERS or swollen:
            raise DataError(
                f"{self.archive} would unpack to an absurd size (member {name!r}, {size:,} bytes); "
                f"do not use this file."
            )


def _from_zip(path: Path, suffixes: tuple[str, ...], contents: bool) -> Iterator[tuple[str, bytes]]:
    budget = _Budget(path.name)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _safe_name(member.filename, path.name)
            if member.is_dir() or not _wanted(name, suffixes):
                continue
            budget.take(name, member.file_size, member.compress_size)
            # zipfile never returns more than the declared size, and checks the CRC at its end
            yield name, archive.read(member) if contents else b""


def _from_tar(path: Path, suffixes: tuple[str, ...], contents: bool) -> Iterator[tuple[str, bytes]]:
    budget = _Budget(path.name)
    try:
        opened = tarfile.open(path, tarinfo=_BoundedHeader)
    except tarfile.ReadError as error:
        raise DataError(f"{path} is no zip or tar archive, or it is cut off; delete it and fetch it again.") from error
    with opened as archive:
        for member in archive:
            name = _safe_name(member.name, path.name)
            budget.take(name, member.size)  # before the next header is sought: also skipped members are unpacked
            if member.isfile() and _wanted(name, suffixes):
                file = archive.extractfile(member) if contents else None
                yield name, file.read() if file else b""


class _BoundedHeader(tarfile.TarInfo):
    """A tar header whose extension (long name, pax fields) is read only if it is small."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Self:
        """Parse one block, refusing huge extensions."""
        header = super().frombuf(buf, encoding, errors)
        if header.size > MAX_HEADER and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header
