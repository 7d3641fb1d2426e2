"""What the live tool shows, as small pieces of HTML: quick to make, sharp at any size, safe to set from a thread."""

import html
import math
from collections.abc import Iterable, Sequence

from rsprune_lib.colours import CUT, KEPT
from rsprune_lib.errors import RspruneError, visible
from rsprune_lib.pruning import Plan, diff
from rsprune_studio.draw.theme import ACCENT, GRID, INK, MUTED, PAPER, SOFT
from rsprune_studio.engine.setting import Snapshot

__all__ = [
    "bars", "card", "cards", "code", "escape", "glossary", "in_words", "message", "note", "rows", "ticks", "time_left",
    "working",
]  # fmt: skip


# drawn, since few machines have a font with the sign
_LOCK = (
    '<svg role="img" aria-label="locked" viewBox="0 0 10 12" style="height:11px;vertical-align:-1px">'
    "<title>locked</title>"
    f'<path d="M2.5 5V3.5a2.5 2.5 0 0 1 5 0V5" fill="none" stroke="{INK}" stroke-width="1.4"/>'
    f'<rect x="1" y="5" width="8" height="6.5" rx="1" fill="{INK}"/></svg>'
)
_WORDS = {
    "channel": "one filter of a layer and the map it draws; removing it makes this layer and its readers smaller",
    "group": "layers whose channels can only be removed together, for example those that a shortcut adds up",
    "criterion": "how the importance of a channel is scored; the lowest scores go first",
    "recovery": "what repairs the network after the cut, without training: batch-norm statistics measured anew, or the "
    "next layer's weights solved for in closed form",
    "scope": "which channels compete. Local: each group loses the same share. Global: all channels of the network. "
    "Isomorphic: groups of the same shape, wherever they stand",
    "score scale": "scores of different layers differ in size; before they compete they are divided, for example by "
    "the mean of their layer",
    "MACs": "multiplications with an addition each, for one image: the usual measure of what a network costs",
}
_OF_MASKS = {
    "mIoU": "mean over the classes of intersection over union: the pixels that truth and answer share, of all that "
    "either of them gives to the class",
    "rare class": "one of those with the fewest training pixels; the minority mIoU is their mean. A network can lose "
    "them while mIoU, and even more the share of right pixels, hardly moves",
    "balanced closed form": "the layers are solved for at sampled pixels of which every class of an image has its "
    "share; no label enters the solution",
    "fading": "channels that go are multiplied by a factor after every epoch of a training instead of being cut at "
    "once",
}

# where the page is not from this machine and not encrypted, a browser has no navigator.clipboard
_COPY = """
const button = this, pre = this.parentNode.querySelector('pre');
const done = () => { button.textContent = 'Copied'; setTimeout(() => { button.textContent = 'Copy'; }, 1500); };
const select = () => {
  getSelection().selectAllChildren(pre);
  if (document.execCommand('copy')) { done(); } else { button.textContent = 'Selected: press Ctrl+C'; }
};
if (navigator.clipboard) { navigator.clipboard.writeText(pre.textContent).then(done, select); } else { select(); }
"""


def escape(text: str) -> str:
    """Text for a page: no tag in it counts, and no character that turns the direction of what follows."""
    return html.escape(visible(str(text)))


def card(title: str, value: str, note: str, share: float | None) -> str:
    """A gauge: a title, a number, a bar that is filled to a share in [0, 1] (None: empty), and a line below."""
    width = 0 if share is None else 100 * max(0.0, min(1.0, share))
    return (
        '<div class="rsprune-card" '
        f'style="flex:1 1 var(--rsprune-card,160px);padding:6px 12px;border:1px solid {GRID};border-radius:8px">'
        f'<div style="color:{MUTED};font-size:12px">{escape(title)}</div>'
        '<div class="rsprune-value" '
        f'style="color:{INK};font-size:22px;font-weight:600;line-height:1.35">{escape(value)}</div>'
        f'<div style="height:5px;border-radius:3px;background:{GRID}">'
        f'<div style="height:5px;border-radius:3px;width:{width:.1f}%;background:{KEPT}"></div></div>'
        f'<div style="color:{MUTED};font-size:12px;margin-top:4px;line-height:1.35">{escape(note)}</div></div>'
    )


def cards(parts: Sequence[str], label: str = "the pruned network in numbers") -> str:
    """Rows of gauges, more than four of them three a row; the label is for a screen reader."""
    width = "--rsprune-card:max(150px,27%);" if len(parts) > 4 else ""
    row = f'class="rsprune-cards" role="group" aria-label="{label}"'
    return f'<div {row} style="{width}display:flex;gap:10px;flex-wrap:wrap">{"".join(parts)}</div>'


def rows(each: Iterable[tuple[str, float, float, float | None, str]], label: str) -> str:
    """A grid of bars.

    Args:
        each: (name as HTML, width of the track, share of it that is filled, place of a mark, text behind).
        label: what it shows, for a screen reader.
    """
    cells = []
    for name, track, fill, mark, text in each:
        line = ""
        if mark is not None:
            place = f"position:absolute;left:{100 * mark:.1f}%;top:-2px;width:2px;height:14px"
            line = f'<div style="{place};background:{CUT}"></div>'
        cells.append(
            f'<div style="text-align:right;color:{INK};overflow-wrap:break-word">{name}</div>'
            f'<div><div style="position:relative;width:{100 * track:.1f}%;height:10px;background:{GRID}">'
            f'<div style="width:{100 * fill:.1f}%;height:10px;background:{KEPT}"></div>{line}</div></div>'
            f'<div style="color:{MUTED};white-space:nowrap">{escape(text)}</div>'
        )
    columns = "minmax(70px,150px) minmax(60px,1fr) minmax(96px,130px)"
    style = (
        f"display:grid;grid-template-columns:{columns};gap:3px 8px;align-items:center;font-size:12px;line-height:14px"
    )
    return f'<div role="group" aria-label="{label}" style="{style}">{"".join(cells)}</div>'


def bars(snapshot: Snapshot, before: Snapshot | None = None) -> str:
    """One bar a group: what stays in blue on the dense width in grey; an orange mark where the last setting stood."""
    sizes, widths = snapshot.plan.sizes, snapshot.plan.widths
    old = {} if before is None else before.plan.widths
    largest = max(sizes.values())
    each = (
        (
            escape(name) + (f" {_LOCK}" if name in snapshot.setting.locked else ""),
            size / largest,
            widths[name] / size,
            old[name] / size if old.get(name, widths[name]) != widths[name] else None,
            f"{widths[name]} of {size} ({widths[name] / size:.0%})",
        )
        for name, size in sizes.items()
    )
    return rows(each, "channels that stay in each group") + note(_changes(snapshot.plan, before and before.plan))


def _changes(plan: Plan, before: Plan | None) -> str:
    """What moved since the last setting, in words."""
    if before is None or before.fingerprint != plan.fingerprint:
        return "Blue: the channels that stay, of all channels in grey. Coupled layers are one group."
    changes = diff(before, plan)
    back, gone = (sum(len(getattr(c, which)) for c in changes.values()) for which in ("added", "removed"))
    if not changes:
        return "The same channels stay as with the last setting."
    return (
        f"Since the last setting (orange): {gone:,} channels went and {back:,} came back, in {len(changes)} of "
        f"{len(plan.sizes)} groups."
    )


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round levels of an axis between two shares: the finest steps of 1, 2, 5, 10 or 20 % that are few enough."""
    steps = (0.01, 0.02, 0.05, 0.1, 0.2)
    step = next((step for step in steps if (high - low) / step <= most - 1 + 1e-9), steps[-1])
    return [round(k * step, 2) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def message(text: str, *, error: bool = False) -> str:
    """One line of words; an error in orange with a sign, so that colour is not all that tells."""
    colour, sign = (CUT, "⚠ ") if error else (INK, "")
    return (
        f'<div style="color:{colour};font-size:14px;line-height:1.5;overflow-wrap:anywhere">{sign}{escape(text)}</div>'
    )


def note(text: str) -> str:
    """A quiet line of words."""
    return f'<div style="color:{MUTED};font-size:12px;line-height:1.5;overflow-wrap:anywhere">{escape(text)}</div>'


def glossary(masks: bool = False) -> str:
    """The words of the controls, each explained, to unfold; those of masks, too."""
    words = _WORDS | (_OF_MASKS if masks else {})
    lines = "".join(f"<dt><b>{word}</b></dt><dd>{escape(text)}.</dd>" for word, text in words.items())
    style = f"color:{INK};font-size:12px;line-height:1.5;margin:4px 0"
    head = "<summary>What these words mean</summary>"
    return f'<details style="{style}">{head}<dl style="margin:4px 0">{lines}</dl></details>'


def working(text: str, share: float | None = None) -> str:
    """One quiet line that says what is being computed, with a bar of its progress."""
    bar = (
        ""
        if share is None
        else f' <progress aria-label="{escape(text)}" max="1" value="{share:.3f}" style="height:8px"></progress>'
    )
    return (
        f'<div style="color:{MUTED};font-size:12px;line-height:1.5;overflow-wrap:anywhere">{escape(text)} …{bar}</div>'
    )


def code(text: str) -> str:
    """Code with a button that copies it; it can be selected, too."""
    style = f"background:{SOFT};border:1px solid {GRID};border-radius:6px;padding:8px 12px;font:12px/1.4 monospace"
    look = (
        f"padding:3px 14px;border:1px solid {KEPT};border-radius:4px;color:{ACCENT};background:{PAPER};cursor:pointer"
    )
    button = f'<button type="button" style="{look}" onclick="{escape(_COPY)}">Copy</button>'
    return f'<div>{button}<pre style="{style};margin-top:4px;overflow-x:auto">{escape(text)}</pre></div>'


def time_left(share: float, seconds: float) -> str:
    """How long the rest takes at the pace so far, in words; nothing before there is a pace.

    Args:
        share: what is done, in [0, 1].
        seconds: what it took.
    """
    if share <= 0 or seconds < 0.5:
        return ""
    left = seconds * (1 - share) / share
    return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"


def in_words(error: BaseException) -> str:
    """An error as one sentence: its own words if they are made for a person, else with the kind of error in front."""
    return str(error) if isinstance(error, RspruneError) else f"{type(error).__name__}: {error}"
