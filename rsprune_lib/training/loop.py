"""The one training loop of the course: everything that trains goes through `fit`."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from rsprune_lib.data import Batches, Dataset, measuring_batch
from rsprune_lib.device import pick_device, seeded, supports_bf16
from rsprune_lib.errors import TrainingError
from rsprune_lib.measure import predict
from rsprune_lib.models.strides import strides_outside
from rsprune_lib.tasks import task_of
from rsprune_lib.training.callback import Callback, StopTraining
from rsprune_lib.training.checkpoint import restore_checkpoint, save_checkpoint
from rsprune_lib.training.losses import make_loss
from rsprune_lib.training.optimise import make_optimizer, make_schedule, warm_average
from rsprune_lib.training.recipes import Recipe
from rsprune_lib.training.run_identity import run_identity

__all__ = ["Fit", "fit"]

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
_CHECK_EVERY = 16  # steps between two looks at the loss: each look waits for the device


@dataclass
class Fit:
    """What `fit` returns.

    Attributes:
        model: The network of the best epoch on validation, in eval mode, on the CPU.
        history: One row an epoch: epoch, lr, train_loss, val_accuracy (the task's leading number), val_loss, seconds,
            images_per_second.
        best_epoch: Counted from 1; 0 before the first epoch.
        stopped: Whether a callback ended the run early.
    """

    model: nn.Module
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    stopped: bool = False


def fit(
    model: nn.Module,
    data: Dataset,
    recipe: Recipe,
    *,
    loss: str | nn.Module | None = None,
    objective: Objective | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    limit: int | None = None,
    val_limit: int | None = None,
    progress: bool = True,
) -> Fit:
    """Trains a copy of ``model`` on the training part and keeps the epoch that is best on the validation part.

    Runs on whatever `pick_device` finds, on several GPUs under ``accelerate launch``, in bfloat16 where the hardware
    has it. Order, augmentation and whatever is drawn from the global generators, such as dropout, depend on (seed,
    epoch) only: an interrupted run resumes to the same numbers, and the caller's generators stay as they are.

    Args:
        model: Any network of the course; left as it is.
        data: Training and validation parts; the test part is not touched.
        recipe: Hyper-parameters.
        loss: A name for `make_loss` or such a module; the default is the task's own.
        objective: In place of ``loss``: a function (model, images, labels) -> scalar, e.g. for distillation. If it is a
            `Callback` too, it is called like the others; if it has a method ``score`` from validation records and
            labels to a number, the epoch of the largest one is kept, in place of that of the task's leading number.
        seed: Of order, augmentation and dropout (the weights are seeded where the model is made).
        out: Folder for a checkpoint after each epoch; None keeps none.
        resume: Go on from the checkpoint in ``out`` if there is one.
        callbacks: See `Callback`; may raise `StopTraining`.
        limit: Train on this many images only (class-balanced).
        val_limit: Validate on this many images only.
        progress: Show a progress bar.

    Returns:
        The best model with the history of the run.

    Raises:
        TrainingError: There are fewer than two images a batch, the loss is no longer finite (the checkpoint of the last
            whole epoch stays), or the checkpoint belongs to another run.
    """
    if resume and out is None:
        raise TrainingError("Got resume=True without a folder; pass out= with the folder of the interrupted run.")
    callbacks = [*callbacks, *([objective] if isinstance(objective, Callback) else [])]
    run = _Run(model, data, recipe, loss, objective, seed, limit, val_limit, callbacks)
    limits = [limit, val_limit]
    same = {} if out is None else run_identity(model, data, recipe, objective or run.loss, seed=seed, limits=limits)
    same |= {type(one).__name__: one.identity() for one in callbacks if same and one.identity()}
    if resume:
        restore_checkpoint(Path(out), same, run.restore)
    stopped = _epochs(run, None if out is None else partial(save_checkpoint, Path(out), same), callbacks, progress)
    result = Fit(run.best.eval(), run.history, run.best_epoch, stopped)
    for callback in callbacks:
        callback.on_end(result.model)
    return result


def _epochs(
    run: "_Run", save: Callable[[dict[str, Any]], Path] | None, callbacks: Iterable[Callback], progress: bool
) -> bool:
    """Trains all epochs that are left; returns whether a callback ended it early."""
    try:
        while run.epoch < run.recipe.epochs:
            run.train_epoch(progress)
            for callback in callbacks:
                callback.on_trained(run.epoch, run.recipe.epochs, run.networks, run.optimizer.optimizer)
            run.validate()
            if save is not None and run.accelerator.is_main_process:
                save(run.state())
            for callback in callbacks:
                callback.on_epoch(run.history, run.candidate)
    except StopTraining:
        return True
    return False


class _Run:
    """One run of `fit`: model, averaged model, optimiser and schedule, and how an epoch moves them."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        recipe: Recipe,
        loss: str | nn.Module | None,
        objective: Objective | None,
        seed: int,
        limit: int | None,
        val_limit: int | None,
        callbacks: list[Callback],
    ) -> None:
        device = pick_device()
        # Not on very small images: where a strided convolution sees one pixel, oneDNN leaves the taps of its bfloat16
        # weight gradient that meet padding alone unset, often as NaN.
        large = min(data.images.shape[1:3]) >= getattr(model, "least_side", 32)
        precision = "bf16" if large and supports_bf16(device) else "no"
        AcceleratorState._reset_state()  # of an earlier run in this process, which may have had the other precision
        self.accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
        device = self.accelerator.device
        self.recipe, self.objective, self.task, self.callbacks = recipe, objective, task_of(model, data), callbacks
        loss = self.task.loss if loss is None else loss
        smoothing = recipe.label_smoothing
        self.loss = make_loss(loss, self.task, label_smoothing=smoothing) if isinstance(loss, str) else loss
        if objective is None and hasattr(self.loss, "prepare"):
            self.loss.prepare(data)
        self.loss.to(device)
        shard = (self.accelerator.process_index, self.accelerator.num_processes)
        how = {"augment": recipe.augment, "shuffle": True, "seed": seed, "device": device, "shard": shard}
        self.train = Batches(data, "train", recipe.batch_size, limit=limit, **how)
        if min(self.train.size, recipe.batch_size) < 2 * shard[1]:
            raise TrainingError(
                f"Got {self.train.size} training image(s), batches of {recipe.batch_size}, {shard[1]} process(es); "
                "give more images or larger batches: batch norm needs two in every batch of every process."
            )
        self.val = Batches(data, "val", measuring_batch(data), limit=val_limit, device=device)
        plain = copy.deepcopy(model)
        for callback in callbacks:
            callback.on_start(plain)
        self.best = copy.deepcopy(plain).cpu().eval()
        plain = strides_outside(plain).to(device, memory_format=torch.channels_last).train()
        self.average = AveragedModel(plain, multi_avg_fn=warm_average(recipe.ema), use_buffers=True)
        self.model, self.optimizer = self.accelerator.prepare(plain, make_optimizer(plain, recipe))
        self.plain = self.accelerator.unwrap_model(self.model)
        self.schedule = make_schedule(self.optimizer.optimizer, recipe, len(self.train))
        self.epoch, self.good_epoch, self.best_epoch, self.best_score = 0, 0, 0, (-math.inf, 0.0)
        self.history: list[dict] = []

    @property
    def networks(self) -> list[nn.Module]:
        """The network that is trained, and the averaged one where the recipe has an EMA."""
        return [self.plain, self.average.module] if self.recipe.ema else [self.plain]

    @property
    def candidate(self) -> nn.Module:
        """The network that is validated and kept: the averaged one, or the plain one where the recipe has no EMA."""
        return self.networks[-1]

    def _objective(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.objective is not None:
            with self.accelerator.autocast():
                return self.objective(self.model, images, labels)
        return self.task.objective(self.loss, self.model(images), labels)

    def train_epoch(self, progress: bool) -> None:
        """Takes every training batch once and appends a row to the history."""
        start, steps, total = time.perf_counter(), len(self.train), torch.zeros((), device=self.accelerator.device)
        self.model.train()
        for callback in self.callbacks:
            callback.on_epoch_start(self.epoch, self.plain)
        title = f"epoch {self.epoch + 1}/{self.recipe.epochs}"
        draws = seeded(self.accelerator.device, self.train.seed, self.epoch, self.accelerator.process_index)
        quiet = not progress or not self.accelerator.is_main_process
        with draws, tqdm(total=steps, desc=title, leave=False, disable=quiet) as bar:
            for step, (images, labels) in enumerate(self.train.epoch(self.epoch, self._shrink()), 1):
                total += self._step(images, labels, self.train.sizes[step - 1])
                if step % _CHECK_EVERY == 0 or step == steps:
                    everywhere = self.accelerator.reduce(total, "mean")  # so that all processes stop where one must
                    mean = self._finite(everywhere.item() / step, step)
                    bar.set_postfix(loss=f"{mean:.3f}")
                    for callback in self.callbacks:
                        callback.on_step(self.epoch * steps + step, self.recipe.epochs * steps, mean)
                bar.update()
        seconds = time.perf_counter() - start
        self.epoch += 1
        self.history.append({
            "epoch": self.epoch, "lr": self.schedule.get_last_lr()[0], "train_loss": mean,
            f"val_{self.task.metric}": None, "val_loss": None, "seconds": seconds,
            "images_per_second": self.train.size / seconds,
        })  # fmt: skip

    def _shrink(self) -> int:
        """By how much the images of the coming epoch are made smaller."""
        early = self.epoch < round(self.recipe.half_size * self.recipe.epochs)
        return 2 if early and min(self.train.data.images.shape[1:3]) >= 2 * getattr(self.plain, "least_side", 32) else 1

    def _step(self, images: Tensor, labels: Tensor, together: int) -> Tensor:
        """One step on this process's share of a batch of ``together`` images; returns the loss."""
        loss = self._objective(images, labels)
        if self.accelerator.num_processes > 1:  # gradients are averaged over processes, whose shares may differ by one
            loss = loss * (len(images) * self.accelerator.num_processes / together)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.schedule.step()
        if self.recipe.ema:
            self.average.update_parameters(self.plain)
        return loss.detach()

    def _finite(self, mean: float, step: int) -> float:
        if math.isfinite(mean):
            return mean
        rate, epoch = self.schedule.get_last_lr()[0], self.good_epoch
        raise TrainingError(
            f"The training loss became {mean} in epoch {epoch + 1}, before step {step}, at learning rate "
            f"{rate:.3g}; the state after epoch {epoch} is kept: lower lr (now {self.recipe.lr}) and train again."
        )

    def validate(self) -> None:
        """Measures the candidate on the validation part and keeps it if it is the best so far (ties: lower loss)."""
        with self.accelerator.autocast():
            records, labels = predict(self.candidate, self.val, progress=False)
        if not torch.isfinite(records).all():
            self._finite(math.nan, len(self.train))
        measured = self.task.quality(records, labels)
        self.history[-1] |= {f"val_{self.task.metric}": measured.score, "val_loss": measured.nll}
        for callback in self.callbacks:
            callback.on_validation(self.history[-1], records, labels, self.candidate)
        own = getattr(self.objective, "score", None)
        self.good_epoch, score = self.epoch, (own(records, labels) if own else measured.score, -measured.nll)
        if score > self.best_score and all(callback.may_keep() for callback in self.callbacks):
            self.best_score, self.best_epoch = score, self.epoch
            self.best.load_state_dict(self.candidate.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as tensors and plain values."""
        return {
            "epoch": self.epoch, "best_epoch": self.best_epoch, "best_score": list(self.best_score),
            "history": self.history, "model": self.plain.state_dict(), "average": self.average.state_dict(),
            "best": self.best.state_dict(), "optimizer": self.optimizer.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "callbacks": {type(callback).__qualname__: callback.state() for callback in self.callbacks},
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Puts a saved state back."""
        self.plain.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.best.load_state_dict(state["best"])
        self.optimizer.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.epoch = self.good_epoch = state["epoch"]
        self.best_epoch = state["best_epoch"]
        self.best_score, self.history = tuple(state["best_score"]), state["history"]
        for callback in self.callbacks:
            if saved := state.get("callbacks", {}).get(type(callback).__qualname__):
                callback.restore(saved)
