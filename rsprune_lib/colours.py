"""One look for everything that is shown, with matplotlib or without: colours, and how numbers are written.

The series colours keep their distance for the common forms of colour blindness (after Okabe and Ito,
https://jfly.uni-koeln.de/color/); kept is blue, removed is grey, a warning or a cut is vermillion.
"""

from collections.abc import Sequence
from colorsys import hsv_to_rgb

import numpy as np

__all__ = [
    "BLUE_RAMP", "COLOURS", "CUT", "DIVERGING_RAMP", "GRID", "INK", "KEPT", "MUTED", "ORANGE_RAMP", "REMOVED",
    "distinct", "mistakes", "overlay", "painted", "shade", "short", "signed",
]  # fmt: skip

INK, MUTED, GRID = "#1F2933", "#66727F", "#E4E8EC"
COLOURS = ("#0B6FB8", "#D9600A", "#0A8F6C", "#B65C9B", "#E0A100", "#4FB0DE", "#59636E", "#7A4A1E")
KEPT, REMOVED, CUT = COLOURS[0], "#CDD3DA", COLOURS[1]
BLUE_RAMP = ("#F5F9FC", "#A9CFEA", "#3C8FCB", "#0A3D68")
ORANGE_RAMP = ("#FFFFFF", "#FCE3CC", "#F2A35E", "#B84A00")
DIVERGING_RAMP = ("#B84A00", "#F2B27A", "#F7F7F5", "#8FC0E2", "#0A5A99")


def shade(ramp: Sequence[str], values: np.ndarray | float) -> np.ndarray:
    """Colours numbers by a ramp.

    Args:
        ramp: colours as ``"#RRGGBB"``, at equal distances from 0 to 1.
        values: any shape; clipped to [0, 1].

    Returns:
        uint8 of the shape of the values and (3,): red, green, blue.
    """
    stops = np.linspace(0, 1, len(ramp))
    parts = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in ramp])
    return np.stack([np.interp(values, stops, part).round() for part in parts.T], axis=-1).astype(np.uint8)


def distinct(count: int) -> tuple[tuple[int, int, int], ...]:
    """Returns so many different RGB colours: the series colours first, then hues far from each other."""
    first = [tuple(bytes.fromhex(colour[1:])) for colour in COLOURS[:count]]
    hues = ((0.1 + 0.618034 * k) % 1 for k in range(count - len(first)))
    more = [hsv_to_rgb(hue, (0.55, 0.9)[k % 2], (0.95, 0.7, 0.5)[k % 3]) for k, hue in enumerate(hues)]
    return tuple(first + [tuple(round(255 * part) for part in colour) for colour in more])


def short(number: float) -> str:
    """Returns a count in three digits: ``999552 -> "1.00 M"``, ``15_100_000 -> "15.1 M"``, ``640 -> "640"``."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:
            value = number / size
            return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f} {prefix}"
    return f"{number:.4g}"


def signed(number: float) -> str:
    """Returns a number with one digit behind the point and its sign, a real minus sign included."""
    return f"{number:+.1f}".replace("-", "−")


def overlay(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lays a map over a pale grey image: positive values in orange, negative ones in blue.

    Args:
        image: (H, W, 3) uint8.
        values: (H, W) in [-1, 1].

    Returns:
        (H, W, 3) uint8.
    """
    grey = 110 + 0.55 * image.astype(np.float32).mean(2, keepdims=True)
    strength = np.clip(np.abs(values), 0, 1)
    colour = np.where(
        (values > 0)[..., None],
        shade(("#FFD9A0", "#F08A24", "#A83C00"), strength),
        shade(("#B9DCF2", "#3C8FCB", "#0A3D68"), strength),
    )
    share = 0.85 * strength[..., None] ** 0.7
    return ((1 - share) * grey + share * colour).round().clip(0, 255).astype(np.uint8)


def painted(classes: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paints class numbers in the colours of their classes; any other number, such as 255 for unknown, stays white.

    Args:
        classes: (H, W) whole numbers.
        palette: K colours, RGB.

    Returns:
        (H, W, 3) uint8.
    """
    colours = np.concatenate([np.asarray(palette, np.uint8), np.full((1, 3), 255, np.uint8)])
    known = (classes >= 0) & (classes < len(palette))
    return colours[np.where(known, classes, len(palette))]


def mistakes(image: np.ndarray, answer: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Shows where an answer is wrong: in orange, over the image in pale grey; unknown pixels are white.

    Args:
        image: (H, W, 3) uint8.
        answer: (H, W) class numbers.
        truth: (H, W) class numbers; from ``classes`` on, or below zero, unknown.
        classes: number K of classes.

    Returns:
        (H, W, 3) uint8.
    """
    known = (truth >= 0) & (truth < classes)
    shown = overlay(image, ((answer != truth) & known).astype(np.float32))
    return np.where(known[..., None], shown, np.uint8(255))
