"""Which mask belongs to which image."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rsprune_lib.data.cards import Card
from rsprune_lib.data.leftovers import listed
from rsprune_lib.errors import DataError

__all__ = ["Pairs", "card_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Images with their masks.

    Args:
        images: N names of members.
        masks: N names of their masks.
        files: N short names.
        fixed: N published parts, or None.
        notes: what was decided, a sentence each.
        tiles: N numbers of the tiles (folders, scenes) that stay in one part, or None.
        lonely: names without a partner.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    files: tuple[str, ...]
    fixed: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    tiles: tuple[int, ...] | None = None
    lonely: tuple[str, ...] = ()


def card_pairs(names: Iterable[str], card: Card, origin: str) -> Pairs:
    """Find the images and masks of a card by its patterns.

    Args:
        names: members of the archives.
        card: of a segmentation set.
        origin: name of the archive, for the error.

    Raises:
        DataError: if a partner is missing, or the number of pairs is not the card's.
    """
    rule, found = card.masks, ({}, {})
    part_of = {place: part for part, places in rule.parts.items() for place in places}
    for name in names:
        for pattern, members in zip((rule.image, rule.mask), found, strict=True):
            match = re.search(pattern, name)
            if match and match[1] in part_of:
                members.setdefault(match.groups(), name)
    images, masks = found
    lonely = [members[key] for members, others in (found, found[::-1]) for key in members if key not in others]
    pairs = sorted(key for key in images if key in masks)
    if lonely or len(pairs) != card.num_images:
        without = f" ({len(lonely):,} without a partner: {listed(sorted(lonely)[:3])})" if lonely else ""
        raise DataError(
            f"{origin} holds {len(pairs):,} images with masks of {card.title}{without}, expected {card.num_images:,}; "
            f"take the original files."
        )
    return Pairs(
        tuple(images[key] for key in pairs),
        tuple(masks[key] for key in pairs),
        short_names([images[key] for key in pairs]),
        tuple(part_of[key[0]] for key in pairs),
    )


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Paths below the folders that all of them lie in."""
    paths = [name.split("/") for name in names]
    depth = 0
    while paths and all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return tuple("/".join(path[depth:]) for path in paths)
