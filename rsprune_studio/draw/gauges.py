"""The numbers of a snapshot on the screen: gauges against the dense network, and what became of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsprune_lib.colours import COLOURS, CUT, KEPT, short, signed
from rsprune_lib.tasks import headline
from rsprune_studio.draw.html import card, cards, escape, message, note, rows
from rsprune_studio.draw.theme import GRID, INK, MUTED
from rsprune_studio.engine.setting import Dense, Snapshot

__all__ = ["DENSE", "classes", "gauges", "pending", "rare_mark"]

DENSE = COLOURS[6]  # grey, told from the blue of what stays by lightness, too
_TITLES = ("Parameters", "MACs an image", "Latency, batch 1, one thread")


def gauges(snapshot: Snapshot, *, measured: bool = True) -> str:
    """Gauges against the dense network: parameters, MACs, measured latency, accuracy; dots where one is due.

    Args:
        snapshot: what to show.
        measured: show latency and accuracy too.
    """
    params = snapshot.cost.params / snapshot.dense.cost.params
    macs = snapshot.cost.macs / snapshot.dense.cost.macs
    shown = [
        card(_TITLES[0], short(snapshot.cost.params), f"{params:.1%} of {short(snapshot.dense.cost.params)}", params),
        card(_TITLES[1], short(snapshot.cost.macs), f"{macs:.1%} of {short(snapshot.dense.cost.macs)}", macs),
    ]
    if measured:
        shown += [_latency(snapshot), _quality(snapshot), *(_beside(snapshot, name) for name in snapshot.dense.beside)]
    return cards(shown)


def pending(dense: Dense, *, measured: bool = True) -> str:
    """The same gauges while a setting has no answer yet: dots, beside what is known of the dense network."""
    known = [short(dense.cost.params), short(dense.cost.macs)]
    if measured:
        known.append("" if dense.latency is None else f"{dense.latency.median_ms:.2f} ms")
        known.append("" if dense.quality is None else f"{dense.quality.score:.1%}")
        known += ["" if (value := dense.number(name)) is None else f"{value:.1%}" for name in dense.beside]
    titles = (*_TITLES, headline(dense.metric), *map(headline, dense.beside))
    due = zip(titles, known, strict=False)
    return cards([card(title, "…", value and f"dense {value}", None) for title, value in due])


def _latency(snapshot: Snapshot) -> str:
    now, dense = snapshot.latency, snapshot.dense.latency
    title = _TITLES[2]
    if now is None:
        return card(title, "…", "" if dense is None else f"dense {dense.median_ms:.2f} ms", None)
    if dense is None:
        return card(title, f"{now.median_ms:.2f} ms", "", None)
    if snapshot.speed is None or not snapshot.speed.clear:
        words = "" if snapshot.speed is None else f"; {snapshot.speed}"
        return card(title, f"{now.median_ms:.2f} ms", f"dense {dense.median_ms:.2f} ms{words}", None)
    time = 1 / snapshot.speed.factor
    return card(title, f"{now.median_ms:.2f} ms", f"{snapshot.speed}; dense {dense.median_ms:.2f} ms", time)


def _beside(snapshot: Snapshot, name: str) -> str:
    """A further number; the worst class is named."""
    value, dense = snapshot.number(name), snapshot.dense.number(name)
    against = "" if dense is None else f"dense {dense:.1%}"
    if value is None:
        return card(headline(name), "…", against, None)
    if name == "worst class":
        against = "; ".join(filter(None, [_worst(snapshot), against]))
    elif dense is not None:
        against += f" ({signed(100 * (value - dense))} points)"
    return card(headline(name), f"{value:.1%}", against, value)


def _worst(snapshot: Snapshot) -> str:
    """The name of the class with the least number, of those that the images show."""
    quality, names = snapshot.quality, snapshot.dense.classes
    there = quality.confusion.sum(1) > 0
    values = np.where(there, quality.per_class, np.inf)
    return names[int(np.nanargmin(values))] if names and there.any() else ""


def _quality(snapshot: Snapshot) -> str:
    title = headline(snapshot.dense.metric)
    now, dense = snapshot.quality, snapshot.dense.quality
    against = "" if dense is None else f"; dense {dense.score:.1%}"
    if dense is not None and snapshot.only_folded:
        against += " with its SE gates"
    if now is None:
        return card(title, "…", against.removeprefix("; "), None)
    kind = f"{now.n} validation images"
    if snapshot.instead:
        kind += f", {snapshot.instead}"
    elif not snapshot.final:
        kind += ", first estimate"
    low, high = now.ci
    return card(title, f"{now.score:.1%}", f"{low:.1%} to {high:.1%} on {kind}{against}", now.score)


def classes(snapshot: Snapshot, names: Sequence[str], rare: Sequence[int] = ()) -> str:
    """What became of each class: a bar and a mark for the dense network, or two bars where pixels are counted.

    Args:
        snapshot: what to show.
        names: of all classes.
        rare: numbers of the rare ones, the rarest first.
    """
    now, dense = snapshot.quality, snapshot.dense.quality
    if now is None or dense is None:
        return message(f"The classes follow with the {snapshot.dense.metric}.")
    if now.metric != "accuracy":
        return _pairs(snapshot, names, rare)
    each = []
    for name, share, whole in zip(names, now.per_class, dense.per_class, strict=True):
        if not (np.isnan(share) or np.isnan(whole)):
            each.append((escape(name), 1.0, share, min(whole, 0.995), f"{share:.0%} ({_points(share, whole)} points)"))
    about = f"Orange: the dense network. {now.n} images; the fewer a class has, the more its bar jumps."
    return rows(each, "recognised images of each class") + note(about)


def _points(share: float, whole: float) -> str:
    return f"{100 * (share - whole):+.0f}".replace("-", "−")


def rare_mark() -> str:
    """The badge behind the name of a rare class."""
    look = f"font-weight:400;font-size:11px;color:{CUT};border:1px solid {CUT};border-radius:7px;padding:0 5px"
    return f' <span style="{look}">rare</span>'


def _pairs(snapshot: Snapshot, names: Sequence[str], rare: Sequence[int]) -> str:
    """Two bars for each class, dense above pruned; the rare classes first, the rarest on top."""
    now, dense = snapshot.quality, snapshot.dense.quality
    order = [*rare, *(number for number in range(len(names)) if number not in rare)]
    cells = []
    for number in order:
        share, whole = now.per_class[number], dense.per_class[number]
        name = escape(names[number]) + (rare_mark() if number in rare else "")
        if np.isnan(share) and np.isnan(whole):
            cells.append(f'<div style="text-align:right">{name}</div><div></div><div>in no image here</div>')
            continue
        known = not (np.isnan(share) or np.isnan(whole))
        text = f"{whole:.0%} → {share:.0%} ({_points(share, whole)} points)" if known else "new, or gone"
        bars = "".join(
            f'<div style="height:6px;margin:1px 0;background:{GRID}"><div style="height:6px;background:{colour};'
            f'width:{100 * np.nan_to_num(value):.1f}%"></div></div>'
            for value, colour in ((whole, DENSE), (share, KEPT))
        )
        cells.append(
            f'<div style="text-align:right;overflow-wrap:anywhere">{name}</div><div>{bars}</div>'
            f'<div style="color:{MUTED};white-space:nowrap">{text}</div>'
        )
    columns = "minmax(84px,170px) minmax(50px,1fr) minmax(126px,150px)"
    grid = (
        f"display:grid;grid-template-columns:{columns};gap:4px 8px;align-items:center;font-size:12px;line-height:14px"
    )
    what = f"{headline(now.metric).removeprefix('m')} of each class"
    about = (
        f"{what}: grey the dense network, blue the pruned one, on {now.n} images. Rare classes have the fewest "
        "pixels in the training part; the fewer a class has here, the more its bars jump."
    )
    return f'<div role="group" aria-label="{what}" style="{grid};color:{INK}">{"".join(cells)}</div>{note(about)}'
