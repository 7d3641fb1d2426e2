"""The similarity graph of one layer as SVG: quick to make, sharp at any size, safe to set from a thread."""

from __future__ import annotations

import numpy as np

from rsprune_lib.colours import KEPT
from rsprune_lib.pruning.similarity.hashes import TIE
from rsprune_studio.draw.html import escape, note
from rsprune_studio.draw.theme import GRID, INK, MUTED, PAPER

__all__ = ["SELECTOR_WORDS", "graph"]

SELECTOR_WORDS = {
    "paper": "The published sweep, by the degrees of the whole graph.",
    "dominating": "The busiest stays, its neighbours go; every removed channel keeps a look-alike.",
    "core": "In the densest core the filter with the largest L1 norm stays, again and again.",
    "scored": "The filter with the largest L1 norm stays, its neighbours go.",
    "nested": "Every edge removes its worse end: the one that fewer others resemble.",
}

_WIDE, _HIGH = 780, 400  # pixels of the drawing: it fits under the gauges on a laptop's screen
_EDGES = 900  # drawn at most
_GONE = "#B4BCC5"


def graph(values: np.ndarray, places: np.ndarray, kept: np.ndarray, threshold: float, rule: str | None) -> str:
    """Vertices at their places, an edge between two that are alike at the threshold; kept ones blue, removed ones grey.

    Args:
        values: (C, C) similarities.
        places: (C, 2) in [0, 1].
        kept: (C,) bool, what the plan keeps.
        threshold: of the edges.
        rule: key of `SELECTOR_WORDS`, the selector that decided by these edges; None if another criterion did.
    """
    count = len(values)
    edges = np.triu(values >= threshold - TIE, 1)
    near = values - 2 * np.eye(count)
    pairs = np.argwhere(edges)
    own = {tuple(sorted(pair)) for pair in enumerate(near.argmax(1).tolist())}  # everyone's closest comes first
    later = np.array([tuple(pair) not in own for pair in pairs.tolist()], dtype=bool)
    shown = pairs[np.lexsort((-values[edges], later))[:_EDGES]]
    at = 14 + places * (_WIDE - 28, _HIGH - 28)
    lines = "".join(
        f'<path d="M{at[i, 0]:.0f} {at[i, 1]:.0f}L{at[j, 0]:.0f} {at[j, 1]:.0f}"/>' for i, j in shown.tolist()
    )
    radius = 7 if count <= 64 else 5.5 if count <= 256 else 4
    dots = []
    for c in np.argsort(kept, kind="stable").tolist():  # what stays lies on top
        colour = KEPT if kept[c] else _GONE
        tip = _tip(c, kept, near, threshold)
        dots.append(
            f'<circle cx="{at[c, 0]:.1f}" cy="{at[c, 1]:.1f}" r="{radius}" fill="{colour}" stroke="{PAPER}">'
            f"<title>{escape(tip)}</title></circle>"
        )
    lonely = int((~(values >= threshold - TIE) | np.eye(count, dtype=bool)).all(1).sum())
    label = f"similarity graph: {count} channels, {len(pairs):,} edges, {int(kept.sum())} channels stay"
    drawing = (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" style="width:100%;max-width:{_WIDE}px;border:1px solid {GRID};'
        f'border-radius:8px" role="img" aria-label="{label}"><g stroke="{INK}" stroke-opacity="0.28" '
        f'stroke-width="1" fill="none">{lines}</g>{"".join(dots)}</svg>'
    )
    more = f" ({_EDGES:,} of the strongest are drawn)" if len(pairs) > _EDGES else ""
    words = (
        f"{len(pairs):,} edges at similarity {threshold:.2f} or more{more}; {lonely} of {count} channels are like no "
        f"other; {int(kept.sum())} stay. "
    )
    if rule is None:
        words += "Colours show what another criterion keeps: look for edges between two blue channels."
    else:
        words += f"{SELECTOR_WORDS[rule]} Point at a channel to see whom it resembles."
    return f'<div style="color:{MUTED}">{note(words)}</div>{drawing}'


def _tip(channel: int, kept: np.ndarray, near: np.ndarray, threshold: float) -> str:
    alike = int((near[channel] >= threshold - TIE).sum())
    most = int(near[channel].argmax())
    text = f"channel {channel}: {'stays' if kept[channel] else 'goes'}; {alike} alike"
    return f"{text}; most like channel {most} ({near[channel, most]:.2f})" if len(near) > 1 else text
