"""What is known of a data set: the form; the cards themselves stand in `catalogue`."""

from dataclasses import dataclass, field

from rsprune_lib.data.sizes import Size
from rsprune_lib.data.split import SplitRule

__all__ = ["Card", "MaskRule", "Source", "numbered", "palette_of"]


@dataclass(frozen=True)
class Source:
    """One file that holds a whole data set.

    Args:
        url: where to download it; None where it has to be placed by hand (or comes from a mirror).
        filename: its name in the cache and in a mirror.
        size: bytes, where known.
        sha256: hash, where the publisher or a well-known library states one.
        md5: the same.
        note: who states the hash, and what differs from the original.
    """

    url: str | None
    filename: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    note: str = ""


@dataclass(frozen=True)
class MaskRule:
    """How the masks of a data set are found and coded.

    Args:
        image: regular expression, searched in the names of the archives' members; its groups are the place (part or
            tile) and the rest of what an image and its mask share.
        mask: the same for masks; a mask belongs to the image with equal groups.
        palette: K RGB colours of the classes.
        codes: the values of each class in the files: class numbers, or colours as 0xRRGGBB.
        unknown: values that stand for no class.
        colours: True where the masks hold colours.
        parts: places of each part, such as ``{"test": ("8",)}``; without ``"val"`` it is cut from train. Pairs at other
            places are left out.
        near: how far a channel of a colour may lie from that of a code (files that were saved with a loss).
        scale: factor on the size before windows of ``image_size`` are cut; None: every image is resized to
            ``image_size`` as a whole.
    """

    image: str
    mask: str
    palette: tuple[tuple[int, int, int], ...]
    codes: tuple[tuple[int, ...], ...]
    parts: dict[str, tuple[str, ...]]
    unknown: tuple[int, ...] = ()
    colours: bool = False
    near: int = 0
    scale: float | None = None


def numbered(count: int, first: int = 0) -> tuple[tuple[int, ...], ...]:
    """The codes of classes that are numbered."""
    return tuple((value,) for value in range(first, first + count))


def palette_of(*codes: int) -> tuple[tuple[int, int, int], ...]:
    """RGB of colours written as 0xRRGGBB."""
    return tuple((code >> 16, code >> 8 & 255, code & 255) for code in codes)


@dataclass(frozen=True)
class Card:
    """Name, classes, sizes, normalisation, sources, licence and citation of a data set.

    Args:
        name: short name, as in ``load_data(name)``.
        title: name to print.
        classes: class names in label order, spelled as the folders of the archive.
        image_size: pixels a side, or (height, width), at which the course uses the images.
        num_images: images of all parts together, before windows are cut.
        mean: RGB channel means in [0, 1]; None: measured on the training part.
        std: RGB channel standard deviations in [0, 1]; None: measured on the training part.
        sources: alternatives, best first; the first one found is used.
        licence: terms of use.
        citation: paper to cite.
        homepage: page to get the file from by hand.
        split: how train, validation and test are made.
        task: ``"classification"`` or ``"segmentation"``.
        original_size: pixels a side, or (height, width), as published.
        synthetic: True for images that were drawn, not taken.
        upright: True for images with an up and a down, taken from the ground; augmentation only mirrors them.
        protocol: percent of training and test images of a named protocol, such as ``"80-20"``; empty: the course's own.
        masks: of a segmentation set.
        more: further files that are needed besides the first, each with its alternatives.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    image_size: Size
    num_images: int
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    sources: tuple[Source, ...]
    licence: str
    citation: str
    homepage: str
    split: SplitRule = field(default_factory=SplitRule)
    task: str = "classification"
    original_size: Size | None = None
    synthetic: bool = False
    upright: bool = False
    protocol: str = ""
    masks: MaskRule | None = None
    more: tuple[tuple[Source, ...], ...] = ()

    @property
    def full_name(self) -> str:
        """The name with its protocol, as in ``load_data(full_name)``."""
        return f"{self.name}-{self.protocol}" if self.protocol else self.name
