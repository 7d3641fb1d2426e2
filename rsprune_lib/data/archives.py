"""Folders and archives read member by member, straight from the file: nothing hostile is ever written to disk."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rsprune_lib.errors import DataError

__all__ = ["SUFFIXES", "read_members", "safe_name"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm")
MAX_MEMBER = 256 << 20  # bytes of one unpacked file: an image of the course has far less
MAX_TOTAL = 64 << 30  # bytes of all unpacked files
MAX_RATIO = 200  # unpacked / packed size of one member; images are compressed already
MAX_MEMBERS = 2_000_000
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def read_members(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, bytes)`` of every file with one of the suffixes, in the order of the archive (folder: sorted).

    Args:
        path: folder, zip or tar archive (also compressed).
        suffixes: endings wanted, lower case with dot; hidden files and ``__MACOSX`` are left out.

    Raises:
        DataError: if the archive is broken, hostile, or of a kind that cannot be read.
    """
    if path.is_dir():
        yield from _from_folder(path, suffixes)
        return
    if path.suffix.lower() in (".rar", ".7z"):
        raise DataError(
            f"{path.name} is a {path.suffix[1:].upper()} archive, which is not read here; unpack it by hand "
            f"and give the folder that holds the class folders (--data PATH)."
        )
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes); delete it and fetch it again.")
        if zipfile.is_zipfile(path):
            yield from _from_zip(path, suffixes)
        elif tarfile.is_tarfile(path):
            yield from _from_tar(path, suffixes)
        else:
            raise DataError(
                f"{path} is neither a zip nor a tar archive, or it is cut off; delete it and fetch it again."
            )
    except BROKEN as error:
        raise DataError(f"{path} is damaged or cut off ({error}); delete it and fetch it again.") from error


def safe_name(name: str, archive: str) -> str:
    """Return a member's name if it stays inside the archive.

    Raises:
        DataError: for absolute names, drive letters and ``..``.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise DataError(f"{archive} holds the member {name!r}, which points outside the archive; do not use this file.")
    return str(path)


def _wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in suffixes


def _from_folder(root: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if _wanted(name, suffixes) and path.is_file():
            yield name, path.read_bytes()


def _bound(archive: str, name: str, size: int, packed: int | None, total: int, count: int) -> int:
    """Add a member to the total and refuse what only a bomb declares."""
    ratio = packed is not None and size > (1 << 20) and size > MAX_RATIO * max(packed, 1)
    if size > MAX_MEMBER or total + size > MAX_TOTAL or count > MAX_MEMBERS or ratio:
        raise DataError(
            f"{archive} would unpack to absurd sizes (member {name!r}: {size:,} bytes); do not use this file."
        )
    return total + size


def _from_zip(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        total = 0
        for count, member in enumerate(archive.infolist()):
            name = safe_name(member.filename or "?", path.name)
            if member.is_dir() or not _wanted(name, suffixes):
                continue
            total = _bound(path.name, name, member.file_size, member.compress_size, total, count)
            with archive.open(member) as file:
                yield name, file.read(member.file_size + 1)  # zipfile checks the CRC at the end


def _from_tar(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        total = 0
        for count, member in enumerate(archive):
            name = safe_name(member.name or "?", path.name)
            total = _bound(path.name, name, member.size, None, total, count)
            if member.isfile() and _wanted(name, suffixes):
                file = archive.extractfile(member)
                content = file.read() if file else b""
                if len(content) != member.size:
                    raise EOFError(f"member {name!r} has {len(content)} of {member.size} bytes")
                yield name, content
