"""What the look inside shows, as HTML with PNG images in it: a few milliseconds each, safe to set from a thread."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rsprune_lib import colours
from rsprune_lib.colours import BLUE_RAMP, CUT, DIVERGING_RAMP, KEPT, shade
from rsprune_studio.draw.html import escape, note
from rsprune_studio.draw.theme import ACCENT, GRID, INK, MUTED, PAPER, SOFT
from rsprune_studio.engine.comparison import Answer, Comparison
from rsprune_studio.engine.inside import Channels

__all__ = [
    "agreement",
    "answers",
    "channels",
    "heat_map",
    "largest_changes",
    "picture",
    "png_source",
    "said",
    "samples",
    "strip",
    "thumbnail",
]

_DENSE = "#59636E"  # the grey of COLOURS: told from the blue by lightness, too
_LEFT, _TOP = 146, 96  # room for class names


def picture(pixels: np.ndarray, side: int, alt: str) -> str:
    """An image tag that needs no file.

    Args:
        pixels: (h, w, 3) uint8.
        side: pixels of the longer side on the screen.
        alt: what it is, for who cannot see it.
    """
    height, width = (round(side * one / max(pixels.shape[:2])) for one in pixels.shape[:2])
    look = f"width:{width}px;height:{height}px;display:block"
    look += f";image-rendering:{'pixelated' if len(pixels) < 48 else 'auto'}"
    return f'<img alt="{escape(alt)}" src="{png_source(pixels)}" style="{look}">'


def png_source(pixels: np.ndarray) -> str:
    """(h, w, 3) uint8 as the source of an image tag."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def said(answer: Answer, classes: Sequence[str]) -> str:
    """Both answers to an image in one sentence, and what became of them."""
    (before, after), (sure_before, sure_after) = answer.says, answer.confidence
    if before == after:
        text = f"Both say {classes[after]} (dense {_percent(sure_before)} sure, pruned {_percent(sure_after)})"
    else:
        text = (
            f"The dense network says {classes[before]} ({_percent(sure_before)}), the pruned one {classes[after]} "
            f"({_percent(sure_after)})"
        )
    if answer.label is None:
        return f"{text}."
    end = {
        (True, True): ", which is right",
        (True, False): f"; it is {classes[answer.label]}: lost by pruning",
        (False, True): f"; it is {classes[answer.label]}: won by pruning",
        (False, False): f"; it is {classes[answer.label]}: wrong before and after",
    }[before == answer.label, after == answer.label]
    return f"{text}{end}."


def answers(answer: Answer, classes: Sequence[str], count: int = 5) -> str:
    """Two bars a class: the dense network's probability in grey above the pruned one's in blue, each with its name."""
    rows = []
    for label in answer.top(count):
        true = f' <span style="color:{MUTED};font-weight:400">true class</span>' if label == answer.label else ""
        rows.append(
            f'<div style="grid-row:span 2;text-align:right;font-weight:600">{escape(classes[label])}{true}</div>'
        )
        rows.append(
            _bar("dense", answer.dense[label], _DENSE, _mark(label, answer.says[0], answer.label), "margin-top:6px")
        )
        rows.append(_bar("pruned", answer.pruned[label], KEPT, _mark(label, answer.says[1], answer.label), ""))
    columns = "minmax(70px,200px) 48px minmax(40px,1fr) minmax(72px,120px)"
    grid = f"display:grid;grid-template-columns:{columns};gap:2px 8px;align-items:center"
    return f'<div style="{grid};font-size:12px;line-height:14px;color:{INK}">{"".join(rows)}</div>'


def _bar(who: str, share: float, colour: str, mark: str, style: str) -> str:
    weight = f"{style};font-weight:600" if mark else style
    return (
        f'<div style="color:{MUTED};{style}">{who}</div><div style="height:11px;background:{GRID};{style}">'
        f'<div style="width:{100 * share:.1f}%;height:11px;background:{colour}"></div></div>'
        f'<div style="white-space:nowrap;{weight}">{_percent(share)}{mark}</div>'
    )


def _mark(label: int, says: int, true: int | None) -> str:
    """Marks the bar of the class that a network answers."""
    if label != says:
        return ""
    if true is None:
        return " ◂ its answer"
    return " ✓ right" if says == true else f' <span style="color:{CUT}">✗ wrong</span>'


def thumbnail(pixels: np.ndarray, title: str, below: str, *, wrong: bool = False, side: int = 88) -> str:
    """A small image with two lines below: what it is, and what was said of it.

    Args:
        pixels: (h, w, 3) uint8.
        title: first line.
        below: second line; may be empty.
        wrong: the second line is a mistake: in orange.
        side: pixels a side on the screen.
    """
    line = f"width:{side}px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
    return (
        f'<div style="width:{side}px;font-size:11px;line-height:14px" title="{escape(f"{title} {below}")}">'
        f'{picture(pixels, side, title)}<div style="{line};color:{INK};padding-top:2px">{escape(title)}</div>'
        f'<div style="{line};color:{CUT if wrong else MUTED}">{escape(below) or "&nbsp;"}</div></div>'
    )


def verdict(answer: Answer, classes: Sequence[str]) -> tuple[str, bool]:
    """What the pruned network says, short enough for a thumbnail, and whether it is wrong."""
    says, sure = answer.says[1], answer.confidence[1]
    wrong = says != answer.label
    return (f"✗ {classes[says]} {_percent(sure)}" if wrong else f"✓ {_percent(sure)}"), wrong


def samples(
    title: str, rows: Sequence[tuple[np.ndarray, Answer]], classes: Sequence[str], empty: str, side: int = 88
) -> str:
    """A strip of images with their true class and what the pruned network says of them.

    Args:
        title: what they have in common.
        rows: pixels (h, w, 3) uint8 and the answer to them.
        classes: class names.
        empty: what to say where there is none.
        side: pixels a side on the screen.
    """
    cells = []
    for pixels, answer in rows:
        text, wrong = verdict(answer, classes)
        cells.append(thumbnail(pixels, classes[answer.label], text, wrong=wrong, side=side))
    return strip(title, cells, empty)


def strip(title: str, cells: Sequence[str], empty: str) -> str:
    """Thumbnails in a row under a title; ``empty`` where there is none."""
    look = "display:flex;flex-wrap:wrap;gap:8px;margin-bottom:8px"
    wall = f'<div style="{look}">{"".join(cells)}</div>' if cells else note(empty)
    return f'<div style="font-size:13px;font-weight:600;color:{INK};margin:4px 0 6px">{escape(title)}</div>{wall}'


def channels(page: Channels, criterion: str, caption: str) -> str:
    """One card a channel: its filter, its feature map, its score, and whether it stays, in words and by its frame.

    Args:
        page: what to show.
        criterion: whose scores these are.
        caption: what the feature maps were made from.
    """
    rgb = page.filters.ndim == 4
    if rgb:
        filters = np.clip(127.5 + 127.5 * page.filters / max(page.filter_scale, 1e-12), 0, 255).astype(np.uint8)
    else:
        filters = shade(BLUE_RAMP, page.filters / max(page.filter_scale, 1e-12))
    maps = shade(DIVERGING_RAMP, 0.5 + 0.5 * page.maps / max(page.map_scale, 1e-12))
    cards = [
        _card(number, score, kept, filters[place], maps[place])
        for place, (number, score, kept) in enumerate(zip(page.number, page.score, page.kept, strict=True))
    ]
    last = page.first + len(page.number)
    head = (
        f"Channels {page.first + 1} to {last} of {page.size} in {page.group}, best score by {criterion} first; "
        f"{page.kept_of_all} of {page.size} stay."
    )
    look = "its weights for red, green and blue, grey is zero" if rgb else "mean size of its weights, dark is large"
    about = (
        f"Left in a card, the filter: {look}. Right, what the dense network makes of {caption} behind the batch norm: "
        "blue above zero, orange below, one scale for the whole group. Solid frame: stays; dashed frame and ✕: removed."
    )
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,1fr));gap:6px"
    words = f'<div style="font-size:13px;color:{INK};margin-bottom:6px">{escape(head)}</div>'
    return f'{words}<div style="{grid}">{"".join(cards)}</div>{note(about)}'


def _card(number: int, score: float, kept: bool, weights: np.ndarray, response: np.ndarray) -> str:
    frame = f"2px solid {KEPT}" if kept else f"2px dashed {MUTED}"
    mark = f'<b style="color:{ACCENT}">stays</b>' if kept else f'<span style="color:{MUTED}">✕ removed</span>'
    ground = PAPER if kept else SOFT
    card = (
        f"border:{frame};border-radius:6px;padding:5px;font-size:11px;line-height:15px;color:{INK};background:{ground}"
    )
    return (
        f'<div style="{card}"><div style="display:flex;gap:4px;justify-content:center">'
        f"{picture(weights, 60, f'filter {number}')}{picture(response, 60, f'feature map {number}')}</div>"
        f'<div style="display:flex;justify-content:space-between;margin-top:3px"><span>#{number}</span>{mark}</div>'
        f'<div style="color:{MUTED}">score {score:#.3g}</div></div>'
    )


def heat_map(change: np.ndarray, classes: Sequence[str], what: str = "Images") -> str:
    """Pruned minus dense, image by image: blue is for the better, orange for the worse, the number says how many.

    Args:
        change: (K, K) whole numbers, rows the true class, columns the answer.
        classes: K class names.
        what: is counted.
    """
    size = float(np.clip(420 / len(classes), 17, 48))
    wide, high = _LEFT + size * len(classes) + 70, _TOP + size * len(classes) + 4
    limit = max(int(np.abs(change).max()), 4)
    label = f"change of the confusions among {len(classes)} classes, the pruned network minus the dense one"
    look = f'style="width:{wide:.0f}px;max-width:100%" fill="{INK}"'
    parts = [f'<svg role="img" aria-label="{label}" viewBox="0 0 {wide:.0f} {high:.0f}" {look}>']
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
        f"{what} more (+) or fewer (−) than with the dense network. On the framed diagonal are the right answers, "
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
    light = f'style="fill:{"white" if strength > 0.75 else colours.INK};pointer-events:none"'
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


def largest_changes(change: np.ndarray, classes: Sequence[str], count: int = 4, unit: str = "") -> str:
    """The mistakes that became most often more or less frequent, in words; ``unit`` of the numbers."""
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
            f'<span style="white-space:nowrap"><b style="color:{colour}">{abs(number)}{unit} {word}</b> '
            f"{escape(classes[row])} taken for {escape(classes[column])}</span>"
        )
    return f'<div style="font-size:13px;line-height:1.6;color:{INK}">Largest changes: {"; ".join(parts)}.</div>'


def _signed(count: int) -> str:
    return f"{count:+d}".replace("-", "−") if count else "0"


def _percent(share: float) -> str:
    """A probability that never claims to be certain."""
    return "> 99%" if 0.995 <= share else "< 1%" if share < 0.005 else f"{share:.0%}"
