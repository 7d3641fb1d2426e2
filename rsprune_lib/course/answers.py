"""Answers to the *Predict* questions of the notebooks, in words, computed from the numbers of the run."""

from collections.abc import Mapping, Sequence

import numpy as np

from rsprune_lib.course.show import Table
from rsprune_lib.measure import wilson

__all__ = ["best_of", "confused_pairs", "listed"]


def listed(names: Sequence[str]) -> str:
    """Joins names as a sentence does: ``"a, b and c"``; ``"none"`` without a name."""
    names = [str(name) for name in names]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "none"


def best_of(shares: Mapping[str, float], images: int) -> str:
    """Says which share is the largest, and which others one such measurement cannot tell from it.

    Args:
        shares: Name -> share of right answers, in [0, 1].
        images: How many images each share was measured on.

    Example:
        >>> best_of({"a": 0.9, "b": 0.5}, 100)
        'Best: a, 90.0 %. Its 95 % interval on 100 images, 82.6 % to 94.5 %, meets that of no other.'
    """
    spans = {name: wilson(round(share * images), images) for name, share in shares.items()}
    first = max(shares, key=lambda name: shares[name])
    low, high = spans[first]
    near = [name for name in shares if name != first and spans[name][1] >= low]
    words = f"{listed(near)}: no winner can be named" if near else "no other"
    return (
        f"Best: {first}, {100 * shares[first]:.1f} %. Its 95 % interval on {images:,} images, "
        f"{100 * low:.1f} % to {100 * high:.1f} %, meets that of {words}."
    )


def confused_pairs(
    matrix: np.ndarray, classes: Sequence[str], show: int = 5
) -> tuple[list[tuple[int, int]], Table, str]:
    """Sorts pairs of classes by the share of the true class that got the other's name.

    Args:
        matrix: (K, K) counts; a row is a true class, a column an answer.
        classes: K names.
        show: Rows of the table.

    Returns:
        All pairs (true class, answer), the largest share first; a table of the first ones with their 95 % intervals;
        and a sentence that says how many other pairs reach the first one's share with theirs.
    """
    sizes = matrix.sum(axis=1)
    pairs = [(t, a) for t in np.flatnonzero(sizes) for a in range(len(classes)) if t != a]
    shares = {(t, a): matrix[t, a] / sizes[t] for t, a in pairs}
    pairs.sort(key=lambda pair: -shares[pair])
    spans = {(t, a): wilson(int(matrix[t, a]), int(sizes[t])) for t, a in pairs}
    words = {(t, a): f"{classes[t]} → {classes[a]}" for t, a in pairs}
    rows = [
        (words[p], f"{matrix[p]} of {sizes[p[0]]}", f"{shares[p]:.1%}", "{:.1%} – {:.1%}".format(*spans[p]))
        for p in pairs[:show]
    ]
    heads = ["true class → answer", "images", "share of the class", "95 % interval"]
    alike = [words[p] for p in pairs[1:] if spans[p][1] >= shares[pairs[0]]]
    named = f", {alike[0]}{' among them' if len(alike) > 1 else ''}" if alike else ""
    others = "interval of 1 other pair reaches" if len(alike) == 1 else f"intervals of {len(alike)} other pairs reach"
    sentence = f"Most often: {words[pairs[0]]}, {shares[pairs[0]]:.1%} of the class. The {others} that share{named}."
    return [(int(t), int(a)) for t, a in pairs], Table(heads, rows, note=f"{int(sizes.sum()):,} images"), sentence
