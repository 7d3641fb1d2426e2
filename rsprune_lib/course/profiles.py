"""How much work a notebook does: ``smoke`` in seconds, ``quick`` on a laptop, ``full`` at the scale of the papers."""

import os
from dataclasses import dataclass

from rsprune_lib.data import Dataset
from rsprune_lib.errors import unknown

__all__ = ["PROFILES", "Profile", "equal_pixels", "profile"]


@dataclass(frozen=True)
class Profile:
    """Every number that decides how long a notebook takes; None means all there are.

    Attributes:
        name: ``"smoke"``, ``"quick"`` or ``"full"``.
        train_images: Images of a training run that a notebook shows (class-balanced).
        train_epochs: Its epochs.
        train_seconds: What training a network may take on images that no bundle was made for; None: those epochs.
        finetune_images: Images of a fine-tuning run.
        finetune_epochs: Its epochs.
        val_images: Validation images, e.g. after each epoch or for a slider.
        test_images: Test images of a results table (class-balanced).
        gate_images: Training images that attention gates are averaged over.
        calibration_images: Training images for recovery: BN statistics and closed form.
        score_images: Training images for criteria that look at data (Taylor, Hessian).
        sensitivity_images: Validation images of one point of a sensitivity scan.
        sensitivity_ratios: Ratios of a sensitivity scan.
        latency_repeats: Timed calls behind a median.
        seeds: Seeds of a comparison; a mean is claimed from three on.
        width: Width multiplier of networks that a notebook trains from scratch.
        cell_timeout: Seconds after which a cell counts as hung in a headless run.
    """

    name: str
    train_images: int | None
    train_epochs: int
    train_seconds: float | None
    finetune_images: int | None
    finetune_epochs: int
    val_images: int | None
    test_images: int | None
    gate_images: int | None
    calibration_images: int | None
    score_images: int | None
    sensitivity_images: int | None
    sensitivity_ratios: tuple[float, ...]
    latency_repeats: int
    seeds: tuple[int, ...]
    width: float
    cell_timeout: int | None


PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        "smoke", train_images=128, train_epochs=1, train_seconds=None,
        finetune_images=128, finetune_epochs=1, val_images=64,
        test_images=64, gate_images=64, calibration_images=64, score_images=32, sensitivity_images=32,
        sensitivity_ratios=(0.0, 0.7), latency_repeats=3, seeds=(0,), width=0.25, cell_timeout=300,
    ),
    "quick": Profile(
        "quick", train_images=1600, train_epochs=4, train_seconds=90,
        finetune_images=3200, finetune_epochs=3, val_images=500,
        test_images=2000, gate_images=2000, calibration_images=1024, score_images=256, sensitivity_images=128,
        sensitivity_ratios=(0.0, 0.3, 0.5, 0.7, 0.9), latency_repeats=30, seeds=(0,), width=0.5, cell_timeout=900,
    ),
    "full": Profile(
        "full", train_images=None, train_epochs=30, train_seconds=None,
        finetune_images=None, finetune_epochs=20, val_images=None,
        test_images=None, gate_images=None, calibration_images=4096, score_images=2048, sensitivity_images=1000,
        sensitivity_ratios=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), latency_repeats=100, seeds=(0, 1, 2),
        width=1.0, cell_timeout=None,
    ),
}  # fmt: skip


def profile(name: str | None = None) -> Profile:
    """Returns a profile by name; without one that of ``RSPRUNE_PROFILE``, else ``quick``.

    Raises:
        RspruneError: No profile has that name.

    Example:
        >>> profile("smoke").train_epochs
        1
    """
    name = name or os.environ.get("RSPRUNE_PROFILE") or "quick"
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]


def equal_pixels(images: int | None, data: Dataset) -> int | None:
    """How many images of a data set have as many pixels as that many of 64 x 64, at least four; None stays None.

    Profiles count such images. Where every pixel has an answer, the pixels decide about time and about what is learned.
    """
    height, width = data.images.shape[1:3]
    return None if images is None else max(4, images * 64 * 64 // (height * width))
