"""Two networks on the same images: is the better one better, or was it luck of the draw?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from rsprune_lib.errors import ModelError
from rsprune_lib.tasks import Task, get_task

__all__ = ["Paired", "compare"]


@dataclass(frozen=True)
class Paired:
    """Where two networks differ on the same images.

    Attributes:
        gained: images that the second does better: of a classifier, that only the second answers right.
        lost: images that the first does better.
        p_value: of the exact sign test: how often two equally good networks would split so unevenly. It knows
            about these images only, not about another training seed.
    """

    gained: int
    lost: int
    p_value: float


def compare(first: Tensor, second: Tensor, labels: Tensor, task: Task | str = "classification") -> Paired:
    """Compares two networks image by image with the exact sign test.

    For classifiers this is McNemar's test (1947, https://doi.org/10.1007/BF02295996, exact form): images that both
    answer right, or both wrong, say nothing about which is better; of the others, each would go either way with equal
    chance if the networks were equally good.

    Args:
        first: (N, ...) records as `rsprune_lib.measure.predict` returns them: logits (N, K) of a classifier.
        second: records of the other network for the same images.
        labels: (N,) true classes.
        task: a `rsprune_lib.tasks.Task` or its name.

    Raises:
        ModelError: the shapes do not belong together.

    Example:
        >>> one, other = torch.eye(2), torch.eye(2).flip(0)
        >>> compare(one, other, torch.tensor([0, 1]))
        Paired(gained=0, lost=2, p_value=0.5)
    """
    if first.shape != second.shape or labels.shape != first.shape[:1]:
        raise ModelError(
            f"Got outputs of shapes {tuple(first.shape)} and {tuple(second.shape)} for {len(labels)} labels; give both "
            "networks the same images."
        )
    task = get_task(task) if isinstance(task, str) else task
    one, other = task.scores(first, labels), task.scores(second, labels)
    gained, lost = int((other > one).sum()), int((one > other).sum())
    n, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n  # an integer over an integer: no overflow
    return Paired(gained, lost, min(1.0, 2 * tail))
