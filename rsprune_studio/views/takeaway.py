"""What can be taken home: plan, bundle, code and session as downloads; plans and sessions come back in."""

from __future__ import annotations

import base64
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from rsprune_lib.bundle import save_bundle
from rsprune_lib.colours import KEPT
from rsprune_lib.data.upload import file_name
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import provenance
from rsprune_lib.pruning import Plan, compose
from rsprune_studio.draw import html
from rsprune_studio.draw.theme import ACCENT
from rsprune_studio.engine.explorer import Explorer
from rsprune_studio.engine.session import LARGEST, Session
from rsprune_studio.engine.setting import Setting, Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.views.tab import Part

__all__ = ["TakeAway", "bundle_zip", "link"]

_MEASURING = "The numbers are still being measured; try again in a moment."
_PLAN_LARGEST = 5_000_000  # bytes; the plan of a network of ten thousand channels has 60,000


def link(name: str, content: bytes, kind: str, text: str) -> str:
    """A link that saves bytes as a file, without a server that would have to hand them out.

    Args:
        name: of the file.
        content: its bytes.
        kind: its media type.
        text: what the link says.
    """
    look = f"display:inline-block;padding:5px 12px;border:1px solid {KEPT};border-radius:4px;line-height:18px"
    look += f";color:{ACCENT};text-decoration:none"
    data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return f'<a download="{html.escape(name)}" href="{data}" style="{look}">{html.escape(text)}</a>'


def bundle_zip(studio: Studio, snapshot: Snapshot, first: Plan | None = None, origin: str = "") -> bytes:
    """The pruned and recovered network of a snapshot as a bundle in a zip file, half precision.

    Args:
        studio: the state.
        snapshot: complete.
        first: the plan of the network the studio began with, if that had been pruned already.
        origin: name of the bundle it began with.
    """
    plan = snapshot.plan if first is None else compose(first, snapshot.plan)
    quality = snapshot.quality
    measured = {
        "params": snapshot.cost.params, "macs": snapshot.cost.macs, "latency_ms": snapshot.latency.median_ms,
        "part": "val", **quality.to_dict(), "recovery": snapshot.recovered, "pruned_from": origin,
        "precision": studio.trained.precision,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        code = studio.code(snapshot.setting, studio.networks.note(snapshot))
        origins = {"data": studio.data.info(), "provenance": provenance(studio.data.info(), seed=0), "command": code}
        save_bundle(folder, studio.networks.recovered(snapshot), plan=plan, measured=measured, half=True, **origins)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(Path(folder).iterdir()):
                archive.write(path, path.name)
    return packed.getvalue()


class TakeAway(Part):
    """Downloads of what is on the screen, and uploads that change it.

    Args:
        studio: the state.
        first: the plan of the network the studio began with, if that had been pruned already.
        origin: name of the bundle that is open.
        restore: called with a session that was loaded; by default the panel's explorer replays it.

    Attributes:
        explorer: set by whoever puts this view beside a panel, before anything is loaded.
        plan_file, session_file: uploads.
        links, packed, code, status: what is shown.
        active: it is in front; behind, it does no work.
        error: why the last upload was refused, None if it was not.
    """

    explorer: Explorer

    def __init__(
        self,
        studio: Studio,
        *,
        first: Plan | None = None,
        origin: str = "",
        restore: Callable[[Session], None] | None = None,
    ) -> None:
        super().__init__(studio)
        self._first, self._origin = first, origin
        self._restore = restore or self.replay
        wide = widgets.Layout(width="auto")
        self.links, self.packed, self.code, self.status = (widgets.HTML(layout=wide) for _ in range(4))
        self.pack = widgets.Button(
            description="Prepare bundle", icon="archive", tooltip="Pack the small, recovered network for a download",
            layout=widgets.Layout(width="160px"),
        )  # fmt: skip
        self.pack.on_click(lambda _: self.prepare())
        self._files = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        self._make_uploads()
        buttons = widgets.Layout(flex_flow="row wrap", align_items="center")
        self.children = [
            widgets.HTML(html.note("Files of what is on the screen. A plan says which channels stay; a bundle is the "
                                     "small network itself; a session is all you did, to go on another day.")),
            widgets.HBox([self.links, self.pack, self.packed], layout=buttons),
            self._files, self.status, widgets.HTML(html.note("The same with the library:")), self.code,
        ]  # fmt: skip

    def _make_uploads(self) -> None:
        self.plan_file = _upload("Load plan", "A plan file of this very network (plan.json)")
        self.session_file = _upload("Load session", "A session file of this app: it restores everything")
        self.plan_file.observe(lambda change: self._take(change.new, self.load_plan, _PLAN_LARGEST), "value")
        self.session_file.observe(lambda change: self._take(change.new, self.load_session, LARGEST), "value")
        old, self._files.children = self._files.children, [self.plan_file, self.session_file]
        for button in old:
            button.close()

    def oversized(self, error: Exception) -> bool:
        """Says that an upload was too large to arrive; a button whose message was lost is replaced."""
        self._make_uploads()
        self._refuse(error)
        return True

    def show(self, snapshot: Snapshot | None) -> None:
        """Offers another snapshot; none is there to be taken while a setting has no answer."""
        if self._is_move(snapshot):
            self.packed.value = ""
            self._say("")  # what was said is about the setting before
        elif snapshot.complete and self.status.value == html.message(_MEASURING, error=True):
            self._say("")
        super().show(snapshot)

    def prepare(self) -> None:
        """Packs the bundle and offers it as a link."""
        if self.snapshot is None or not self.snapshot.complete:
            self._say(_MEASURING, error=True)
            return
        self.status.value, self.packed.value = html.working("Packing the network"), ""
        try:
            content = bundle_zip(self.studio, self.snapshot, self._first, self._origin)
        except Exception as error:  # a full disk, for example
            self._refuse(error)
            return
        size = f"{len(content) / 1e6:.1f} MB"
        self.packed.value = link("bundle.zip", content, "application/zip", f"Bundle ({size})")
        self._say("")

    def load_plan(self, text: str) -> None:
        """Moves to a plan from a file.

        Raises:
            RspruneError: it is no plan, or one of another network.
        """
        plan = Plan.from_json(text)
        plan.check(self.studio.groups)
        now = self.explorer.setting
        recovery = "live" if now.recovery == "tuned" else now.recovery
        self.explorer.go(Setting(now.criterion, now.scope, "plan", given=plan, recovery=recovery, ratio=now.ratio))
        self._say("The plan was loaded.")

    def load_session(self, text: str) -> None:
        """Goes on where a session ended, on its own bundle.

        Raises:
            RspruneError: it is no session, or one of another network or other data.
        """
        self._restore(Session.from_json(text))

    def replay(self, session: Session) -> None:
        """Replaces the history by that of a session for this very network and data; says what could not come back.

        Raises:
            RspruneError: it belongs to others.
        """
        missing = session.restore(self.studio)
        self.explorer.replay(session.history)
        self._say(f"The session was loaded. {missing}")

    def _take(self, files: tuple[dict[str, Any], ...], load: Callable[[str], None], most: int) -> None:
        """Reads an upload; whatever is wrong with it becomes a sentence, and the screen stays as it is."""
        if not files:
            return
        name, content = file_name(files[0]["name"]), bytes(files[0]["content"])
        for upload in (self.plan_file, self.session_file):
            upload.value = ()  # lets go of the bytes; the same file may be sent again
        self.error = None
        try:
            if len(content) > most:
                raise RspruneError(f"It has {len(content) / 1e6:.1f} MB, at most {most / 1e6:.0f} MB are expected.")
            load(content.decode("utf-8-sig"))  # some editors put a mark before the text
        except UnicodeDecodeError:
            self._refuse(RspruneError(f"{name}: it is no text; take a JSON file that this app or the library wrote."))
        except RspruneError as error:
            self._refuse(RspruneError(f"{name}: {error}"))

    def _refuse(self, error: Exception) -> None:
        self.error = error
        self._say(html.in_words(error), error=True)

    def _say(self, text: str, *, error: bool = False) -> None:
        self.status.value = html.message(text, error=error) if text else ""

    def _refresh(self) -> None:
        if self.snapshot is None:
            self.links.value = self.code.value = ""
        if not self._active or self.snapshot is None:
            return
        snapshot = self.snapshot
        plan = snapshot.plan if self._first is None else compose(self._first, snapshot.plan)
        shown = snapshot if snapshot.complete else None  # a fine-tuned network is large: it goes along once
        session = Session.of(self.studio, self.explorer.history, self._origin, shown).to_json()
        files = (("plan.json", snapshot.plan.to_json(), "Plan"), ("session.json", session, "Session"))
        shown = [link(name, text.encode(), "application/json", title) for name, text, title in files]
        if plan is not snapshot.plan:
            shown.append(
                link("plan_of_the_unpruned_network.json", plan.to_json().encode(), "application/json", "Whole plan")
            )
        self.links.value = " ".join(shown) + "&nbsp;"
        self.code.value = html.code(self.studio.code(snapshot.setting, self.studio.networks.note(snapshot)))


def _upload(text: str, tip: str) -> widgets.FileUpload:
    return widgets.FileUpload(
        accept=".json,application/json", multiple=False, description=text, tooltip=tip,
        layout=widgets.Layout(width="160px"),
    )  # fmt: skip
