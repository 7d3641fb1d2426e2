"""The view of `rsprune_studio.engine.exits`: fit exits to the network on the screen, move thresholds, solve for one."""

from __future__ import annotations

import threading
import time
from functools import partial

import ipywidgets as widgets

from rsprune_lib.errors import RspruneError, Stopped
from rsprune_lib.measure import ExitRule
from rsprune_studio.draw import exits as draw
from rsprune_studio.draw import html
from rsprune_studio.engine.exits import GOALS, KINDS, ExitStudy, Judged, make_study, solve, time_exits
from rsprune_studio.engine.inside import network_key
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import Background, LatestWins, Turn, Watch
from rsprune_studio.views.tab import Part

__all__ = ["ExitView"]

_WIDE = {"width": "auto"}
_STYLE = {"description_width": "92px"}
_PAUSE = 0.2  # seconds between two redraws of the progress
_EMPTY = (
    "No exits yet. An exit is a small classifier behind an inner layer: an image that it is sure of leaves there, and "
    "the rest of the network is not computed for it. Fitting exits takes some seconds; the network stays as it is."
)
_OLD = "These exits belong to the network before the last move; fit them to this one to go on."


class ExitView(Part):
    """Exits of the pruned network: who leaves where, at what accuracy, cost and measured speed.

    Args:
        studio: the state.

    Attributes:
        study: the network with its exits; None before they are fitted.
        judged: what the thresholds do to the images that are shown.
        error: what went wrong last, None if nothing did.

    Example:
        >>> view = ExitView(studio)
        >>> view.show(snapshot)
        >>> view.fit_button.click()
    """

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.study: ExitStudy | None = None
        self.judged: Judged | None = None
        self.times: dict | None = None
        self._stop, self._told, self._silent, self._busy = threading.Event(), 0.0, False, False
        self._background = Background("the fitting of exits")
        self._timer: LatestWins[tuple[ExitStudy, ExitRule]] = LatestWins(self._time)
        self._make_controls()
        self.status, self.gauges, self.words, self.curve, self.rates, self.wall = (
            widgets.HTML(layout=_WIDE) for _ in range(6)
        )
        self.gauges.add_class("rsprune-live")
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        top = widgets.HBox([self.count, self.fit_button, self.cancel_button], layout=row)
        self._moves = widgets.VBox(
            [
                widgets.HBox([self.kind, self.apart], layout=row),
                self.sliders,
                widgets.HBox([self.goal, self.amount, self.solve_button], layout=row),
            ]
        )
        self._answers = widgets.VBox([self.gauges, self.words, self.curve, self.rates, self.wall])
        self.children = [top, self.status, self._moves, self._answers]
        self._buttons()

    def _make_controls(self) -> None:
        self.count = widgets.Dropdown(
            options=[(f"{n} exit{'s' * (n > 1)}", n) for n in (1, 2, 3, 4)], value=3, description="how many",
            tooltip="Exits at equal shares of the work", layout=widgets.Layout(width="220px"), style=_STYLE,
        )  # fmt: skip
        self.fit_button = widgets.Button(
            description="Fit exits", icon="sign-out",
            tooltip="Fit a linear classifier an exit on training images; the network stays as it is",
        )  # fmt: skip
        self.cancel_button = widgets.Button(description="Cancel", icon="stop", tooltip="End the fitting", disabled=True)
        self.kind = widgets.Dropdown(
            options=[(title, name) for name, title in KINDS.items()], description="sure means", style=_STYLE,
            tooltip="What an exit goes by when it lets an image leave", layout=widgets.Layout(width="320px"),
        )  # fmt: skip
        self.apart = widgets.ToggleButton(
            description="Each exit apart", icon="sliders", tooltip="A threshold for each exit in place of one for all",
            layout=widgets.Layout(width="150px"),
        )  # fmt: skip
        self.doubts = [_doubt(n) for n in range(5)]  # the first is for all exits
        self.agreement = widgets.IntSlider(
            min=1, max=4, value=2, description="exits agree", style=_STYLE, layout=widgets.Layout(width="420px"),
            tooltip="How many exits in a row must give the same answer",
        )  # fmt: skip
        self.sliders = widgets.VBox([*self.doubts, self.agreement])
        self.goal = widgets.Dropdown(
            options=[(title, name) for name, title in GOALS.items()], description="solve for", style=_STYLE,
            tooltip="Find the loosest threshold on images that are not behind the numbers shown here",
            layout=widgets.Layout(width="320px"),
        )  # fmt: skip
        self.amount = widgets.BoundedFloatText(
            value=1.0, min=0.1, max=100.0, step=0.1, description="%", layout=widgets.Layout(width="140px"),
            style={"description_width": "20px"}, tooltip="Percent of the images, or of the MACs",
        )  # fmt: skip
        self.solve_button = widgets.Button(
            description="Solve", icon="crosshairs", tooltip="Set the threshold that does it"
        )
        self.fit_button.on_click(lambda _: self.fit())
        self.cancel_button.on_click(lambda _: self._stop.set())
        self.solve_button.on_click(lambda _: self.solve())
        for control in (self.kind, self.apart, self.goal):
            control.observe(lambda _: self._moved(), "value")
        for slider in (*self.doubts, self.agreement):
            slider.observe(lambda _: self._moved(), "value")

    @property
    def rule(self) -> ExitRule | None:
        """Who leaves where, as the controls say; None without exits."""
        if self.study is None:
            return None
        count = self.study.count
        if self.kind.value == "patience":
            return ExitRule("patience", (float(self.agreement.value),) * count)
        each = self.doubts[1 : count + 1] if self.apart.value else [self.doubts[0]] * count
        return ExitRule(self.kind.value, tuple(1 - slider.value for slider in each))

    def fit(self) -> None:
        """Starts to fit exits to the network on the screen; while that runs, it is refused in a sentence."""
        with self._screen:
            stop = threading.Event()
            try:
                if self.snapshot is None or not self.snapshot.final:
                    raise RspruneError("The network on the screen is still being made; fit exits when it is there.")
                self._background.start(partial(self._work, self.snapshot, self.count.value, stop))
            except RspruneError as error:
                self._fail(error)
                return
            self._stop, self.error, self._busy = stop, None, True
            self.status.value = html.working("Preparing exits")
            self._buttons()

    def solve(self) -> None:
        """Sets the threshold that reaches the goal; a goal out of reach is told with what can be reached."""
        with self._screen:
            if self.study is None:
                return
            try:
                rule = solve(self.study, self.kind.value, self.goal.value, self.amount.value / 100)
            except RspruneError as error:
                self._fail(error)
                return
            self.error, self._silent = None, True
            if rule.kind == "patience":
                self.agreement.value = int(rule.thresholds[0])
            else:
                self.apart.value, self.doubts[0].value = False, min(max(1 - rule.thresholds[0], 1e-4), 1.0)
            self._silent = False
            self.status.value = html.note(f"Solved on {len(self.study.labels[self.study.kept_back])} other images.")
            self._draw()

    def settle(self, timeout: float = 120.0) -> None:
        """Waits for the fitting and the timing.

        Raises:
            Exception: what went wrong (it is on the screen as a sentence, too).
            TimeoutError: there is still work after ``timeout`` seconds.
        """
        self._background.settle(timeout)
        self._timer.settle(timeout)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Ends what runs; the view is gone."""
        self._stop.set()
        self._background.close()
        self._timer.close()
        super().close()

    def _work(self, snapshot: Snapshot, count: int, stop: threading.Event) -> None:
        """Runs on a thread that ends with it."""
        began = time.monotonic()
        try:
            study = make_study(self.studio, snapshot, count, watch=Watch(stop.is_set, self._tell))
        except Stopped:
            self._ended(None, "The fitting was cancelled.")
        except Exception as error:
            self._ended(None, "", error)
        else:
            words = "Asked the network's own exits" if study.fitted is None else f"Fitted {study.count} exits"
            self._ended(study, f"{words} in {time.monotonic() - began:.0f} s.")

    def _ended(self, study: ExitStudy | None, text: str, error: Exception | None = None) -> None:
        with self._screen:
            self._busy, self.status.value = False, html.note(text)
            if error is not None:
                self._fail(error)
            if study is not None:
                self.study = study
            self._buttons()
            self._refresh()

    def _tell(self, text: str, share: float | None) -> None:
        now = time.monotonic()
        if now - self._told > _PAUSE:
            with self._screen:
                self._told = now
                self.status.value = html.working(text, share)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.status.value = html.message(html.in_words(error), error=True)

    def _moved(self) -> None:
        """Called when a person moves a control; several moves that belong together are drawn once."""
        if not self._silent:
            with self._screen:
                self._buttons()
                if self.error is None and not self._busy:
                    self.status.value = ""
                self._draw()

    def _buttons(self) -> None:
        """Shows the controls that count for the rule, and disables what cannot be done now."""
        final = self.snapshot is not None and self.snapshot.final
        self.fit_button.disabled, self.cancel_button.disabled = self._busy or not final, not self._busy
        patient, apart = self.kind.value == "patience", self.apart.value
        shown = range(1, self.study.count + 1) if self.study is not None and apart else (0,)
        for number, slider in enumerate(self.doubts):
            slider.layout.display = "" if number in shown and not patient else "none"
        self.agreement.layout.display = "" if patient else "none"
        self.agreement.max = self.agreement.max if self.study is None else self.study.count + 1
        self.apart.disabled = patient
        self.amount.layout.display = "none" if self.goal.value == "accuracy" else ""
        self._moves.layout.display = self._answers.layout.display = "none" if self.study is None else ""

    def _refresh(self) -> None:
        with self._screen:
            self._buttons()
            if not self._active:
                return
            if self.study is None and not self._busy and self.error is None:
                self.status.value = html.note(_EMPTY)
            self._draw()

    def _draw(self) -> None:
        """Answers the controls: milliseconds; the measured speed follows."""
        study, rule = self.study, self.rule
        if study is None or not self._active:
            return
        stale = self.snapshot is None or network_key(self.snapshot) != study.key
        if stale and self.snapshot is not None and not self._busy and self.error is None:
            self.status.value = html.message(_OLD)
        self.judged = study.judge(rule)
        self.times = None
        self.gauges.value = draw.exit_gauges(study, self.judged, None)
        self.words.value = html.message(draw.sentence(study, self.judged))
        self.curve.value = draw.curve(study, self.judged)
        self.rates.value = draw.rates(study, self.judged, self.studio.data.classes)
        self._timer.submit((study, rule))

    def _time(self, turn: Turn[tuple[ExitStudy, ExitRule]]) -> None:
        """Runs on a worker: draws the images, then times."""
        study, rule = turn.job
        time.sleep(0.1)  # a slider that is being dragged asks again at once
        if turn.stale():
            return
        wall = draw.gallery(study, study.judge(rule), self.studio.data)
        with self._screen:
            if not turn.stale():
                self.wall.value = wall
        times = time_exits(self.studio, study, rule)
        with self._screen:
            if not turn.stale() and self.judged is not None:
                self.times = times
                self.gauges.value = draw.exit_gauges(study, self.judged, times)


def _doubt(number: int) -> widgets.FloatLogSlider:
    """A slider for what may be missing to certainty: 1 - threshold."""
    return widgets.FloatLogSlider(
        base=10, min=-4, max=0, step=0.02, value=0.05, description=f"doubt, exit {number}" if number else "doubt",
        tooltip="An image leaves when what is missing to full certainty is at most this: 0.01 is strict, 1 lets all go",
        readout_format=".2g", style=_STYLE, layout=widgets.Layout(width="420px"),
    )  # fmt: skip
