"""From images with masks to decoded arrays in the cache."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from rsprune_lib.data.archives import read_members
from rsprune_lib.data.arrays import Arrays, build_arrays
from rsprune_lib.data.cards import Card
from rsprune_lib.data.decode import decode_valid, image_sides, quiet, resize
from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.masks import UNKNOWN, Coding
from rsprune_lib.data.pairs import Pairs, card_pairs
from rsprune_lib.data.sizes import Size
from rsprune_lib.data.synthetic_aerial import SIDE, draw_tile
from rsprune_lib.data.threads import in_threads
from rsprune_lib.data.windows import cut, places
from rsprune_lib.errors import DataError

__all__ = ["Frame", "Paired", "card_masks", "decode_pairs", "drawn_masks"]


@dataclass(frozen=True)
class Frame:
    """How an image becomes rows of one size.

    Args:
        size: of each row, pixels a side or (height, width).
        scale: factor on the image before windows are cut; None: the whole image is resized to ``size``.
    """

    size: Size
    scale: float | None = None

    def places(self, height: int, width: int) -> list[tuple[int, int]] | None:
        """(top, left) of the windows of an image, in pixels of the scaled one; None: it is one row."""
        return None if self.scale is None else places(*self._scaled(height, width), self.size)

    def rows(self, pixels: np.ndarray, unknown: int | None = None) -> Iterator[np.ndarray]:
        """The rows of an image (H, W, 3), or of a mask (H, W)."""
        if self.scale is None:
            return iter((resize(pixels, self.size),))
        return cut(resize(pixels, self._scaled(*pixels.shape[:2])), self.size, unknown)

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))


@dataclass(frozen=True)
class Paired:
    """Images and masks, and how they are read.

    Args:
        pairs: which belong together.
        members: opens all files anew: (name, content); called three times.
        coding: of the masks.
        advice: what to do about strange values in masks.
        bands: which to take of the images.
        failed: takes down files that cannot be read, with the reason; None: they are refused.
    """

    pairs: Pairs
    members: Callable[[], Iterator[tuple[str, bytes]]]
    coding: Coding
    advice: str = "Take the original."
    bands: str | None = None
    failed: dict[str, str] | None = None

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of every image and mask that can be read, by its name.

        Raises:
            DataError: if a mask has another size than its image, or a file cannot be read.
        """
        wanted, found = {*self.pairs.images, *self.pairs.masks}, {}
        with quiet():
            for name, content in self.members():
                if name not in wanted or name in found:
                    continue
                try:
                    found[name] = image_sides(content, name)[::-1]
                except DataError as error:
                    if self.failed is None:
                        raise
                    self.failed[name] = str(error)
        _compare(self.pairs, found)
        return found


@dataclass(frozen=True)
class Rows:
    """The rows that pairs become.

    Attributes:
        of: rows of each member, image or mask.
        files: N names; windows carry their place.
        fixed: N published parts, or None.
        sources: N numbers of pairs or tiles that stay in one part; None where each row stands for itself.
    """

    of: dict[str, range] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    fixed: list[str] | None = None
    sources: list[int] | None = None


def card_masks(card: Card, archives: list[Path], folder: Path, size: Size, progress: bool) -> Arrays:
    """Decode images and masks of a public data set.

    Raises:
        DataError: if the archives do not hold what the card says.
    """
    rule = card.masks
    names = [name for archive in archives for name, _ in read_members(archive, contents=False)]
    pairs = card_pairs(names, card, " and ".join(archive.name for archive in archives))
    coding = Coding.of(rule.codes, rule.unknown, rule.colours, rule.near)
    about = {"title": card.title, "classes": card.classes, "palette": rule.palette, "origin": str(archives[0])}

    def members() -> Iterator[tuple[str, bytes]]:
        return chain.from_iterable(map(read_members, archives))

    paired = Paired(pairs, members, coding)
    return decode_pairs(paired, paired.sizes(), Frame(size, rule.scale), folder, about, progress)


def drawn_masks(card: Card, folder: Path, size: Size, seed: int, listing: str, progress: bool) -> Arrays:
    """Draw synthetic tiles and cut images and masks into windows."""
    frame, files = Frame(size, card.masks.scale), tuple(f"tile_{i:02d}.png" for i in range(card.num_images))
    pairs = Pairs(files, files, files)
    rows = _rows(pairs, dict.fromkeys(files, (SIDE, SIDE)), frame)
    drawn: list[np.ndarray] = []

    def images() -> Iterator[tuple[int, np.ndarray]]:
        for number, file in enumerate(files):
            image, mask = draw_tile(seed, number)
            drawn.append(mask)
            yield from zip(rows.of[file], frame.rows(image), strict=True)

    def masks() -> Iterator[tuple[int, np.ndarray]]:
        for file, mask in zip(files, drawn, strict=True):
            yield from zip(rows.of[file], frame.rows(mask, UNKNOWN), strict=True)

    title = f"{card.title} (drawn, {len(files)} tiles, seed {seed})"
    index = {"title": title, "classes": card.classes, "palette": card.masks.palette, "origin": "drawn"}
    index |= {"files": rows.files, "fixed": None, "sources": rows.sources, "listing": listing}
    return build_arrays(folder, images(), None, size, index, progress, masks=masks())


def decode_pairs(
    paired: Paired, sizes: Mapping[str, tuple[int, int]], frame: Frame, folder: Path, about: dict, progress: bool
) -> Arrays:
    """Decode pairs into memory maps.

    Args:
        paired: images and masks.
        sizes: of all that can be read, as `Paired.sizes` returns them.
        frame: size and windows.
        folder: of the arrays.
        about: of the index: title, classes, palette, origin and more.
        progress: show bars.

    Raises:
        DataError: naming what cannot be read, or has no meaning.
    """
    pairs, failed, empty = paired.pairs, paired.failed, {}
    rows = _rows(pairs, sizes, frame)
    if failed and not rows.files:
        raise DataError(f"None of the images and masks of {about['origin']} can be read: {next(iter(failed.values()))}")
    damaged: dict[int, str] = {}

    def spread(names: tuple[str, ...], read: Callable, unknown: int | None) -> Iterator[tuple[int, np.ndarray]]:
        wanted = {name for name in names if name in rows.of}
        chosen = ((name, content) for name, content in paired.members() if name in wanted)
        for name, made in in_threads(chosen, lambda *file: list(frame.rows(read(*file), unknown)), failed):
            yield from zip(rows.of[name], made, strict=True)
        damaged.update({row: failed[name] for name in wanted & set(failed or ()) for row in rows.of[name]})

    def image(content: bytes, name: str) -> np.ndarray:
        pixels, valid = decode_valid(content, name, paired.bands)
        if valid is not None:
            empty[partner[name]] = np.packbits(~valid)
        return pixels

    def mask(content: bytes, name: str) -> np.ndarray:
        labels = paired.coding.decode(content, name)
        if name in empty:  # where the image holds no data there is nothing to learn
            labels[np.unpackbits(empty[name], count=labels.size).reshape(labels.shape).astype(bool)] = UNKNOWN
        return labels

    def masks() -> Iterator[tuple[int, np.ndarray]]:
        yield from spread(pairs.masks, mask, UNKNOWN)
        paired.coding.refuse_strange(about["origin"], paired.advice)

    partner = dict(zip(pairs.images, pairs.masks, strict=True))
    index = {"files": rows.files, "fixed": rows.fixed, "sources": rows.sources, "notes": list(pairs.notes)} | about
    index |= {"damaged": sorted({reason for name, reason in (failed or {}).items() if name not in rows.of})}
    images = spread(pairs.images, image, None)
    return build_arrays(folder, images, None, frame.size, index, progress, damaged, masks=masks())


def _compare(pairs: Pairs, found: Mapping[str, tuple[int, int]]) -> None:
    both = [pair for pair in zip(pairs.images, pairs.masks, strict=True) if pair[0] in found and pair[1] in found]
    differ = [pair for pair in both if found[pair[0]] != found[pair[1]]]
    if differ:
        image, mask = differ[0]
        (height, width), (own_height, own_width) = found[image], found[mask]
        raise DataError(
            f"{len(differ):,} of {len(pairs.images):,} masks have another size than their image, first "
            f"{plain(mask)}: {own_width} x {own_height} pixels for an image of {width} x {height}; make them equal."
        )


def _rows(pairs: Pairs, sizes: Mapping[str, tuple[int, int]], frame: Frame) -> Rows:
    of, files, fixed, sources = {}, [], [], []
    for number, (image, mask, file) in enumerate(zip(pairs.images, pairs.masks, pairs.files, strict=True)):
        if image not in sizes or mask not in sizes:
            continue  # one of them cannot be read
        windows = frame.places(*sizes[image])
        stem, dot, suffix = file.rpartition(".")
        own = [file] if windows is None else [f"{stem}_{top}_{left}{dot}{suffix}" for top, left in windows]
        of[image] = of[mask] = range(len(files), len(files) + len(own))
        files += own
        fixed += [pairs.fixed[number] if pairs.fixed else None] * len(own)
        sources += [number if pairs.tiles is None else pairs.tiles[number]] * len(own)
    apart = frame.scale is None and pairs.tiles is None
    return Rows(of, files, fixed if pairs.fixed else None, None if apart else sources)
