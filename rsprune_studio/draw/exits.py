"""Early exits on the screen: gauges, accuracy against cost, rates of the classes, easy and hard images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rsprune_lib.colours import BLUE_RAMP, CUT, KEPT, shade, short, signed
from rsprune_lib.data import Dataset
from rsprune_lib.measure import Latency, Speed
from rsprune_studio.draw.html import card, cards, escape, note, ticks
from rsprune_studio.draw.inside import thumbnail
from rsprune_studio.draw.theme import GRID, INK, MUTED, PAPER
from rsprune_studio.engine.exits import ExitStudy, Judged

__all__ = ["curve", "exit_gauges", "gallery", "rates", "sentence"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 612, 10, 210
Times = Mapping[int, tuple[Speed, Latency]]


def exit_gauges(study: ExitStudy, judged: Judged, times: Times | None) -> str:
    """Accuracy, mean MACs and measured speed with exits, each against the same network without.

    Args:
        study: the network with exits.
        judged: what the thresholds do.
        times: measured speeds by batch size; None while they are due.
    """
    now, whole, found = judged.quality, judged.whole, judged.outcome
    low, high = now.ci
    change = signed(100 * (now.score - whole.score))
    left = 1 - found.rates[-1]
    parts = [
        card("Accuracy with exits", f"{now.score:.1%}", f"{low:.1%} to {high:.1%} on {now.n} validation images; "
             f"without exits {whole.score:.1%} ({change} points)", now.score),
        card("Mean MACs an image", short(found.cost * study.costs[-1]), f"{found.cost:.1%} of {short(study.costs[-1])}",
             found.cost),
        card("Leave before the end", f"{left:.0%}", f"{found.lost:.1%} of the images are right without exits and wrong "
             "with them", left),
    ]  # fmt: skip
    parts.append(_time(times))
    return cards(parts, "the network with exits in numbers")


def _time(times: Times | None) -> str:
    """A gauge of the measured time at batch 1; in its note how fast that is, and how fast larger batches are."""
    title = "Latency, batch 1, one thread"
    if not times:
        return card(title, "…", "", None)
    words = []
    for batch, (speed, _) in times.items():
        against = f"{speed} as without exits" if speed.clear and not speed.alike else str(speed)
        words.append(against if batch == 1 else f"batch {batch}: {speed}")
    speed, took = times[1]
    share = 1 / speed.factor if speed.clear else None
    return card(title, f"{np.median(took.rounds_ms):.2f} ms", "; ".join(words), share)


def sentence(study: ExitStudy, judged: Judged) -> str:
    """The whole state in one line of words."""
    found = judged.outcome
    rates = ", ".join(
        f"{rate:.0%} {'to the end' if number == study.count else f'at exit {number + 1}'}"
        for number, rate in enumerate(found.rates)
    )
    points = signed(100 * (judged.quality.score - judged.whole.score))
    fitted = "" if study.fitted is None else f" (heads fitted on {study.fitted:,} training images, backbone unchanged)"
    return (
        f"Images leave: {rates}; accuracy {judged.quality.score:.1%} ({points} points) at {found.cost:.0%} of the "
        f"MACs{fitted}. An oracle, which leaves at the first exit that is right, needs {judged.oracle.cost:.0%}."
    )


def curve(study: ExitStudy, judged: Judged) -> str:
    """Accuracy against mean MACs of a rule from strict to loose; where the thresholds stand, in orange."""
    swept, alone = study.curve(judged.rule.kind), study.alone()
    scores = [o.accuracy for o in swept] + [score for _, score in alone] + [judged.outcome.accuracy]
    floor = max(0.0, math.floor(20 * (min(scores) - 0.01)) / 20)
    top = min(1.0, math.ceil(50 * max(*scores, judged.oracle.accuracy)) / 50)

    def at(cost: float, score: float) -> tuple[float, float]:
        return _LEFT + (_RIGHT - _LEFT) * cost, _BOTTOM - (_BOTTOM - _TOP) * (score - floor) / (top - floor or 1.0)

    label = (
        f"accuracy against mean MACs; now {judged.outcome.accuracy:.1%} at {judged.outcome.cost:.0%}, whole network "
        f"{judged.whole.score:.1%}"
    )
    look = f'style="width:100%;max-width:760px" font-size="11" fill="{MUTED}"'
    parts = [f'<svg role="img" aria-label="{label}" viewBox="0 0 640 248" {look}>']
    for level in ticks(floor, top):
        y = at(0, level)[1]
        parts.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:.0%}</text>')
    parts += [f'<text x="{at(x / 4, 0)[0]:.1f}" y="226" text-anchor="middle">{x / 4:.0%}</text>' for x in range(5)]
    line = " ".join("{:.1f},{:.1f}".format(*at(o.cost, o.accuracy)) for o in swept)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{KEPT}" stroke-width="2"/>')
    for number, (cost, score) in enumerate(alone):
        x, y = at(cost, score)
        name = "the whole network" if number == study.count else f"exit {number + 1}"
        title = f"<title>everyone leaves at {name}: {score:.1%} at {cost:.0%}</title>"
        parts.append(f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{MUTED}">{title}</rect>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 12:.1f}">{"end" if number == study.count else number + 1}</text>')
    x, y = at(judged.oracle.cost, judged.oracle.accuracy)
    parts.append(f'<text x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle" font-size="17" fill="{INK}">★</text>')
    x, y = at(judged.outcome.cost, judged.outcome.accuracy)
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" fill="{PAPER}" stroke="{CUT}" stroke-width="3"/>')
    axis = f'<text x="{(_LEFT + _RIGHT) / 2}" y="244" text-anchor="middle">mean MACs of an image</text></svg>'
    about = (
        "Blue: this rule with one threshold for all exits, from strict (right) to loose. Squares: everyone leaves "
        "there. Star: the oracle. Orange ring: where the thresholds stand."
    )
    return "".join([*parts, axis]) + note(about)


def rates(study: ExitStudy, judged: Judged, classes: Sequence[str]) -> str:
    """One bar a class: where its images leave, and how many are right; the class that leaves earliest comes first."""
    labels = study.labels[study.shown].numpy()
    shares = {}
    for number, name in enumerate(classes):
        own = judged.left[labels == number]
        if len(own):
            shares[name] = np.bincount(own, minlength=study.count + 1) / len(own)
    colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in shade(BLUE_RAMP, np.linspace(0.2, 0.95, study.count + 1))]
    rows = []
    for name in sorted(shares, key=lambda name: shares[name][-1]):
        bar = "".join(
            f'<div style="width:{100 * share:.1f}%;background:{colour}" title="{share:.0%}"></div>'
            for share, colour in zip(shares[name], colours, strict=True)
        )
        right, whole = (q.per_class[list(classes).index(name)] for q in (judged.quality, judged.whole))
        early = 1 - shares[name][-1]
        text = f"{early:.0%} early; {right:.0%} right ({signed(100 * (right - whole))})"
        picture = f'role="img" aria-label="{escape(name)}: {early:.0%} leave early" style="display:flex;height:12px"'
        rows.append(
            f'<div style="text-align:right;color:{INK};overflow:hidden;text-overflow:ellipsis">{escape(name)}</div>'
            f'<div {picture}>{bar}</div><div style="color:{MUTED};white-space:nowrap">{text}</div>'
        )
    grid = "display:grid;grid-template-columns:minmax(70px,150px) minmax(60px,1fr) minmax(150px,190px);gap:3px 8px"
    words = [*(f"exit {n + 1}" for n in range(study.count)), "to the end"]
    legend = "".join(
        f'<span style="margin-right:14px"><span style="display:inline-block;width:11px;height:11px;background:{colour};'
        f'margin-right:4px"></span>{word}</span>'
        for word, colour in zip(words, colours, strict=True)
    )
    body = f'<div style="{grid};align-items:center;font-size:12px;line-height:14px">{"".join(rows)}</div>'
    return f'<div style="font-size:12px;color:{INK};margin:4px 0">{legend}</div>{body}'


def gallery(study: ExitStudy, judged: Judged, data: Dataset, count: int = 8) -> str:
    """A strip of images for each exit: the surest that leave there, and the least sure that go to the end."""
    records, labels = study.records[study.shown], study.labels[study.shown]
    strips = []
    for number in range(study.count + 1):
        mine = np.flatnonzero(judged.left == number)
        sure = records[mine, number].softmax(1).max(1).values.numpy()
        order = np.argsort(sure if number == study.count else -sure, kind="stable")
        cells = []
        for k in mine[order][:count]:
            says, true = int(records[k, number].argmax()), int(labels[k])
            text = f"✓ {sure[np.flatnonzero(mine == k)[0]]:.0%}" if says == true else f"✗ {data.classes[says]}"
            pixels = np.asarray(data.images[study.images[study.shown][k]])
            cells.append(thumbnail(pixels, data.classes[true], text, wrong=says != true, side=72))
        name = "Go to the end: the least sure" if number == study.count else f"Leave at exit {number + 1}: the surest"
        wall = (
            f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(cells)}</div>' if cells else note("No image.")
        )
        title = f"{name} of {len(mine)}"
        strips.append(f'<div style="font-size:13px;font-weight:600;color:{INK};margin:8px 0 4px">{title}</div>{wall}')
    return "".join(strips)
