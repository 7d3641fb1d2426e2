"""What loading a data set decided, in sentences: said on standard error, and kept with the data set."""

import logging
from collections.abc import Sequence

import numpy as np

from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.split import PARTS, Split

__all__ = ["copies_note", "folder_notes", "gaps_note", "mask_notes", "tell"]


def tell(name: str, notes: Sequence[str]) -> None:
    """Say notes on standard error, where no program has configured logging otherwise."""
    for note in notes:
        logging.getLogger("rsprune").warning("%s: %s", plain(name), note)


def folder_notes(index: dict, taken: int) -> list[str]:
    """What was taken from a folder and what was left, which parts and which bands; the index is of decoded images."""
    damaged, notes = index.get("damaged") or [], []
    left = [index["left"]] if index.get("left") else []
    if damaged:
        first = damaged[0].removeprefix("Cannot read the ").removeprefix("image ")[:200]
        left.append(f"{len(damaged):,} that cannot be read ({first}")
        left[-1] = left[-1].removesuffix("; repair or remove it.") + (")" if len(damaged) == 1 else ", …)")
    if left:
        notes.append(f"{taken:,} images in {len(index['classes'])} classes taken; left out: {'; '.join(left)}.")
    notes += [f"{index[key]}." for key in ("note", "bands") if index.get(key)]
    return notes


def mask_notes(index: dict) -> list[str]:
    """How images and masks were paired, what was left out, and masks without a known pixel."""
    gone = index.get("unlabelled")
    left = [f"{gone:,} images (or windows) left out: no pixel of their masks has a class."] if gone else []
    return [*(index.get("notes") or []), *left]


def copies_note(index: dict, labels: np.ndarray, split: Split) -> list[str]:
    """Which images stand in two parts as published, and which in two classes; found by their pixels."""
    files, fixed, notes = index["files"], index.get("fixed"), []
    crossing = [group for group in index["twins"] if len({int(labels[i]) for i in group}) > 1]
    crossing = [] if index.get("palette") else crossing  # two masks of one picture may differ
    if crossing:
        notes.append(
            f"{_pictures(crossing)} in two classes or more, equal pixel by pixel "
            f"({_pairs(crossing, files, labels)}); remove the wrong one."
        )
    inside = {i for part in PARTS for i in getattr(split, part).tolist()}
    torn = [group for group in index["twins"] if any(i not in inside for i in group)]
    if torn:
        gone = sum(i not in inside for group in torn for i in group)
        copies = "1 copy is" if gone == 1 else f"{gone:,} copies are"
        notes.append(
            f"{_pictures(torn)} in two parts, equal pixel by pixel ({_pairs(torn, files, fixed or labels)}); "
            f"{copies} left out, so that none of test or validation is trained on."
        )
    return notes


def gaps_note(classes: Sequence[str], counts: np.ndarray, split: Split, what: str) -> list[str]:
    """Which classes a part has nothing of, as published parts and small sets may.

    Args:
        classes: names.
        counts: (N, K) how much of each class an image holds.
        split: parts.
        what: images or pixels.
    """
    notes, lost = [], "the network cannot learn them"
    silent = "no number there says anything of them"
    for part, words, so in (("train", "training", lost), ("val", "validation", silent), ("test", "test", silent)):
        without = [plain(classes[k]) for k in np.flatnonzero(counts[getattr(split, part)].sum(0) == 0)]
        if without:
            shown = ", ".join(without[:8]) + (", …" if len(without) > 8 else "")
            notes.append(f"The {words} part has no {what} of {shown}: {so}.")
    return notes


def _pictures(groups: Sequence[object]) -> str:
    return f"{len(groups):,} pictures" if len(groups) > 1 else "1 picture"


def _pairs(groups: Sequence[Sequence[int]], files: Sequence[str], differ: Sequence[object]) -> str:
    """The first groups, each by two of its files that lie in different classes (or parts)."""
    pairs = []
    for first, *others in groups[:3]:
        other = next((i for i in others if differ[i] != differ[first]), others[0])
        pairs.append(f"{plain(files[first])} = {plain(files[other])}")
    return "; ".join(pairs) + ("; …" if len(groups) > 3 else "")
