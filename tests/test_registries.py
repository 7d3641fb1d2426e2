"""A criterion, a loss, a recovery or a selector is one entry: library, command line and studio find a new one by it."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.cli import main
from rsprune_lib.data import Augment
from rsprune_lib.entries import Entry, find, menu
from rsprune_lib.errors import PlanError, RspruneError
from rsprune_lib.pruning import CRITERIA, RECOVERIES, SELECTORS, Criterion, Request, prune
from rsprune_lib.training import LOSSES, fit, make_loss, recipe
from rsprune_studio import PruningPanel, Setting, Studio
from rsprune_studio.engine.tune_run import TuneOptions
from rsprune_studio.views.tune import TuneView


class Squared(torch.nn.Module):
    def __init__(self, label_smoothing=0.0, power=2.0):
        super().__init__()
        self.power = power

    def forward(self, logits, target):
        return (logits.softmax(1) - F.one_hot(target, logits.shape[1])).abs().pow(self.power).sum(1).mean()


def _first_go(case, *, reverse=False):
    return {g.name: torch.arange(g.size, 0, -1.0) if reverse else torch.arange(float(g.size)) for g in case.groups}


def _silent_bias(case):
    torch.nn.init.zeros_(case.small.fc.bias)
    return case.small


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setitem(CRITERIA, "toy_order", Criterion("order", "the channel's number", _first_go, (), "none"))
    monkeypatch.setitem(CRITERIA, "toy_gated", Criterion("", "its gate", _first_go, ("gates",)))
    monkeypatch.setitem(LOSSES, "toy_squared", Entry("squared error", "of the probabilities", Squared))
    monkeypatch.setitem(RECOVERIES, "toy_silent", Entry("no bias", "the classifier loses its bias", _silent_bias))
    ranked = Entry("toy", "the best half", lambda graph: graph.rank >= np.median(graph.rank), ("rank",))
    monkeypatch.setitem(SELECTORS, "toy_half", ranked)


@pytest.mark.parametrize(("command", "names"), [
    ("prune", ["toy_order", "toy_silent", "toy_half", "fpgm"]),
    ("train", ["toy_squared", "mining_code", "gfnet_h_s", "strong_finetune"]),
    ("finetune", ["toy_squared"]),
])  # fmt: skip
def test_help_names_all_entries(command, names, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in names) and not set(re.findall(r"{(\w+)}", text)) - {"DIR", "model"}


def test_prune_knows_a_new_criterion_its_options_and_a_new_recovery(tiny_se, tiny_data):
    given = {"criterion": "toy_order", "ratio": 0.5, "recovery": "toy_silent", "images": 8, "progress": False}
    done = prune(tiny_se, tiny_data, **given)
    assert done.plan.keep["conv1"] == (4, 5, 6, 7) and done.plan.how["normalise"] == "none"
    assert not done.model.fc.bias.any() and tiny_se.fc.bias.any()
    request = Request(**{key: value for key, value in given.items() if key != "progress"})
    again = prune(tiny_se, tiny_data, request, options={"reverse": True}, gates=done.gates, progress=False)
    assert again.plan.keep["conv1"] == (0, 1, 2, 3) and request.options == {}
    with pytest.raises(RspruneError, match="Unknown option of criterion toy_order 'mode'. Known: reverse"):
        Request("toy_order", ratio=0.5, options={"mode": 1})
    with pytest.raises(RspruneError, match="toy_order"):
        Request("toy_ordr", ratio=0.5)
    with pytest.raises(PlanError, match="toy_half.*rank"):
        Request("similarity", threshold=0.7, options={"selector": "toy_half"})


def test_a_new_selector_decides(tiny_se, tiny_data):
    how = {"selector": "toy_half", "rank": "toy_order"}
    given = {"criterion": "similarity", "threshold": 0.7, "recovery": "none", "images": 8, "progress": False}
    plan = prune(tiny_se, tiny_data, options=how, **given).plan
    assert plan.keep["conv1"] == (4, 5, 6, 7) and plan.how["selector"] == "toy_half" and how["rank"] == "toy_order"


def test_fit_knows_a_new_loss(tiny_se, tiny_data):
    run = recipe("strong", epochs=1, batch_size=16, augment=Augment(), half_size=0.0)
    assert fit(tiny_se, tiny_data, run, loss="toy_squared", limit=16, val_limit=8, progress=False).history
    assert make_loss("toy_squared", power=1.0).power == 1.0
    with pytest.raises(RspruneError, match="Unknown option of loss toy_squared 'gamma'"):
        make_loss("toy_squared", gamma=2)


def test_the_studio_offers_and_applies_them(tiny_se, tiny_data):
    studio = Studio(tiny_se, tiny_data, images=16, val_images=8, first=4, batch_size=8, progress=False)
    panel = PruningPanel(studio)
    controls, tune = panel.controls, TuneView(studio)
    try:
        assert ("order", "toy_order") in controls.criterion.options and ("l2", "l2") in controls.criterion.options
        assert ("no bias", "toy_silent") in controls.recovery.options
        assert ("toy", "toy_half") in controls.selector.options
        assert ("squared error", "toy_squared") in tune.loss.options and TuneOptions(loss="toy_squared")
        snapshot = studio.apply(Setting("toy_order", ratio=0.5, recovery="toy_silent"))
        assert snapshot.plan.keep["conv1"] == (4, 5, 6, 7)
        assert not studio.networks.recovered(snapshot).fc.bias.any()
        code = studio.code(snapshot.setting)
        assert 'criterion="toy_order"' in code and 'recovery="toy_silent"' in code
    finally:
        tune.close(), panel.close(), studio.close()


def test_the_studio_hands_options_to_any_criterion(tiny_se, tiny_data):
    studio = Studio(tiny_se, tiny_data, images=16, val_images=8, first=4, batch_size=8, progress=False)
    setting = Setting("toy_order", ratio=0.5, recovery="none", options_of={"toy_order": {"reverse": True}})
    assert setting.options == {"reverse": True} and Setting.from_dict(setting.to_dict()) == setting
    assert not studio.scoring.knows(setting)
    assert [studio.apply(one).plan.keep["conv1"] for one in (setting, Setting("toy_order", ratio=0.5))] == [
        (0, 1, 2, 3), (4, 5, 6, 7)
    ]  # fmt: skip
    assert studio.scoring.knows(setting) and studio.scoring.values_of(setting)["conv1"][0] == 8
    assert "options={'reverse': True}" in studio.code(setting)
    assert replace(setting, criterion="l2").options == {}
    with pytest.raises(RspruneError, match="Unknown option of criterion toy_order 'k'. Known: reverse"):
        Setting(options_of={"toy_order": {"k": 1}})
    with pytest.raises(RspruneError, match="for the options of 'toy_order'; expected a table"):
        Setting(options_of={"toy_order": 3})
    studio.close()


def test_options_of_feature_maps_reach_scores_and_graph(tiny_se, tiny_data):
    studio = Studio(tiny_se, tiny_data, images=8, val_images=8, first=4, batch_size=8, progress=False)
    given, seen = {"options_of": {"similarity": {"mean_term": False}}, "recovery": "none"}, []
    for selector in ("nested", "scored"):
        setting = Setting("similarity", ratio=0.5, selector=selector, **given)
        one, other = studio.apply(setting).plan, studio.apply(replace(setting, options_of={})).plan
        direct = prune(
            tiny_se, tiny_data, criterion="similarity", ratio=0.5, images=8, batch_size=8, recovery="none",
            gates=studio.gates, progress=False,
            options={"mean_term": False} | ({} if selector == "nested" else {"selector": selector, "rank": "l1"}),
        )  # fmt: skip
        assert one.keep == direct.plan.keep
        seen.append(one.keep != other.keep)
        assert "'mean_term': False" in studio.code(setting)
    assert any(seen)
    studio.close()


def test_a_network_without_gates_is_not_judged_by_them(tiny_data):
    from rsprune_lib.models import create_model

    studio = Studio(create_model("vgg16", 4, width=0.125, seed=0), tiny_data, images=8, progress=False)
    assert studio.criteria[0] == "l2" and not {"attention", "toy_gated"} & set(studio.criteria)
    studio.close()


def test_menus_and_errors_come_from_the_entries():
    assert dict(menu(LOSSES))["mining, as its code has it"] == "mining_code"
    assert menu(CRITERIA, ["l2", "toy_order"]) == [("l2", "l2"), ("order", "toy_order")]
    with pytest.raises(RspruneError, match="Unknown loss 'focl'; did you mean 'focal'"):
        find("loss", LOSSES, "focl")


@pytest.mark.parametrize(
    ("kind", "known", "name", "options"),
    [
        ("recovery", RECOVERIES, "closed_form", {"ridge": "nan"}),
        ("recovery", RECOVERIES, "closed_form", {"ridge": float("nan")}),
        ("recovery", RECOVERIES, "closed_form", {"rectify": {"a": 1}}),
        ("criterion", CRITERIA, "tmm", {"k": 2.5}),
        ("criterion", CRITERIA, "class_taylor", {"minority": "all"}),
        ("criterion", CRITERIA, "l1", {"consumers": "no"}),
        ("loss", LOSSES, "mining", {"r1": [1]}),
        ("loss", LOSSES, "body_edge_log", {"radius": "two"}),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_the_option(kind, known, name, options):
    with pytest.raises(RspruneError, match=f"^The option {next(iter(options))} of {kind} {name} is"):
        find(kind, known, name, options)


def test_values_that_an_option_allows_pass():
    for known in (CRITERIA, RECOVERIES, LOSSES):
        for name, entry in known.items():
            find("entry", known, name, {option: value for option, value in entry.options.items() if value is not None})
    find("criterion", CRITERIA, "class_taylor", {"minority": [2, 7], "per_image": None})
    find("recovery", RECOVERIES, "closed_form", {"ridge": 0})


def test_numbers_of_a_recovery_have_a_range():
    for repairing in ({"ridge": -1.0}, {"rectify": 10**9}, {"rectify": -1}):
        with pytest.raises(RspruneError, match="of the recovery is .* but must be from 0 to"):
            Request(ratio=0.5, recovery="closed_form", repairing=repairing)
