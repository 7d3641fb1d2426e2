"""Collecting beside the sliders: once, for all who wait, with pauses for a clock, and with its errors told."""

import threading
import time

import pytest

from rsprune_lib.errors import RspruneError, Stopped
from rsprune_studio.engine.threads import Collector, Watch


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


class Work:
    """Asks ten times, or as long as it is held."""

    def __init__(self):
        self.held, self.begun, self.asked = threading.Event(), 0, 0

    def __call__(self, stop):
        self.begun += 1
        while self.asked < 10 * self.begun or self.held.is_set():
            self.asked += 1
            if stop():
                raise Stopped("no longer wanted")
            time.sleep(0.005)
        return self.begun


def test_all_who_wait_get_the_same_one():
    work, got = Work(), []
    collector = Collector(work, 10)
    assert not collector.ready
    waiting = [threading.Thread(target=lambda: got.append(collector.get())) for _ in range(4)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(5)
    assert got == [1] * 4 and collector.ready and work.begun == 1
    assert collector.get() == 1


def test_who_leaves_finds_it_further_on_and_is_told_how_far():
    work, told = Work(), []
    work.held.set()
    collector = Collector(work, 10)
    with pytest.raises(Stopped):
        collector.get(Watch(lambda: len(told) > 2, lambda text, share: told.append((text, share))))
    before = work.asked
    until(lambda: work.asked > before)  # nobody waits, and it goes on
    work.held.clear()
    assert collector.get(Watch(tell=lambda text, share: told.append((text, share)))) == 1
    shares = [share for _, share in told]
    assert shares == sorted(shares) and max(shares) <= 1 and all("Gram" in text for text, _ in told)


def test_nothing_moves_while_it_is_paused():
    work = Work()
    work.held.set()
    collector = Collector(work, 10)
    with pytest.raises(Stopped):
        collector.get(Watch(lambda: work.asked > 0))
    with collector.paused():
        before = work.asked
        time.sleep(0.1)
        assert work.asked == before
    until(lambda: work.asked > before)
    work.held.clear()
    assert collector.get() == 1
    with collector.paused():  # and there is nothing to wait for any more
        pass


def test_what_nobody_wants_ends_and_begins_anew_when_it_is_wanted():
    work = Work()
    work.held.set()
    collector = Collector(work, 10)
    with pytest.raises(Stopped):
        collector.get(Watch(lambda: work.asked > 0))
    before = threading.active_count()
    collector.stop()
    until(lambda: threading.active_count() < before)
    assert not collector.ready
    work.held.clear()
    assert collector.get() == 2


def test_an_error_is_told_and_the_next_call_tries_again():
    tries = []

    def collect(stop):
        tries.append(1)
        if len(tries) == 1:
            raise RspruneError("an image is gone")
        return "matrices"

    collector = Collector(collect, 1)
    with pytest.raises(RspruneError, match="an image is gone"):
        collector.get()
    assert collector.get() == "matrices"
