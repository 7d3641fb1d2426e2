"""A budget in milliseconds: measured on exported networks, met by the last try, refused where nothing fits."""

from types import SimpleNamespace

import pytest
import torch

from rsprune_lib.cli import main
from rsprune_lib.data import load_data
from rsprune_lib.deploy import Facts, budget, ratio_within
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Latency
from rsprune_lib.models import create_model


@pytest.fixture
def tried(monkeypatch):
    """Networks are cut for real; export and clock are played: a network takes as long as it has parameters."""
    data, seen = load_data("synthetic", progress=False), []
    model = create_model("resnet18", data.num_classes, width=0.25, seed=0).eval()
    whole = sum(p.numel() for p in model.parameters())

    def export(small, facts, path, images):
        seen.append(sum(p.numel() for p in small.parameters()) / whole)
        return SimpleNamespace(path=path)

    def clock(runs, images, **_):
        ms = 10 * seen[-1]
        return [Latency(ms, 0, 1, 1, "cpu", 3, (ms,) * 3, False, (99.0,) * 3)]

    monkeypatch.setattr(budget, "export_onnx", export)
    monkeypatch.setattr(budget, "runs_in_turn", clock)
    monkeypatch.setattr(budget, "RUNTIMES", {"onnx": SimpleNamespace(load=lambda candidate, threads: None)})
    facts = Facts(tuple(data.classes), tuple(data.mean), tuple(data.std), (data.image_size,) * 2)
    return lambda ms, **options: ratio_within(ms, model, data, facts, **options)


def test_the_last_try_fits_and_uses_most_of_the_budget(tried):
    found = tried(3.0)
    assert 0.85 * 3 <= found[-1].ms <= 3 and len(found) <= 7
    assert [one.ratio for one in found[:1]] == [0.0] and 0.3 < found[-1].ratio < 0.6
    assert all(one.ms > 3 or one.ratio >= found[-1].ratio for one in found)  # no gentler cut that fits was seen


def test_a_network_that_fits_stays_whole_and_one_that_cannot_is_refused(tried):
    assert [one.ratio for one in tried(11.0)] == [0.0]
    with pytest.raises(RspruneError, match=r"Even without 95% of its channels .* ms, more than 0.001"):
        tried(0.001)
    with pytest.raises(RspruneError, match="Got a budget of -1 ms"):
        tried(-1)


def test_one_amount_at_a_time(capsys):
    assert main(["prune", "nowhere", "--out", "x", "--ratio", "0.5", "--budget-ms", "1"]) == 2
    assert "--budget-ms and --plan, not 2" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_budget_is_met_on_a_real_export(tmp_path):
    data = load_data("synthetic", progress=False)
    model = create_model("resnet18", data.num_classes, width=0.125, seed=0).eval()
    facts = Facts(tuple(data.classes), tuple(data.mean), tuple(data.std), (data.image_size,) * 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (whole,) = ratio_within(1e6, model, data, facts)
    assert whole.ratio == 0 and 0 < whole.ms < 1e6
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
