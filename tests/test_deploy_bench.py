"""Networks in every runtime: the same images, in turn; accuracy of what really ran; no winner where none is clear."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.bundle import save_bundle
from rsprune_lib.cli import main
from rsprune_lib.commands.bench import _sizes
from rsprune_lib.data import Batches, load_data
from rsprune_lib.deploy import RUNTIMES, BenchRow, Candidate, Facts, Timing, fastest, in_turn, judge, usable
from rsprune_lib.deploy.runtimes import Run
from rsprune_lib.device import supports_bf16
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import EarlyExit, ExitRule, Latency, evaluate, measure, provenance, runs_in_turn
from rsprune_lib.models import add_exits, create_model


@pytest.fixture(scope="module")
def data():
    return load_data("synthetic", progress=False)


@pytest.fixture(scope="module")
def model(data):
    return create_model("resnet18", data.num_classes, width=0.125, seed=0).eval()


def saved(folder: Path, model: nn.Module, data, **more) -> Path:
    numbers = measure("tiny", model, None, image_size=data.image_size, timed=False).to_dict()
    del numbers["provenance"]
    origin = provenance(data.info(), seed=0)
    return save_bundle(
        folder, model, data=data.info(), provenance=origin, measured=numbers, command="rsprune x", **more
    )


def facts(data) -> Facts:
    return Facts(tuple(data.classes), tuple(data.mean), tuple(data.std), (data.image_size,) * 2)


def test_a_runtime_takes_pixels_and_is_as_good_as_the_network(model, data, tmp_path):
    """The normalisation is inside, and undone exactly where batches come normalised."""
    candidate = Candidate("tiny", model, facts(data), saved(tmp_path / "tiny", model, data))
    batches = Batches(data, "val", 64, limit=64)
    for name in ("eager", "channels_last"):
        found = judge(RUNTIMES[name].load(candidate, 1), batches, data.task)
        assert found.nll == pytest.approx(evaluate(model, batches, progress=False).nll, abs=1e-5)


@pytest.mark.skipif(not supports_bf16(torch.device("cpu")), reason="this processor does not compute in bfloat16")
@pytest.mark.parametrize("leaves", [False, True])
def test_bfloat16_takes_the_same_pixels(model, data, tmp_path, leaves):
    rule = ExitRule("max_probability", (0.0,))
    network = EarlyExit(add_exits(model, ["layer1"]).eval(), rule) if leaves else model
    more = {"exits": {"rule": rule.to_dict()}} if leaves else {}
    folder = saved(tmp_path / "tiny", network.model if leaves else model, data, **more)
    images, candidate = torch.rand(4, 3, 64, 64), Candidate("tiny", network, facts(data), folder)
    exact, rounded = (RUNTIMES[name].load(candidate, 1)(images) for name in ("eager", "bf16"))
    assert (
        rounded.dtype == torch.float32 and torch.allclose(exact, rounded, atol=0.05) and not torch.equal(exact, rounded)
    )


def test_rows_are_judged_on_the_images_that_are_given(model, data, tmp_path):
    candidate, part = (
        Candidate("tiny", model, facts(data), saved(tmp_path / "tiny", model, data)),
        Batches(data, "test", 64),
    )
    (row,) = in_turn([candidate], ["eager"], torch.rand(4, 3, 64, 64), part, batches=(1,), rounds=2, progress=False)
    wanted = evaluate(model, part, progress=False)
    assert row.quality.nll == pytest.approx(wanted.nll, abs=1e-5) and row.quality.per_class == pytest.approx(
        wanted.per_class
    )


def test_what_leaves_early_is_judged_by_the_answer_it_gives(model, data, tmp_path):
    rule = ExitRule("max_probability", (0.0,))
    network = EarlyExit(add_exits(model, ["layer1"]).eval(), rule)  # all leave at once
    folder = saved(tmp_path / "exits", network.model, data, exits={"rule": rule.to_dict()})
    run = RUNTIMES["eager"].load(Candidate("exits", network, facts(data), folder), 1)
    images = torch.rand(4, 3, data.image_size, data.image_size)
    normal = (images - torch.tensor(data.mean).view(1, 3, 1, 1)) / torch.tensor(data.std).view(1, 3, 1, 1)
    with torch.inference_mode():
        assert torch.allclose(run(images), network.model(normal)[0], atol=1e-4)


def test_all_rows_see_the_same_images_in_turn():
    seen = []
    runs = [lambda x, n=n: seen.append((n, x[0, 0, 0, 0].item())) for n in range(2)]
    found = runs_in_turn(runs, torch.arange(8.0).view(8, 1, 1, 1), batch=2, rounds=2)
    assert seen == [(n, x) for start in (0, 4) for n in (0, 1) for x in (start, start, start + 2)]
    assert [len(one.rounds_ms) for one in found] == [2, 2]


def test_a_runtime_with_threads_of_its_own_is_watched_by_its_own_clock():
    computing = lambda x: time.sleep(0.002)  # noqa: E731 - the thread that calls does not compute
    watched = Run(computing, 0, clock=time.perf_counter)
    plain, own = runs_in_turn([computing, watched], torch.zeros(6, 1, 1, 1), rounds=3)
    assert plain.busy and not own.busy
    assert min(own.own_rounds_ms) >= 2 and max(plain.own_rounds_ms) < 2


def took(rounds, own=None, busy=False):
    return Latency(float(np.median(rounds)), 0.1, 1, 1, "cpu", len(rounds), tuple(rounds), busy, tuple(own or rounds))


def rows(*all_rounds, **options):
    first = took(all_rounds[0], **options)
    return [
        BenchRow(f"n{k}", "onnx", 1, {1: Timing.of(took(rounds, **options), first)})
        for k, rounds in enumerate(all_rounds)
    ]


def test_no_winner_where_the_spread_is_wider_than_the_difference():
    assert "fastest is n1, ONNX Runtime" in fastest(rows([9, 9.2, 9.1], [3, 3.1, 2.9]), 1)
    text = fastest(rows([9, 9.2, 9.1], [3, 6, 2], [5, 2, 4]), 1)
    assert "no winner" in text and "n1" in text and "n2" in text and "n0" not in text
    assert "no winner" in fastest(rows([3, 3.1, 3.2], [3.1, 3.2, 3.1]), 1)


def test_on_a_busy_machine_the_milliseconds_of_computing_are_compared():
    first = took([10, 40, 10], own=[8, 8, 8], busy=True)
    other = Timing.of(took([40, 10, 10], own=[2, 2, 2], busy=True), first)
    assert other.words == "4.0 times as fast, computing" and other.factor == pytest.approx(4) and other.own_ms == 2
    unclear = Timing.of(took([1, 1, 1], own=[9, 4, 8], busy=True), first)
    assert "not clear" in unclear.words
    quiet = Timing.of(took([2, 2, 2], own=[9, 9, 9]), took([8, 8, 8], own=[1, 1, 1]))
    assert quiet.words == "4.0 times as fast"


def test_runtimes_that_cannot_run_here_say_why(monkeypatch):
    with pytest.raises(RspruneError, match="did you mean 'onnx'"):
        usable(["onxx"])
    monkeypatch.setattr("rsprune_lib.deploy.runtimes.find_spec", lambda name: None)
    names, missing = usable()
    assert {"eager", "channels_last"} <= set(names) and "pip install 'rsprune[openvino]'" in missing["openvino_int8"]
    with pytest.raises(RspruneError, match="onnx_int8 cannot run here: onnxruntime is not installed"):
        usable(["eager", "onnx_int8"])


def test_a_runtime_without_its_file_is_one_sentence(model, data, tmp_path):
    candidate = Candidate("tiny", model, facts(data), saved(tmp_path / "tiny", model, data))
    with pytest.raises(RspruneError, match="tiny has no exported file for the runtime onnx"):
        in_turn([candidate], ["onnx"], torch.zeros(1, 3, 64, 64), progress=False)


@pytest.fixture(scope="module")
def pair(model, data, tmp_path_factory):
    home = tmp_path_factory.mktemp("pair")
    small = create_model("resnet18", data.num_classes, width=0.0625, seed=0).eval()
    return saved(home / "one", model, data), saved(home / "other", small, data)


def bench(*arguments):
    return main(["bench", *map(str, arguments), "--images", "8", "--limit", "16"])


def test_the_command_writes_table_numbers_and_figure(pair, tmp_path, capsys):
    out = tmp_path / "out"
    given = ("--runtime", "eager", "--runtime", "channels_last", "--batch", 1, "--batch", 4, "--json", "--out", out)
    assert bench(*pair, *given) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(row["network"], row["runtime"]) for row in printed["rows"]] == [
        (name, runtime) for name in ("one", "other") for runtime in ("eager", "channels_last")
    ]
    stored = json.loads((out / "bench.json").read_text())
    assert stored["rows"][0]["times"].keys() == {"1", "4"} and stored["rows"][3]["n"] == 16
    assert stored["provenance"]["threads"] == 1 and stored["synthetic"]
    assert "| one | PyTorch, as it is |" in (out / "bench.md").read_text()
    assert (out / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert bench(*pair, "--runtime", "eager", "--out", out) == 1  # an earlier run is not replaced
    assert "pass --force" in capsys.readouterr().err


def test_few_images_are_timed_one_by_one():
    assert _sizes(None, 31) == [1] and _sizes(None, 32) == [1, 32] and _sizes([8, 1, 8], 8) == [1, 8]
    with pytest.raises(RspruneError, match="batches of 9 and 8 images to time on; give smaller"):
        _sizes([9, 1], 8)


def test_what_cannot_be_compared_is_refused(pair, model, tmp_path, capsys):
    assert bench(pair[0], pair[0], "--runtime", "eager") == 1
    assert "Two bundles are called one" in capsys.readouterr().err
    assert bench(pair[0], "--split", "all") == 1
    assert "Unknown part 'all'" in capsys.readouterr().err
    assert bench(pair[0], "--runtime", "tensorrt") == 1
    assert "Unknown runtime 'tensorrt'" in capsys.readouterr().err
    assert bench(pair[0], "--runtime", "eager", "--batch", 16) == 1
    assert "8 images" in capsys.readouterr().err
