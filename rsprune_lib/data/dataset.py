"""The data set as everybody sees it: a memory map, labels, classes, a split; and `load_data`, which makes it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsprune_lib.data.arrays import Arrays, colour_statistics
from rsprune_lib.data.cards import Card
from rsprune_lib.data.catalogue import card_names, get_card
from rsprune_lib.data.fetch import data_root, find
from rsprune_lib.data.prepare import card_arrays, folder_arrays, has_arrays, synthetic_arrays
from rsprune_lib.data.split import PARTS, Split, SplitRule, make_split
from rsprune_lib.errors import DataError, RspruneError, unknown
from rsprune_lib.files import read_json, write_json
from rsprune_lib.tasks import TASKS, Task

__all__ = ["Dataset", "at_hand", "load_data"]

SHIPPED = Path(__file__).parent / "splits"  # splits of public sets at the default seed: the same for everyone


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded images with labels and a split.

    Args:
        name: short name.
        title: name to print; says "synthetic" where it is.
        images: (N, H, W, 3) uint8 memory map, read-only.
        labels: (N,) int64; for segmentation the most frequent class of each mask.
        files: N relative paths, ``class/file``.
        classes: names in label order.
        split: disjoint parts.
        mean: RGB channel means in [0, 1].
        std: RGB channel standard deviations in [0, 1].
        content_hash: of pixels, labels and class names.
        synthetic: True for drawn images.
        upright: True for images with an up and a down, which augmentation only mirrors.
        task: what the labels are for.
        masks: (N, H, W) uint8 memory map of class numbers, 255 where unknown; None where an image has one label.
        palette: K RGB colours of the classes, for masks.
    """

    name: str
    title: str
    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    classes: tuple[str, ...]
    split: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    content_hash: str
    synthetic: bool = False
    upright: bool = False
    task: Task = TASKS["classification"]
    masks: np.ndarray | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Pixels a side, or (height, width) of images that are not square."""
        height, width = self.images.shape[1:3]
        return height if height == width else (height, width)

    def part(self, name: str) -> np.ndarray:
        """Indices of ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            RspruneError: for another name.
        """
        if name not in PARTS:
            raise unknown("part", name, PARTS)
        return getattr(self.split, name)

    def info(self) -> dict:
        """What a bundle keeps of its data set; plain JSON."""
        keys = ("name", "title", "image_size", "content_hash", "synthetic")
        lists = {key: list(getattr(self, key)) for key in ("classes", "mean", "std")}
        plain = {key: getattr(self, key) for key in keys} | lists | {"split_hash": self.split.hash}
        return plain if self.task.name == "classification" else plain | {"task": self.task.name}


def load_data(
    name_or_path: str | Path = "auto",
    *,
    image_size: int | None = None,
    split_seed: int = 66,
    root: str | Path | None = None,
    mirror: str | Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a data set by name, or any folder (or zip, tar) of class folders; decoded once, then mapped from the cache.

    Args:
        name_or_path: name of a card, ``"synthetic"``, a path, or ``"auto"``: EuroSAT if it is in the cache or in a
            mirror folder, else synthetic scenes.
        image_size: pixels a side; default: the card's, or for a folder its most common size (at most 256; 64 if the
            sizes are mixed).
        split_seed: seed of the split where none is published.
        root: cache folder; default: ``RSPRUNE_HOME``, else the user's cache folder.
        mirror: folder or URL with the archives; default: ``RSPRUNE_MIRROR``.
        progress: show bars.

    Raises:
        DataError: if the data cannot be had, read or split.
        RspruneError: if there is no such name; the nearest are offered.

    Example:
        >>> data = load_data("eurosat")
        >>> data.images.shape, len(data.part("test"))
        ((27000, 64, 64, 3), 8100)
    """
    root = data_root(root)
    if image_size is not None and not 8 <= image_size <= 1024:
        raise DataError(f"image_size must be between 8 and 1024 pixels, got {image_size}.")
    if name_or_path == "auto":
        name_or_path = _automatic(image_size, root, mirror)
    path = _as_path(name_or_path)
    if path is not None:
        arrays = folder_arrays(path, image_size, root, progress)
        return _dataset(None, arrays, split_seed, name=path.resolve().stem)
    card = get_card(str(name_or_path))
    if card.synthetic:
        arrays = synthetic_arrays(root, image_size or card.image_size, card.num_images, progress=progress)
    else:
        arrays = card_arrays(card, image_size or card.image_size, root, mirror, progress)
    return _dataset(card, arrays, split_seed, name=card.name)


def at_hand(
    card: Card, image_size: int | None = None, root: str | Path | None = None, mirror: str | Path | None = None
) -> bool:
    """Whether `load_data` needs no download: the images are decoded, or the archive is in the cache or a mirror."""
    return bool(has_arrays(card, image_size or card.image_size, data_root(root)) or find(card, root, mirror))


def _automatic(image_size: int | None, root: Path, mirror: str | Path | None) -> str:
    card = get_card("eurosat")
    return card.name if at_hand(card, image_size, root, mirror) else "synthetic"


def _as_path(name_or_path: str | Path) -> Path | None:
    """The path that is meant, or None for the name of a card.

    Raises:
        DataError: if a path does not exist.
    """
    if isinstance(name_or_path, str) and name_or_path in card_names():
        return None
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    if isinstance(name_or_path, Path) or "/" in name_or_path or "\\" in name_or_path:
        raise DataError(
            f"There is no folder {path}; expected a folder of class folders, or one of: {', '.join(card_names())}."
        )
    return None


def _dataset(card: Card | None, arrays: Arrays, seed: int, name: str) -> Dataset:
    index = arrays.index
    split = _split(card, arrays, seed)
    mean, std = (card.mean, card.std) if card else (None, None)
    if mean is None or std is None:
        mean, std = _statistics(arrays, split)
    return Dataset(
        name=name,
        title=index.get("title") or (card.title if card else name),
        images=arrays.images,
        labels=arrays.labels,
        files=tuple(index["files"]),
        classes=tuple(index["classes"]),
        split=split,
        mean=mean,
        std=std,
        content_hash=index["content_hash"],
        synthetic=bool(card and card.synthetic),
        upright=bool(card and card.upright),
    )


def _split(card: Card | None, arrays: Arrays, seed: int) -> Split:
    """The split that comes with the package, else the saved one, else a new one, which is saved."""
    index = arrays.index
    if card:
        shipped = SHIPPED / f"{card.name}-{seed}.json"
        try:
            return Split.load(shipped, index["files"])
        except RspruneError:  # none, or made for other files
            pass
    path = arrays.folder / f"split-{seed}.json"
    if path.exists():
        return Split.load(path, index["files"])
    rule = card.split if card else SplitRule()
    split = make_split(
        arrays.labels,
        index["files"],
        index["classes"],
        ratios=rule.ratios,
        seed=seed,
        twins=index["twins"],
        fixed=index.get("fixed"),
    )
    split.save(path, index["files"])
    return split


def _statistics(arrays: Arrays, split: Split) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Channel mean and deviation of the training part, measured once a split."""
    path = arrays.folder / f"colour-{split.hash}.json"
    if not path.exists():
        mean, std = colour_statistics(arrays.images, split.train)
        write_json(path, {"mean": list(mean), "std": list(std)})
    saved = read_json(path, "colour statistics")
    return tuple(saved["mean"]), tuple(saved["std"])
