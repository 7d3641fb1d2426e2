"""A few images with what the dense and the pruned network say about each; a changed answer has a frame and a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsprune_lib.colours import CUT, KEPT
from rsprune_lib.data import Dataset
from rsprune_studio.draw.html import escape, note
from rsprune_studio.draw.inside import png_source
from rsprune_studio.draw.masks import class_picture
from rsprune_studio.draw.theme import GRID, INK, MUTED, REMOVED, SOFT
from rsprune_studio.engine.comparison import Answer
from rsprune_studio.engine.mask_answers import LOST, WON, MaskAnswer

__all__ = ["tiles", "waiting"]

_SIDE = 200  # pixels a side that are sent of a picture
_CHANGED = 0.01  # share of the pixels that an answer has to lose or win to be called another one
_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"


def tiles(answers: Sequence[Answer] | Sequence[MaskAnswer], data: Dataset) -> str:
    """The images with both answers to each.

    Args:
        answers: of `rsprune_studio.engine.examples.Examples`.
        data: has the images, the names of the classes and their colours.
    """
    masks = data.masks is not None
    drawn = [(_mask_tile if masks else _class_tile)(answer, data) for answer in answers]
    changed = sum("rsprune-changed" in tile for tile in drawn)
    half = len(answers) // 2
    hard = "that it gets most pixels wrong of" if masks else "it is least sure of"
    about = (
        f"{len(answers)} validation images, chosen by the dense network alone: {half} by chance, {len(answers) - half} "
        f"{hard}."
    )
    now = note(f"Pruning changed the answer to {changed or 'none'} of them.")
    return _grid(drawn, masks) + note(about) + f'<div class="rsprune-pruned">{now}</div>'


def waiting(count: int, masks: bool) -> str:
    """Places for the images, before the first answer."""
    look = f"border:2px solid {GRID};border-radius:6px;background:{SOFT};min-height:{118 if masks else 176}px"
    return _grid([f'<div style="{look}"></div>'] * count, masks) + note(
        "Images follow with the first accuracy: what the dense network says of each, and what the pruned one says."
    )


def _grid(cells: Sequence[str], masks: bool) -> str:
    columns = f"repeat(auto-fit,minmax({'300px' if masks else '108px'},1fr))"
    look = f"display:grid;grid-template-columns:{columns};gap:8px;font-size:11px;line-height:14px;color:{INK}"
    return f'<div role="list" aria-label="images and answers" style="{look}">{"".join(cells)}</div>'


def _tile(words: str, inner: str, changed: str) -> str:
    """A frame around an image and its answers; ``changed`` says how the answer is another one, empty if it is not."""
    edge = f"2px solid {CUT}" if changed else f"2px solid {GRID}"
    badge = ""
    if changed:
        look = f"color:white;background:#A84A00;border-radius:3px;padding:0 5px;font-weight:600;{_LINE}"
        badge = f'<div class="rsprune-changed" style="{look}">≠ {changed}</div>'
    return (
        f'<div role="listitem" class="rsprune-tile" title="{escape(words)}" '
        f'style="border:{edge};border-radius:6px;padding:4px;min-width:0">{inner}{badge}</div>'
    )


def _picture(pixels: np.ndarray, alt: str, more: str) -> str:
    step = -(-max(pixels.shape[:2]) // _SIDE)
    source = png_source(pixels[::step, ::step])
    return f'<img alt="{escape(alt)}" src="{source}" style="display:block;border-radius:3px;{more}">'


def _class_tile(answer: Answer, data: Dataset) -> str:
    (before, after), sure, names = answer.says, answer.confidence, data.classes
    truth = names[answer.label]
    image = _picture(np.asarray(data.images[answer.image]), truth, "width:100%;aspect-ratio:3/2;object-fit:cover")
    rows = [f'<div style="{_LINE};font-weight:600;padding-top:2px">{escape(truth)}</div>']
    for who, says, share, colour in (("dense", before, sure[0], REMOVED), ("pruned", after, sure[1], KEPT)):
        bar = f"height:5px;width:{100 * share:.0f}%;background:{colour}"
        rows.append(
            f'<div class="rsprune-{who}"><div style="{_LINE}"><span style="color:{MUTED}">{who}</span> '
            f"{'✓' if says == answer.label else '✗'}&nbsp;{escape(names[says])}</div>"
            f'<div style="display:flex;gap:5px;align-items:center"><div style="flex:1;height:5px;background:{GRID}">'
            f'<div style="{bar}"></div></div><span>{_percent(share)}</span></div></div>'
        )
    words = f"{truth}: dense says {names[before]} {_percent(sure[0])}, pruned {names[after]} {_percent(sure[1])}"
    changed = ""
    if before != after:
        changed = "lost" if before == answer.label else "won" if after == answer.label else "changed"
    return _tile(words, image + "".join(rows), changed)


def _mask_tile(answer: MaskAnswer, data: Dataset) -> str:
    look = "width:100%"
    cells = [
        (_picture(np.asarray(data.images[answer.image]), f"image {answer.image}", look), "image"),
        (_picture(class_picture(answer.dense, data.palette), "classes of the dense network", look), "dense"),
        (_picture(class_picture(answer.pruned, data.palette), "classes of the pruned network", look), "pruned"),
    ]
    before, after = answer.wrong
    shares = {"image": "", "dense": f" {before:.0%} wrong", "pruned": f" {after:.0%} wrong"}
    three = "".join(
        f'<div class="rsprune-{name}" style="min-width:0">{cell}<div style="{_LINE}"><span style="color:{MUTED}">'
        f"{name}</span>{shares[name]}</div></div>"
        for cell, name in cells
    )
    lost, won = answer.shares[LOST], answer.shares[WON]
    changed = f"{lost:.0%} of the pixels lost, {won:.0%} won" if max(lost, won) >= _CHANGED else ""
    words = f"image {answer.image}: {before:.1%} of the pixels wrong before pruning, {after:.1%} after"
    return _tile(words, f'<div style="display:grid;grid-template-columns:1fr 1fr 1fr;gap:4px">{three}</div>', changed)


def _percent(share: float) -> str:
    """A probability that never claims to be certain."""
    return "> 99%" if share >= 0.995 else f"{share:.0%}"
