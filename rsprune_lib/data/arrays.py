"""Images decoded once into a uint8 memory map, written whole or not at all."""

import hashlib
import shutil
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rsprune_lib.data.decode import decode, quiet
from rsprune_lib.errors import DataError, RspruneError
from rsprune_lib.files import atomic, read_json, write_json

__all__ = ["Arrays", "build_arrays", "check_arrays", "colour_statistics", "decode_all", "open_arrays"]

SCHEMA = 2  # of the pixels: another rule of decoding, another number
MAX_HELD = 256 << 20  # bytes of files that wait to be decoded


class Arrays:
    """The decoded images in a cache folder: ``images.npy``, ``labels.npy``, ``index.json``.

    Attributes:
        folder: where they lie.
        index: files, classes, fixed parts, groups of identical images, origin, content hash.
        images: (N, S, S, 3) uint8 memory map, read-only.
        labels: (N,) int64.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = read_json(folder / "index.json", "index of decoded images")
        self.images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        self.labels = np.load(folder / "labels.npy", allow_pickle=False)


def open_arrays(folder: Path, listing: str | None = None) -> Arrays | None:
    """Open a folder of decoded images; None if there is none, a broken one, or one of another listing or schema."""
    arrays = _open(folder)
    return arrays if arrays and (arrays.index.get("schema"), arrays.index.get("listing")) == (SCHEMA, listing) else None


def _open(folder: Path) -> Arrays | None:
    try:
        return Arrays(folder)
    except (RspruneError, OSError, ValueError):  # not there, or cut off by a full disk: it is decoded again
        return None


def build_arrays(
    folder: Path,
    pixels: Iterable[tuple[int, np.ndarray]],
    labels: Sequence[int],
    size: int,
    index: dict,
    progress: bool = True,
    damaged: Mapping[int, str] | None = None,
) -> Arrays:
    """Write a memory map and its index into a temporary folder, then rename it into place.

    Args:
        folder: where the result shall stand.
        pixels: (row, (size, size, 3) uint8), every row once, in any order.
        labels: N class numbers.
        size: pixels a side.
        index: what else to keep: ``files``, ``classes``, ``fixed``, ``origin``, ``listing``.
        progress: show a bar.
        damaged: rows that turn out to be unreadable, filled while ``pixels`` is read; they are left out.

    Raises:
        DataError: if rows are missing, if none is left, or if the disk is too full.
    """
    count, damaged = len(labels), {} if damaged is None else damaged
    digests: list[bytes] = [b""] * count
    _clean(folder, needed=count * size * size * 3)
    with atomic(folder) as temporary:
        temporary.mkdir()
        images = np.lib.format.open_memmap(temporary / "images.npy", "w+", np.uint8, (count, size, size, 3))
        with quiet(), tqdm(pixels, "decode", count, unit="image", disable=not progress, leave=False) as bar:
            for row, image in bar:
                images[row] = image
                digests[row] = hashlib.sha256(image.tobytes()).digest()
        missing = sum(not digest for row, digest in enumerate(digests) if row not in damaged)
        if missing:
            raise DataError(f"{missing} of {count} images are missing in {index.get('origin')}; fetch it again.")
        images.flush()
        del images
        if damaged:
            kept = [row for row in range(count) if row not in damaged]
            labels, digests = [labels[row] for row in kept], [digests[row] for row in kept]
            index = _without(temporary / "images.npy", kept, index, damaged)
        np.save(temporary / "labels.npy", np.asarray(labels, dtype=np.int64))
        made = {"twins": _twins(digests), "content_hash": _content_hash(digests, labels, index["classes"], size)}
        write_json(temporary / "index.json", {"schema": SCHEMA, "listing": None} | index | made)
    return Arrays(folder)


def _without(images: Path, kept: list[int], index: dict, damaged: Mapping[int, str]) -> dict:
    """Rewrite a memory map and the lists of its index without the damaged rows."""
    if not kept:
        raise DataError(next(iter(damaged.values())))
    old, new = np.load(images, mmap_mode="r"), images.with_name("kept.npy")
    short = np.lib.format.open_memmap(new, "w+", np.uint8, (len(kept), *old.shape[1:]))
    for start in range(0, len(kept), 256):
        short[start : start + 256] = old[kept[start : start + 256]]
    short.flush()
    new.replace(images)
    lists = {key: [index[key][row] for row in kept] for key in ("files", "fixed") if index.get(key)}
    return index | lists | {"damaged": [damaged[row] for row in sorted(damaged)]}


def decode_all(
    members: Iterable[tuple[str, bytes]],
    rows: dict[str, int],
    size: int,
    workers: int = 2,
    bands: str | None = None,
    damaged: dict[int, str] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode members in threads (the decoders release the interpreter lock) with a bounded number waiting.

    Args:
        members: (name, file content).
        rows: row of every wanted name.
        size: pixels a side.
        workers: threads.
        bands: which bands to take, see `rsprune_lib.data.bands`.
        damaged: takes down the rows that cannot be read, with the reason.

    Yields:
        (row, (size, size, 3) uint8).

    Raises:
        DataError: if an image cannot be read and ``damaged`` is None.
    """
    waiting: deque = deque()
    options = (bands,) if bands else ()

    def finished() -> Iterator[tuple[int, np.ndarray]]:
        row, _, job = waiting.popleft()
        try:
            yield row, job.result()
        except DataError as error:
            if damaged is None:
                raise
            damaged[row] = str(error)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for name, content in members:
                if name in rows:
                    waiting.append((rows[name], len(content), pool.submit(decode, content, name, size, *options)))
                while len(waiting) > 32 * workers or (waiting and sum(held for _, held, _ in waiting) > MAX_HELD):
                    yield from finished()
            while waiting:
                yield from finished()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def check_arrays(folder: Path) -> dict:
    """Compare decoded images with their content hash: ``{"folder", "content_hash", "ok"}``."""
    arrays = _open(folder)
    if arrays is None:
        return {"folder": str(folder), "content_hash": None, "ok": False}
    digests = [hashlib.sha256(image.tobytes()).digest() for image in arrays.images]
    found = _content_hash(digests, arrays.labels, arrays.index["classes"], arrays.images.shape[1])
    return {"folder": str(folder), "content_hash": found, "ok": found == arrays.index["content_hash"]}


def colour_statistics(
    images: np.ndarray, indices: np.ndarray
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """RGB mean and standard deviation in [0, 1] over some images, from exact integer sums, to four digits.

    Args:
        images: (N, S, S, 3) uint8.
        indices: (n,) which of them.
    """
    sums, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    for start in range(0, len(indices), 256):
        part = images[indices[start : start + 256]].reshape(-1, 3)
        sums += part.sum(0, dtype=np.uint64)
        squares += np.square(part, dtype=np.uint32).sum(0, dtype=np.uint64)
    count = len(indices) * images.shape[1] * images.shape[2]
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1))  # a uniform channel is not divided by zero
    return tuple(np.round(mean / 255, 4).tolist()), tuple(np.round(std / 255, 4).tolist())


def _clean(folder: Path, needed: int) -> None:
    """Remove what a killed process left behind (the caller holds the lock) and check the room on the disk."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".tmp-{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    free = shutil.disk_usage(folder.parent).free
    if free < needed * 1.05:
        raise DataError(
            f"Decoding needs {needed / 1e6:,.1f} MB in {folder.parent}, only {free / 1e6:,.1f} MB are free; "
            f"make room, set RSPRUNE_HOME to another disk, or choose a smaller image_size."
        )


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
