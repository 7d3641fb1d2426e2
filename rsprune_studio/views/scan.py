"""The view of `Scans`: run a sensitivity scan, see which groups are fragile, ask for the preset."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from rsprune_lib.errors import RspruneError, Stopped
from rsprune_lib.pruning import Scan
from rsprune_studio.draw import html
from rsprune_studio.draw.html import in_words, time_left
from rsprune_studio.draw.scan import fragility, scan_curves
from rsprune_studio.engine.guided import guided_setting
from rsprune_studio.engine.scans import Scanner
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import Background, Watch
from rsprune_studio.views.tab import Part

__all__ = ["ScanView"]

IMAGES, WITH_MASKS = (128, 256, 512, 1000), (16, 32, 64, 128)  # each pixel of a mask has an answer of its own
_WIDE = {"width": "auto"}  # a layout of its own for each widget, which is closed with it
_STYLE = {"description_width": "76px"}
_PAUSE = 0.2  # seconds between two redraws of the progress
_NOTHING = "There is no setting on the screen to begin with; wait for its first numbers, or move a slider."


class ScanView(Part):
    """Scans all groups by the criterion on the screen, with progress and cancel, and shows what each group can spare.

    Scans that were made before are read when the view is made. A scan goes on while the sliders move; it belongs to the
    criterion it was started with.

    Args:
        studio: the state; scans go to ``studio.scans``.
        folder: the bundle's folder, beside whose files the scans are kept; None keeps them in the user's cache.
        go: called with the setting of a guided preset that a person asks for; None hides the preset.

    Attributes:
        scanner: the state of this view.
        snapshot: what is marked on the curves.
        running: criterion of the scan that runs, None if none does.
        error: what went wrong last, None if nothing did.

    Example:
        >>> view = ScanView(studio, bundle.path, go=panel.go)
        >>> view.show(snapshot)
        >>> view.run_button.click()
    """

    def __init__(
        self, studio: Studio, folder: str | Path | None = None, go: Callable[[Setting], None] | None = None
    ) -> None:
        super().__init__(studio)
        self.scanner, self._go = Scanner(studio, folder), go
        self.running: str | None = None
        self._stop, self._told, self._began = threading.Event(), 0.0, 0.0
        self._background, self._reader = Background("a sensitivity scan"), Background("the reading of earlier scans")
        self._make_controls()
        self.status, self.hint, self.curves, self.table = (widgets.HTML(layout=_WIDE) for _ in range(4))
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        top = widgets.HBox([self.images, self.run_button, self.cancel_button, self.progress], layout=row)
        preset = widgets.HBox([self.drop, self.guided, self.guided_macs], layout=row)
        preset.layout.display = "none" if go is None else ""
        self.children = [top, self.status, self.hint, self.curves, preset, self.table]
        self._reader.start(self._restore)

    def _make_controls(self) -> None:
        counts = IMAGES if self.studio.data.masks is None else WITH_MASKS
        self.images = widgets.Dropdown(
            options=[(f"{count} images", count) for count in counts], value=counts[1], description="judged on",
            tooltip="Validation images behind every point: more take longer and are less a matter of chance",
            layout=widgets.Layout(width="220px"), style=_STYLE,
        )  # fmt: skip
        self.run_button = widgets.Button(
            description="Scan all groups", icon="play", tooltip="Prune each group alone, at several ratios, and measure"
        )
        self.cancel_button = widgets.Button(
            description="Cancel", icon="stop", tooltip="End the scan; nothing is kept of half a scan", disabled=True
        )
        self.progress = widgets.FloatProgress(
            min=0.0, max=1.0, value=0.0, tooltip="Share of the scan that is done",
            layout=widgets.Layout(width="220px", visibility="hidden"),
        )  # fmt: skip
        self.drop = widgets.FloatSlider(
            min=0.5, max=20.0, step=0.5, value=2.0, description="points lost", readout_format=".1f", style=_STYLE,
            tooltip=f"Points of {self.studio.task.metric} that each group alone may cost", continuous_update=False,
            layout=widgets.Layout(width="420px"),
        )  # fmt: skip
        self.guided = widgets.Button(
            description="Guided preset", icon="magic", tooltip="Remove from each group what it can spare at this cost"
        )
        self.guided_macs = widgets.Button(
            description="Guided, same MACs", icon="balance-scale", layout=widgets.Layout(width="180px"),
            tooltip="Guided ratios with as many MACs as are on the screen now, to compare who pays for them",
        )  # fmt: skip
        self.run_button.on_click(lambda _: self.run())
        self.cancel_button.on_click(lambda _: self.cancel())
        self.drop.observe(lambda _: self._refresh(), "value")
        self.guided.on_click(lambda _: self.ask(self.drop.value / 100))
        self.guided_macs.on_click(lambda _: self.ask(None))

    @property
    def criterion(self) -> str | None:
        """The criterion on the screen, by which the next scan goes; None while the setting has no answer."""
        return None if self.snapshot is None else self.snapshot.setting.criterion

    @property
    def scan(self) -> Scan | None:
        """The scan of the setting on the screen; None while there is none."""
        return None if self.snapshot is None else self.studio.scan_of(self.snapshot.setting)

    def run(self) -> None:
        """Starts a scan by the criterion on the screen; while one runs, that is refused in a sentence."""
        with self._screen:
            criterion, stop = self.criterion, threading.Event()
            try:
                if criterion is None:
                    raise RspruneError(_NOTHING)
                options = self.snapshot.setting.options
                self._background.start(partial(self._work, criterion, options, self.images.value, stop))
            except RspruneError as error:
                self._fail(error)
                return
            self.running, self.error, self._stop = criterion, None, stop
            self._began, self.progress.value = time.monotonic(), 0.0
            self.status.value = html.working(f"Preparing a scan by {criterion}")
            self._buttons()

    def cancel(self) -> None:
        """Ends the scan before its next pruned network."""
        self._stop.set()

    def ask(self, drop: float | None) -> None:
        """Asks for the guided preset; see `guided_setting`."""
        with self._screen:
            try:
                if self.snapshot is None or self._go is None:
                    raise RspruneError(_NOTHING)
                setting = guided_setting(self.studio, self.snapshot, drop)
            except RspruneError as error:
                self._fail(error)
                return
            self.error = None
            if self.running is None:
                self.status.value = ""
        self._go(setting)

    def settle(self, timeout: float = 120.0) -> None:
        """Waits for the scan.

        Raises:
            Exception: what went wrong (it is on the screen as a sentence, too).
            TimeoutError: it is still running after ``timeout`` seconds.
        """
        self._reader.settle(timeout)
        self._background.settle(timeout)
        if self.error is not None:
            raise self.error

    def show(self, snapshot: Snapshot | None) -> None:
        """Marks another snapshot on the curves; a sentence that went wrong before is about another setting."""
        with self._screen:
            if self.error is not None and self.running is None and self._is_move(snapshot):
                self.error, self.status.value = None, ""
            super().show(snapshot)

    def close(self) -> None:
        """Ends what runs; the view is gone."""
        self._stop.set()
        for background in (self._reader, self._background):
            background.close()
        super().close()

    def _restore(self) -> None:
        try:
            self.scanner.restore()
        except Exception as error:  # an odd file must not keep the tool from opening
            self._ended(error)
        else:
            with self._screen:
                self._refresh()

    def _work(self, criterion: str, options: dict[str, Any], images: int, stop: threading.Event) -> None:
        """Runs on the thread."""
        try:
            self._reader.settle()
            self.scanner.scan(criterion, options=options, images=images, watch=Watch(stop.is_set, self._tell))
        except Stopped:
            self._ended(None, f"The scan by {criterion} was cancelled; nothing of it was kept.")
        except Exception as error:
            self._ended(error)
        else:
            saved = self.scanner.saved
            where = (
                f"kept in {saved.name}" if saved else "it could not be written to a file, so it is gone with the app"
            )
            self._ended(None, f"Scanned by {criterion} in {time.monotonic() - self._began:.0f} s; {where}.")

    def _ended(self, error: Exception | None, text: str = "") -> None:
        with self._screen:
            self.running = None
            self.status.value = html.note(text)
            if error is not None:
                self._fail(error)
            self._refresh()

    def _tell(self, text: str, share: float | None) -> None:
        now = time.monotonic()
        if now - self._told > _PAUSE:
            with self._screen:
                self._told, self.progress.value = now, share or 0.0
                left = time_left(share or 0.0, now - self._began)
                self.status.value = html.working(text + (f", {left}" if left else ""))

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.status.value = html.message(in_words(error), error=True)

    def _buttons(self) -> None:
        busy = self.running is not None
        self.run_button.disabled, self.cancel_button.disabled = busy or self.snapshot is None, not busy
        self.progress.layout.visibility = "visible" if busy else "hidden"
        self.guided.disabled = self.guided_macs.disabled = self.scan is None

    def _refresh(self) -> None:
        with self._screen:
            self._buttons()
            if not self._active:
                return
            scan, refused = self.scan, self.scanner.refused.get(self.criterion, "")
            if scan is None:
                how = f"{self.criterion} with these options" if self.criterion in self.studio.scans else self.criterion
                empty = f"No scan by {how} yet. It takes a minute or so on two cores, and is kept. {refused}"
                empty = _NOTHING if self.criterion is None else empty
                self.hint.value, self.curves.value, self.table.value = html.note(empty), "", ""
                return
            self.hint.value = ""
            self.curves.value = scan_curves(scan, self.snapshot)
            self.table.value = fragility(self.studio, scan, self.drop.value / 100, self.snapshot)
