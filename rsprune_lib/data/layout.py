"""From the paths inside a folder or archive to classes, labels and parts."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from rsprune_lib.data.cards import Card
from rsprune_lib.errors import DataError

__all__ = ["Layout", "card_layout", "folder_layout"]

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Layout:
    """Which member is which image.

    Args:
        members: N names inside the folder or archive, ordered by class and name.
        labels: N class numbers.
        classes: class names.
        files: N short names, ``class/file``.
        fixed: N published parts, or None.
    """

    members: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    files: tuple[str, ...]
    fixed: tuple[str, ...] | None = None

    @property
    def rows(self) -> dict[str, int]:
        """Row of every member."""
        return {name: row for row, name in enumerate(self.members)}


def card_layout(names: Sequence[str], card: Card, origin: str) -> Layout:
    """Find the images of a card; the class is the folder an image lies in, whatever stands around it.

    Args:
        names: members of the archive.
        card: whose classes and number of images are expected; case and separators of the folder names do not matter.
        origin: name of the archive, for the error.

    Raises:
        DataError: if the number of images is not the card's.
    """
    labels = {_plain(name): label for label, name in enumerate(card.classes)}
    placed = ((labels.get(_plain(name.split("/")[-2])), name) for name in names if "/" in name)
    found = sorted((label, name) for label, name in placed if label is not None)
    if len(found) != card.num_images:
        raise DataError(
            f"{origin} holds {len(found):,} images in class folders of {card.title}, expected {card.num_images:,}; "
            f"take the original file, or unpack it and give the folder with the class folders (--data PATH)."
        )
    files = tuple(f"{card.classes[label]}/{name.rpartition('/')[2]}" for label, name in found)
    return Layout(tuple(name for _, name in found), tuple(label for label, _ in found), card.classes, files)


def folder_layout(names: Sequence[str], origin: str) -> Layout:
    """Read any folder of class folders; images below a class folder belong to it, however deep they lie.

    Folders around all class folders are skipped. Top folders ``train``, ``val`` and ``test`` (and their long forms) are
    taken as published parts; a ``val`` without a ``test`` serves as test part, because nothing may be chosen on test.
    Images beside the class folders are left out.

    Args:
        names: paths of the images, relative, with ``/``.
        origin: name of the folder, for the errors.

    Raises:
        DataError: if there is no image in a class folder, or only one class.
    """
    paths = {name: tuple(name.split("/")) for name in sorted(names) if "/" in name}
    if not paths:
        raise DataError(f"No image in a class folder was found in {origin}; expected {origin}/<class>/<image>.")
    depth = _shared_depth(list(paths.values()))
    tops = {parts[depth].lower() for parts in paths.values()}
    parted = len(tops) > 1 and "train" in {PART_NAMES.get(top) for top in tops} and tops <= PART_NAMES.keys()
    level = depth + parted
    by_class: dict[str, list[str]] = defaultdict(list)
    for name, parts in paths.items():
        if len(parts) > level + 1:
            by_class[parts[level]].append(name)
    classes = tuple(sorted(by_class))
    if len(classes) < 2:
        raise DataError(
            f"{origin} holds one class folder only ({', '.join(classes) or 'none'}); a classifier needs at least two: "
            f"give the folder that holds the class folders."
        )
    members = tuple(name for label in classes for name in by_class[label])
    labels = tuple(label for label, name in enumerate(classes) for _ in by_class[name])
    files = tuple("/".join(paths[name][depth:]) for name in members)
    fixed = tuple(PART_NAMES[paths[name][depth].lower()] for name in members) if parted else None
    if fixed and "test" not in fixed:
        fixed = tuple("test" if part == "val" else part for part in fixed)
    return Layout(members, labels, classes, files, fixed)


@cache
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _shared_depth(paths: list[tuple[str, ...]]) -> int:
    """How many leading folders all images share, as long as every image keeps a folder of its own below them."""
    depth = 0
    while len({parts[depth] for parts in paths}) == 1 and all(len(parts) > depth + 2 for parts in paths):
        depth += 1
    return depth
