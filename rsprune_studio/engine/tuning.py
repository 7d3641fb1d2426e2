"""Fine-tuning inside the studio: a job that can be watched, stopped at any step, and kept or thrown away."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from rsprune_lib.data import Dataset
from rsprune_lib.errors import RspruneError, Stopped, TrainingError
from rsprune_lib.measure import compare
from rsprune_lib.pruning import Request
from rsprune_lib.pruning.calibration import device_of
from rsprune_lib.training import Callback, Fit, SoftPruning, StopTraining, fit, make_loss
from rsprune_studio.engine.network_cache import private_copy
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import Background, Watch
from rsprune_studio.engine.tune_run import GENTLE, TuneOptions, TuneResult, TuneRun

__all__ = ["FineTune"]


class FineTune:
    """Fine-tunes the network of a snapshot on a thread of its own; the studio sees nothing of it until it is kept.

    Training and validation part only; the test part is not touched. Sliders may move meanwhile: the run goes on for the
    snapshot it began with.

    Args:
        studio: the network with its data.
        heard: called after every step and whenever the phase changes, mostly on the run's thread; should be quick.

    Attributes:
        run: the newest run, None before the first.
    """

    def __init__(self, studio: Studio, heard: Callable[[], None] | None = None) -> None:
        self.studio, self.run = studio, None
        self._heard, self._closed = heard or (lambda: None), False
        self._background = Background("a fine-tuning")
        self._lock = threading.Lock()

    def start(self, snapshot: Snapshot, options: TuneOptions | None = None) -> TuneRun:
        """Begins a run; a finished one that was neither kept nor discarded is forgotten.

        Raises:
            RspruneError: one is running, the studio is closed, or the network has been fine-tuned already.
        """
        if self._closed:
            raise RspruneError("This studio has been closed, so nothing can be fine-tuned in it; use the open one.")
        recovery = snapshot.setting.recovery
        if recovery == "tuned":
            raise RspruneError(
                "This network has been fine-tuned already; set recovery back to what it began with, and train from "
                "there with more epochs or another rate."
            )
        options = options or TuneOptions(lr=GENTLE.get(recovery, GENTLE["none"]))
        with self._lock:
            run = TuneRun(snapshot, options)
            self._background.start(partial(self._work, run))
            self.run = run
        self._heard()
        return run

    def stop(self) -> None:
        """Ends the run after the step it is in; the best epoch so far can be kept."""
        if self.run is not None:
            self.run.stopping.set()

    def keep(self) -> Setting:
        """Hands the network to the studio, under the plan it was made from.

        Returns:
            The setting that shows it.

        Raises:
            RspruneError: there is no finished run, or it was kept or discarded before.
        """
        with self._lock:
            run = self.run
            if self._closed or run is None or run.phase != "done":
                raise RspruneError(
                    f"There is no fine-tuned network to keep ({'none yet' if run is None else run.phase}); "
                    "let a run finish at least one epoch first."
                )
            plan, recovery = run.snapshot.plan, run.snapshot.setting.recovery
            note = run.note() | {"recovery": self.studio.networks.used(plan, recovery)}
            self.studio.keep_tuned(plan, run.model, note)
            run.phase, run.model = "kept", None
        self._heard()
        return replace(run.snapshot.setting, recovery="tuned")

    def discard(self) -> None:
        """Throws the run away, in the middle of it too."""
        with self._lock:
            run = self.run
            if run is not None and run.running:
                run.unwanted = True
                run.stopping.set()
            elif run is not None and run.phase == "done":
                run.phase, run.model = "discarded", None
        self._heard()

    def close(self) -> None:
        """Ends whatever runs, without a result; nothing can be started afterwards."""
        self._closed, self._heard = True, lambda: None
        self.discard()
        self._background.close()

    def settle(self, timeout: float = 120.0) -> TuneRun | None:
        """Waits for the end of the run.

        Raises:
            Exception: what went wrong in it.
            TimeoutError: it is still running after ``timeout`` seconds.
        """
        self._background.settle(timeout)
        if self.run is not None and self.run.error is not None:
            raise self.run.error
        return self.run

    def _work(self, run: TuneRun) -> None:
        """Runs on the thread: every way out ends in a phase, and says so."""
        phase = "stopped"
        try:
            phase = self._train(run)
        except (Stopped, StopTraining):
            pass
        except Exception as error:
            phase, run.error = "failed", error
        with self._lock:
            run.phase = "discarded" if run.unwanted else phase
            run.model = run.model if run.phase == "done" else None
        self._heard()

    def _train(self, run: TuneRun) -> str:
        """Measures, trains and measures again; returns the phase it ends in."""
        studio, began = self.studio, time.monotonic()
        first = private_copy(
            studio.networks.recovered(run.snapshot, Watch(run.stopping.is_set, partial(self._prepare, run)))
        )
        self._prepare(run, "Measuring the network as it is", None)
        before, labels = studio.measuring.predict(first, Watch(run.stopping.is_set))
        task, run.metric = studio.task, studio.task.metric
        found = task.quality(before, labels)
        run.accuracies.append((0, found.score))
        if run.options.decay is None:
            soft, whole = None, first
        else:
            request = Request(plan=run.snapshot.plan)
            soft = SoftPruning(studio.data, studio.groups, decay=run.options.decay, request=request)
            with studio.trained.using:
                whole = private_copy(studio.plain)
        trained = self._fit(run, whole, soft)
        if not trained.best_epoch or run.unwanted:
            return "stopped"
        small = trained.model if soft is None else soft.small(trained.model)
        run.phase, run.model = "judging", small.to(device_of(studio.model)).eval()
        self._heard()
        after, _ = studio.measuring.predict(run.model)
        epochs, seconds = (
            len([row for row in trained.history if row[f"val_{task.metric}"] is not None]),
            time.monotonic(),
        )
        run.result = TuneResult(
            found,
            task.quality(after, labels),
            compare(before, after, labels, task),
            trained.best_epoch,
            epochs,
            seconds - began,
        )
        return "done"

    def _prepare(self, run: TuneRun, text: str, share: float | None) -> None:
        run.doing = text if share is None else f"{text}, {share:.0%}"
        self._heard()

    def _fit(self, run: TuneRun, network: nn.Module, soft: SoftPruning | None) -> Fit:
        options, data = run.options, self.studio.data
        how = options.recipe(data)
        run.batch, callbacks = how.batch_size, [_Epochs(run), *([] if soft is None else [soft])]
        run.images = options.limit(data)
        run.total = how.epochs * math.ceil(run.images / how.batch_size)
        run.phase, run.began = "training", time.monotonic()
        loss = make_loss(options.loss, self.studio.task, label_smoothing=how.label_smoothing)
        loss = _Listening(loss, partial(self._step, run))
        try:
            return fit(
                network, data, how, loss=loss, seed=options.seed, callbacks=callbacks, limit=run.images,
                val_limit=len(self.studio.validation.indices), progress=False,
            )  # fmt: skip
        except TrainingError:
            raise TrainingError(
                f"The training loss stopped being a number after {len(run.losses)} steps at a peak rate of "
                f"{options.lr:g}, so nothing of this run is kept; the network is as it was: try a lower rate."
            ) from None

    def _step(self, run: TuneRun, loss: Tensor) -> None:
        if run.stopping.is_set():
            raise StopTraining
        run.losses.append(loss.item())
        self._heard()


class _Listening(nn.Module):
    """A loss that is heard at every step; `fit` itself tells every 16 steps, seconds too late for a Stop button."""

    def __init__(self, loss: nn.Module, heard: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.loss, self.heard, self.parts = loss, heard, getattr(loss, "parts", False)

    def prepare(self, data: Dataset) -> None:
        if hasattr(self.loss, "prepare"):
            self.loss.prepare(data)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = self.loss(logits, target)
        self.heard(loss.detach())
        return loss


class _Epochs(Callback):
    """Notes the leading number of each epoch on the validation images."""

    def __init__(self, run: TuneRun) -> None:
        self._run = run

    def on_epoch(self, history: list[dict], model: nn.Module) -> None:
        self._run.accuracies.append((len(self._run.losses), history[-1][f"val_{self._run.metric}"]))
        if self._run.stopping.is_set():
            raise StopTraining
