"""Recoveries by name, one entry each: what is done to a network after the cut, without labels and without training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from rsprune_lib.entries import Entry
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.recovery.sequential import MEMORY, RIDGE, STEPS, reestimate_bn, sequential

__all__ = ["RECOVERIES", "Repair"]


@dataclass(frozen=True)
class Repair:
    """What a recovery works on; it returns the repaired network, ``small`` itself or another.

    Attributes:
        dense: the trained network, with live SE blocks if it has them; left untouched.
        small: the pruned one, gates folded in.
        plan: what it was pruned with.
        groups: groups of the plain network.
        batches: training images.
        progress: show bars.
    """

    dense: nn.Module
    small: nn.Module
    plan: Plan
    groups: Sequence[Group]
    batches: Iterable[tuple[Tensor, Tensor]]
    progress: bool = True


def _nothing(case: Repair) -> nn.Module:
    return case.small


def _norms(case: Repair) -> nn.Module:
    return reestimate_bn(case.small, case.batches, case.progress)


def _closed_form(
    case: Repair, *, positions: str = "balanced", ridge: float = RIDGE, rectify: int = STEPS, memory: float = MEMORY
) -> nn.Module:
    how = {"groups": case.groups, "positions": positions, "ridge": ridge, "rectify": rectify, "memory": memory}
    return sequential(case.dense, case.small, case.plan, case.batches, progress=case.progress, **how)


RECOVERIES: dict[str, Entry] = {
    "none": Entry("raw cut", "nothing", _nothing),
    "bn": Entry("BN re-estimation", "statistics of the batch norms anew", _norms, ("images",)),
    "closed_form": Entry(
        "closed form, layer by layer", "every layer refitted to what the dense one sends on", _closed_form, ("images",)
    ),
}
