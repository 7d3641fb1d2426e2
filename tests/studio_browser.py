"""Servers, a headless Chromium and the words on the page: for the tests of the app and for its benchmark."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import playwright.sync_api as playwright

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "app.ipynb"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 800}
PATIENCE = 300.0  # s; seconds are enough on a quiet machine
BEFORE_FINAL = ("…", "first estimate", "so far")


def browser_path() -> str:
    """The Chromium that `.ci/browser` finds.

    Raises:
        RuntimeError: there is none; with its sentence.
    """
    found = subprocess.run(["bash", str(ROOT / ".ci" / "browser"), "--find"], capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(found.stderr.strip())
    return found.stdout.strip()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(home: Path) -> dict[str, str]:
    """An environment of nobody in particular: an empty home, the synthetic scenes, the synthetic bundles, no mirror."""
    from rsprune_lib.data import load_data

    drawn = Path(load_data("synthetic", progress=False).images.filename).parent
    scenes = home / "data" / drawn.parent.name
    if not scenes.exists():
        scenes.mkdir(parents=True)
        with_masks = Path(load_data("synthetic_aerial", image_size=128, progress=False).images.filename).parent
        for folder in (drawn, with_masks):
            (scenes / folder.name).symlink_to(folder)
        for bundle in (ROOT / "bundles").glob("synthetic_*"):
            shutil.copytree(bundle, home / "bundles" / bundle.name)
    mine = ("RSPRUNE", "JUPYTER", "IPYTHON", "VOILA", "XDG", "DISPLAY", "WAYLAND")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    places = {"RSPRUNE_HOME": "data", "RSPRUNE_BUNDLES": "bundles", "JUPYTER_CONFIG_DIR": "config", "HOME": ""}
    places |= {"JUPYTER_DATA_DIR": "share", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    return kept | {key: str(home / place) for key, place in places.items()}


@dataclass
class Server:
    """A server at work.

    Attributes:
        url: where its page is.
        log: what it writes.
        pid: its process.
    """

    url: str
    log: Path
    pid: int
    started: float = field(default_factory=time.perf_counter)

    def lines(self, pattern: str) -> list[str]:
        """All that a pattern's group matches in the log so far."""
        return re.findall(pattern, self.log.read_text(encoding="utf-8"))

    def wait_for_log(self, pattern: str, patience: float = PATIENCE) -> None:
        """Waits for words in the log."""
        until(lambda: self.lines(pattern), f"{pattern!r} in the log of the server", patience)


def voila_command(port: int, host: str = "") -> list[str]:
    """What ``make app`` runs, with the Python of these tests."""
    binaries = Path(sys.executable).parent
    words = ["make", "-n", "--no-print-directory", "app", f"PORT={port}", f"HOST={host}", f"BIN={binaries}"]
    words.append("VOILA=--Voila.port_retries=0")
    alone = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}  # `make test` runs this
    shown = subprocess.run(words, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    shown = shown.stdout.splitlines()[-1]
    return ["env", *shlex.split(shown)]


def lab_command(port: int) -> list[str]:
    """JupyterLab on loopback; the token comes in ``JUPYTER_TOKEN``."""
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1", "--allow-root"]
    options += ["--no-browser", "--ServerApp.root_dir=."]
    return [sys.executable, "-m", "jupyter", "lab", *options]


@contextmanager
def serving(command: list[str], port: int, environment: dict[str, str], folder: Path, log: Path) -> Iterator[Server]:
    """Runs a server until the end of the block, then ends it and its kernels.

    Raises:
        RuntimeError: it ended by itself; with the end of its log.
    """
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{port}/", log, process.pid)
    try:
        until(lambda: _listens(process, port, log), f"a server on port {port}")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(process: subprocess.Popen, port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"The server ended by itself: {log.read_text()[-2000:]}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def chromium() -> Iterator[playwright.Browser]:
    """A headless Chromium with a fresh profile."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield browser
        browser.close()


def draws(page: playwright.Page, patience: float = 20) -> bool:
    """Whether the browser still draws the page; where it does not, no click and no screenshot ever ends."""
    frame = "new Promise(done => requestAnimationFrame(() => done(true)))"
    given_up = f"new Promise(done => setTimeout(() => done(false), {1000 * patience}))"
    return page.evaluate(f"() => Promise.race([{frame}, {given_up}])")


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: it did not, with what was waited for.
    """
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {patience:.0f} s for {what}.")
        time.sleep(0.05)


# the words on the page


def gauges(page: playwright.Page) -> str:
    """The text of the four gauges."""
    return page.locator(".widget-html", has_text="MACs an image").first.inner_text()


def numbers(page: playwright.Page) -> dict[str, str]:
    """Title of a gauge -> its value, e.g. ``{"Parameters": "703 k", ...}``."""
    lines = [line for line in gauges(page).splitlines() if line.strip()]
    titles = ("Parameters", "MACs an image", "Latency", "Accuracy")
    return {title: lines[k + 1] for title in titles for k, line in enumerate(lines) if line.startswith(title)}


def wait_for_app(page: playwright.Page, patience: float = PATIENCE) -> None:
    """Waits for the first gauges.

    Raises:
        TimeoutError: they do not come; with what is on the page instead.
    """
    try:
        page.get_by_text("MACs an image", exact=True).first.wait_for(timeout=1000 * patience)
    except playwright.TimeoutError as error:
        count = page.locator(".jupyter-widgets").count()
        text = page.inner_text("body")[:500]
        raise TimeoutError(f"No gauges after {patience:.0f} s; {count} widgets, and the text: {text!r}") from error


def settled(page: playwright.Page, patience: float = PATIENCE, still: float = 1.0) -> str:
    """Waits for a final accuracy that stays for some time (s), and returns the text of the gauges then."""
    seen = {"text": "", "since": time.monotonic()}

    def rests() -> bool:
        text = gauges(page)
        if text != seen["text"] or any(word in text for word in BEFORE_FINAL):
            seen.update(text=text, since=time.monotonic())
        return time.monotonic() - seen["since"] > still

    until(rests, "a final accuracy on the page that stays", patience)
    return seen["text"]


def troubles(page: playwright.Page) -> list[str]:
    """What should never be read on the page: a traceback, a sentence of an error, a widget that cannot be shown."""
    text = page.inner_text("body")
    words = ("Traceback", "Error displaying widget", "Error creating widget", "Error:", "⚠", "Exception")
    return [line for line in text.splitlines() if any(word in line for word in words)]


NAMED = ("button", "combobox", "slider", "spinbutton", "textbox", "checkbox", "tab", "tablist", "progressbar", "image")


def unnamed(page: playwright.Page) -> list[str]:
    """Controls and charts that a screen reader would not name, would spell an icon for, or would not say to be down."""
    session = page.context.new_cdp_session(page)
    nodes = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
    session.detach()
    found = []
    for node in nodes:
        role, name = node["role"]["value"], node.get("name", {}).get("value", "")
        icon = any("\ue000" <= letter <= "\uf8ff" for letter in name)
        if role in NAMED and (not name.strip() or icon):
            found.append(f"{role} {name!r}")
    down = "button.mod-active:not([aria-pressed=true]), .widget-toggle-button:not([aria-pressed])"
    found += page.eval_on_selector_all(f"{down}, svg:not([role=img][aria-label])", "all => all.map((e) => e.outerHTML)")
    return found


def handle(page: playwright.Page) -> playwright.Locator:
    """The handle of the slider that says how much goes."""
    return page.locator(".widget-slider:visible .noUi-handle").first


def nudge(page: playwright.Page, key: str = "ArrowRight", times: int = 1) -> None:
    """Moves the slider by the keyboard."""
    handle(page).focus()
    for _ in range(times):
        page.keyboard.press(key)
