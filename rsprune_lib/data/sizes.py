"""Sizes of images: one side in pixels, or height and width."""

import re
from numbers import Integral

from rsprune_lib.errors import DataError

__all__ = ["Size", "checked_size", "parse_size", "shown_size", "sides", "size_text"]

Size = int | tuple[int, int]  # pixels a side, or (height, width)
SMALLEST, LARGEST = 8, 4096


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return size if isinstance(size, tuple) else (size, size)


def shown_size(height: int, width: int) -> Size:
    """One number for a square, else (height, width)."""
    return height if height == width else (height, width)


def size_text(size: Size) -> str:
    """``64`` or ``180x240``: in names of folders, and for people."""
    height, width = sides(size)
    return str(shown_size(height, width)) if height == width else f"{height}x{width}"


def checked_size(size: object) -> Size | None:
    """A size that a caller or a file gave, in its plain form; None stays None.

    Raises:
        DataError: if it is neither one whole number nor two, or out of range.
    """
    if size is None:
        return None
    given = list(size) if isinstance(size, tuple | list) else [size, size]
    whole = [
        isinstance(side, Integral) and not isinstance(side, bool) and SMALLEST <= side <= LARGEST for side in given
    ]
    if len(given) != 2 or not all(whole):
        raise DataError(
            f"image_size must be a whole number of pixels from {SMALLEST} to {LARGEST}, or (height, width) of such; "
            f"got {size!r:.60}."
        )
    return shown_size(*map(int, given))


def parse_size(text: str | None) -> Size | None:
    """A size as it is typed: ``256``, ``180x240`` or ``180,240``, height first.

    Raises:
        DataError: if it is no size.
    """
    if text is None:
        return None
    numbers = re.fullmatch(r"\s*(\d{1,5})(?:\s*[x,×]\s*(\d{1,5}))?\s*", text)
    if numbers is None:
        raise DataError(f"Got the size {text!r:.60}; expected pixels a side or height x width, such as 256 or 180x240.")
    return checked_size([int(side) for side in numbers.groups() if side] if numbers[2] else int(numbers[1]))
