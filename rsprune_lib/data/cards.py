"""Cards: what is known of every public data set of the course."""

from dataclasses import dataclass, field

from rsprune_lib.data.split import SplitRule
from rsprune_lib.errors import unknown

__all__ = ["Card", "Source", "card_names", "get_card"]


@dataclass(frozen=True)
class Source:
    """One file of a data set at its publisher's.

    Args:
        url: where to download it, or None if it has to be placed by hand.
        filename: name in the cache and in a mirror.
        size: bytes, where known.
        sha256: hash, where the publisher (or a well-known library) states one.
        md5: the same.
        note: who states the hash, what differs from the original.
    """

    url: str | None
    filename: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Card:
    """Name, classes, sizes, normalisation, sources, licence and citation of a data set.

    Args:
        name: short name, as in ``load_data(name)``.
        title: name to print.
        task: always ``"classification"`` so far.
        classes: class names in label order, spelled as the folders of the archive.
        image_size: pixels a side at which the course uses the images.
        num_images: images of all parts.
        mean: RGB channel means in [0, 1].
        std: RGB channel standard deviations in [0, 1].
        sources: alternatives, best first; the first one found is used.
        licence: terms of use.
        citation: paper to cite.
        homepage: page of the publisher.
        split: how train, validation and test are made.
        synthetic: True for images that were drawn, not taken.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    image_size: int
    num_images: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    sources: tuple[Source, ...]
    licence: str
    citation: str
    homepage: str
    task: str = "classification"
    split: SplitRule = field(default_factory=SplitRule)
    synthetic: bool = False


EUROSAT = Card(
    name="eurosat",
    title="EuroSAT RGB",
    classes=(
        "AnnualCrop",
        "Forest",
        "HerbaceousVegetation",
        "Highway",
        "Industrial",
        "Pasture",
        "PermanentCrop",
        "Residential",
        "River",
        "SeaLake",
    ),
    image_size=64,
    num_images=27_000,
    mean=(0.3444, 0.3803, 0.4078),
    std=(0.2027, 0.1369, 0.1156),
    sources=(Source(None, "EuroSAT_RGB.zip"),),
    licence="MIT; Copernicus Sentinel data terms",
    citation="Helber et al., EuroSAT, IEEE JSTARS 2019, https://arxiv.org/abs/1709.00029",
    homepage="https://github.com/phelber/EuroSAT",
)

CARDS = {card.name: card for card in (EUROSAT,)}


def card_names() -> list[str]:
    """Names of all cards."""
    return list(CARDS)


def get_card(name: str) -> Card:
    """Return the card of a data set.

    Raises:
        DataError: if there is no such card; the nearest names are offered.
    """
    if name not in CARDS:
        raise unknown("data set", name, CARDS)
    return CARDS[name]
