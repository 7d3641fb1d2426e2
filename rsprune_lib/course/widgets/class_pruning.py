"""What the panel over rare classes computes: from a setting to a pruned network, its numbers and one answer.

No widgets here. Everything that does not depend on the setting is made once: which channel matters to which class, the
matrices of the closed form, the answers of the dense network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.colours import short, signed
from rsprune_lib.confusion import class_numbers, mean
from rsprune_lib.course.judged import ClassOrder, mask_row
from rsprune_lib.data import Batches
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.measure import Latency, Speed, cost, latencies
from rsprune_lib.models import evaluating
from rsprune_lib.plots import Picture, class_iou, mask_grid
from rsprune_lib.pruning import (
    RULES,
    Group,
    Live,
    Plan,
    Scores,
    apply,
    channel_scores,
    choose,
    class_scores,
    faded,
    score,
    voters,
)
from rsprune_lib.tasks import task_of

__all__ = ["RULE_NAMES", "ClassPruning", "ClassSetting", "ClassView"]

RULE_NAMES = {**{name: name.replace("_", " ") for name in RULES}, "l1": "L1, blind to classes"}


@dataclass(frozen=True)
class ClassSetting:
    """Where the controls stand.

    Attributes:
        keep: share of the channels of each group that stays, in (0, 1].
        rule: key of `RULE_NAMES`.
        minority: how many of the rarest classes have a say; for the rule ``"minority_group"`` only.
        left: what is left of the channels that go, in [0, 1]; above 0 the network keeps its size.
        repair: closed form after the cut; without effect while something is left of the channels.
        image: number of the image that is shown.
    """

    keep: float = 0.5
    rule: str = "minority_group"
    minority: int = 2
    left: float = 0.0
    repair: bool = True
    image: int = 0


@dataclass(frozen=True)
class ClassView:
    """What a setting leads to.

    Attributes:
        setting: the setting.
        plan: which channels stay.
        params: parameters of the network as it is then.
        macs: MACs for one image.
        times: latency of the dense network and of this one, timed in turn.
        iou: (K,) IoU of each class on the validation images.
        answer: (H, W) classes of the image that is shown.
    """

    setting: ClassSetting
    plan: Plan
    params: int
    macs: int
    times: tuple[Latency, Latency]
    iou: np.ndarray
    answer: np.ndarray


class ClassPruning:
    """A segmentation network that is pruned again for every setting.

    Args:
        dense: the trained network; left untouched.
        groups: its groups.
        train: training batches that scores and the closed form look at.
        val: validation batches that it is judged on; the images that are shown come from them.
        tables: `rsprune_lib.pruning.class_scores`; computed from ``train`` if None.

    Attributes:
        order: the classes, the most frequent first.

    Raises:
        RspruneError: the data set has no masks.
    """

    def __init__(
        self,
        dense: nn.Module,
        groups: Sequence[Group],
        train: Batches,
        val: Batches,
        tables: Mapping[str, Tensor] | None = None,
    ) -> None:
        data = self.data = train.data
        self.order, self._rare = ClassOrder.of(data), list(ClassOrder.of(data).rare)
        self.dense, self.groups, self.train = dense.eval(), groups, train
        self._indices, self._val = val.indices, list(val)
        self._tables = class_scores(dense, groups, train, progress=False) if tables is None else tables
        self._l1 = score(dense, groups, "l1", progress=False)
        self._live = Live(dense, groups, train, positions="uniform", progress=False)
        self._plans: dict[tuple[str, int], Scores] = {}
        self.dense_cost = cost(dense, data.image_size)
        self.dense_iou, self._dense_answers = self._judge(dense, lambda: None)

    @property
    def images(self) -> int:
        """How many validation images it is judged on."""
        return len(self._indices)

    def usual(self) -> ClassSetting:
        """The setting to start with: as many classes as are rare, and the image that shows most of the rarest one."""
        most = (self.data.masks[self._indices] == self.data.rare[0]).sum((1, 2)).argmax()
        return ClassSetting(minority=len(self._rare), image=int(most))

    def apply(self, setting: ClassSetting, check: Callable[[], None] = lambda: None) -> ClassView:
        """Prunes, repairs, measures.

        Args:
            setting: where the controls stand.
            check: called before each longer step; may raise `rsprune_lib.errors.Stopped`.

        Raises:
            RspruneError: a number of the setting is out of its range, or there is no such rule.
        """
        self._check(setting)
        plan = choose(self.scores(setting), self.groups, ratio=1 - setting.keep)
        check()
        if setting.left > 0:
            network = faded(self.dense, plan, self.groups, left=setting.left)
        elif setting.repair:
            network = self._live.solve(plan, batches=self.train.watched(check))
        else:
            network = apply(self.dense, plan, self.groups)
        iou, answers = self._judge(network, check)
        bill = cost(network, self.data.image_size)
        check()
        times = tuple(latencies([self.dense, network], self.data.image_size, rounds=3, at_most_ms=80))
        return ClassView(setting, plan, bill.params, bill.macs, times, iou, answers[setting.image])

    def scores(self, setting: ClassSetting) -> Scores:
        """One number a channel under the rule of a setting."""
        if setting.rule == "l1":
            return self._l1
        asked = setting.minority if setting.rule == "minority_group" else None
        key = (setting.rule, asked)
        if key not in self._plans:
            classes = voters(self.train, setting.rule, asked)
            values = {name: channel_scores(table, classes, setting.rule) for name, table in self._tables.items()}
            self._plans[key] = Scores("class_taylor", values)
        return self._plans[key]

    def sentence(self, view: ClassView) -> str:
        """The numbers in words, with what they were measured on."""
        dense, size = self.dense_cost, f"{short(view.params)} parameters, {short(view.macs)} MACs"
        if view.setting.left > 0:
            speed = "as large and as slow as before: a soft mask saves nothing until it is hard"
        else:
            of = f"{view.params / dense.params:.0%} and {view.macs / dense.macs:.0%} of the dense network"
            speed = f"{of}; {view.times[1].median_ms:.1f} ms against {view.times[0].median_ms:.1f}, "
            speed += str(Speed.of(*view.times))
        means = [(mean(iou), mean(iou[self._rare])) for iou in (self.dense_iou, view.iou)]
        change = "; ".join(
            f"{name} {now:.1%} ({signed(100 * (now - before))} points)"
            for name, before, now in zip(("mIoU", "rare classes"), *means, strict=True)
        )
        return f"{size}: {speed}. {change}, on {self.images} validation images."

    def curves(self, view: ClassView) -> Picture:
        """IoU of each class, dense and pruned."""
        title = f"IoU of each class, {self.images} validation images"
        how = {"rare": self._rare, "title": title, "synthetic": self.data.synthetic}
        return class_iou(self.order.names, {"dense": self.dense_iou, "pruned": view.iou}, **how)

    def pictures(self, view: ClassView) -> Picture:
        """The image, its true mask, both answers, and where the pruned network is wrong."""
        data, number = self.data, view.setting.image
        answers = {"dense": self._dense_answers[number], "pruned": view.answer}
        row = mask_row(data, self._indices[number], answers)
        return mask_grid([row], data.classes, data.palette, synthetic=data.synthetic)

    def _judge(self, network: nn.Module, check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
        """IoU of each class, the most frequent class first, and the answers (N, H, W)."""
        task, records, answers = task_of(network, self.train), [], []
        with evaluating(network), torch.inference_mode():
            for images, masks in self._val:
                check()
                logits: Tensor = task.final(network(images))
                records.append(task.record(logits, masks))
                answers.append(logits.argmax(1).numpy())
        K = self.data.num_classes
        confusion = torch.cat(records)[:, :-1].sum(0).view(K, K).numpy()
        return class_numbers(confusion).iou[list(self.order.numbers)], np.concatenate(answers)

    def _check(self, setting: ClassSetting) -> None:
        if setting.rule not in RULE_NAMES:
            raise unknown("rule", setting.rule, RULE_NAMES)
        if not (0 < setting.keep <= 1 and 0 <= setting.left <= 1 and 0 <= setting.image < self.images):
            raise RspruneError(
                f"Got {setting}; expected keep above 0 and at most 1, left from 0 to 1, and an image from 0 to "
                f"{self.images - 1}."
            )
