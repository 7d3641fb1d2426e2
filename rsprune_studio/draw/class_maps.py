"""Class maps as HTML with PNG images in it: the image, dense, pruned, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

from rsprune_lib.colours import overlay
from rsprune_lib.explain import METHODS
from rsprune_studio.draw.html import escape, message, note
from rsprune_studio.draw.inside import picture
from rsprune_studio.draw.theme import INK, MUTED
from rsprune_studio.engine.class_maps import MapPair

__all__ = ["class_map_wall", "class_map_words"]


def class_map_words(pair: MapPair, method: str, classes: Sequence[str]) -> str:
    """What the pair shows, in one sentence."""
    name, height, width = classes[pair.label], *pair.dense.grid
    of = f"the pixels labelled {name}" if pair.labelled else name
    start = f"What speaks for {of} by {METHODS[method].title} at {pair.dense.layer} ({height} x {width} positions): "
    blank = [who for who, found in (("dense", pair.dense), ("pruned", pair.pruned)) if found.blank[0]]
    if blank:
        which = "both maps are" if len(blank) == 2 else f"the map of the {blank[0]} network is"
        return f"{start}{which} blank, nothing speaks for the class here more than elsewhere."
    number = f"{pair.agreement:.2f}".replace("-", "−")
    return f"{start}the two maps correlate by {number}."


def class_map_wall(pair: MapPair, side: int = 174) -> str:
    """Four pictures side by side that wrap on a narrow page.

    Args:
        pair: what to show.
        side: pixels a side on the screen.
    """
    change = pair.pruned.maps[0] - pair.dense.maps[0]
    tiles = [("image", pair.pixels, False)]
    for name, found in (("dense", pair.dense), ("pruned", pair.pruned)):
        tiles.append((name, overlay(pair.pixels, found.maps[0]), bool(found.blank[0])))
    nothing = bool(pair.dense.blank[0] or pair.pruned.blank[0])
    tiles.append(("pruned − dense", overlay(pair.pixels, 0 * change if nothing else change), nothing))
    cells = [
        f'<div><div style="font-size:12px;color:{MUTED};padding-bottom:2px">{escape(name)}{" (blank)" if blank else ""}'
        f"</div>{picture(pixels, side, f'class map: {name}')}</div>"
        for name, pixels, blank in tiles
    ]
    about = (
        "Each map has its own scale: darkest orange is its largest value. In the difference orange is where the pruned "
        "network sees more, blue where it sees less."
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:10px;color:{INK}">{"".join(cells)}</div>{note(about)}'


def class_map_page(pair: MapPair, method: str, classes: Sequence[str]) -> str:
    """The sentence above the pictures."""
    return message(class_map_words(pair, method, classes)) + class_map_wall(pair)
