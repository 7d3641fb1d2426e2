"""Images that no bundle of the course was made for: a size and a training that fit a stated time.

The notebooks in profile ``quick`` are laid out for images of 64 x 64 pixels. What they take grows with the pixels: at
256 x 256 one notebook alone would take longer than the whole course should.
"""

import os
import time
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from rsprune_lib.course.profiles import Profile
from rsprune_lib.data import Dataset, load_data
from rsprune_lib.data.notes import tell
from rsprune_lib.errors import RspruneError
from rsprune_lib.models import create_model

__all__ = ["SIDES", "WorkingSize", "course_data", "course_minutes", "epochs_and_images", "step_seconds", "working_size"]

SIDES = (64, 80, 96, 128, 160, 192, 224, 256)  # pixels a side that the course works at
BATCH = 64
_STARTS = 70  # seconds of a course that no pixel is to blame for: kernels that start, imports, drawings
_STEPS = 4500  # training steps that take as long as the rest of the course in profile quick


@dataclass(frozen=True)
class WorkingSize:
    """How the course works on images of one's own.

    Attributes:
        side: pixels a side.
        minutes: that the course then takes, about; None where nothing was measured.
        words: the same in a sentence.
    """

    side: int
    minutes: float | None
    words: str


def step_seconds(side: int, width: float, tries: int = 3) -> float:
    """Seconds of one training step of SE-ResNet-18 on 64 drawn images, the least of some tries.

    Args:
        side: pixels a side.
        width: of the network.
        tries: after a first one that does not count.
    """
    model = create_model("resnet18_se", 10, width=width, seed=0).train()
    images, labels, took = torch.rand(BATCH, 3, side, side), torch.arange(BATCH) % 10, []
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(tries + 1):
        start = time.perf_counter()
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimiser.step()
        took.append(time.perf_counter() - start)
    return min(took[1:])


def course_minutes(side: int, step: float) -> float:
    """About how long the whole course in profile ``quick`` takes on images of this size.

    Args:
        side: pixels a side.
        step: `step_seconds` at 64 pixels on this machine; convolutions take as long as there are pixels.
    """
    return (_STARTS + _STEPS * step * (side / SIDES[0]) ** 2) / 60


def working_size(data: Dataset, choice: Profile, minutes: float, side: int | None = None) -> WorkingSize | None:
    """The size at which the course on these images takes about so long on this machine.

    Args:
        data: a folder or set whose images are larger than 64 pixels a side; none is planned for masks, or for ``full``.
        choice: the profile.
        minutes: that the whole course may take.
        side: this size in place of the one that fits.

    Returns:
        The plan; None where the images stay as they are.

    Raises:
        RspruneError: there is no such size of these images.
    """
    native = min(data.images.shape[1:3])
    if side and (data.masks is not None or side > native):
        why = "have masks, which keep their size" if data.masks is not None else f"have {native} pixels a side"
        raise RspruneError(
            f"Got --size {side}, but the images of {data.title} {why}; leave --size out or make it smaller."
        )
    if data.masks is not None or (side is None and (choice.name == "full" or native <= SIDES[0])):
        return None
    if choice.name != "quick":
        return WorkingSize(side or SIDES[0], None, f"Working at {side or SIDES[0]} px (profile {choice.name}).")
    step = step_seconds(SIDES[0], choice.width)
    fits = [one for one in SIDES if one <= native and course_minutes(one, step) <= minutes]
    chosen = side or max(fits, default=SIDES[0])
    took, images = course_minutes(chosen, step), min(choice.train_images, len(data.part("train")))
    words = (
        f"Working at {chosen} px on {images:,} training images at a time, so that the course takes about {took:.0f} "
    )
    words += "minutes on this machine; --minutes, --size and --profile full change that."
    return WorkingSize(chosen, took, words)


def course_data(name: str, choice: Profile) -> Dataset:
    """Loads the data of a notebook: large images at the size that the run was given, else at 64 pixels a side.

    Args:
        name: of a data set, or a folder, see `load_data`.
        choice: the profile; ``full`` leaves images as they are.

    Raises:
        RspruneError: ``RSPRUNE_SIZE``, which ``rsprune run --size`` sets, is no number of pixels.
    """
    if wanted := os.environ.get("RSPRUNE_SIZE", ""):
        if not (wanted.isdigit() and 8 <= int(wanted) <= 4096):
            raise RspruneError(f"Got RSPRUNE_SIZE={wanted!r:.40}; expected pixels a side, from 8 to 4096.")
        return load_data(name, image_size=int(wanted))
    data = load_data(name)
    if data.masks is not None or choice.name == "full" or min(data.images.shape[1:3]) <= SIDES[0]:
        return data
    tell(
        data.name,
        [f"the course works at {SIDES[0]} pixels a side; RSPRUNE_SIZE=128, or the profile full, changes that"],
    )
    return load_data(name, image_size=SIDES[0])


def epochs_and_images(data: Dataset, choice: Profile, seconds: float | None) -> tuple[int, int | None]:
    """Epochs, and images of an epoch, of a training that takes about so long on this machine.

    Args:
        data: what is trained on.
        choice: the profile; its epochs and images are the least.
        seconds: None takes those of the profile.
    """
    if seconds is None:
        return choice.train_epochs, choice.train_images
    every, least = len(data.part("train")), choice.train_images
    seen = int(BATCH * seconds / step_seconds(min(data.images.shape[1:3]), choice.width))
    images = min(every, max(least, seen // 12))
    return max(choice.train_epochs, min(60, seen // images)), images
