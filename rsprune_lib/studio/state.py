"""The state of the live pruning tool, without a single widget: a setting goes in, a snapshot comes out.

Everything a slider does is one call here, so tests, notebooks and the app share one truth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.measure import Cost, Latency, Quality, cost, evaluate, latency, layer_costs
from rsprune_lib.pruning import (
    CRITERIA,
    Gates,
    Live,
    Plan,
    Scores,
    apply,
    choose,
    find_groups,
    fold,
    gate_statistics,
    plan_cost,
    reestimate_bn,
    score,
)

__all__ = ["RECOVERIES", "SCOPES", "Dense", "Setting", "Snapshot", "Studio"]

SCOPES = ("local", "global")
RECOVERIES = ("none", "bn", "live")


@dataclass(frozen=True)
class Setting:
    """Where the controls stand; plain values, so that it can be stored, compared and shared.

    Attributes:
        criterion: Name of the criterion that scores channels.
        scope: ``"local"`` (the same ratio in every group) or ``"global"`` (groups compete).
        ratio: Share of channels to remove, in [0, 1).
        own: Group name -> its own ratio, in place of the common one (local scope only).
        recovery: ``"none"``, ``"bn"`` (batch-norm re-estimation) or ``"live"`` (closed form from the dense network).
    """

    criterion: str = "attention"
    scope: str = "local"
    ratio: float = 0.5
    own: Mapping[str, float] = field(default_factory=dict)
    recovery: str = "none"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("criterion", self.criterion, CRITERIA),
            ("scope", self.scope, SCOPES),
            ("recovery", self.recovery, RECOVERIES),
        ):
            if value not in known:
                raise unknown(kind, value, known)


@dataclass(frozen=True)
class Dense:
    """The trained network that everything is compared with: what it weighs, how fast and how good it is."""

    cost: Cost
    latency: Latency
    quality: Quality


@dataclass(frozen=True)
class Snapshot:
    """What a setting leads to; what takes longer to measure is None until it has been measured.

    Attributes:
        setting: Where the controls stood.
        plan: Which channels stay.
        cost: Parameters and MACs of the pruned network.
        dense: The network it is compared with.
        latency: Measured on the really pruned network.
        quality: Accuracy on validation images.
        final: Whether ``quality`` was measured on all images the studio uses, not on the first few.
    """

    setting: Setting
    plan: Plan
    cost: Cost
    dense: Dense
    latency: Latency | None = None
    quality: Quality | None = None
    final: bool = False

    def sentence(self) -> str:
        """Says the whole snapshot in one line of words."""
        kept, all_ = sum(self.plan.widths.values()), sum(self.plan.sizes.values())
        text = (
            f"{kept:,} of {all_:,} channels stay: {self.cost.params / self.dense.cost.params:.1%} of the parameters "
            f"and {self.cost.macs / self.dense.cost.macs:.1%} of the MACs"
        )
        if self.latency is not None:
            speed = self.dense.latency.median_ms / self.latency.median_ms
            text += f", {speed:.1f} times as fast" if speed >= 1 else f", slower ({speed:.2f} times the speed)"
        if self.quality is not None:
            points = 100 * (self.quality.accuracy - self.dense.quality.accuracy)
            about = "" if self.final else "about "
            text += f"; accuracy {about}{self.quality.accuracy:.1%} ({points:+.1f} points)".replace("-", "−")
        return text + "."


class Studio:
    """A trained network and its data, ready to answer settings.

    Args:
        model: The network as trained, with live SE blocks if it has them; left as it is.
        data: Its data set; criteria and recovery see the training part, accuracy the validation part.
        gates: SE statistics, collected anew on ``images`` training images if None.
        images: Training images for criteria, BN re-estimation and closed form.
        val_images: Validation images for the final accuracy.
        first: Validation images for the first estimate.
        progress: Show progress bars of what takes long.

    Raises:
        RspruneError: The network has other classes than the data.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        *,
        gates: Gates | None = None,
        images: int = 512,
        val_images: int = 1000,
        first: int = 128,
        progress: bool = True,
    ) -> None:
        outputs = model.config["num_classes"]
        if outputs != data.num_classes:
            raise RspruneError(
                f"The network tells {outputs} classes apart, but {data.name} has {data.num_classes}; take the data set "
                "it was trained on."
            )
        self.model, self.data, self.progress = model.eval(), data, progress
        self.calibration = Batches(data, "train", 128, limit=images)
        self.batches = {
            False: Batches(data, "val", 128, limit=first),
            True: Batches(data, "val", 128, limit=val_images),
        }
        has_gates = any(unit.gate for unit in model.units())
        self.gates = gates or (gate_statistics(model, self.calibration, progress=progress) if has_gates else None)
        self.plain = fold(model, self.gates) if has_gates else self.model
        self.groups = find_groups(self.plain, data.image_size)
        self.costs = layer_costs(self.plain, data.image_size)
        self._scores: dict[str, Scores] = {}
        self._live: Live | None = None
        self.dense = Dense(
            cost(model, data.image_size), self.time(model), evaluate(model, self.batches[True], progress=progress)
        )

    def scores(self, criterion: str) -> Scores:
        """Scores of all groups by a criterion, computed once."""
        if criterion not in self._scores:
            self._scores[criterion] = score(self.model, self.groups, criterion, data=self.calibration, gates=self.gates)
        return self._scores[criterion]

    def apply(self, setting: Setting) -> Snapshot:
        """Decides what stays and counts it; milliseconds once the criterion's scores are known.

        Raises:
            PlanError: A ratio is out of [0, 1).
        """
        own = dict(setting.own) if setting.scope == "local" else {}
        plan = choose(
            self.scores(setting.criterion), self.groups, ratio=setting.ratio, scope=setting.scope, per_group=own or None
        )
        return Snapshot(setting, plan, plan_cost(self.costs, self.groups, plan.keep), self.dense)

    def live(self, should_stop: Callable[[], bool] | None = None) -> Live:
        """The collected Gram matrices behind the live recovery; takes some seconds the first time."""
        if self._live is None:
            self._live = Live(
                self.model, self.groups, self.calibration, progress=self.progress, should_stop=should_stop
            )
        return self._live

    def network(self, snapshot: Snapshot, should_stop: Callable[[], bool] | None = None) -> nn.Module:
        """The really pruned network of a snapshot, recovered as its setting asks."""
        recovery = snapshot.setting.recovery
        if recovery == "live":
            small = self.live(should_stop).solve(snapshot.plan)
        else:
            small = apply(self.plain, snapshot.plan, self.groups)
        return small if recovery == "none" else reestimate_bn(small, self.calibration, progress=False)

    def time(self, network: nn.Module) -> Latency:
        """Latency of a network at batch 1, quick enough for a slider."""
        return latency(network, self.data.image_size, repeats=15, warmup=3)

    def measure(
        self,
        snapshot: Snapshot,
        network: nn.Module,
        *,
        final: bool,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Snapshot | None:
        """Adds the accuracy on the first or on all validation images; None if stopped on the way."""

        def batches() -> object:
            for batch in self.batches[final]:
                if should_stop():
                    raise _Stopped
                yield batch

        try:
            measured = evaluate(network, batches(), progress=False)
        except _Stopped:
            return None
        return dataclasses.replace(snapshot, quality=measured, final=final)


class _Stopped(Exception):
    """Ends an evaluation that nobody waits for any more."""
