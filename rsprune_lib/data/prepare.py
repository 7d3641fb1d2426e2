"""From an archive, a folder or the drawing board to decoded arrays in the cache."""

import glob
import hashlib
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

from rsprune_lib.data.archives import folder_files, read_members
from rsprune_lib.data.arrays import Arrays, build_arrays, open_arrays
from rsprune_lib.data.cards import Card
from rsprune_lib.data.cifar import TEST, TRAIN, read_cifar, resized
from rsprune_lib.data.decode import image_sides, quiet, taken_bands
from rsprune_lib.data.fetch import fetch, locked, one_by_one
from rsprune_lib.data.layout import Layout, card_layout, folder_layout
from rsprune_lib.data.leftovers import Left
from rsprune_lib.data.mask_folders import folder_pairs
from rsprune_lib.data.meanings import find_legend
from rsprune_lib.data.own_masks import PairedFolder, legend_files
from rsprune_lib.data.segmentation import card_masks, drawn_masks
from rsprune_lib.data.sizes import Size, size_text
from rsprune_lib.data.synthetic import VERSION, draw_scenes
from rsprune_lib.data.synthetic_aerial import VERSION as AERIAL
from rsprune_lib.data.threads import decode_all
from rsprune_lib.errors import DataError
from rsprune_lib.files import write_json

__all__ = ["card_arrays", "folder_arrays", "folder_classes", "has_arrays", "synthetic_arrays"]

LARGEST, SMALLEST, MIXED = 256, 8, 64  # pixels a side: bounds for images of one size, and the size for mixed ones
LAYOUT = "layout 3"  # of the rules for folders; a cache of another version is made anew


def has_arrays(card: Card, size: Size, root: Path) -> bool:
    """Whether a card's images are decoded already."""
    return open_arrays(_card_folder(card, size, root)) is not None


def _card_folder(card: Card, size: Size, root: Path) -> Path:
    return root / "arrays" / f"{card.name}-{size_text(size)}"


def card_arrays(card: Card, size: Size, root: Path, mirror: str | Path | None, progress: bool) -> Arrays:
    """Decode a public data set once; the archive is fetched only if that has not been done."""
    folder = _card_folder(card, size, root)
    arrays = open_arrays(folder)
    if arrays:
        return arrays
    archive, *more = (fetch(own, root, mirror, progress) for own in one_by_one(card))
    with locked(folder):
        arrays = open_arrays(folder)  # another process may have been faster
        if arrays:
            return arrays
        if card.name == "cifar10":
            return _decode_cifar(card, archive, folder, size, progress)
        if card.masks:
            return card_masks(card, [archive, *more], folder, size, progress)
        names = [name for name, _ in read_members(archive, contents=False)]
        return _decode(card_layout(names, card, str(archive)), archive, folder, size, {"title": card.title}, progress)


def _decode(
    layout: Layout,
    source: Path,
    folder: Path,
    size: Size,
    index: dict,
    progress: bool,
    bands: str | None = None,
    damaged: dict[int, str] | None = None,
) -> Arrays:
    index = index | {"files": layout.files, "classes": layout.classes, "fixed": layout.fixed, "origin": str(source)}
    pixels = decode_all(read_members(source), layout.rows, size, bands=bands, damaged=damaged)
    return build_arrays(folder, pixels, layout.labels, size, index, progress, damaged)


def _decode_cifar(card: Card, archive: Path, folder: Path, size: Size, progress: bool) -> Arrays:
    images, labels = read_cifar(archive)
    parts = ["train"] * TRAIN + ["test"] * TEST
    files = [f"{part}/{i:05d}.png" for part, count in (("train", TRAIN), ("test", TEST)) for i in range(count)]
    index = {"title": card.title, "files": files, "classes": card.classes, "fixed": parts, "origin": str(archive)}
    return build_arrays(folder, resized(images, size), labels.tolist(), size, index, progress)


def folder_arrays(path: Path, size: Size | None, bands: str | None, root: Path, progress: bool) -> Arrays:
    """Decode a folder (or archive) of class folders, or of images and masks; done again only if a file changed.

    Args:
        path: folder or archive.
        size: pixels a side, or (height, width); None: the usual one of its images.
        bands: which bands to take, as `parse_bands` returns it.
        root: cache folder.
        progress: show a bar.

    Returns:
        The arrays; ``index["left"]`` says what was left out.
    """
    source, left = path.resolve(), Left()
    files = folder_files(source, left=left) if source.is_dir() else [(source.name, source)]
    lists = legend_files(source) if source.is_dir() and folder_pairs([name for name, _ in files], str(path)) else []
    stats = [(name, file.stat()) for name, file in (*files, *lists)]
    listing = _short("\n".join([LAYOUT, *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)]))
    stem = source.name if source.is_dir() else source.stem
    key = _short(f"{source}\n{bands}" if bands else str(source))
    with locked(root / "arrays" / f"folder-{stem}-{key}"):
        arrays = _cached(root / "arrays", stem, key, size, listing)
        if not arrays:
            arrays = _decode_folder(path, source, (stem, key, listing), size, bands, root, progress)
    if source.is_dir():  # what is left out may change without a change of what is taken
        for name in arrays.index["beside"]:
            left.add("beside" if arrays.masks is None else "lonely", name)
        left.taken(arrays.index.get("legend"))
        left.bare([name for name, _ in files])
        arrays.index["left"] = left.line()
    return arrays


def _cached(folder: Path, stem: str, key: str, size: Size | None, listing: str) -> Arrays | None:
    """What was decoded of a folder at this size; without a size: at the one that was found to be usual."""
    if size:
        return open_arrays(folder / f"folder-{stem}-{size_text(size)}-{key}", listing)
    found = (open_arrays(path, listing) for path in folder.glob(f"folder-{glob.escape(stem)}-*-{key}"))
    return next((arrays for arrays in found if arrays and arrays.index.get("usual")), None)


def folder_classes(path: Path) -> tuple[str, ...] | None:
    """Names of the classes in a folder or archive, in label order; no image is opened.

    None of images and masks without a list of classes: only the masks' values say them.
    """
    names = [name for name, _ in read_members(path.resolve(), contents=False)]
    if not folder_pairs(names, str(path)):
        return folder_layout(names, str(path)).classes
    legend = find_legend(path.resolve())
    return legend and tuple(entry.name for entry in legend[1] if not entry.void)


def _decode_folder(
    path: Path,
    source: Path,
    keys: tuple[str, str, str],
    size: Size | None,
    bands: str | None,
    root: Path,
    progress: bool,
) -> Arrays:
    (stem, key, listing), left = keys, Left()
    names = [name for name, _ in read_members(source, contents=False, left=left)]
    pairs = folder_pairs(names, str(path))
    if pairs:
        for name in pairs.lonely:
            left.add("lonely", name)
        left.bare(names)
        folder = PairedFolder(path, pairs, bands)
        left.taken(folder.legend)
        about = {"listing": listing, "left": left.line()}
        return _decode_paired(folder, (stem, key), size, about, root, progress)
    try:
        layout = folder_layout(names, str(path))
    except DataError as error:
        left.bare(names)
        raise DataError(f"{error} Left out: {left.line()}." if left.line() else str(error)) from error
    for name in layout.beside:
        left.add("beside", name)
    left.bare(names)
    with quiet():
        usual, taken = _look(source, layout, size, bands)
    folder = root / "arrays" / f"folder-{stem}-{size_text(usual)}-{key}"
    arrays = None if size else open_arrays(folder, listing)
    if arrays:  # decoded earlier, for a caller that asked for this very size
        write_json(folder / "index.json", arrays.index | {"usual": True})
        return arrays
    about = {"listing": listing, "usual": size is None, "bands": taken, "note": layout.note, "left": left.line()}
    shutil.rmtree(root / "arrays" / f"folder-{source.stem}-auto-{key}", ignore_errors=True)  # of an earlier version
    return _decode(layout, source, folder, usual, about | {"beside": layout.beside}, progress, bands, {})


def _decode_paired(
    folder: PairedFolder, keys: tuple[str, str], size: Size | None, about: dict, root: Path, progress: bool
) -> Arrays:
    own, usual = size or folder.usual(), size is None
    target = root / "arrays" / f"folder-{keys[0]}-{size_text(own)}-{keys[1]}"
    arrays = open_arrays(target, about["listing"]) if usual else None
    if arrays:  # decoded earlier, for a caller that asked for this very size
        write_json(target / "index.json", arrays.index | {"usual": True})
        return arrays
    return folder.decode(own, target, about | {"usual": usual}, progress)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _look(source: Path, layout: Layout, size: Size | None, bands: str | None) -> tuple[Size, str | None]:
    """Size in pixels a side, and a sentence on the bands that are taken, from the first image of every class.

    The usual size is the shorter side that most images have, at most 256; 64 if no size is that of half of the images.
    """
    rows, sides, told = layout.rows, Counter(), set()
    firsts = {layout.labels.index(label) for label in set(layout.labels)}
    for name, content in read_members(source):
        if name not in rows:
            continue
        if rows[name] in firsts:
            told.add(taken_bands(content, name, bands))
            firsts.discard(rows[name])
        if size and not firsts:
            break
        with suppress(DataError):  # damaged images are counted when they are decoded
            sides[image_sides(content, name)] += 1
    text = "; ".join(sorted(filter(None, told))) or None
    (width, height), count = sides.most_common(1)[0] if sides else ((MIXED, MIXED), 0)
    usual = max(SMALLEST, min(width, height, LARGEST)) if count * 2 >= sides.total() else MIXED
    return size or usual, text


def synthetic_arrays(card: Card, size: Size, root: Path, progress: bool = True, seed: int = 0) -> Arrays:
    """Draw synthetic scenes once and keep them like decoded images.

    Args:
        card: of a synthetic set.
        size: pixels a side, or (height, width) of windows.
        root: cache folder.
        progress: show a bar.
        seed: of the drawings.
    """
    count, classes = card.num_images, card.classes
    folder = root / "arrays" / f"{card.name}-{size_text(size)}-{count}-{seed}"
    listing = f"version {AERIAL if card.masks else VERSION}"
    with locked(folder):
        arrays = open_arrays(folder, listing)
        if arrays:
            return arrays
        if card.masks:
            return drawn_masks(card, folder, size, seed, listing, progress)
        labels = [i % len(classes) for i in range(count)]
        files = [f"{classes[label]}/synthetic_{i:05d}.png" for i, label in enumerate(labels)]
        title = f"synthetic scenes (drawn, {count:,} images, seed {seed})"
        index = {"title": title, "files": files, "classes": classes, "origin": "drawn", "listing": listing}
        drawn = ((row, image) for row, (image, _) in enumerate(draw_scenes(count, size=size, seed=seed)))
        return build_arrays(folder, drawn, labels, size, index, progress)
