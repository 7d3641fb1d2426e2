"""From images with masks to decoded arrays in the cache."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from rsprune_lib.data.archives import read_members
from rsprune_lib.data.arrays import Arrays, build_arrays, in_threads
from rsprune_lib.data.cards import Card
from rsprune_lib.data.decode import decode, image_sides, quiet, resize
from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.masks import UNKNOWN, Coding
from rsprune_lib.data.pairs import Pairs, card_pairs
from rsprune_lib.data.sizes import Size
from rsprune_lib.data.synthetic_aerial import SIDE, draw_tile
from rsprune_lib.data.windows import cut, places
from rsprune_lib.errors import DataError

__all__ = ["Frame", "card_masks", "decode_pairs", "drawn_masks"]


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
class Rows:
    """The rows that pairs become.

    Attributes:
        of: first row of each member, image or mask.
        files: N names; windows carry their place.
        fixed: N published parts, or None.
        sources: N numbers of pairs, None where each is one row.
    """

    of: dict[str, int] = field(default_factory=dict)
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
    coding = Coding.of(rule.codes, rule.unknown, rule.colours)
    about = {"title": card.title, "classes": card.classes, "palette": rule.palette, "origin": str(archives[0])}

    def members() -> Iterator[tuple[str, bytes]]:
        return chain.from_iterable(map(read_members, archives))

    return decode_pairs(pairs, members, coding, Frame(size, rule.scale), folder, about, "Take the original.", progress)


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
            yield from enumerate(frame.rows(image), rows.of[file])

    def masks() -> Iterator[tuple[int, np.ndarray]]:
        for file, mask in zip(files, drawn, strict=True):
            yield from enumerate(frame.rows(mask, UNKNOWN), rows.of[file])

    title = f"{card.title} (drawn, {len(files)} tiles, seed {seed})"
    index = {"title": title, "classes": card.classes, "palette": card.masks.palette, "origin": "drawn"}
    index |= {"files": rows.files, "fixed": None, "sources": rows.sources, "listing": listing}
    return build_arrays(folder, images(), None, size, index, progress, masks=masks())


def decode_pairs(
    pairs: Pairs,
    members: Callable[[], Iterator[tuple[str, bytes]]],
    coding: Coding,
    frame: Frame,
    folder: Path,
    about: dict,
    advice: str,
    progress: bool,
    bands: str | None = None,
) -> Arrays:
    """Decode pairs into memory maps.

    Args:
        pairs: images and masks.
        members: opens all files anew: (name, content); called three times.
        coding: of the masks.
        frame: size and windows.
        folder: of the arrays.
        about: of the index: title, classes, palette, origin and more.
        advice: what to do about strange values in masks.
        progress: show bars.
        bands: which to take of the images.

    Raises:
        DataError: naming what cannot be read, does not fit together, or has no meaning.
    """
    with quiet():
        rows = _rows(pairs, _sizes(pairs, members()), frame)

    def spread(names: tuple[str, ...], read: Callable, unknown: int | None) -> Iterator[tuple[int, np.ndarray]]:
        wanted = set(names)
        chosen = ((name, content) for name, content in members() if name in wanted)
        for name, made in in_threads(chosen, lambda *file: list(frame.rows(read(*file), unknown))):
            yield from enumerate(made, rows.of[name])

    def masks() -> Iterator[tuple[int, np.ndarray]]:
        yield from spread(pairs.masks, coding.decode, UNKNOWN)
        coding.refuse_strange(about["origin"], advice)

    pixels = spread(pairs.images, lambda content, name: decode(content, name, None, bands), None)
    index = {"files": rows.files, "fixed": rows.fixed, "sources": rows.sources, "notes": list(pairs.notes)} | about
    return build_arrays(folder, pixels, None, frame.size, index, progress, masks=masks())


def _sizes(pairs: Pairs, members: Iterator[tuple[str, bytes]]) -> dict[str, tuple[int, int]]:
    """Height and width of every image, by its name.

    Raises:
        DataError: if a mask has another size than its image, or a file cannot be read.
    """
    wanted, found = {*pairs.images, *pairs.masks}, {}
    for name, content in members:
        if name in wanted and name not in found:
            found[name] = image_sides(content, name)[::-1]
    differ = [pair for pair in zip(pairs.images, pairs.masks, strict=True) if found[pair[0]] != found[pair[1]]]
    if differ:
        image, mask = differ[0]
        (height, width), (own_height, own_width) = found[image], found[mask]
        raise DataError(
            f"{len(differ):,} of {len(pairs.images):,} masks have another size than their image, first "
            f"{plain(mask)}: {own_width} x {own_height} pixels for an image of {width} x {height}; make them equal."
        )
    return found


def _rows(pairs: Pairs, sizes: Mapping[str, tuple[int, int]], frame: Frame) -> Rows:
    of, files, fixed, sources = {}, [], [], []
    for number, (image, mask, file) in enumerate(zip(pairs.images, pairs.masks, pairs.files, strict=True)):
        of[image] = of[mask] = len(files)
        windows = frame.places(*sizes[image])
        stem, dot, suffix = file.rpartition(".")
        files += [file] if windows is None else [f"{stem}_{top}_{left}{dot}{suffix}" for top, left in windows]
        count = 1 if windows is None else len(windows)
        fixed += [pairs.fixed[number] if pairs.fixed else None] * count
        sources += [number] * count
    return Rows(of, files, fixed if pairs.fixed else None, sources if frame.scale is not None else None)
