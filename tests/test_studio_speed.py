"""Speeds in the live tool: measured in turn, doubted where they are not clear, measured again; widths in multiples."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rsprune_lib.background import at_rest
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Latency
from rsprune_studio import PruningPanel, Setting, Studio
from rsprune_studio.draw import gauges
from rsprune_studio.draw.scores_and_trail import describe
from rsprune_studio.engine import explorer
from rsprune_studio.engine.history import History, Point
from rsprune_studio.engine.threads import Collector, LatestWins

ROOT = Path(__file__).resolve().parents[1]
START = Setting("l2", recovery="none")


@pytest.fixture
def studio(lively_se, tiny_data):
    return Studio(lively_se, tiny_data, images=16, val_images=8, first=4, batch_size=8, progress=False)


@pytest.fixture
def clock(studio, monkeypatch):
    """Pretended times: the trained network takes 8 ms, a pruned one what the list says, round by round."""
    times = {"small": [(4, 16, 2, 1)], "calls": 0}

    def timed(networks):
        times["calls"] += 1
        small = times["small"].pop(0) if len(times["small"]) > 1 else times["small"][0]
        rounds = [(8.0,) * len(small), small] if len(networks) == 2 else [small]
        return [Latency(sorted(own)[1], 0.0, 1, 1, "pretended", 4, tuple(map(float, own))) for own in rounds]

    monkeypatch.setattr(studio.measuring, "time", timed)
    return times


def until(holds, seconds=10):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_unclear_speed_is_called_so_everywhere_and_measured_again(studio, clock):
    clock["small"] = [(20, 20, 20, 20), (4, 16, 2, 1), (2, 2, 2, 2)]  # the first is the trained network alone
    first = studio.final(START)
    for text in (first.sentence(), gauges.gauges(first)):
        assert "not clear: this machine is busy" in text and "times as fast" not in text
    assert "time not clear" in describe(0, Point.of(first), False)
    second = studio.final(START)  # the setting comes back in a better moment
    assert "4.0 times as fast" in second.sentence() and "4.0 times as fast; dense 8.00 ms" in gauges.gauges(second)
    assert "2.00 ms" in describe(0, Point.of(second), False)
    calls = clock["calls"]
    assert studio.final(START).latency == second.latency and clock["calls"] == calls  # what is clear is kept
    history = History(START)
    assert history.record(first) and not history.record(second)
    assert [(point.latency_ms, point.clear) for point in history.points] == [(2.0, True)]


def test_the_panel_measures_again_by_itself(studio, clock, monkeypatch):
    monkeypatch.setattr(explorer, "_AGAIN", 0.01)
    clock["small"] = [(20, 20, 20, 20), (4, 16, 2, 1), (4, 16, 2, 1), (2, 2, 2, 2)]
    panel = PruningPanel(studio, START)
    panel.explorer._worker._pause = 0.05
    panel.settle()
    until(lambda: "4.0 times as fast" in panel.words.value)
    assert "4.0 times as fast" in panel.gauges.value and panel.explorer.history.points[0].clear
    panel.close()


def test_sessions_of_earlier_versions_have_clear_points(studio, clock):
    clock["small"] = [(2, 2, 2, 2)]
    values = json.loads(json.dumps(Point.of(studio.final(START)).to_dict()))
    assert Point.from_dict(values) == Point.from_dict({k: v for k, v in values.items() if k != "clear"})
    with pytest.raises(RspruneError, match="measured point"):
        Point.from_dict(values | {"clear": 1})
    older = {{"score": "accuracy", "dense_score": "dense_accuracy"}.get(k, k): v for k, v in values.items()}
    assert Point.from_dict(older) == Point.from_dict(values)


@pytest.mark.parametrize("wrong", [
    {"n": True}, {"params": 0}, {"macs": 1.5}, {"macs": 2**63}, {"score": 1.5}, {"low": -0.1}, {"latency_ms": 0},
    {"latency_ms": float("inf")}, {"dense_score": float("nan")}, {"plan": 3}, {"setting": []}, {"more": 1},
])  # fmt: skip
def test_a_point_that_cannot_be_is_named(wrong, studio, clock):
    clock["small"] = [(2, 2, 2, 2)]
    values = json.loads(json.dumps(Point.of(studio.final(START)).to_dict()))
    with pytest.raises(RspruneError, match=rf"measured point.*{next(iter(wrong))} is none that the app writes"):
        Point.from_dict(values | wrong)
    with pytest.raises(RspruneError, match=r"measured point 3|got '3' \(it is none"):
        Point.from_dict(3)
    with pytest.raises(RspruneError, match="is impossible"):
        Point.from_dict(values | {"low": 1.0, "score": 0.5})


def test_widths_in_multiples(studio, clock):
    clock["small"] = [(2, 2, 2, 2)]
    eights = replace(START, ratio=0.6, multiple_of=8)
    plan = studio.apply(eights).plan
    assert all(width % 8 == 0 or width == plan.sizes[name] for name, width in plan.widths.items())
    assert plan.widths != studio.apply(replace(eights, multiple_of=1)).plan.widths and plan.how["multiple_of"] == 8
    assert "'multiple_of': 8" in studio.code(eights)
    assert Setting.from_dict(json.loads(json.dumps(eights.to_dict()))) == eights
    assert "multiple_of" not in START.to_dict()
    for bad in (0, -8, 2.5, True, "8", None):
        with pytest.raises(RspruneError, match="multiple_of"):
            replace(eights, multiple_of=bad)
    threshold = Setting("similarity", amount="threshold", threshold=0.4, recovery="none", multiple_of=8)
    assert "multiple_of" not in studio.planner.choosing(threshold)  # one threshold of a graph cannot keep multiples
    studio.apply(threshold)


def test_the_control_of_the_widths(studio, clock):
    clock["small"] = [(2, 2, 2, 2)]
    panel = PruningPanel(studio, replace(START, ratio=0.6))
    panel.settle()
    panel.controls.multiple_of.value = 8
    assert panel.settle().plan.how["multiple_of"] == 8
    panel.undo.click()
    assert panel.controls.multiple_of.value == 1
    panel.go(replace(panel.setting, multiple_of=2))  # of a session file
    assert panel.settle().plan.how["multiple_of"] == 2 and panel.controls.multiple_of.value == 2
    panel.go(Setting("similarity", amount="threshold", threshold=0.4, recovery="none"))
    panel.settle()
    assert panel.controls.multiple_of.disabled
    panel.close()


def test_work_rests_while_something_is_timed_and_is_begun_again():
    begun, go = [], threading.Event()

    def work(turn):
        begun.append(turn.job)
        while not turn.stale() and not go.is_set():
            time.sleep(0.005)

    worker = LatestWins(work)
    worker.submit("a")
    until(lambda: begun)
    with at_rest() as quiet:
        assert quiet and worker._thread is None
        time.sleep(0.05)
        assert begun == ["a"]
        worker.submit("b")  # a person moves on meanwhile
        assert worker._thread is None
    go.set()
    worker.settle(5)
    assert begun == ["a", "b"]
    worker.close()


def test_a_worker_without_work_ends_its_thread_and_comes_back():
    done = []
    worker = LatestWins(lambda turn: done.append(turn.job), pause=0.02)
    worker.submit(1)
    until(lambda: done == [1] and worker._thread is None)
    worker.submit(2)
    worker.settle(5)
    assert done == [1, 2]
    worker.close()


def test_collecting_rests_and_is_begun_anew():
    asked = []

    def collect(stop):
        asked.append(0)
        for _ in range(200):
            if stop():
                from rsprune_lib.errors import Stopped

                raise Stopped("")
            time.sleep(0.005)
            if len(asked) == 2:
                return "found"
        return "never interrupted"

    collector, got = Collector(collect, 1), []
    waiting = threading.Thread(target=lambda: got.append(collector.get()))
    waiting.start()
    until(lambda: asked)
    with at_rest() as quiet:
        assert quiet and collector._thread is None
        time.sleep(0.12)
        assert len(asked) == 1
    waiting.join(5)
    assert got == ["found"]
    collector.close()


CHILD = """
import sys
import torch
from rsprune_lib.measure import latency
from rsprune_lib.models import create_model
small = create_model("resnet18", 4, width=0.25, seed=0)
if sys.argv[1] == "panel":
    sys.path.insert(0, "tests")
    from rsprune_lib.data import load_data
    from rsprune_lib.training import fit, recipe
    from rsprune_studio import PruningPanel, Setting, Studio
    data = load_data(sys.argv[2], root=sys.argv[3], progress=False)
    model = create_model("resnet18_se", data.num_classes, width=0.25, seed=0)
    model = fit(model, data, recipe("strong", epochs=1), progress=False).model
    studio = Studio(model, data, images=32, val_images=32, first=8, progress=False)
    panel = PruningPanel(studio, Setting("l2", recovery="live"))
    panel.settle()
    panel.go(Setting("l2", ratio=0.7, recovery="live"))  # and the next cell runs while it still computes
print("ready", flush=True)
for line in sys.stdin:
    print(min(latency(small, 64, repeats=40, warmup=5).rounds_ms), flush=True)
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no second OpenMP thread")
def test_a_cell_below_a_panel_times_as_a_fresh_process_does(tiny_folder, tmp_path):
    """Both processes are asked in turn; an idle thread that had used two cores would make the second 4 times slower."""
    names = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", CHILD]
    more = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    more["env"] = names | {"PYTHONPATH": str(ROOT)}
    fresh = subprocess.Popen([*command, "fresh"], **more)
    panel = subprocess.Popen([*command, "panel", str(tiny_folder), str(tmp_path)], **more)

    def asked(process):
        process.stdin.write("now\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    try:
        assert fresh.stdout.readline() == panel.stdout.readline() == "ready\n"
        pairs = [(asked(fresh), asked(panel)) for _ in range(5)]
        apart, below = (min(times) for times in zip(*pairs, strict=True))
        assert below < 2 * apart, pairs
    finally:
        for process in (fresh, panel):
            process.kill()
            process.communicate()
