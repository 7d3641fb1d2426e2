"""How distinct the scores of channels are, and whether two scores agree on who goes."""

from __future__ import annotations

import torch
from torch import Tensor

from rsprune_lib.errors import RspruneError

__all__ = ["gini", "kept_overlap", "rank_correlation", "variation"]


def gini(values: Tensor) -> float:
    """Gini coefficient: 0 where all are equal, near 1 where few have all.

    It is half the mean absolute difference of two values, in units of the mean, which for values in ascending order is
    sum_i (2 i - n - 1) x_i / (n sum x).

    Args:
        values: (n,) at least 0, not all 0.
    """
    ordered = _vector(values).sort().values
    if ordered[0] < 0 or ordered[-1] == 0:
        raise RspruneError("A Gini coefficient needs values of at least 0 that are not all 0; take magnitudes.")
    n = len(ordered)
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return ((weight * ordered).sum() / (n * ordered.sum())).item()


def variation(values: Tensor) -> float:
    """Coefficient of variation: standard deviation (of the population) divided by the mean of (n,) values."""
    values = _vector(values)
    return (values.std(correction=0) / values.mean()).item()


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation of two (n,) vectors: 1 for the same order, −1 for the reverse; ties share ranks."""
    from torchmetrics.functional import spearman_corrcoef  # a second to import: only who needs it waits

    return spearman_corrcoef(_vector(one), _vector(other)).item()


def kept_overlap(one: Tensor, other: Tensor, ratio: float) -> float:
    """Share in [0, 1] of the kept channels that two scores agree on when each removes ``ratio`` of n channels.

    Two unrelated scores agree on a share of about ``1 - ratio``.

    Args:
        one: (n,) scores, higher stays; of equal ones the lower index stays.
        other: (n,) scores.
        ratio: share of the channels to remove, in [0, 1).
    """
    stay = max(1, int(len(one) * (1 - ratio) + 1e-9))
    kept = [set(_vector(v).argsort(descending=True, stable=True)[:stay].tolist()) for v in (one, other)]
    return len(kept[0] & kept[1]) / stay


def _vector(values: Tensor) -> Tensor:
    values = torch.as_tensor(values).detach().double().flatten()
    if len(values) < 2 or not values.isfinite().all():
        raise RspruneError(f"Got {len(values)} scores; expected at least 2, all of them finite numbers.")
    return values
