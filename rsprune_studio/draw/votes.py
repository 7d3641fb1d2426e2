"""Which channels speak for which class: a map of classes by channels, with what stays of each class's share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsprune_lib import colours
from rsprune_lib.colours import BLUE_RAMP, KEPT, shade
from rsprune_studio.draw.gauges import rare_mark
from rsprune_studio.draw.html import escape, message, note
from rsprune_studio.draw.inside import png_source
from rsprune_studio.draw.theme import INK, MUTED

__all__ = ["ORDERS", "Votes", "vote_map"]

ORDERS = {"by class": "class", "by score": "score"}  # of the columns
_ROW = 17  # pixels on the screen


@dataclass(frozen=True, eq=False)
class Votes:
    """What a group's channels mean to each class.

    Attributes:
        group: its name.
        table: (K, size) importance, see `rsprune_lib.pruning.class_scores`; a row of zeros for an unseen class.
        kept: (size,) bool, what the plan keeps.
        scores: (size,) by the criterion on the screen.
        classes: K names.
        rare: numbers of the rare classes, the rarest first.
    """

    group: str
    table: np.ndarray
    kept: np.ndarray
    scores: np.ndarray
    classes: Sequence[str]
    rare: Sequence[int]

    @property
    def rows(self) -> list[int]:
        """The classes in the order of the map: the rare ones first."""
        return [*self.rare, *(number for number in range(len(self.classes)) if number not in self.rare)]

    @property
    def shares(self) -> np.ndarray:
        """(K, size): each class's importance as shares of its sum."""
        return self.table / np.maximum(self.table.sum(1, keepdims=True), 1e-30)

    @property
    def stays(self) -> np.ndarray:
        """(K,) share of each class's importance that stays; NaN of an unseen class."""
        seen = self.table.any(1)
        return np.where(seen, (self.shares * self.kept).sum(1), np.nan)

    @property
    def speaks(self) -> np.ndarray:
        """(size,) the class to which each channel means most, next to what all its channels mean to it."""
        return self.shares.argmax(0)

    def columns(self, order: str) -> np.ndarray:
        """(size,) channel numbers in the order of the map.

        Args:
            order: value of `ORDERS`.
        """
        if order == "score":
            return np.argsort(-self.scores, kind="stable")
        place = np.argsort(self.rows)  # of each class
        speaks = self.speaks
        return np.lexsort((-self.shares[speaks, np.arange(len(speaks))], place[speaks]))

    def sentence(self) -> str:
        """How the cut falls on the channels that speak for rare classes."""
        rare, kept = np.isin(self.speaks, self.rare), self.kept
        seen = self.stays[np.isfinite(self.stays)]
        worst = self.classes[int(np.nanargmin(self.stays))] if len(seen) else ""
        text = (
            f"{self.group}: of the {kept.sum()} channels that stay {int((rare & kept).sum())} speak for a rare class, "
            f"of the {int((~kept).sum())} that go {int((rare & ~kept).sum())}."
        )
        return text + (f" {worst} loses most: {seen.min():.0%} of its importance stays." if worst else "")


def vote_map(votes: Votes, order: str = "class") -> str:
    """The map with its words.

    Args:
        votes: what to draw.
        order: of the columns, value of `ORDERS`.
    """
    rows, columns, shares = votes.rows, votes.columns(order), votes.shares
    peak = np.maximum(shares.max(1, keepdims=True), 1e-30)
    picture = shade(BLUE_RAMP, (shares / peak)[rows][:, columns])  # (K, size, 3)
    stays = np.array(
        [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (colours.REMOVED, KEPT)], np.uint8
    )
    strip = stays[votes.kept[columns].astype(int)][None]
    height = _ROW * len(rows)
    image = "display:block;width:100%;image-rendering:pixelated"
    map_ = (
        f'<img alt="importance of {len(columns)} channels for {len(rows)} classes" src="{png_source(picture)}" '
        f'style="{image};height:{height}px"><img alt="what stays" src="{png_source(strip)}" '
        f'style="{image};height:8px;margin-top:4px">'
    )
    line = f"height:{_ROW}px;line-height:{_ROW}px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    names = "".join(
        f'<div style="{line};text-align:right" title="{_best(votes, number)}">{escape(votes.classes[number])}'
        f"{rare_mark() if number in votes.rare else ''}</div>"
        for number in rows
    )
    ends = "".join(f'<div style="{line}">{_percent(votes.stays[number])}</div>' for number in rows)
    grid = "display:grid;grid-template-columns:minmax(84px,150px) minmax(60px,1fr) 72px;gap:0 8px;font-size:12px"
    below = f'<div style="text-align:right;color:{MUTED};font-size:11px">stays</div>'
    about = (
        f"A column is a channel of {votes.group}, {_order(order)}; dark: the class’s own loss would change most "
        "without it (each class on its own scale). The strip says what stays (blue) and goes (grey), the numbers how "
        "much of each class’s importance stays. Point at a class to see its best channels."
    )
    return (
        f"{message(votes.sentence())}"
        f'<div style="{grid};color:{INK};margin-top:4px"><div>{names}{below}</div>'
        f"<div>{map_}</div><div>{ends}</div></div>"
        f"{note(about)}"
    )


def _order(order: str) -> str:
    return "best score first" if order == "score" else "sorted by the class that it speaks for"


def _best(votes: Votes, number: int) -> str:
    """The channels that mean most to a class, in words."""
    row = votes.table[number]
    if not row.any():
        return f"{escape(votes.classes[number])}: in none of the images that were asked"
    best = np.argsort(-row, kind="stable")[:5]
    told = ", ".join(f"#{channel}{'' if votes.kept[channel] else ' (goes)'}" for channel in best)
    return f"{escape(votes.classes[number])} needs most: {told}"


def _percent(share: float) -> str:
    return "not seen" if np.isnan(share) else f"{share:.0%} stays"
