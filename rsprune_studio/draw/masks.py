"""What the look inside shows of a segmenter: pictures of classes and of mistakes, their legend, and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsprune_lib.colours import CUT, KEPT, painted
from rsprune_lib.data import Dataset
from rsprune_lib.data.masks import UNKNOWN
from rsprune_studio.draw.gauges import rare_mark
from rsprune_studio.draw.html import escape, note
from rsprune_studio.draw.inside import png_source
from rsprune_studio.draw.theme import INK, MUTED, SOFT
from rsprune_studio.engine.mask_answers import BOTH_WRONG, LOST, WON, MaskAnswer, MaskComparison

__all__ = [
    "CHANGES",
    "Look",
    "change_picture",
    "class_picture",
    "comparison_words",
    "page",
    "row_points",
    "said",
    "verdict",
]

CHANGES = {  # of a pixel: colour, what it says with a truth, what without
    LOST: (CUT, "lost by pruning", "the two differ"),
    WON: (KEPT, "won by pruning", ""),
    BOTH_WRONG: ("#3C424B", "wrong in both", ""),
}
_HATCH = (238, 240, 242), (160, 166, 173)  # where no class is known
_LARGEST = 640  # pixels a side that are sent; more would not be seen


@dataclass(frozen=True, eq=False)
class Look:
    """An image on the page, with what is known of it.

    Attributes:
        pixels: (H, W, 3) uint8.
        caption: what to call it.
        truth: (H, W) uint8 class numbers; None of an upload.
    """

    pixels: np.ndarray
    caption: str
    truth: np.ndarray | None = None


def class_picture(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """(h, w, 3) uint8: classes in their colours, hatched grey where none is known; large masks are thinned out.

    Args:
        mask: (H, W) uint8 class numbers, `UNKNOWN` where there is none.
        palette: K RGB colours.
    """
    mask = _thinned(mask)
    return _hatched(painted(mask, palette), mask == UNKNOWN)


def change_picture(pixels: np.ndarray, answer: MaskAnswer) -> np.ndarray:
    """(h, w, 3) uint8: the image in pale grey, and in the colours of `CHANGES` where an answer is wrong."""
    change, pixels = _thinned(answer.change), _thinned(pixels)
    made = np.repeat(165 + 0.35 * pixels.astype(np.float32).mean(2, keepdims=True), 3, axis=2).astype(np.uint8)
    for kind, (colour, *_) in CHANGES.items():
        made[change == kind] = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return _hatched(made, change == UNKNOWN)


def _thinned(pixels: np.ndarray) -> np.ndarray:
    step = -(-max(pixels.shape[:2]) // _LARGEST)
    return pixels[::step, ::step]


def _hatched(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    rows, cols = np.indices(where.shape)
    stripes = (rows + cols) % 6 < 2
    picture[where & ~stripes], picture[where & stripes] = _HATCH
    return picture


def said(answer: MaskAnswer) -> str:
    """Both answers to an image in one sentence."""
    shares, (before, after) = answer.shares, answer.wrong
    if answer.truth is None:
        return f"Dense and pruned network give {shares[LOST]:.1%} of the pixels different classes."
    if not sum(shares.values()):
        return "No pixel of this image has a known class, so nobody can say what is right."
    return (
        f"The pruned network gets {after:.1%} of the pixels wrong, the dense one {before:.1%}: {shares[LOST]:.1%} were "
        f"lost by pruning, {shares[WON]:.1%} won, {shares[BOTH_WRONG]:.1%} are wrong in both."
    )


def page(look: Look, answer: MaskAnswer | None, data: Dataset) -> str:
    """Image, truth, both answers and their mistakes side by side, with a legend; dots where an answer is due.

    Args:
        look: the image.
        answer: what both networks say; None while that is not known.
        data: has the classes, their colours, and says which are rare.
    """
    palette, cells = data.palette, [_cell(_thinned(look.pixels), look.caption, look.caption)]
    if look.truth is not None:
        cells.append(_cell(class_picture(look.truth, palette), "truth", "classes of the truth"))
    if answer is None:
        shape = look.pixels.shape
        cells += [_empty(shape, name) for name in ("dense network", "pruned network", "mistakes")]
        return _grid(cells)
    before, after = answer.wrong
    known = answer.truth is not None
    for mask, name, wrong in ((answer.dense, "dense network", before), (answer.pruned, "pruned network", after)):
        text = f"{name}: {wrong:.1%} wrong" if known else name
        cells.append(_cell(class_picture(mask, palette), text, f"classes that the {name} gives"))
    title = "mistakes" if known else "where they differ"
    cells.append(_cell(change_picture(look.pixels, answer), title, said(answer), _changes(answer)))
    return _grid([*cells, _legend(answer, data)])


def _grid(cells: Sequence[str]) -> str:
    columns = "repeat(auto-fill,minmax(max(138px,31%),1fr))"
    style = f"display:grid;grid-template-columns:{columns};gap:10px 12px;font-size:12px;line-height:16px;color:{INK}"
    return f'<div style="{style}">{"".join(cells)}</div>'


def _cell(pixels: np.ndarray, caption: str, alt: str, below: str = "") -> str:
    source = png_source(pixels)
    look = "width:100%;display:block;image-rendering:auto;border-radius:3px"
    return (
        f'<figure style="margin:0" title="{escape(alt)}"><img alt="{escape(alt)}" src="{source}" style="{look}">'
        f'<figcaption style="padding-top:2px;font-weight:600">{escape(caption)}</figcaption>{below}</figure>'
    )


def _empty(shape: tuple[int, ...], caption: str) -> str:
    """A place for a picture that is due, as large as that will be."""
    look = f"aspect-ratio:{shape[1]}/{shape[0]};background:{SOFT};border-radius:3px"
    return f'<figure style="margin:0"><div style="{look}"></div><figcaption>{caption} …</figcaption></figure>'


def _swatch(colour: str) -> str:
    look = f"display:inline-block;width:11px;height:11px;border:1px solid {MUTED};border-radius:2px;background:{colour}"
    return f'<span style="{look};margin-right:5px;vertical-align:-1px"></span>'


def _stripes() -> str:
    dark, light = (f"rgb{colour}" for colour in _HATCH[::-1])
    return f"repeating-linear-gradient(135deg,{light} 0 2px,{dark} 2px 4px)"


def _changes(answer: MaskAnswer) -> str:
    """The legend of the picture of mistakes, with the share of each kind."""
    known = answer.truth is not None
    rows = [
        f"<div>{_swatch(colour)}{truth if known else other} {answer.shares[kind]:.1%}</div>"
        for kind, (colour, truth, other) in CHANGES.items()
        if known or other
    ]
    return "".join(rows) + (
        f"<div>{_swatch(_stripes())}no known class</div>" if (answer.change == UNKNOWN).any() else ""
    )


def _legend(answer: MaskAnswer, data: Dataset) -> str:
    """Colour, name, share of the pixels and IoU before and after of each class that the image or an answer shows."""
    rare, known = data.rare, answer.truth is not None
    rows = [("<b>class</b>", "<b>pixels</b>", "<b>IoU</b>" if known else "")]
    for label, (share, before, after) in answer.classes(data.num_classes).items():
        red, green, blue = data.palette[label]
        name = _swatch(f"rgb({red},{green},{blue})") + escape(data.classes[label])
        overlap = "" if np.isnan(before + after) else f"{before:.0%} → {after:.0%}"
        rows.append((name + (rare_mark() if label in rare else ""), _share(share), overlap))
    if (answer.change == UNKNOWN).any():
        rows.append((f"{_swatch(_stripes())}no known class", "", ""))
    cells = "".join(f'<div>{a}</div><div style="text-align:right">{b}</div><div>{c}</div>' for a, b, c in rows)
    about = (
        "Pixels of the truth; IoU in this image, dense → pruned." if known else "Pixels of the pruned network’s answer."
    )
    grid = "display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:1px 10px;white-space:nowrap;line-height:17px"
    return f'<div class="rsprune-legend"><div style="{grid}">{cells}</div>{note(about)}</div>'


def _share(share: float) -> str:
    return "none" if share == 0 else "< 0.1%" if share < 0.001 else f"{share:.1%}"


def verdict(comparison: MaskComparison, image: int) -> tuple[str, bool]:
    """How wrong the pruned network is about an image, short enough for a thumbnail, and whether it got worse."""
    before, after = comparison.numbers(image)
    if np.isnan(after):
        return "no known class", False
    return f"{1 - after:.0%} wrong", after < before - 0.0005


def loss(comparison: MaskComparison, image: int, label: int | None = None) -> tuple[str, bool]:
    """By how many points pruning changed an image's share of right pixels, or its IoU of a class."""
    before, after = comparison.numbers(image, label)
    return f"{100 * (after - before):+.0f} points".replace("-", "−"), after < before


def comparison_words(comparison: MaskComparison) -> str:
    """On how many images pruning made the answer better or worse, as a sentence."""
    (before, after), pair = np.nanmedian(comparison.right, axis=1), comparison.paired
    p = "p\u00a0<\u00a00.001" if pair.p_value < 0.001 else f"p\u00a0=\u00a0{pair.p_value:.2g}"
    return (
        f"Half of {len(comparison.images):,} validation images have more than {after:.1%} of their pixels right (dense "
        f"network {before:.1%}); {pair.lost} became worse, {pair.gained} better (sign test {p})."
    )


def row_points(comparison: MaskComparison) -> np.ndarray:
    """(K, K) int64: the change of the confusions in points of each true class's pixels."""
    pixels = np.maximum(comparison.pixels, 1)[:, None]
    return np.rint(100 * comparison.change / pixels).astype(np.int64)
