"""Many settings in one go: every recovery at several ratios, and how much faster fewer MACs really are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from tqdm.auto import tqdm

from rsprune_lib.measure import Speed, latencies
from rsprune_lib.pruning import apply
from rsprune_studio.engine.setting import Setting, recovery_titles
from rsprune_studio.engine.studio import Studio

__all__ = ["compare_recoveries", "compare_speeds"]

Curves = dict[str, dict[str, tuple[list[float], list[float]]]]


def compare_recoveries(
    studio: Studio,
    criteria: Sequence[str],
    ratios: Sequence[float],
    *,
    recoveries: Sequence[str] | None = None,
    images: int | None = None,
    progress: bool = True,
) -> Curves:
    """Prunes by every criterion at every ratio (local scope), recovers in every way, and measures the accuracy.

    Args:
        studio: the network with its data; the accuracy is that on its validation images.
        criteria: names of criteria.
        ratios: shares of the channels to remove.
        recoveries: keys of `recovery_titles`; None takes all.
        images: training images to recover with; by default all that the studio uses.
        progress: show a bar, one step a network.

    Returns:
        Criterion -> name of the recovery in words -> (ratios, accuracies in [0, 1]).
    """
    titles = recovery_titles(masks=studio.data.masks is not None)
    titles = titles if recoveries is None else {name: titles[name] for name in recoveries}
    curves: Curves = {name: {title: ([], []) for title in titles.values()} for name in criteria}
    todo = list(product(criteria, ratios, titles))
    for name, ratio, recovery in tqdm(todo, "recoveries", leave=False, disable=not progress):
        plan = studio.apply(Setting(name, ratio=ratio)).plan
        small = studio.networks.network(plan, recovery, images=images)
        place, accuracy = curves[name][titles[recovery]]
        place.append(ratio)
        accuracy.append(studio.task.quality(*studio.measuring.predict(small)).score)
    return curves


def compare_speeds(
    studio: Studio, ratios: Sequence[float], *, batch_sizes: Sequence[int] = (1, 32), repeats: int = 30
) -> dict[str, list[tuple[float, float, str]]]:
    """Measures how much faster really pruned networks are (L2, local scope), beside the factor by which the MACs fell.

    Args:
        studio: the network with its data; the plain network, gates folded in, is the baseline.
        ratios: shares of the channels to remove.
        batch_sizes: images a batch.
        repeats: timed passes at batch 1; fewer, but at least 9, at larger batches. All networks are timed in turn.

    Returns:
        ``"batch of N"`` -> (MACs of the plain network / MACs, its time / time, the ratio in words) for every ratio. A
        factor that is not clear, see `rsprune_lib.measure.Speed`, is nan, and the words say so.
    """
    whole = studio.apply(Setting("l2", ratio=0.0))
    cuts = [studio.apply(Setting("l2", ratio=ratio)) for ratio in ratios]
    networks = [studio.plain, *(apply(studio.plain, cut.plan, studio.groups) for cut in cuts)]
    points: dict[str, list[tuple[float, float, str]]] = {}
    for batch in batch_sizes:
        rounds = max(3, repeats // (3 * batch))
        base, *times = latencies(networks, studio.data.image_size, batch=batch, rounds=rounds)
        rows = points.setdefault(f"batch of {batch}", [(1.0, 1.0, "")])
        for ratio, cut, took in zip(ratios, cuts, times, strict=True):
            speed, words = Speed.of(base, took), f"{ratio:.0%}"
            fewer = whole.cost.macs / cut.cost.macs
            rows.append((fewer, speed.factor, words) if speed.clear else (fewer, math.nan, f"{words}: not clear"))
    return points
