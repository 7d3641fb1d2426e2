"""Scores: one number a channel, from one criterion; the higher, the longer it stays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError, PlanError, RspruneError, unknown
from rsprune_lib.pruning.criteria import gradients, weights
from rsprune_lib.pruning.criteria.gates import Gates, gate_statistics, gated_norms
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.similarity.hashes import Similarity, redundancy, similarity

__all__ = ["CRITERIA", "Criterion", "Scores", "check_criterion", "score"]

Batched = Iterable[tuple[Tensor, Tensor]]
Values = dict[str, Tensor]


@dataclass(frozen=True)
class Scores:
    """What one criterion says about every channel.

    Attributes:
        criterion: key of `CRITERIA`.
        values: group name -> (size,) float32 on the CPU, finite.
    """

    criterion: str
    values: Values

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


@dataclass(frozen=True)
class Criterion:
    """One way to judge channels.

    Attributes:
        summary: what it looks at, in one line.
        needs_data: whether it cannot do without training images.
        run: from a case (network, groups, data ...) and keyword-only options to values.
    """

    summary: str
    needs_data: bool
    run: Callable[..., Values]


@dataclass(frozen=True)
class _Case:
    """What a criterion may look at."""

    model: nn.Module
    groups: list[Group]
    data: Batched | None
    gates: Gates | None
    seed: int
    progress: bool


def _attention(case: _Case, *, mode: str = "drop") -> Values:
    if mode not in weights.ATTENTION_MODES:
        raise unknown("attention mode", mode, weights.ATTENTION_MODES)
    if not gated_norms(case.model):
        raise ModelError(
            "Criterion 'attention' needs the network with its live SE blocks, before they are folded; give that one, "
            "or use bn_scale."
        )
    if case.gates is None and case.data is None:
        raise RspruneError("Criterion 'attention' needs gate statistics; give gates=, or data= to collect them from.")
    gates = case.gates or gate_statistics(case.model, case.data, case.progress)
    return {g.name: weights.attention(case.model, g, gates=gates, mode=mode) for g in case.groups}


def _weights(function: Callable[..., Tensor], **fixed: int) -> Callable[..., Values]:
    """Makes a criterion of a function of one group."""
    return lambda case: {group.name: function(case.model, group, **fixed) for group in case.groups}


def _magnitude(p: int) -> Callable[..., Values]:
    def run(case: _Case, *, consumers: bool = True) -> Values:
        return {g.name: weights.magnitude(case.model, g, p=p, consumers=consumers) for g in case.groups}

    return run


def _similarity(
    case: _Case, *, rank: str | None = None, makers: str = "root", similar: Similarity | None = None
) -> Values:
    if rank == "similarity":
        raise RspruneError("The rank of criterion 'similarity' must be another criterion, such as l1 or attention.")
    given = {"data": case.data, "gates": case.gates, "seed": case.seed, "progress": case.progress}
    found = similar or similarity(case.model, case.groups, case.data, makers=makers, progress=case.progress)
    own = score(case.model, case.groups, rank, **given).values if rank is not None else None
    values = redundancy(found, case.groups, own)
    if found.blind:  # nobody is known to be like them, so they go last, the weaker ones first
        other = own or score(case.model, case.groups, "l1").values
        values |= {name: 0.9 + 0.1 * other[name] / other[name].abs().amax().clamp_min(1e-30) for name in found.blind}
    return values


def _random(case: _Case) -> Values:
    def draw(group: Group) -> Tensor:  # a stream of its own, so that a group's scores do not depend on the others
        generator = torch.Generator().manual_seed(crc32(f"{case.seed}/{group.name}".encode()))
        return torch.rand(group.size, generator=generator)

    return {group.name: draw(group) for group in case.groups}


CRITERIA: dict[str, Criterion] = {
    "attention": Criterion(
        "how far its SE gate is open on average, times its batch-norm scale |γ| (CAP)", False, _attention
    ),
    "l1": Criterion("sum of |weights| that make and read the channel", False, _magnitude(1)),
    "l2": Criterion("sum of squared weights that make and read the channel", False, _magnitude(2)),
    "bn_scale": Criterion("its batch-norm scale |γ| (network slimming)", False, _weights(weights.bn_scale)),
    "fpgm": Criterion("distance of its filter from all others (geometric median)", False, _weights(weights.fpgm)),
    "lamp": Criterion(
        "its squared weights as a share of those of all that score higher", False, _weights(weights.lamp)
    ),
    "taylor": Criterion(
        "how much the loss would change without it, to first order",
        True,
        lambda c: gradients.taylor(c.model, c.groups, c.data, c.progress),
    ),
    "hessian": Criterion(
        "how much the loss would change without it, to second order",
        True,
        lambda c: gradients.hessian(c.model, c.groups, c.data, c.progress),
    ),
    "similarity": Criterion("how unlike its feature maps are to those of a better channel", True, _similarity),
    "random": Criterion("by chance: the baseline", False, _random),
}


def check_criterion(criterion: str, options: Iterable[str] = ()) -> Criterion:
    """Returns the criterion of a name if it has the named options.

    Raises:
        RspruneError: the criterion or an option is unknown.
    """
    if criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA)
    chosen = CRITERIA[criterion]
    known = [p.name for p in inspect.signature(chosen.run).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown(f"option of criterion {criterion}", option, known)
    return chosen


def score(
    model: nn.Module,
    groups: Iterable[Group],
    criterion: str,
    *,
    data: Batched | None = None,
    gates: Gates | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,  # noqa: ANN401 - the criterion checks them
) -> Scores:
    """Scores every channel of every group by one criterion. Deterministic; the network is not changed.

    Args:
        model: the network as trained (SE blocks live), or a plain one.
        groups: `find_groups` of it.
        criterion: key of `CRITERIA`.
        data: training batches; needed by taylor, hessian and similarity, and by attention if there are no ``gates``.
        gates: `gate_statistics` of the network, for attention.
        seed: for random.
        progress: show a bar where images are looked at.
        **options: of the criterion: ``mode="drop" | "normalise" | "paper"`` for attention (what becomes of a shortcut's
            batch norm, which has no gate), ``consumers=False`` for l1 and l2 (score the making filters alone),
            ``rank="l1"`` (which of two alike channels is the better one), ``makers="all"`` and ``similar=``
            (similarities that are known already) for similarity. Its layers without feature maps go last, in the order
            of the rank, or of l1.

    Raises:
        RspruneError: the criterion or an option is unknown, lacks its data, or gives a score that is not finite.

    Example:
        >>> score(model, groups, "taylor", data=Batches(data, "train", limit=1024)).values["conv1"].shape
        torch.Size([64])
    """
    chosen = check_criterion(criterion, options)
    if chosen.needs_data and data is None:
        raise RspruneError(f"Criterion {criterion!r} looks at images, so it needs training images; give data=.")
    values = chosen.run(_Case(model, list(groups), data, gates, seed, progress), **options)
    for name, vector in values.items():
        if bad := int((~vector.isfinite()).sum()):
            raise RspruneError(
                f"Criterion {criterion!r} gave {bad} scores that are not finite numbers in {name!r}; check the network "
                "and the images for NaN."
            )
    return Scores(criterion, {name: vector.detach().float().cpu() for name, vector in values.items()})
