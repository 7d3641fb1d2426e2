"""Scores: one number a channel, from one criterion; the higher, the longer it stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
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
            PlanError: they are those of another network, or one is not finite.
        """
        if name not in self.values:
            raise PlanError(f"The {self.criterion!r} scores have none for {name!r}; score these groups first.")
        values = torch.as_tensor(self.values[name]).detach().double().cpu().numpy()
        if values.shape != (size,):
            raise PlanError(
                f"The {self.criterion!r} scores of {name!r} have shape {values.shape}, but its {size} channels need "
                "one each; score the groups of this network."
            )
        if bad := int((~np.isfinite(values)).sum()):
            raise PlanError(
                f"{bad} of the {size} {self.criterion!r} scores of {name!r} are not finite numbers; check the network "
                "for NaN weights, or take another criterion."
            )
        return values
