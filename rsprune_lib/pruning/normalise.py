"""Putting the scores of different layers on one scale, before channels of different layers compete."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsprune_lib.errors import unknown
from rsprune_lib.pruning.criteria.registry import scale_of
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.scores import Scores

__all__ = ["NORMALISE", "normalised"]

NORMALISE = ("none", "mean", "max", "standard")


def normalised(scores: Scores, groups: Sequence[Group], how: str | None = None) -> dict[str, np.ndarray]:
    """Scores on the scale on which `choose` compares them; thresholds count on this scale.

    The order of the channels within a layer never changes.

    Args:
        scores: one vector a group.
        groups: the groups, in the order of the result.
        how: ``"none"``, ``"mean"`` (divide each layer by its mean magnitude), ``"max"`` (by its largest magnitude),
            ``"standard"`` (subtract the layer's mean, divide by its deviation); None takes the criterion's own, see
            `scale_of`. A layer whose divisor is 0 is not divided.

    Returns:
        Group name -> (size,) float64.

    Raises:
        PlanError: a group has no scores, the wrong number of them, or one that is not finite.
        RspruneError: ``how`` is unknown.
    """
    how = scale_of(scores.criterion) if how is None else how
    if how not in NORMALISE:
        raise unknown("normalisation", how, NORMALISE)
    return {group.name: _scaled(scores.array(group.name, group.size), how) for group in groups}


def _scaled(values: np.ndarray, how: str) -> np.ndarray:
    if how == "standard":
        values = values - values.mean()
    divisor = {
        "none": 1.0,
        "mean": np.abs(values).mean(),
        "max": np.abs(values).max(),
        "standard": np.sqrt((values**2).mean()),
    }[how]
    return values / divisor if divisor > 0 else values
