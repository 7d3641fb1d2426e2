"""The tab of early exits: what it fits, shows, solves for and times."""

import numpy as np
import pytest
import torch

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import ExitRule, latencies_on
from rsprune_lib.models import add_exits, create_model
from rsprune_studio import Setting, Studio, lesson_panel
from rsprune_studio.draw import exits as draw
from rsprune_studio.engine import exits as engine
from rsprune_studio.views.exits import ExitView


@pytest.fixture(scope="module")
def studio(tiny_data):
    torch.manual_seed(0)
    model = create_model("resnet18", tiny_data.num_classes, width=0.125, seed=0)
    return Studio(model, tiny_data, val_images=24, images=16, progress=False)


@pytest.fixture(scope="module")
def snapshot(studio):
    return studio.final(Setting("l2", ratio=0.3, recovery="bn"))


@pytest.fixture(scope="module")
def study(studio, snapshot):
    return engine.make_study(studio, snapshot, 2, images=40)


def test_a_study_is_of_the_pruned_network_and_changes_nothing_of_it(studio, snapshot, study):
    network = studio.networks.recovered(snapshot)
    assert not hasattr(network, "exits") and study.count == 2 and study.fitted == 40
    images = torch.cat([x for x, _ in studio.trained.batches(study.images, None)])
    with torch.inference_mode():
        assert torch.allclose(network(images), study.records[:, -1], atol=1e-4)
    assert torch.equal(study.labels, torch.as_tensor(studio.data.labels[study.images]).long())
    assert set(study.images) == set(studio.validation.indices)


def test_thresholds_are_solved_for_on_other_images_than_those_shown(study):
    shown, back = study.images[study.shown], study.images[study.kept_back]
    assert len(shown) + len(back) == len(study.images) and not set(shown) & set(back)
    half = study.records.clone()
    half[study.shown] = 0  # what is shown must not matter
    other = engine.ExitStudy(study.network, half, study.labels, study.images, study.costs, study.key, study.fitted)
    for goal, amount in (("accuracy", 0.0), ("promise", 0.6), ("cost", 0.9)):
        assert engine.solve(study, "margin", goal, amount) == engine.solve(other, "margin", goal, amount)
    with pytest.raises(RspruneError, match="the best promise that so many images can carry"):
        engine.solve(study, "margin", "promise", 0.001)
    with pytest.raises(RspruneError, match="known: accuracy, promise, cost"):
        engine.solve(study, "margin", "speed", 0.5)


def test_numbers_are_those_of_the_images_that_left(study):
    nobody, everybody = (study.judge(ExitRule("margin", (cut,) * 2)) for cut in (2.0, -1.0))
    assert nobody.outcome.cost == 1 and nobody.quality.nll == nobody.whole.nll and set(nobody.left) == {2}
    assert everybody.outcome.cost == pytest.approx(study.costs[0] / study.costs[-1])
    first = study.records[study.shown, 0].argmax(1) == study.labels[study.shown]
    assert everybody.quality.accuracy == pytest.approx(first.double().mean().item())
    assert study.alone()[0] == (pytest.approx(everybody.outcome.cost), pytest.approx(everybody.quality.accuracy))


def test_own_exits_of_a_network_are_kept(tiny_data):
    model = add_exits(create_model("resnet18", tiny_data.num_classes, width=0.125, seed=0), ["layer2"])
    studio = Studio(model, tiny_data, val_images=16, images=16, progress=False)
    found = engine.make_study(studio, studio.final(Setting("l2", ratio=0.0, recovery="none")), 3)
    assert found.fitted is None and found.network.exits.places == ("layer2",)


def test_time_is_measured_on_real_images_with_and_without_exits(studio, study, monkeypatch):
    seen = []

    def watched(networks, images, **how):
        seen.append((networks, images, how))
        return latencies_on(networks, images, **how)

    monkeypatch.setattr(engine, "latencies_on", watched)
    times = engine.time_exits(studio, study, ExitRule("margin", (-1.0, -1.0)), batches=(1, 4))
    assert set(times) == {1, 4}
    for networks, images, how in seen:
        assert not hasattr(networks[0], "exits") and how["threads"] == 1
        shown = torch.cat([x for x, _ in studio.trained.batches(study.images[study.shown], None)])
        assert torch.equal(images, shown)


def test_the_tab_fits_moves_solves_and_knows_when_it_is_out_of_date(studio, tiny_data):
    panel = lesson_panel(studio, "exits")
    panel.settle()
    view = panel.parts["Exits"]
    assert view.active and "No exits yet" in view.status.value and view._moves.layout.display == "none"
    view.count.value = 2
    view.fit()
    view.settle()
    assert "Fitted 2 exits" in view.status.value and view._moves.layout.display == ""
    assert view.rule == ExitRule("max_probability", (0.95,) * 2)
    view.doubts[0].value = 1.0
    assert view.judged.outcome.rates == (1.0, 0.0, 0.0) and "100% at exit 1" in view.words.value
    view.apart.value = True
    assert [slider.layout.display for slider in view.doubts] == ["none", "", "", "none", "none"]
    view.doubts[1].value, view.doubts[2].value = 1e-4, 1.0
    assert view.rule.thresholds == (pytest.approx(0.9999), pytest.approx(0.0))
    view.kind.value = "patience"
    assert view.agreement.layout.display == "" and view.rule.kind == "patience" and view.agreement.max == 3
    view.kind.value, view.goal.value, view.amount.value = "margin", "promise", 0.1
    view.solve()
    assert "⚠" in view.status.value and "best promise" in view.status.value
    view.goal.value = "accuracy"
    view.solve()
    assert view.error is None and "other images" in view.status.value and not view.apart.value
    view.settle()
    assert view.times and "Latency" in view.gauges.value and "<img" in view.wall.value
    panel.controls.ratio.value = 0.7
    panel.settle()
    assert "the network before the last move" in view.status.value
    panel.close()


def test_a_fit_without_a_network_is_refused_in_a_sentence_and_cancel_keeps_nothing(studio, snapshot):
    view = ExitView(studio)
    view.fit()
    assert "still being made" in view.status.value and view.study is None
    view.active = True
    view.show(snapshot)
    view.fit()
    view.cancel_button.click()
    view._background.settle(60)
    assert view.study is None or "Fitted" in view.status.value  # it may have been quicker than the click
    view.close()


def test_drawings_name_what_they_show(study, tiny_data):
    judged = study.judge(ExitRule("margin", (0.2, 0.2)))
    assert 'role="img"' in draw.curve(study, judged) and "whole network" in draw.curve(study, judged)
    early = draw.rates(study, judged, tiny_data.classes)
    present = np.unique(study.labels[study.shown])
    assert early.count('role="img"') == len(present) and "exit 2" in early and "to the end" in early
    assert "Latency" in draw.exit_gauges(study, judged, None) and "…" in draw.exit_gauges(study, judged, None)
    wall = draw.gallery(study, judged, tiny_data, count=2)
    assert wall.count("<img") == sum(min(2, int((judged.left == n).sum())) for n in range(3))
