"""How pruning changed the confusions: a heat map as SVG, and its largest changes in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from rsprune_lib.colours import CUT, DIVERGING_RAMP, GRID, INK, KEPT, MUTED, shade
from rsprune_studio.draw.html import note
from rsprune_studio.engine.comparison import Comparison

__all__ = ["agreement", "heat_map", "largest_changes"]

_LEFT, _TOP = 146, 96  # room for class names


def heat_map(change: np.ndarray, classes: Sequence[str]) -> str:
    """Pruned minus dense, image by image: blue is for the better, orange for the worse, the number says how many.

    Args:
        change: (K, K) whole numbers, rows the true class, columns the answer.
        classes: K class names.
    """
    size = float(np.clip(420 / len(classes), 17, 48))
    wide, high = _LEFT + size * len(classes) + 70, _TOP + size * len(classes) + 4
    limit = max(int(np.abs(change).max()), 4)
    parts = [f'<svg viewBox="0 0 {wide:.0f} {high:.0f}" style="width:{wide:.0f}px;max-width:100%" fill="{INK}">']
    letters = min(12.0, 0.62 * size + 2)
    for place, name in enumerate(classes):
        middle = (place + 0.5) * size
        text = escape(name if len(name) <= 20 else f"{name[:19]}…")
        parts.append(_text(_LEFT - 8, _TOP + middle + 4, text, letters, "end"))
        x, y = _LEFT + middle + 2, _TOP - 6
        parts.append(_text(x, y, text, letters, "start", f'transform="rotate(-38 {x:.1f} {y:.1f})"'))
    for row, column in np.ndindex(*change.shape):
        parts.append(_cell(int(change[row, column]), row, column, size, limit, classes))
    parts.append(_text(8, _TOP - 10, "true ↓  answer →", 11, "start", f'style="fill:{MUTED}"'))
    about = (
        "Images more (+) or fewer (−) than with the dense network. On the framed diagonal are the right answers, "
        "everywhere else mistakes: blue is for the better, orange for the worse."
    )
    return f'<div style="max-width:{wide:.0f}px">{"".join(parts)}</svg>{note(about)}</div>'


def _cell(count: int, row: int, column: int, size: float, limit: int, classes: Sequence[str]) -> str:
    better = count if row == column else -count
    strength = np.sqrt(abs(better) / limit)  # single images stay visible beside a class that fell apart
    colour = "#" + shade(DIVERGING_RAMP, 0.5 + 0.5 * np.sign(better) * strength).tobytes().hex()
    x, y = _LEFT + column * size, _TOP + row * size
    edge = f'stroke="{INK}" stroke-width="1.4"' if row == column else f'stroke="{GRID}"'
    what = f"{classes[row]}, answered {classes[column]}: {_signed(count)}"
    box = (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{size - 2:.1f}" height="{size - 2:.1f}" fill="{colour}" {edge}>'
        f"<title>{escape(what)}</title></rect>"
    )
    if count == 0:
        return box
    light = f'style="fill:{"white" if strength > 0.75 else INK};pointer-events:none"'
    return box + _text(x + size / 2, y + size / 2 + 4, _signed(count), min(12.0, 0.5 * size), "middle", light)


def _text(x: float, y: float, text: str, size: float, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" text-anchor="{anchor}" {more}>{text}</text>'


def agreement(comparison: Comparison) -> str:
    """How often both networks answer alike, and who is right where they differ, as a sentence."""
    share, (low, high) = comparison.agreement
    lost, gained, n = comparison.paired.lost, comparison.paired.gained, len(comparison.images)
    p = comparison.paired.p_value
    chance = "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.2g}"
    return (
        f"Both answer {share:.1%} of {n:,} validation images alike (95% interval {low:.1%} to {high:.1%}); {lost} that "
        f"were right are wrong now, {gained} the other way round (McNemar {chance})."
    )


def largest_changes(change: np.ndarray, classes: Sequence[str], count: int = 4) -> str:
    """The mistakes that became most often more or less frequent, in words."""
    mistakes = np.where(np.eye(len(classes), dtype=bool), 0, change)
    order = np.argsort(-np.abs(mistakes), axis=None, kind="stable")[:count]
    places = [place for place in zip(*np.unravel_index(order, change.shape), strict=True) if mistakes[place]]
    if not places:
        return "No mistake became more or less frequent."
    parts = []
    for row, column in places:
        number = int(mistakes[row, column])
        colour, word = (CUT, "more") if number > 0 else (KEPT, "fewer")
        parts.append(
            f'<span style="white-space:nowrap"><b style="color:{colour}">{abs(number)} {word}</b> '
            f"{escape(classes[row])} taken for {escape(classes[column])}</span>"
        )
    return f'<div style="font-size:13px;line-height:1.6;color:{INK}">Largest changes: {"; ".join(parts)}.</div>'


def _signed(count: int) -> str:
    return f"{count:+d}".replace("-", "−") if count else "0"
