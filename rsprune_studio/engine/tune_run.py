"""What a fine-tuning in the studio is asked for, what it is doing, and what it has brought."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from rsprune_lib.colours import signed
from rsprune_lib.data import Dataset, measuring_batch
from rsprune_lib.entries import find
from rsprune_lib.errors import TrainingError
from rsprune_lib.measure import Paired, Quality
from rsprune_lib.tasks import headline
from rsprune_lib.training import LOSSES, Recipe, recipe
from rsprune_studio.engine.setting import Snapshot

__all__ = ["GENTLE", "TuneOptions", "TuneResult", "TuneRun"]

# Peak rates by what the network was recovered with. The closed form leaves a classifier three times as long as the
# dense one's, and steps at the recipe's own rate (0.03) undo within an epoch what it has repaired (notebook 04).
GENTLE = {"none": 0.003, "bn": 0.003, "live": 0.0005, "live_balanced": 0.0005, "sequential": 0.0005}
_RECIPE = "strong_finetune"


@dataclass(frozen=True)
class TuneOptions:
    """How to fine-tune.

    Attributes:
        loss: key of `rsprune_lib.training.LOSSES`.
        epochs: passes over the images.
        images: training images, class-balanced; None takes all.
        lr: peak learning rate of the one-cycle schedule.
        seed: of order and augmentation.
        decay: None trains the pruned network. A factor in [0, 1) trains the whole network instead, in which the
            channels that go fade by it after every epoch, see `rsprune_lib.training.SoftPruning`; the last sixth of
            the epochs is without them, and only those can be kept.

    Raises:
        RspruneError: a name is unknown or a number out of range.
    """

    loss: str = "ce"
    epochs: int = 3
    images: int | None = 2000
    lr: float = GENTLE["live"]
    seed: int = 0
    decay: float | None = None

    def __post_init__(self) -> None:
        find("loss", LOSSES, str(self.loss))
        if self.images is not None and self.images < 2:
            raise TrainingError(f"Got {self.images} images to fine-tune on; expected at least 2, better 500.")
        if not 0 < self.lr <= 1:
            raise TrainingError(f"Got lr={self.lr}; expected a learning rate above 0 and at most 1, such as 0.0005.")
        if self.decay is not None and not (0 <= self.decay < 1 and self.epochs > 1):
            raise TrainingError(
                f"Got decay={self.decay} for {self.epochs} epoch(s); channels fade by a factor from 0 to below 1, in 2 "
                "epochs or more."
            )
        recipe(_RECIPE, epochs=self.epochs, lr=self.lr)

    def recipe(self, data: Dataset) -> Recipe:
        """The course's recipe for fine-tuning with these epochs and this rate, in batches that fit into memory."""
        batch = min(64, max(4, measuring_batch(data) // 4)) if data.masks is not None else None
        return recipe(_RECIPE, epochs=self.epochs, lr=self.lr, batch_size=batch)

    def limit(self, data: Dataset) -> int:
        """Training images it really takes: a last batch of one image would have no batch statistics."""
        wanted = min(self.images or len(data.split.train), len(data.split.train))
        return wanted - (wanted > 1 and wanted % self.recipe(data).batch_size == 1)


@dataclass(frozen=True)
class TuneResult:
    """What a run has brought, both networks on the same validation images.

    Attributes:
        before: the network it began with.
        after: that of its best epoch.
        paired: image by image: who gained, and whether it can be told from chance.
        best_epoch: counted from 1.
        epochs: epochs that were finished.
        seconds: of the whole run.
    """

    before: Quality
    after: Quality
    paired: Paired
    best_epoch: int
    epochs: int
    seconds: float

    def sentence(self) -> str:
        """Says the result in words."""
        points, (low, high), pair = 100 * (self.after.score - self.before.score), self.after.ci, self.paired
        text = (
            f"{headline(self.after.metric)} {self.before.score:.1%} before, {self.after.score:.1%} after epoch "
            f"{self.best_epoch} of "
            f"{self.epochs} ({signed(points)} points; 95 % interval {low:.1%} to {high:.1%}): "
            f"{pair.gained} of {self.after.n} validation images gained, {pair.lost} lost, "
            f"p = {pair.p_value:.2g}. "
        )
        if pair.p_value >= 0.05:
            return text + "That cannot be told from chance."
        if points < 0:
            return text + "That is a real loss: discard it, and try a lower rate."
        best_of = f"; choosing the best of {self.epochs} epochs on these images flatters it a little"
        return text + f"That is more than chance{best_of if self.epochs > 1 else ''}."


@dataclass
class TuneRun:
    """One run, as far as it has come; only its own thread writes to it.

    Attributes:
        snapshot: what it began with, whatever the sliders do since.
        options: how it trains.
        phase: ``"preparing"``, ``"training"``, ``"judging"``, and at the end ``"done"``, ``"stopped"`` (before there
            was anything to keep), ``"failed"``, ``"kept"`` or ``"discarded"``.
        doing: what is being prepared, in words.
        images: training images an epoch.
        total: steps of the whole run.
        batch: images a step.
        losses: training loss of each step so far.
        accuracies: (step, leading number on validation images), beginning with step 0.
        metric: name of that number.
        result: what it brought; None until the phase is ``"done"``.
        model: the network of its best epoch, while it waits to be kept.
        error: what went wrong.
        began: `time.monotonic` of the first training step.
    """

    snapshot: Snapshot
    options: TuneOptions
    phase: str = "preparing"
    doing: str = ""
    images: int = 0
    total: int = 0
    batch: int = 64
    losses: list[float] = field(default_factory=list)
    accuracies: list[tuple[int, float]] = field(default_factory=list)
    metric: str = "accuracy"
    result: TuneResult | None = None
    model: nn.Module | None = None
    error: Exception | None = None
    began: float = math.nan
    stopping: threading.Event = field(default_factory=threading.Event)
    unwanted: bool = False

    @property
    def running(self) -> bool:
        """Whether it still works."""
        return self.phase in ("preparing", "training", "judging")

    @property
    def share(self) -> float:
        """Share of its steps that are done, in [0, 1]."""
        return min(len(self.losses) / self.total, 1.0) if self.total else 0.0

    def note(self) -> dict[str, Any]:
        """What is kept with the network: plain JSON values."""
        options, result = self.options, self.result
        more = {} if self.batch == 64 else {"batch_size": self.batch}
        more |= {} if options.decay is None else {"decay": options.decay}
        return more | {
            "recovery": self.snapshot.setting.recovery, "recipe": _RECIPE, "loss": options.loss,
            "epochs": options.epochs, "images": self.images, "lr": options.lr, "seed": options.seed,
            "best_epoch": result.best_epoch, "finished_epochs": result.epochs, "val_images": result.after.n,
            "before": result.before.score, "accuracy": result.after.score,
        }  # fmt: skip
