"""A budget in milliseconds: measured on exported networks, met by the last try, refused where nothing fits."""

from types import SimpleNamespace

import pytest
import torch

from rsprune_lib.bundle import save_bundle
from rsprune_lib.cli import main
from rsprune_lib.commands import export
from rsprune_lib.commands import prune as commands
from rsprune_lib.data import load_data
from rsprune_lib.deploy import Facts, budget, ratio_within
from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import Latency
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Plan, Request


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
        assert len(images) == 40
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
    with pytest.raises(RspruneError, match=r"Even without 9[0-9]% of its channels, .* ms, more than 0.001"):
        tried(0.001)
    with pytest.raises(RspruneError, match="Even without [1-6][0-9]% of its channels"):  # fewer go in 64s
        tried(0.001, request=Request(ratio=0.95, criterion="l1", choosing={"multiple_of": 64}))
    with pytest.raises(RspruneError, match="Got a budget of -1 ms"):
        tried(-1)


def test_few_validation_images_are_timed_again_and_again(tried, monkeypatch):
    monkeypatch.setattr(budget, "timing_images", lambda *_: torch.zeros(3, 3, 64, 64))
    assert tried(11.0)[-1].ratio == 0


def test_one_amount_at_a_time(capsys):
    assert main(["prune", "nowhere", "--out", "x", "--ratio", "0.5", "--budget-ms", "1"]) == 2
    assert "--budget-ms and --plan, not 2" in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(("more", "step"), [((), 8), (("--multiple-of", "1"), 1), (("--multiple-of", "4"), 4)])
def test_what_is_pruned_for_a_budget_has_widths_in_eights(more, step, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(commands, "_within", lambda ms, request, *_: asked.append(request) or request)
    folder, data = tmp_path / "dense", load_data("synthetic", progress=False)
    model = create_model("resnet18", data.num_classes, width=0.25, seed=0).eval()
    save_bundle(folder, model, data=data.info(), provenance={}, measured={})
    given = ["prune", str(folder), "--recovery", "none", "--images", "8", "--out"]
    assert main([*given, str(tmp_path / "small"), "--budget-ms", "5", *more]) == 0
    assert ("multiples of 8, which" in capsys.readouterr().err) == (not more)
    assert asked[0].choosing == {"multiple_of": step}
    widths = Plan.load(tmp_path / "small" / "plan.json").widths.values()
    assert all(width % step == 0 for width in widths) and (step > 1 or any(width % 2 for width in widths))
    assert main([*given, str(tmp_path / "plain"), "--ratio", "0.7"]) == 0  # as published
    assert any(width % 8 for width in Plan.load(tmp_path / "plain" / "plan.json").widths.values())


@pytest.mark.parametrize(("kept", "size", "hint"), [(5, 16, "1 of 2 groups"), (8, 16, ""), (5, 8, "")])
def test_an_export_says_where_other_widths_would_be_faster(kept, size, hint, capsys):
    plan = Plan({}, {"a": tuple(range(kept)), "b": (0,)}, {"a": size, "b": 4})
    export._hint_at_widths(SimpleNamespace(plan=plan))
    err = capsys.readouterr().err
    assert hint in err and bool(err) == bool(hint)
    export._hint_at_widths(SimpleNamespace(plan=None))


def test_a_budget_is_met_on_a_real_export(tmp_path):
    data = load_data("synthetic", progress=False)
    model = create_model("resnet18", data.num_classes, width=0.125, seed=0).eval()
    facts = Facts(tuple(data.classes), tuple(data.mean), tuple(data.std), (data.image_size,) * 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (whole,) = ratio_within(1e6, model, data, facts)
    assert whole.ratio == 0 and 0 < whole.ms < 1e6
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
