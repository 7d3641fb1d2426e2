"""The state of the live pruning tool, without a single widget: a setting goes in, a snapshot comes out.

Everything a slider does is one call here, so tests, notebooks and the app share one truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.device import supports_bf16
from rsprune_lib.errors import Stopped
from rsprune_lib.measure import Latency, Quality, Speed, latencies, lean, predict
from rsprune_lib.pruning import Plan
from rsprune_lib.pruning.calibration import device_of
from rsprune_lib.pruning.scan import Scan
from rsprune_studio.engine.planner import affordable
from rsprune_studio.engine.setting import LIVE, Dense, Setting, Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Stop, Tell, Watch
from rsprune_studio.engine.workshop import Workshop

__all__ = ["Studio"]

_PIXELS, _FIRST_PIXELS = 2**22, 2**18  # of validation images with masks: for the final numbers, for a first estimate


class Studio(Workshop):
    """A trained network and its data, ready to answer settings with measurements.

    Criteria and recovery see training images, accuracy is that on validation images, nothing looks at the test part.
    What has been measured for a plan is kept, so a setting that comes back shows the same numbers at once.

    Args:
        model: the network as trained, with live SE blocks if it has them; left as it is.
        data: its data set.
        val_images: validation images for the final numbers, fewer of large ones with masks; None takes all.
        first: how many of them are for a first estimate, fewer of large ones with masks.
        **options: of `Planner`: ``gates``, ``images`` (for criteria and recovery), ``batch_size``, ``progress``.

    Attributes:
        dense: the trained network's numbers; `measure_dense` fills in what takes time.
        scans: criterion -> sensitivity scan, as far as they have been made.

    Example:
        >>> studio = Studio(bundle.model, data, gates=bundle.gates)
        >>> studio.apply(Setting(ratio=0.7)).cost.params
        999552
        >>> studio.final(Setting(ratio=0.7)).quality.accuracy
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        *,
        val_images: int | None = 1000,
        first: int = 64,
        **options: Any,  # noqa: ANN401 - handed on unchanged
    ) -> None:
        super().__init__(model, data, **options)
        most = None if val_images is None else affordable(data, val_images, _PIXELS, 100)
        every = self.batches("val", most).indices
        first = affordable(data, first, _FIRST_PIXELS, 8)
        begin = self.batches(every, min(first, len(every))).indices
        self._first = self.batches(begin, None)
        self._all = self.batches(np.concatenate([begin, every[~np.isin(every, begin)]]), None)
        self._dense_records: Tensor | None = None
        self._times: dict[tuple[int, ...], tuple[Latency, Latency]] = {}  # trained and pruned
        self._qualities: dict[tuple[str, str], Quality] = {}
        self.scans: dict[str, Scan] = {}

    @property
    def validation(self) -> Batches:
        """The validation images behind a final accuracy."""
        return self._all

    def apply(self, setting: Setting) -> Snapshot:
        """Decides what stays and counts it, and adds what has been measured for this very plan before.

        Raises:
            PlanError: an amount is out of range or cannot be met.
        """
        snapshot = super().apply(setting)
        quality = self._qualities.get((snapshot.plan.hash, setting.recovery))
        return replace(
            self._with_times(snapshot),
            quality=quality,
            recovered=None if quality is None else setting.recovery,
            final=quality is not None,
            made=quality is not None,
        )

    def measure_dense(self, tell: Tell | None = None) -> Dense:
        """Latency and accuracy of the trained network, measured once."""
        if self.dense.quality is None:
            with self.using:
                (took,) = self.time([self.model])
                self._dense_records, labels = self.predict(
                    self.model, Watch(tell=tell), "Measuring the trained network, once"
                )
            self.dense = replace(self.dense, latency=took, quality=self.task.quality(self._dense_records, labels))
        return self.dense

    @property
    def precision(self) -> str:
        """The type that accuracies are computed in, see `rsprune_lib.measure.lean`."""
        return "bfloat16" if supports_bf16(device_of(self.model)) else "float32"

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
        return predict(lean(network, fuse=True), watch.over(self._all, text), progress=False)

    def records(self, snapshot: Snapshot, watch: Watch = UNWATCHED) -> tuple[Tensor, Tensor]:
        """What the dense and the pruned network of a snapshot say about the validation images, a record of each image.

        Raises:
            Stopped: they are no longer wanted.
        """
        self.measure_dense(watch.tell)
        network = self.recovered(snapshot, watch)
        recent = self.kept.recent(snapshot.plan, snapshot.setting.recovery)
        if recent is not None and recent.model is network and recent.records is not None:
            return self._dense_records, recent.records
        return self._dense_records, self.predict(network, watch, "Asking the pruned network")[0]

    def keep(self, plan: Plan, model: nn.Module, note: Mapping[str, Any]) -> None:
        """Keeps a fine-tuned network for a plan in place of the one before; what was measured of that is forgotten."""
        self._qualities.pop((plan.hash, "tuned"), None)
        self.kept.keep_tuned(plan, model, note)

    def keep_tuned(self, snapshot: Snapshot, model: nn.Module, note: Mapping[str, Any]) -> Setting:
        """Keeps a fine-tuned network for the plan of a snapshot.

        Args:
            snapshot: what the network came from.
            model: the network, of exactly that plan's widths.
            note: how it was trained, plain JSON values.

        Returns:
            The setting that shows it.
        """
        self.keep(snapshot.plan, model, note)
        return replace(snapshot.setting, recovery="tuned")

    def forget_tuned(self, plan: Plan) -> None:
        """Lets the fine-tuned network of a plan go, and what was measured of it; nothing happens if there is none."""
        self.kept.forget_tuned(plan)
        self._qualities.pop((plan.hash, "tuned"), None)

    def time(self, networks: Sequence[nn.Module]) -> list[Latency]:
        """Latencies of networks in turn, at batch 1 and quick enough for a slider.

        On one thread: in a notebook there are more threads of PyTorch than cores, and with several threads each pass
        would wait for those of other work.
        """
        with self.quiet():
            return latencies(networks, self.data.image_size, threads=1, rounds=5, at_most_ms=30)

    def timed(self, plan: Plan, network: nn.Module | None = None) -> tuple[Latency, Latency]:
        """Latencies of the trained and of the really pruned network of a plan (made anew if None), measured in turn.

        They are kept for all plans of the same widths if they are clear; otherwise the next call measures again.
        """
        widths, known = _widths(plan), self._times.get(_widths(plan))
        if known is None or not Speed.of(*known).clear:
            network = self.network(plan) if network is None else network
            with self.using:
                trained, small = self.time([self.model, network])
            if known is None or Speed.of(trained, small).clear or small.least_ms < known[1].least_ms:
                self._times[widths] = trained, small
        return self._times[widths]

    def shortest(self, plan: Plan, tries: int = 3) -> Latency:
        """Latency of the really pruned network of a plan; measured again while other work has the processor."""
        network, took = self.network(plan), []
        while not took or (took[-1].busy and len(took) < tries):
            took += self.time([network])
        return min(took, key=lambda one: one.least_ms)

    def _with_times(self, snapshot: Snapshot) -> Snapshot:
        known = self._times.get(_widths(snapshot.plan))
        if known is None:
            return snapshot
        dense = replace(snapshot.dense, latency=known[0])
        return replace(snapshot, latency=known[1], speed=Speed.of(*known), dense=dense)

    def close(self) -> None:
        """Ends what it does in the background, and lets go of what was collected; the networks stay as they are."""
        for collector in self.collectors.values():
            collector.close()

    def final(self, setting: Setting) -> Snapshot:
        """The snapshot of a setting with everything measured."""
        *_, last = self.answers(setting)
        return last

    def answers(
        self,
        setting: Setting,
        newest: Callable[[], Setting | None] | None = None,
        tell: Tell | None = None,
        stale: Stop | None = None,
        begun: Snapshot | None = None,
    ) -> Iterator[Snapshot]:
        """Answers a setting step by step, what is quick first; ends early once a newer setting is wanted.

        What is computed once for all settings (scores, Gram matrices) goes on as long as the newest setting needs it.

        Args:
            setting: where the controls stand.
            newest: returns the setting that is wanted by now, None if none is.
            tell: told what takes long, with the share that is done.
            stale: returns whether this answer is wanted no more; by default, whether the newest setting is another.
            begun: what `apply` said of the setting, if that has been shown; it is not computed and yielded again.

        Yields:
            Snapshots: the plan and its cost; with a first estimate of the accuracy; with the latency; complete.
        """
        newest = newest or (lambda: setting)
        stale = stale or (lambda: newest() != setting)
        try:
            if begun is None:
                other = Watch(lambda: _field(newest(), "criterion") != setting.criterion, tell)
                self.scores(setting.criterion, other, **setting.options)
                begun = self.apply(setting)
                yield begun
            if self.dense.quality is None:
                self.measure_dense(tell)
                begun = self._with_times(replace(begun, dense=self.dense))
            yield from self._measured(begun, newest, Watch(stale, tell))
        except Stopped:
            return

    def _measured(self, begun: Snapshot, newest: Callable[[], Setting | None], watch: Watch) -> Iterator[Snapshot]:
        """Adds a first estimate by what is at hand, the latency, then the setting's own recovery on all images.

        Args:
            begun: the plan and what it costs.
            newest: as `answers` takes it.
            watch: of the work.
        """
        plan, recovery, silent = begun.plan, begun.setting.recovery, Watch(watch.stop)
        for name in LIVE.keys() - {_field(newest(), "recovery")}:
            self.collectors[name].stop()
        if begun.final:
            self.timed(plan)
            yield self._with_times(begun)
            return
        quick = next((name for name in (recovery, *LIVE) if name in LIVE and self.is_live(name)), "bn")
        quick = recovery if recovery in ("none", "bn", "tuned") else quick
        small = self.unfinished(plan, quick, watch=silent)
        first = silent.over(self._first, "A first estimate")
        answers = predict(self.sketch(small, quick, silent), first, progress=False)
        guess = replace(begun, quality=self.task.quality(*answers), recovered=quick)
        if begun.latency is None:
            yield guess
            self.timed(plan, small)
            guess = self._with_times(guess)
        yield guess
        if recovery in LIVE:
            self.live(watch, recovery)
        if quick == recovery:
            self.finish(small, recovery, watch=silent)
        else:
            small = self.network(plan, recovery, watch=watch)
        if self.data.masks is not None:  # pictures of single images need not wait for the numbers of all
            self.kept.remember(plan, recovery, small)
            yield replace(guess, made=True)
        records, labels = self.predict(small, silent)
        self.kept.remember(plan, recovery, small, records)
        self._qualities[plan.hash, recovery] = self.task.quality(records, labels)
        yield self.apply(begun.setting)


def _field(setting: Setting | None, name: str) -> str | None:
    return None if setting is None else getattr(setting, name)


def _widths(plan: Plan) -> tuple[int, ...]:
    return tuple(plan.widths.values())
