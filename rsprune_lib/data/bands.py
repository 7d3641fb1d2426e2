"""Which bands of an image are shown to the network as red, green and blue."""

import re
from collections.abc import Sequence

from rsprune_lib.errors import DataError

__all__ = ["alpha_band", "choose_bands", "parse_bands"]

COLOURS = ("red", "green", "blue")
SENTINEL = ("b4", "b3", "b2")  # red, green and blue of Sentinel-2, and of Landsat 8 and 9
SENTINEL_COUNTS = (12, 13)  # bands of Sentinel-2 level 2A and 1C; B1 to B8 stand first, whatever the place of B8A


def parse_bands(text: str | None) -> str | None:
    """Bring a choice of bands into one spelling: ``" 8, 4,3"`` becomes ``"8,4,3"``.

    Args:
        text: one band (shown as grey) or three (red, green, blue), by number from 1 or by name; None: no choice.

    Raises:
        DataError: if it is neither one nor three.
    """
    if text is None:
        return None
    bands = [band.strip() for band in str(text).strip("[]() ").split(",")]
    if len(bands) not in (1, 3) or not all(bands):
        raise DataError(
            f"Got the bands {text!r}; expected three for red, green and blue, or one for grey, by number or by the "
            f"file's names, such as 4,3,2 or B8,B4,B3."
        )
    return ",".join(bands)


def choose_bands(
    names: Sequence[str | None], colours: Sequence[str], wanted: str | None = None
) -> tuple[list[int], str | None]:
    """Choose one or three bands of an image file.

    Without ``wanted``: by the names of the bands (red, green, blue, or B4, B3, B2), else by the colours that the file
    states, else B4, B3, B2 where 12 or 13 bands look like Sentinel-2, else the first three; fewer than three bands: the
    first. A fourth band is near infrared unless the file states alpha.

    Args:
        names: name of every band, or None.
        colours: what the file states of every band, such as ``"red"``, ``"undefined"``, ``"alpha"``.
        wanted: a choice as `parse_bands` returns it.

    Returns:
        Band numbers from 1; and where they are a choice, a sentence on which were taken.

    Raises:
        ValueError: if the file lacks a wanted band.
    """
    alpha = alpha_band(names, colours)
    opaque = [i for i in range(1, len(names) + 1) if i != alpha]
    known = {i: _key(names[i - 1]) for i in opaque}
    guess = len(opaque) in SENTINEL_COUNTS and not any(known.values()) and not set(COLOURS) <= set(colours)
    if guess:
        known |= {i: f"b{i}" for i in opaque[:8]}
    if wanted:  # also what the file states as alpha: GDAL does so for the fourth band of 8 bits, whatever it holds
        known = {i: known.get(i, _key(name)) for i, name in enumerate(names, 1)}
    chosen = [_find(band, known, colours) for band in wanted.split(",")] if wanted else _usual(opaque, known, colours)
    if not wanted and chosen == list(range(1, len(opaque) + 1)):
        return chosen, None
    told = ", ".join(names[i - 1] or (known[i].upper() if guess and known[i] else str(i)) for i in chosen)
    role = "red, green, blue" if len(chosen) == 3 else "grey"
    order = ", in Sentinel-2's order" if guess else ""
    return chosen, f"of {len(known)} bands {told} {'are' if len(chosen) == 3 else 'is'} taken as {role}{order}"


def alpha_band(names: Sequence[str | None], colours: Sequence[str]) -> int | None:
    """Number of the band that is alpha, or None.

    GDAL states alpha of the fourth band of any file of 8 bits; a name such as ``"nir"`` says that it is none.

    Args:
        names: name of every band, or None.
        colours: what the file states of every band.
    """
    stated = (i for i, colour in enumerate(colours, 1) if colour == "alpha")
    return next((i for i in stated if re.search("alpha|opacity|mask", _key(names[i - 1]) or "alpha")), None)


def _usual(opaque: list[int], known: dict[int, str], colours: Sequence[str]) -> list[int]:
    if len(opaque) < 3:
        return opaque[:1]
    by_name = {name: i for i, name in reversed(known.items()) if name}
    for wanted in (COLOURS, SENTINEL):
        if all(name in by_name for name in wanted):
            return [by_name[name] for name in wanted]
    if set(COLOURS) <= set(colours):
        return [list(colours).index(colour) + 1 for colour in COLOURS]
    return opaque[:3]


def _find(band: str, known: dict[int, str], colours: Sequence[str]) -> int:
    """Number of the band with this number or name."""
    if band.isdecimal() and int(band) in known:
        return int(band)
    stated = {i: colours[i - 1] for i in known}
    for says in () if band.isdecimal() else (known, stated):  # names come first: GDAL calls the first band red
        found = next((i for i, name in says.items() if name and name == _key(band)), None)
        if found:
            return found
    named = [name for name in known.values() if name]
    has = f"the bands {', '.join(named)}" if len(named) == len(known) else f"{len(known)} band(s)"
    raise ValueError(f"it has {has}, but band {band} is wanted")


def _key(name: str | None) -> str:
    """One spelling of a band's name: ``B04``, ``SR_B4`` and ``B4, central wavelength 665 nm`` are ``b4``."""
    text = (name or "").strip().lower()
    number = re.search(r"(?:^|[\W_])b0*(\d+a?)(?:$|[\W_])", text)
    if number:
        return f"b{number[1]}"
    colour = re.fullmatch(r"(red|green|blue)(?![\s_-]*edge)([\W_].*)?", text)
    return colour[1] if colour else text
