"""The quiet colours of charts and words as CSS variables, so that one text reads well on a light and on a dark page.

What stands for something (kept, cut, a series) has one colour on both, see `rsprune_lib.colours`. `page_style` sets the
variables on a dark page; where nothing sets them, the colours are those of a light one.
"""

from rsprune_lib import colours

__all__ = ["ACCENT", "DARK", "GRID", "INK", "MUTED", "PAPER", "REMOVED", "SOFT"]

_LIGHT = {
    "ink": colours.INK,
    "muted": colours.MUTED,
    "grid": colours.GRID,
    "removed": colours.REMOVED,
    "paper": "#FFFFFF",
    "soft": "#F3F5F7",
    "accent": colours.KEPT,
}
_DARK = {
    "ink": "#E3E8ED",
    "muted": "#A3AEB9",
    "grid": "#39424C",
    "removed": "#5F6B78",
    "paper": "#15191E",
    "soft": "#222931",
    "accent": "#6DB6EE",
}
DARK = "".join(f"--rsprune-{name}:{colour};" for name, colour in _DARK.items())


def _variable(name: str) -> str:
    return f"var(--rsprune-{name},{_LIGHT[name]})"


INK, MUTED, GRID, REMOVED = (_variable(name) for name in ("ink", "muted", "grid", "removed"))
PAPER, SOFT, ACCENT = (_variable(name) for name in ("paper", "soft", "accent"))
