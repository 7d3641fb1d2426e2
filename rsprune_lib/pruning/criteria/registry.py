"""Criteria: what a channel is worth, one entry each. A new one is a function in a file here, and one entry below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from rsprune_lib.entries import Entry, find
from rsprune_lib.errors import ModelError, RspruneError, unknown
from rsprune_lib.pruning.criteria import gradients, weights
from rsprune_lib.pruning.criteria.classes import channel_scores, voters
from rsprune_lib.pruning.criteria.gates import Gates, gate_statistics, gated_norms
from rsprune_lib.pruning.criteria.reconstruction import reconstruction
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.scores import Scores
from rsprune_lib.pruning.similarity.hashes import Similarity, redundancy, similarity

__all__ = ["CRITERIA", "Case", "Criterion", "scale_of", "score", "usual_criterion"]

Batched = Iterable[tuple[Tensor, Tensor]]
Values = dict[str, Tensor]


@dataclass(frozen=True)
class Criterion(Entry):
    """One way to judge channels: ``run`` goes from a `Case` to one vector for each group.

    Attributes:
        scale: how scores of different groups are put on one scale where nothing else is asked for, see `normalised`.
            Weight norms and distances grow with the number of weights a filter has and shrink with its layer's initial
            scale, so they mean something only relative to their layer: divide by the layer's mean. gamma and gate *
            gamma multiply activations that batch norm has put on one scale, Taylor and Hessian estimate one and the
            same loss, LAMP is normalised by its definition, similarity is a share of bits, random is uniform in every
            layer: dividing these would throw away what they know about whole layers.
    """

    scale: str = "mean"


@dataclass(frozen=True)
class Case:
    """What a criterion may look at."""

    model: nn.Module
    groups: list[Group]
    data: Batched | None
    gates: Gates | None
    seed: int
    progress: bool


def _attention(case: Case, *, mode: str = "drop") -> Values:
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
    def run(case: Case, *, consumers: bool = True) -> Values:
        return {g.name: weights.magnitude(case.model, g, p=p, consumers=consumers) for g in case.groups}

    return run


def _turns_of_neighbours(case: Case, *, k: int = 2) -> Values:
    return {group.name: weights.tmm(case.model, group, k=k) for group in case.groups}


def _similarity(
    case: Case,
    *,
    rank: str | None = None,
    makers: str = "root",
    mean_term: bool = True,
    similar: Similarity | None = None,
) -> Values:
    if rank == "similarity":
        raise RspruneError("The rank of criterion 'similarity' must be another criterion, such as l1 or attention.")
    given = {"data": case.data, "gates": case.gates, "seed": case.seed, "progress": case.progress}
    found = similar or similarity(
        case.model, case.groups, case.data, makers=makers, mean_term=mean_term, progress=case.progress
    )
    own = score(case.model, case.groups, rank, **given).values if rank is not None else None
    values = redundancy(found, case.groups, own)
    if found.blind:  # nobody is known to be like them, so they go last, the weaker ones first
        other = own or score(case.model, case.groups, "l1").values
        values |= {name: 0.9 + 0.1 * other[name] / other[name].abs().amax().clamp_min(1e-30) for name in found.blind}
    return values


def _gradients(function: Callable[..., Values]) -> Callable[..., Values]:
    return lambda case: function(case.model, case.groups, case.data, case.progress)


def _class_taylor(
    case: Case,
    *,
    rule: str = "minority_group",
    minority: int | Sequence[int] | None = None,
    per_image: int | None = 5,
    legacy: bool = False,
) -> Values:
    classes = voters(case.data, rule, minority)
    how = {"per_image": per_image, "legacy": legacy, "progress": case.progress}
    tables = gradients.class_scores(case.model, case.groups, case.data, **how)
    return {name: channel_scores(table, classes, rule) for name, table in tables.items()}


def _reconstruction(case: Case, *, per: str = "macs") -> Values:
    return reconstruction(case.model, case.groups, case.data, per, case.progress)


def _random(case: Case) -> Values:
    def draw(group: Group) -> Tensor:  # a stream of its own, so that a group's scores do not depend on the others
        generator = torch.Generator().manual_seed(crc32(f"{case.seed}/{group.name}".encode()))
        return torch.rand(group.size, generator=generator)

    return {group.name: draw(group) for group in case.groups}


_SEEN = ("images",)
_ORDER = "how much the loss would change without it, to {} order"
CRITERIA: dict[str, Criterion] = {
    "attention": Criterion(
        "",
        "how far its SE gate is open on average, times its batch-norm scale |γ| (CAP)",
        _attention,
        ("gates",),
        "none",
    ),
    "l1": Criterion("", "sum of |weights| that make and read the channel", _magnitude(1)),
    "l2": Criterion("", "sum of squared weights that make and read the channel", _magnitude(2)),
    "bn_scale": Criterion("", "its batch-norm scale |γ| (network slimming)", _weights(weights.bn_scale), (), "none"),
    "fpgm": Criterion("", "distance of its filter from all others (geometric median)", _weights(weights.fpgm)),
    "tmm": Criterion(
        "", "how long it stays when the filter with the nearest neighbours goes first", _turns_of_neighbours, (), "none"
    ),
    "lamp": Criterion(
        "", "its squared weights as a share of those of all that score higher", _weights(weights.lamp), (), "none"
    ),
    "taylor": Criterion("", _ORDER.format("first"), _gradients(gradients.taylor), _SEEN, "none"),
    "hessian": Criterion("", _ORDER.format("second"), _gradients(gradients.hessian), _SEEN, "none"),
    "class_taylor": Criterion(
        "Taylor, class by class",
        "how early the rarest classes name it when they name in turn what their own loss needs most (MCAG)",
        _class_taylor,
        _SEEN,
        "none",
    ),
    "class_balanced": Criterion(
        "Taylor, classes balanced",
        "how much a loss in which all classes count the same would change without it (after DCFP)",
        _gradients(gradients.class_balanced),
        _SEEN,
        "none",
    ),
    "reconstruction": Criterion(
        "",
        "how much worse the layers that read it could be rebuilt without it, for what it costs",
        _reconstruction,
        _SEEN,
        "none",
    ),
    "similarity": Criterion(
        "", "how unlike its feature maps are to those of a better channel", _similarity, _SEEN, "none"
    ),
    "random": Criterion("", "by chance: the baseline", _random, (), "none"),
}


def scale_of(criterion: str) -> str:
    """How scores of a criterion compete if nothing else is asked for; ``"mean"`` for one that is not registered."""
    return CRITERIA[criterion].scale if criterion in CRITERIA else "mean"


def usual_criterion(model: nn.Module) -> str:
    """The criterion where none is named: attention for a network with SE gates, else l2, which fits every network."""
    return "attention" if gated_norms(model) else "l2"


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
            ``rank="l1"`` (which of two alike channels is the better one), ``makers="all"``, ``mean_term=False``
            (of its hash) and ``similar=`` (similarities that are known already) for similarity. Its layers without
            feature maps go last, in the order of the rank, or of l1. For class_taylor:
            ``rule="minority_group" | "all_classes" | "borda"``, ``minority=`` (how many of the rarest classes, or their
            numbers), ``per_image=`` (see `class_scores`), ``legacy=True`` (the reference's loss). ``k=`` (neighbours,
            the filter itself included) for tmm. ``per="macs" | "channel"`` for reconstruction.

    Raises:
        RspruneError: the criterion or an option is unknown, lacks its data, or gives a score that is not finite.

    Example:
        >>> score(model, groups, "taylor", data=Batches(data, "train", limit=1024)).values["conv1"].shape
        torch.Size([64])
    """
    chosen = find("criterion", CRITERIA, criterion, options)
    if "images" in chosen.needs and data is None:
        raise RspruneError(f"Criterion {criterion!r} looks at images, so it needs training images; give data=.")
    values = chosen.run(Case(model, list(groups), data, gates, seed, progress), **options)
    for name, vector in values.items():
        if bad := int((~vector.isfinite()).sum()):
            raise RspruneError(
                f"Criterion {criterion!r} gave {bad} scores that are not finite numbers in {name!r}; check the network "
                "and the images for NaN."
            )
    return Scores(criterion, {name: vector.detach().float().cpu() for name, vector in values.items()})
