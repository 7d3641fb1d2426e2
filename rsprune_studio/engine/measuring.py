"""What is measured of the trained network and of pruned ones, each once: latency and quality on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from rsprune_lib.measure import Latency, Quality, Speed, latencies, lean, predict
from rsprune_lib.pruning import Plan
from rsprune_studio.engine.networks import Networks
from rsprune_studio.engine.setting import Dense, Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Tell, Watch
from rsprune_studio.engine.trained import Trained, affordable

__all__ = ["Measuring"]

_PIXELS, _FIRST_PIXELS = 2**22, 2**18  # of validation images with masks: for the final numbers, for a first estimate


class Measuring:
    """Measures networks of one studio, and keeps the numbers by plan.

    Args:
        trained: the network that everything is compared with, and the data.
        networks: makes the pruned ones.
        val_images: validation images for the final numbers, fewer of large ones with masks; None takes all.
        first: how many of them are for a first estimate, fewer of large ones with masks.

    Attributes:
        dense: the trained network's numbers; `measure_dense` fills in what takes time.
        first: the validation images behind a first estimate.
        validation: those behind the final numbers.
    """

    def __init__(self, trained: Trained, networks: Networks, val_images: int | None, first: int) -> None:
        self._trained, self._networks = trained, networks
        most = None if val_images is None else affordable(trained.data, val_images, _PIXELS, 100)
        every = trained.batches("val", most).indices
        first = affordable(trained.data, first, _FIRST_PIXELS, 8)
        begin = trained.batches(every, min(first, len(every))).indices
        self.first = trained.batches(begin, None)
        self.validation = trained.batches(np.concatenate([begin, every[~np.isin(every, begin)]]), None)
        shown = {"metric": trained.task.metric, "beside": trained.task.beside, "classes": tuple(trained.data.classes)}
        self.dense = Dense(trained.cost, gated=trained.gates is not None, **shown)
        self._dense_records: Tensor | None = None
        self._times: dict[tuple[int, ...], tuple[Latency, Latency]] = {}  # trained and pruned
        self._qualities: dict[tuple[str, str], Quality] = {}

    def known(self, snapshot: Snapshot) -> Snapshot:
        """Adds what has been measured for this very plan and recovery before."""
        recovery = snapshot.setting.recovery
        quality = self._qualities.get((snapshot.plan.hash, recovery))
        there = quality is not None
        recovered = self._networks.used(snapshot.plan, recovery) if there else None
        return replace(self.with_times(snapshot), quality=quality, recovered=recovered, final=there, made=there)

    def with_times(self, snapshot: Snapshot) -> Snapshot:
        """Adds the latencies that have been measured for plans of the same widths."""
        known = self._times.get(_widths(snapshot.plan))
        if known is None:
            return snapshot
        dense = replace(snapshot.dense, latency=known[0])
        return replace(snapshot, latency=known[1], speed=Speed.of(*known), dense=dense)

    def forget(self, plan: Plan, recovery: str) -> None:
        """Forgets how good a plan's network is, which another one takes the place of."""
        self._qualities.pop((plan.hash, recovery), None)

    def measure_dense(self, tell: Tell | None = None) -> Dense:
        """Latency and accuracy of the trained network, measured once."""
        if self.dense.quality is None:
            trained = self._trained
            with trained.using:
                (took,) = self.time([trained.model])
                self._dense_records, labels = self.predict(
                    trained.model, Watch(tell=tell), "Measuring the trained network, once"
                )
            quality = trained.task.quality(self._dense_records, labels)
            self.dense = replace(self.dense, latency=took, quality=quality)
        return self.dense

    def measure(self, plan: Plan, recovery: str, network: nn.Module, watch: Watch) -> None:
        """Measures how good the network of a plan is on all validation images, and keeps the answers.

        Raises:
            Stopped: it is no longer wanted.
        """
        records, labels = self.predict(network, watch)
        self._networks.kept.remember(plan, recovery, network, records)
        self._qualities[plan.hash, recovery] = self._trained.task.quality(records, labels)

    def guess(self, network: nn.Module, watch: Watch) -> Quality:
        """How good a network is on a few validation images.

        Raises:
            Stopped: it is no longer wanted.
        """
        answers = predict(network, watch.over(self.first, "A first estimate"), progress=False)
        return self._trained.task.quality(*answers)

    def predict(
        self, network: nn.Module, watch: Watch = UNWATCHED, text: str = "Asking the network"
    ) -> tuple[Tensor, Tensor]:
        """What a network says about the validation images.

        Args:
            network: dense, pruned or fine-tuned; a `rsprune_lib.measure.lean` copy of it is asked.
            watch: of the work.
            text: what it is told.

        Returns:
            One record and one label for each image: logits (N, K) and classes (N,) of a classifier.

        Raises:
            Stopped: they are no longer wanted.
        """
        return predict(lean(network, fuse=True), watch.over(self.validation, text), progress=False)

    def records(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> tuple[Tensor, Tensor]:
        """What the dense and the pruned network of a snapshot say about the validation images, a record of each image.

        Raises:
            Stopped: they are no longer wanted.
        """
        self.measure_dense(watch.tell)
        network = self._networks.recovered(snapshot, watch)
        recent = self._networks.kept.recent(snapshot.plan, snapshot.setting.recovery)
        if recent is not None and recent.model is network and recent.records is not None:
            return self._dense_records, recent.records
        return self._dense_records, self.predict(network, watch, "Asking the pruned network")[0]

    def time(self, networks: Sequence[nn.Module]) -> list[Latency]:
        """Latencies of networks in turn, at batch 1 and quick enough for a slider.

        On one thread: in a notebook there are more threads of PyTorch than cores, and with several threads each pass
        would wait for those of other work.
        """
        with self._networks.quiet():
            return latencies(networks, self._trained.data.image_size, threads=1, rounds=5, at_most_ms=30)

    def timed(self, plan: Plan, network: nn.Module | None = None) -> tuple[Latency, Latency]:
        """Latencies of the trained and of the really pruned network of a plan (made anew if None), measured in turn.

        They are kept for all plans of the same widths if they are clear; otherwise the next call measures again.
        """
        widths, known = _widths(plan), self._times.get(_widths(plan))
        if known is None or not Speed.of(*known).clear:
            network = self._networks.network(plan) if network is None else network
            with self._trained.using:
                trained, small = self.time([self._trained.model, network])
            if known is None or Speed.of(trained, small).clear or small.least_ms < known[1].least_ms:
                self._times[widths] = trained, small
        return self._times[widths]

    def shortest(self, plan: Plan, tries: int = 3) -> Latency:
        """Latency of the really pruned network of a plan; measured again while other work has the processor."""
        network, took = self._networks.network(plan), []
        while not took or (took[-1].busy and len(took) < tries):
            took += self.time([network])
        return min(took, key=lambda one: one.least_ms)


def _widths(plan: Plan) -> tuple[int, ...]:
    return tuple(plan.widths.values())
