"""From the paths inside a folder or archive to classes, labels and parts."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from rsprune_lib.data.cards import Card
from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.parts import Placed, find_parts, is_container
from rsprune_lib.errors import DataError

__all__ = ["Layout", "card_layout", "folder_layout"]


@dataclass(frozen=True)
class Layout:
    """Which member is which image.

    Args:
        members: N names inside the folder or archive, ordered by class and name.
        labels: N class numbers.
        classes: class names.
        files: N short names, ``class/file``.
        fixed: N published parts, or None.
        beside: names that lie in no class folder.
        note: what was decided about the parts, in a sentence, or None.
    """

    members: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    files: tuple[str, ...]
    fixed: tuple[str, ...] | None = None
    beside: tuple[str, ...] = ()
    note: str | None = None

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

    Folders around all class folders are skipped. Published parts are found by `rsprune_lib.data.parts`; a ``val``
    without a ``test`` serves as test part, because nothing may be chosen on test. Images in no class folder are left
    out.

    Args:
        names: paths of the images, relative, with ``/``.
        origin: name of the folder, for the errors.

    Raises:
        DataError: if there is no image in a class folder, only one class, or folders that are neither part nor class.
    """
    paths = {name: tuple(name.split("/")) for name in names if "/" in name}
    if not paths:
        raise DataError(f"No image in a class folder was found in {origin}; expected {origin}/<class>/<image>.")
    depth = _shared_depth(list(paths.values()))
    inner = {name: parts[depth:] for name, parts in paths.items() if len(parts) > depth + 1}
    placed = find_parts(inner, origin) or _classes(inner, origin)
    spelling = _spelling(placed)
    by_class: dict[str, list[str]] = defaultdict(list)
    for name in sorted(placed):
        by_class[spelling[placed[name][1]]].append(name)
    classes = tuple(sorted(by_class))
    if len(classes) < 2:
        raise DataError(
            f"{origin} holds one class folder only ({', '.join(classes) or 'none'}); a classifier needs at least two: "
            f"give the folder that holds the class folders."
        )
    members = tuple(name for label in classes for name in by_class[label])
    labels = tuple(label for label, name in enumerate(classes) for _ in by_class[name])
    files = tuple("/".join(inner[name]) for name in members)
    fixed = tuple(placed[name][0] for name in members)
    note = _deeper(inner[name] for name in members) if set(fixed) == {None} else None
    if "train" in fixed and "test" not in fixed:
        fixed = tuple("test" if part == "val" else part for part in fixed)
        note = "no test part is published: the validation part serves as test, validation is cut from train"
    beside = tuple(sorted(set(names) - set(members)))
    return Layout(members, labels, classes, files, fixed if "train" in fixed else None, beside, note)


def _classes(paths: Mapping[str, tuple[str, ...]], origin: str) -> Placed:
    """Every top folder is a class.

    Raises:
        DataError: if the folders may be something else.
    """
    below: dict[str, set[str]] = {parts[0]: set() for parts in paths.values()}
    direct = {parts[0] for parts in paths.values() if len(parts) == 2}
    for parts in paths.values():
        below[parts[0]].update(parts[1:-1][:1])
    shared = set.intersection(*below.values())
    several = len(below) > 1 and not direct and sum(any(map(str.isalpha, name)) for name in shared) > 1
    container = len(below) > 1 and any(is_container(top) and len(folders) > 1 for top, folders in below.items())
    if several or container:
        top = next((top for top in sorted(below) if is_container(top) and len(below[top]) > 1), sorted(below)[0])
        raise DataError(
            f"{origin} holds the folders {', '.join(sorted(below)[:8])}, and in {top} the folders "
            f"{', '.join(sorted(below[top])[:8])}: which are the classes is not clear. Give the folder that holds only "
            f"class folders (such as {origin}/{top}), or put the images directly into the class folders."
        )
    return {name: (None, parts[0]) for name, parts in paths.items()}


def _deeper(paths: Iterable[tuple[str, ...]]) -> str | None:
    """A sentence on the folders in class folders, which are no classes of their own; None without any."""
    found = sorted({"/".join(path[:2]) for path in paths if len(path) > 2})
    if not found:
        return None
    shown = ", ".join(plain(name) for name in found[:3]) + (", …" if len(found) > 3 else "")
    return f"the top folders are the classes; folders inside them ({shown}) are not told apart"


def _spelling(placed: Placed) -> dict[str, str]:
    """One spelling of every class; in published parts, ``Forest`` in one and ``forest`` in another are the same."""
    spelt = {label: label for _, label in placed.values()}
    of_train = sorted({label for part, label in placed.values() if part == "train"})
    plainly = {_same(label): label for label in of_train}
    if len(plainly) < len(of_train) or not of_train:
        return spelt
    return {label: plainly.get(_same(label), label) for label in spelt}


@cache
def _same(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", label)).strip().casefold()


@cache
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _shared_depth(paths: list[tuple[str, ...]]) -> int:
    """How many leading folders lie around all class folders; single images beside them do not matter."""
    depth = 0
    while True:
        inside = [parts for parts in paths if len(parts) > depth + 2]  # in a folder below the next
        tops = {parts[depth] for parts in paths if len(parts) > depth + 1}
        direct = sum(len(parts) == depth + 2 for parts in paths)
        if len(tops) > 1 or not inside or (direct and len({parts[depth + 1] for parts in inside}) < 2):
            return depth
        paths, depth = inside, depth + 1
