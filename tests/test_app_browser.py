"""The app in a real browser: Voila and JupyterLab, each on loopback with a home of its own, on synthetic scenes.

``RSPRUNE_BROWSER_TESTS=off`` leaves these tests out, and the summary says so. Screenshots land in
``runs/test/screenshots`` (``RSPRUNE_SCREENSHOTS`` names another folder).
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import playwright.sync_api as playwright
import psutil
import pytest
from PIL import Image
from studio_browser import (
    FLAGS,
    NOTEBOOK,
    PATIENCE,
    ROOT,
    SIZE,
    browser_path,
    chromium,
    clean_environment,
    draws,
    free_port,
    gauges,
    handle,
    lab_command,
    nudge,
    numbers,
    serving,
    settled,
    troubles,
    unnamed,
    until,
    voila_command,
    wait_for_app,
)

from rsprune_lib.data.upload import MAX_BYTES
from rsprune_studio.draw.graph import SELECTOR_WORDS
from rsprune_studio.engine.setting import Setting

PHONE = {"width": 390, "height": 844}
off = os.environ.get("RSPRUNE_BROWSER_TESTS") == "off"
pytestmark = [
    pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]),  # `Window`
    pytest.mark.timeout(600),  # each page computes its first answer; on a busy machine that takes minutes
    pytest.mark.skipif(off, reason="RSPRUNE_BROWSER_TESTS=off: the app was NOT tested in a browser"),
]


@pytest.fixture(scope="module")
def shots():
    folder = Path(os.environ.get("RSPRUNE_SCREENSHOTS") or ROOT / "runs" / "test" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def browser():
    try:
        browser_path()
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def voila(home):
    port = free_port()
    with serving(voila_command(port), port, clean_environment(home), ROOT, home / "voila.log") as server:
        yield server


class Window:
    """A browser window with the app as Voila shows it.

    Headless Chromium was seen to stop drawing a page for good while its scripts went on. It is then started anew.
    """

    def __init__(self, browser, voila):
        self.browser, self.voila = browser, voila
        self.open()

    def open(self):
        """A new window that remembers its first words and where its pages connected to."""
        self.context = self.browser.new_context(viewport=SIZE, accept_downloads=True)
        self.context.set_default_timeout(60_000)
        self.context.answered = []
        self.context.on("response", lambda response: self.context.answered.append(response.url))
        self.page = self.context.new_page()
        self.page.goto(self.voila.url, wait_until="commit", timeout=1000 * PATIENCE)
        self.page.get_by_role("heading", name="The pruning studio opens").wait_for()
        self.first_words, self.kernels_then = self.page.inner_text("#studio-start"), self.voila.lines("is filled")
        wait_for_app(self.page)

    def drawn(self):
        """The page, opened anew in another browser where this one stopped drawing it."""
        for _ in range(3):
            if draws(self.page):
                return self.page
            warnings.warn("Chromium stopped drawing the page; it is started anew.", stacklevel=1)
            self.browser = self.browser.browser_type.launch(executable_path=browser_path(), args=FLAGS)
            self.open()
        pytest.fail("Chromium does not draw the page, three times over.")


@pytest.fixture(scope="module")
def window(browser, voila):
    window = Window(browser, voila)
    yield window
    window.context.close()
    if window.browser is not browser:
        window.browser.close()


@pytest.fixture
def page(window):
    """The app; what one test moves, it moves back."""
    return window.drawn()


@pytest.fixture
def context(page):
    return page.context


def untimed(text):
    """The gauges but for the latency, which is measured again where the machine was busy."""
    return [line for line in text.splitlines() if not re.search(r"\bms\b|times as fast|about as fast|slower", line)]


def undo_all(page):
    """Goes back to the first setting; the button may be disabled between a look at it and a click."""
    button = page.get_by_role("button", name="Undo").first

    def undone():
        if not button.is_disabled():
            with contextlib.suppress(playwright.TimeoutError):
                button.click(timeout=2000)
            page.wait_for_timeout(200)
        return button.is_disabled()

    until(undone, "Undo to go back to the first setting")


def test_the_page_says_at_once_what_is_going_on(window, page):
    """The first request comes before there is a kernel, as one does after another page took the one that waited."""
    assert window.kernels_then == []
    assert "one starts for this page" in window.first_words
    assert page.locator("#studio-start").count() == 0


def test_the_page_opens_with_all_its_numbers(page, shots):
    settled(page)
    shown = numbers(page)
    assert list(shown) == ["Parameters", "MACs an image", "Latency", "Accuracy"]
    assert shown["Latency"].endswith("ms")
    assert shown["Accuracy"].endswith("%")
    assert troubles(page) == []
    page.screenshot(path=shots / "voila.png")


def test_without_data_at_hand_it_says_synthetic(page):
    assert "synthetic" in page.inner_text("body").lower()


@pytest.mark.parametrize("size", [SIZE, PHONE], ids=["laptop", "phone"])
def test_nothing_is_wider_than_the_window_and_all_has_a_name(page, shots, size):
    page.set_viewport_size(size)
    for tab in page.get_by_role("tab").all():
        if not tab.is_visible():
            continue  # within another one
        tab.click()
        page.wait_for_timeout(300)
        name = "".join(letter for letter in tab.inner_text().strip().lower() if letter.isalnum())
        page.screenshot(path=shots / f"voila_{name}_{size['width']}.png")
        wide = page.evaluate(TOO_WIDE)
        assert wide == [], f"at tab {tab.inner_text()}"
        assert tab.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{tab.inner_text()} is cut off"
        assert tab.get_attribute("aria-selected") == "true"
        assert unnamed(page) == [], f"at tab {tab.inner_text()}"
        assert troubles(page) == []
    page.get_by_role("tab").first.click()
    page.set_viewport_size(SIZE)


def test_on_a_phone_the_gauges_stay_in_sight_of_the_slider(page, shots):
    page.set_viewport_size(PHONE)
    handle(page).evaluate("e => e.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(300)
    for box in (page.locator(".rsprune-gauges").bounding_box(), handle(page).bounding_box()):
        assert 0 <= box["y"] and box["y"] + box["height"] <= PHONE["height"]
    assert handle(page).evaluate(ON_TOP)
    page.screenshot(path=shots / "phone.png")
    slider, percent = (page.locator(f".rsprune-percent:visible {kind}").first for kind in (".widget-slider", "input"))
    assert abs(slider.bounding_box()["y"] - percent.bounding_box()["y"]) < 20  # on one line
    page.set_viewport_size(SIZE)
    assert page.locator(".rsprune-gauges").get_attribute("aria-live") == "polite"
    assert handle(page).get_attribute("aria-valuetext") == "50 %"
    page.get_by_text("What these words mean").click()
    assert "groups of the same shape" in page.inner_text("details")
    page.get_by_text("What these words mean").click()


ON_TOP = """(e) => {
    const box = e.getBoundingClientRect();
    return e.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
}"""


TOO_WIDE = """() => {
    const inner = [...document.querySelectorAll('.jp-Cell *, #rendered_cells *')].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width > 0 && box.right > window.innerWidth + 1 && !e.closest('pre, [style*="overflow"]');
    });
    const names = inner.map((e) => `${e.tagName}.${e.className} to ${Math.round(e.getBoundingClientRect().right)}`);
    return document.documentElement.scrollWidth > window.innerWidth ? ['the page itself', ...names] : names;
}"""


def test_a_move_changes_the_numbers_and_undo_brings_them_back(page, shots):
    before = settled(page)
    nudge(page, times=3)
    until(lambda: gauges(page) != before, "other numbers")
    moved = settled(page)
    page.screenshot(path=shots / "voila_moved.png")
    assert numbers(page)["MACs an image"] not in before
    undo_all(page)
    assert settled(page) == before
    assert moved != before
    assert troubles(page) == []


def test_dragging_with_the_mouse_is_answered(page):
    before = settled(page)
    box = handle(page).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=6)
    page.mouse.up()
    until(lambda: gauges(page) != before, "other numbers")
    page.get_by_role("button", name="Undo").click()
    until(lambda: untimed(gauges(page)) == untimed(before), "the numbers before")


def test_the_graph_follows_the_cut(page, shots):
    """Criterion similarity, decided by a cut: a lower similarity draws more edges and keeps fewer channels."""
    chosen = page.locator("select:visible", has=page.locator("option", has_text="similarity")).first
    before = settled(page)
    chosen.select_option("similarity")
    page.get_by_role("button", name="cut", exact=True).click()
    page.get_by_role("tab", name="Graph").click()
    caption = page.get_by_text(re.compile(r"edges at similarity .* stay"))
    words = re.compile(r"([\d,]+) edges at similarity ([\d.]+) .*; (\d+) stay\. (.*)", re.DOTALL)

    def drawn():
        """Edges, similarity and channels that stay, once the drawing is one where the graph decides."""
        found = words.search(caption.inner_text()) if caption.count() else None
        by_graph = found and SELECTOR_WORDS[Setting("similarity").selector] in found[4]
        return (int(found[1].replace(",", "")), float(found[2]), int(found[3])) if by_graph else None

    ready = page.locator(".widget-slider:visible", has_text="cut at").locator(".noUi-target:not([disabled])")
    until(ready.count, "the slider of the cut")  # a key would move the slider of the share before
    until(drawn, "a graph that decides")
    settled(page)
    edges, similarity, stay = drawn()
    nudge(page, times=80)
    until(lambda: (drawn() or (0, 1.0, 0))[1] < similarity - 0.02, "a drawing at a lower similarity")
    settled(page)
    more, _, fewer = drawn()
    assert more > edges and fewer < stay and troubles(page) == []
    blue = page.locator("svg[aria-label^='similarity graph'] circle[fill='#0B6FB8']").count()
    assert blue == fewer
    page.screenshot(path=shots / "voila_graph_cut.png", full_page=True)
    page.get_by_role("button", name="Reset").click()  # the share that stands for the cut would stay otherwise
    page.get_by_role("tab").first.click()
    until(lambda: untimed(gauges(page)) == untimed(before), "the numbers before")


def test_the_first_screen_shows_the_network_and_six_images(page, shots):
    settled(page)
    picture = page.locator(".rsprune-overview [role=img]").first
    line = picture.get_attribute("aria-label")
    assert re.match(r"The network in \d+ stages; .* The narrowest group is \S+ with \d+ of \d+ channels\.", line)
    tiles = page.locator(".rsprune-tile")
    until(lambda: tiles.locator("img").count() == 6, "six images")
    until(lambda: page.locator(".rsprune-waiting").count() == 0, "the answers to them")
    assert page.locator(".rsprune-overview").bounding_box()["y"] + 300 < SIZE["height"]  # without scrolling
    page.emulate_media(color_scheme="dark")
    lightness = "e => Math.max(...getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).map(Number))"
    for words in (page.locator(".rsprune-value").first, page.locator(".widget-label:visible").first):
        assert words.evaluate(lightness) > 180
    page.screenshot(path=shots / "voila_dark.png")
    page.emulate_media(color_scheme="light")
    assert page.locator(".rsprune-value").first.evaluate(lightness) < 80


def test_a_challenge_is_tried_with_channels_picked_by_hand(page, shots):
    before = settled(page)
    challenge = page.locator(".rsprune-challenges select")
    until(lambda: challenge.locator("option").count() > 1, "challenges")
    challenge.select_option(index=1)
    verdict = page.locator(".rsprune-challenge")
    until(lambda: "Not yet" in verdict.inner_text(), "a verdict")
    page.get_by_role("tab", name="By hand").click()
    page.get_by_role("button", name="Take out").click()
    page.get_by_text("Picked by hand").wait_for()
    strip = page.locator(".rsprune-hand button[aria-pressed]:visible")
    assert {"true", "false"} == {button.get_attribute("aria-pressed") for button in strip.all()}
    page.screenshot(path=shots / "voila_challenge_by_hand.png", full_page=True)
    challenge.select_option(index=0)
    page.get_by_role("tab").first.click()
    undo_all(page)
    until(lambda: untimed(gauges(page)) == untimed(before), "the numbers before")
    assert troubles(page) == []


def test_a_plan_is_downloaded_and_loaded_again(page, tmp_path):
    page.get_by_role("tab", name="Take away").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="plan").first.click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    plan = json.loads(file.read_text())
    before = settled(page)
    nudge(page, "ArrowRight", times=20)
    until(lambda: numbers(page)["MACs an image"] not in before, "other numbers")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="plan").last.click()
    chooser.value.set_files(file)
    until(lambda: numbers(page)["MACs an image"] in before, "the plan's numbers")
    assert plan["keep"]
    assert troubles(page) == []
    page.get_by_role("button", name="Reset").click()
    until(lambda: untimed(gauges(page)) == untimed(before), "the numbers before")
    page.get_by_role("tab").first.click()


def test_uploads_arrive_up_to_the_promised_size_and_larger_ones_are_told(page, tmp_path):
    """Those of 10 MB and more were lost with the connection, without a word."""
    rgb = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "large.bmp")
    Image.fromarray(rgb[:64, :64]).save(tmp_path / "small.png")
    with (tmp_path / "huge.bmp").open("wb") as file:
        file.write(b"BM")
        file.truncate(MAX_BYTES + 1_000_000)
    page.get_by_role("tab", name="Inside").click()

    def send(name, answer):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Upload").click()
        chooser.value.set_files(tmp_path / name)
        page.get_by_text(answer).first.wait_for(timeout=1000 * PATIENCE)

    send("large.bmp", "your image large.bmp")
    send("huge.bmp", "more than 64 MB")
    send("small.png", "your image small.png")
    until(lambda: troubles(page) == [], "no sentence of the file before", 30)
    page.get_by_role("tab").first.click()


def test_another_web_site_starts_nothing(context, page, voila):
    taken = voila.lines("Using pre-heated kernel")
    other = context.new_page()
    with other.expect_request(lambda request: request.url.startswith(voila.url)):  # its answer is no image: blocked
        other.set_content(f'<img src="{voila.url}">')
    other.wait_for_timeout(500)
    other.set_content(f'<a href="{voila.url}">studio</a>')
    other.get_by_role("link").click()
    other.get_by_text("Nothing was started").wait_for()
    assert voila.lines("Using pre-heated kernel") == taken
    other.close()


def test_two_tabs_do_not_disturb_each_other(context, page, voila):
    settled(page)
    other = context.new_page()
    other.goto(voila.url, wait_until="commit", timeout=1000 * PATIENCE)
    wait_for_app(other)
    here, there = settled(page), settled(other)
    nudge(other, times=5)
    until(lambda: gauges(other) != there, "other numbers in the second tab")
    moved = settled(other)
    assert untimed(gauges(page)) == untimed(here)
    nudge(page, "ArrowLeft", times=2)
    until(lambda: gauges(page) != here, "other numbers in the first tab")
    settled(page)
    assert untimed(gauges(other)) == untimed(moved)
    used = voila.lines(r"Connecting to kernel ([\w-]+)\.")
    assert len(set(used)) >= 2
    if sys.platform == "linux":
        assert "fork_server.py" in " ".join(kernel_process(voila, used[-1]).cmdline())
    other.close(run_before_unload=True)
    until(lambda: set(voila.lines(r"Kernel shutdown: ([\w-]+)")) & set(used), "the end of the closed tab's kernel")
    undo_all(page)
    until(lambda: gauges(page) == here, "the numbers before")
    assert troubles(page) == []


def test_every_control_can_be_reached_by_the_keyboard_and_shows_it(page):
    page.get_by_role("tab").first.click()  # another one may have tabs of its own
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(200)
        page.evaluate(MARK_CONTROLS)
        page.evaluate("document.activeElement.blur()")
        page.evaluate("window.getSelection().removeAllRanges()")
        reached, plain = set(), []
        for _ in range(300):
            page.keyboard.press("Tab")
            number, name, visible = page.evaluate(FOCUSED)
            if number in reached:
                break
            if number is not None:
                reached.add(number)
                plain += [] if visible else [name]
        missed = [name for number, name in page.evaluate(CONTROLS) if number not in reached]
        assert missed == [], f"at tab {tab.inner_text()}"
        assert plain == [], f"no focus can be seen at tab {tab.inner_text()}"


SEEN = """const seen = (e) => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(e).visibility !== 'hidden' && !e.disabled
        && !e.closest('[disabled]');
};
const name = (e) => (e.getAttribute('aria-label') || e.title || e.innerText || e.className).trim().slice(0, 40)
    + ' <' + e.tagName.toLowerCase() + '>';
const look = (e) => {
    const s = getComputedStyle(e);
    return [s.outlineStyle + s.outlineWidth + s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor].join('|');
};"""
MARK_CONTROLS = f"""() => {{ {SEEN}
    const all = document.querySelectorAll('button, select, textarea, input:not([type=hidden]), a[href], .noUi-handle');
    document.activeElement.blur();
    [...all].filter(seen).filter((e) => !e.closest('.lm-TabBar') && e.tabIndex >= 0).forEach((e, k) => {{
        e.dataset.control = k; e.dataset.look = look(e);
    }});
}}"""
CONTROLS = f"""() => {{ {SEEN}
    return [...document.querySelectorAll('[data-control]')].filter(seen).map((e) => [e.dataset.control, name(e)]);
}}"""
FOCUSED = f"""() => {{ {SEEN}
    const e = document.activeElement;
    return [e.dataset.control ?? null, name(e), e.dataset.control === undefined || look(e) !== e.dataset.look];
}}"""


def test_it_loads_from_nowhere_else(context, page, voila):
    assert [url for url in context.answered if not url.startswith((voila.url, "data:", "blob:"))] == []


# what the server gives away


def kernel_process(voila, kernel):
    (process,) = [p for p in psutil.Process(voila.pid).children(recursive=True) if kernel in " ".join(p.cmdline())]
    return process


def fetch(url, host=None, method="GET"):
    """Status, content type and text of an answer."""
    request = urllib.request.Request(url, method=method, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode("utf-8", "replace")


def test_no_source_is_on_the_page(page):
    html = page.content()
    assert "load_data" not in html.replace("# doctest", "")
    assert "rsprune_studio.views.app" not in html
    assert "open_app" not in html


@pytest.mark.parametrize(
    "path",
    [
        "tree", "voila/tree", "voila/tree/solutions", "voila/render/00_start.ipynb", "voila/render/app.ipynb",
        "notebooks/00_start.ipynb", "files/app.ipynb", "voila/files/app.ipynb", "voila/files/00_start.ipynb",
        "voila/files/serve/voila.py", "voila/files/..%2FREADME.md", "voila/files/../Makefile",
        "voila/static/../../../../../Makefile", "voila/static/..%2F..%2Fapp.py", "voila/templates/lab/..%2F..%2Fx",
        "api/contents", "voila/api/contents", "api/kernels", "api/kernelspecs", "api/sessions", "api/terminals",
        "api/config/notebook", "api/status", "lab", "edit/serve/voila.py", "nbconvert/html/app.ipynb", "metrics",
    ],
)  # fmt: skip
def test_nothing_but_the_page_is_served(voila, path):
    status, _, text = fetch(voila.url + path)
    assert status in (403, 404, 500), text[:200]  # 500: Voila's own templates, asked for by an impossible path
    assert "nbformat" not in text
    assert "get_config" not in text
    assert ".PHONY" not in text


def test_kernels_are_neither_listed_nor_made(voila):
    assert fetch(voila.url + "api/kernels", method="POST")[0] in (403, 404, 405)
    assert fetch(voila.url + "api/kernels/00000000-0000-0000-0000-000000000000")[0] == 404


def test_another_name_for_this_machine_is_refused(voila):
    assert fetch(voila.url + "api/kernels/00000000-0000-0000-0000-000000000000", host="evil.example")[0] == 403


def test_it_listens_on_this_machine_only(voila):
    port = int(voila.url.rsplit(":", 1)[1].strip("/"))
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    mine = [address for address in listening if address.endswith(f":{port:04X}")]
    assert mine == [f"0100007F:{port:04X}"]


EXECUTE = """async ([url, code]) => {
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
    const header = {msg_id: 'x1', msg_type: 'execute_request', session: 's', username: '', version: '5.3', date: ''};
    const content = {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false};
    const heard = [];
    socket.onmessage = (event) => heard.push(typeof event.data === 'string' ? event.data : '');
    socket.send(JSON.stringify({header, parent_header: {}, metadata: {}, content, buffers: [], channel: 'shell'}));
    await new Promise((resolve) => setTimeout(resolve, 3000));
    socket.close();
    return heard.filter((text) => text.includes('x1'));
}"""


def test_a_page_cannot_run_code(page, voila, tmp_path):
    kernel = voila.lines(r"Connecting to kernel ([\w-]+)\.")[0]
    proof = tmp_path / "executed"
    url = voila.url.replace("http", "ws") + f"api/kernels/{kernel}/channels"
    heard = page.evaluate(EXECUTE, [url, f"open({str(proof)!r}, 'w').close()"])
    assert not proof.exists()
    assert not any("execute_reply" in text for text in heard)
    before = settled(page)
    nudge(page, "PageUp")  # the app itself still answers
    until(lambda: gauges(page) != before, "other numbers")
    page.get_by_role("button", name="Undo").click()
    until(lambda: untimed(gauges(page)) == untimed(before), "the numbers before")


def test_a_segmenter_shows_its_pictures_and_its_rare_classes(page, shots):
    network = page.locator("select").first
    network.select_option(index=[text.startswith("synthetic_aerial_unet1:") for text in
                                 network.locator("option").all_inner_texts()].index(True))  # fmt: skip
    page.get_by_role("button", name="Open").click()
    until(lambda: "Minority mIoU" in gauges(page), "the gauges of a segmenter")
    page.get_by_role("tab", name="Inside", exact=True).click()
    pictures = page.locator("figure img")
    until(lambda: pictures.count() == 5 and "were lost by pruning" in page.inner_text("body"), "five pictures")
    page.screenshot(path=shots / "voila_segmenter.png")
    for size in (PHONE, SIZE):
        page.set_viewport_size(size)
        assert page.evaluate(TOO_WIDE) == [] and unnamed(page) == [] and troubles(page) == []
    assert "car rare" in page.locator(".rsprune-legend").inner_text().replace("\xa0", " ")


def test_a_page_whose_kernel_has_gone_says_so_and_keeps_what_it_showed(page, voila, shots):
    lost, before = page.locator(".rsprune-lost"), settled(page)
    assert lost.evaluate("e => e.clientHeight") == 0  # hidden while the kernel lives: longer than its patience by now
    kernel = voila.lines(r"Connecting to kernel ([\w-]+)\.")[0]
    kernel_process(voila, kernel).kill()
    until(lambda: lost.evaluate("e => e.clientHeight") > 10, "the sentence that the kernel has gone")
    assert "Reload" in lost.inner_text()
    assert gauges(page) == before
    page.screenshot(path=shots / "kernel_gone.png")
    page.reload(wait_until="commit", timeout=1000 * PATIENCE)
    wait_for_app(page)
    before = settled(page)
    nudge(page, "PageUp")
    until(lambda: gauges(page) != before, "an answer after the page was loaded anew")


def test_behind_a_proxy_it_asks_for_the_token(home, browser):
    port, token = free_port(), secrets.token_hex(8)
    environment = clean_environment(home) | {"JUPYTER_TOKEN": token}
    command = [*voila_command(port, host="class.example"), "--VoilaConfiguration.preheat_kernel=False"]
    with serving(command, port, environment, ROOT, home / "class.log") as server:
        answered = fetch(server.url, host="class.example")
        assert answered[0] in (302, 401, 403) or "login" in answered[2].lower()
        assert server.lines("Kernel started") == []
        assert fetch(f"{server.url}?token={token}x", host="class.example")[0] != 200 or not server.lines(
            "Kernel started"
        )
        page = browser.new_page()
        page.goto(f"{server.url}?token={token}", wait_until="commit", timeout=1000 * PATIENCE)
        wait_for_app(page)
        page.close()
        assert token not in server.log.read_text()


# the same notebook in JupyterLab


def test_the_notebook_works_in_jupyterlab(home, browser, shots):
    folder = home / "lab"
    folder.mkdir()
    shutil.copy(NOTEBOOK, folder)
    port, token = free_port(), secrets.token_hex(8)
    environment = clean_environment(home) | {"JUPYTER_TOKEN": token}
    with serving(lab_command(port), port, environment, folder, home / "lab.log") as server:
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{server.url}lab/tree/app.ipynb?token={token}", timeout=1000 * PATIENCE)
        no_news = page.get_by_role("button", name="No", exact=True)  # "notified about official Jupyter news?"
        page.add_locator_handler(no_news, lambda: no_news.click())
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=1000 * PATIENCE)
        page.locator(".jp-Notebook .jp-MarkdownCell").first.click()
        for _ in range(4):
            page.keyboard.press("Shift+Enter")
        wait_for_app(page)
        before = settled(page)
        nudge(page, "PageUp")
        until(lambda: gauges(page) != before, "other numbers")
        settled(page)
        page.screenshot(path=shots / "jupyterlab.png")
        undo_all(page)
        assert untimed(settled(page)) == untimed(before)
        assert troubles(page) == []
        page.close()
