"""The sensitivity-guided preset: every group loses what it can spare, as a scan has measured it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rsprune_lib.errors import PlanError, RspruneError
from rsprune_lib.measure import LayerCost
from rsprune_lib.pruning import CostModel, Group, Scan
from rsprune_lib.pruning.layers import channels_left
from rsprune_studio.engine.setting import Setting, Snapshot, recovery_titles
from rsprune_studio.engine.studio import Studio

__all__ = ["MOST", "guided_ratios", "guided_setting", "ratios_within"]

MOST = 0.95  # largest share of a group that any slider removes
_DIGITS = 1e4  # ratios end at four decimals, readable in a file; rounded up, so that a budget stays met


def guided_ratios(
    scan: Scan, groups: Sequence[Group], drop: float, *, locked: Collection[str] = ()
) -> dict[str, float]:
    """The largest ratio of each group at which it alone costs at most ``drop`` of accuracy.

    Between the measured ratios the curve is a straight line, and it never rises: a loss that was measured at a smaller
    ratio is not forgotten because chance gave some of it back at a larger one. Beyond the last measured ratio nothing
    is known, so no group goes there.

    Args:
        scan: what each group alone costs.
        groups: `find_groups` of the network.
        drop: accuracy that one group may cost, in [0, 1]: 0.02 is two points.
        locked: names of groups that stay whole.

    Returns:
        Group name -> ratio in [0, 0.95], for ``per_group`` of `rsprune_lib.pruning.choose`.

    Raises:
        PlanError: the scan is one of other groups, or the drop is out of range.

    Example:
        >>> choose(scores, groups, per_group=guided_ratios(scan, groups, 0.02))
    """
    names = [group.name for group in groups]
    if set(names) != set(scan.curves):
        strange = sorted(set(names) ^ set(scan.curves))[0]
        raise PlanError(f"The scan and the network differ in group {strange!r}; scan this very network.")
    if not 0 <= drop <= 1:
        raise PlanError(f"Got {drop} for what one group may cost; expected a share of the images from 0 to 1.")
    return {name: 0.0 if name in locked else _spared(scan, name, drop) for name in names}


def _spared(scan: Scan, name: str, drop: float) -> float:
    ratios = np.array([0.0, *scan.ratios])
    floor = np.minimum.accumulate([scan.dense, *scan.curves[name]])  # falls or stays, from left to right
    wanted = scan.dense - drop - 1e-9
    last = int(np.flatnonzero(floor >= wanted)[-1])
    if last + 1 == len(ratios):
        return min(float(ratios[-1]), MOST)
    way = (floor[last] - wanted) / (floor[last] - floor[last + 1])
    return min(float(ratios[last] + way * (ratios[last + 1] - ratios[last])), MOST)


def ratios_within(
    scan: Scan, groups: Sequence[Group], costs: Sequence[LayerCost], macs: float, *, locked: Collection[str] = ()
) -> tuple[dict[str, float], float]:
    """The guided ratios that just reach a MACs budget, so that the preset can be compared with others at equal MACs.

    Every group may cost the same accuracy, and bisection finds the least that is enough. Where the MACs jump there (a
    flat curve lets a group go all at once), a second bisection goes only as far along the jump as the budget asks.

    Args:
        scan: what each group alone costs.
        groups: `find_groups` of the network.
        costs: `layer_costs` of the same network.
        macs: the most MACs for one image.
        locked: names of groups that stay whole.

    Returns:
        Group name -> ratio, and what each group alone may cost (accuracy in [0, 1]).

    Raises:
        PlanError: the budget cannot be reached, or the scan is one of other groups.
    """
    count, sizes = CostModel(costs, groups), [group.size for group in groups]

    def reached(ratios: Mapping[str, float]) -> int:
        kept = [channels_left(size, ratio, 1) for size, ratio in zip(sizes, ratios.values(), strict=True)]
        return count(kept).macs

    def guided(drop: float) -> dict[str, float]:
        return guided_ratios(scan, groups, drop, locked=locked)

    least = reached(guided(1.0))
    if least > macs:
        raise PlanError(
            f"A budget of {macs:,.0f} MACs cannot be reached by the scan's ratios; the smallest possible is {least:,}."
        )
    whole = dict.fromkeys((group.name for group in groups), 0.0)
    drop = _least(lambda drop: reached(guided(drop)) <= macs)
    below, enough = guided(max(drop - 1e-6, 0.0)) if drop else whole, guided(drop)

    def between(way: float) -> dict[str, float]:
        mixed = {name: below[name] + way * (ratio - below[name]) for name, ratio in enough.items()}
        return {name: min(math.ceil(ratio * _DIGITS - 1e-6) / _DIGITS, MOST) for name, ratio in mixed.items()}

    return between(_least(lambda way: reached(between(way)) <= macs)), drop


def guided_setting(studio: Studio, snapshot: Snapshot, drop: float | None = None) -> Setting:
    """The preset: what is on the screen, with guided ratios of the groups.

    Args:
        studio: has the scan of the snapshot's criterion in ``scans``.
        snapshot: what is on the screen; its locked groups stay whole.
        drop: accuracy that each group alone may cost; None takes what leads to as many MACs as the snapshot has.

    Raises:
        RspruneError: there is no scan by this criterion yet.
        PlanError: the scan does not reach so few MACs.
    """
    setting, groups = snapshot.setting, studio.groups
    scan = studio.scan_of(setting)
    if scan is None:
        how = "".join(f", {name} {value}" for name, value in setting.options.items())
        raise RspruneError(
            f"There is no sensitivity scan by {setting.criterion}{how} yet; run one under Sensitivity first."
        )
    if drop is None:
        own, _ = ratios_within(scan, groups, studio.trained.costs, snapshot.cost.macs, locked=setting.locked)
    else:
        own = guided_ratios(scan, groups, drop, locked=setting.locked)
    kept = sum(channels_left(group.size, own[group.name], 1) for group in groups)
    share = round(1 - kept / sum(group.size for group in groups), 2)  # what the common slider shows
    recovery = (
        setting.recovery if setting.recovery in recovery_titles(masks=True) else "live"
    )  # no network is fine-tuned for this plan
    return replace(
        setting, amount="ratio", scope="local", ratio=share, own=own, given=None, threshold=None, recovery=recovery
    )


def _least(enough: Callable[[float], bool]) -> float:
    """The smallest value in [0, 1] that is enough, to six digits; 1 is."""
    low, high = 0.0, 0.0 if enough(0.0) else 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
