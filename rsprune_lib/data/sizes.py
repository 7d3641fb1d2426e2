"""Sizes of images: one side in pixels, or height and width."""

from numbers import Integral

from rsprune_lib.errors import DataError

__all__ = ["Size", "checked_size", "shown_size", "sides", "size_text"]

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
