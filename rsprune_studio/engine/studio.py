"""The state of the live pruning tool, without a single widget: a setting goes in, a snapshot comes out.

Everything a slider does is one call here, so tests, notebooks and the app share one truth. The way of a move: a control
asks `Explorer.go`, that asks `Studio.apply`, that asks `Planner.plan`, and that chooses the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import Stopped
from rsprune_lib.pruning import Plan, plan_cost
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.scan import Scan
from rsprune_studio.engine.code import as_code
from rsprune_studio.engine.measuring import Measuring
from rsprune_studio.engine.networks import Networks
from rsprune_studio.engine.planner import Planner
from rsprune_studio.engine.scoring import Scoring
from rsprune_studio.engine.setting import LIVE, Dense, Setting, Snapshot
from rsprune_studio.engine.threads import Stop, Tell, Watch
from rsprune_studio.engine.trained import Trained

__all__ = ["Studio"]


class Studio:
    """A trained network and its data, ready to answer settings with measurements.

    Criteria and recovery see training images, accuracy is that on validation images, nothing looks at the test part.
    What has been measured for a plan is kept, so a setting that comes back shows the same numbers at once. The network
    is copied: what the caller does with it later changes nothing here.

    Args:
        model: the network as trained, with live SE blocks if it has them; left as it is.
        data: its data set.
        val_images: validation images for the final numbers, fewer of large ones with masks; None takes all.
        first: how many of them are for a first estimate, fewer of large ones with masks.
        **options: of `Trained`: ``gates``, ``images`` (for criteria and recovery), ``batch_size``, ``progress``.

    Attributes:
        trained: the copy of the network, and what is prepared of it; its ``model``, ``data``, ``task``, ``gates``,
            ``plain`` and ``groups`` are attributes of the studio, too.
        scoring: scores of its channels by every criterion.
        planner: from a setting to a plan.
        networks: from a plan to a repaired network.
        measuring: latency and quality of those.
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
        self.trained = trained = Trained(model, data, **options)
        self.model, self.data, self.task = trained.model, data, trained.task
        self.gates, self.plain, self.groups = trained.gates, trained.plain, trained.groups
        self.scoring = Scoring(trained)
        self.planner = Planner(trained, self.scoring)
        self.networks = Networks(trained)
        self.measuring = Measuring(trained, self.networks, val_images, first)
        self.scans: dict[str, Scan] = {}

    @property
    def criteria(self) -> list[str]:
        """Criteria that this network can be judged by, the default one first."""
        return self.trained.criteria

    @property
    def dense(self) -> Dense:
        """The trained network's numbers, as far as they have been measured."""
        return self.measuring.dense

    @property
    def validation(self) -> Batches:
        """The validation images behind the final numbers."""
        return self.measuring.validation

    def apply(self, setting: Setting) -> Snapshot:
        """Decides what stays and counts it, and adds what has been measured for this very plan before.

        Raises:
            PlanError: an amount is out of range or cannot be met.
        """
        setting = self.planner.exact(setting)
        plan = self.planner.plan(setting)
        cost = plan_cost(self.trained.costs, self.groups, plan.keep)
        return self.measuring.known(Snapshot(setting, plan, cost, self.dense))

    def scan_of(self, setting: Setting) -> Scan | None:
        """The sensitivity scan by a setting's criterion with its options; None if there is none."""
        scan = self.scans.get(setting.criterion)
        return scan if scan is not None and scan.options == setting.options else None

    def network(self, plan: Plan, recovery: str = "none") -> nn.Module:
        """The really pruned network of a plan, see `Networks.network`."""
        return self.networks.network(plan, recovery)

    def live(self) -> Live:
        """The Gram matrices behind the live closed form, see `Networks.live`."""
        return self.networks.live()

    def code(self, setting: Setting, tuned: Mapping[str, Any] | None = None) -> str:
        """Python code that does what a setting stands for, with the library alone; ``tuned`` as `as_code` takes it."""
        snapshot = self.apply(setting)
        choosing = {} if setting.amount == "plan" else self.planner.choosing(snapshot.setting)
        setting = replace(setting, recovery=self.networks.used(snapshot.plan, setting.recovery))
        return as_code(setting, choosing, snapshot.plan, self.trained.basis, tuned)

    def keep_tuned(self, plan: Plan, model: nn.Module, note: Mapping[str, Any]) -> None:
        """Keeps a fine-tuned network for a plan in place of the one before; what was measured of that is forgotten.

        Args:
            plan: what the network came from.
            model: the network, of exactly that plan's widths.
            note: how it was trained, plain JSON values.
        """
        self.measuring.forget(plan, "tuned")
        self.networks.kept.keep_tuned(plan, model, note)

    def forget_tuned(self, plan: Plan) -> None:
        """Lets the fine-tuned network of a plan go, and what was measured of it; nothing happens if there is none."""
        self.networks.kept.forget_tuned(plan)
        self.measuring.forget(plan, "tuned")

    def close(self) -> None:
        """Ends what it does in the background, and lets go of what was collected; the networks stay as they are."""
        self.networks.close()

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
                self.scoring.scores(setting.criterion, other, **setting.options)
                begun = self.apply(setting)
                yield begun
            if self.dense.quality is None:
                begun = self.measuring.with_times(replace(begun, dense=self.measuring.measure_dense(tell)))
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
        networks, measuring = self.networks, self.measuring
        plan, recovery, silent = begun.plan, begun.setting.recovery, Watch(watch.stop)
        networks.stop_collecting(_field(newest(), "recovery"))
        if begun.final:
            measuring.timed(plan)
            yield measuring.with_times(begun)
            return
        quick = networks.quickest(recovery)
        small = networks.unfinished(plan, quick, watch=silent)
        guess = replace(begun, quality=measuring.guess(networks.sketch(small, quick, silent), silent), recovered=quick)
        if begun.latency is None:
            yield guess
            measuring.timed(plan, small)
            guess = measuring.with_times(guess)
        yield guess
        if recovery in LIVE:
            networks.live(watch, recovery)
        if quick == recovery:
            networks.finish(small, recovery, watch=silent)
        else:
            small = networks.network(plan, recovery, watch=watch)
        small = networks.chosen(plan, recovery, small, silent)
        if self.data.masks is not None:  # pictures of single images need not wait for the numbers of all
            networks.kept.remember(plan, recovery, small)
            yield replace(guess, made=True)
        measuring.measure(plan, recovery, small, silent)
        yield self.apply(begun.setting)


def _field(setting: Setting | None, name: str) -> str | None:
    return None if setting is None else getattr(setting, name)
