"""The live tool's two charts as SVG: scores with their cuts, and the trail of the settings tried. Milliseconds each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rsprune_lib.colours import CUT, KEPT, short
from rsprune_studio.draw.html import escape, note, ticks
from rsprune_studio.draw.theme import GRID, INK, MUTED, REMOVED
from rsprune_studio.engine.history import Point
from rsprune_studio.engine.setting import Snapshot, recovery_titles

__all__ = ["describe", "histograms", "trail"]

_BINS = 36
_WIDTH, _HEIGHT = 216, 62
_LEFT, _RIGHT = 44, 612
_DOTS = 200  # newest points on the map; a drawing of thousands would make every move slow


def histograms(values: Mapping[str, np.ndarray], snapshot: Snapshot, cuts: Mapping[str, float]) -> str:
    """One histogram a group, all on one scale: kept channels blue, removed ones grey, the cut orange.

    Args:
        values: group name -> (size,) normalised scores.
        snapshot: its plan says what stays.
        cuts: group name -> lowest score that stays.
    """
    everything = np.concatenate(list(values.values()))
    low, high = float(min(everything.min(), 0.0)), float(np.quantile(everything, 0.995))
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    panels = [
        _histogram(name, np.clip(own, edges[0], edges[-1]), snapshot.plan.keep[name], edges, cuts[name])
        for name, own in values.items()
    ]
    about = (
        f"Scores by {snapshot.setting.criterion}, normalised, from {edges[0]:.3g} to {edges[-1]:.3g} in every box; the "
        "last bar holds what is larger. Blue stays, grey goes, the orange line is the cut."
    )
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(216px,1fr));gap:8px 14px"
    return f'<div style="{grid}">{"".join(panels)}</div>{note(about)}'


def _histogram(name: str, values: np.ndarray, kept: Sequence[int], edges: np.ndarray, cut: float) -> str:
    stays = np.zeros(len(values), dtype=bool)
    stays[list(kept)] = True
    every, blue = np.histogram(values, edges)[0], np.histogram(values[stays], edges)[0]
    step, tallest = _WIDTH / _BINS, max(int(every.max()), 1)
    bars = []
    for number in np.flatnonzero(every):
        x, grey, top = number * step, every[number], _HEIGHT * every[number] / tallest
        part = top * blue[number] / grey
        bars.append(_rect(x, _HEIGHT - top, step - 1, top - part, REMOVED))
        bars.append(_rect(x, _HEIGHT - part, step - 1, part, KEPT))
    if len(kept) < len(values):
        place = _WIDTH * float(np.clip((cut - edges[0]) / (edges[-1] - edges[0]), 0, 1))
        bars.append(_rect(max(place - 1, 0), 0, 2, _HEIGHT, CUT))
    label = f"histogram of the scores of {escape(name)}: {len(kept)} of {len(values)} channels stay"
    picture = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {_HEIGHT + 1}" width="100%" '
        f'style="border-bottom:1px solid {GRID}">'
    )
    return (
        f'<div><div style="display:flex;justify-content:space-between;font-size:12px;color:{INK}"><b>{escape(name)}</b>'
        f'<span style="color:{MUTED}">{len(kept)} of {len(values)}</span></div>{picture}{"".join(bars)}</svg></div>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    if height <= 0:
        return ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def trail(points: Sequence[Point], front: Sequence[int], now: int | None) -> str:
    """Accuracy against MACs of every setting tried: the Pareto front as a staircase, the dense network dotted.

    Args:
        points: what has been measured, oldest first.
        front: places of the points on the Pareto front, from few MACs to many.
        now: place of the point on the screen.
    """
    if not points:
        return note("Every setting that has been measured leaves a dot here.")
    best = max(points, key=lambda point: point.score)
    label = (
        f"quality against MACs of {len(points)} settings, {len(front)} of them on the Pareto front; the best "
        f"has {best.score:.1%} with {best.share:.0%} of the MACs"
    )
    look = f'style="width:100%;max-width:760px" font-size="11" fill="{MUTED}"'
    parts = [f'<svg role="img" aria-label="{label}" viewBox="0 0 640 244" {look}>']
    shown = sorted({*front, *range(max(0, len(points) - _DOTS), len(points)), *([] if now is None else [now])})
    floor = math.floor(10 * max(0.0, min(points[i].score for i in shown) - 0.02)) / 10
    for level in ticks(floor, 1.0):
        parts.append(_line(level, floor, GRID))
        parts.append(f'<text x="{_LEFT - 6}" y="{_y(level, floor) + 4:.1f}" text-anchor="end">{level:.0%}</text>')
    for step in range(5):
        parts.append(f'<text x="{_x(step / 4):.1f}" y="225" text-anchor="middle">{step / 4:.0%}</text>')
    parts.append(_line(points[-1].dense_score, floor, MUTED, "2 3"))
    parts.append(_staircase([points[i] for i in front], floor))
    for number in sorted(shown, key=lambda i: i == now):  # the one on the screen on top
        parts.append(_dot(number, points[number], number in front, number == now, floor))
    axis = (
        f'<text x="{(_LEFT + _RIGHT) / 2}" y="241" text-anchor="middle">MACs left, of the dense network’s</text></svg>'
    )
    about = (
        "Upwards: the gauge's quality; dotted: the dense network. Filled: on the screen; orange: the Pareto front, "
        "which no other "
        "setting tried so far beats in both. Point at a dot to see its setting."
    )
    return "".join([*parts, axis]) + note(about)


def _staircase(front: Sequence[Point], floor: float) -> str:
    """The Pareto front from its first point to its last: no setting tried so far lies above it."""
    steps = [f"M{_x(front[0].share):.1f} {_y(front[0].score, floor):.1f}"]
    for point in front[1:]:
        steps += [f"H{_x(point.share):.1f}", f"V{_y(point.score, floor):.1f}"]
    return f'<path d="{" ".join(steps)}" fill="none" stroke="{CUT}" stroke-width="1.5"/>'


def _dot(number: int, point: Point, best: bool, now: bool, floor: float) -> str:
    look = f'r="6.5" fill="{KEPT}"' if now else 'r="4.5" fill="{PAPER}" fill-opacity="0.6"'
    x, y = _x(point.share), _y(point.score, floor)
    ring = f'stroke="{CUT if best else KEPT}" stroke-width="{2 if best else 1}"'
    title = escape(describe(number, point, best))
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" {look} {ring}><title>{title}</title></circle>'


def _x(share: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(share, 1.0)


def _y(accuracy: float, floor: float) -> float:
    return 8 + 202 * min(1.0, (1 - accuracy) / (1 - floor))


def _line(accuracy: float, floor: float, colour: str, dashes: str = "") -> str:
    dashes = f' stroke-dasharray="{dashes}"' if dashes else ""
    y = f"{_y(accuracy, floor):.1f}"
    return f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}" stroke="{colour}"{dashes}/>'


def describe(number: int, point: Point, best: bool) -> str:
    """A point in a few words, e.g. for a tooltip.

    Args:
        number: its place, from 0; people count from 1.
        point: what was measured.
        best: it is on the Pareto front.
    """
    setting = point.setting
    amount = {
        "ratio": f"{setting.ratio:.0%} of the channels removed, {setting.scope}",
        "threshold": f"scores below {setting.threshold or 0:.3g} removed",
        "macs": f"at most {setting.macs:.0%} of the MACs, {setting.scope}",
        "plan": "a given plan",
    }[setting.amount]
    if setting.by_graph and setting.amount == "threshold":
        amount = f"joined from similarity {1 - (setting.threshold or 0):.2f} on"
    amount += f", {setting.selector}" if setting.by_graph else ""
    amount += f", in multiples of {setting.multiple_of}" if setting.multiple_of > 1 and setting.takes_multiples else ""
    amount += "" if setting.normalise is None else f", scores normalised by {setting.normalise}"
    amount += f", {len(setting.own)} own ratios" if setting.own and setting.amount == "ratio" else ""
    amount += f", {len(setting.locked)} locked" if setting.locked else ""
    amount += "".join(f", {name} {value}" for name, value in setting.options.items())
    took = f"{point.latency_ms:.2f} ms" if point.clear else "time not clear"
    numbers = f"{short(point.macs)} MACs, {took}, {point.score:.1%}"
    star = "★ " if best else ""
    recovery = recovery_titles(tuned=True, masks=True)[setting.recovery]
    return f"{star}{number + 1}: {numbers} — {setting.criterion}, {amount}, {recovery}"
