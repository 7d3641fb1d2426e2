"""Disjoint train, validation and test parts: made by rule, saved as small index files with a hash.

An index file is read without pydantic: it has four fields, and the hash over the parts finds whatever is wrong in them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from rsprune_lib.errors import DataError
from rsprune_lib.files import read_json, write_json

__all__ = ["PARTS", "Split", "SplitRule", "make_split", "together", "without_copies"]

PARTS = ("train", "val", "test")
LETTERS = {"train": "t", "val": "v", "test": "e"}
SCHEMA = 1


@dataclass(frozen=True)
class SplitRule:
    """How a data set is split.

    Args:
        ratios: shares of train, validation and test; they sum to 1.
        published: True where the publisher fixes the test part; validation is then ``ratios[1]`` of the rest.
        note: where the rule comes from.
    """

    ratios: tuple[float, float, float] = (0.6, 0.1, 0.3)
    published: bool = False
    note: str = "seeded, stratified by class; identical images stay in one part"


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of the three parts.

    Args:
        train: (n,) int64 indices into the data set, ascending.
        val: (n,) int64 indices, ascending.
        test: (n,) int64 indices, ascending.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def __repr__(self) -> str:
        """The size of each part."""
        return ", ".join(f"{len(getattr(self, part)):,} {part}" for part in PARTS)

    def __post_init__(self) -> None:
        """Refuse overlapping or empty parts.

        Raises:
            DataError: if a part is empty or two parts share an image.
        """
        parts = [getattr(self, part) for part in PARTS]
        if any(len(part) == 0 for part in parts):
            sizes = "/".join(str(len(part)) for part in parts)
            raise DataError(f"A split needs images in train, validation and test, got {sizes}; add images.")
        together = np.concatenate(parts)
        if len(np.unique(together)) != len(together):
            raise DataError("The parts of this split share images; train, validation and test must be disjoint.")

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 over the three index lists."""
        digest = hashlib.sha256()
        for part in PARTS:
            digest.update(part.encode() + np.asarray(getattr(self, part), dtype="<i8").tobytes())
        return digest.hexdigest()[:12]

    def save(self, path: Path, files: Sequence[str]) -> None:
        """Write an index file: a letter an image (t train, v validation, e test), its hash, a hash of the names."""
        letters = np.full(len(files), "-")
        for part, letter in LETTERS.items():
            letters[getattr(self, part)] = letter
        saved = {"schema": SCHEMA, "hash": self.hash, "files": names_hash(files), "parts": "".join(letters)}
        write_json(path, saved)

    @classmethod
    def load(cls, path: Path, files: Sequence[str]) -> "Split":
        """Read an index file and check that it is whole and made for these files.

        Raises:
            RspruneError: if it is missing or no index file.
            DataError: if it was changed by hand or made for other files.
        """
        saved = read_json(path, "split index file")
        again = "delete the file and load the data again."
        if saved.get("schema") != SCHEMA or not isinstance(saved.get("parts"), str):
            raise DataError(f"{path} is not a split index file of schema {SCHEMA}; {again}")
        if saved.get("files") != names_hash(files) or len(saved["parts"]) != len(files):
            raise DataError(f"The split in {path} was made for other files; {again}")
        letters = np.array(list(saved["parts"]))
        split = cls(*(np.flatnonzero(letters == letter).astype(np.int64) for letter in LETTERS.values()))
        if split.hash != saved.get("hash"):
            raise DataError(f"The split in {path} does not match its hash; {again}")
        return split


def names_hash(files: Sequence[str]) -> str:
    """Hash of the file names without suffixes: a recompressed copy shares its splits with the original."""
    return hashlib.sha256("\n".join(_stem(file) for file in files).encode()).hexdigest()[:12]


def _stem(file: str) -> str:
    return file.rpartition(".")[0] or file


def make_split(
    labels: np.ndarray,
    files: Sequence[str],
    classes: Sequence[str],
    *,
    ratios: tuple[float, float, float] = (0.6, 0.1, 0.3),
    seed: int = 66,
    twins: Sequence[Sequence[int]] = (),
    fixed: Sequence[str | None] | None = None,
) -> Split:
    """Split stratified by class, in an order that depends on the seed and the file names only.

    Inside a class the images are ordered by a hash of the seed and the file name: neither the order of the files, nor
    their suffix, nor the version of a random generator changes the split.

    Args:
        labels: (N,) int64 class of every image.
        files: N relative paths.
        classes: class names.
        ratios: shares of train, validation and test.
        seed: another seed, another split.
        twins: groups of indices with identical pixels; a group stays in one part.
        fixed: N published parts (``"train"``, ``"val"``, ``"test"``) or None; without a published ``"val"`` it is cut
            from train with the share ``ratios[1]``. What stands in two of them is left in one, see `without_copies`.

    Raises:
        DataError: if a class has too few images, or none in train.
    """
    if fixed is None:
        parts = _deal(range(len(labels)), labels, files, classes, ratios, seed, twins)
    else:
        _check_trained(labels, classes, [i for i, part in enumerate(fixed) if part == "train"])
        gone = _copies(dict(enumerate(fixed)), twins)
        parts = {part: [i for i, own in enumerate(fixed) if own == part and i not in gone] for part in PARTS}
        _check_trained(labels, classes, parts["train"], copies=bool(gone))
        if not parts["val"]:
            parts |= _deal(parts["train"], labels, files, classes, (1 - ratios[1], ratios[1]), seed, twins)
    return _split(parts)


def without_copies(split: Split, twins: Sequence[Sequence[int]]) -> Split:
    """Leave an image that stands in several parts in one: in test if it is there, else in validation."""
    place = {i: part for part in PARTS for i in getattr(split, part).tolist()}
    gone = _copies(place, twins)
    return _split({part: [i for i, own in place.items() if own == part and i not in gone] for part in PARTS})


def together(twins: Sequence[Sequence[int]], sources: Sequence[int] | None) -> list[list[int]]:
    """Groups of indices that stay in one part: identical images, and windows of one source, whatever links them.

    Args:
        twins: groups with identical pixels.
        sources: N numbers of the sources that the windows were cut from, or None.
    """
    if sources is None:
        return [list(group) for group in twins]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(sources)
    links = [(i, j) for group in twins for i, j in pairwise(group)]
    links += [(i, count + source) for i, source in enumerate(sources)]
    rows, columns = np.array(links).T
    nodes = count + max(sources) + 1
    _, labels = connected_components(coo_array((np.ones(len(links)), (rows, columns)), (nodes, nodes)), directed=False)
    groups: dict[int, list[int]] = {}
    for i, label in enumerate(labels[:count].tolist()):
        groups.setdefault(label, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def _split(parts: Mapping[str, Sequence[int]]) -> Split:
    return Split(*(np.array(sorted(parts[part]), dtype=np.int64) for part in PARTS))


def _copies(place: Mapping[int, str], twins: Sequence[Sequence[int]]) -> set[int]:
    """Indices whose pixels also stand in a later part of train, validation, test."""
    gone = set()
    for group in twins:
        home = max((place[i] for i in group if i in place), key=PARTS.index, default=None)
        gone |= {i for i in group if i in place and place[i] != home}
    return gone


def _check_trained(labels: np.ndarray, classes: Sequence[str], train: Sequence[int], copies: bool = False) -> None:
    """Refuse classes without a training image.

    Raises:
        DataError: naming them.
    """
    trained = {int(labels[i]) for i in train}
    without = [name for label, name in enumerate(classes) if label not in trained]
    if without:
        others = ", ".join([name for label, name in enumerate(classes) if label in trained][:8]) or "none"
        raise DataError(
            f"The training part has no images of {', '.join(without[:8])}"
            f"{' that are not copies of validation or test images' if copies else ''} (classes with training images: "
            f"{others}); add some, or remove the class."
        )


def _deal(
    rows: Iterable[int],
    labels: np.ndarray,
    files: Sequence[str],
    classes: Sequence[str],
    ratios: tuple[float, ...],
    seed: int,
    twins: Sequence[Sequence[int]],
) -> dict[str, list[int]]:
    """Deal some images to train and validation, and to test if a third share is given, class by class."""
    parts: dict[str, list[int]] = {part: [] for part, _ in zip(PARTS, ratios, strict=False)}
    units = _units(rows, twins)
    keys = [_key(seed, files[unit[0]]) for unit in units]
    by_class: dict[int, list[int]] = {label: [] for label in range(len(classes))}
    for position in sorted(range(len(units)), key=keys.__getitem__):
        by_class[int(labels[units[position][0]])].append(position)
    for label, positions in by_class.items():
        _share([units[position] for position in positions], ratios, classes[label], parts)
    return parts


def _units(rows: Iterable[int], twins: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group some indices: identical images together, all others alone."""
    here = set(rows)
    grouped = [[i for i in group if i in here] for group in twins]
    inside = {i for group in grouped for i in group}
    return [group for group in grouped if group] + [[i] for i in sorted(here - inside)]


def _key(seed: int, file: str) -> bytes:
    """Sorting key of an image: a hash of the seed and of the name without suffix."""
    return hashlib.sha256(f"{seed}:{_stem(file)}".encode()).digest()


def _share(units: list[list[int]], ratios: tuple[float, ...], name: str, parts: dict[str, list[int]]) -> None:
    """Deal the units of one class to the parts: test and validation first, train takes what is left."""
    wanted = {part: ratio for part, ratio in zip(PARTS, ratios, strict=False)}
    total = sum(map(len, units))
    if len(units) < len(wanted):
        raise DataError(
            f"Class '{name}' has {len(units)} different image(s) of its own (copies, also in other classes, count "
            f"once); a split into {', '.join(wanted)} needs at least {len(wanted)}; add images or remove the class."
        )
    room = {part: max(1, round(total * wanted[part])) for part in ("test", "val") if part in wanted}
    dealt: dict[str, list[list[int]]] = {part: [] for part in wanted}
    for unit in units:
        part = next((part for part in room if room[part] >= len(unit)), "train")
        dealt[part].append(unit)
        if part != "train":
            room[part] -= len(unit)
    for part in (part for part in room if not dealt[part]):  # every group is larger than its share
        dealt[part].append(dealt["train"].pop(min(range(len(dealt["train"])), key=lambda i: len(dealt["train"][i]))))
    for part, own in dealt.items():
        parts[part].extend(i for unit in own for i in unit)
