"""Latency: what is timed and what is left alone. No test depends on how fast this machine is."""

import copy
import itertools
import os
import subprocess
import sys
import time

import pytest
import torch

from rsprune_lib.background import register
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Latency, Speed, latencies, latency
from rsprune_lib.measure.latency import time as clock
from rsprune_lib.models import create_model


@pytest.fixture
def model():
    return create_model("resnet18_se", 4, width=0.125, seed=0).train()


def test_median_and_quartiles_of_the_timed_passes_only(model, monkeypatch):
    """A clock on which the passes take 1, 2, 3, 4 and 100 ms, after two warm-up passes."""
    ticks = [0.0]
    for milliseconds in (1, 2, 3, 4, 100):
        ticks += [ticks[-1] + milliseconds / 1000, ticks[-1] + milliseconds / 1000 + 7]
    remaining = iter(ticks)
    monkeypatch.setattr(clock, "perf_counter", lambda: next(remaining))
    passes = []
    model.register_forward_hook(lambda module, inputs, output: passes.append((inputs[0], module)))
    measured = latency(model, 32, batch=2, repeats=5, warmup=2)
    assert measured.median_ms == pytest.approx(3) and measured.iqr_ms == pytest.approx(2)
    assert (measured.batch, measured.repeats) == (2, 5)
    assert measured.images_per_second == pytest.approx(2 / 0.003)
    assert len(passes) == 7


def test_passes_run_on_a_copy_in_inference_mode(model):
    state, seen = copy.deepcopy(model.state_dict()), []

    def look(module, inputs, output):
        layout = inputs[0].is_contiguous(memory_format=torch.channels_last)
        seen.append((module is model, module.training, torch.is_inference_mode_enabled(), layout, inputs[0].shape[0]))

    model.register_forward_hook(look)
    latency(model, 32, batch=2, repeats=1, warmup=0)
    latency(model, 32, batch=2, repeats=1, warmup=0, channels_last=False)
    assert seen == [(False, False, True, True, 2), (False, False, True, False, 2)]
    assert model.training and model.conv1.weight.is_contiguous()
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))


def test_threads_are_set_stated_and_restored(model):
    before, inside = torch.get_num_threads(), []
    model.register_forward_hook(lambda *_: inside.append(torch.get_num_threads()))
    measured = latency(model, 32, threads=before + 1, repeats=1, warmup=0)
    assert inside == [before + 1] and measured.threads == before + 1
    assert torch.get_num_threads() == before
    assert latency(model, 32, repeats=1, warmup=0).threads == before


def test_threads_are_restored_when_the_pass_fails(model):
    before = torch.get_num_threads()
    model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        latency(model, 32, threads=before + 1, repeats=1)
    assert torch.get_num_threads() == before


def test_device_is_stated(model):
    measured = latency(model, 32, device="cpu", repeats=1, warmup=0)
    assert "cores" in measured.device


def test_images_have_the_channels_of_the_network():
    once = {"repeats": 1, "warmup": 0}
    latency(create_model("resnet18", 4, in_channels=5, width=0.125), 32, **once)
    latency(torch.nn.Conv2d(5, 2, 1), 8, in_channels=5, **once)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"repeats": 0}, "repeats=0"),
        ({"warmup": -1}, "warmup=-1"),
        ({"threads": 0}, "threads=0"),
        ({"batch": 0}, "0 images"),
    ],
)
def test_bad_arguments_are_one_clear_sentence(model, arguments, sentence):
    with pytest.raises(RspruneError, match=sentence):
        latency(model, 32, **arguments)


class Wait(torch.nn.Module):
    """A network that writes down when its turn is."""

    def __init__(self, log, name, model):
        super().__init__()
        self.log, self.name, self.inner, self.config = log, name, model, model.config
        self.units = model.units

    def __deepcopy__(self, memo):
        return Wait(self.log, self.name, copy.deepcopy(self.inner))

    def forward(self, images):
        self.log.append(self.name)
        return self.inner(images)


def test_networks_are_timed_in_turn(model):
    log = []
    slow, fast = latencies([Wait(log, "a", model), Wait(log, "b", model)], 32, rounds=4)
    turns = [name for name, before in zip(log, [None, *log], strict=False) if name != before]
    assert turns == ["a", "b"] * 4
    assert len(slow.rounds_ms) == len(fast.rounds_ms) == 4 and slow.least_ms <= slow.median_ms
    with pytest.raises(RspruneError, match="rounds=0"):
        latencies([model], 32, rounds=0)


@pytest.fixture
def pretend(monkeypatch):
    """Sets clocks on which the passes take these milliseconds, over and over; of each, its thread computes a share."""

    def start(walls, shares=(1.0,)):
        state, walls, shares = {"wall": 0.0, "own": 0.0, "last": 0.0}, itertools.cycle(walls), itertools.cycle(shares)
        asked = {"wall": itertools.cycle((False, True)), "own": itertools.cycle((False, True))}

        def wall():
            if next(asked["wall"]):  # the second time: a pass has ended
                state["last"] = next(walls) / 1000
                state["wall"] += state["last"]
            return state["wall"]

        def own():
            state["own"] += next(shares) * state["last"] if next(asked["own"]) else 0.0
            return state["own"]

        monkeypatch.setattr(clock, "perf_counter", wall)
        monkeypatch.setattr(clock, "thread_time", own)

    return start


def test_timing_ends_when_it_has_taken_long_enough_but_not_before_the_third(model, pretend):
    pretend([6])
    assert latency(model, 32, at_most_ms=22, warmup=0).repeats == 4
    assert latency(model, 32, at_most_ms=1, warmup=0).repeats == 3
    assert latency(model, 32, repeats=6, warmup=0).repeats == 6
    pretend([6])  # two passes of a network, 12 ms, are a round
    for most, rounds in ((40, 4), (1, 3), (None, 10)):
        found = latencies([model, model], 32, at_most_ms=most)
        assert [len(one.rounds_ms) for one in found] == [rounds, rounds] and found[0].repeats == 2 * rounds


def test_the_shortest_pass_of_a_round_stands_for_it(model, pretend):
    pretend([4, 2, 3, 7, 8])  # three passes, then two that fill ten milliseconds
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    (found,) = latencies([model], 32, rounds=2)
    assert len(passes) == 4 + 3, "the first of each round is not timed"
    assert found.rounds_ms == pytest.approx((2, 7)) and found.least_ms == pytest.approx(2)
    assert found.median_ms == pytest.approx(4) and found.iqr_ms == pytest.approx(4)


@pytest.mark.parametrize(
    ("shares", "busy"), [((0.9,), False), ((0.7,), True), ((0.7, 0.9), False), ((0.7, 0.7, 1), True)]
)
def test_a_time_is_doubtful_where_others_computed_in_most_rounds(model, pretend, shares, busy):
    pretend([20], shares)  # a pass a round
    (found,) = latencies([model], 32, rounds=6)
    assert found.busy is busy


def pretended(rounds, busy=False):
    return Latency(sorted(rounds)[len(rounds) // 2], 0.0, 1, 1, "pretended", len(rounds), tuple(rounds), busy)


def test_a_factor_is_the_median_of_the_rounds_between_their_quartiles():
    found = Speed.of(pretended([1, 2, 3, 4, 10]), pretended([1] * 5))
    assert (found.low, found.factor, found.high) == (2, 3, 4)


@pytest.mark.parametrize(
    ("dense", "pruned", "words"),
    [
        ([8, 8.2, 8.1, 12], [2, 2.1, 2, 3], "4.0 times as fast"),
        ([8, 16, 8, 16, 8], [4, 8, 4, 8, 4], "2.0 times as fast"),  # what disturbs both in one round cancels
        ([1, 1, 1], [1.25, 1.25, 1.3], "slower (0.80 times the speed)"),
        ([1, 1.05, 0.98, 1.02], [1, 1, 1, 1], "about as fast"),
        ([1.08, 1.09, 1.08], [1, 1, 1], "about as fast"),
        ([1.15, 1.16, 1.15], [1, 1, 1], "1.1 times as fast"),
        ([0.5, 0.6, 0.6, 0.9, 0.8, 0.7], [1] * 6, "slower (0.65 times the speed)"),  # 0.6 to 0.775: 1.29 < 1 / 0.65
        ([0.7, 1.4, 1, 0.7, 1.4], [1] * 5, "not clear: this machine is busy"),  # 1.0 in the middle says nothing
        ([0.4, 0.35, 0.9, 0.95, 0.6, 0.6], [1] * 6, "not clear: this machine is busy"),  # a factor 1.8 apart
        ([8, 3, 9, 2], [4, 4, 3, 3.5], "not clear: this machine is busy"),
    ],
)
def test_a_factor_is_named_where_it_is_larger_than_its_spread(dense, pruned, words):
    assert str(Speed.of(pretended(dense), pretended(pruned))) == words


def test_no_factor_is_named_of_a_busy_machine_and_of_times_of_two_moments():
    dense, pruned = pretended([8, 8, 8]), pretended([2, 2, 2], busy=True)
    assert str(Speed.of(dense, pruned)) == "not clear: this machine is busy"
    assert str(Speed.of(pretended([8, 8, 8], busy=True), pretended([2, 2, 2]))) == "not clear: this machine is busy"
    with pytest.raises(RspruneError, match="3 and of 2 rounds.*in turn"):
        Speed.of(dense, pretended([2, 2]))


def test_programs_that_burn_all_cores_are_noticed():
    """Three processes a core compute: a quarter of the time is left, for passes longer than one slice of it."""
    model = create_model("resnet18", 4, width=0.5, seed=0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    burn = "import time\nend = time.monotonic() + 40\nwhile time.monotonic() < end: pass"
    programs = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(3 * cores)]
    try:
        time.sleep(0.5)
        slow, fast = latencies([model, create_model("resnet18", 4, width=0.25, seed=0)], 256, rounds=4)
        assert str(Speed.of(slow, fast)) == "not clear: this machine is busy"
    finally:
        for program in programs:
            program.kill()
            program.wait()


def test_workers_rest_while_something_is_timed(model):
    """Each rests before the first pass and goes on afterwards; one that cannot rest makes the time a doubtful one."""
    log, done = [], [True]

    class Slow:
        def rest(self):
            log.append("rest")
            return done[0]

        def resume(self):
            log.append("resume")

    worker = Slow()
    register(worker)
    model.register_forward_hook(lambda *_: log.append("pass"))
    latency(model, 32, repeats=1, warmup=0)
    assert log == ["rest", "pass", "resume"]
    done[0] = False
    assert latency(model, 32, repeats=1, warmup=0).busy
    assert log[-1] == "resume"
    del worker
