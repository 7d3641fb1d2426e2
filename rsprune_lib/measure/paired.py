"""Two classifiers on the same images: is the better one better, or was it luck of the draw?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from rsprune_lib.errors import ModelError

__all__ = ["Paired", "compare"]


@dataclass(frozen=True)
class Paired:
    """Where two classifiers differ on the same images.

    Attributes:
        gained: images that only the second answers right.
        lost: images that only the first answers right.
        p_value: of the exact McNemar test: how often two equally good classifiers would split so unevenly. It knows
            about these images only, not about another training seed.
    """

    gained: int
    lost: int
    p_value: float


def compare(first: Tensor, second: Tensor, labels: Tensor) -> Paired:
    """Compares two classifiers image by image (McNemar 1947, https://doi.org/10.1007/BF02295996, exact form).

    Images that both answer right, or both wrong, say nothing about which is better; of the others, each would go either
    way with equal chance if the classifiers were equally good.

    Args:
        first: (N, K) logits.
        second: (N, K) logits of the same images.
        labels: (N,) true classes.

    Raises:
        ModelError: the shapes do not belong together.

    Example:
        >>> one, other = torch.eye(2), torch.eye(2).flip(0)
        >>> compare(one, other, torch.tensor([0, 1]))
        Paired(gained=0, lost=2, p_value=0.5)
    """
    if first.shape != second.shape or labels.shape != first.shape[:1]:
        raise ModelError(
            f"Got logits of shapes {tuple(first.shape)} and {tuple(second.shape)} for {len(labels)} labels; give both "
            "networks the same images."
        )
    one, other = first.argmax(1) == labels, second.argmax(1) == labels
    gained, lost = int((other & ~one).sum()), int((one & ~other).sum())
    n, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n  # an integer over an integer: no overflow
    return Paired(gained, lost, min(1.0, 2 * tail))
