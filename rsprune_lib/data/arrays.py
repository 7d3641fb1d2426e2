"""Images decoded once into a uint8 memory map, written whole or not at all."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rsprune_lib.data.decode import decode
from rsprune_lib.errors import DataError
from rsprune_lib.files import atomic, read_json, write_json

__all__ = ["Arrays", "build_arrays", "decode_all", "open_arrays"]

SCHEMA = 1


class Arrays:
    """The decoded images in a cache folder: ``images.npy``, ``labels.npy``, ``index.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = read_json(folder / "index.json", "index of decoded images")
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        self.labels = np.load(folder / "labels.npy")


def open_arrays(folder: Path) -> Arrays | None:
    """Open a folder of decoded images, or return None if there is none (or one of an older schema)."""
    if not (folder / "index.json").exists():
        return None
    arrays = Arrays(folder)
    return arrays if arrays.index.get("schema") == SCHEMA else None


def build_arrays(
    folder: Path,
    pixels: Iterable[tuple[int, np.ndarray]],
    labels: Sequence[int],
    size: int,
    index: dict,
    progress: bool = True,
) -> Arrays:
    """Write a memory map and its index, then rename the finished folder into place.

    Args:
        folder: where the result shall stand.
        pixels: (row, (size, size, 3) uint8), every row once, in any order.
        labels: N class numbers.
        size: pixels a side.
        index: what else to keep: files, classes, fixed parts, origin.
        progress: show a bar.

    Raises:
        DataError: if rows are missing.
    """
    count = len(labels)
    digests: list[bytes] = [b""] * count
    with atomic(folder) as temporary:
        temporary.mkdir()
        images = np.lib.format.open_memmap(temporary / "images.npy", "w+", np.uint8, (count, size, size, 3))
        for row, image in tqdm(pixels, total=count, desc="decode", unit="image", disable=not progress, leave=False):
            images[row] = image
            digests[row] = hashlib.sha256(image.tobytes()).digest()
        missing = sum(not digest for digest in digests)
        if missing:
            raise DataError(f"{missing} of {count} images are missing in {index.get('origin')}; fetch it again.")
        images.flush()
        del images
        np.save(temporary / "labels.npy", np.asarray(labels, dtype=np.int64))
        index = {"schema": SCHEMA, **index, "twins": _twins(digests)}
        index["content_hash"] = _content_hash(digests, labels, index["classes"], size)
        write_json(temporary / "index.json", index)
    return Arrays(folder)


def _twins(digests: list[bytes]) -> list[list[int]]:
    """Groups of rows with identical pixels."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        groups[digest].append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def _content_hash(digests: list[bytes], labels: Sequence[int], classes: Sequence[str], size: int) -> str:
    """First 16 hex digits of the SHA-256 over pixels, labels, class names and size."""
    digest = hashlib.sha256(f"{size}:{'/'.join(classes)}".encode())
    digest.update(b"".join(digests) + np.asarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def decode_all(
    members: Iterable[tuple[str, bytes]], rows: dict[str, int], size: int, workers: int = 2
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode members in threads (the decoders release the interpreter lock), with at most a few hundred waiting.

    Args:
        members: (name, file content).
        rows: row of every wanted name.
        size: pixels a side.
        workers: threads.

    Yields:
        (row, (size, size, 3) uint8).
    """
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for name, content in members:
                if name not in rows:
                    continue
                waiting.append((rows[name], pool.submit(decode, content, name, size)))
                while len(waiting) > 64 * workers:
                    row, job = waiting.popleft()
                    yield row, job.result()
            while waiting:
                row, job = waiting.popleft()
                yield row, job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
