"""Similarity of all filters of VGG-16 over 50 images: one product a layer against the plain pairwise loop.

The plain loop takes two maps at a time and hashes both, as the published reference does; it is timed on some pairs of
every layer and scaled to all. Both see the same maps: the forward pass is in neither time. Memory is what a process of
its own grows by while it compares the maps of 100 images, at most 512 filters a layer, beside the forward passes alone.
``make bench`` takes the rows; alone it prints them.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import psutil
import torch
from rows import row, table
from scipy.fft import dct

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.models import create_model, hooked
from rsprune_lib.pruning import find_groups, perceptual_hash, similarity

IMAGES, PAIRS, BUDGET = 50, 12, 1000.0
MANY, MEGABYTES = 100, 1000.0  # images and budget of the memory


def similarity_rows(data: Dataset) -> Iterator[dict]:
    """One row for the hashes and their comparison, one for all of `similarity` with its forward passes."""
    model = create_model("vgg16_cifar", 10, seed=0).eval()
    groups = find_groups(model, 32)
    shrink = max(1, data.image_size // 32)
    images = torch.cat([x for x, _ in Batches(data, "train", IMAGES, limit=IMAGES).epoch(0, shrink)])
    maps = {}
    hooks = [
        (model.get_submodule(group.name), lambda _m, _x, y, name=group.name: maps.__setitem__(name, y.clone()))
        for group in groups
        if group.name.startswith("conv")
    ]
    with torch.no_grad(), hooked(hooks):
        model(images)
    start = time.perf_counter()
    for value in maps.values():
        signs = perceptual_hash(value).transpose(0, 1).flatten(1).float() * 2 - 1
        _ = (1 + signs @ signs.T / signs.shape[1]) / 2
    ours = time.perf_counter() - start
    start = time.perf_counter()
    similarity(model, groups, [(images, torch.zeros(IMAGES).long())], progress=False)
    whole = time.perf_counter() - start
    plain = sum(_plain_seconds(value.double().numpy()) for value in maps.values())
    against = f"pairwise loop, hashing both maps for every pair ({PAIRS} pairs a layer, scaled)"
    yield row(f"similarity of all filters of VGG-16, {IMAGES} images, s", ours, plain, against, plain / ours, BUDGET)
    yield row("the same with the forward passes, s", whole, plain, against, plain / whole, None)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        alone, compared = pool.submit(_growth).result()
    name = f"memory of the similarities of VGG-16, {MANY} images, MB"
    yield row(name, compared, alone, "the forward passes alone", alone / compared, MEGABYTES)


def _growth() -> tuple[float, float]:
    """Megabytes that the process grows by at most: in the forward passes alone, and when all maps are compared."""
    model = create_model("vgg16_cifar", 10, seed=0).eval()
    groups = find_groups(model, 32)
    random = torch.Generator().manual_seed(0)
    images = torch.randn(MANY, 3, 32, 32, generator=random).split(IMAGES)
    batches = [(x, torch.zeros(len(x)).long()) for x in images]

    @torch.no_grad()
    def forward() -> None:
        for x in images:
            model(x)

    similarity(model, groups[:1], [(images[0][:2], torch.zeros(2).long())], progress=False)  # loads what is loaded once
    return _peak(forward), _peak(lambda: similarity(model, groups, batches, progress=False))


def _peak(work: Callable[[], object]) -> float:
    """Megabytes above those at the start, looked at every millisecond."""
    process, done = psutil.Process(), threading.Event()
    start = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return (max(peak, process.memory_info().rss) - start) / 2**20


def _plain_seconds(maps: np.ndarray) -> float:
    """Seconds of the plain loop for one layer, from some of its pairs; maps (N, C, H, W)."""
    count, channels = maps.shape[:2]
    pick = random.Random(0)
    start = time.perf_counter()
    for _ in range(PAIRS):
        one, other = pick.randrange(channels), pick.randrange(channels)
        for image in range(count):
            np.mean(_hash(maps[image, one]) == _hash(maps[image, other]))
    return (time.perf_counter() - start) / PAIRS * channels * (channels - 1) / 2


def _hash(image: np.ndarray) -> np.ndarray:
    low = dct(dct(image, type=2, axis=0), type=2, axis=1)[:8, :8]
    return (low >= low.mean()).ravel()


if __name__ == "__main__":
    from rsprune_lib.data import load_data

    print(table(list(similarity_rows(load_data("auto")))))
