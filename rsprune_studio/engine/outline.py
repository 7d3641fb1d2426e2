"""The outline of a network: its groups as blocks and residual streams, in stages of one resolution each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rsprune_lib.measure import LayerCost
from rsprune_lib.pruning import Group
from rsprune_lib.pruning.layers import KINDS

__all__ = ["Piece", "Stage", "narrowest", "outline"]

_VECTOR = "vector"  # one number a channel


@dataclass(frozen=True)
class Piece:
    """A group of a network as it is drawn.

    Attributes:
        name: of the group.
        size: its channels.
        stream: several layers write into the same channels, as those of a residual stream do.
    """

    name: str
    size: int
    stream: bool


@dataclass(frozen=True)
class Stage:
    """Groups that follow one another at one resolution.

    Attributes:
        title: what there is room for: ``"16 × 16"`` pixels, ``"197 tokens"``, or ``"vector"``.
        pieces: its groups, in execution order.
    """

    title: str
    pieces: tuple[Piece, ...]

    @property
    def columns(self) -> tuple[tuple[Piece, ...], ...]:
        """Stretches of the stage: a stream (if there is one) with the blocks beside it."""
        streams = [place for place, piece in enumerate(self.pieces) if piece.stream]
        cuts = [0, *streams[1:], len(self.pieces)]
        return tuple(self.pieces[start:end] for start, end in pairwise(cuts))


def outline(groups: Sequence[Group], costs: Sequence[LayerCost], image_size: tuple[int, int]) -> tuple[Stage, ...]:
    """The stages of a network.

    Args:
        groups: `rsprune_lib.pruning.find_groups` of the network.
        costs: `rsprune_lib.measure.layer_costs` of the same network.
        image_size: (height, width) in pixels that the costs were counted at.
    """
    positions = {cost.name: cost.out_positions for cost in costs}
    placed: list[tuple[str, Piece]] = []
    for group in groups:
        made = [m for m in group.members if m.side == "out" and m.kind in KINDS and KINDS[m.kind].makes]
        # what squeezes maps to one number a channel and back (SE) adds nothing to a stream
        makers = [m for m in made if positions.get(m.layer, 1) > 1] or made or [group.members[0]]
        last = makers[-1]
        title = _title(positions.get(last.layer, 1), last.axis == -1, image_size)
        placed.append((title, Piece(group.name, group.size, len({m.layer for m in makers}) > 1)))
    tail = max((place for place, (title, _) in enumerate(placed) if title != _VECTOR), default=-1)
    for place in range(1, tail):  # a squeeze in the middle belongs to the stage around it
        if placed[place][0] == _VECTOR:
            placed[place] = placed[place - 1][0], placed[place][1]
    stages = groupby(placed, key=lambda pair: pair[0])
    return tuple(Stage(title, tuple(piece for _, piece in pairs)) for title, pairs in stages)


def narrowest(widths: Mapping[str, int]) -> str:
    """The group with the fewest channels left; of several the first one."""
    return min(widths, key=widths.__getitem__)


def _title(positions: int, tokens: bool, image_size: tuple[int, int]) -> str:
    if positions == 1:
        return _VECTOR
    if tokens:
        return f"{positions:,} tokens"
    height, width = image_size
    scale = (positions / (height * width)) ** 0.5
    return f"{round(height * scale):,} × {round(width * scale):,}"
