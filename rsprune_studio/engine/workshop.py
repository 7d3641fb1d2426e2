"""From a plan to a network: cut, recovered, and kept where that pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.measure import lean
from rsprune_lib.models import units
from rsprune_lib.pruning import RECOVERIES, Plan, Repair, apply
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, settle_norms
from rsprune_studio.engine.network_cache import Kept, private_copy
from rsprune_studio.engine.planner import Planner
from rsprune_studio.engine.setting import LIVE, Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Collector, Stop, Watch

__all__ = ["Workshop"]

_NORMALISED = ("bn", "live", "live_balanced")  # recoveries that end with a batch-norm re-estimation
_NORMS = "Re-estimating the batch norms"
_SKETCH_IMAGES = 64  # training images of the one behind a first estimate


class Workshop(Planner):
    """Makes the really pruned network of a plan, repaired as asked for.

    Args:
        model: the network as trained.
        data: its data set.
        **options: of `Planner`.

    Attributes:
        collectors: recovery -> what makes the matrices that it needs.
        kept: networks that were judged lately, and fine-tuned ones.
    """

    def __init__(self, model: nn.Module, data: Dataset, **options: Any) -> None:  # noqa: ANN401 - handed on unchanged
        super().__init__(model, data, **options)
        self.kept = Kept()
        few, steps = self.batches("train", self.images), 1 + len(units(self.model))
        self.collectors = {
            name: Collector(partial(self._collect, few, positions), len(few) * steps)
            for name, positions in LIVE.items()
        }

    def is_live(self, recovery: str = "live") -> bool:
        """Whether the matrices behind a live recovery are there."""
        return self.collectors[recovery].ready

    def live(self, watch: Watch = UNWATCHED, recovery: str = "live") -> Live:
        """The Gram matrices behind a live recovery, collected once; takes some seconds.

        Args:
            watch: of the waiting for them.
            recovery: key of `LIVE`.

        Raises:
            Stopped: it is no longer wanted.
        """
        return self.collectors[recovery].get(watch)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """While it lasts nothing is collected, so that something else can be timed."""
        with ExitStack() as stack:
            for collector in self.collectors.values():
                stack.enter_context(collector.paused())
            yield

    def _collect(self, batches: Batches, positions: str, stop: Stop) -> Live:
        with self.using:
            dense = private_copy(self.model)  # others may use the original meanwhile
        batches = Watch(stop).over(batches, "Collecting Gram matrices")
        return Live(dense, self.groups, batches, positions=positions, progress=False)

    def network(
        self,
        plan: Plan,
        recovery: str = "none",
        *,
        images: int | None = None,
        watch: Watch = UNWATCHED,
    ) -> nn.Module:
        """The really pruned network of a plan, recovered.

        Args:
            plan: what to keep.
            recovery: key of `recovery_titles`.
            images: training images to recover with; by default all that the studio uses.
            watch: of the work.

        Raises:
            Stopped: it is no longer wanted.
            RspruneError: no fine-tuned network is kept for this plan.
        """
        small = self.unfinished(plan, recovery, images=images, watch=watch)
        return self.finish(small, recovery, images=images, watch=watch)

    def unfinished(
        self,
        plan: Plan,
        recovery: str,
        *,
        images: int | None = None,
        watch: Watch = UNWATCHED,
    ) -> nn.Module:
        """What `network` makes, before its batch norms are re-estimated; takes its arguments."""
        if recovery == "tuned":
            return self.kept.tuned(plan).model
        with self.using:
            small = apply(self.plain, plan, self.groups)
        if recovery in LIVE:
            return self.live(watch, recovery).refit(small, plan)
        if recovery in ("none", "bn"):
            return small
        batches = self.batches("train", images or self.images)
        batches = watch.over(batches, "Refitting layer by layer", len(batches) * (1 + len(units(self.model))))
        repair = RECOVERIES["closed_form" if recovery == "sequential" else recovery]
        with self.using:
            return repair.run(Repair(self.model, small, plan, self.groups, batches, progress=False))

    def finish(
        self, small: nn.Module, recovery: str, *, images: int | None = None, watch: Watch = UNWATCHED
    ) -> nn.Module:
        """Re-estimates the batch norms of an `unfinished` network in place if its recovery asks for it; returns it.

        Raises:
            Stopped: the network is no longer wanted; it is as it was.
        """
        if recovery in _NORMALISED:
            few = self.batches("train", min(images or self.images, self.norm_images))
            reestimate_bn(small, watch.over(few, _NORMS, 2 * len(few)), progress=False, quick=True)
        return small

    def sketch(self, small: nn.Module, recovery: str, watch: Watch = UNWATCHED) -> nn.Module:
        """A copy of an `unfinished` network for a first estimate: lean, its batch norms estimated on a few images.

        Raises:
            Stopped: it is no longer wanted.
        """
        worker = lean(small, fuse=recovery not in _NORMALISED)
        if recovery in _NORMALISED:
            few = self.batches("train", min(_SKETCH_IMAGES, self.norm_images // 2))
            settle_norms(worker, watch.over(few, _NORMS), progress=False)
        return worker

    def recovered(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> nn.Module:
        """The really pruned network behind a snapshot's accuracy; shared and kept for a while, so leave it as it is."""
        plan, recovery = snapshot.plan, snapshot.setting.recovery
        recent = self.kept.recent(plan, recovery)
        if recent is not None:
            return recent.model
        network = self.network(plan, recovery, watch=watch)
        self.kept.remember(plan, recovery, network)
        return network

    def note(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """How the network of a snapshot was fine-tuned; None if it was not."""
        return self.kept.tuned(snapshot.plan).note if snapshot.setting.recovery == "tuned" else None
