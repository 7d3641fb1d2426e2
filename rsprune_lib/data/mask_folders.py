"""Images and masks in a folder of the user's: which file is which, and which belong together."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from rsprune_lib.data.leftovers import plain
from rsprune_lib.data.pairs import Pairs, short_names
from rsprune_lib.data.parts import KIND_OF
from rsprune_lib.errors import DataError

__all__ = ["folder_pairs"]

MASKS = frozenset(
    "mask masks label labels lbl lbls annotation annotations annot annots ann gt gts groundtruth seg segmentation "
    "segmentations segmentationclass".split()
)
IMAGES = frozenset("image images img imgs im rgb photo photos picture pictures jpegimages sat ortho scenes".split())
NEUTRAL = frozenset("dir dirs folder folders data dataset set png jpg jpeg tif tiff files raw all".split())
GLUED = re.compile(r"(train|val|valid|test)(annot|annotation|label|mask|gt|image|img)(s?)$")  # as in trainannot
CALLED = frozenset("image images img imgs jpegimages rgb".split())  # no class is called so
NUMBERED = re.compile(r"^(?:image|img|mask|label|lbl|gt)s?(?=\d)")  # mask12
TILE = re.compile(r"^(.*?)[_-]\d+[_-]\d+$")  # scene_1024_512: a window of a scene
FEWEST = 5  # tiles, so that a split by tile is more than one tile a part


@dataclass(frozen=True)
class _File:
    """What the path of a file says.

    Attributes:
        name: the path.
        masked: it lies in a folder for masks.
        shown: it lies in a folder for images.
        around: its folders without the words for images and masks.
        stem: of its name, in lower case.
        part: train, val, test or None.
    """

    name: str
    masked: bool
    shown: bool
    around: tuple[str, ...]
    stem: str
    part: str | None

    @property
    def bare(self) -> str:
        """The stem without words for images and masks at either end."""
        words = re.split(r"([_\-. ]+)", NUMBERED.sub("", self.stem))
        while len(words) > 1 and words[-1] in MASKS | IMAGES:
            words = words[:-2]
        while len(words) > 1 and words[0] in MASKS | IMAGES:
            words = words[2:]
        return "".join(words)


def folder_pairs(names: Sequence[str], origin: str) -> Pairs | None:
    """Pair images with masks, if the folder holds both.

    It does if a folder in it is called masks (labels, annotations, gt, …) and holds a file that is named like an image
    elsewhere, or if there is a folder of images and one other folder with the same names. Anything else is a folder of
    class folders.

    A mask belongs to the image of the same name in the same place, with or without ``_mask``, ``_label``, ``_gt`` and
    the like behind it or before it; the folders around may be called train, val and test, or by tiles.

    Args:
        names: paths of the images and masks, relative, with ``/``.
        origin: name of the folder, for the errors.

    Returns:
        The pairs; None if the folder holds no masks.

    Raises:
        DataError: if there are images and masks, but no mask is named like an image, or two like the same.
    """
    files = [_read(name) for name in names]
    masks, images = [file for file in files if file.masked], [file for file in files if not file.masked]
    if not masks:
        images, masks = _two_folders(files, origin)
    found = _match(images, masks, lambda file: file.around)
    if not found and any(file.shown for file in images):
        found = _match([file for file in images if file.shown], masks, lambda file: file.part)
    if not found:
        if masks and any(file.shown for file in images):
            first = next(file.name for file in images if file.shown)
            raise DataError(
                f"{origin} holds images and masks, but no mask is named like an image (first {plain(first)} and "
                f"{plain(masks[0].name)}); give each mask its image's name, or that with _mask behind it."
            )
        return None
    return _pairs(found, names, origin)


def _two_folders(files: Sequence[_File], origin: str) -> tuple[list[_File], list[_File]]:
    """Images and masks where only the folder of images is called what it is.

    Raises:
        DataError: if the other folder's names are others.
    """
    shown = [file for file in files if file.shown and file.name.split("/")[-2].lower() in CALLED]
    others = [file for file in files if file not in shown]
    folders = {tuple(file.name.split("/")[:-1]) for file in others}
    if not shown or len(folders) != 1 or len({file.name.rpartition("/")[0] for file in shown}) != 1 or () in folders:
        return [], []
    if {file.bare for file in shown} == {file.bare for file in others}:
        return shown, [_File(file.name, True, False, shown[0].around, file.stem, file.part) for file in others]
    folder = "/".join(folders.pop())
    raise DataError(
        f"{origin} holds images in {plain(shown[0].name.rpartition('/')[0])} and one more folder, {plain(folder)}. If "
        f"that holds the masks, give each its image's name; if these are classes, call the first by its class."
    )


def _match(
    images: Iterable[_File], masks: Iterable[_File], place: Callable[[_File], object]
) -> list[tuple[_File, _File]]:
    """Pairs of equal place and name: the whole stems if they are equal, else without words at their ends."""
    exact, bare = defaultdict(list), defaultdict(list)
    for image in images:
        exact[place(image), image.stem].append(image)
        bare[place(image), image.bare].append(image)
    found = []
    for mask in masks:
        here = place(mask)
        fits = exact.get((here, mask.stem)) or exact.get((here, mask.bare)) or bare.get((here, mask.bare)) or []
        found += [(image, mask) for image in fits]
    return found


def _pairs(found: Sequence[tuple[_File, _File]], names: Sequence[str], origin: str) -> Pairs:
    for side, other, word, own in ((0, 1, "masks", "image"), (1, 0, "images", "mask")):
        partners = defaultdict(list)
        for pair in found:
            partners[pair[side].name].append(pair[other].name)
        name, several = next(((name, all_) for name, all_ in partners.items() if len(all_) > 1), ("", []))
        if several:
            raise DataError(
                f"In {origin} two {word} belong to the {own} {plain(name)} by their names: {plain(several[0])} and "
                f"{plain(several[1])}; take one of them away."
            )
    found = sorted(found, key=lambda pair: pair[0].name)
    images, masks = (tuple(pair[side].name for pair in found) for side in (0, 1))
    fixed, notes = _parts([image for image, _ in found], origin)
    tiles = None if fixed else _tiles([image for image, _ in found])
    told = [f"{len(found):,} images with masks, paired by name: {plain(images[0])} with {plain(masks[0])}, and so on"]
    if tiles:
        told += [f"split by tile: what lies in one of {len(set(tiles))} folders or scenes stays in one part"]
    lonely = tuple(sorted({*names} - {*images} - {*masks}))
    notes = tuple(f"{note}." for note in (*told, *notes))
    return Pairs(images, masks, short_names(images), fixed, notes, tiles, lonely)


def _parts(images: Sequence[_File], origin: str) -> tuple[tuple[str, ...] | None, list[str]]:
    """Published parts, and what was decided about them.

    Raises:
        DataError: if some images lie in no part.
    """
    parts = tuple(image.part for image in images)
    found = set(parts)
    if not ("train" in found and {"val", "test"} & found):
        return None, []
    if None in found:
        outside = images[parts.index(None)].name
        raise DataError(
            f"{origin} holds parts (train, val, test), but {plain(outside)} and {parts.count(None) - 1:,} more lie in "
            f"none of them; sort all images into parts."
        )
    if "test" in found:
        return parts, []
    note = "no test part is published: the validation part serves as test, validation is cut from train"
    return tuple("test" if part == "val" else part for part in parts), [note]


def _tiles(images: Sequence[_File]) -> tuple[int, ...] | None:
    """Numbers of the tiles: the folders that the images lie in, else the scenes that their names begin with."""
    scenes = [TILE.match(image.bare) for image in images]
    for keys in ([image.around for image in images], [scene and scene[1] for scene in scenes]):
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        if FEWEST <= len(number) < len(images) and None not in number:
            return tuple(number[key] for key in keys)
    return None


def _read(name: str) -> _File:
    *folders, file = name.split("/")
    looks = [_folder(folder) for folder in folders]
    part = next((part for *_, part in looks if part), None)
    around = tuple(rest for _, _, rest, _ in looks if rest)
    stem = file.rpartition(".")[0] or file
    return _File(name, any(look[0] for look in looks), any(look[1] for look in looks), around, stem.lower(), part)


@cache
def _folder(name: str) -> tuple[bool, bool, str, str | None]:
    """Whether a folder's name says masks, says images; what else it says; and which part."""
    plain_name = GLUED.sub(r"\1 \2\3", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    plain_name = re.sub(r"ground[\s_-]?truth", "gt", plain_name)
    words = re.findall(r"[^\W\d_]+|\d+", plain_name)
    masked, shown = not MASKS.isdisjoint(words), not IMAGES.isdisjoint(words)
    kinds = {KIND_OF[word] for word in words if word in KIND_OF}
    rest = [word for word in words if word not in MASKS | IMAGES | NEUTRAL and word not in KIND_OF]
    part = kinds.pop() if len(kinds) == 1 and not rest else None
    kept = [word for word in words if word not in MASKS | IMAGES | NEUTRAL]
    return masked, shown and not masked, part or " ".join(kept), part
