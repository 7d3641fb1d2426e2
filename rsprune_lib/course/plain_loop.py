"""The plain training loop that the course starts from, and a clock for it: what does each refinement bring?"""

import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.data import Dataset
from rsprune_lib.errors import RspruneError

__all__ = ["PlainFolder", "images_per_second"]


class PlainFolder(torch.utils.data.Dataset):
    """Images as a tutorial reads them: opened, decoded and normalised one by one, each time they are wanted.

    Args:
        data: Where the pixels come from; they are written as JPEG first.
        folder: Where the files go.
        indices: Which images of the data set.
    """

    def __init__(self, data: Dataset, folder: str | Path, indices: Iterable[int]) -> None:
        self.data, self.files = data, []
        for index in indices:
            path = Path(folder) / f"{index}.jpg"
            Image.fromarray(data.images[index]).save(path, quality=95)
            self.files.append((path, int(data.labels[index])))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        path, label = self.files[number]
        pixels = (np.asarray(Image.open(path)) / 255 - self.data.mean) / self.data.std  # (H, W, 3) float64
        return torch.tensor(pixels.transpose(2, 0, 1), dtype=torch.float32), label


def images_per_second(
    network: nn.Module,
    stream: Iterable[tuple[Tensor, Tensor]],
    *,
    layout: torch.memory_format = torch.contiguous_format,
    half: bool = False,
) -> float:
    """Trains for a few steps on the CPU and times them, the wait for each batch included.

    The fastest step counts: whatever else runs on the machine can only make a step slower.

    Args:
        network: Is trained as it stands; give a fresh one.
        stream: (images, labels) batches, all of one size.
        layout: Memory layout of weights and images.
        half: Compute in bfloat16 where that is safe.

    Returns:
        Images a second.

    Raises:
        RspruneError: The stream holds no batch.
    """
    network = network.to(memory_format=layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    shortest, count, start = math.inf, 0, time.perf_counter()
    for images, labels in stream:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = F.cross_entropy(network(images.contiguous(memory_format=layout)), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        count, end = len(labels), time.perf_counter()
        shortest, start = min(shortest, end - start), end
    if not count:
        raise RspruneError("Got no batch to time; give a stream of at least one.")
    return count / shortest
