"""What stands between Voila and a page, without a browser: who is refused, how many may come, when a kernel ends."""

import ast
import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from traitlets.config import LoggingConfigurable

from rsprune_lib.data.upload import MAX_BYTES
from rsprune_studio.views import app

SERVE = Path(__file__).resolve().parents[1] / "notebooks" / "serve"
sys.path.append(str(SERVE))
import fork_server  # noqa: E402
import studio_pages  # noqa: E402

NAVIGATES = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),  # no browser, or an old one that says nothing
        (NAVIGATES | {"Sec-Fetch-Site": "none"}, False),  # typed, or a bookmark
        (NAVIGATES | {"Sec-Fetch-Site": "same-origin"}, False),
        (NAVIGATES | {"Sec-Fetch-Site": "cross-site"}, True),
        (NAVIGATES | {"Sec-Fetch-Site": "same-site"}, True),  # another port of this machine
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, True),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "image"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "anything"}, True),
        ({"Origin": "http://127.0.0.1:8866"}, False),
        ({"Referer": "http://127.0.0.1:8866/"}, False),
        ({"Origin": "http://127.0.0.1:8867"}, True),
        ({"Origin": "null"}, True),
        ({"Referer": "http://evil.example/127.0.0.1:8866"}, True),
    ],
)
def test_only_a_person_opens_a_page(headers, elsewhere):
    request = HTTPServerRequest(method="GET", uri="/", headers=HTTPHeaders({"Host": "127.0.0.1:8866", **headers}))
    request.host = "127.0.0.1:8866"
    assert studio_pages.from_elsewhere(request) is elsewhere


class Kernels(LoggingConfigurable):
    """As much of Jupyter's kernel manager as `PageKernels` stands on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._kernel_connections, self.ended = {}, []

    async def start_kernel(self, kernel_id):
        self._kernel_connections[kernel_id] = 0
        return kernel_id

    async def shutdown_kernel(self, kernel_id, now=False):
        self._kernel_connections.pop(kernel_id)
        self.ended.append(kernel_id)

    def notify_connect(self, kernel_id):
        self._kernel_connections[kernel_id] += 1

    def notify_disconnect(self, kernel_id):
        self._kernel_connections[kernel_id] -= 1


class Pages(studio_pages.PageKernels, Kernels):
    pass


def test_the_kernel_of_a_page_that_is_gone_ends():
    async def story():
        pages = Pages(patience=0.1)
        for name in ("stays", "left", "back", "never", "late"):
            await pages.start_kernel(kernel_id=name)
        for name in ("stays", "left", "back"):
            pages.notify_connect(name)
        for name in ("left", "back"):
            pages.notify_disconnect(name)
        await asyncio.sleep(0.05)
        pages.notify_connect("back")
        await asyncio.sleep(0.1)
        assert pages.ended == ["left"]
        pages.notify_connect("late")
        await asyncio.sleep(0.3)
        assert pages.ended == ["left", "never"]
        pages.notify_disconnect("back")
        await asyncio.sleep(0.2)
        return pages.ended

    assert asyncio.run(story()) == ["left", "never", "back"]


def test_pages_are_limited_and_a_closed_one_makes_room(monkeypatch):
    async def story():
        pages = Pages(limit=2)
        at_once = await asyncio.gather(*(pages.room() for _ in range(4)))  # a browser opens all its tabs again
        assert sum(at_once) == 2
        for name in ("a", "b"):
            await pages.start_kernel(kernel_id=name)
            pages.answered()
        assert not await pages.room()
        waiting = asyncio.ensure_future(pages.room())  # a reload: its own last kernel ends meanwhile
        await pages.shutdown_kernel("a")
        assert await waiting
        assert not await pages.room()
        pages.answered()  # it did not open
        assert await pages.room()

    monkeypatch.setattr(studio_pages, "_ROOM", 0.3)
    asyncio.run(story())


def test_server_and_app_promise_the_same():
    config = ast.parse((SERVE / "voila.py").read_text())
    (limit,) = [
        eval(compile(ast.Expression(node.value), "voila.py", "eval"))
        for node in config.body
        if isinstance(node, ast.Assign) and "websocket_max_message_size" in ast.unparse(node.targets[0])
    ]
    assert MAX_BYTES < limit < 1.01 * MAX_BYTES
    assert studio_pages.OVERSIZED == app.OVERSIZED


KERNEL = """
import os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (print("interrupted", flush=True), sys.exit(3)))
print(os.getpid(), os.environ["MARK"], os.getcwd(), *sys.argv[1:], flush=True)
time.sleep(60)
"""
SERVER = """
import os, socket, sys
sys.path.append({0!r})
import fork_server
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        fork_server._become_kernel(connection)
    connection.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are copies on Linux only")
@pytest.mark.flaky(reruns=1)  # signals between four processes, on a machine that may be busy
@pytest.mark.parametrize("how", ["copy", "nothing to copy"])
def test_a_copy_is_a_kernel_of_its_own(tmp_path, how):
    """With a module of three lines in the place of ipykernel's launcher."""
    (tmp_path / "ipykernel_launcher.py").write_text(KERNEL)
    path = str(tmp_path / "socket")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "MARK": "mine"}
    serve = SERVER.format(str(SERVE))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(4)
        number = listener.fileno()
        server = subprocess.Popen([sys.executable, "-c", serve, str(number)], pass_fds=[number], env=environment)
    if how != "copy":
        server.kill()
        server.wait()
    asking = [sys.executable, fork_server.__file__, "ask", path, "-f", "x.json"]
    kernels = [
        subprocess.Popen(asking, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        said = [kernel.stdout.readline().split() for kernel in kernels]
        for words in said:
            assert words[1:5] == ["mine", str(tmp_path), "-f", "x.json"]
        assert (int(said[0][0]) != kernels[0].pid) == (how == "copy")
        kernels[0].send_signal(signal.SIGINT)
        assert kernels[0].stdout.readline() == "interrupted\n"
        kernels[0].wait(10)  # it lives as long as its kernel
        kernels[1].kill()  # and its kernel no longer than it
        end = time.monotonic() + 10
        while Path(f"/proc/{said[1][0]}/stat").exists() and " Z " not in Path(f"/proc/{said[1][0]}/stat").read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        for process in (*kernels, server):
            process.kill()
            process.wait()
