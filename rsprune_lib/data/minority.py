"""Rare classes: those with the fewest training pixels, which a mean over pixels does not see."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from rsprune_lib.errors import RspruneError

__all__ = ["minority_classes", "strata", "training_pixels"]

FEWEST = 10  # images of a stratum
_USUAL = {"camvid": 5, "cityscapes": 10}  # of the MCAG paper's experiments; else half of the classes


def minority_classes(data: object, wanted: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """The rarest classes of the training part, the rarest first; of equally rare ones the lower number first.

    A class without any training pixel is not among them: nothing is known of it.

    Args:
        data: a `Dataset`, `Batches` of one, or any iterable of training batches, whose own pixels are counted.
        wanted: how many, or the class numbers themselves (checked, and put in order); None: 5 for CamVid, 10 for
            Cityscapes, else half of the classes.

    Raises:
        RspruneError: there are not so many classes, or there is no such class.

    Example:
        >>> [data.classes[number] for number in minority_classes(load_data("camvid"))]
        ['Bicyclist', 'Pedestrian', 'Pole', 'Fence', 'SignSymbol']
    """
    pixels = training_pixels(data)
    rarest = [int(number) for number in np.argsort(pixels, kind="stable") if pixels[number]]
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if strange := sorted(set(wanted) - set(rarest), key=str):
            raise RspruneError(
                f"The minority classes {strange} are not among those with training pixels, {sorted(rarest)}."
            )
        return tuple(number for number in rarest if number in set(wanted))
    if wanted is None:
        name = str(getattr(getattr(data, "data", data), "name", "")).split("-")[0]
        wanted = max(1, _USUAL.get(name, len(pixels) // 2))
    if isinstance(wanted, bool) or not isinstance(wanted, int | np.integer) or not 1 <= wanted <= len(pixels):
        raise RspruneError(
            f"Got {wanted!r} minority classes; expected a whole number from 1 to {len(pixels)}, or a list of class "
            "numbers."
        )
    return tuple(rarest[:wanted])


def training_pixels(data: object) -> np.ndarray:
    """(K,) int64 training pixels of each class; images where they have one class each.

    Args:
        data: a `Dataset`, `Batches` of one, or any iterable of training batches.
    """
    source = getattr(data, "data", data)
    if not hasattr(source, "split"):
        return _counted(targets for _, targets in data)
    if source.masks is not None:
        return source.class_pixels("train")
    return np.bincount(source.labels[source.part("train")], minlength=source.num_classes)


def strata(counts: np.ndarray, sources: Sequence[int] | None = None) -> np.ndarray:
    """What a split of masks is stratified by: the rarest class that an image (or a source of windows) holds.

    Classes that are the rarest of fewer than `FEWEST` images share a stratum with the largest.

    Args:
        counts: (N, K) pixels of each class in each mask.
        sources: N numbers of the sources that windows were cut from; None: each is one.

    Returns:
        (N,) int64 numbers from 0.
    """
    _, unit = np.unique(np.arange(len(counts)) if sources is None else np.asarray(sources), return_inverse=True)
    held = np.zeros((unit.max() + 1, counts.shape[1]), np.int64)
    np.add.at(held, unit, counts)
    order = np.argsort(counts.sum(0), kind="stable")
    rarest = order[(held[:, order] > 0).argmax(1)]
    sizes = np.bincount(rarest, minlength=counts.shape[1])
    rarest = np.where(sizes[rarest] < FEWEST, sizes.argmax(), rarest)
    return np.unique(rarest, return_inverse=True)[1][unit].astype(np.int64)


def _counted(targets: Iterable[torch.Tensor]) -> np.ndarray:
    known = [target[target >= 0].flatten().cpu() for target in targets]
    return torch.bincount(torch.cat(known)).numpy()
