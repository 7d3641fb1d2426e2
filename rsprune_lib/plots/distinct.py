"""A figure about two scores of the same channels: how distinct each makes them, and where they disagree."""

import numpy as np

from rsprune_lib.colours import CUT, KEPT, MUTED, REMOVED
from rsprune_lib.plots.style import Picture, canvas, heading, legend

__all__ = ["score_shift"]


def score_shift(
    before: np.ndarray,
    after: np.ndarray,
    ratio: float,
    *,
    labels: tuple[str, str] = ("before", "after"),
    title: str = "",
    synthetic: bool = False,
) -> Picture:
    """Draws two scores of the same channels: histograms on a common scale, and rank against rank with both cuts.

    Args:
        before: (C,) scores, higher stays.
        after: (C,) scores.
        ratio: Share of the channels that is removed, in [0, 1).
        labels: What the two scores are called.
        title: Title of the figure.
        synthetic: The data are synthetic.

    Returns:
        The figure; every score is divided by its mean, so that a wider histogram means more distinct channels.
    """
    scores = [np.asarray(x, dtype=float) for x in (before, after)]
    figure, axes = canvas(1, 2, height=3.6, grid="", width_ratios=[1.35, 1])
    left, right = axes[0]
    shown = [x / x.mean() for x in scores]
    edges = np.linspace(min(map(np.min, shown)) - 1e-6, max(map(np.max, shown)) + 1e-6, 41)
    for x, colour, word in zip(shown, ("#8A96A3", KEPT), labels, strict=True):
        left.hist(x, edges, color=colour, alpha=0.62, label=f"{word}: deviation {x.std():.1%} of the mean")
    left.set(xlabel="score, as a multiple of its mean", ylabel="channels")
    left.locator_params(axis="x", nbins=6)
    left.set_ylim(top=1.32 * left.get_ylim()[1])
    legend(left, loc="upper left")
    _ranks(right, scores, ratio, labels)
    heading(figure, title, synthetic=synthetic)
    return figure


def _ranks(ax: object, scores: list[np.ndarray], ratio: float, labels: tuple[str, str]) -> None:
    count = len(scores[0])
    stay = max(1, int(count * (1 - ratio) + 1e-9))
    one, other = (np.argsort(np.argsort(-x, kind="stable"), kind="stable") for x in scores)  # rank 0 is the best
    kept = (one < stay).astype(int) + (other < stay)
    size = 26 if count <= 128 else 10
    for number, colour, word in ((0, REMOVED, "kept by neither"), (1, CUT, "kept by one"), (2, KEPT, "kept by both")):
        chosen = kept == number
        ax.scatter(one[chosen], other[chosen], s=size, color=colour, linewidths=0, label=f"{chosen.sum()} {word}")
    for draw in (ax.axvline, ax.axhline):
        draw(stay - 0.5, color=MUTED, linewidth=1, linestyle=":")
    ax.set(xlabel=f"rank by {labels[0]} (0 is the best)", ylabel=f"rank by {labels[1]}", aspect="equal")
    legend(ax, outside=True, handlelength=0.8)
