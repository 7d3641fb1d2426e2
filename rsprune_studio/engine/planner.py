"""From a setting to a plan and what it costs: the part of the live tool that needs no measurement."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from rsprune_lib.data import Batches, Dataset, measuring_batch
from rsprune_lib.measure import Cost, layer_costs
from rsprune_lib.pruning import (
    CRITERIA,
    Plan,
    Scores,
    Selection,
    Similarity,
    choose,
    find_groups,
    normalised,
    plan_cost,
    score,
    select_in_scope,
    similarity,
)
from rsprune_lib.pruning.calibration import device_of
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics, gated_norms
from rsprune_lib.pruning.layers import channels_left
from rsprune_lib.pruning.prune import check_classes
from rsprune_lib.tasks import task_of
from rsprune_studio.engine.class_votes import ClassVotes
from rsprune_studio.engine.code import Basis, Origin, as_code
from rsprune_studio.engine.setting import Dense, Setting, Snapshot
from rsprune_studio.engine.threads import UNWATCHED, Watch

__all__ = ["NORM_IMAGES", "Planner", "affordable"]

NORM_IMAGES = 192  # training images of a batch-norm re-estimation, at most; 512 gain .2 points on EuroSAT
_IMAGES, _PIXELS, _FEWEST = 512, 2**20, 48  # of criteria; so many pixels, where each has an answer of its own


class Planner:
    """A trained network and the training images of its criteria, ready to turn settings into plans.

    Args:
        model: the network as trained, with live SE blocks if it has them; left as it is.
        data: its data set.
        gates: SE gate statistics, collected anew on ``images`` training images if None.
        images: training images for criteria; None takes 512, fewer of large ones with masks.
        batch_size: images a batch; fewer of large ones with masks.
        progress: show a bar while gate statistics are collected.
        origin: where network and images come from, for the code that is copied.

    Attributes:
        norm_images: training images of a batch-norm re-estimation, at most.
        plain: the network with its gates folded in: what is cut.
        groups: its groups.
        costs: its layers' costs.
        dense: the trained network's numbers.
        task: what it is for.
        votes: what its channels mean to each class.
        using: held while the trained network runs or is copied: scores and repairs hang hooks on it, and a pass of
            another thread would run them too.

    Raises:
        ModelError: the network has other classes than the data.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        *,
        gates: Gates | None = None,
        images: int | None = None,
        batch_size: int = 128,
        progress: bool = True,
        origin: Origin | None = None,
    ) -> None:
        check_classes(model, data)
        images = affordable(data, _IMAGES, _PIXELS, _FEWEST) if images is None else images
        self.model, self.data, self.images = model.eval(), data, images
        self.batch_size = min(batch_size, measuring_batch(data))
        self.norm_images = affordable(data, NORM_IMAGES, _PIXELS // 2, 16)
        self.origin = origin
        has_gates, self._own_gates = bool(gated_norms(model)), gates is None
        if has_gates and gates is None:
            gates = gate_statistics(model, self.batches("train", images), progress=progress)
        self.gates = gates if has_gates else None
        self.plain = fold(model, gates) if has_gates else model
        self.groups = find_groups(self.plain, data.image_size)
        self.costs = layer_costs(self.plain, data.image_size)
        macs = sum(layer.macs for layer in layer_costs(model, data.image_size))  # `cost` would load half of PyTorch
        self.task = task_of(model, data)
        total = sum(p.numel() for p in model.parameters())
        shown = {"metric": self.task.metric, "beside": self.task.beside, "classes": tuple(data.classes)}
        self.dense = Dense(Cost(total, macs), gated=has_gates, **shown)
        self.using = threading.RLock()
        self._scores: dict[tuple, Scores] = {}
        self.votes = ClassVotes(model, self.groups, self.batches("train", images), self.using)
        self._similar: Similarity | None = None
        self._selection: tuple[tuple | None, Selection | None] = None, None  # of the last selector and its locks
        self._values: dict[tuple, dict[str, np.ndarray]] = {}

    def batches(self, part: str | np.ndarray, limit: int | None) -> Batches:
        """Batches of a part of the data (or of these images), on the network's device."""
        return Batches(self.data, part, self.batch_size, limit=limit, device=device_of(self.model))

    @property
    def criteria(self) -> list[str]:
        """Criteria that this network can be judged by (attention needs SE gates), the default one first."""
        if self.gates is not None:
            return list(CRITERIA)
        return sorted((name for name, one in CRITERIA.items() if "gates" not in one.needs), key=lambda n: n != "l2")

    def knows(self, setting: Setting) -> bool:
        """Whether `apply` answers at once: the scores are there, and no graph searches for its thresholds."""
        there = _key(setting.criterion, setting.options) in self._scores
        there |= setting.criterion == "class_taylor" and self.votes.ready
        return there and not (setting.by_graph and setting.amount != "threshold")

    def scores(self, criterion: str, watch: Watch = UNWATCHED, **options: Any) -> Scores:  # noqa: ANN401
        """Scores of all groups by a criterion, computed once.

        Args:
            criterion: key of `CRITERIA`.
            watch: of the work.
            **options: of the criterion, see `Setting.options`.

        Raises:
            RspruneError: the criterion or an option is unknown or not for this network.
            Stopped: they are no longer wanted.
        """
        key = _key(criterion, options)
        if key not in self._scores and criterion == "class_taylor":
            self._scores[key] = self.votes.scores(watch, **options)
        elif key not in self._scores:
            images = watch.over(self.batches("train", self.images), f"Scoring all channels by {criterion}, once")
            how = {"data": images, "gates": self.gates, "progress": False}
            if criterion == "similarity":
                how["similar"] = self.similar(watch)
            with self.using:
                self._scores[key] = score(self.model, self.groups, criterion, **how)
        return self._scores[key]

    def similar(self, watch: Watch = UNWATCHED) -> Similarity:
        """How alike the feature maps of each group's channels are, computed once.

        Raises:
            Stopped: they are no longer wanted.
        """
        with self.using:
            if self._similar is None:
                images = watch.over(self.batches("train", self.images), "Comparing all feature maps, once")
                self._similar = similarity(self.model, self.groups, images, progress=False)
        return self._similar

    def values(self, criterion: str, normalise: str | None = None, **options: Any) -> Mapping[str, np.ndarray]:  # noqa: ANN401
        """Normalised scores, the scale on which groups compete and a threshold counts: group name -> (size,)."""
        key = *_key(criterion, options), normalise
        if key not in self._values:
            self._values[key] = normalised(self.scores(criterion, **options), self.groups, normalise)
        return self._values[key]

    def values_of(self, setting: Setting) -> Mapping[str, np.ndarray]:
        """The normalised scores that a setting goes by."""
        return self.values(setting.criterion, setting.normalise, **setting.options)

    def _threshold(self, setting: Setting) -> float:
        """The threshold that removes a share of all channels."""
        ordered = np.sort(np.concatenate(list(self.values_of(setting).values())))
        return float(ordered[-channels_left(len(ordered), setting.ratio, 1)])

    def apply(self, setting: Setting) -> Snapshot:
        """Decides what stays and counts it; milliseconds once the criterion's scores are known.

        Raises:
            PlanError: an amount is out of range or cannot be met.
        """
        if setting.given is not None:
            setting.given.check(self.groups)
        if setting.amount == "threshold" and setting.threshold is None:
            setting = replace(setting, threshold=self._threshold(setting))
        if setting.amount == "plan":
            plan = setting.given
        elif setting.by_graph and setting.selector != "nested":  # nested is what the scores say
            plan = self._by_graph(setting)
        else:
            plan = choose(self.scores(setting.criterion, **setting.options), self.groups, **self.choosing(setting))
        return Snapshot(setting, plan, plan_cost(self.costs, self.groups, plan.keep), self.dense)

    def _by_graph(self, setting: Setting) -> Plan:
        key = setting.selector, setting.locked
        known, selection = self._selection
        if key != known:
            ranked = self.scores("l1")
            selection = Selection(self.similar(), self.groups, setting.selector, ranked, locked=setting.locked)
            self._selection = key, selection
        if setting.amount == "threshold":
            return selection.at(min(1.0, max(1 - setting.threshold, 1e-3)))
        return select_in_scope(selection, self.groups, self.scores("similarity"), **self.choosing(setting))

    def choosing(self, setting: Setting) -> dict[str, Any]:
        """The arguments of `rsprune_lib.pruning.choose` that a setting stands for."""
        common = {} if setting.normalise is None else {"normalise": setting.normalise}
        common |= {"locked": setting.locked} if setting.locked else {}
        if setting.multiple_of > 1 and setting.takes_multiples:
            common |= {"multiple_of": setting.multiple_of}
        if setting.amount == "threshold":
            return common | {"threshold": setting.threshold, "clip": True}
        common |= {"scope": setting.scope}
        if setting.amount == "macs":
            return common | {"macs": round(setting.macs * self.dense.cost.macs), "costs": self.costs}
        own = dict(setting.own) if setting.scope == "local" else None
        return common | {"ratio": setting.ratio, "per_group": own or None}

    def cuts(self, snapshot: Snapshot) -> dict[str, float]:
        """Where a plan cuts each group: the lowest normalised score that stays."""
        values = self.values_of(snapshot.setting)
        return {name: float(values[name][list(kept)].min()) for name, kept in snapshot.plan.keep.items()}

    def code(self, setting: Setting, tuned: Mapping[str, Any] | None = None) -> str:
        """Python code that does what a setting stands for, with the library alone; ``tuned`` as `as_code` takes it."""
        has_gates = self.gates is not None
        basis = Basis(self.images, self.norm_images, self.batch_size, has_gates, self._own_gates, self.origin)
        snapshot = self.apply(setting)
        choosing = {} if setting.amount == "plan" else self.choosing(snapshot.setting)
        return as_code(setting, choosing, snapshot.plan, basis, tuned)


def affordable(data: Dataset, images: int, pixels: int, least: int) -> int:
    """How many images to take: so many; of large ones with masks what makes so many pixels, but not under ``least``."""
    height, width = data.images.shape[1:3]
    return images if data.masks is None else min(images, max(least, pixels // (height * width)))


def _key(criterion: str, options: Mapping[str, Any]) -> tuple:
    return criterion, *sorted(options.items())
