"""A choice made by hand beside a criterion's at the same MACs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rsprune_lib.errors import Stopped
from rsprune_lib.measure import Paired, compare
from rsprune_studio.engine.presets import at_these_macs
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["ChoiceComparison", "compare_choices"]


@dataclass(frozen=True, eq=False)
class ChoiceComparison:
    """A hand-made choice beside a criterion's at the same MACs, on the same validation images.

    Attributes:
        hand: what a person chose, measured.
        by_criterion: what the criterion chooses within the same MACs, recovered alike and measured.
        shared: share of the hand's channels that the criterion keeps, too.
        paired: on how many images only one of them is right (of a segmenter: better), from by_criterion to hand.
    """

    hand: Snapshot
    by_criterion: Snapshot
    shared: float
    paired: Paired


def compare_choices(studio: Studio, snapshot: Snapshot, watch: Watch = UNWATCHED) -> ChoiceComparison:
    """Measures what a criterion would have chosen in place of a person.

    Args:
        studio: the state.
        snapshot: the hand-made choice, complete; its criterion and scope choose against it.
        watch: of the work.

    Raises:
        PlanError: the criterion does not reach so few MACs.
        Stopped: it is no longer wanted.
    """
    recovery = "live" if snapshot.setting.recovery == "tuned" else snapshot.setting.recovery
    wanted = at_these_macs(snapshot, recovery=recovery, multiple_of=1)  # as near to these MACs as it can be
    steps = list(studio.answers(wanted, tell=watch.tell, stale=watch.stop or (lambda: False)))
    if not steps or not steps[-1].final:
        raise Stopped("The comparison was stopped; start it again to get a result.")
    by_criterion, images = steps[-1], studio.validation.indices
    labels = torch.as_tensor(studio.data.labels[images]).long()
    records = [studio.measuring.records(one, watch)[1] for one in (by_criterion, snapshot)]
    mine, other = snapshot.plan.keep, by_criterion.plan.keep
    same = sum(len(set(kept) & set(other[name])) for name, kept in mine.items())
    total = sum(len(kept) for kept in mine.values())
    return ChoiceComparison(snapshot, by_criterion, same / total, compare(*records, labels, studio.task))
