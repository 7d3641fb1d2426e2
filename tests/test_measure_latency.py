"""Latency: what is timed and what is left alone. No test depends on how fast this machine is."""

import copy
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


def pretended(rounds, busy=False):
    return Latency(sorted(rounds)[len(rounds) // 2], 0.0, 1, 1, "pretended", len(rounds), tuple(rounds), busy)


@pytest.mark.parametrize(
    ("dense", "pruned", "words"),
    [
        ([8, 8.2, 8.1, 12], [2, 2.1, 2, 3], "4.0 times as fast"),
        ([8, 16, 8, 16, 8], [4, 8, 4, 8, 4], "2.0 times as fast"),  # what disturbs both in one round cancels
        ([1, 1, 1], [1.25, 1.25, 1.3], "slower (0.80 times the speed)"),
        ([1, 1.05, 0.98, 1.02], [1, 1, 1, 1], "about as fast"),
        ([8, 3, 9, 2], [4, 4, 3, 3.5], "not clear: this machine is busy"),
    ],
)
def test_a_factor_is_named_where_it_is_larger_than_its_spread(dense, pruned, words):
    assert str(Speed.of(pretended(dense), pretended(pruned))) == words


def test_no_factor_is_named_of_a_busy_machine_and_of_times_of_two_moments():
    dense, pruned = pretended([8, 8, 8]), pretended([2, 2, 2], busy=True)
    assert str(Speed.of(dense, pruned)) == "not clear: this machine is busy"
    with pytest.raises(RspruneError, match="3 and of 2 rounds.*in turn"):
        Speed.of(dense, pretended([2, 2]))


def test_programs_that_burn_all_cores_are_noticed():
    """Two processes a core compute: a third of the time is left for the network."""
    model = create_model("resnet18", 4, width=0.5, seed=0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    burn = "import time\nend = time.monotonic() + 40\nwhile time.monotonic() < end: pass"
    programs = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2 * cores)]
    try:
        time.sleep(0.5)
        slow, fast = latencies([model, create_model("resnet18", 4, width=0.25, seed=0)], 96, rounds=4)
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
