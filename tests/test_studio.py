"""The live pruning tool: a state without widgets, a worker that only works for the latest move, and the panel."""

import copy
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsprune_lib.errors import PlanError, RspruneError, Stopped
from rsprune_lib.measure import Speed, cost, predict
from rsprune_lib.models import create_model
from rsprune_lib.pruning import choose, full_plan, masked
from rsprune_lib.pruning.recovery.live import Live
from rsprune_studio import (
    LatestWins,
    PruningPanel,
    Setting,
    Snapshot,
    Studio,
    compare_recoveries,
    compare_speeds,
    recovery_titles,
)
from rsprune_studio.draw import gauges, html, scores_and_trail
from rsprune_studio.engine import planner
from rsprune_studio.engine.presets import fits_latency, fits_macs
from rsprune_studio.engine.threads import Collector, Watch


@pytest.fixture(scope="module")
def model(lively_se):
    return lively_se


@pytest.fixture(scope="module")
def studio(model, tiny_data):
    """One studio for all tests that only ask."""
    return Studio(model, tiny_data, images=32, val_images=None, first=4, batch_size=16, progress=False)


@pytest.fixture
def fresh(studio, model, tiny_data):
    """A studio that knows nothing yet."""
    return Studio(model, tiny_data, gates=studio.gates, images=32, val_images=None, first=4, batch_size=16)


def widths(network, groups):
    return {group.name: network.get_submodule(group.name).weight.shape[0] for group in groups}


SETTINGS = {
    "local": Setting("l2", ratio=0.6),
    "global": Setting("bn_scale", "global", ratio=0.6),
    "isomorphic": Setting("attention", "isomorphic", ratio=0.4),
    "own": Setting("random", ratio=0.3, own={"conv1": 0.0, "layer3.0.conv1": 0.9}),
    "threshold": Setting("lamp", amount="threshold", ratio=0.5),
    "macs": Setting("fpgm", "global", amount="macs", macs=0.3),
    "alike": Setting("similarity", amount="threshold", threshold=0.3, locked=("conv1",)),
    "alike, scored": Setting("similarity", amount="threshold", threshold=0.25, selector="scored"),
    "alike, scored, macs": Setting("similarity", amount="macs", macs=0.4, selector="scored", own={"conv1": 0.5}),
    "alike, core, global": Setting("similarity", scope="global", ratio=0.4, selector="core", normalise="mean"),
    "alike, macs": Setting("similarity", "global", amount="macs", macs=0.4),
    "alike, scaled": Setting("similarity", amount="threshold", ratio=0.4, normalise="mean"),
    "scaled": Setting("attention", "global", ratio=0.5, normalise="mean"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_plan_counts_and_network_agree(studio, name):
    snapshot = studio.apply(SETTINGS[name])
    small = studio.network(snapshot.plan)
    assert widths(small, studio.groups) == snapshot.plan.widths
    assert cost(small, studio.data.image_size) == snapshot.cost
    assert f"{sum(snapshot.plan.widths.values()):,} of" in snapshot.sentence()


def test_a_move_is_four_calls_from_its_event_to_the_plan(studio, monkeypatch):
    panel = PruningPanel(studio, Setting("l2", recovery="none"), measured=False)
    panel.settle()
    ways, package = [], Path(planner.__file__).parents[1]

    def watched(*given, **how):
        files = [Path(frame.filename) for frame in traceback.extract_stack()]
        ways.append([str(file.relative_to(package)) for file in files if file.is_relative_to(package)])
        return choose(*given, **how)

    monkeypatch.setattr(planner, "choose", watched)
    way = ["views/controls.py", "engine/explorer.py", "engine/studio.py", "engine/planner.py"]
    panel.controls.ratio.slider.value = 0.62  # as the page says it
    assert ways == [way]
    panel.controls.own["conv1"].slider.value = 0.25
    assert ways[1:] == [way]
    panel.close()


def test_the_studio_works_on_a_copy(model, tiny_data):
    mine = copy.deepcopy(model).train()
    own = Studio(mine, tiny_data, images=16, val_images=8, first=4, batch_size=8, progress=False)
    before = own.measuring.predict(own.model)[0]
    with torch.no_grad():
        mine.fc.bias += 5.0
    assert mine.training and not own.model.training
    torch.testing.assert_close(own.measuring.predict(own.model)[0], before, rtol=0, atol=0)
    own.close()


def test_amounts_are_kept(studio):
    assert studio.apply(SETTINGS["own"]).plan.widths["conv1"] == 8
    assert studio.apply(SETTINGS["own"]).plan.widths["layer3.0.conv1"] == 3
    macs = studio.apply(SETTINGS["macs"])
    assert 0.2 < macs.cost.macs / studio.dense.cost.macs <= 0.3
    cut = studio.apply(SETTINGS["threshold"])
    kept, size = sum(cut.plan.widths.values()), sum(cut.plan.sizes.values())
    assert abs(kept / size - 0.5) < 0.05
    for group, values in studio.scoring.values("lamp").items():
        assert cut.plan.widths[group] == max(1, int((values >= cut.setting.threshold).sum()))


def test_masked_and_applied_agree(studio):
    plan = studio.apply(SETTINGS["global"]).plan
    batches = studio.trained.batches("val", None)
    with masked(studio.plain, plan, studio.groups) as quiet:
        silent, _ = predict(quiet, batches, progress=False)
    small, _ = predict(studio.network(plan), batches, progress=False)
    torch.testing.assert_close(silent, small, rtol=1e-4, atol=1e-5)


def test_cuts_separate_what_stays_from_what_goes(studio):
    snapshot = studio.apply(SETTINGS["local"])
    values, cuts = studio.scoring.values("l2"), studio.planner.cuts(snapshot.setting, snapshot.plan)
    for name, kept in snapshot.plan.keep.items():
        assert values[name][list(kept)].min() == cuts[name] >= np.delete(values[name], kept).max()


@pytest.mark.parametrize("recovery", recovery_titles())
def test_answers_come_step_by_step_and_end_complete(fresh, recovery):
    steps = list(fresh.answers(Setting("l2", ratio=0.5, recovery=recovery)))
    assert (steps[0].quality, steps[0].latency) == (None, None)
    assert (steps[1].quality.n, steps[1].latency) == (4, None)
    assert steps[2].latency is not None
    assert [step.final for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].complete
    assert steps[-1].recovered == fresh.networks.used(steps[-1].plan, recovery)
    assert recovery == "live" or steps[-1].recovered == recovery
    assert steps[-1].quality.n == len(fresh.data.split.val)
    assert ("so far" in steps[1].sentence()) == (recovery in ("live", "sequential"))


def test_a_live_repair_that_is_worse_than_the_raw_cut_gives_way_to_it(fresh, monkeypatch):
    setting, refit = Setting("l2", ratio=0.5), Live.refit
    fine = fresh.final(replace(setting, ratio=0.3))
    assert fresh.networks.used(fine.plan, "live") == fine.recovered

    def spoilt(live, small, plan):
        refit(live, small, plan).fc.bias.data[0] = 50.0
        return small

    monkeypatch.setattr(Live, "refit", spoilt)
    shown, raw = fresh.final(setting), fresh.final(replace(setting, recovery="bn"))
    assert (shown.recovered, shown.setting.recovery) == ("bn", "live") and shown.complete
    assert shown.quality.nll == pytest.approx(raw.quality.nll, rel=1e-4)
    assert "with BN re-estimation because closed form, live is worse here" in shown.sentence()
    assert "worse here" in gauges.gauges(shown)
    assert fresh.code(setting) == fresh.code(raw.setting) and "Live" not in fresh.code(setting)
    fresh.networks.kept = type(fresh.networks.kept)()  # others have come since
    small = fresh.networks.recovered(shown)
    assert all(torch.equal(*pair) for pair in zip(
        small.state_dict().values(), fresh.networks.recovered(raw).state_dict().values(), strict=True
    ))  # fmt: skip
    spoilt_one = fresh.network(shown.plan, "live")  # what is asked for by name is not exchanged
    assert spoilt_one.fc.bias[0] == 50.0
    assert fresh.networks.chosen(shown.plan, "sequential", small) is small


def test_an_answer_that_has_begun_goes_on_to_the_same_numbers(fresh):
    setting = Setting("l2", ratio=0.5, recovery="bn")
    fresh.scoring.scores("l2")
    begun = fresh.apply(setting)
    steps = list(fresh.answers(setting, begun=begun))
    assert begun not in steps
    assert [step.final for step in steps] == [False, False, True]
    direct = fresh.network(begun.plan, "bn")
    torch.testing.assert_close(
        fresh.measuring.predict(direct)[0], fresh.measuring.records(steps[-1])[1], rtol=0, atol=0
    )


def test_the_live_form_needs_its_matrices_once(fresh):
    told = []
    list(fresh.answers(Setting("l2", ratio=0.5), tell=lambda text, share: told.append((text, share))))
    shares = [share for text, share in told if "Gram" in text]
    assert shares and shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 1
    told.clear()
    second = list(fresh.answers(Setting("l2", ratio=0.7), tell=lambda text, share: told.append(text)))
    assert not any("Gram" in text for text in told)
    assert second[2].recovered == "live"


def test_a_setting_that_comes_back_shows_the_same_numbers(fresh):
    first = fresh.final(Setting("l2", ratio=0.5, recovery="bn"))
    fresh.final(Setting("l2", ratio=0.8, recovery="bn"))
    again = fresh.apply(Setting("l2", ratio=0.5, recovery="bn"))
    assert again == first
    assert again.complete


def test_a_newer_setting_ends_an_answer_but_not_what_it_needs(fresh):
    old, newer = Setting("l2", ratio=0.5), Setting("l2", ratio=0.6)
    wanted = [old]

    def tell(text, share):
        if "Gram" in text:
            wanted[0] = newer

    steps = list(fresh.answers(old, lambda: wanted[0], tell))
    assert steps[-1].quality is not None and not steps[-1].final
    quick = next(step for step in fresh.answers(newer) if step.quality is not None)  # answered while they are collected
    assert quick.recovered in ("bn", "live")
    assert fresh.live() is fresh.live()  # the newer setting needs the matrices too
    assert fresh.apply(old).quality is None


def test_work_that_nobody_needs_any_more_is_dropped(fresh):
    old, newer = Setting("taylor", ratio=0.5), Setting("l2", ratio=0.5)
    assert list(fresh.answers(old, lambda: newer)) == []
    assert not fresh.scoring.knows(old)


def test_matrices_that_nobody_needs_any_more_are_not_collected(fresh, monkeypatch):
    begun, went_on = threading.Event(), []

    def collect(stop):
        begun.set()
        while not stop():
            time.sleep(0.01)
        went_on.append(False)
        raise Stopped("nobody wants it")

    monkeypatch.setitem(fresh.networks.collectors, "live", Collector(collect, 10))
    live, none = Setting("l2", ratio=0.5), Setting("l2", ratio=0.5, recovery="none")
    steps = list(fresh.answers(live, lambda: none if begun.is_set() else live))
    assert not steps[-1].final and not went_on
    assert list(fresh.answers(none))[-1].complete
    for _ in range(500):
        if went_on:
            break
        time.sleep(0.01)
    assert went_on and not fresh.networks.is_live()


def test_the_network_as_trained_is_left_alone(studio, model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    studio.final(Setting("taylor", ratio=0.5, recovery="sequential"))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_is_shown_is_what_the_code_computes(studio, model, tiny_data):
    for name, recovery in (
        ("scaled", "none"),
        ("own", "bn"),
        ("threshold", "live"),
        ("macs", "sequential"),
        ("alike", "none"),
        ("alike, macs", "bn"),
        ("alike, scored", "none"),
        ("alike, scored, macs", "none"),
        ("alike, core, global", "none"),
    ):
        setting = replace(SETTINGS[name], recovery=recovery)
        space = {"model": model, "data": tiny_data, "gates": studio.gates}
        exec(studio.code(setting), space)
        shown = studio.apply(setting)
        assert space["plan"].hash == shown.plan.hash, name
        images, _ = next(iter(studio.trained.batches("val", None)))
        with torch.no_grad():
            expected = studio.network(shown.plan, recovery)(images)
            torch.testing.assert_close(space["small"](images), expected, rtol=1e-3, atol=1e-3)


def test_code_says_where_gates_come_from(model, tiny_data, studio):
    assert "gate_statistics(model, batches)" in studio.code(Setting("l2"))
    given = Studio(model, tiny_data, gates=studio.gates, images=32)
    assert "gate_statistics" not in given.code(Setting("l2"))
    assert "gates=gates" in given.code(Setting("l2"))


def test_a_plain_network_works_without_attention(tiny_data):
    plain = create_model("vgg16", 4, width=0.0625, seed=0)
    studio = Studio(plain, tiny_data, images=16, val_images=8, first=4, progress=False)
    assert "attention" not in studio.criteria
    assert "gates" not in studio.code(Setting("l2"))
    assert studio.final(Setting(studio.criteria[0], recovery="none")).complete


def test_normalising_changes_who_competes_but_not_the_order_within(studio):
    raw = studio.apply(replace(SETTINGS["scaled"], normalise="none"))
    scaled = studio.apply(SETTINGS["scaled"])
    assert raw.plan.widths != scaled.plan.widths
    assert sum(raw.plan.widths.values()) == sum(scaled.plan.widths.values())
    same = (
        studio.scoring.values("attention", "mean")["conv1"].argsort()
        == studio.scoring.values("attention", "none")["conv1"].argsort()
    )
    assert same.all()


def test_bad_input_is_one_sentence(studio, tiny_data):
    with pytest.raises(RspruneError, match="did you mean 'attention'"):
        Setting("atention")
    with pytest.raises(RspruneError, match="Unknown normalisation 'average'"):
        Setting(normalise="average")
    with pytest.raises(RspruneError, match="Unknown recovery"):
        Setting(recovery="magic")
    with pytest.raises(PlanError, match="below 1"):
        studio.apply(Setting("l2", ratio=1.0))
    with pytest.raises(PlanError, match="smallest possible"):
        studio.apply(Setting("l2", amount="macs", macs=1e-6))
    with pytest.raises(RspruneError, match="Unknown group"):
        studio.apply(Setting("l2", own={"conv9": 0.5}))
    with pytest.raises(RspruneError, match="7 classes"):
        Studio(create_model("resnet18", 7, width=0.125, seed=0), tiny_data)


def test_the_dense_network_is_counted_as_everywhere(studio, model):
    assert studio.dense.cost == cost(model, studio.data.image_size)


def test_nothing_pruned_is_the_folded_network(studio):
    snapshot = studio.apply(Setting("l2", ratio=0.0))
    assert snapshot.plan.keep == full_plan(studio.groups).keep
    assert snapshot.cost.params == cost(studio.plain, studio.data.image_size).params


def test_recoveries_are_compared_at_every_ratio(studio):
    curves = compare_recoveries(studio, ["l2"], (0.5, 0.75), recoveries=("none", "bn"), images=16, progress=False)
    assert list(curves["l2"]) == ["raw cut", "BN re-estimation"]
    assert curves["l2"]["raw cut"][0] == [0.5, 0.75]
    raw = studio.final(Setting("l2", ratio=0.75, recovery="none")).quality.accuracy
    assert curves["l2"]["raw cut"][1][1] == raw


def test_speeds_stand_beside_macs(studio, monkeypatch):
    monkeypatch.setattr(Speed, "clear", True)  # a busy machine gives no factor, and that is NaN here
    points = compare_speeds(studio, (0.75,), batch_sizes=(1, 2), repeats=3)
    assert list(points) == ["batch of 1", "batch of 2"]
    (one, two) = points["batch of 1"]
    assert one == (1.0, 1.0, "")
    assert two[0] == pytest.approx(cost(studio.plain, 32).macs / studio.apply(Setting("l2", ratio=0.75)).cost.macs)
    assert two[1] > 0


# the worker


def test_latest_wins_drops_what_is_between_and_never_the_last():
    gate, done, seen = threading.Event(), [], []

    def work(turn):
        seen.append(turn.job)
        gate.wait(5)
        if not turn.stale():
            done.append(turn.job)

    worker = LatestWins(work)
    worker.submit("first")
    while not seen:
        time.sleep(0.001)
    for job in ("a", "b", "c", "last"):
        worker.submit(job)
    gate.set()
    worker.settle(5)
    assert seen == ["first", "last"]
    assert done == ["last"]


def test_worker_survives_an_error_and_tells_it_once():
    def work(turn):
        if turn.job == "bad":
            raise ValueError("no")

    worker = LatestWins(work)
    worker.submit("bad")
    with pytest.raises(ValueError, match="no"):
        worker.settle(5)
    worker.submit("good")
    worker.settle(5)


def test_settle_does_not_wait_for_ever():
    gate = threading.Event()
    worker = LatestWins(lambda turn: gate.wait(5))
    worker.submit(1)
    with pytest.raises(TimeoutError, match="still busy"):
        worker.settle(0.01)
    gate.set()


# the panel


@pytest.fixture(scope="module")
def panel(studio):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"))
    panel.settle()
    return panel


def test_a_move_shows_the_structure_within_the_event(panel):
    panel.controls.ratio.value = 0.75
    at_once = panel.snapshot
    assert at_once.setting.ratio == 0.75
    assert at_once.plan.widths["conv1"] == 2
    assert "2 of 8" in panel.bars.value
    final = panel.settle()
    assert final.complete
    assert f"{final.quality.accuracy:.1%}" in panel.gauges.value
    assert final.sentence().split(";")[0] in panel.words.value
    assert panel.status.value == ""


def untimed(snapshot):
    """All but the times, which are taken again where the machine was busy."""
    return replace(snapshot, latency=None, speed=None, dense=replace(snapshot.dense, latency=None))


def test_undo_and_reset_return_the_same_numbers(panel):
    panel.go(panel.start)
    start = untimed(panel.settle())
    panel.controls.scope.value = "global"
    moved = untimed(panel.settle())
    panel.controls.criterion.value = "fpgm"
    panel.settle()
    panel.undo.click()
    assert untimed(panel.snapshot) == moved
    assert panel.controls.criterion.value == "l2"
    panel.undo.click()
    assert untimed(panel.snapshot) == start
    assert untimed(panel.settle()) == start
    panel.controls.ratio.value = 0.9
    panel.go(panel.start)
    assert untimed(panel.settle()) == start


def test_undo_stops_at_the_beginning(studio):
    panel = PruningPanel(studio, Setting("l2", recovery="none"))
    assert panel.undo.disabled
    panel.undo.click()
    assert panel.settle().setting == panel.start
    panel.controls.ratio.value = 0.2
    assert not panel.undo.disabled
    panel.undo.click()
    assert panel.undo.disabled
    assert not panel.redo.disabled
    panel.redo.click()
    assert panel.settle().setting.ratio == 0.2
    assert panel.redo.disabled


def test_locked_groups_stay_whole_under_every_amount(studio):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"), hide=())
    panel.controls.locks["conv1"].value = True
    assert panel.setting.locked == ("conv1",)
    assert panel.controls.own["conv1"].disabled
    assert 'aria-label="locked"' in panel.bars.value
    for amount in ("ratio", "threshold", "macs"):
        panel.controls.amount.value = amount
        widths = panel.snapshot.plan.widths
        assert widths["conv1"] == panel.snapshot.plan.sizes["conv1"]
        assert sum(widths.values()) < sum(panel.snapshot.plan.sizes.values())
    assert "locked" in studio.code(panel.setting)
    panel.controls.amount.value = "ratio"
    panel.controls.same.click()
    assert panel.setting.locked == () and not panel.controls.locks["conv1"].value
    assert panel.settle().plan.widths["conv1"] < panel.snapshot.plan.sizes["conv1"]


def test_presets_keep_the_macs_and_budgets_are_met(studio):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"), hide=())
    before = panel.settle()
    for name in ("uniform", "global", "attention"):
        panel.presets.buttons[name].click()
        assert panel.settle().cost.macs <= before.cost.macs
        assert panel.snapshot.cost.macs > 0.8 * before.cost.macs
    assert panel.setting.criterion == "attention"
    panel.presets.buttons["sensitivity"].click()
    with pytest.raises(RspruneError, match="no sensitivity scan by attention"):
        panel.settle()
    assert "no sensitivity scan" in panel.status.value
    panel.presets.budget.value = before.dense.cost.macs / 1e6 / 4
    panel.presets.fit.click()
    assert panel.settle().cost.macs <= before.dense.cost.macs / 4


def test_a_latency_budget_is_met_by_measurement(studio, monkeypatch):
    from rsprune_lib.measure import Latency

    calls, noise = [], [100.0]

    def pretend(network):
        milliseconds = sum(p.numel() for p in network.parameters()) / 1e4
        return Latency(milliseconds, 0.0, 1, 1, "pretended", 1)

    def time(networks):
        """The first time of all is taken in a bad moment."""
        calls.append(len(networks))
        bad = noise.pop() if noise else 0.0
        times = [pretend(network) for network in networks]
        return [replace(t, median_ms=t.median_ms + bad, rounds_ms=(t.median_ms + bad,), busy=bad > 0) for t in times]

    monkeypatch.setattr(studio.measuring, "time", time)
    monkeypatch.setattr(studio.measuring, "_times", {})
    start = Setting("l2", recovery="none")
    whole = pretend(studio.network(studio.apply(replace(start, ratio=0.0)).plan)).median_ms
    found = fits_latency(studio, start, whole / 3)
    took = pretend(studio.network(studio.apply(found).plan)).median_ms
    assert whole / 6 < took <= whole / 3
    assert fits_latency(studio, start, 2 * whole).macs == 1.0
    noise[:] = [100.0] * 6  # nine networks in ten are measured in bad moments
    with pytest.raises(RspruneError, match="try again when the machine is less busy"):
        fits_latency(studio, start, whole / 3)
    assert fits_latency(studio, start, whole / 3) == found  # nothing of that was kept
    with pytest.raises(RspruneError, match="more than the 1e-09 ms"):
        fits_latency(studio, start, 1e-9)
    with pytest.raises(Stopped):
        fits_latency(studio, start, whole / 3, Watch(lambda: True))
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RspruneError, match="expected a number above 0"):
            fits_latency(studio, start, bad)
        with pytest.raises(RspruneError, match="expected a number above 0"):
            fits_macs(studio, start, bad)


def test_a_given_plan_is_followed_until_a_control_is_moved(studio):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"))
    assert len(panel.controls.amount.options) == 3
    plan = studio.apply(Setting("fpgm", "global", ratio=0.7)).plan
    panel.go(replace(panel.setting, amount="plan", given=plan))
    assert panel.settle().plan.hash == plan.hash
    assert panel.controls.amount.value == "plan"
    assert "plan=chosen" in studio.code(panel.setting)
    panel.controls.amount.value = "ratio"
    assert panel.settle().plan.hash != plan.hash
    panel.controls.amount.value = "plan"
    assert panel.settle().plan.hash == plan.hash


def test_a_fine_tuned_network_is_kept_for_its_plan_alone(studio):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"))
    snapshot = panel.settle()
    tuned = copy.deepcopy(studio.networks.recovered(snapshot))
    with torch.no_grad():
        tuned.fc.bias += torch.tensor([50.0, 0.0, 0.0, 0.0])
    note = {"loss": "ce", "epochs": 1, "lr": 0.001, "images": 8, "seed": 0, "recovery": "none"}
    studio.keep_tuned(snapshot.plan, tuned, note)
    panel.go(replace(snapshot.setting, recovery="tuned"))
    shown = panel.settle()
    assert shown.recovered == "tuned" and shown.final
    assert shown.quality.confusion[:, 0].sum() == shown.quality.n  # it is that network which is judged
    assert "fine-tuned" in [title for title, _ in panel.controls.recovery.options]
    assert "fit(small, data" in studio.code(panel.setting, note)
    panel.controls.ratio.value = 0.6  # no network is kept for this plan
    assert panel.settle().setting.recovery == "none"
    panel.undo.click()
    assert panel.settle().quality == shown.quality
    studio.forget_tuned(snapshot.plan)
    panel.go(panel.start)
    panel.settle()
    panel.go(replace(panel.start, recovery="tuned"))
    with pytest.raises(RspruneError, match="No fine-tuned network is kept"):
        panel.settle()


def test_own_ratios_follow_the_common_one_until_moved(panel):
    panel.go(panel.start)
    own = panel.controls.own
    assert own["conv1"].value == panel.start.ratio
    own["layer4.0.conv1"].value = 0.9
    assert panel.setting.own == {"layer4.0.conv1": 0.9}
    panel.controls.ratio.value = 0.3
    assert (own["conv1"].value, own["layer4.0.conv1"].value) == (0.3, 0.9)
    assert panel.snapshot.plan.widths["layer4.0.conv1"] == 6
    panel.controls.ratio.value = 0.6199999999999999  # what 62 steps of a hundredth add up to
    assert panel.setting.ratio == 0.62
    panel.controls.ratio.value = 0.3
    panel.controls.scope.value = "global"
    assert own["conv1"].disabled
    lost = {name: 1 - kept / panel.snapshot.plan.sizes[name] for name, kept in panel.snapshot.plan.widths.items()}
    assert own["layer4.0.conv1"].value == pytest.approx(min(lost["layer4.0.conv1"], 0.95))
    panel.controls.scope.value = "local"
    panel.controls.same.click()
    assert panel.setting.own == {}
    assert own["layer4.0.conv1"].value == 0.3
    panel.settle()


def test_another_amount_begins_where_the_last_one_stood(panel):
    panel.go(replace(panel.start, ratio=0.4))
    kept = sum(panel.snapshot.plan.widths.values())
    panel.controls.amount.value = "threshold"
    cut = panel.snapshot
    assert abs(sum(cut.plan.widths.values()) - kept) <= 12
    assert panel.controls.scope.disabled
    assert panel.controls.threshold.layout.display != "none"
    assert panel.controls.ratio.layout.display == "none"
    assert panel.controls.threshold.value == pytest.approx(cut.setting.threshold)
    panel.controls.criterion.value = "bn_scale"  # another scale: the share is kept, not the number
    assert abs(sum(panel.snapshot.plan.widths.values()) - kept) <= 24
    panel.controls.normalise.value = "max"
    assert panel.setting.normalise == "max"
    panel.controls.normalise.value = ""
    assert panel.setting.normalise is None
    panel.controls.normalise.value = "max"
    assert abs(sum(panel.snapshot.plan.widths.values()) - kept) <= 24
    panel.controls.threshold.value = panel.controls.threshold.max
    assert all(width >= 1 for width in panel.snapshot.plan.widths.values())
    panel.controls.amount.value = "macs"
    assert panel.snapshot.cost.macs <= panel.snapshot.setting.macs * panel.studio.dense.cost.macs
    panel.settle()


def test_an_error_is_a_sentence_and_undo_leads_back(panel):
    panel.go(panel.start)
    good = panel.settle()
    panel.go(replace(panel.start, amount="macs", macs=1e-6))
    assert "smallest possible" in panel.status.value
    assert panel.snapshot is None and panel.gauges.value.count("…") == 4  # no number beside it
    with pytest.raises(PlanError):
        panel.settle()
    panel.undo.click()
    assert panel.settle() == good
    assert panel.status.value == ""


def test_the_worker_rests_once_after_a_pause_and_not_between_moves():
    rests, done = [], []
    worker = LatestWins(lambda turn: done.append(turn.job), lambda: rests.append(len(done)), pause=0.2)
    for number in range(5):
        worker.submit([number])
        worker.settle()
    assert len(done) == 5 and rests == []
    time.sleep(0.6)
    assert rests == [5]
    worker.submit([5])
    worker.settle()
    time.sleep(0.4)
    assert rests == [5, 6]


def test_a_failure_on_the_worker_is_shown_and_raised(studio, monkeypatch):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"))
    panel.settle()
    monkeypatch.setattr(studio.networks, "unfinished", lambda *a, **k: 1 / 0)
    panel.controls.ratio.value = 0.55
    with pytest.raises(ZeroDivisionError):
        panel.settle()
    assert "ZeroDivisionError: division by zero" in panel.status.value
    monkeypatch.undo()
    panel.controls.ratio.value = 0.6
    assert panel.settle().complete


def test_slow_scores_do_not_block_the_event(fresh, monkeypatch):
    gate, compute = threading.Event(), fresh.scoring.scores
    monkeypatch.setattr(fresh.scoring, "scores", lambda name, *a: gate.wait(5) and compute(name, *a))
    panel = PruningPanel(fresh, Setting("l2", recovery="none"))
    assert panel.snapshot is None
    gate.set()
    panel.settle()
    gate.clear()
    panel.controls.criterion.value = "taylor"
    assert panel.snapshot is None  # numbers by l2 beside the word taylor would be wrong
    assert panel.gauges.value.count("…") == 4 and "2 of 8" not in panel.bars.value
    assert all(part.snapshot is None for part in panel.parts.values())
    gate.set()
    assert panel.settle().setting.criterion == "taylor"


def test_stale_answers_are_never_shown(studio, monkeypatch):
    """Every number on the screen belongs to the setting on the screen, whatever the order of events."""
    panel = PruningPanel(studio, Setting("l2", recovery="none"))
    panel.settle()
    drawn, draw = [], panel.draw

    def watched(snapshot, before):
        assert snapshot.setting == panel.setting
        drawn.append(snapshot)
        draw(snapshot, before)

    monkeypatch.setattr(panel, "draw", watched)
    for step in range(25):
        panel.controls.ratio.value = round(0.02 * step + 0.11, 2)
        time.sleep(0.004 * (step % 4))
    final = panel.settle()
    assert final.complete
    assert final.setting.ratio == pytest.approx(0.59)
    assert panel.snapshot is drawn[-1]
    assert sum(snapshot.complete for snapshot in drawn) < 25


def test_copy_as_code_follows_the_controls(panel):
    panel.go(panel.start)
    panel.code_button.value = True
    assert "ratio=0.5" in panel.code.value
    panel.controls.ratio.value = 0.8
    assert "ratio=0.8" in panel.code.value
    panel.code_button.value = False
    assert panel.code.layout.display == "none"
    panel.settle()


def test_trail_keeps_what_was_tried(studio):
    panel = PruningPanel(studio, Setting("l2", ratio=0.5, recovery="none"))
    panel.settle()
    panel.controls.ratio.value = 0.7
    panel.settle()
    assert [point.setting.ratio for point in panel.past] == [0.5, 0.7]
    assert panel.trail.chart.value.count("<circle") == 2
    assert "70% of the channels removed, local" in panel.trail.chart.value
    assert len(panel.trail.chosen.options) == 2
    panel.trail.chosen.value = 0
    panel.trail.back.click()
    assert panel.settle().setting.ratio == 0.5
    assert len(panel.past) == 2  # the same plan, recovered alike, is the same point


def test_controls_can_be_hidden_and_measuring_left_out(studio):
    panel = PruningPanel(
        studio, Setting("l2", amount="threshold"), criteria=["l2"], hide=("recovery", "own"), measured=False
    )
    snapshot = panel.settle()
    assert snapshot.quality is None
    assert panel.controls.recovery.layout.display == "none"
    assert list(panel.tabs.titles) == ["Channels", "Scores"]
    assert "Accuracy" not in panel.gauges.value


def test_the_panel_names_its_data(panel, tiny_data):
    assert tiny_data.title in panel.children[0].value


def test_html_is_escaped_and_complete(studio):
    assert "<b>" not in html.message("<b>")
    snapshot = studio.final(Setting("l2", recovery="none"))
    bare = Snapshot(snapshot.setting, snapshot.plan, snapshot.cost, replace(snapshot.dense, latency=None, quality=None))
    assert gauges.gauges(bare).count("…") == 2
    assert "follow" in gauges.classes(bare, ())
    svg = scores_and_trail.histograms(
        studio.scoring.values("l2"), snapshot, studio.planner.cuts(snapshot.setting, snapshot.plan)
    )
    assert svg.count("<svg") == len(studio.groups)
    assert scores_and_trail.trail([], [], None).count("<circle") == 0
