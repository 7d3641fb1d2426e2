"""What the live tool shows, as small pieces of HTML: quick to make, sharp at any size, safe to set from a thread."""

from html import escape

from rsprune_lib.plots import short
from rsprune_lib.studio.state import Snapshot

__all__ = ["bars", "gauges", "message"]

_BLUE, _GREY, _ORANGE, _INK, _SOFT = "#0B6FB8", "#E4E8EC", "#D9600A", "#1F2933", "#66727F"


def _gauge(title: str, value: str, note: str, share: float | None) -> str:
    width = 0 if share is None else 100 * max(0.0, min(1.0, share))
    return (
        f'<div style="flex:1;min-width:150px;padding:8px 12px;border:1px solid {_GREY};border-radius:8px">'
        f'<div style="color:{_SOFT};font-size:12px">{escape(title)}</div>'
        f'<div style="color:{_INK};font-size:22px;font-weight:600;line-height:1.35">{escape(value)}</div>'
        f'<div style="height:5px;border-radius:3px;background:{_GREY}">'
        f'<div style="height:5px;border-radius:3px;width:{width:.1f}%;background:{_BLUE}"></div></div>'
        f'<div style="color:{_SOFT};font-size:12px;margin-top:3px">{escape(note)}</div></div>'
    )


def gauges(snapshot: Snapshot) -> str:
    """Four gauges against the dense network: parameters, MACs, measured latency, accuracy; dots where one is due."""
    now, dense = snapshot, snapshot.dense
    params, macs = now.cost.params / dense.cost.params, now.cost.macs / dense.cost.macs
    cards = [
        _gauge("Parameters", short(now.cost.params), f"{params:.1%} of {short(dense.cost.params)}", params),
        _gauge("MACs an image", short(now.cost.macs), f"{macs:.1%} of {short(dense.cost.macs)}", macs),
    ]
    if now.latency is None:
        cards.append(_gauge("Latency, batch 1", "…", f"dense {dense.latency.median_ms:.2f} ms", None))
    else:
        time = now.latency.median_ms / dense.latency.median_ms
        note = f"{1 / time:.1f}× as fast as {dense.latency.median_ms:.2f} ms"
        cards.append(_gauge("Latency, batch 1, measured", f"{now.latency.median_ms:.2f} ms", note, time))
    if now.quality is None:
        cards.append(_gauge("Accuracy", "…", f"dense {dense.quality.accuracy:.1%}", None))
    else:
        low, high = now.quality.ci
        kind = f"{now.quality.n} validation images" + ("" if now.final else ", first estimate")
        note = f"{low:.1%} to {high:.1%} on {kind}; dense {dense.quality.accuracy:.1%}"
        cards.append(_gauge("Accuracy", f"{now.quality.accuracy:.1%}", note, now.quality.accuracy))
    return f'<div style="display:flex;gap:10px;flex-wrap:wrap">{"".join(cards)}</div>'


def bars(snapshot: Snapshot, before: Snapshot | None = None) -> str:
    """One bar a group: what stays in blue on the dense width in grey; an orange mark where the last setting stood."""
    largest = max(snapshot.plan.sizes.values())
    rows = []
    for name, size in snapshot.plan.sizes.items():
        kept = snapshot.plan.widths[name]
        mark = ""
        if before is not None and before.plan.widths.get(name, kept) != kept:
            left = 100 * before.plan.widths[name] / size
            place = f"position:absolute;left:{left:.1f}%;top:-2px;width:2px;height:14px"
            mark = f'<div style="{place};background:{_ORANGE}"></div>'
        rows.append(
            f'<div style="width:130px;text-align:right;color:{_INK}">{escape(name)}</div>'
            f'<div><div style="position:relative;width:{100 * size / largest:.1f}%;height:10px;background:{_GREY}">'
            f'<div style="width:{100 * kept / size:.1f}%;height:10px;background:{_BLUE}"></div>{mark}</div></div>'
            f'<div style="color:{_SOFT}">{kept} of {size}</div>'
        )
    return (
        '<div style="display:grid;grid-template-columns:140px minmax(200px,1fr) 90px;gap:3px 8px;align-items:center;'
        f'font-size:12px;line-height:14px">{"".join(rows)}</div>'
    )


def message(text: str, *, error: bool = False) -> str:
    """One line of words; an error in orange with a sign, so that colour is not all that tells."""
    colour, sign = (_ORANGE, "⚠ ") if error else (_INK, "")
    return f'<div style="color:{colour};font-size:14px;line-height:1.5">{sign}{escape(text)}</div>'
