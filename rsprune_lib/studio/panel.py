"""The widgets of the live pruning tool; they only wire `rsprune_lib.studio.state` to the screen."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable

import ipywidgets as widgets

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning import CRITERIA
from rsprune_lib.studio import markup
from rsprune_lib.studio.state import RECOVERIES, SCOPES, Setting, Snapshot, Studio
from rsprune_lib.studio.worker import LatestWins

__all__ = ["PruningPanel"]

_LABELS = {"none": "none", "bn": "BN re-estimation", "live": "closed form (live)"}
_WIDE = widgets.Layout(width="100%")


class PruningPanel(widgets.VBox):
    """Sliders whose every move is answered with kept channels, parameters, MACs, measured latency and accuracy.

    Structure and costs are shown within the event; latency and accuracy follow from a worker thread, first an estimate,
    then the final value, and are dropped if another move comes first.

    Args:
        studio: The state.
        setting: Where the controls start.
        criteria: Criteria to offer.
        own: Offer a slider for each group (local scope).

    Attributes:
        snapshot: What is on the screen.
    """

    def __init__(
        self,
        studio: Studio,
        setting: Setting | None = None,
        *,
        criteria: Iterable[str] = CRITERIA,
        own: bool = True,
    ) -> None:
        self.studio, self.start = studio, setting or Setting()
        self.snapshot: Snapshot | None = None
        self._undo: list[Setting] = []
        self._quiet = False
        self._screen = threading.RLock()  # a worker looks whether it is stale and draws in one step
        self._worker: LatestWins[Snapshot] = LatestWins(self._measure)
        self._make_controls(list(criteria))
        self.gauges, self.bars, self.words = (widgets.HTML(layout=_WIDE) for _ in range(3))
        rows = [
            widgets.HBox([self.criterion, self.scope, self.recovery], layout=widgets.Layout(flex_flow="row wrap")),
            widgets.HBox([self.ratio, self.undo, self.reset], layout=widgets.Layout(flex_flow="row wrap")),
            self.gauges,
            self.words,
            self.bars,
        ]
        if own:
            folded = widgets.Accordion([widgets.VBox(list(self.own.values()))], titles=("Own ratio for a group",))
            rows.append(folded)
        super().__init__(rows)
        self._show(self.start)
        self._moved()

    def _make_controls(self, criteria: list[str]) -> None:
        style = {"description_width": "72px"}
        self.criterion = widgets.Dropdown(
            options=criteria, description="criterion", style=style, tooltip="What makes a channel important"
        )
        self.scope = widgets.ToggleButtons(
            options=SCOPES,
            description="scope",
            style={**style, "button_width": "72px"},
            tooltips=("The same ratio in every group", "Groups compete for channels"),
        )
        self.recovery = widgets.Dropdown(
            options=[(_LABELS[name], name) for name in RECOVERIES],
            description="recovery",
            style=style,
            tooltip="What is done after the cut, without labels or training",
        )
        self.ratio = self._slider("remove", "Share of the channels to remove")
        self.ratio.layout.width = "520px"
        self.own = {group.name: self._slider(group.name, "This group's own ratio") for group in self.studio.groups}
        for control in (self.criterion, self.scope, self.recovery, self.ratio):
            control.observe(lambda change: self._moved(), "value")
        for name, slider in self.own.items():
            slider.observe(lambda change, name=name: self._moved(name), "value")
        self.undo = widgets.Button(description="Undo", icon="undo", tooltip="Back to the setting before")
        self.reset = widgets.Button(description="Reset", icon="refresh", tooltip="Back to where the sliders started")
        self.undo.on_click(lambda _: self.step_back())
        self.reset.on_click(lambda _: self.go(self.start))

    @staticmethod
    def _slider(description: str, tooltip: str) -> widgets.FloatSlider:
        return widgets.FloatSlider(
            min=0.0,
            max=0.95,
            step=0.01,
            description=description,
            tooltip=tooltip,
            readout_format=".0%",
            continuous_update=False,
            style={"description_width": "120px"},
            layout=widgets.Layout(width="460px"),
        )

    @property
    def setting(self) -> Setting:
        """The setting that is on the screen."""
        return self.snapshot.setting if self.snapshot else self.start

    def go(self, setting: Setting) -> None:
        """Moves all controls to a setting at once."""
        self._show(setting)
        self._moved()

    def step_back(self) -> None:
        """Goes back to the setting before the last move; at the beginning it stays."""
        if self._undo:
            setting = self._undo.pop()
            self._show(setting)
            self._moved(remember=False)

    def settle(self, timeout: float = 60.0) -> Snapshot:
        """Waits for all measurements of the last move, raises what went wrong, returns the final snapshot."""
        self._worker.settle(timeout)
        return self.snapshot

    def _show(self, setting: Setting) -> None:
        self._quiet = True
        try:
            self.criterion.value, self.scope.value = setting.criterion, setting.scope
            self.recovery.value, self.ratio.value = setting.recovery, setting.ratio
            for name, slider in self.own.items():
                slider.value = setting.own.get(name, setting.ratio)
        finally:
            self._quiet = False
        self._owned = dict(setting.own)

    def _moved(self, group: str | None = None, *, remember: bool = True) -> None:
        """Answers a move: structure and costs now, measurements later."""
        if self._quiet:
            return
        if group is not None:
            self._owned[group] = self.own[group].value
        wanted = Setting(
            self.criterion.value, self.scope.value, self.ratio.value, dict(self._owned), self.recovery.value
        )
        try:
            snapshot = self.studio.apply(wanted)
        except RspruneError as error:
            self.words.value = markup.message(str(error), error=True)
            return
        with self._screen:
            before = self.snapshot
            if remember and before is not None and before.setting != wanted:
                self._undo.append(before.setting)
            self._show(wanted)
            self._draw(snapshot)
            self._worker.submit(snapshot)

    def _draw(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        same = before is not None and before.plan == snapshot.plan
        self.gauges.value = markup.gauges(snapshot)
        self.words.value = markup.message(snapshot.sentence())
        if not same:
            self.bars.value = markup.bars(snapshot, before)

    def _measure(self, snapshot: Snapshot, stale: Callable[[], bool]) -> None:
        """Runs on the worker: draws each measurement as it comes, nothing once a newer move waits."""
        try:
            network = self.studio.network(snapshot, stale)
            snapshot = dataclasses.replace(snapshot, latency=self.studio.time(network))
            self._draw_unless(stale, snapshot)
            for final in (False, True):
                snapshot = self.studio.measure(snapshot, network, final=final, should_stop=stale)
                if snapshot is None:
                    return
                self._draw_unless(stale, snapshot)
        except Exception as error:
            if stale():
                return  # nobody waits for this answer any more
            self.words.value = markup.message(str(error), error=True)
            raise

    def _draw_unless(self, stale: Callable[[], bool], snapshot: Snapshot) -> None:
        with self._screen:
            if not stale():
                self._draw(snapshot)
