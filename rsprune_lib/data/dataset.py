"""The data set as everybody sees it: a memory map, labels, classes, a split; and `load_data`, which makes it."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from rsprune_lib.data.archives import read_members
from rsprune_lib.data.arrays import Arrays, build_arrays, decode_all, open_arrays
from rsprune_lib.data.cards import Card, get_card
from rsprune_lib.data.split import PARTS, Split, make_split
from rsprune_lib.errors import DataError, unknown

__all__ = ["Dataset", "load_data"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded images with labels and a split.

    Args:
        name: short name.
        title: name to print; says "synthetic" where it is.
        images: (N, H, W, 3) uint8 memory map.
        labels: (N,) int64.
        files: N relative paths.
        classes: names in label order.
        split: disjoint parts.
        mean: RGB channel means in [0, 1].
        std: RGB channel standard deviations in [0, 1].
        content_hash: of pixels, labels and class names.
        synthetic: True for drawn images.
    """

    name: str
    title: str
    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    classes: tuple[str, ...]
    split: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    content_hash: str
    synthetic: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.images.shape[1]

    def part(self, name: str) -> np.ndarray:
        """Indices of ``"train"``, ``"val"`` or ``"test"``."""
        if name not in PARTS:
            raise unknown("part", name, PARTS)
        return getattr(self.split, name)

    def info(self) -> dict:
        """What a bundle keeps of its data set; plain JSON."""
        keys = ("name", "title", "image_size", "content_hash", "synthetic")
        lists = {key: list(getattr(self, key)) for key in ("classes", "mean", "std")}
        return {key: getattr(self, key) for key in keys} | lists | {"split_hash": self.split.hash}


def load_data(
    name_or_path: str | Path = "auto",
    *,
    image_size: int | None = None,
    split_seed: int = 66,
    root: Path | None = None,
    mirror: str | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a data set by name, or a folder of class folders."""
    root = Path(root or os.environ.get("RSPRUNE_HOME") or Path.home() / ".cache" / "rsprune")
    card = get_card("eurosat" if name_or_path == "auto" else str(name_or_path))
    size = image_size or card.image_size
    folder = root / "arrays" / f"{card.name}-{size}"
    arrays = open_arrays(folder) or _decode_card(card, folder, size, root, mirror, progress)
    return _dataset(card, arrays, split_seed)


def _decode_card(card: Card, folder: Path, size: int, root: Path, mirror: str | None, progress: bool) -> Arrays:
    archive = Path(mirror or os.environ["RSPRUNE_MIRROR"]) / card.sources[0].filename
    names = [name for name, _ in read_members(archive)]
    labels_of = {name: i for i, name in enumerate(card.classes)}
    kept = sorted(
        (labels_of[PurePosixPath(n).parent.name], n) for n in names if PurePosixPath(n).parent.name in labels_of
    )
    if len(kept) != card.num_images:
        raise DataError(
            f"{archive} holds {len(kept)} images of {card.title}, expected {card.num_images}; fetch it again."
        )
    rows = {name: row for row, (_, name) in enumerate(kept)}
    files = ["/".join(PurePosixPath(name).parts[-2:]) for _, name in kept]
    index = {"files": files, "classes": list(card.classes), "origin": archive.name}
    labels = [label for label, _ in kept]
    return build_arrays(folder, decode_all(read_members(archive), rows, size), labels, size, index, progress)


def _dataset(card: Card, arrays: Arrays, seed: int) -> Dataset:
    index = arrays.index
    split = make_split(
        arrays.labels, index["files"], card.classes, ratios=card.split.ratios, seed=seed, twins=index["twins"]
    )
    return Dataset(
        card.name,
        card.title,
        arrays.images,
        arrays.labels,
        tuple(index["files"]),
        card.classes,
        split,
        card.mean,
        card.std,
        index["content_hash"],
        card.synthetic,
    )
