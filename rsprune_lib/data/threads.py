"""Files decoded in threads, with a bounded number of bytes waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rsprune_lib.data.decode import decode
from rsprune_lib.data.sizes import Size
from rsprune_lib.errors import DataError

__all__ = ["decode_all", "in_threads"]

MAX_HELD = 64 << 20  # bytes of files that wait to be decoded; decoded they are several times as large


def decode_all(
    members: Iterable[tuple[str, bytes]],
    rows: dict[str, int],
    size: Size,
    workers: int = 2,
    bands: str | None = None,
    damaged: dict[int, str] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode members in threads.

    Args:
        members: (name, file content).
        rows: row of every wanted name.
        size: pixels a side, or (height, width).
        workers: threads.
        bands: which bands to take, see `rsprune_lib.data.bands`.
        damaged: takes down the rows that cannot be read, with the reason.

    Yields:
        (row, (H, W, 3) uint8).

    Raises:
        DataError: if an image cannot be read and ``damaged`` is None.
    """
    options, failed = (bands,) if bands else (), None if damaged is None else {}
    wanted = ((name, content) for name, content in members if name in rows)
    for name, image in in_threads(wanted, lambda content, name: decode(content, name, size, *options), failed, workers):
        yield rows[name], image
    if failed:
        damaged |= {rows[name]: reason for name, reason in failed.items()}


def in_threads(
    members: Iterable[tuple[str, bytes]],
    work: Callable[[bytes, str], Any],
    failed: dict[str, str] | None = None,
    workers: int = 2,
) -> Iterator[tuple[str, Any]]:
    """Work on files in threads (the decoders release the interpreter lock) with a bounded number waiting.

    Args:
        members: (name, file content).
        work: of (content, name).
        failed: takes down the names that cannot be read, with the reason.
        workers: threads.

    Yields:
        (name, what ``work`` returned), in the order of the members.

    Raises:
        DataError: if a file cannot be read and ``failed`` is None.
    """
    waiting: deque = deque()

    def finished() -> Iterator[tuple[str, Any]]:
        name, _, job = waiting.popleft()
        try:
            yield name, job.result()
        except DataError as error:
            if failed is None:
                raise
            failed[name] = str(error)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for name, content in members:
                waiting.append((name, len(content), pool.submit(work, content, name)))
                while len(waiting) > 32 * workers or (waiting and sum(held for _, held, _ in waiting) > MAX_HELD):
                    yield from finished()
            while waiting:
                yield from finished()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
