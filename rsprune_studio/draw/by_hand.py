"""Channels picked by hand: the scores of one group under a brush, and the choice beside a criterion's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsprune_lib.colours import CUT, KEPT, short
from rsprune_lib.tasks import headline
from rsprune_studio.draw.html import escape, message, note
from rsprune_studio.draw.theme import GRID, INK, MUTED, REMOVED, SOFT
from rsprune_studio.engine.by_hand import hand_groups
from rsprune_studio.engine.choice_comparison import ChoiceComparison
from rsprune_studio.engine.setting import Setting, Snapshot

__all__ = ["brushed", "choice_table", "hand_sentence", "hand_words"]

_BINS, _WIDTH, _HEIGHT = 48, 480.0, 96.0


def brushed(
    values: np.ndarray, kept: Sequence[int], ends: tuple[float, float], brush: tuple[float, float], group: str
) -> str:
    """The histogram of a group's scores: blue stays, grey goes, and a frame around what the brush holds.

    Args:
        values: (size,) normalised scores.
        kept: numbers of the channels that stay.
        ends: lowest and highest score of the axis; the last bar holds what is larger.
        brush: from, to.
        group: its name.
    """
    edges = np.linspace(*ends, _BINS + 1)
    stays = np.isin(np.arange(len(values)), kept)
    inside = np.clip(values, *ends)
    every, blue = np.histogram(inside, edges)[0], np.histogram(inside[stays], edges)[0]
    step, tallest = _WIDTH / _BINS, max(int(every.max()), 1)
    left, right = (_WIDTH * (one - ends[0]) / (ends[1] - ends[0]) for one in brush)
    parts = [f'<rect x="{left:.1f}" y="0" width="{max(right - left, 1):.1f}" height="{_HEIGHT}" fill="{GRID}"/>']
    for number in np.flatnonzero(every):
        tall, part = (_HEIGHT * 0.94 * count / tallest for count in (every[number], blue[number]))
        x = f'x="{number * step:.1f}" width="{step - 1.5:.1f}"'
        parts.append(f'<rect {x} y="{_HEIGHT - tall:.1f}" height="{tall - part:.1f}" fill="{REMOVED}"/>')
        parts.append(f'<rect {x} y="{_HEIGHT - part:.1f}" height="{part:.1f}" fill="{KEPT}"/>')
    for x in (left, right):
        x = min(max(x, 1), _WIDTH - 1)
        parts.append(f'<path d="M{x:.1f} 0V{_HEIGHT}" stroke="{CUT}" stroke-width="2"/>')
    label = f"histogram of the scores of {escape(group)}: {len(kept)} of {len(values)} channels stay"
    box = f'role="img" aria-label="{label}" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}"'
    look = f'preserveAspectRatio="none" style="width:100%;height:{_HEIGHT:.0f}px;background:{SOFT};display:block"'
    return f"<svg {box} {look}>{''.join(parts)}</svg>"


def hand_words(group: str, chosen: np.ndarray, kept: Sequence[int], size: int, brush: tuple[float, float]) -> str:
    """What the brush holds, in words."""
    stay = int(np.isin(chosen, kept).sum())
    return note(
        f"{group}: {len(kept)} of {size} channels stay. The brush holds {len(chosen)} of them all, with scores from "
        f"{brush[0]:.3g} to {brush[1]:.3g}; {stay} of these stay now, {len(chosen) - stay} are out."
    )


def hand_sentence(setting: Setting) -> str:
    """Says that a person picked the channels, and of which groups; empty where the plan is another one."""
    groups = hand_groups(setting)
    if groups is None:
        return ""
    names = ", ".join(groups[:4]) + (f" and {len(groups) - 4} more" if len(groups) > 4 else "")
    return f" Picked by hand: channels of {names}."


def choice_table(compared: ChoiceComparison) -> str:
    """The hand's choice, the criterion's and the dense network in a table, and in words whether they differ."""
    setting, dense = compared.by_criterion.setting, compared.hand.dense
    rows = [
        ("by hand", compared.hand.plan.widths, compared.hand),
        (f"{setting.criterion}, {setting.scope}", compared.by_criterion.plan.widths, compared.by_criterion),
    ]
    head = ("choice", "channels", "MACs", headline(dense.metric), "time")
    cells = "".join(f'<th scope="col" style="{_cell(k)};color:{MUTED}">{name}</th>' for k, name in enumerate(head))
    body = "".join(_row(name, sum(widths.values()), shown) for name, widths, shown in rows)
    table = f'<table style="border-collapse:collapse;font-size:13px;color:{INK}"><tr>{cells}</tr>{body}</table>'
    return f'<div class="rsprune-table">{table}</div>{message(_verdict(compared))}'


def _row(name: str, channels: int, shown: Snapshot) -> str:
    low, high = shown.quality.ci
    clear = shown.speed is not None and shown.speed.clear
    time = "not clear" if not clear else f"{shown.latency.median_ms:.2f} ms"
    cells = (
        f"{channels:,}", short(shown.cost.macs), f"{shown.quality.score:.1%} ({low:.1%} to {high:.1%})", time,
    )  # fmt: skip
    rest = "".join(f'<td style="{_cell(1)}">{escape(cell)}</td>' for cell in cells)
    return f'<tr><th scope="row" style="{_cell(0)};font-weight:600">{escape(name)}</th>{rest}</tr>'


def _cell(column: int) -> str:
    return f"padding:2px 12px 2px 0;text-align:{'left' if column == 0 else 'right'};white-space:nowrap"


def _verdict(compared: ChoiceComparison) -> str:
    """Who is better, only where chance does not explain it."""
    pair, name = compared.paired, compared.by_criterion.setting.criterion
    chance = "p\u00a0<\u00a00.001" if pair.p_value < 0.001 else f"p\u00a0=\u00a0{pair.p_value:.2g}"
    better = "right" if compared.hand.dense.metric == "accuracy" else "better"
    text = (
        f"{compared.shared:.0%} of the channels picked by hand are also {name}’s. On {compared.hand.quality.n} "
        f"validation images, {pair.gained} are {better} only by hand and {pair.lost} only by {name} ({chance}): "
    )
    if pair.p_value >= 0.05:
        return text + "the difference may be chance."
    first, other = ("the hand", name) if pair.gained > pair.lost else (name, "the hand")
    higher = compared.hand.quality.score - compared.by_criterion.quality.score
    if higher * (pair.gained - pair.lost) < 0:  # of a segmenter: most images gain a little, a class is lost
        return text + f"{first} is better on more images, but has the lower {compared.hand.dense.metric}: no winner."
    return text + f"{first} is better here than {other}."
