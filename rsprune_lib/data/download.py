"""Downloads that can be broken off and go on where they were; pooch checks the hash before a file gets its name."""

import shutil
from pathlib import Path

import pooch
import requests
from tqdm.auto import tqdm

from rsprune_lib.data.cards import Source

__all__ = ["TIMEOUT", "download"]

TIMEOUT = (10, 60)  # seconds to connect, and between two pieces


def download(url: str, source: Source, known_hash: str | None, folder: Path, progress: bool) -> Path:
    """Download one file into a folder; what has arrived of it lies beside it as ``<filename>.part``.

    Args:
        url: where to get it.
        source: its file name, and its size if the server states none.
        known_hash: ``algorithm:hash``, or None if nobody states one.
        folder: where to keep it.
        progress: show a bar.

    Raises:
        requests.RequestException: if the server cannot be reached or breaks off; the next call goes on.
        ValueError: if the hash is wrong; nothing is kept.
    """
    pooch.get_logger().setLevel("WARNING")
    part = folder / f"{source.filename}.part"

    def resume(url: str, output: str | Path, _: object) -> None:
        _fetch_rest(url, part, source, progress)
        shutil.move(part, output)

    return Path(pooch.retrieve(url, known_hash, source.filename, folder, downloader=resume))


def _fetch_rest(url: str, part: Path, source: Source, progress: bool, attempts: int = 3) -> None:
    """Fetch what is missing of a partial file; goes on after a broken connection as long as something arrived.

    Raises:
        requests.RequestException: if the server cannot be reached or breaks off; the part stays for the next call.
    """
    for attempt in range(attempts):
        before = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part, before, source, progress)
            return
        except requests.RequestException:
            arrived = part.exists() and part.stat().st_size > before
            if attempt == attempts - 1 or not arrived:
                raise


def _append(url: str, part: Path, have: int, source: Source, progress: bool) -> None:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # the part is no shorter than the file: begin again
            part.unlink()
            return _append(url, part, 0, source, progress)
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else source.size
        bar = tqdm(
            total=total,
            initial=have,
            desc=source.filename,
            unit="B",
            unit_scale=True,
            disable=not progress,
            leave=False,
        )
        with bar, part.open("ab" if have else "wb") as file:
            for piece in answer.iter_content(1 << 16):
                file.write(piece)
                bar.update(len(piece))
    if length and part.stat().st_size != total:
        raise requests.ConnectionError(f"broke off after {part.stat().st_size:,} of {total:,} bytes")
    return None
