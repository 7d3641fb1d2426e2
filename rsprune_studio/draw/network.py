"""The network as a picture: stages of blocks that become as narrow as the plan says, residual streams as lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rsprune_lib.colours import CUT, KEPT
from rsprune_studio.draw.html import escape, note
from rsprune_studio.draw.theme import GRID, INK, MUTED, REMOVED, SOFT
from rsprune_studio.engine.outline import Piece, Stage, narrowest
from rsprune_studio.engine.setting import Snapshot

__all__ = ["in_one_line", "network"]

_ROW, _WIDEST, _CLOSEST = 700.0, 62.0, 13.0  # px: what blocks share, and between two of them at most and at least
_TOP, _TALL, _LINE, _BELOW = 18.0, 62.0, 12.0, 17.0  # px: title, tallest block, thickest stream, room for numbers
_MIDDLE, _STREAM = _TOP + _TALL / 2 + 3, _TOP + _TALL + _LINE / 2 + 8  # where blocks and streams are centred
_GAP = 0.25  # of a step, between two blocks


def network(stages: Sequence[Stage], snapshot: Snapshot, classes: int) -> str:
    """The stages from the image to the classes; on a small page they go on in the next row.

    A frame is as high as the root of its channels, the blue part of it as its share of them that stays.

    Args:
        stages: of the network, see `rsprune_studio.engine.outline.outline`.
        snapshot: says what stays.
        classes: how many the network tells apart.
    """
    least = narrowest(snapshot.plan.widths)
    largest = max(snapshot.plan.sizes.values())
    pieces = sum(not piece.stream for stage in stages for piece in stage.pieces)
    step = min(max(_ROW / (pieces + 2 * len(stages)), _CLOSEST), _WIDEST)
    streams = any(piece.stream for stage in stages for piece in stage.pieces)
    foot = _STREAM + _LINE / 2 + 2 if streams else _TOP + _TALL + 8
    drawn = [_stage(stage, snapshot, largest, least, step, foot) for stage in stages]
    end = f"font-size:12px;color:{MUTED};align-self:center;line-height:1.3;text-align:center"
    first, last = (f'<div style="{end}">{text}</div>' for text in ("image&nbsp;▸", f"▸&nbsp;{classes}<br>classes"))
    row = "display:flex;flex-wrap:wrap;gap:4px 6px;align-items:stretch"
    about = "A block is a group of channels: the frame all of them, blue what stays."
    about += " A line below is a residual stream, whose layers keep the same channels." if streams else ""
    about += " Orange: the narrowest group."
    label = escape(in_one_line(stages, snapshot))
    return f'<div role="img" aria-label="{label}" style="{row}">{first}{"".join(drawn)}{last}</div>{note(about)}'


def in_one_line(stages: Sequence[Stage], snapshot: Snapshot) -> str:
    """The picture in words: how much of each stage stays, and which group is the narrowest."""
    least = narrowest(snapshot.plan.widths)
    parts = [f"{stage.title} {_share(stage, snapshot):.0%}" for stage in stages]
    return (
        f"The network in {len(stages)} stages; of their channels stay {', '.join(parts)}. The narrowest group is "
        f"{least} with {snapshot.plan.widths[least]} of {snapshot.plan.sizes[least]} channels."
    )


def _share(stage: Stage, snapshot: Snapshot) -> float:
    kept = sum(snapshot.plan.widths[piece.name] for piece in stage.pieces)
    return kept / sum(piece.size for piece in stage.pieces)


def _stage(stage: Stage, snapshot: Snapshot, largest: int, least: str, step: float, foot: float) -> str:
    """One stage as a chart of its own."""
    parts, x = [], 7.0
    for column in stage.columns:
        start = x
        blocks = [piece for piece in column if not piece.stream]
        for piece in blocks:
            parts.append(_block(piece, snapshot, largest, x, step, piece.name == least))
            x += step
        x = max(x, start + step)
        ends = start, x - _GAP * step
        if len(blocks) < len(column):
            stems = [start + place * step + (1 - _GAP) * step / 2 for place in range(len(blocks))]
            stream = next(piece for piece in column if piece.stream)
            parts.insert(0, "".join(map(_stem, stems)) + _stream(stream, snapshot, largest, *ends, least))
        else:
            parts.insert(0, f'<path d="M{ends[0]:.1f} {_MIDDLE}H{ends[1]:.1f}" stroke="{REMOVED}"/>')
    share, count = f"{_share(stage, snapshot):.0%} stay", ""
    if any(piece.name == least for piece in stage.pieces):
        count = f"▲ {snapshot.plan.widths[least]}"
    width = max(x - _GAP * step + 7, 6.6 * len(stage.title) + 14, 6.2 * len(share + count) + 18)
    height = foot + _BELOW
    below = f'y="{height - 5:.0f}" font-size="11"'
    words = [
        f'<text x="6" y="13" font-size="11" font-weight="600" fill="{INK}">{stage.title}</text>',
        f'<text x="6" {below} fill="{MUTED}">{share}</text>',
        f'<text x="{width - 5:.0f}" {below} font-weight="600" text-anchor="end" fill="{CUT}">{count}</text>',
    ]
    look = f'width="{width:.0f}" height="{height:.0f}" style="flex:0 0 auto;background:{SOFT};border-radius:6px"'
    label = f"stage {stage.title}: {share}"
    return f'<svg role="img" aria-label="{label}" {look}>{"".join([*words, *parts])}</svg>'


def _block(piece: Piece, snapshot: Snapshot, largest: int, x: float, step: float, least: bool) -> str:
    """All channels as a frame around a middle line, those that stay as the blue part of it."""
    kept = snapshot.plan.widths[piece.name]
    tall = max(_TALL * math.sqrt(piece.size / largest), 5.0)
    part, wide = max(tall * kept / piece.size, 1.5), (1 - _GAP) * step
    return (
        f"<g>{_title(piece, kept, least)}"
        f'<rect x="{x:.1f}" y="{_MIDDLE - tall / 2:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="2" fill="{GRID}" '
        f"{_edge(least)}/>"
        f'<rect x="{x + 1:.1f}" y="{_MIDDLE - part / 2:.1f}" width="{wide - 2:.1f}" height="{part:.1f}" '
        f'fill="{KEPT}"/></g>'
    )


def _edge(least: bool) -> str:
    return f'stroke="{CUT}" stroke-width="2"' if least else f'stroke="{REMOVED}"'


def _stem(x: float) -> str:
    """From the middle of a block down to the stream."""
    return f'<path d="M{x:.1f} {_MIDDLE}V{_STREAM}" stroke="{REMOVED}"/>'


def _stream(piece: Piece, snapshot: Snapshot, largest: int, start: float, end: float, least: str) -> str:
    """A stream as a line as thick as its channels, the blue part as thick as those that stay."""
    kept = snapshot.plan.widths[piece.name]
    thick = max(_LINE * math.sqrt(piece.size / largest), 4.0)
    part, wide = max(thick * kept / piece.size, 1.5), end - start + 8
    return (
        f"<g>{_title(piece, kept, piece.name == least)}"
        f'<rect x="{start - 4:.1f}" y="{_STREAM - thick / 2:.1f}" width="{wide:.1f}" height="{thick:.1f}" rx="2" '
        f'fill="{GRID}" {_edge(piece.name == least)}/>'
        f'<rect x="{start - 3:.1f}" y="{_STREAM - part / 2:.1f}" width="{wide - 2:.1f}" height="{part:.1f}" '
        f'fill="{KEPT}"/></g>'
    )


def _title(piece: Piece, kept: int, least: bool) -> str:
    kind = "residual stream, " if piece.stream else ""
    end = "; the narrowest group" if least else ""
    return f"<title>{escape(piece.name)}: {kind}{kept} of {piece.size} channels stay{end}</title>"
