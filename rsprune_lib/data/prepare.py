"""From an archive, a folder or the drawing board to decoded arrays in the cache."""

import hashlib
from collections import Counter
from pathlib import Path

from rsprune_lib.data.archives import folder_files, read_members
from rsprune_lib.data.arrays import Arrays, build_arrays, decode_all, open_arrays
from rsprune_lib.data.cards import Card
from rsprune_lib.data.catalogue import get_card
from rsprune_lib.data.cifar import TEST, TRAIN, read_cifar, resized
from rsprune_lib.data.decode import image_sides
from rsprune_lib.data.fetch import fetch, locked
from rsprune_lib.data.layout import Layout, card_layout, folder_layout
from rsprune_lib.data.synthetic import VERSION, draw_scenes

__all__ = ["card_arrays", "folder_arrays", "has_arrays", "synthetic_arrays"]

LARGEST, MIXED = 256, 64  # pixels a side: cap for images of one size, and the size for mixed ones


def has_arrays(card: Card, size: int, root: Path) -> bool:
    """Whether a card's images are decoded already."""
    return open_arrays(_card_folder(card, size, root)) is not None


def _card_folder(card: Card, size: int, root: Path) -> Path:
    return root / "arrays" / f"{card.name}-{size}"


def card_arrays(card: Card, size: int, root: Path, mirror: str | Path | None, progress: bool) -> Arrays:
    """Decode a public data set once; the archive is fetched only if that has not been done."""
    folder = _card_folder(card, size, root)
    arrays = open_arrays(folder)
    if arrays:
        return arrays
    archive = fetch(card, root, mirror, progress)
    with locked(folder):
        arrays = open_arrays(folder)  # another process may have been faster
        if arrays:
            return arrays
        if card.name == "cifar10":
            return _decode_cifar(card, archive, folder, size, progress)
        names = [name for name, _ in read_members(archive, contents=False)]
        return _decode(card_layout(names, card, str(archive)), archive, folder, size, {"title": card.title}, progress)


def _decode(layout: Layout, source: Path, folder: Path, size: int, index: dict, progress: bool) -> Arrays:
    index = index | {"files": layout.files, "classes": layout.classes, "fixed": layout.fixed, "origin": str(source)}
    pixels = decode_all(read_members(source), layout.rows, size)
    return build_arrays(folder, pixels, layout.labels, size, index, progress)


def _decode_cifar(card: Card, archive: Path, folder: Path, size: int, progress: bool) -> Arrays:
    images, labels = read_cifar(archive)
    parts = ["train"] * TRAIN + ["test"] * TEST
    files = [f"{part}/{i:05d}.png" for part, count in (("train", TRAIN), ("test", TEST)) for i in range(count)]
    index = {"title": card.title, "files": files, "classes": card.classes, "fixed": parts, "origin": str(archive)}
    return build_arrays(folder, resized(images, size), labels.tolist(), size, index, progress)


def folder_arrays(path: Path, size: int | None, root: Path, progress: bool) -> Arrays:
    """Decode a folder (or archive) of class folders; done again only if a file was added, removed or changed."""
    source = path.resolve()
    files = folder_files(source) if source.is_dir() else [(source.name, source)]
    stats = [(name, file.stat()) for name, file in files]
    listing = _short("\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats))
    folder = root / "arrays" / f"folder-{source.stem}-{size or 'auto'}-{_short(str(source))}"
    with locked(folder):
        arrays = open_arrays(folder, listing)
        if arrays:
            return arrays
        names = [name for name, _ in read_members(source, contents=False)]
        layout = folder_layout(names, str(path))
        return _decode(layout, source, folder, size or _usual_size(source, layout), {"listing": listing}, progress)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _usual_size(source: Path, layout: Layout) -> int:
    """The shorter side that most images have, at most 256; 64 if no size is that of half of the images."""
    rows = layout.rows
    sides = Counter(image_sides(content, name) for name, content in read_members(source) if name in rows)
    (width, height), count = sides.most_common(1)[0]
    return min(width, height, LARGEST) if count * 2 >= len(rows) else MIXED


def synthetic_arrays(root: Path, size: int, count: int, seed: int = 0, progress: bool = True) -> Arrays:
    """Draw synthetic scenes once and keep them like decoded images.

    Args:
        root: cache folder.
        size: pixels a side.
        count: images, the classes in turn.
        seed: of the drawings.
        progress: show a bar.
    """
    folder = root / "arrays" / f"synthetic-{size}-{count}-{seed}"
    listing = f"version {VERSION}"
    with locked(folder):
        arrays = open_arrays(folder, listing)
        if arrays:
            return arrays
        classes = get_card("synthetic").classes
        labels = [i % len(classes) for i in range(count)]
        files = [f"{classes[label]}/synthetic_{i:05d}.png" for i, label in enumerate(labels)]
        title = f"synthetic scenes (drawn, {count:,} images, seed {seed})"
        index = {"title": title, "files": files, "classes": classes, "origin": "drawn", "listing": listing}
        drawn = ((row, image) for row, (image, _) in enumerate(draw_scenes(count, size=size, seed=seed)))
        return build_arrays(folder, drawn, labels, size, index, progress)
