"""`load_data`: a data set by its name, or any folder of class folders, or of images and masks."""

from collections.abc import Sequence
from pathlib import Path

from rsprune_lib.data.bands import parse_bands
from rsprune_lib.data.cards import Card
from rsprune_lib.data.catalogue import card_names, get_card, is_card
from rsprune_lib.data.dataset import Dataset, made_of
from rsprune_lib.data.fetch import data_root, find
from rsprune_lib.data.leftovers import listed
from rsprune_lib.data.notes import tell
from rsprune_lib.data.prepare import card_arrays, folder_arrays, folder_classes, has_arrays, synthetic_arrays
from rsprune_lib.data.sizes import Size, checked_size
from rsprune_lib.errors import DataError, unknown
from rsprune_lib.places import absolute

__all__ = ["at_hand", "load_again", "load_data"]


def load_data(
    name_or_path: str | Path = "auto",
    *,
    image_size: Size | None = None,
    bands: str | None = None,
    split_seed: int = 66,
    root: str | Path | None = None,
    mirror: str | Path | None = None,
    progress: bool = True,
) -> Dataset:
    """Load a data set by name, or a folder (or zip, tar) of the user's; decoded once, then mapped from the cache.

    A folder holds images and masks (segmentation) as `rsprune_lib.data.mask_folders` says: a folder in it is called
    masks, labels, annotations or gt, and a file in that is named like an image elsewhere. Any other: class folders.

    What was left out of a folder, and what was decided about its parts, bands and copies, is said on standard error (by
    the logger ``rsprune``) and kept in `Dataset.notes`.

    Args:
        name_or_path: name of a card, ``"synthetic"``, a path, or ``"auto"``: EuroSAT if it is in the cache or in a
            mirror folder, else synthetic scenes.
        image_size: pixels a side, or (height, width); of data sets whose images are cut into windows, the windows'.
            Default: the card's, or for a folder its most common size (at most 256; 64 if the sizes are mixed; with
            masks the one size of all images if no side is longer than 512, else windows of 256).
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
    root, bands, image_size = data_root(root), parse_bands(bands), checked_size(image_size)
    if (name_or_path == "auto" or is_card(name_or_path)) and Path(name_or_path).is_dir():
        tell(name_or_path, [f"this is the name of a public data set; the folder of that name is ./{name_or_path}"])
    if name_or_path == "auto":
        name_or_path = _automatic(image_size, root, mirror)
    path = _as_path(name_or_path)
    if path is not None:
        arrays = folder_arrays(path, image_size, bands, root, progress)
        loaded = made_of(None, arrays, split_seed, path, bands)
    else:
        card = get_card(str(name_or_path))
        if bands:
            raise DataError(f"Bands are chosen for folders of images; {card.title} comes in RGB: leave bands out.")
        if card.synthetic:
            arrays = synthetic_arrays(card, image_size or card.image_size, root, progress)
        else:
            arrays = card_arrays(card, image_size or card.image_size, root, mirror, progress)
        loaded = made_of(card, arrays, split_seed)
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
        DataError: if the bundle does not say where its data is, or the classes are not those of the bundle (which is
            found before anything is downloaded or decoded).
    """
    if name_or_path == "auto":
        name_or_path = _automatic(checked_size(info.get("image_size")), data_root(None), None)
    source = name_or_path or info.get("source") or info.get("name")
    if not source or not isinstance(source, str | Path):
        raise DataError("The bundle does not say what data it saw; name it (--data).")
    if name_or_path is None and not is_card(source) and not Path(source).is_absolute():
        raise DataError(
            f"The bundle was made with the folder {source}, named by a relative path that may mean another folder "
            f"here; give its full path (--data)."
        )
    if name_or_path is None and not is_card(source) and not Path(source).exists():
        raise DataError(f"The bundle was made with {source}, which is no longer there; name its new place (--data).")
    if info.get("classes"):
        _check_classes(source, info["classes"])
    bands = bands or (info.get("bands") if not is_card(str(source)) else None)
    loaded = load_data(source, image_size=info.get("image_size"), bands=bands, progress=progress)
    if info.get("classes"):
        _check_classes(source, info["classes"], loaded.classes)
    return loaded


def _check_classes(name_or_path: str | Path, expected: Sequence[str], found: Sequence[str] | None = None) -> None:
    """Compare with the classes that were found, or with those that are known before anything is decoded."""
    if found is None:
        path = _as_path(name_or_path)
        found = get_card(str(name_or_path)).classes if path is None else folder_classes(path)
    if found is not None and list(found) != list(expected):
        raise DataError(
            f"The network knows the classes {listed(expected)}; {name_or_path} has {listed(found)}: give the data set "
            "it was trained on (--data)."
        )


def at_hand(
    card: Card, image_size: Size | None = None, root: str | Path | None = None, mirror: str | Path | None = None
) -> bool:
    """Whether `load_data` needs no download: the images are decoded, or the archives are in the cache or a mirror."""
    return bool(has_arrays(card, image_size or card.image_size, data_root(root)) or find(card, root, mirror))


def _automatic(image_size: Size | None, root: Path, mirror: str | Path | None) -> str:
    card = get_card("eurosat")
    return card.name if at_hand(card, image_size, root, mirror) else "synthetic"


def _as_path(name_or_path: str | Path) -> Path | None:
    """The path that is meant, or None for the name of a card.

    Raises:
        DataError: if a path does not exist.
    """
    if is_card(name_or_path):
        return None
    if not str(name_or_path).strip():
        raise DataError("Got an empty name of data; give the name of a data set, or a folder of class folders.")
    path = absolute(name_or_path)
    if path.parent == path:
        raise DataError(f"Got {path}, all files of this machine; give a folder of class folders, or an archive of one.")
    if path.exists():
        return path
    if isinstance(name_or_path, Path) or "/" in name_or_path or "\\" in name_or_path:
        raise DataError(
            f"There is no folder {path}; expected a folder of class folders, or one of: {', '.join(card_names())}."
        )
    raise DataError(f"{unknown('data set', name_or_path, card_names())} Nor is there a folder {path}.")
