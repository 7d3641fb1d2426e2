"""What stands between Voila and a page of the app: which requests start a kernel, how many, and when it ends.

Voila starts a kernel for every request, says nothing while it starts, and ends it only if the page says good-bye. Here
a request from another web site starts nothing, pages are limited in number, a page shows what is going on at once, and
the kernel of a page that is gone ends by itself. `fork_server` makes that kernels start quickly.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlsplit
from uuid import uuid4

import tornado.web
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from traitlets import Float, Int
from traitlets.config import Configurable
from voila.tornado.handler import TornadoVoilaHandler
from voila.voila_kernel_manager import voila_kernel_manager_factory

__all__ = ["OVERSIZED", "PageHandler", "PageKernels", "PageSocket", "QuickKernel", "from_elsewhere", "page_kernels"]

OVERSIZED = "rsprune.oversized"  # the comm that tells a kernel of a message that was too large to be passed on
_START = Template(Path(__file__).with_name("page_start.html").read_text(encoding="utf-8"))
_NOTICE = Template(Path(__file__).with_name("page_notice.html").read_text(encoding="utf-8"))
_SECONDS = 15.0  # that a kernel takes to open the app, until one has been timed
_ROOM = 3.0  # seconds that a reloaded page waits for its own last kernel to end


def from_elsewhere(request: HTTPServerRequest) -> bool:
    """Whether another web site made the browser send a request; also where it is for anything but a page to read."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none") or request.headers.get("Sec-Fetch-Dest") != "document"
    named = request.headers.get("Origin") or request.headers.get("Referer")  # browsers of before 2023
    return bool(named) and urlsplit(named).netloc.lower() != request.host.lower()


class PageHandler(TornadoVoilaHandler):
    """Answers a request for the page."""

    @tornado.web.authenticated
    async def get(self, path: str = "") -> None:
        """Refuses what comes from elsewhere or is one too many; else shows at once that a kernel starts, then the app.

        Args:
            path: anything but the page itself is left to Voila, whose settings refuse it.
        """
        if path:
            await super().get(path)
            return
        for name, value in (("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")):
            self.set_header(name, value)
        pages: PageKernels = self.kernel_manager
        if from_elsewhere(self.request):
            self._notice(403, "Another web site led here", "Nothing was started.", "Open the studio")
        elif "prefetch" in self.request.headers.get("Sec-Purpose", ""):  # the browser guesses what may be wanted
            self._notice(503, "Not yet", "Nothing was started.", "Open the studio")
        elif not await pages.room():
            text = f"All {pages.limit} pages of this studio are open. Close one, or wait until somebody does."
            self._notice(503, "The studio is full", text, "Try again")
        else:
            try:
                await self._open(pages)
            finally:
                pages.answered()

    def _notice(self, status: int, title: str, text: str, again: str) -> None:
        self.set_status(status)
        self.finish(_NOTICE.substitute(title=escape(title), text=escape(text), again=escape(again)))

    async def _open(self, pages: PageKernels) -> None:
        """Sends the start of the page, then the app as soon as a kernel has it."""
        wait = "" if pages.waiting(self.notebook_path) else f"{pages.seconds:.0f}"
        self.write(_START.substitute(seconds=wait or "2", state="starting" if wait else "ready"))
        try:
            await self.flush()
            await pages.ready(self.notebook_path)
            await self.flush()  # raises where the page has been left meanwhile: nothing is taken from the pool then
            async for html in self.get_generator():
                self.write(html)
                await self.flush()
        except StreamClosedError:
            self.log.info("A page was left before it was complete.")
        except Exception:
            self.log.exception("The app could not be opened.")
            self.write('<p role="alert">The studio could not be started; its terminal says why. Reload to try again.')


class PageKernels(Configurable):
    """Counts the kernels that pages have, and ends those whose page is gone; before Voila's kernel manager.

    Attributes:
        limit: the most pages that may be open.
        patience: seconds without a connection after which a page is taken for gone; three times as many before its
            first connection.
        seconds: how long the last kernel took to open the app.
    """

    limit = Int(8, config=True, help="the most pages that may be open at once")
    patience = Float(60.0, config=True, help="seconds without a connection after which a page's kernel ends")
    seconds = _SECONDS

    def __init__(self, **kwargs: object) -> None:
        self._pages: dict[str, int] = {}  # kernel -> how often its page has connected
        self._coming = 0  # requests that were let in and have no kernel yet, or are just being answered
        self._ending: set[asyncio.Future] = set()
        super().__init__(**kwargs)

    async def room(self) -> bool:
        """Whether one more page may open; waits for a moment if not, since a reload ends a page and opens one.

        The place is kept until the request has been `answered`: a browser that opens all its tabs again asks for many
        pages at once, long before the first one has its kernel.
        """
        end = time.monotonic() + _ROOM
        while (full := len(self._pages) + self._coming >= self.limit) and time.monotonic() < end:
            await asyncio.sleep(0.1)
        self._coming += not full
        return not full

    def answered(self) -> None:
        """Ends what `room` began: the page counts by its kernel from now on, or did not open."""
        self._coming -= 1

    def waiting(self, notebook: str) -> bool:
        """Whether a kernel waits with the app already on it."""
        return any(task.done() for task in getattr(self, "_pools", {}).get(notebook, ()))

    async def ready(self, notebook: str) -> None:
        """Waits until a kernel has the app; starts one at once if none is being started."""
        while hasattr(self, "_pools") and not self.waiting(notebook):
            self.fill_if_needed(delay=0, notebook_name=notebook)
            await asyncio.wait(self._pools[notebook], return_when=asyncio.FIRST_COMPLETED)

    async def get_rendered_notebook(self, notebook_name: str, **kwargs: object) -> tuple:
        """As Voila has it; the page is counted from now on."""
        taken = await super().get_rendered_notebook(notebook_name, **kwargs)
        self._hand_out(taken[-1])
        return taken

    def fill_if_needed(self, delay: float | None = None, notebook_name: str | None = None, **kwargs: object) -> None:
        """As Voila has it, but the pause before the next kernel is none for a page that comes within it."""
        fill = super().fill_if_needed
        if delay is None:
            asyncio.get_running_loop().call_later(self.fill_delay, lambda: fill(0, notebook_name, **kwargs))
        else:
            fill(delay, notebook_name, **kwargs)

    async def _initialize(self, notebook_path: str, kernel_id: str | None = None, **kwargs: object) -> dict:
        """As Voila has it, timed."""
        began = time.monotonic()
        made = await super()._initialize(notebook_path, kernel_id, **kwargs)
        await asyncio.wait([made["task"]])
        self.seconds = time.monotonic() - began
        return made

    async def start_kernel(self, **kwargs: object) -> str:
        """As Voila has it: for a page, since kernels of the pool are started below."""
        kernel_id = await super().start_kernel(**kwargs)
        self._hand_out(kernel_id)
        return kernel_id

    async def shutdown_kernel(self, kernel_id: str, *args: object, **kwargs: object) -> None:
        """As Voila has it; the page no longer counts."""
        self._pages.pop(kernel_id, None)
        await super().shutdown_kernel(kernel_id, *args, **kwargs)

    def notify_connect(self, kernel_id: str) -> None:
        """A page has connected."""
        super().notify_connect(kernel_id)
        if kernel_id in self._pages:
            self._pages[kernel_id] += 1

    def notify_disconnect(self, kernel_id: str) -> None:
        """A page has closed its connection, or did not answer the pings of the server."""
        super().notify_disconnect(kernel_id)
        self._watch(kernel_id, self.patience)

    def _hand_out(self, kernel_id: str) -> None:
        self._pages[kernel_id] = 0
        self._watch(kernel_id, 3 * self.patience)

    def _watch(self, kernel_id: str, patience: float) -> None:
        connected = self._pages.get(kernel_id)
        asyncio.get_running_loop().call_later(patience, self._end_if_left, kernel_id, connected)

    def _end_if_left(self, kernel_id: str, connected: int | None) -> None:
        """Ends a kernel whose page has not connected again since the watch began."""
        if connected is not None and self._pages.get(kernel_id) == connected:
            if not self._kernel_connections.get(kernel_id):
                self.log.info("The page of kernel %s is gone.", kernel_id)
                ending = asyncio.ensure_future(self.shutdown_kernel(kernel_id, now=True))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)


def page_kernels(base: type, preheat: bool, size: int, page_config_hook: object = None) -> type:
    """Voila's factory of its kernel manager, with `PageKernels` before it."""

    class StudioKernels(PageKernels, voila_kernel_manager_factory(base, preheat, size, page_config_hook)):
        pass

    return StudioKernels


class QuickKernel(ServerKernelManager):
    """A kernel that begins as a copy of a process with all modules imported, see `fork_server`."""

    _path = ""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The command of the kernel; as usual for another language or environment than this one."""
        command = super().format_kernel_cmd(extra_arguments)
        if command[:3] != [sys.executable, "-m", "ipykernel_launcher"] or sys.platform != "linux":
            return command
        if not QuickKernel._path:
            QuickKernel._path = self._serve()
        program = str(Path(__file__).with_name("fork_server.py"))
        return [sys.executable, "-S", "-E", program, "ask", QuickKernel._path, *command[3:]]

    @staticmethod
    def _serve() -> str:
        """Starts the process to copy, and returns the path of its socket; it ends with this one."""
        path = str(Path(tempfile.mkdtemp(prefix="studio_")) / "kernels")  # for this user only
        program = str(Path(__file__).with_name("fork_server.py"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(16)
            number = listener.fileno()
            subprocess.Popen(
                [sys.executable, program, "serve", str(number)], pass_fds=[number], stdin=subprocess.DEVNULL
            )
        return path


class PageSocket(ZMQChannelsWebsocketConnection):
    """A page's connection: it sends at once, and tells the kernel of a message that was too large."""

    def connect(self) -> object:
        """Switches Nagle's algorithm off, which Tornado leaves on: one small message in twenty would wait 40 ms."""
        self.websocket_handler.set_nodelay(True)
        socket = self.websocket_handler.ws_connection
        close = socket.close

        def closing(code: int | None = None, reason: str | None = None) -> None:
            if code == 1009 and self.channels:  # Tornado ends the connection in the middle of the message
                content = {"comm_id": uuid4().hex, "target_name": OVERSIZED, "data": {}}
                self.session.send(self.channels["shell"], "comm_open", content)
            close(code, reason)

        socket.close = closing
        return super().connect()
