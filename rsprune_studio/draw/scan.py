"""A sensitivity scan on the screen: small curves as SVG, and a table in words. Milliseconds each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsprune_lib.colours import CUT, KEPT, signed
from rsprune_lib.measure import wilson
from rsprune_lib.pruning import Scan
from rsprune_studio.draw.html import escape, note
from rsprune_studio.draw.theme import GRID, INK, MUTED, PAPER, REMOVED
from rsprune_studio.engine.guided import guided_ratios
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio

__all__ = ["fragility", "scan_curves"]

_WIDTH, _HEIGHT = 216, 84
_VERDICTS = ((0.25, "fragile"), (0.6, "middling"), (0.85, "robust"))  # up to which ratio a group can lose channels


def scan_curves(scan: Scan, snapshot: Snapshot | None = None) -> str:
    """One small curve a group, all on one scale: accuracy against the share of this group alone that is removed.

    Args:
        scan: what was measured.
        snapshot: its plan's place is marked on every curve; None marks nothing.
    """
    panels = [_scan_panel(scan, name, snapshot) for name in scan.curves]
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:10px 16px"
    others = ""
    if scan.metric == "accuracy":
        low, high = wilson(round(scan.dense * scan.n), scan.n)
        others = f" ({low:.0%} to {high:.0%} on other images)"
    about = (
        f"Rightwards: share of this group's channels removed by {scan.criterion}, 0 to 100%; upwards: {scan.metric}, 0 "
        "to "
        f"100%, on {scan.n} validation images, before any recovery. Dotted: nothing removed, {scan.dense:.1%}"
        f"{others}. Orange: where the plan on the screen stands."
    )
    return f'<div style="{grid}">{"".join(panels)}</div>{note(about)}'


def _scan_panel(scan: Scan, name: str, snapshot: Snapshot | None) -> str:
    ratios, accuracy = [0.0, *scan.ratios], [scan.dense, *scan.curves[name]]
    line = " ".join(f"{_across(x):.1f},{_up(y):.1f}" for x, y in zip(ratios, accuracy, strict=True))
    parts = [
        f'<line x1="{_WIDTH * x:.0f}" x2="{_WIDTH * x:.0f}" y1="0" y2="{_HEIGHT}" stroke="{GRID}"/>' for x in (0.5, 1.0)
    ]
    parts += [
        f'<line x1="0" x2="{_WIDTH}" y1="{_up(y):.1f}" y2="{_up(y):.1f}" stroke="{colour}"/>'
        for y, colour in ((0.5, GRID), (1.0, GRID), (0.0, REMOVED))
    ]
    dense = f"{_up(scan.dense):.1f}"
    parts.append(f'<line x1="0" x2="{_WIDTH}" y1="{dense}" y2="{dense}" stroke="{MUTED}" stroke-dasharray="2 3"/>')
    parts.append(f'<polyline points="{line}" fill="none" stroke="{KEPT}" stroke-width="2"/>')
    for x, y in zip(scan.ratios, scan.curves[name], strict=True):
        title = f"<title>{x:.0%} of {escape(name)} removed: {y:.1%}</title>"
        parts.append(f'<circle cx="{_across(x):.1f}" cy="{_up(y):.1f}" r="2.6" fill="{KEPT}">{title}</circle>')
    text = ""
    if snapshot is not None:
        x, y = _place(scan, name, snapshot)
        text = f"−{x:.0%}: {y:.0%}"
        ring = f'fill="{PAPER}" stroke="{CUT}" stroke-width="2.6"'
        parts.append(f'<circle cx="{_across(x):.1f}" cy="{_up(y):.1f}" r="4.6" {ring}><title>{text}</title></circle>')
    label = (
        f"{escape(name)}: {scan.metric} falls from {scan.dense:.0%} to {accuracy[-1]:.0%} at {ratios[-1]:.0%} removed"
    )
    box = f'viewBox="-6 -6 {_WIDTH + 12} {_HEIGHT + 12}" style="display:block;width:100%"'
    return (
        f'<div><div style="display:flex;justify-content:space-between;font-size:12px;color:{INK}"><b>{escape(name)}</b>'
        f'<span style="color:{MUTED}">{text}</span></div>'
        f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg></div>'
    )


def _across(share: float) -> float:
    return _WIDTH * share


def _up(accuracy: float) -> float:
    return _HEIGHT * (1 - accuracy)


def _place(scan: Scan, name: str, snapshot: Snapshot) -> tuple[float, float]:
    """Where a plan stands on a group's curve: (share removed, accuracy by a straight line between measured points)."""
    removed = 1 - snapshot.plan.widths[name] / snapshot.plan.sizes[name]
    return removed, float(np.interp(removed, [0.0, *scan.ratios], [scan.dense, *scan.curves[name]]))


def fragility(studio: Studio, scan: Scan, drop: float, snapshot: Snapshot | None = None) -> str:
    """Says in words which groups are fragile, then a table, the most fragile group first.

    Args:
        studio: whose groups they are.
        scan: what was measured.
        drop: accuracy that one group may cost, in [0, 1].
        snapshot: what the plan on the screen takes from each group; None leaves the columns out.
    """
    spared = guided_ratios(scan, studio.groups, drop)
    rows = sorted(scan.curves, key=lambda name: (spared[name], sum(scan.curves[name])))
    sizes = {group.name: group.size for group in studio.groups}
    heads = ["group", "channels", "half of it removed", f"can lose within {100 * drop:.3g} points", "verdict"]
    heads += [] if snapshot is None else ["this plan removes", "alone, that costs"]
    body = []
    for name in rows:
        half = float(np.interp(0.5, [0.0, *scan.ratios], [scan.dense, *scan.curves[name]]))
        cells = [escape(name), str(sizes[name]), f"{_points(half - scan.dense)} points", f"up to {spared[name]:.0%}"]
        cells.append(_verdict(spared[name]))
        if snapshot is not None:
            removed, there = _place(scan, name, snapshot)
            cells += [f"{removed:.0%}", f"{_points(there - scan.dense)} points"]
        body.append(cells)
    return _summary(rows, spared, drop) + _table(heads, body)


def _summary(rows: Sequence[str], spared: dict[str, float], drop: float) -> str:
    weak = [name for name in rows if _verdict(spared[name]) == "fragile"]
    strong = [name for name in rows if _verdict(spared[name]) == "very robust"]
    edge = f"more than {100 * drop:.3g} points lost before a quarter of the channels is gone"
    text = f"Fragile ({edge}): {', '.join(weak)}." if weak else f"No group is fragile ({edge})."
    if strong:
        text += (
            f" {len(strong)} of {len(rows)} groups can lose at least {_VERDICTS[-1][0]:.0%} of their channels alone "
            f"within {100 * drop:.3g} points: {', '.join(strong[-4:])}{' and others' if len(strong) > 4 else ''}."
        )
    return f'<div style="color:{INK};font-size:14px;line-height:1.5">{escape(text)}</div>'


def _verdict(spared: float) -> str:
    return next((word for limit, word in _VERDICTS if spared < limit), "very robust")


def _points(change: float) -> str:
    return signed(100 * change) if abs(change) >= 0.0005 else "0.0"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} style="text-align:{"left" if i == 0 else "right"};padding:1px 18px 1px 0;font-weight:'
            f'{"600" if tag == "th" else "400"}">{cell}</{tag}>'
            for i, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    style = f"border-collapse:collapse;margin-top:6px;font-size:12px;line-height:1.45;color:{INK}"
    table = f'<table style="{style}"><thead><tr>{cells(heads, "th")}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="rsprune-table" tabindex="0" role="region" aria-label="fragility of each group">{table}</div>'
