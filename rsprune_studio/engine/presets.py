"""Starting points that a person can jump to; each turns what is on the screen into a setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rsprune_lib.errors import RspruneError
from rsprune_studio.engine.guided import guided_setting
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["PRESETS", "Preset", "at_these_macs", "fits_latency", "fits_macs"]

_STEPS = 9  # bisections of the MACs budget: enough to tell budgets apart that differ by 1 %


@dataclass(frozen=True)
class Preset:
    """A starting point.

    Attributes:
        title: what its button says.
        tip: what it does, in a sentence.
        make: (studio, what is on the screen) -> setting.
    """

    title: str
    tip: str
    make: Callable[[Studio, Snapshot], Setting]


def at_these_macs(snapshot: Snapshot, **changes: object) -> Setting:
    """The setting with as many MACs as are on the screen, so that only who pays for them changes."""
    share = min(1.0, snapshot.cost.macs / snapshot.dense.cost.macs)
    return replace(snapshot.setting, amount="macs", macs=share, own={}, given=None, threshold=None, **changes)


def _global(studio: Studio, snapshot: Snapshot) -> Setting:
    return at_these_macs(snapshot, scope="global", normalise=None)


def _uniform(studio: Studio, snapshot: Snapshot) -> Setting:
    return at_these_macs(snapshot, scope="local", normalise=None)


def _attention(studio: Studio, snapshot: Snapshot) -> Setting:
    if "attention" not in studio.criteria:
        raise RspruneError("This network has no SE gates, so no attention; take another preset or a network with SE.")
    return at_these_macs(snapshot, criterion="attention", scope="global", normalise="mean")


PRESETS = {
    "uniform": Preset("Uniform", "Every group loses the same share; as many MACs as now", _uniform),
    "global": Preset("Global", "All channels compete by their scores; as many MACs as now", _global),
    "sensitivity": Preset(
        "Sensitivity-guided", "Groups that the scan found robust lose more; as many MACs as now", guided_setting
    ),
    "attention": Preset(
        "Attention-guided", "SE gates decide which channels go, and where; as many MACs as now", _attention
    ),
}


def fits_macs(studio: Studio, setting: Setting, mmacs: float) -> Setting:
    """The setting that leaves at most ``mmacs`` million MACs an image.

    Raises:
        RspruneError: the budget is no positive number.
    """
    if not 0 < mmacs < float("inf"):
        raise RspruneError(f"Got a budget of {mmacs} MMACs; expected a number above 0.")
    share = min(1.0, mmacs * 1e6 / studio.dense.cost.macs)
    return replace(setting, amount="macs", macs=share, given=None)


def fits_latency(studio: Studio, setting: Setting, ms: float, watch: Watch = UNWATCHED) -> Setting:
    """The setting with the most MACs whose really pruned network was measured to answer within ``ms`` milliseconds.

    Found by bisection over the MACs budget with a measurement at each step (batch 1). Latency is noisy and MACs are a
    poor guide to it, which is why it is measured and not computed. Nothing measured here is kept: a bad moment of the
    machine does not decide the next search.

    Raises:
        RspruneError: not even the smallest network is quick enough, or ``ms`` is no positive number.
        Stopped: it is no longer wanted.
    """
    if not 0 < ms < float("inf"):
        raise RspruneError(f"Got a budget of {ms} ms; expected a number above 0.")

    def within(share: float) -> Setting:
        return replace(setting, amount="macs", macs=share, given=None)

    def took(share: float) -> float:
        nonlocal busy
        found = studio.measuring.shortest(studio.apply(within(share)).plan)
        busy |= found.busy
        return found.least_ms if found.busy else found.median_ms

    busy = False
    if took(1.0) <= ms:
        return within(1.0)
    smallest = studio.apply(replace(setting, amount="ratio", scope="local", ratio=1 - 1e-9, own={}))
    low, high = smallest.cost.macs / studio.dense.cost.macs, 1.0
    if (least := took(low)) > ms:
        again = "try again when the machine is less busy, " if busy else ""
        raise RspruneError(
            f"Even {low:.1%} of the MACs take {least:.2f} ms here, more than the {ms:g} ms asked for; "
            f"{again}allow more time, or take a smaller network."
        )
    for step in range(_STEPS):
        watch.check(f"Measuring networks that might answer within {ms:g} ms", step / _STEPS)
        middle = (low * high) ** 0.5
        low, high = (middle, high) if took(middle) <= ms else (low, middle)
    return within(low)
