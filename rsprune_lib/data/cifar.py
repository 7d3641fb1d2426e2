"""CIFAR-10 without pickle: from `cifar10.npz` or from the publisher's binary version."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rsprune_lib.data.archives import BROKEN, read_members
from rsprune_lib.data.decode import resize
from rsprune_lib.errors import DataError

__all__ = ["read_cifar", "resized"]

BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
RECORDS, TRAIN, TEST = 10_000, 50_000, 10_000
MAX_NPZ = 1 << 30  # bytes unpacked; the real arrays have 184 MB


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read all 60,000 images in the canonical order: 50,000 for training, then 10,000 for test.

    Args:
        path: ``cifar10.npz`` with the arrays x_train, y_train, x_test, y_test, or ``cifar-10-binary.tar.gz``.

    Returns:
        images (60000, 32, 32, 3) uint8 RGB and labels (60000,) uint8.

    Raises:
        DataError: if the file does not hold exactly that.
    """
    images, labels = _from_npz(path) if path.suffix == ".npz" else _from_binary(path)
    shapes = images.shape, labels.shape
    if shapes != ((TRAIN + TEST, 32, 32, 3), (TRAIN + TEST,)) or images.dtype != np.uint8 or labels.max() > 9:
        raise DataError(
            f"{path} does not hold CIFAR-10 (found images {images.shape} {images.dtype}); take the original."
        )
    return images, labels.astype(np.uint8)


def resized(images: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (row, (size, size, 3) uint8)."""
    for row, image in enumerate(images):
        yield row, resize(image, size)


def _from_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_NPZ:
                raise DataError(f"{path} would unpack to more than {MAX_NPZ >> 30} GB; do not use this file.")
        with np.load(path, allow_pickle=False) as arrays:
            images = np.concatenate([arrays["x_train"], arrays["x_test"]])
            labels = np.concatenate([arrays["y_train"].ravel(), arrays["y_test"].ravel()])
    except (*BROKEN, KeyError) as error:
        raise DataError(f"{path} cannot be read as CIFAR-10 arrays ({error}); fetch it again.") from error
    return images, labels


def _from_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records of 1 label and 3072 pixel bytes, channel by channel."""
    batches = {Path(name).name: content for name, content in read_members(path, (".bin",))}
    wrong = [name for name in BATCHES if len(batches.get(name, b"")) != RECORDS * 3073]
    if wrong:
        raise DataError(f"{path} lacks the whole batch {wrong[0]} of CIFAR-10's binary version; fetch it again.")
    records = np.concatenate([np.frombuffer(batches[name], np.uint8).reshape(RECORDS, 3073) for name in BATCHES])
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
