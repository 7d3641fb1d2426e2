"""Published parts in a folder: which folders are called train, val or test, in the many ways that people call them."""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from rsprune_lib.data.leftovers import plain
from rsprune_lib.errors import DataError

__all__ = ["Placed", "find_parts", "is_container"]

KINDS = {
    "train": "train training trainval",
    "val": "val valid validation dev development eval evaluation",
    "test": "test testing holdout",
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words.split()}
CONTAINERS = frozenset(  # words that say nothing of what is on the images
    "data dataset datasets set sets split splits part parts folder folders image images img imgs jpegimages jpg jpeg "
    "png tif tiff rgb photo photos picture pictures tile tiles patch patches sample samples raw all files the my "
    "new final mask masks label labels annotation annotations gt groundtruth thumb thumbs preview previews".split()
)
ENDINGS = re.compile(r"(sets?|data|dataset|images?|imgs?|split|part|folder)$")

Placed = dict[str, tuple[str | None, str]]  # name of an image: its part, its class


@cache
def _words(name: str) -> tuple[str, ...]:
    """``"EuroSAT_trainSet2"`` becomes ``("euro", "sat", "train", "set")``."""
    name = unicodedata.normalize("NFC", name)
    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+", name))


@cache
def _part(name: str) -> tuple[str | None, frozenset[str]]:
    """Kind of part that a folder's name says, or None, and what else the name says."""
    found, rest = set(), set()
    for word in _words(name):
        short = ENDINGS.sub("", word)
        kind = KIND_OF.get(word) or (KIND_OF.get(short) if short else None)
        found.add(kind) if kind else rest.add(word)
    return (found.pop() if len(found) == 1 else None), frozenset(rest - CONTAINERS)


def is_container(name: str) -> bool:
    """Whether a folder's name (images, masks, data …) can be no class."""
    return bool(_words(name)) and set(_words(name)) <= CONTAINERS


def find_parts(paths: Mapping[str, tuple[str, ...]], origin: str) -> Placed | None:
    """Find published parts: above the class folders, or one in each class folder.

    Args:
        paths: path of every image below what all images share, each with one folder at least.
        origin: name of the folder, for the errors.

    Returns:
        Part and class of every image in a class folder; None if no parts are published.

    Raises:
        DataError: if there are parts and other folders beside them, or parts without class folders.
    """
    tops: dict[str, set[str]] = {parts[0]: set() for parts in paths.values()}
    for parts in paths.values():
        tops[parts[0]].update(parts[1:-1][:1])
    group = _group(tops)
    if not group:
        _refuse_flat_parts(tops, origin)
        return _parts_in_classes(paths, origin)
    others = sorted(set(tops) - set(group))
    if others:
        flat = [top for top in others if _part(top)[0] and not tops[top]]
        why = "holds no class folders" if flat == others else "is neither a part (train, val, test) nor a class"
        raise DataError(
            f"{origin} holds the parts {_list(group)}, and beside them {_list(others)}, which {why}; move it "
            f"elsewhere, or give it a part's name and class folders."
        )
    if "train" not in group.values():
        raise DataError(f"{origin} holds {_list(group)}, but no training part; call its folder train.")
    inside = _strip({name: parts for name, parts in paths.items() if len(parts) > 2}, group)
    return {name: (group[paths[name][0]], parts[0]) for name, parts in inside.items() if len(parts) > 1}


def _group(tops: Mapping[str, set[str]]) -> dict[str, str]:
    """The top folders that are parts, with their kinds; empty if none are."""
    named = {top: _part(top) for top, folders in tops.items() if folders and _part(top)[0]}
    for rest in sorted({rest for _, rest in named.values()}, key=sorted):  # the empty one first
        group = {top: kind for top, (kind, own) in named.items() if own in (rest, frozenset())}
        if len(set(group.values())) > 1 or any(not _part(top)[1] and len(tops[top]) > 1 for top in group):
            return group
    return {}


def _refuse_flat_parts(tops: Mapping[str, set[str]], origin: str) -> None:
    """Refuse ``train/1.png`` beside ``test/1.png``: folders called like parts are no classes."""
    named = [_part(top) for top in tops]
    if len(tops) > 1 and all(kind for kind, _ in named) and len({rest for _, rest in named}) == 1:
        raise DataError(
            f"{origin} holds the parts {_list(tops)}, but no class folders in them; expected "
            f"{origin}/{sorted(tops)[0]}/<class>/<image>."
        )


def _strip(paths: Mapping[str, tuple[str, ...]], group: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Paths below each part, without the folders between it and its class folders (``seg_train/seg_train/<class>``)."""
    inside = {top: {n: p[1:] for n, p in paths.items() if p[0] == top} for top in group}
    for top, own in inside.items():  # unpacked twice, one into the other
        inside[top] = {n: p[1:] if p[0] == top and len(p) > 2 else p for n, p in own.items()}
    while True:
        folders = {top: {p[0] for p in own.values()} for top, own in inside.items()}
        single = {top for top, names in folders.items() if len(names) == 1}
        deeper = {top for top in single if any(len(p) > 2 for p in inside[top].values())}
        everywhere = len(single) == len(group)
        elsewhere = {top: set().union(*(names for t, names in folders.items() if t != top)) for top in deeper}
        wrapped = [top for top in deeper if everywhere or not folders[top] <= elsewhere[top]]
        if not wrapped:
            return {n: p for own in inside.values() for n, p in own.items()}
        for top in wrapped:
            inside[top] = {n: p[1:] for n, p in inside[top].items() if len(p) > 2}


def _parts_in_classes(paths: Mapping[str, tuple[str, ...]], origin: str) -> Placed | None:
    """Read ``<class>/train/<image>``, where every image in a folder of its class lies in a part.

    Raises:
        DataError: if only some of the class folders hold parts.
    """
    kinds = {name: _part(parts[1]) for name, parts in paths.items() if len(parts) > 2}
    placed = {name: kind for name, (kind, rest) in kinds.items() if kind and not rest}
    by_class: dict[str, set[str]] = {}
    for name, kind in placed.items():
        by_class.setdefault(paths[name][0], set()).add(kind)
    if not any("train" in found and len(found) > 1 for found in by_class.values()):
        return None
    others = sorted({"/".join(path[:-1][:2]) for name, path in paths.items() if name not in placed})
    if others:
        raise DataError(
            f"In {origin} the class folders {_list(by_class)} hold parts (train, val, test), but {_list(others)} "
            f"{'are no parts' if len(others) > 1 else 'is no part'}; sort all images into parts, or take the part "
            f"folders away."
        )
    return {name: (kind, paths[name][0]) for name, kind in placed.items()}


def _list(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(plain(name) for name in sorted(names)[:8]) + (", …" if len(names) > 8 else "")
