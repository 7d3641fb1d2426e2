"""Latency: what is timed and what is left alone. No test depends on how fast this machine is."""

import copy

import pytest
import torch

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import latency
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
