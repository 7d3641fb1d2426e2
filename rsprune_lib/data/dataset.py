"""The data set as everybody sees it: a memory map, labels, classes, a split."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rsprune_lib.data.arrays import COUNTS, Arrays, class_counts, colour_statistics
from rsprune_lib.data.cards import Card
from rsprune_lib.data.minority import minority_classes, strata
from rsprune_lib.data.notes import copies_note, folder_notes, gaps_note, mask_notes
from rsprune_lib.data.sizes import Size, shown_size
from rsprune_lib.data.split import PARTS, Split, SplitRule, make_split, together, without_copies
from rsprune_lib.errors import DataError, RspruneError, unknown
from rsprune_lib.files import read_json, write_json
from rsprune_lib.tasks import TASKS, Task

__all__ = ["Dataset", "made_of"]

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

    def __repr__(self) -> str:
        """One line, as a cell of a notebook shows it: the arrays would fill pages."""
        height, width = self.images.shape[1:3]
        what = "images with masks" if self.masks is not None else "images"
        sizes = f"{len(self.labels):,} {what}, {self.num_classes} classes ({self.split})"
        return f"<Dataset {self.title}: {sizes}, {height} x {width} pixels>"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def image_size(self) -> Size:
        """Pixels a side, or (height, width) of images that are not square."""
        return shown_size(*self.images.shape[1:3])

    @cached_property
    def rare(self) -> tuple[int, ...]:
        """The classes that are rare in the masks of the training part, see `minority_classes`; none without masks."""
        return () if self.masks is None else minority_classes(self)

    def part(self, name: str) -> np.ndarray:
        """Indices of ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            RspruneError: for another name.
        """
        if name not in PARTS:
            raise unknown("part", name, PARTS)
        return getattr(self.split, name)

    def class_pixels(self, part: str) -> np.ndarray:
        """(K,) int64 pixels of each class in the masks of a part; what is unknown counts nowhere.

        Raises:
            DataError: if the data set has no masks.
        """
        return self.pixels_of(self.part(part)).sum(0)

    def pixels_of(self, rows: np.ndarray) -> np.ndarray:
        """(n, K) int64 pixels of each class in the masks of these images.

        Args:
            rows: (n,) their numbers.

        Raises:
            DataError: if the data set has no masks.
        """
        if self.masks is None:
            raise DataError(f"{self.title} has no masks: its images have one label each; class_pixels counts pixels.")
        beside = Path(getattr(self.masks, "filename", None) or "nowhere").with_name(COUNTS)
        counts = np.load(beside) if beside.is_file() else None  # counted when the masks were decoded
        if counts is None or counts.shape != (len(self.masks), self.num_classes):
            return class_counts(self.masks[rows], self.num_classes)
        return counts[rows]

    def info(self) -> dict:
        """What a bundle keeps of its data set; plain JSON."""
        keys = ("name", "title", "image_size", "content_hash", "synthetic")
        lists = {key: list(getattr(self, key)) for key in ("classes", "mean", "std")}
        found = {"split_hash": self.split.hash, "source": self.source or self.name}
        found |= {"bands": self.bands} if self.bands else {}
        found |= {"palette": [list(colour) for colour in self.palette]} if self.palette else {}
        found |= {} if self.task.name == "classification" else {"task": self.task.name}
        found |= {"rare": list(self.rare)} if self.rare else {}
        return {key: getattr(self, key) for key in keys} | lists | found


def made_of(
    card: Card | None, arrays: Arrays, seed: int, path: Path | None = None, bands: str | None = None
) -> Dataset:
    """Make a data set of decoded images.

    Args:
        card: of a public set; None for a folder.
        arrays: the decoded images.
        seed: of the split where none is published.
        path: the folder or archive.
        bands: that were asked for.

    Raises:
        DataError: if the images cannot be split.
    """
    index = arrays.index
    notes = [] if card else folder_notes(index, len(arrays.labels))
    notes += mask_notes(index)
    try:
        split = _split(card, arrays, seed)
    except DataError as error:  # what was left out may be the reason
        raise DataError(" ".join([str(error), *notes])) from error
    mean, std = (card.mean, card.std) if card else (None, None)
    if mean is None or std is None:
        mean, std = _statistics(arrays, split)
    found = path.resolve() if path else None
    name = card.full_name if card else found.name if found.is_dir() else found.stem
    return Dataset(
        name=name,
        title=_title(index.get("title") or name, card),
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
        source=card.full_name if card else str(found),
        bands=bands,
        task=TASKS["classification" if arrays.masks is None else "segmentation"],
        masks=arrays.masks,
        palette=None if arrays.masks is None else tuple(map(tuple, index["palette"])),
        notes=(*notes, *copies_note(index, arrays.labels, split), *_gaps(arrays, split)),
    )


def _gaps(arrays: Arrays, split: Split) -> list[str]:
    classes, masked = arrays.index["classes"], arrays.masks is not None
    counts = arrays.counts if masked else np.eye(len(classes), dtype=np.int64)[arrays.labels]
    return gaps_note(classes, counts, split, "pixels" if masked else "images")


def _title(title: str, card: Card | None) -> str:
    return f"{title}, protocol {card.protocol.replace('-', '/')}" if card and card.protocol else title


def _split(card: Card | None, arrays: Arrays, seed: int) -> Split:
    """The split that comes with the package, else the saved one, else a new one, which is saved."""
    index = arrays.index
    if card and not card.protocol:
        shipped = SHIPPED / f"{card.name}-{seed}.json"
        try:
            return without_copies(Split.load(shipped, index["files"]), index["twins"])
        except RspruneError:  # none, or made for other files
            pass
    path = arrays.folder / f"split-{f'{card.protocol}-' if card and card.protocol else ''}{seed}.json"
    if path.exists():
        return Split.load(path, index["files"])
    rule, masked = card.split if card else SplitRule(), arrays.masks is not None
    labels = _strata(arrays) if masked else arrays.labels
    split = make_split(
        labels,
        index["files"],
        ["any class"] * (labels.max() + 1) if masked else index["classes"],
        ratios=rule.ratios,
        seed=seed,
        twins=together(index["twins"], index.get("sources")),
        fixed=index.get("fixed"),
    )
    split.save(path, index["files"])
    return split


def _strata(arrays: Arrays) -> np.ndarray:
    """What to stratify by: `strata` of the images that are still to be split, 0 of all others."""
    fixed, sources = arrays.index.get("fixed"), arrays.index.get("sources")
    labels = np.zeros(len(arrays.labels), np.int64)
    if fixed and "val" in fixed:
        return labels
    rows = np.array([i for i in range(len(labels)) if not fixed or fixed[i] == "train"])
    labels[rows] = strata(arrays.counts[rows], sources and [sources[i] for i in rows])
    return labels


def _statistics(arrays: Arrays, split: Split) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Channel mean and deviation of the training part, measured once a split."""
    path = arrays.folder / f"colour-{split.hash}.json"
    if not path.exists():
        mean, std = colour_statistics(arrays.images, split.train)
        write_json(path, {"mean": list(mean), "std": list(std)})
    saved = read_json(path, "colour statistics")
    return tuple(saved["mean"]), tuple(saved["std"])
