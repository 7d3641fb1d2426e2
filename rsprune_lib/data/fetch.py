"""One road to every archive: cache, mirror, download with resume, else a sentence on what to place where by hand."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pooch
import requests
from filelock import FileLock

from rsprune_lib.data.arrays import check_arrays
from rsprune_lib.data.cards import Card, Source
from rsprune_lib.data.catalogue import get_card
from rsprune_lib.data.download import TIMEOUT, download
from rsprune_lib.data.notes import tell
from rsprune_lib.errors import DataError
from rsprune_lib.files import sha256
from rsprune_lib.places import absolute

__all__ = ["data_root", "fetch", "find", "locked", "one_by_one", "verify"]

SUMS = "SHA256SUMS"


def data_root(root: str | Path | None = None) -> Path:
    """Folder of everything cached, as a full path: the argument, else ``RSPRUNE_HOME``, else the user's cache."""
    return absolute(root or os.environ.get("RSPRUNE_HOME") or pooch.os_cache("rsprune"))


def fetch(
    card: Card | str, root: str | Path | None = None, mirror: str | Path | None = None, progress: bool = True
) -> Path:
    """Return the verified archive of a data set (the first, where it needs several), wherever it comes from.

    Args:
        card: card or name.
        root: cache folder, see `data_root`.
        mirror: folder or URL that holds the archives and ``SHA256SUMS``; default: ``RSPRUNE_MIRROR``. A folder is used
            in place.
        progress: show a bar.

    Raises:
        DataError: if a hash is wrong, or if the file can be had nowhere; says which file to place where.
    """
    card = get_card(card) if isinstance(card, str) else card
    if card.synthetic:
        raise DataError(f"Synthetic scenes are drawn, not fetched; load them with load_data({card.name!r}).")
    downloads = data_root(root) / "downloads"
    path = _in_folder(card, downloads) or _in_mirror(card, mirror)
    if path:
        return path
    with locked(downloads / card.name):
        return _in_folder(card, downloads) or _download_any(card, downloads, mirror, progress)


def find(card: Card | str, root: str | Path | None = None, mirror: str | Path | None = None) -> Path | None:
    """Return the verified (first) archive if it and all others that are needed are in the cache or a mirror folder.

    Never downloads; None if one is missing.
    """
    card = get_card(card) if isinstance(card, str) else card
    downloads = data_root(root) / "downloads"
    found = [_in_folder(own, downloads) or _in_mirror(own, mirror) for own in one_by_one(card)]
    return found[0] if all(found) else None


def one_by_one(card: Card) -> list[Card]:
    """The card for each of the files that it needs, with that file's alternatives as sources."""
    return [card, *(replace(card, sources=sources, more=()) for sources in card.more)]


def verify(card: Card | str, root: str | Path | None = None, mirror: str | Path | None = None) -> dict:
    """Check the archive's hash and the decoded images of a data set against what was written down.

    Decoded images that fail are removed; the next `load_data` decodes them again.

    Returns:
        ``{"name", "archive": path or None, "sha256", "arrays": [{"folder", "content_hash", "ok"}], "ok"}``

    Raises:
        DataError: if the archive's hash is wrong.
    """
    card = get_card(card) if isinstance(card, str) else card
    path = find(card, root, mirror)
    folders = sorted((data_root(root) / "arrays").glob(f"{card.name}-*/"))
    arrays = [check_arrays(folder) for folder in folders]
    for entry in arrays:
        if not entry["ok"]:
            shutil.rmtree(entry["folder"], ignore_errors=True)
    found = {"archive": str(path) if path else None, "sha256": sha256(path) if path else None}
    ok = all(entry["ok"] for entry in arrays) and bool(path or arrays)
    return {"name": card.name, **found, "arrays": arrays, "ok": ok}


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time make ``target``; a killed process frees its lock."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"Cannot make the folder {target.parent} ({error.strerror}); set RSPRUNE_HOME to a folder of yours."
        ) from None
    with FileLock(target.parent / f".{target.name}.lock"):
        yield


def _read_sums(text: str) -> dict[str, str]:
    """Parse the lines ``<sha256>  <file>`` or ``SHA256 (<file>) = <sha256>`` of a SHA256SUMS file."""
    sums = {}
    for line in text.lstrip("\ufeff").splitlines():
        found = re.fullmatch(r"\\?([0-9A-Fa-f]{64})\s+\*?(.+?)\s*", line)
        found = found or re.fullmatch(r"SHA256 \((?P<name>.+)\) ?= ?(?P<sum>[0-9A-Fa-f]{64})\s*", line)
        if found:
            digest, name = (found["sum"], found["name"]) if found.re.groupindex else found.groups()
            sums[name.replace("\\", "/").removeprefix("./")] = digest.lower()
    return sums


def _in_folder(card: Card, folder: Path, own: bool = True) -> Path | None:
    """The first source that lies in a folder, checked against the folder's sums, else against the card.

    Args:
        card: whose sources.
        folder: cache or mirror.
        own: True for the cache, where a wrong file is set aside; a mirror is left as it is.
    """
    listed = (folder / SUMS).is_file()
    sums = _read_sums((folder / SUMS).read_text("utf-8", "replace")) if listed else {}
    for source in card.sources:
        path = folder / source.filename
        if path.is_file():
            stated = sums.get(source.filename)
            if not stated and not own:
                _tell_unlisted(str(folder), source, listed)
            _check(path, stated, source, own)
            return path
    return None


@cache
def _tell_unlisted(mirror: str, source: Source, listed: bool) -> None:
    """Say once that a mirror does not state the hash of a file."""
    lacks = f"its {SUMS} does not list {source.filename}" if listed else f"it has no {SUMS}"
    known = _known_hash(source)
    then = f"{source.filename} is held to the publisher's {known.split(':')[0]}" if known else "nothing can be checked"
    tell("mirror", [f"{mirror}: {lacks}; {then}. Make one in its folder with: sha256sum *.zip > {SUMS}"])


def _in_mirror(card: Card, mirror: str | Path | None) -> Path | None:
    mirror = mirror or os.environ.get("RSPRUNE_MIRROR")
    if not mirror or _is_url(mirror):
        return None
    folder = absolute(str(mirror).removeprefix("file://"))
    if not folder.is_dir():
        raise DataError(f"The mirror {folder} is no folder; correct RSPRUNE_MIRROR (a folder or a URL) or unset it.")
    return _in_folder(card, folder, own=False)


def _is_url(mirror: str | Path | None) -> bool:
    return str(mirror).startswith(("http://", "https://"))


def _known_hash(source: Source, stated: str | None = None) -> str | None:
    """``algorithm:hash`` to check against: the mirror's or cache's own sum, else the card's."""
    if stated or source.sha256:
        return f"sha256:{stated or source.sha256}"
    return f"md5:{source.md5}" if source.md5 else None


def _check(path: Path, stated: str | None, source: Source, own: bool) -> None:
    """Compare a file with its stated hash.

    Raises:
        DataError: if it is empty or its hash is wrong.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); delete it and fetch it again.")
    known = _known_hash(source, stated)
    if known is None:
        return
    algorithm, wanted = known.split(":")
    with path.open("rb") as file:
        got = hashlib.file_digest(file, algorithm).hexdigest()
    if got == wanted:
        return
    if own:
        path.replace(path.with_name(path.name + ".wrong"))
    done = f"it was set aside as {path.name}.wrong, fetch it again" if own else "replace the mirror's copy"
    raise DataError(f"{path} has {algorithm} {got[:12]}…, expected {wanted[:12]}…; {done}.")


def _reason(error: Exception) -> str:
    """What went wrong, without the chain of library objects that requests puts into the text."""
    for kind, words in (
        (requests.exceptions.SSLError, "its certificate could not be checked"),
        (requests.exceptions.ProxyError, "the proxy gave no connection"),
        (requests.Timeout, "no answer in time"),
        (requests.ConnectionError, "no connection"),
    ):
        if isinstance(error, kind):
            return words
    return str(error)


def _download_any(card: Card, folder: Path, mirror: str | Path | None, progress: bool) -> Path:
    """Try the mirror's address, then each source's; keep what was verified and write its sum down."""
    mirror = str(mirror or os.environ.get("RSPRUNE_MIRROR") or "")
    failures = []
    for url, source, stated in _addresses(card, mirror):
        try:
            path = download(url, source, _known_hash(source, stated), folder, progress)
        except (requests.RequestException, OSError, ValueError) as error:
            failures.append(f"{url}: {_reason(error)}")
            continue
        if path.stat().st_size == 0:
            path.unlink()
            failures.append(f"{url}: empty file")
            continue
        with (folder / SUMS).open("a") as file:
            file.write(f"{sha256(path)}  {path.name}\n")
        return path
    name = card.sources[0].filename
    tried = f" ({'; '.join(failures)})" if failures else ""
    raise DataError(
        f"{card.title} could not be downloaded{tried}; get {name} from {card.homepage} and place it as "
        f"{folder / name}, or set RSPRUNE_MIRROR to a folder or URL that holds it."
    )


def _addresses(card: Card, mirror: str) -> Iterator[tuple[str, Source, str | None]]:
    """(URL, source, SHA-256 stated by the mirror), the mirror first."""
    if _is_url(mirror):
        base = mirror.rstrip("/")
        try:
            answer = requests.get(f"{base}/{SUMS}", timeout=TIMEOUT)
            listed, sums = answer.ok, _read_sums(answer.text) if answer.ok else {}
        except requests.RequestException:
            listed, sums = False, {}
        for source in {source.filename: source for source in card.sources}.values():
            if source.filename in sums:
                yield f"{base}/{source.filename}", source, sums[source.filename]
            elif not listed:  # a list that lacks a file says that it is not there
                _tell_unlisted(base, source, listed)
                yield f"{base}/{source.filename}", source, None
    for source in card.sources:
        if source.url:
            yield source.url, source, None
