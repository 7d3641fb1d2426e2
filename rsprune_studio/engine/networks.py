"""From a plan to a network: cut, recovered, and kept where that pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.measure import lean, predict
from rsprune_lib.models import units
from rsprune_lib.pruning import RECOVERIES, Plan, Repair, apply
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.sequential import reestimate_bn, settle_norms
from rsprune_studio.engine.network_cache import Kept, private_copy
from rsprune_studio.engine.setting import LIVE, Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Collector, Stop, Watch
from rsprune_studio.engine.trained import Trained

__all__ = ["Networks"]

_NORMALISED = ("bn", "live", "live_balanced")  # recoveries that end with a batch-norm re-estimation
_NORMS = "Re-estimating the batch norms"
_SKETCH_IMAGES = 64  # training images behind a first estimate, and behind the choice between a repair and none


class Networks:
    """Makes the really pruned network of a plan, repaired as asked for.

    Args:
        trained: the network it comes from, with its training images.

    Attributes:
        collectors: recovery -> what makes the matrices that it needs.
        kept: networks that were judged lately, and fine-tuned ones.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained, self.kept = trained, Kept()
        self._instead: dict[tuple[str, str], str] = {}  # by hash of the plan and the recovery asked for
        few, steps = trained.batches("train", trained.images), 1 + len(units(trained.model))
        self.collectors = {
            name: Collector(partial(self._collect, few, positions), len(few) * steps)
            for name, positions in LIVE.items()
        }

    def is_live(self, recovery: str = "live") -> bool:
        """Whether the matrices behind a live recovery are there."""
        return self.collectors[recovery].ready

    def quickest(self, recovery: str) -> str:
        """The recovery behind a first estimate: the wanted one if it takes no time, else what is at hand."""
        if recovery in ("none", "bn", "tuned"):
            return recovery
        return next((name for name in (recovery, *LIVE) if name in LIVE and self.is_live(name)), "bn")

    def stop_collecting(self, wanted: str | None) -> None:
        """Ends the collecting of all matrices but those of the wanted recovery."""
        for name in LIVE.keys() - {wanted}:
            self.collectors[name].stop()

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
        with self._trained.using:
            dense = private_copy(self._trained.model)  # others may use the original meanwhile
        batches = Watch(stop).over(batches, "Collecting Gram matrices")
        return Live(dense, self._trained.groups, batches, positions=positions, progress=False)

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
        with self._trained.using:
            small = apply(self._trained.plain, plan, self._trained.groups)
        if recovery in LIVE:
            return self.live(watch, recovery).refit(small, plan)
        if recovery in ("none", "bn"):
            return small
        batches = self._trained.batches("train", images or self._trained.images)
        batches = watch.over(batches, "Refitting layer by layer", len(batches) * (1 + len(units(self._trained.model))))
        repair = RECOVERIES["closed_form" if recovery == "sequential" else recovery]
        with self._trained.using:
            return repair.run(Repair(self._trained.model, small, plan, self._trained.groups, batches, progress=False))

    def finish(
        self, small: nn.Module, recovery: str, *, images: int | None = None, watch: Watch = UNWATCHED
    ) -> nn.Module:
        """Re-estimates the batch norms of an `unfinished` network in place if its recovery asks for it; returns it.

        Raises:
            Stopped: the network is no longer wanted; it is as it was.
        """
        if recovery in _NORMALISED:
            few = self._trained.batches("train", min(images or self._trained.images, self._trained.norm_images))
            reestimate_bn(small, watch.over(few, _NORMS, 2 * len(few)), progress=False, quick=True)
        return small

    def sketch(self, small: nn.Module, recovery: str, watch: Watch = UNWATCHED) -> nn.Module:
        """A copy of an `unfinished` network for a first estimate: lean, its batch norms estimated on a few images.

        Raises:
            Stopped: it is no longer wanted.
        """
        worker = lean(small, fuse=recovery not in _NORMALISED)
        if recovery in _NORMALISED:
            settle_norms(worker, watch.over(self._few(), _NORMS), progress=False)
        return worker

    def recovered(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> nn.Module:
        """The really pruned network behind a snapshot's accuracy; shared and kept for a while, so leave it as it is."""
        plan, recovery = snapshot.plan, snapshot.setting.recovery
        recent = self.kept.recent(plan, recovery)
        if recent is not None:
            return recent.model
        network = self.chosen(plan, recovery, self.network(plan, recovery, watch=watch), watch)
        self.kept.remember(plan, recovery, network)
        return network

    def chosen(self, plan: Plan, recovery: str, small: nn.Module, watch: Watch = UNWATCHED) -> nn.Module:
        """The network of a live recovery, or the one that is only cut, where that is better; `used` says which.

        The live closed form takes the dense network's inputs for those of the pruned one. Behind layer norms, in a
        segmenter, or where next to nothing was removed, that can cost more than the repair wins. So the losses of both
        on a few training images are compared; equal losses keep the repair.

        Args:
            plan: what stays.
            recovery: any; those that are not live are left as they are.
            small: the network that it made.
            watch: of the work.

        Raises:
            Stopped: it is no longer wanted.
        """
        if recovery not in LIVE:
            return small
        raw, other = self.unfinished(plan, "none", watch=watch), "bn" if _normalised(small) else "none"
        losses = [self._loss(one, watch) for one in (lean(small, fuse=True), self.sketch(raw, other, watch))]
        if not losses[1] < losses[0]:
            self._instead.pop((plan.hash, recovery), None)
            return small
        self._instead[plan.hash, recovery] = other
        return self.finish(raw, other, watch=watch)

    def used(self, plan: Plan, recovery: str) -> str:
        """The recovery that a plan's network really has: the one asked for, or what `chosen` took instead."""
        return self._instead.get((plan.hash, recovery), recovery)

    def _loss(self, worker: nn.Module, watch: Watch) -> float:
        few = watch.over(self._few(), "Comparing the repair with the raw cut")
        return self._trained.task.quality(*predict(worker, few, progress=False)).nll

    def _few(self) -> Batches:
        """The training images behind a first estimate."""
        return self._trained.batches("train", min(_SKETCH_IMAGES, self._trained.norm_images // 2))

    def close(self) -> None:
        """Ends the collecting and lets the matrices go; the networks stay as they are."""
        for collector in self.collectors.values():
            collector.close()

    def note(self, snapshot: Snapshot) -> dict[str, Any] | None:
        """How the network of a snapshot was fine-tuned; None if it was not."""
        return self.kept.tuned(snapshot.plan).note if snapshot.setting.recovery == "tuned" else None


def _normalised(network: nn.Module) -> bool:
    """Whether a network has batch norms, which the raw cut gets re-estimated."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
