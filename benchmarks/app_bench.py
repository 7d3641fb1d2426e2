"""The app in a real browser: how long until the page is ready, and until a released slider is answered on the screen.

Both on synthetic scenes, in headless Chromium at 1280x800, with Voila started as ``make app`` starts it. ``make bench``
takes its rows; alone it prints them.

Example:
    python benchmarks/app_bench.py --moves 30
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from rows import row, table
from studio_browser import (
    ROOT,
    SIZE,
    Server,
    chromium,
    clean_environment,
    free_port,
    gauges,
    handle,
    playwright,
    serving,
    settled,
    until,
    voila_command,
    wait_for_app,
)

READY, ANSWERED = 5.0, 50.0  # budgets: s from the request, ms at p95 from the pointer's release
MOVES = 30

# Notes when the pointer was let go, and when the gauges had another text after that.
WATCH = """() => {
    window.moves = [];
    const views = [...document.querySelectorAll('.widget-html')];
    const box = views.find((e) => e.innerText.includes('MACs an image'));
    let released = null, before = '';
    document.addEventListener('pointerup', () => { released = performance.now(); before = box.innerText; }, true);
    new MutationObserver(() => {
        if (released !== null && box.innerText !== before) {
            window.moves.push(performance.now() - released);
            released = null;
        }
    }).observe(box, {childList: true, subtree: true, characterData: true});
}"""


@contextmanager
def voila(home: Path, *options: str) -> Iterator[Server]:
    """Voila as ``make app`` starts it."""
    port = free_port()
    with serving([*voila_command(port), *options], port, clean_environment(home), ROOT, home / "voila.log") as server:
        yield server


def seconds_to_ready(browser: playwright.Browser, server: Server) -> tuple[float, playwright.Page]:
    """Seconds from the request until the four gauges are read on the page, and the page."""
    page = browser.new_page(viewport=SIZE)
    start = time.perf_counter()
    page.goto(server.url, wait_until="commit", timeout=240_000)
    wait_for_app(page)
    return time.perf_counter() - start, page


def drag(page: playwright.Page, share: float) -> None:
    """Takes the slider's handle with the mouse to a share of its way, and lets go."""
    box, way = handle(page).bounding_box(), page.locator(".widget-slider:visible .noUi-target").first.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(way["x"] + share * way["width"], y, steps=5)
    page.mouse.up()


def moves(page: playwright.Page, count: int) -> list[float]:
    """Milliseconds from each release of the slider to other numbers on the page."""
    settled(page)
    page.evaluate(WATCH)
    places, place = random.Random(0), 0.5
    for number in range(count):
        before, last = gauges(page), place
        while abs(place - last) < 0.03:  # the slider has steps: a move to the same one changes nothing
            place = places.uniform(0.05, 0.95)
        drag(page, place)
        until(lambda number=number: page.evaluate("window.moves.length") > number, "an answer to a move", 30)
        until(lambda before=before: gauges(page) != before, "other numbers", 30)
        page.wait_for_timeout(places.uniform(100, 700))  # some moves meet a worker that is busy with the one before
    return page.evaluate("window.moves")


def browser_rows(count: int = MOVES) -> Iterator[dict]:
    """Rows of the benchmark's table; times of the first page of a server, of a later one, and of moves."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = Path(folder)
        with voila(home, "--VoilaConfiguration.preheat_kernel=False") as server:
            cold, page = seconds_to_ready(browser, server)
            page.close()
        with voila(home) as server:
            server.wait_for_log("Kernel started")  # what a person's browser takes to start, and more
            first, page = seconds_to_ready(browser, server)
            times = moves(page, count)
            page.close()
            until(lambda: len(server.lines("is filled")) > len(server.lines("Using pre-heated")), "the next kernel")
            time.sleep(15)  # it opens the app and measures its first setting
            warm, page = seconds_to_ready(browser, server)
            page.close()
    against = "no kernel kept warm"
    yield row("app, first page of a new server ready, s", first, cold, against, cold / first, READY)
    yield row("app, later page ready, s", warm, cold, against, cold / warm, READY)
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    name = f"app, pointer-up to changed text, ms, p95 of {len(times)} moves (before the next page is made)"
    yield row(name, p95, statistics.median(times), "its median", None, ANSWERED)


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=MOVES, help="times the slider is dragged")
    print(table(list(browser_rows(parser.parse_args().moves))))


if __name__ == "__main__":
    main()
