"""What scoring by classes costs, in epochs of training over the same images (the reference takes one pass a class)."""

import dataclasses
import statistics
import time
from collections.abc import Iterator

import numpy as np
from rows import row

from rsprune_lib.data import Batches, Dataset, load_data
from rsprune_lib.models import create_model
from rsprune_lib.pruning import class_scores, find_groups
from rsprune_lib.tasks import TASKS
from rsprune_lib.training import fit, recipe

CLASSES, SIZE, IMAGES = 11, (96, 128), 48


def patchwork(count: int = IMAGES) -> Dataset:
    """Images that all show every one of eleven classes, the worst case: squares of 16 pixels, noise on top."""
    plain, random = load_data("synthetic"), np.random.default_rng(0)
    tiles = np.stack([random.permutation(48).reshape(6, 8) % CLASSES for _ in range(count)])
    masks = tiles.repeat(16, 1).repeat(16, 2).astype(np.uint8)
    images = (random.integers(0, 256, (CLASSES, 3))[masks] + random.normal(0, 30, (*masks.shape, 3))).clip(0, 255)
    parts = np.split(np.arange(count), [count - 8, count - 4])
    return dataclasses.replace(
        plain, name="patchwork", title="patchwork (synthetic)", images=images.astype(np.uint8), masks=masks,
        labels=masks[:, 0, 0].astype(np.int64), classes=tuple(f"class {n}" for n in range(CLASSES)),
        split=dataclasses.replace(plain.split, **dict(zip(("train", "val", "test"), parts, strict=True))),
        palette=None, task=TASKS["segmentation"],
    )  # fmt: skip


def class_rows(repeats: int = 3) -> Iterator[dict]:
    """Measures scores by classes and epochs of `fit` in turn."""
    data, model = patchwork(), create_model("unet1", CLASSES, width=0.25, seed=0)
    groups, run = find_groups(model, SIZE), recipe("strong", epochs=1, batch_size=8, half_size=0.0)
    epochs: list[float] = []
    scored: dict[int | None, list[float]] = {5: [], None: []}
    for _ in range(repeats):
        epochs.append(fit(model, data, run, progress=False).history[0]["seconds"])
        for per_image, times in scored.items():
            start = time.perf_counter()
            class_scores(model, groups, Batches(data, "train", 8), per_image=per_image, progress=False)
            times.append(time.perf_counter() - start)
    plain = statistics.median(epochs)
    for per_image, times in scored.items():
        what = f"five of {CLASSES} classes an image" if per_image else f"all {CLASSES} classes of every image"
        took = statistics.median(times) / plain
        yield row(
            f"class-wise scores, {what}, epochs", took, 1.0, "an epoch of training", None, 3 if per_image else None
        )
