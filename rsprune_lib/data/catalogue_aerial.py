"""Aerial sets of the photogrammetric society's benchmark, each with full and with eroded labels, and LoveDA."""

from rsprune_lib.data.cards import Card, MaskRule, Source, numbered, palette_of
from rsprune_lib.data.split import SplitRule

__all__ = ["AERIAL_CARDS"]

CLASSES = ("impervious surface", "building", "low vegetation", "tree", "car", "clutter")
COLOURS = (0xFFFFFF, 0x0000FF, 0x00FFFF, 0x00FF00, 0xFFFF00, 0xFF0000)
HOMEPAGE = "https://www.isprs.org/education/benchmarks/UrbanSemLab/default.aspx"
CITATION = (
    "F. Rottensteiner et al., The ISPRS benchmark on urban object classification and 3D building reconstruction, ISPRS "
    "Annals I-3, 2012, https://doi.org/10.5194/isprsannals-I-3-293-2012"
)
LICENCE = "research use, after registration"
BY_HAND = "the publisher asks for a registration: fetch it by hand"
FORMS = {
    "full": "full labels",
    "eroded": "eroded labels (three pixels at the borders of objects count nowhere)",
}


def _vaihingen(form: str) -> Card:
    """Vaihingen: 9 cm, near infrared, red and green; the split that papers without the server's test labels use."""
    eroded = form == "eroded"
    labels = Source(
        None,
        f"ISPRS_semantic_labeling_Vaihingen_ground_truth_{'eroded_' if eroded else ''}COMPLETE.zip",
        md5=None if eroded else "4802dd6326e2727a352fb735be450277",
        note="no hash is stated" if eroded else "MD5 stated by torchgeo",
    )
    return Card(
        name=f"vaihingen_{form}",
        title=f"ISPRS Vaihingen, {FORMS[form]}",
        task="segmentation",
        classes=CLASSES,
        image_size=256,
        num_images=16,
        mean=None,
        std=None,
        sources=(
            Source(
                None,
                "ISPRS_semantic_labeling_Vaihingen.zip",
                md5="462b8dca7b6fa9eaf729840f0cdfc7f3",
                note=f"{BY_HAND}; MD5 stated by torchgeo",
            ),
        ),
        more=((labels,),),
        licence=LICENCE,
        citation=CITATION,
        homepage=HOMEPAGE,
        split=SplitRule(
            published=True,
            note="areas 11, 15, 28, 30, 34 are test, as papers report them; areas 7 and 32 of the published training "
            "part are validation, so that nothing is chosen on test",
        ),
        masks=MaskRule(
            image=r"(?:^|/)top/top_mosaic_09cm_area(\d+)\.tif$",
            mask=r"^(?!(?:.*/)?(?:top|dsm|ndsm|gts_for_participants)/)(?:.*/)?top_mosaic_09cm_area(\d+)"
            + (r"_noBoundary\.tif$" if eroded else r"\.tif$"),
            palette=palette_of(*COLOURS),
            codes=tuple((code,) for code in COLOURS),
            unknown=(0x000000,) if eroded else (),
            colours=True,
            parts={
                "train": ("1", "3", "5", "13", "17", "21", "23", "26", "37"),
                "val": ("7", "32"),
                "test": ("11", "15", "28", "30", "34"),
            },
            scale=1.0,
        ),
    )


def _potsdam(form: str) -> Card:
    """Potsdam: 5 cm, red, green and blue; the benchmark's own test tiles."""
    eroded = form == "eroded"
    labels = "5_Labels_all_noBoundary.zip" if eroded else "5_Labels_all.zip"
    return Card(
        name=f"potsdam_{form}",
        title=f"ISPRS Potsdam at half scale, {FORMS[form]}",
        task="segmentation",
        classes=CLASSES,
        image_size=256,
        num_images=37,
        mean=None,
        std=None,
        sources=(Source(None, "2_Ortho_RGB.zip", note=f"{BY_HAND}; no hash is stated"),),
        more=((Source(None, labels, note="the labels, from the same page; no hash is stated"),),),
        licence=LICENCE,
        citation=CITATION,
        homepage=HOMEPAGE,
        split=SplitRule(
            published=True,
            note="the benchmark's 14 test tiles; tiles 2_10 and 6_8 of its training part are validation; 7_10 is left "
            "out, its labels are known to be wrong",
        ),
        masks=MaskRule(
            image=r"(?:^|/)top_potsdam_(\d+_\d+)_RGB\.tif$",
            mask=rf"(?:^|/)top_potsdam_(\d+_\d+)_label{'_noBoundary' if eroded else ''}\.tif$",
            palette=palette_of(*COLOURS),
            codes=tuple((code,) for code in COLOURS),
            unknown=(0x000000,) if eroded else (),
            colours=True,
            near=64,  # the colours of tile 4_12 are not exactly those that the benchmark states
            parts={
                "train": tuple(
                    "2_11 2_12 3_10 3_11 3_12 4_10 4_11 4_12 5_10 5_11 5_12 6_7 6_9 6_10 6_11 6_12 7_7 7_8 7_9 7_11 "
                    "7_12".split()
                ),
                "val": ("2_10", "6_8"),
                "test": tuple("2_13 2_14 3_13 3_14 4_13 4_14 4_15 5_13 5_14 5_15 6_13 6_14 6_15 7_13".split()),
            },
            scale=0.5,  # 10 cm, and a quarter of the windows
        ),
    )


LOVEDA = Card(
    name="loveda",
    title="LoveDA at half scale",
    task="segmentation",
    classes=("background", "building", "road", "water", "barren", "forest", "agriculture"),
    image_size=256,
    original_size=1024,
    num_images=4_191,
    mean=None,
    std=None,
    sources=(
        Source(
            "https://zenodo.org/records/5706578/files/Train.zip",
            "Train.zip",
            md5="de2b196043ed9b4af1690b3f9a7d558f",
            note="MD5 stated by the Zenodo record",
        ),
    ),
    more=(
        (
            Source(
                "https://zenodo.org/records/5706578/files/Val.zip",
                "Val.zip",
                md5="84cae2577468ff0b5386758bb386d31d",
                note="MD5 stated by the Zenodo record",
            ),
        ),
    ),
    licence="CC BY-NC-SA 4.0",
    citation="J. Wang et al., LoveDA, NeurIPS Datasets and Benchmarks 2021, https://arxiv.org/abs/2110.08733",
    homepage="https://zenodo.org/records/5706578",
    split=SplitRule(
        published=True,
        note="the published validation part (1,669) is test, as the labels of its own test part are kept back; "
        "validation is a seeded tenth of the training part",
    ),
    masks=MaskRule(
        image=r"(?:^|/)(Train|Val)/(Urban|Rural)/images_png/(\d+)\.png$",
        mask=r"(?:^|/)(Train|Val)/(Urban|Rural)/masks_png/(\d+)\.png$",
        palette=palette_of(0xFFFFFF, 0xFF0000, 0xFFFF00, 0x0000FF, 0x9F81B7, 0x00FF00, 0xFFC380),
        codes=numbered(7, first=1),
        unknown=(0,),  # no data
        parts={"train": ("Train",), "test": ("Val",)},
        scale=0.5,
    ),
)

AERIAL_CARDS = (*(_vaihingen(form) for form in FORMS), *(_potsdam(form) for form in FORMS), LOVEDA)
