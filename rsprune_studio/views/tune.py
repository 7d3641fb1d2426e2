"""The view of `rsprune_studio.engine.tuning`: choose, start, watch, stop, then keep or discard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import ipywidgets as widgets

from rsprune_lib.entries import menu
from rsprune_lib.errors import RspruneError
from rsprune_lib.training import LOSSES, losses_for
from rsprune_studio.draw import html
from rsprune_studio.draw.html import in_words, time_left
from rsprune_studio.draw.tuning import named, tune_curves
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.tune_run import GENTLE, TuneOptions, TuneRun
from rsprune_studio.engine.tuning import FineTune
from rsprune_studio.views.tab import Part

__all__ = ["TuneView"]

RATES = (0.0001, 0.0002, 0.0005, 0.001, 0.003, 0.01, 0.03)
IMAGES = (500, 1000, 2000, 5000)
_WHY = (
    "After a closed form, rates up to 0.001 keep what it has repaired; much larger ones undo it within an epoch, and "
    "few epochs do not bring it back. While a training runs, the latencies of the sliders read longer than they are."
)
DECAYS, _CUT = (0.9, 0.7, 0.5, 0.0), -1.0  # factors on what goes; a Dropdown takes None for "nothing is chosen"
_WIDE = {"width": "auto"}  # a layout of its own for each widget, which is closed with it
_STYLE = {"description_width": "76px"}
_PAUSE = 0.2  # seconds between two redraws


class TuneView(Part):
    """Fine-tunes the network on the screen while it can be watched; sliders may move, the run keeps to its own network.

    Args:
        studio: the state.
        go: called with the setting that shows a network that was kept.

    Attributes:
        job: the state of this view.
        snapshot: what is on the screen, and where the next run begins.
        error: what went wrong last, None if nothing did.

    Example:
        >>> view = TuneView(studio, go=panel.go)
        >>> view.show(snapshot)
        >>> view.start_button.click()
    """

    def __init__(self, studio: Studio, go: Callable[[Setting], None] | None = None) -> None:
        super().__init__(studio)
        self._go = go
        self.job = FineTune(studio, self._heard)
        self._drawn, self._phase, self._chosen, self._quiet = 0.0, "", False, False
        self._make_controls()
        self._make_buttons()
        self.status, self.belongs, self.result, self.curves = (widgets.HTML(layout=_WIDE) for _ in range(4))
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        first, second = [self.loss, self.images, self.decay], [self.epochs, self.rate]
        buttons = [self.start_button, self.stop_button, self.keep_button, self.discard_button, self.progress]
        rows = [widgets.HBox(parts, layout=row) for parts in (first, second, buttons)]
        why = widgets.HTML(html.note(_WHY), layout=_WIDE)
        self.children = [*rows[:2], why, rows[2], self.status, self.belongs, self.result, self.curves]
        self._refresh()

    def _make_controls(self) -> None:
        most, task = len(self.studio.data.split.train), self.studio.task
        counts = [count for count in IMAGES if count < most]
        self.loss = widgets.Dropdown(
            options=menu(LOSSES, losses_for(task)), value=task.loss, description="loss", style=_STYLE,
            layout=widgets.Layout(width="320px"), tooltip="Which mistakes the network learns from (notebook 04)",
        )  # fmt: skip
        self.images = widgets.Dropdown(
            options=[*((f"{count:,}", count) for count in counts), (f"all {most:,}", None)],
            value=max((count for count in counts if count <= 2000), default=None), description="images", style=_STYLE,
            tooltip="Training images an epoch, class-balanced", layout=widgets.Layout(width="220px"),
        )  # fmt: skip
        self.epochs = widgets.IntSlider(
            min=1, max=20, value=3, description="epochs", style=_STYLE, continuous_update=False,
            tooltip="Passes over the images; the best one on validation is what can be kept",
            layout=widgets.Layout(width="320px"),
        )  # fmt: skip
        self.rate = widgets.SelectionSlider(
            options=[(f"{rate:g}", rate) for rate in RATES], value=GENTLE["live"], description="peak rate",
            style=_STYLE, continuous_update=False, tooltip="Largest learning rate of the one-cycle schedule",
            layout=widgets.Layout(width="360px"),
        )  # fmt: skip
        self.rate.observe(lambda _: self._rate_moved(), "value")
        self.decay = widgets.Dropdown(
            options=[("cut first, train what is left", _CUT), *((f"fade, times {d:g} an epoch", d) for d in DECAYS)],
            description="channels", style=_STYLE, layout=widgets.Layout(width="320px"),
            tooltip="Cut them and train; or train the whole network while they fade, and cut them for the last epochs",
        )  # fmt: skip

    def _make_buttons(self) -> None:
        self.start_button = widgets.Button(
            description="Start", icon="play", tooltip="Fine-tune the network on the screen, on training images"
        )
        self.stop_button = widgets.Button(
            description="Stop", icon="stop", tooltip="End after this step; the best epoch so far can be kept"
        )
        self.keep_button = widgets.Button(
            description="Keep", icon="check", tooltip="Make it the network of this plan: recovery ‘fine-tuned’"
        )
        self.discard_button = widgets.Button(
            description="Discard", icon="trash", tooltip="Throw the run away; the network is as it was before"
        )
        self.progress = widgets.FloatProgress(
            min=0.0, max=1.0, value=0.0, tooltip="Share of the steps that are done",
            layout=widgets.Layout(width="220px", visibility="hidden"),
        )  # fmt: skip
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.job.stop())
        self.keep_button.on_click(lambda _: self.keep())
        self.discard_button.on_click(lambda _: self.job.discard())

    @property
    def options(self) -> TuneOptions:
        """What the controls say."""
        decay = None if self.decay.value == _CUT else self.decay.value
        return TuneOptions(self.loss.value, self.epochs.value, self.images.value, self.rate.value, decay=decay)

    def show(self, snapshot: Snapshot | None) -> None:
        """Takes another network as the start of the next run; returns at once."""
        with self._screen:
            gentle = None if snapshot is None else GENTLE.get(snapshot.setting.recovery)
            if not self._chosen and gentle is not None:
                self._quiet = True
                self.rate.value = gentle
                self._quiet = False
            self.error = None if self._is_move(snapshot) else self.error
            super().show(snapshot)

    def start(self) -> None:
        """Starts a run from the network on the screen; why that is not possible is said in a sentence."""
        self._try(self._begin)

    def keep(self) -> None:
        """Keeps the network of the run, and shows it."""
        self._try(self._keep)

    def settle(self, timeout: float = 120.0) -> None:
        """Waits for the end of the run.

        Raises:
            Exception: what went wrong (it is on the screen as a sentence, too).
            TimeoutError: it is still running after ``timeout`` seconds.
        """
        self.job.settle(timeout)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Ends what runs, without a result; the view is gone."""
        self.job.close()
        super().close()

    def _rate_moved(self) -> None:
        self._chosen = self._chosen or not self._quiet  # from now on the rate is a person's, not the default

    def _begin(self) -> None:
        if self.snapshot is None:
            raise RspruneError("There is no network on the screen yet; wait for the first measurement, then start.")
        self.job.start(self.snapshot, self.options)

    def _keep(self) -> None:
        setting = self.job.keep()
        if self._go is not None:
            self._go(setting)

    def _try(self, what: Callable[[], None]) -> None:
        self.error = None
        try:
            what()
        except RspruneError as error:
            with self._screen:
                self.error = error
                self._refresh()

    def _heard(self) -> None:
        """Called by the run, mostly on its thread: draws each change of phase, and the curve now and then."""
        run = self.job.run
        if run is not None and (run.phase != self._phase or time.monotonic() - self._drawn > _PAUSE):
            with self._screen:
                self._phase, self._drawn = run.phase, time.monotonic()
                self._refresh()

    def _refresh(self) -> None:
        run = self.job.run
        busy, done = run is not None and run.running, run is not None and run.phase == "done"
        self.start_button.disabled, self.stop_button.disabled = busy, not busy
        self.keep_button.disabled, self.discard_button.disabled = not done, not (busy or done)
        self.progress.layout.visibility = "visible" if busy else "hidden"
        if not self._active:
            return
        error = self.error or (run and run.error)
        self.status.value = html.message(in_words(error), error=True) if error else "" if run is None else _doing(run)
        if run is not None:
            self.progress.value = run.share
            self.belongs.value = html.note(self._belongs(run))
            self.result.value = "" if run.result is None else html.message(run.result.sentence())
            self.curves.value = tune_curves(run)

    def _belongs(self, run: TuneRun) -> str:
        mine, now = run.snapshot, self.snapshot
        text = f"This run began with {named(mine)}."
        if now is not None and (now.plan.hash, now.setting.recovery) != (mine.plan.hash, mine.setting.recovery):
            text += " The controls have moved since; it keeps to its own network."
        return text


def _doing(run: TuneRun) -> str:
    """What a run does, or how it ended, in one line."""
    steps, epochs = len(run.losses), run.options.epochs
    if run.phase == "training":
        epoch = min(epochs, 1 + steps * epochs // max(run.total, 1))
        text = f"Epoch {epoch} of {epochs}, step {steps} of {run.total}"
        text += f", loss {run.losses[-1]:.3f}" if steps and math.isfinite(run.losses[-1]) else ""
        left = time_left(run.share, time.monotonic() - run.began)
        return html.working(text + (f", {left}" if left else ""))
    running = {
        "preparing": run.doing or "Building the pruned network",
        "judging": "Measuring the best epoch, image by image",
    }
    if run.phase in running:
        return html.working(running[run.phase])
    ended = {
        "stopped": "Stopped before the first epoch was measured, so there is nothing to keep.",
        "kept": "Kept: the recovery ‘fine-tuned’ shows it for this plan.",
        "discarded": "Discarded; the network is as it was before.",
        "done": f"Done in {run.result.seconds:.0f} s. Keep it, or discard it." if run.result else "",
    }
    return html.note(ended.get(run.phase, ""))
