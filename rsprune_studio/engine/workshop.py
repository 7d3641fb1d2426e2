"""From a plan to a network: cut, recovered, and kept where that pays."""

from __future__ import annotations

from typing import Any

from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.measure import lean
from rsprune_lib.models import units
from rsprune_lib.pruning import RECOVERIES, Plan, Repair, apply
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, sequential, settle_norms
from rsprune_studio.engine.network_cache import Kept, private_copy
from rsprune_studio.engine.planner import NORM_IMAGES, Planner, Watched, asking
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.threads import Collector, Stop, Tell

__all__ = ["Workshop"]

_NORMALISED = ("bn", "live")  # recoveries that end with a batch-norm re-estimation
_SKETCH_IMAGES = 64  # training images of the one behind a first estimate


class Workshop(Planner):
    """Makes the really pruned network of a plan, repaired as asked for.

    Args:
        model: the network as trained.
        data: its data set.
        **options: of `Planner`.

    Attributes:
        collector: makes what the live recovery needs.
        kept: networks that were judged lately, and fine-tuned ones.
    """

    def __init__(self, model: nn.Module, data: Dataset, **options: Any) -> None:  # noqa: ANN401 - handed on unchanged
        super().__init__(model, data, **options)
        self.kept = Kept()
        few, steps = self.batches("train", self.images), 1 + len(units(self.model))
        self.collector = Collector(lambda ask: self._collect(few, ask), len(few) * steps)

    @property
    def is_live(self) -> bool:
        """Whether the matrices behind the live recovery are there."""
        return self.collector.ready

    def live(self, should_stop: Stop | None = None, tell: Tell | None = None) -> Live:
        """The Gram matrices behind the live recovery, collected once; takes some seconds.

        Args:
            should_stop: asked while waiting for them; True ends the waiting.
            tell: told what is being done.

        Raises:
            Stopped: ``should_stop`` returned True.
        """
        return self.collector.get(should_stop, tell)

    def _collect(self, batches: Batches, should_stop: Stop) -> Live:
        with self.using:
            dense = private_copy(self.model)  # others may use the original meanwhile
        return Live(dense, self.groups, batches, progress=False, should_stop=should_stop)

    def network(
        self,
        plan: Plan,
        recovery: str = "none",
        *,
        images: int | None = None,
        should_stop: Stop | None = None,
        tell: Tell | None = None,
    ) -> nn.Module:
        """The really pruned network of a plan, recovered.

        Args:
            plan: what to keep.
            recovery: key of `recovery_titles`.
            images: training images to recover with; by default all that the studio uses.
            should_stop: asked before each batch; True ends the work.
            tell: told what is being done.

        Raises:
            Stopped: ``should_stop`` returned True.
            RspruneError: no fine-tuned network is kept for this plan.
        """
        small = self.unfinished(plan, recovery, images=images, should_stop=should_stop, tell=tell)
        return self.finish(small, recovery, images=images, should_stop=should_stop)

    def unfinished(
        self,
        plan: Plan,
        recovery: str,
        *,
        images: int | None = None,
        should_stop: Stop | None = None,
        tell: Tell | None = None,
    ) -> nn.Module:
        """What `network` makes, before its batch norms are re-estimated; takes its arguments."""
        if recovery == "tuned":
            return self.kept.tuned(plan).model
        with self.using:
            small = apply(self.plain, plan, self.groups)
        if recovery == "live":
            return self.live(should_stop, tell).refit(small, plan)
        if recovery in ("none", "bn"):
            return small
        batches = self.batches("train", images or self.images)
        ask = asking(should_stop, tell, "Refitting layer by layer", len(batches) * (1 + len(units(self.model))))
        with self.using:
            if recovery == "sequential":
                return sequential(self.model, small, plan, batches, groups=self.groups, progress=False, should_stop=ask)
            case = Repair(self.model, small, plan, self.groups, Watched(batches, ask), progress=False)
            return RECOVERIES[recovery].run(case)

    def finish(
        self, small: nn.Module, recovery: str, *, images: int | None = None, should_stop: Stop | None = None
    ) -> nn.Module:
        """Re-estimates the batch norms of an `unfinished` network in place if its recovery asks for it; returns it.

        Raises:
            Stopped: ``should_stop`` returned True; the network is as it was.
        """
        if recovery in _NORMALISED:
            few = self.batches("train", min(images or self.images, NORM_IMAGES))
            reestimate_bn(small, few, progress=False, quick=True, should_stop=should_stop)
        return small

    def sketch(self, small: nn.Module, recovery: str, should_stop: Stop | None = None) -> nn.Module:
        """A copy of an `unfinished` network for a first estimate: lean, its batch norms estimated on a few images.

        Raises:
            Stopped: ``should_stop`` returned True.
        """
        worker = lean(small, fuse=recovery not in _NORMALISED)
        if recovery in _NORMALISED:
            settle_norms(worker, self.batches("train", _SKETCH_IMAGES), progress=False, should_stop=should_stop)
        return worker

    def recovered(self, snapshot: Snapshot, should_stop: Stop | None = None, tell: Tell | None = None) -> nn.Module:
        """The really pruned network behind a snapshot's accuracy; shared and kept for a while, so leave it as it is."""
        plan, recovery = snapshot.plan, snapshot.setting.recovery
        recent = self.kept.recent(plan, recovery)
        if recent is not None:
            return recent.model
        network = self.network(plan, recovery, should_stop=should_stop, tell=tell)
        self.kept.remember(plan, recovery, network)
        return network

    def note(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """How the network of a snapshot was fine-tuned; None if it was not."""
        return self.kept.tuned(snapshot.plan).note if snapshot.setting.recovery == "tuned" else None
