"""A fine-tuning on the screen: the curves of a run as SVG, as far as it has come. Milliseconds."""

from __future__ import annotations

import numpy as np

from rsprune_lib.colours import CUT, KEPT
from rsprune_studio.draw.html import ticks
from rsprune_studio.draw.theme import GRID, INK, MUTED, REMOVED
from rsprune_studio.engine.setting import Snapshot, recovery_titles
from rsprune_studio.engine.tune_run import TuneRun

__all__ = ["named", "tune_curves"]

_POINTS = 240  # of a loss curve; more would not be seen


def named(snapshot: Snapshot) -> str:
    """A snapshot in a few words: ``"attention, 70% of the channels removed, closed form, live"``."""
    removed = 1 - sum(snapshot.plan.widths.values()) / sum(snapshot.plan.sizes.values())
    return (
        f"{snapshot.setting.criterion}, {removed:.0%} of the channels removed, "
        + (recovery_titles(tuned=True, masks=True)[snapshot.setting.recovery])
    )


def tune_curves(run: TuneRun) -> str:
    """The run so far: validation accuracy of each epoch above, training loss of each step below, on one axis of steps.

    Args:
        run: it may go on meanwhile.
    """
    losses, accuracies, total = list(run.losses), list(run.accuracies), max(run.total, 1)
    dense = run.snapshot.dense.quality
    last = f", validation {run.metric} {accuracies[-1][1]:.1%}" if accuracies else ""
    label = f"fine-tuning: {len(losses)} of {total} steps{last}"
    look = f'style="width:100%;max-width:760px" font-size="11" fill="{MUTED}"'
    parts = [f'<svg role="img" aria-label="{label}" viewBox="0 0 640 256" {look}>']
    parts += _accuracy_part(accuracies, None if dense is None else dense.score, total, run.metric)
    parts += _loss_part(losses, total)
    for epoch in range(run.options.epochs + 1):
        if epoch % max(1, run.options.epochs // 10) == 0:
            x = _step(epoch / run.options.epochs)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="222" y2="226" stroke="{MUTED}"/>')
            parts.append(f'<text x="{x:.1f}" y="238" text-anchor="middle">{epoch}</text>')
    parts.append('<text x="624" y="250" text-anchor="end">epochs</text>')
    return "".join([*parts, "</svg>"])


def _step(share: float) -> float:
    return 48 + 576 * share


def _accuracy_part(points: list[tuple[int, float]], dense: float | None, total: int, metric: str) -> list[str]:
    """Dots joined by a line on a scale that begins a little below the lowest value."""
    shown = [value for _, value in points] + ([] if dense is None else [dense])
    low = max(0.0, np.floor(20 * min(shown, default=0.0) - 0.6) / 20)
    high = min(1.0, np.ceil(20 * max(shown, default=1.0) + 0.2) / 20)

    def y(value: float) -> float:
        return 20 + 96 * (high - value) / max(high - low, 0.05)

    about = "" if dense is None else " (dotted: dense network)"
    parts = [f'<text x="48" y="12">validation {metric} after each epoch{about}</text>']
    for level in ticks(low, high, 4):
        parts.append(f'<line x1="48" x2="624" y1="{y(level):.1f}" y2="{y(level):.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="42" y="{y(level) + 4:.1f}" text-anchor="end">{100 * level:.3g}%</text>')
    if dense is not None:
        parts.append(
            f'<line x1="48" x2="624" y1="{y(dense):.1f}" y2="{y(dense):.1f}" stroke="{INK}" stroke-dasharray="2 3"/>'
        )
    places = [(_step(step / total), y(value), value) for step, value in points]
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{KEPT}" stroke-width="2"/>')
    parts += [
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{KEPT}"><title>{value:.1%}</title></circle>'
        for a, b, value in places
    ]
    return parts


def _loss_part(losses: list[float], total: int) -> list[str]:
    """Every step in grey, the mean of its neighbours in orange, from zero to the largest."""
    parts = ['<text x="48" y="138">training loss of each step (orange: mean of 16 steps)</text>']
    values = np.array(losses, dtype=float)
    values = values[np.isfinite(values)]
    top = float(values.max()) if len(values) else 1.0
    for level in (0.0, top):
        y = 222 - 74 * level / top if top else 222.0
        parts.append(f'<line x1="48" x2="624" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="42" y="{y + 4:.1f}" text-anchor="end">{level:.2g}</text>')
    if len(values) > 1 and top > 0:
        smooth = np.array([values[max(0, i - 15) : i + 1].mean() for i in _thin(len(values))])
        for row, colour, width in ((values[_thin(len(values))], REMOVED, 1.2), (smooth, CUT, 2)):
            places = zip(_thin(len(values)), row, strict=True)
            line = " ".join(f"{_step((i + 1) / total):.1f},{222 - 74 * value / top:.1f}" for i, value in places)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    return parts


def _thin(count: int) -> np.ndarray:
    """Places of at most `_POINTS` values, evenly spread, the last one among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))
