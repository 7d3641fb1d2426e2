"""What a network is for: how its outputs become a loss, one small record per image, and the numbers of a table.

Four tasks: `Classification`, `Exits` (classification with several exits), `Segmentation` and `BodyEdge` (segmentation
by networks with a body and an edge head). A `Dataset` carries one; a network whose outputs differ from what its data
set expects (exits, body and edge) names its own in an attribute ``task``.

A *record* is what is kept of the output for one image, so that nothing holds all outputs of a set: the logits of a
classifier, the confusion counts of a segmented image. Every number is a sum over records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.confusion import class_numbers, resampled_miou
from rsprune_lib.errors import ModelError, unknown

__all__ = [
    "IGNORE",
    "TASKS",
    "BodyEdge",
    "Classification",
    "Exits",
    "Parts",
    "Quality",
    "Segmentation",
    "Task",
    "get_task",
    "headline",
    "refuse_broken",
    "task_of",
    "wilson",
]

IGNORE = -100  # target of a pixel that counts nowhere; what torch's losses leave out by themselves


@dataclass(frozen=True)
class Quality:
    """How good a network is on ``n`` images.

    Attributes:
        accuracy: share of right answers (images, or labelled pixels), in [0, 1].
        ci: 95 % interval (lower, upper) of `score`: what another draw of n images could give; it says nothing about
            another training seed.
        per_class: `score` of each class, length K; NaN for a class that does not occur.
        ece: expected calibration error in [0, 1], 15 bins of equal width (https://arxiv.org/abs/1706.04599); NaN where
            the task does not measure it.
        nll: mean negative log-likelihood of the right class, in nats.
        n: number of images.
        confusion: (K, K) int64, rows the true class, columns the answer.
        metric: name of the number that leads: ``"accuracy"`` or a key of ``metrics``.
        metrics: further numbers of the task by name, in [0, 1].
    """

    accuracy: float
    ci: tuple[float, float]
    per_class: tuple[float, ...]
    ece: float
    nll: float
    n: int
    confusion: np.ndarray = field(repr=False, compare=False)
    metric: str = "accuracy"
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The number that leads."""
        return self.accuracy if self.metric == "accuracy" else self.metrics[self.metric]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what is NaN here is None there. A plain classifier has neither ``metric`` nor ``metrics``."""
        row = {key: _number(getattr(self, key)) for key in ("accuracy", "ece", "nll")} | {"n": self.n}
        per_class = [_number(value) for value in self.per_class]
        row |= {"ci": [_number(end) for end in self.ci], "per_class": per_class, "confusion": self.confusion.tolist()}
        named = {"metric": self.metric, "metrics": {name: _number(value) for name, value in self.metrics.items()}}
        return row | (named if self.metrics else {})


def headline(metric: str) -> str:
    """The name of a number at the beginning of a line: "Accuracy", "mIoU", "Minority mIoU"."""
    first, blank, rest = metric.partition(" ")
    return (first.capitalize() if first.islower() else first) + blank + rest


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


class Task:
    """What the rooms above ask for; see the module's first lines.

    Attributes:
        name: key of `TASKS`.
        loss: name of the loss that is used where none is asked for.
        gives: what it gives a loss: ``"labels"`` (one a sample), ``"masks"``, ``"parts"`` (a network's `Parts`).
        metric: the number that leads.
        beside: those of its further numbers that belong beside it.
    """

    name: ClassVar[str]
    loss: ClassVar[str] = "ce"
    gives: ClassVar[tuple[str, ...]] = ("labels",)
    metric: ClassVar[str] = "accuracy"
    beside: ClassVar[tuple[str, ...]] = ()

    def on(self, data: object) -> Task:
        """The task with what a data set adds to it; ``data`` may be anything."""
        return self

    def final(self, outputs: Any) -> Tensor:  # noqa: ANN401 - whatever the network returns
        """The final logits, (B, K) or (B, K, H, W), of what a network returns."""
        raise NotImplementedError

    def objective(self, loss: nn.Module, outputs: Any, targets: Tensor) -> Tensor:  # noqa: ANN401
        """A scalar to descend: ``loss`` of (logits, targets), over everything that the network returns."""
        return loss(outputs, targets)

    def record(self, outputs: Any, targets: Tensor) -> Tensor:  # noqa: ANN401
        """(B, ...) what is kept of each image; see the module's first lines."""
        raise NotImplementedError

    def label(self, targets: Tensor) -> Tensor:
        """(B,) int64 one class for each image: its own, or the most frequent one of its mask (`IGNORE` if none)."""
        return targets

    def losses(self, records: Tensor, labels: Tensor) -> Tensor:
        """(N,) float64 negative log-likelihood of each image, in nats (a mean over its labelled pixels)."""
        raise NotImplementedError

    def scores(self, records: Tensor, labels: Tensor) -> Tensor:
        """(N,) float64 share of each image that is right, in [0, 1]."""
        raise NotImplementedError

    def quality(self, records: Tensor, labels: Tensor) -> Quality:
        """All numbers of a set.

        Args:
            records: (N, ...) of `record`.
            labels: (N,) of `label`.

        Raises:
            ModelError: the shapes do not fit, or there is no image.
        """
        raise NotImplementedError


class Classification(Task):
    """One class for an image; a network returns logits (B, K), and they are the record."""

    name = "classification"

    def final(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs

    def record(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The logits, (B, K) float32."""
        return self.final(outputs).float()

    def losses(self, records: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each image."""
        return F.cross_entropy(self.final(records).double(), labels, reduction="none")

    def scores(self, records: Tensor, labels: Tensor) -> Tensor:
        """1 where the largest logit is the right one."""
        return (self.final(records).argmax(1) == labels).double()

    def quality(self, records: Tensor, labels: Tensor) -> Quality:
        """Accuracy with its Wilson interval, recall per class, calibration.

        A class may be absent from the labels, and from the answers; of equal logits the first is the answer.
        """
        from torchmetrics.functional import classification as metrics  # imported lazily: takes 1 s

        logits = self.final(records)
        _check(logits, labels)
        N, K = logits.shape
        logits = logits.double()
        # torchmetrics 1.9 works in float32 and gives a confidence of exactly 1 a bin of its own: stay one step below
        probabilities = logits.softmax(dim=1).clamp(max=1 - 2**-24)
        confusion = metrics.multiclass_confusion_matrix(logits.argmax(dim=1), labels, num_classes=K).numpy()
        right, per_row = confusion.diagonal(), confusion.sum(axis=1)
        return Quality(
            accuracy=float(right.sum() / N),
            ci=wilson(int(right.sum()), N),
            per_class=tuple(_shares(right, per_row).tolist()),
            ece=float(metrics.multiclass_calibration_error(probabilities, labels, num_classes=K, n_bins=15)),
            nll=float(F.cross_entropy(logits, labels)),
            n=N,
            confusion=confusion,
        )


class Exits(Classification):
    """One class for an image, said several times: a network returns a sequence of logits, the final ones last.

    Records are (B, E, K); training descends the mean loss of all exits.
    """

    name = "exits"

    def final(self, outputs: Tensor | Iterable[Tensor]) -> Tensor:
        """The last logits of a network's outputs, or of records (N, E, K)."""
        return outputs[:, -1] if isinstance(outputs, Tensor) else tuple(outputs)[-1]

    def objective(self, loss: nn.Module, outputs: Iterable[Tensor], targets: Tensor) -> Tensor:
        """Mean of the exits' losses."""
        return torch.stack([loss(logits, targets) for logits in outputs]).mean()

    def record(self, outputs: Iterable[Tensor], targets: Tensor) -> Tensor:
        """All logits, (B, E, K) float32."""
        return torch.stack([logits.float() for logits in outputs], dim=1)

    def quality(self, records: Tensor, labels: Tensor) -> Quality:
        """As for a classifier, of the final exit; the accuracy of each other exit is in ``metrics``."""
        whole = super().quality(records, labels)
        early = [(logits.argmax(1) == labels).double().mean().item() for logits in records[:, :-1].unbind(1)]
        named = {f"accuracy of exit {number}": value for number, value in enumerate(early, 1)}
        return Quality(**{**vars(whole), "metrics": named})


class Segmentation(Task):
    """One class for a pixel: a network returns logits (B, K, H, W), a target is (B, H, W) with `IGNORE` where unknown.

    The record of an image is its confusion matrix and the sum of its pixels' losses, (K * K + 1,) float64.

    Args:
        rare: classes whose mIoU is the minority mIoU; none by itself, `on` takes those of a data set.
    """

    name = "segmentation"
    gives = ("masks",)
    metric = "mIoU"
    beside = ("minority mIoU", "worst class")

    def __init__(self, rare: Iterable[int] = ()) -> None:
        self.rare = tuple(rare)

    def on(self, data: object) -> Task:
        """The task with the rare classes that the data set's own task states, or that are rare in its training part."""
        rare = self.rare or getattr(getattr(data, "task", None), "rare", ()) or getattr(data, "rare", ())
        return type(self)(rare) if rare else self

    def final(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs

    def record(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, K * K + 1): confusion counts, rows the true class, then the summed negative log-likelihood."""
        logits = self.final(outputs).float()  # (B, K, H, W)
        if logits.dim() != 4 or logits.shape[:1] + logits.shape[2:] != targets.shape:
            raise ModelError(
                f"Got logits of shape {tuple(logits.shape)} for masks of shape {tuple(targets.shape)}; expected "
                "(B, K, H, W) and (B, H, W)."
            )
        B, K = logits.shape[:2]
        known = targets != IGNORE
        if known.any() and not 0 <= int(targets[known].min()) <= int(targets[known].max()) < K:
            raise ModelError(f"A mask holds a class outside 0 to {K - 1}; give {K} classes, and IGNORE elsewhere.")
        image = torch.arange(B, device=targets.device)[:, None, None].expand_as(targets)
        cell = (image * K + targets) * K + logits.argmax(1)
        counts = torch.bincount(cell[known], minlength=B * K * K).view(B, K * K)
        nll = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none").flatten(1).sum(1)
        return torch.cat([counts.cpu().double(), nll.cpu().double()[:, None]], dim=1)

    def label(self, targets: Tensor) -> Tensor:
        """The most frequent class of each mask."""
        if targets.dim() == 1:
            return targets
        flat = targets.flatten(1)
        classes = int(flat.max()) + 1
        if classes <= 0:
            return torch.full((len(flat),), IGNORE)
        counts = F.one_hot(flat.clamp_min(0), classes).masked_fill((flat == IGNORE)[..., None], 0).sum(1)
        return torch.where(counts.any(1), counts.argmax(1), IGNORE)

    def losses(self, records: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of each image's labelled pixels; NaN for an image without any."""
        return records[:, -1] / records[:, :-1].sum(1)

    def scores(self, records: Tensor, labels: Tensor) -> Tensor:
        """Share of each image's labelled pixels that are right; NaN for an image without any."""
        confusion = self.confusion(records)
        return confusion.diagonal(dim1=1, dim2=2).sum(1) / confusion.sum((1, 2))

    def quality(self, records: Tensor, labels: Tensor) -> Quality:
        """MIoU with an interval from resampled images, mF1, IoU per class, pixel accuracy, the worst class.

        A class that occurs neither in the masks nor in the answers has no IoU and no place in the mean.
        """
        if records.dim() != 2 or len(records) == 0:
            raise ModelError(
                f"Got records of shape {tuple(records.shape)}; expected (N, K * K + 1), one image or more."
            )
        refuse_broken(records[:, -1:])  # of NaN the first class would be the answer
        each = self.confusion(records).numpy()  # (N, K, K)
        whole = each.sum(0)
        found = class_numbers(whole)
        pixels = whole.sum()
        return Quality(
            accuracy=found.oa,
            ci=resampled_miou(each),
            per_class=tuple(found.iou.tolist()),
            ece=math.nan,
            nll=float(records[:, -1].sum() / pixels) if pixels else math.nan,
            n=len(records),
            confusion=whole.astype(np.int64),
            metric=self.metric,
            metrics=found.means(self.rare),
        )

    @staticmethod
    def confusion(records: Tensor) -> Tensor:
        """(N, K, K) confusion counts of records."""
        K = math.isqrt(records.shape[1] - 1)
        return records[:, :-1].view(-1, K, K)


class Parts(NamedTuple):
    """What a network with body and edge heads returns, in training and in evaluation.

    Attributes:
        logits: (B, K, H, W) of the classes.
        body: (B, K, H, W) of the classes inside of objects.
        edge: (B, H, W) logits of a boundary.
    """

    logits: Tensor
    body: Tensor
    edge: Tensor


class BodyEdge(Segmentation):
    """Segmentation by a network that returns `Parts`: all of them are trained, the class logits are the answer.

    A network whose body and edge heads were dropped returns the class logits alone, and stays of this task.
    """

    name = "body_edge"
    gives = ("masks", "parts")
    loss = "body_edge"

    def final(self, outputs: Parts | Tensor) -> Tensor:
        """The class logits."""
        return outputs if isinstance(outputs, Tensor) else outputs[0]

    def objective(self, loss: nn.Module, outputs: Parts | Tensor, targets: Tensor) -> Tensor:
        """``loss`` of all parts if it has a true attribute ``parts``, else of the class logits."""
        return loss(outputs if getattr(loss, "parts", False) else self.final(outputs), targets)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ModelError(
            f"Got logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)}, but need (N, K) and "
            "(N,) with at least one image and two classes."
        )
    K = logits.shape[1]
    if labels.min() < 0 or labels.max() >= K:
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise ModelError(
            f"Label {wrong} does not fit a network of {K} classes; use the data set it was made for, or "
            "create it with as many classes as the data set has."
        )
    refuse_broken(logits)


def refuse_broken(numbers: Tensor, of: str = "images") -> None:
    """Refuses answers that are no numbers: an argmax would make a class of them.

    Args:
        numbers: (N, ...) logits or what was made of them.
        of: what the N are.

    Raises:
        ModelError: some are NaN or infinite.
    """
    broken = int((~numbers.isfinite()).flatten(1).any(dim=1).sum())
    if broken:
        raise ModelError(
            f"The network gives NaN or infinite logits for {broken} of {len(numbers)} {of}, so it has no accuracy; "
            "go back to an earlier checkpoint or lower the learning rate."
        )


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927, https://doi.org/10.2307/2276774).

    Args:
        right: successes.
        n: trials, at least 1.
        z: standard normal quantile; the default gives 95 %.

    Returns:
        Lower and upper end, in [0, 1]; sensible at shares of 0 and 1 and for few trials too.
    """
    share, spread = right / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


TASKS: dict[str, Task] = {task.name: task for task in (Classification(), Exits(), Segmentation(), BodyEdge())}


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        RspruneError: there is none; the nearest are offered.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def task_of(model: nn.Module | None, source: object = None) -> Task:
    """The task of a network: its own, else that of the data set, else classification.

    Args:
        model: may name its task in an attribute ``task``.
        source: a data set, or batches of one.
    """
    data = getattr(source, "data", source)
    own = getattr(model, "task", None)
    task = get_task(own) if own is not None else getattr(data, "task", None)
    return (task or TASKS["classification"]).on(data)
