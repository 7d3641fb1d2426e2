"""The app: a network and a data set to pick, the panel, and everything else that can be done with them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ipywidgets as widgets
from comm import get_comm_manager

from rsprune_lib.data.upload import MAX_BYTES
from rsprune_lib.device import give_way, settle_memory
from rsprune_lib.errors import DataError, RspruneError
from rsprune_studio.draw import html
from rsprune_studio.engine.open_bundle import Opened, bundles, choice_of, data_sets, open_studio
from rsprune_studio.engine.scans import digest
from rsprune_studio.engine.session import Session
from rsprune_studio.views.kernel_alive import Pulse
from rsprune_studio.views.lessons import get_lesson, lesson_panel
from rsprune_studio.views.panel import PruningPanel
from rsprune_studio.views.takeaway import TakeAway
from rsprune_studio.views.widgets import View

__all__ = ["OVERSIZED", "SHARED", "StudioApp", "open_app"]

SHARED = "RSPRUNE_APP_SHARED"  # set where strangers use the app: no folders of this machine can be named then
OVERSIZED = "rsprune.oversized"  # the comm by which the server tells of a message that was too large to arrive
_STYLE = {"description_width": "76px"}


class StudioApp(View):
    """The whole tool with a choice of networks and data sets.

    Opening another network happens in the background; what was open stays until the new one is ready, and if it cannot
    be opened.

    Args:
        bundle: name or folder of the first network; None takes EuroSAT's where its images are at hand, else synthetic.
        data: name or folder of its data set; None takes the one it was trained on.
        lesson: name of a lesson, see `rsprune_studio.views.lessons`.

    Attributes:
        opened: bundle, data and studio.
        panel: the panel on it.
        bundle, data, bundle_folder, data_folder, open_button: where a person picks.
        pulse: says on the page that its kernel has gone, when it has.
        status: what is going on, or what went wrong.
        error: why the last opening failed, None if it did not.

    Raises:
        RspruneError: the first network cannot be opened.
    """

    def __init__(
        self, bundle: str | Path | None = None, data: str | Path | None = None, lesson: str | None = None
    ) -> None:
        sys.setswitchinterval(0.001)  # the thread that sends numbers to the page should not wait 5 ms for charts
        self._lesson, self._turn, self._idle = get_lesson(lesson), 0, threading.Event()
        self._lock = threading.RLock()
        self.error: Exception | None = None
        self.panel: PruningPanel | None = None
        self._idle.set()
        self.status = widgets.HTML(layout=widgets.Layout(width="auto"))
        self._make_picker()
        self._body = widgets.Box(layout=widgets.Layout(display="block"))
        self.pulse = Pulse()
        super().__init__([self.pulse, self._picker, self.status, self._body])
        self.add_class("rsprune-app")
        # in a thread that ends: PyTorch would leave helper threads with this one, and slow the worker's by a third
        with ThreadPoolExecutor(1, initializer=give_way) as pool:
            self._show(pool.submit(open_studio, bundle, data).result())

        self._told = lambda comm, message: self.oversized()
        get_comm_manager().register_target(OVERSIZED, self._told)

    def oversized(self) -> None:
        """Says that an upload was too large to arrive, in the view that it was for."""
        error = DataError(
            f"The file has more than {MAX_BYTES / 1e6:.0f} MB and did not arrive; cut a tile out of it, or save it "
            "smaller."
        )
        if not any(part.oversized(error) for part in self.panel.parts.values() if part.active):
            self.status.value = html.message(str(error), error=True)

    def _make_picker(self) -> None:
        self.bundle = widgets.Dropdown(
            options=[(choice.title, choice.key) for choice in bundles()], description="network", style=_STYLE,
            tooltip="Trained networks of the project and of its runs folder", layout=widgets.Layout(width="620px"),
        )  # fmt: skip
        self.data = widgets.Dropdown(
            options=[("as trained", ""), *((name, name) for name in data_sets())], description="images", style=_STYLE,
            tooltip="Images to judge and repair the network with", layout=widgets.Layout(width="230px"),
        )  # fmt: skip
        self.bundle_folder = _text("or folder", "Folder of another bundle on this machine, in place of the list")
        self.data_folder = _text("or folder", "Folder of class folders on this machine, in place of the list")
        self.open_button = widgets.Button(
            description="Open", icon="folder-open", tooltip="Open this network on these images",
            layout=widgets.Layout(width="100px"),
        )  # fmt: skip
        self.open_button.on_click(lambda _: self.pick(*self._chosen()))
        folders = [] if os.environ.get(SHARED) else [self.bundle_folder, self.data_folder]
        row = widgets.Layout(flex_flow="row wrap")
        other = widgets.HBox(folders, layout=widgets.Layout(flex_flow="row wrap", display="none"))
        self.own = widgets.ToggleButton(
            description="Own folders", icon="ellipsis-h", tooltip="Name folders of this machine in place of the lists",
            layout=widgets.Layout(width="120px", display="" if folders else "none"),
        )  # fmt: skip
        self.own.observe(lambda change: setattr(other.layout, "display", "" if change.new else "none"), "value")
        for chosen, text in ((self.bundle, self.bundle_folder), (self.data, self.data_folder)):
            chosen.observe(lambda _, text=text: setattr(text, "value", ""), "value")  # the last choice counts
            for widget in (chosen, text):
                widget.observe(lambda _: self._dismiss(), "value")
        first = widgets.HBox([self.bundle, self.data, self.open_button, self.own], layout=row)
        self._picker = widgets.VBox([first, other])
        self._picker.layout.display = "none" if self._lesson.task else ""  # a lesson is about one network

    def _chosen(self) -> tuple[str, str | None]:
        bundle, data = (_unquoted(text.value) for text in (self.bundle_folder, self.data_folder))
        return bundle or self.bundle.value, data or self.data.value or None

    def pick(self, bundle: str | Path, data: str | Path | None = None, then: Callable[[], None] | None = None) -> None:
        """Opens another network in the background.

        Args:
            bundle: its name or folder.
            data: name or folder of a data set; None takes the one it was trained on.
            then: called when it is open.
        """
        with self._lock:
            self._turn += 1
            turn, self.error = self._turn, None
            self._idle.clear()
            self.status.value = html.working(f"Opening {Path(bundle).name}") + self._notice()
        threading.Thread(target=self._open, args=(turn, bundle, data, then), daemon=True).start()

    def settle(self, timeout: float = 120.0) -> None:
        """Waits until a network that was picked is open and everything on its panel is measured.

        Raises:
            Exception: why it could not be opened, or what went wrong on the panel.
            TimeoutError: it takes longer.
        """
        if not self._idle.wait(timeout):
            raise TimeoutError(f"Still opening a network after {timeout:g} s.")
        if self.error is not None:
            raise self.error
        self.panel.settle(timeout)

    def _open(self, turn: int, bundle: str | Path, data: str | Path | None, then: Callable[[], None] | None) -> None:
        try:
            if os.environ.get(SHARED):  # hidden fields can still be set by a message that no page of ours sends
                self._check_listed(bundle, data)
            opened = open_studio(bundle, data)
        except Exception as error:
            opened = error
        with self._lock:
            if turn != self._turn:  # another one was picked meanwhile
                return
            try:
                if isinstance(opened, Exception):
                    raise opened
                self._show(opened)
                if then is not None:
                    then()
            except Exception as error:
                self._refuse(error)
            finally:
                if turn == self._turn:  # else it went on to another one
                    self._idle.set()

    def _check_listed(self, bundle: str | Path, data: str | Path | None) -> None:
        for wanted, widget in ((bundle, self.bundle), (data or "", self.data)):
            known = [value for _, value in widget.options]
            if wanted not in known:
                raise RspruneError(f"Got {str(wanted)[:80]!r}; here only what the lists offer can be opened.")

    def _refuse(self, error: Exception) -> None:
        self.error = error
        text = str(error) if isinstance(error, RspruneError) else f"{type(error).__name__}: {error}"
        stays = f" What was open stays: {self.opened.bundle.path.name}."
        self.status.value = html.message(text + stays, error=True) + self._notice()

    def _show(self, opened: Opened) -> None:
        """Puts a network that was opened on the screen."""
        bundle = opened.bundle
        panel = lesson_panel(opened.studio, self._lesson, folder=bundle.path, first=bundle.plan, restore=self._restore)
        panel.gauges.observe(lambda change: self.pulse.touch(), "value")
        self._body.children = [panel]
        self._end()
        self.opened, self.panel = opened, panel
        self._list(bundle.path)
        self.status.value = self._notice()
        settle_memory()

    def _notice(self) -> str:
        """What has to be said of the images that are open, whatever else the line says."""
        text = "Synthetic scenes: the images are drawn, and the numbers say nothing about real ones."
        said = html.message(text) if self.opened.data.synthetic else ""
        return said + "".join(html.note(f"Images: {note}") for note in self.opened.data.notes)

    def _dismiss(self) -> None:
        """Takes down why the last network could not be opened: another one is being chosen."""
        if self.error is not None and self._idle.is_set():
            self.status.value = self._notice()

    def _list(self, path: Path) -> None:
        """Shows in the list which bundle is open; one from elsewhere gets a line of its own."""
        key = next((choice.key for choice in bundles() if choice.path.resolve() == path.resolve()), str(path))
        if key not in [value for _, value in self.bundle.options]:
            found = choice_of(path)
            self.bundle.options = [*self.bundle.options, (found.title if found else path.name, key)]
        self.bundle.value = key

    def _end(self) -> None:
        """Closes the network that is open, if there is one: its workers, jobs, views and what it has collected."""
        if self.panel is not None:
            self.panel.close()
            self.opened.studio.close()

    def close(self) -> None:
        """Ends the app with everything that it has opened."""
        with self._lock:
            self._turn += 1  # what is being opened just now is not shown
            self._end()
            targets = get_comm_manager().targets
            if targets.get(OVERSIZED) is self._told:  # it would hold the whole app
                del targets[OVERSIZED]
        super().close()

    def _restore(self, session: Session) -> None:
        """Goes on where a session ended, on the bundle that it belongs to."""
        self._try_bundles(session, [choice.key for choice in bundles() if choice.name == session.bundle])

    def _try_bundles(self, session: Session, named: list[str]) -> None:
        """Replays a session here, or opens the bundles of its name until one is the network it belongs to."""
        studio = self.opened.studio
        if session.network == digest(studio.model, studio.gates) or not named:
            self._replay(session)
        else:
            self.pick(named[0], then=lambda: self._try_bundles(session, named[1:]))

    def _replay(self, session: Session) -> None:
        parts = [part for part in self.panel.parts.values() if isinstance(part, TakeAway)]
        parts[0].replay(session)


def open_app(
    lesson: str | None = None, bundle: str | Path | None = None, data: str | Path | None = None
) -> widgets.Widget:
    """The app, or one sentence that says why it cannot be opened.

    Args:
        lesson: name of a lesson; None is the whole tool.
        bundle: name or folder of a network; None chooses.
        data: name or folder of a data set; None takes the one the network was trained on.
    """
    try:
        return StudioApp(bundle, data, lesson)
    except RspruneError as error:
        refused = widgets.HTML(html.message(str(error), error=True))
        refused.add_class("rsprune-refused")
        return refused


def _unquoted(path: str) -> str:
    """A path without the blanks and quotes that it was copied with."""
    path = path.strip()
    return path[1:-1] if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"" else path


def _text(description: str, tip: str) -> widgets.Text:
    return widgets.Text(
        description=description, tooltip=tip, placeholder="path on this machine", style=_STYLE, continuous_update=False,
        layout=widgets.Layout(width="400px"),
    )  # fmt: skip
