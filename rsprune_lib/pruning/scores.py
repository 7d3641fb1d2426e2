"""Scores: one number a channel, from one criterion; the higher, the longer it stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rsprune_lib.errors import PlanError

__all__ = ["Scores"]


@dataclass(frozen=True)
class Scores:
    """What one criterion says about every channel.

    Attributes:
        criterion: key of `rsprune_lib.pruning.CRITERIA`.
        values: group name -> (size,) float32 on the CPU, finite.
    """

    criterion: str
    values: dict[str, Tensor]

    def array(self, name: str, size: int) -> np.ndarray:
        """(size,) float64: the scores of a group of that size.

        Raises:
            PlanError: they are those of another network.
        """
        if name not in self.values or self.values[name].shape != (size,):
            raise PlanError(
                f"The {self.criterion!r} scores do not fit {name!r} with {size} channels; score these groups."
            )
        return self.values[name].double().numpy()
