"""The data set as everybody sees it: a memory map, labels, classes, a split; and `load_data`, which makes it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsprune_lib.data.arrays import Arrays, colour_statistics
from rsprune_lib.data.bands import parse_bands
from rsprune_lib.data.cards import Card
from rsprune_lib.data.catalogue import card_names, get_card
from rsprune_lib.data.fetch import data_root, find
from rsprune_lib.data.notes import copies_note, folder_notes, tell
from rsprune_lib.data.prepare import card_arrays, folder_arrays, has_arrays, synthetic_arrays
from rsprune_lib.data.split import PARTS, Split, SplitRule, make_split, without_copies
from rsprune_lib.errors import DataError, RspruneError, unknown
from rsprune_lib.files import read_json, write_json
from rsprune_lib.tasks import TASKS, Task

__all__ = ["Dataset", "at_hand", "load_again", "load_data"]

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
        source: how to load it again from anywhere: the card's name, or a full path.
        bands: which bands were asked for; None: the usual ones.
        notes: what was left out or decided on loading, a sentence each.
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
    source: str = ""
    bands: str | None = None
    notes: tuple[str, ...] = ()

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
        found = {"split_hash": self.split.hash, "source": self.source or self.name}
        found |= {"bands": self.bands} if self.bands else {}
        found |= {} if self.task.name == "classification" else {"task": self.task.name}
        return {key: getattr(self, key) for key in keys} | lists | found


def load_data(
    name_or_path: str | Path = "auto",
    *,
    image_size: int | None = None,
    bands: str | None = None,
    split_seed: int = 66,
    root: str | Path | None = None,
    mirror: str | Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a data set by name, or any folder (or zip, tar) of class folders; decoded once, then mapped from the cache.

    What was left out of a folder, and what was decided about its parts, bands and copies, is said on standard error (by
    the logger ``rsprune``) and kept in `Dataset.notes`.

    Args:
        name_or_path: name of a card, ``"synthetic"``, a path, or ``"auto"``: EuroSAT if it is in the cache or in a
            mirror folder, else synthetic scenes.
        image_size: pixels a side; default: the card's, or for a folder its most common size (at most 256; 64 if the
            sizes are mixed).
        bands: of a folder whose images have more than three bands: which are red, green and blue (or one for grey), by
            number or name, such as ``"8,4,3"``; default: see `rsprune_lib.data.bands`.
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
    root, bands = data_root(root), parse_bands(bands)
    if image_size is not None and not 8 <= image_size <= 1024:
        raise DataError(f"image_size must be between 8 and 1024 pixels, got {image_size}.")
    if name_or_path == "auto":
        name_or_path = _automatic(image_size, root, mirror)
    path = _as_path(name_or_path)
    if path is not None:
        arrays = folder_arrays(path, image_size, bands, root, progress)
        loaded = _dataset(None, arrays, split_seed, path, bands)
    else:
        card = get_card(str(name_or_path))
        if bands:
            raise DataError(f"Bands are chosen for folders of images; {card.title} comes in RGB: leave bands out.")
        if card.synthetic:
            arrays = synthetic_arrays(root, image_size or card.image_size, card.num_images, progress=progress)
        else:
            arrays = card_arrays(card, image_size or card.image_size, root, mirror, progress)
        loaded = _dataset(card, arrays, split_seed, path)
    tell(loaded.name, loaded.notes)
    return loaded


def load_again(
    info: dict, name_or_path: str | Path | None = None, *, bands: str | None = None, progress: bool = True
) -> Dataset:
    """Load the data set that a bundle was made with, or another one in the same way (size, bands).

    Args:
        info: what the bundle keeps of it, see `Dataset.info`.
        name_or_path: a name or path in its place.
        bands: in place of the bundle's.
        progress: show bars.

    Raises:
        DataError: if the bundle does not say where its data is.
    """
    source = name_or_path or info.get("source") or info.get("name")
    if not source or not isinstance(source, str | Path):
        raise DataError("The bundle does not say what data it saw; name it (--data).")
    if name_or_path is None and source not in card_names() and not Path(source).is_absolute():
        raise DataError(
            f"The bundle was made with the folder {source}, named by a relative path that may mean another folder here; "
            f"give its full path (--data)."
        )
    bands = bands or (info.get("bands") if str(source) not in card_names() else None)
    return load_data(source, image_size=info.get("image_size"), bands=bands, progress=progress)


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


def _dataset(card: Card | None, arrays: Arrays, seed: int, path: Path | None, bands: str | None = None) -> Dataset:
    index = arrays.index
    notes = [] if card else folder_notes(index, len(arrays.labels))
    try:
        split = _split(card, arrays, seed)
    except DataError as error:  # what was left out may be the reason
        raise DataError(" ".join([str(error), *notes])) from error
    mean, std = (card.mean, card.std) if card else (None, None)
    if mean is None or std is None:
        mean, std = _statistics(arrays, split)
    found = path.resolve() if path else None
    name = card.name if card else found.name if found.is_dir() else found.stem
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
        source=card.name if card else str(found),
        bands=bands,
        notes=(*notes, *copies_note(index, arrays.labels, split)),
    )


def _split(card: Card | None, arrays: Arrays, seed: int) -> Split:
    """The split that comes with the package, else the saved one, else a new one, which is saved."""
    index = arrays.index
    if card:
        shipped = SHIPPED / f"{card.name}-{seed}.json"
        try:
            return without_copies(Split.load(shipped, index["files"]), index["twins"])
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
