"""The view of `rsprune_studio.engine.inside`: choose an image, see what the networks make of it; wiring only."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import ipywidgets as widgets
import numpy as np

from rsprune_lib.data.upload import file_name, read_upload
from rsprune_lib.errors import RspruneError, Stopped
from rsprune_studio.draw import html
from rsprune_studio.engine.comparison import Comparison
from rsprune_studio.engine.inside import Inside, channel_order, network_key
from rsprune_studio.engine.setting import Snapshot
from rsprune_studio.engine.studio import Studio
from rsprune_studio.engine.threads import LatestWins, Turn, Watch
from rsprune_studio.views.class_maps import ClassMapPage
from rsprune_studio.views.gallery import Gallery, class_listing
from rsprune_studio.views.inside_pages import PAGE, AnswerPage, ChannelPage, Look, MistakesPage
from rsprune_studio.views.mask_pages import MaskMistakesPage, MaskPage, mask_listing
from rsprune_studio.views.tab import Part

__all__ = ["LookInside"]

_WAIT = "Follows with the numbers of this setting …"


class LookInside(Part):
    """Choose or upload an image: answers of both networks, changed confusions, hardest samples, channels.

    Of a segmenter the answers are pictures: the truth, what each network gives, and where they are wrong.

    Nothing is computed while ``active`` is False. What belongs to another setting is taken off the screen at once.
    Answers and comparisons come from two worker threads, so that the next image does not wait for all images.

    Args:
        studio: the state.

    Attributes:
        inside: the state of this view.
        snapshot: what it is about.
        image: what is looked at: number of a validation image, or (H, W, 3) uint8 pixels of an upload.
        gallery, pages: where a person chooses.
        one, mistakes, maps, channels: the pages.
        error: what went wrong last, None if nothing did.

    Example:
        >>> look = LookInside(studio)
        >>> look.active = True
        >>> look.show(studio.final(Setting("l2", ratio=0.7)))
        >>> look.settle()
    """

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.inside = Inside(studio)
        self._told, self._pick = 0.0, 0
        self._looker: LatestWins[Look | None] = LatestWins(self._look)
        self._comparer: LatestWins[Snapshot | None] = LatestWins(self._judge)
        self._drawn: dict[str, tuple | None] = {"answer": None, "channels": None, "comparison": None}
        self._found: Comparison | None = None  # on the screen
        self._comparing: tuple | None = None  # which networks are being compared
        data, masks = studio.data, self.inside.masks
        listing = mask_listing(data) if masks else class_listing(data)
        self.gallery = Gallery(data, listing, self.choose, self._relist, self._sent)
        self.one = MaskPage(data) if masks else AnswerPage(data.classes)
        self.mistakes = MaskMistakesPage(data) if masks else MistakesPage(data)
        self.channels, self.maps = ChannelPage(studio.groups, self._refresh), ClassMapPage(self.inside)
        pages = {"One image": self.one, "Class maps": self.maps, "Mistakes": self.mistakes, "Channels": self.channels}
        self.pages = widgets.Tab(list(pages.values()), titles=list(pages))
        self.pages.observe(lambda _change: self._in_front(), "selected_index")
        self.status, self.progress = (widgets.HTML(layout=widgets.Layout(width="auto")) for _ in range(2))
        self.children = [self.gallery, self.status, self.progress, self.pages]
        for page in pages.values():
            page.clear(_WAIT)
        self.choose(int(self.inside.images()[0]))
        self._relist()

    def settle(self, timeout: float = 120.0) -> None:
        """Waits for everything that follows from the last move.

        Raises:
            Exception: what went wrong since (it is on the screen as a sentence, too).
            TimeoutError: there is still work.
        """
        end = time.monotonic() + timeout
        for worker in (self._looker, self._comparer, self.maps):
            worker.settle(max(end - time.monotonic(), 0.0))
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Ends its workers; the view is gone."""
        for worker in (self._looker, self._comparer):
            worker.close()
        self.maps.close()
        super().close()

    def choose(self, image: int | np.ndarray, name: str = "") -> None:
        """Looks at another image: the number of a validation image, or (H, W, 3) uint8 pixels and what to call them."""
        with self._screen:
            pixels, data = self.inside.picture(image), self.studio.data
            upload = isinstance(image, np.ndarray)
            self.image, self._pick = image, self._pick + 1
            of = f" ({data.classes[data.labels[image]]})" if not upload and data.masks is None else ""
            self._name = name if upload else f"image {image}{of}"
            self.one.look(pixels, self._name, None if upload else image)
            self.one.clear("…" if self.snapshot is not None and self.snapshot.made else _WAIT)
            self._drawn["answer"] = None
            self.gallery.mark(None if upload else image)
            self._refresh()

    def oversized(self, error: Exception) -> bool:
        """Says that an upload was too large to arrive."""
        with self._screen:
            self.gallery.renew_upload()
            self._fail(error)
        return True

    def _sent(self, name: str, content: bytes) -> None:
        """Called with a file that a person sent; a bad one is told, and the image that was there stays."""
        try:
            data, name = self.studio.data, file_name(name)
            pixels = read_upload(name, content, data.image_size, data.bands)
            flat = ", one value everywhere: there is nothing to see" if (pixels == pixels[0, 0]).all() else ""
            self.choose(pixels, f"your image {name}{flat}")
        except RspruneError as error:
            with self._screen:
                self._fail(error)

    def _relist(self) -> None:
        """Lists what the gallery's controls ask for, as far as it is known."""
        with self._screen:
            found, label = self._found, self.gallery.wanted
            if self.gallery.source.value == "any":
                images = self.inside.images(label)
            else:
                images = None if found is None else getattr(found, self.gallery.source.value)(label)
            self.gallery.offer(images, found, _WAIT if images is None else "There is no such image.")
            self.gallery.mark(None if isinstance(self.image, np.ndarray) else self.image, turn=False)
            if found is not None:
                self.mistakes.draw(found, label)

    def _in_front(self) -> None:
        self.maps.front = self._active and self.pages.selected_index == self.pages.children.index(self.maps)

    def _refresh(self) -> None:
        """Takes down what is out of date, and asks the workers for what is wanted now."""
        with self._screen:
            snapshot = self.snapshot
            self._take_down(snapshot)
            self._in_front()
            self.maps.look(snapshot, self.image, self._pick)
            if self._active and snapshot is not None:
                self.error, self.status.value = None, ""
                first = self.channels.first(snapshot)
                group = self.channels.group.value
                self._looker.submit(Look(snapshot, self.image, self._name, self._pick, group, first))
            else:
                self._looker.submit(None)
            if not (self._active and snapshot is not None and snapshot.final):
                self._comparing, self.progress.value = None, ""
                self._comparer.submit(None)
            elif network_key(snapshot) not in (self._drawn["comparison"], self._comparing):
                self._comparing = network_key(snapshot)
                self._comparer.submit(snapshot)

    def _take_down(self, snapshot: Snapshot | None) -> None:
        """Blanks what shows other networks, or another order of channels, than those of the snapshot."""
        networks, order = (None, None) if snapshot is None else (network_key(snapshot), channel_order(snapshot))
        drawn = self._drawn
        if drawn["answer"] is not None and drawn["answer"][0] != networks:
            drawn["answer"] = None
            self.one.clear(_WAIT)
        if drawn["channels"] is not None and drawn["channels"][:3] != order:
            drawn["channels"] = None
            self.channels.clear("…")
        if drawn["comparison"] is not None and drawn["comparison"] != networks:
            drawn["comparison"] = self._found = None
            self.mistakes.clear(_WAIT)
            self._relist()

    def _look(self, turn: Turn[Look | None]) -> None:
        """Runs on a worker: the answer to one image, then the channels."""
        look = turn.job
        if look is None:
            return
        try:
            if look.snapshot.made and self._drawn["answer"] != look.answer:
                tell = partial(self._tell, turn, self.status)
                answer = self.inside.answer(look.snapshot, look.image, Watch(turn.stale, tell))
                self._draw(turn, "answer", look.answer, partial(self.one.draw, answer))
            if self._drawn["channels"] != look.channels:
                page = self.inside.channels(look.snapshot, look.group, look.image, first=look.first, limit=PAGE)
                show = partial(self.channels.draw, page, look.snapshot.setting.criterion, look.name)
                self._draw(turn, "channels", look.channels, show)
        except Stopped:
            return
        except Exception as error:
            self._unless_stale(turn, partial(self._fail, error))

    def _judge(self, turn: Turn[Snapshot | None]) -> None:
        """Runs on the other worker: all validation images."""
        if turn.job is None:
            return
        try:
            found = self.inside.compare(turn.job, Watch(turn.stale, partial(self._tell, turn, self.progress)))
            self._draw(turn, "comparison", network_key(turn.job), partial(self._compared, found))
        except Stopped:
            return
        except Exception as error:
            self._unless_stale(turn, partial(self._fail, error))

    def _compared(self, comparison: Comparison) -> None:
        self._found, self._comparing = comparison, None
        self._relist()

    def _draw(self, turn: Turn, part: str, what: tuple, show: Callable[[], None]) -> None:
        with self._screen:
            if not turn.stale():
                show()
                self._drawn[part] = what
                (self.progress if part == "comparison" else self.status).value = ""

    def _tell(self, turn: Turn, where: widgets.HTML, text: str, share: float | None = None) -> None:
        if time.monotonic() - self._told > 0.1:
            self._told = time.monotonic()
            self._unless_stale(turn, lambda: setattr(where, "value", html.working(text, share)))

    def _unless_stale(self, turn: Turn, do: Callable[[], None]) -> None:
        with self._screen:
            if not turn.stale():
                do()

    def _fail(self, error: Exception) -> None:
        self.error, self._comparing, self.progress.value = error, None, ""
        text = str(error) if isinstance(error, RspruneError) else f"{type(error).__name__}: {error}"
        self.status.value = html.message(text, error=True)
