"""Images, and masks where there are any, decoded once into uint8 memory maps, written whole or not at all."""

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rsprune_lib.data.decode import quiet
from rsprune_lib.data.masks import UNKNOWN
from rsprune_lib.data.sizes import Size, shown_size, sides, size_text
from rsprune_lib.errors import DataError, RspruneError
from rsprune_lib.files import atomic, read_json, write_json

__all__ = [
    "Arrays",
    "build_arrays",
    "check_arrays",
    "class_counts",
    "colour_statistics",
    "open_arrays",
]

SCHEMA = 2  # of the pixels: another rule of decoding, another number
IMAGES, MASKS, COUNTS = "images.npy", "masks.npy", "class_pixels.npy"  # (N, H, W, 3), (N, H, W) uint8; (N, K) int64
UNLABELLED = "No mask holds a pixel of a known class; check the palette and the masks."


class Arrays:
    """The decoded images in a cache folder: ``images.npy``, ``labels.npy``, ``index.json``, ``masks.npy``.

    Attributes:
        folder: where they lie.
        index: files, classes, fixed parts, groups of identical images, origin, content hash.
        images: (N, H, W, 3) uint8 memory map, read-only.
        labels: (N,) int64.
        masks: (N, H, W) uint8 memory map, read-only; None where an image has one label.
        counts: (N, K) int64 pixels of each class in each mask; None without masks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = read_json(folder / "index.json", "index of decoded images")
        self.images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        self.labels = np.load(folder / "labels.npy", allow_pickle=False)
        masked = self.index.get("palette") is not None
        self.masks = np.load(folder / MASKS, mmap_mode="r", allow_pickle=False) if masked else None
        self.counts = np.load(folder / COUNTS, allow_pickle=False) if masked else None


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
    labels: Sequence[int] | None,
    size: Size,
    index: dict,
    progress: bool = True,
    damaged: Mapping[int, str] | None = None,
    masks: Iterable[tuple[int, np.ndarray]] | None = None,
) -> Arrays:
    """Write memory maps and their index into a temporary folder, then rename it into place.

    Args:
        folder: where the result shall stand.
        pixels: (row, (H, W, 3) uint8), every row once, in any order.
        labels: N class numbers; None where there are masks: the most frequent class of each.
        size: pixels a side, or (height, width).
        index: what else to keep: ``files``, ``classes``, ``fixed``, ``origin``, ``listing``, ``palette``.
        progress: show a bar.
        damaged: rows that turn out to be unreadable, filled while ``pixels`` is read; they are left out.
        masks: (row, (H, W) uint8), read after ``pixels``; rows without any known pixel are left out and counted as
            ``index["unlabelled"]``.

    Raises:
        DataError: if rows are missing, if none is left, or if the disk is too full.
    """
    count, damaged = len(index["files"] if labels is None else labels), {} if damaged is None else damaged
    height, width = sides(size)
    _clean(folder, needed=count * height * width * (3 if masks is None else 4))
    with atomic(folder) as temporary:
        temporary.mkdir()
        digests = _fill(temporary / IMAGES, (count, height, width, 3), pixels, progress)
        marks = None if masks is None else _fill(temporary / MASKS, (count, height, width), masks, progress)
        missing = {row for found in (digests, marks or digests) for row, digest in enumerate(found) if not digest}
        if missing - set(damaged):
            raise DataError(
                f"{len(missing - set(damaged))} of {count} images are missing in {index.get('origin')}; fetch it again."
            )
        gone = dict(damaged)
        if masks is not None:
            counts = class_counts(np.load(temporary / MASKS, mmap_mode="r"), len(index["classes"]))
            labels = counts.argmax(1).tolist()
            gone |= {row: UNLABELLED for row in np.flatnonzero(~counts.any(1)).tolist() if row not in damaged}
        kept = [row for row in range(count) if row not in gone]
        if gone:
            index = _without(temporary, kept, index, gone)
        labels, digests = [labels[row] for row in kept], [digests[row] for row in kept]
        np.save(temporary / "labels.npy", np.asarray(labels, dtype=np.int64))
        made = {"twins": _twins(digests)}
        if marks is not None:
            np.save(temporary / COUNTS, counts[kept])
            digests = [digest + marks[row] for digest, row in zip(digests, kept, strict=True)]
        made |= {"content_hash": _content_hash(digests, labels, index["classes"], size)}
        write_json(temporary / "index.json", {"schema": SCHEMA, "listing": None} | index | made)
    return Arrays(folder)


def _fill(path: Path, shape: tuple[int, ...], rows: Iterable[tuple[int, np.ndarray]], progress: bool) -> list[bytes]:
    """Write a memory map row by row; returns the SHA-256 of every row, empty for those that did not come."""
    digests: list[bytes] = [b""] * shape[0]
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    with quiet(), tqdm(rows, f"decode {path.stem}", shape[0], disable=not progress, leave=False) as bar:
        for row, pixels in bar:
            array[row] = pixels
            digests[row] = hashlib.sha256(pixels.tobytes()).digest()
    array.flush()
    return digests


def class_counts(masks: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) int64 pixels of each class in each mask."""
    counts = [np.bincount(np.asarray(mask).ravel(), minlength=UNKNOWN + 1)[:classes] for mask in masks]
    return np.array(counts, np.int64).reshape(len(masks), classes)


def _without(folder: Path, kept: list[int], index: dict, gone: Mapping[int, str]) -> dict:
    """Rewrite the memory maps and the lists of their index without some rows."""
    if not kept:
        raise DataError(next(iter(gone.values())))
    for path in (folder / IMAGES, folder / MASKS):
        if path.exists():
            old, new = np.load(path, mmap_mode="r"), path.with_name("kept.npy")
            short = np.lib.format.open_memmap(new, "w+", np.uint8, (len(kept), *old.shape[1:]))
            for start in range(0, len(kept), 64):
                short[start : start + 64] = old[kept[start : start + 64]]
            short.flush()
            new.replace(path)
    lists = {key: [index[key][row] for row in kept] for key in ("files", "fixed", "sources") if index.get(key)}
    damaged = [gone[row] for row in sorted(gone) if gone[row] is not UNLABELLED]
    told = dict.fromkeys([*(index.get("damaged") or ()), *damaged])
    return index | lists | {"damaged": list(told), "unlabelled": len(gone) - len(damaged)}


def check_arrays(folder: Path) -> dict:
    """Compare decoded images with their content hash: ``{"folder", "content_hash", "ok"}``."""
    arrays = _open(folder)
    if arrays is None:
        return {"folder": str(folder), "content_hash": None, "ok": False}
    parts = [part for part in (arrays.images, arrays.masks) if part is not None]
    digests = [b"".join(hashlib.sha256(part.tobytes()).digest() for part in row) for row in zip(*parts, strict=True)]
    size = shown_size(*arrays.images.shape[1:3])
    found = _content_hash(digests, arrays.labels, arrays.index["classes"], size)
    return {"folder": str(folder), "content_hash": found, "ok": found == arrays.index["content_hash"]}


def colour_statistics(
    images: np.ndarray, indices: np.ndarray
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """RGB mean and standard deviation in [0, 1] over some images, from exact integer sums, to four digits.

    Args:
        images: (N, H, W, 3) uint8.
        indices: (n,) which of them.
    """
    sums, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    step = max(1, (1 << 20) // (images.shape[1] * images.shape[2]))  # a million pixels at a time
    for start in range(0, len(indices), step):
        part = images[indices[start : start + step]].reshape(-1, 3)
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


def _content_hash(digests: list[bytes], labels: Sequence[int], classes: Sequence[str], size: Size) -> str:
    """First 16 hex digits of the SHA-256 over pixels, masks, labels, class names and size."""
    digest = hashlib.sha256(f"{size_text(size)}:{'/'.join(classes)}".encode())
    digest.update(b"".join(digests) + np.asarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]
