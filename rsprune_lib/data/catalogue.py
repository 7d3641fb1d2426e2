"""The data sets of the course, with sources and hashes as their publishers state them."""

import re
from dataclasses import replace

from rsprune_lib.data.cards import Card, Source
from rsprune_lib.data.catalogue_masks import MASK_CARDS
from rsprune_lib.data.split import SplitRule
from rsprune_lib.errors import RspruneError, unknown

__all__ = ["card_names", "get_card", "is_card"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


EUROSAT = Card(
    name="eurosat",
    title="EuroSAT RGB",
    classes=_words(
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
    ),
    image_size=64,
    num_images=27_000,
    mean=(0.3444, 0.3803, 0.4078),
    std=(0.2027, 0.1369, 0.1156),
    sources=(
        Source(
            "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip",
            "EuroSAT_RGB.zip",
            size=94_658_721,
            md5="f46e308c4d50d4bf32fedad2d3d62f3b",
            note="MD5 stated by the Zenodo record",
        ),
        Source(
            "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            "EuroSAT.zip",
            md5="c8fa014336c82ac7804f0398fcb19387",
            note="MD5 stated by torchvision; same images in the older folder 2750/",
        ),
    ),
    licence="MIT; Copernicus Sentinel data terms",
    citation="P. Helber et al., EuroSAT, IEEE JSTARS 12(7), 2019, https://arxiv.org/abs/1709.00029",
    homepage="https://zenodo.org/records/7711810",
)

UCMERCED = Card(
    name="ucmerced",
    title="UC Merced Land Use",
    classes=_words(
        "agricultural airplane baseballdiamond beach buildings chaparral denseresidential forest freeway "
        "golfcourse harbor intersection mediumresidential mobilehomepark overpass parkinglot river runway "
        "sparseresidential storagetanks tenniscourt"
    ),
    image_size=256,
    num_images=2_100,
    mean=None,
    std=None,
    sources=(
        Source(
            "https://huggingface.co/datasets/torchgeo/ucmerced/resolve/7c5ef3454d9b1cccfa7ccde0c01fc8f00a45909a/UCMerced_LandUse.zip",
            "UCMerced_LandUse.zip",
            md5="5b7ec56793786b6dc8a908e8854ac0e4",
            note="MD5 stated by torchgeo; the original TIFF files",
        ),
        Source(
            "http://weegee.vision.ucmerced.edu/datasets/UCMerced_LandUse.zip",
            "UCMerced_LandUse.zip",
            md5="5b7ec56793786b6dc8a908e8854ac0e4",
            note="the publisher's own server; MD5 stated by torchgeo",
        ),
    ),
    licence="public-domain USGS imagery; research use, cite the paper",
    citation="Y. Yang and S. Newsam, Bag-of-visual-words and spatial extensions for land-use classification, ACM GIS "
    "2010, https://doi.org/10.1145/1869790.1869829",
    homepage="http://weegee.vision.ucmerced.edu/datasets/landuse.html",
)

AID = Card(
    name="aid",
    title="AID",
    classes=_words(
        "Airport BareLand BaseballField Beach Bridge Center Church Commercial DenseResidential Desert "
        "Farmland Forest Industrial Meadow MediumResidential Mountain Park Parking Playground Pond Port "
        "RailwayStation Resort River School SparseResidential Square Stadium StorageTanks Viaduct"
    ),
    image_size=256,
    num_images=10_000,
    mean=None,
    std=None,
    sources=(Source(None, "AID.zip", note="the publisher states no hash and offers no direct link: fetch it by hand"),),
    licence="research use; Google Earth imagery",
    citation="G.-S. Xia et al., AID, IEEE TGRS 55(7), 2017, https://arxiv.org/abs/1608.05167",
    homepage="https://captain-whu.github.io/AID/",
    original_size=600,
)

NASC_TG2 = Card(
    name="nasc_tg2",
    title="NaSC-TG2",
    classes=_words(
        "beach circular_farmland cloud desert forest mountain rectangular_farmland residential river snowberg"
    ),
    image_size=128,
    num_images=20_000,
    mean=None,
    std=None,
    sources=(
        Source(None, "NaSC-TG2.zip", note="the publisher states no hash and asks for a registration: fetch it by hand"),
    ),
    licence="research use; Tiangong-2 imagery",
    citation="Z. Zhou et al., NaSC-TG2, IEEE JSTARS 14, 2021, https://doi.org/10.1109/JSTARS.2021.3063096",
    homepage="http://www.msadc.cn/main/setsubDetail?id=1370312964720037889",
)

RESISC45 = Card(
    name="resisc45",
    title="NWPU-RESISC45",
    classes=_words(
        "airplane airport baseball_diamond basketball_court beach bridge chaparral church "
        "circular_farmland cloud commercial_area dense_residential desert forest freeway golf_course "
        "ground_track_field harbor industrial_area intersection island lake meadow medium_residential "
        "mobile_home_park mountain overpass palace parking_lot railway railway_station "
        "rectangular_farmland river roundabout runway sea_ice ship snowberg sparse_residential stadium "
        "storage_tank tennis_court terrace thermal_power_station wetland"
    ),
    image_size=256,
    num_images=31_500,
    mean=None,
    std=None,
    sources=(
        Source(
            "https://hf.co/datasets/torchgeo/resisc45/resolve/a826b44d938a883185f11ebe3d512d38b464312f/NWPU-RESISC45.zip",
            "NWPU-RESISC45.zip",
            md5="75206b2e16446591afa88e2628744886",
            note="MD5 stated by torchgeo; the publisher's own file is a RAR archive",
        ),
    ),
    licence="research use; Google Earth imagery",
    citation="G. Cheng, J. Han and X. Lu, Remote sensing image scene classification, Proc. IEEE 105(10), 2017, "
    "https://doi.org/10.1109/JPROC.2017.2675998",
    homepage="https://gcheng-nwpu.github.io/#Datasets",
)

PATTERNNET = Card(
    name="patternnet",
    title="PatternNet",
    classes=_words(
        "airplane baseball_field basketball_court beach bridge cemetery chaparral christmas_tree_farm "
        "closed_road coastal_mansion crosswalk dense_residential ferry_terminal football_field forest "
        "freeway golf_course harbor intersection mobile_home_park nursing_home oil_gas_field oil_well "
        "overpass parking_lot parking_space railway river runway runway_marking shipping_yard solar_panel "
        "sparse_residential storage_tank swimming_pool tennis_court transformer_station "
        "wastewater_treatment_plant"
    ),
    image_size=256,
    num_images=30_400,
    mean=None,
    std=None,
    sources=(
        Source(
            "https://hf.co/datasets/torchgeo/PatternNet/resolve/2dbd901b00e301967a5c5146b25454f5d3455ad0/PatternNet.zip",
            "PatternNet.zip",
            sha256="456dd031950b0429518b8ec7d30a5c4b3f6456261ee1dd573a3eee43efb29958",
            note="SHA-256 stated by torchgeo",
        ),
    ),
    licence="research use; Google Earth imagery (torchgeo's copy is tagged CC BY 4.0)",
    citation="W. Zhou et al., PatternNet, ISPRS J. Photogramm. 145, 2018, https://doi.org/10.1016/j.isprsjprs.2018.01.004",
    homepage="https://sites.google.com/view/zhouwx/dataset",
)

CIFAR10 = Card(
    name="cifar10",
    title="CIFAR-10",
    upright=True,
    classes=_words("airplane automobile bird cat deer dog frog horse ship truck"),
    image_size=32,
    num_images=60_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    sources=(
        Source(
            None,
            "cifar10.npz",
            note="arrays x_train, y_train, x_test, y_test in the canonical order; from a mirror only",
        ),
        Source(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "cifar-10-binary.tar.gz",
            size=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
            note="MD5 stated by the publisher, SHA-256 by TensorFlow Datasets; the binary version: no pickle",
        ),
    ),
    licence="research use, cite the report",
    citation="A. Krizhevsky, Learning multiple layers of features from tiny images, 2009, "
    "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    split=SplitRule(
        published=True,
        note="published test part; validation is a seeded, stratified tenth of the published training part",
    ),
)

SYNTHETIC = Card(
    name="synthetic",
    title="synthetic scenes",
    classes=_words("AnnualCrop PermanentCrop Pasture Shrubland Forest River Highway SeaLake Residential Industrial"),
    image_size=64,
    num_images=6_000,
    mean=None,
    std=None,
    sources=(),
    licence="MIT, drawn by this package",
    citation="none: procedural drawings, not remote-sensing data",
    homepage="",
    synthetic=True,
)

CLASSIFIED = EUROSAT, UCMERCED, AID, NASC_TG2, RESISC45, PATTERNNET, CIFAR10
CARDS = {card.name: card for card in CLASSIFIED} | MASK_CARDS | {SYNTHETIC.name: SYNTHETIC}


_PROTOCOL = re.compile(rf"({'|'.join(CARDS)})-(\d{{1,3}})-(\d{{1,3}})")


def card_names() -> list[str]:
    """Names of all cards, ``"synthetic"`` last."""
    return list(CARDS)


def is_card(name: object) -> bool:
    """Whether a data set of that name is known, a protocol behind it included."""
    return isinstance(name, str) and (name in CARDS or _PROTOCOL.fullmatch(name) is not None)


def get_card(name: str) -> Card:
    """Return the card of a data set.

    Args:
        name: of a card; percents behind it name a published protocol: ``"ucmerced-80-20"`` has 80 %
            training images, a tenth of which is validation, and 20 % test images, stratified and seeded (the papers
            publish no lists).

    Raises:
        RspruneError: if there is no such card (the nearest names are offered) or the protocol is impossible.
    """
    found = _PROTOCOL.fullmatch(name)
    if found is None:
        if name not in CARDS:
            raise unknown("data set", name, CARDS)
        return CARDS[name]
    card, train, test = CARDS[found[1]], int(found[2]), int(found[3])
    if card.split.published or card.synthetic:
        raise RspruneError(f"{card.title} has a split of its own; take {card.name!r} without percents.")
    if train + test != 100 or not train or not test:
        raise RspruneError(f"Got the protocol {train}-{test} in {name!r}; expected two shares that sum to 100: 80-20.")
    ratios = (0.9 * train / 100, 0.1 * train / 100, test / 100)
    note = f"protocol {train}/{test}; a tenth of the training part is validation; seeded, stratified by class"
    return replace(card, protocol=f"{train}-{test}", split=SplitRule(ratios=ratios, note=note))
