"""Long jobs of the live tool: sensitivity scans with their files, guided ratios, fine-tuning, and their views."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from rsprune_lib.errors import PlanError, RspruneError, Stopped, TrainingError
from rsprune_lib.models import create_model
from rsprune_lib.models.exits import add_exits
from rsprune_lib.pruning import Scan, choose, plan_cost, sensitivity_scan
from rsprune_lib.training import fit, recipe
from rsprune_studio import Setting, Studio
from rsprune_studio.draw.html import time_left
from rsprune_studio.draw.scan import fragility, scan_curves
from rsprune_studio.draw.tuning import tune_curves
from rsprune_studio.engine import scans, tuning
from rsprune_studio.engine.guided import guided_ratios, guided_setting, ratios_within
from rsprune_studio.engine.network_cache import private_copy
from rsprune_studio.engine.scans import Scanner, digest
from rsprune_studio.engine.threads import Background, Watch
from rsprune_studio.engine.tune_run import GENTLE, TuneOptions
from rsprune_studio.engine.tuning import FineTune
from rsprune_studio.views.scan import ScanView
from rsprune_studio.views.tune import TuneView

RATIOS = (0.0, 0.5, 0.9)
QUICK = TuneOptions(epochs=2, images=None, lr=0.003)


class Watched:
    """Pixels that note which images were looked at."""

    def __init__(self, images):
        self.images, self.shape, self.seen = images, images.shape, set()

    def __getitem__(self, indices):
        self.seen.update(np.atleast_1d(indices).tolist())
        return self.images[indices]


@pytest.fixture(scope="module")
def model(lively_se):
    return lively_se


@pytest.fixture(scope="module")
def data(tiny_data):
    return replace(tiny_data, images=Watched(tiny_data.images))


@pytest.fixture(scope="module")
def shared(model, data):
    return Studio(model, data, images=32, val_images=None, first=4, batch_size=16, progress=False)


@pytest.fixture
def studio(shared, model, data):
    """A studio of its own for each test, without the gate statistics being collected again."""
    return Studio(model, data, gates=shared.gates, images=32, val_images=None, first=4, batch_size=16, progress=False)


@pytest.fixture
def snapshot(studio):
    return studio.apply(Setting("l2", ratio=0.5, recovery="bn"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The user's cache, empty."""
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bundle(tmp_path):
    """A folder that stands for a bundle's."""
    (tmp_path / "bundle").mkdir()
    return tmp_path / "bundle"


@pytest.fixture
def short_batches(monkeypatch):
    """Four steps an epoch in place of one, so that there is a middle to stop in."""
    small = lambda self, data: recipe("strong_finetune", epochs=self.epochs, lr=self.lr, batch_size=16)  # noqa: E731
    monkeypatch.setattr(TuneOptions, "recipe", small)


def scanned(studio, folder=None, criterion="l2", **options):
    scanner = Scanner(studio, folder)
    return scanner, scanner.scan(criterion, **{"images": 8, "ratios": RATIOS, **options})


@pytest.fixture
def no_scan(monkeypatch):
    """Scans that cost nothing, where it is their files that matter."""

    def made(model, groups, scores, batches, ratios, *, progress):
        batches.check()
        curve = tuple(0.9 - ratio * 0.7 for ratio in ratios)
        return Scan(scores.criterion, tuple(ratios), {group.name: curve for group in groups}, 0.9, 8)

    monkeypatch.setattr(scans, "sensitivity_scan", made)


def handmade(studio, curves, ratios=(0.0, 0.3, 0.6, 0.9), dense=0.9):
    """A scan of a studio's groups; groups without a curve of their own lose nothing."""
    flat = (dense,) * len(ratios)
    return Scan("l2", ratios, {group.name: curves.get(group.name, flat) for group in studio.groups}, dense, 100)


# a thread for long jobs


def test_a_second_job_is_refused_and_an_error_told_once():
    gate, background = threading.Event(), Background("a long job")
    background.start(lambda: gate.wait(60))
    with pytest.raises(RspruneError, match="Already running a long job"):
        background.start(lambda: None)
    with pytest.raises(TimeoutError, match="Still running"):
        background.settle(0.01)
    gate.set()
    background.settle(60)
    assert not background.busy
    background.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        background.settle(60)
    background.settle(60)


def test_a_private_copy_has_no_hooks_and_shares_no_weight(model):
    handle = model.conv1.register_forward_hook(lambda *a: None)
    copied = private_copy(model)
    handle.remove()
    assert not copied.conv1._forward_hooks
    assert copied.conv1.weight.data_ptr() != model.conv1.weight.data_ptr()
    assert digest(copied) == digest(model)


def test_a_private_copy_keeps_the_exits_of_its_network(model):
    leaving = add_exits(model, ["layer2"]).eval()
    handle = leaving.layer2.register_forward_hook(lambda *a: pytest.fail("a guest was copied"))
    copied = private_copy(leaving)
    handle.remove()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(copied(images), leaving(images), strict=True))


def test_time_left_in_words():
    assert time_left(0.25, 10) == "about 30 s left"
    assert time_left(0.1, 60) == "about 9 min left"
    assert time_left(0.0, 10) == time_left(0.5, 0.1) == ""


# scans and their files


def test_a_scan_is_that_of_the_library_and_survives_its_file(studio, bundle):
    told = []
    scanner, scan = scanned(studio, bundle, watch=Watch(tell=lambda text, share: told.append(share)))
    batches = studio.trained.batches("val", 8)
    assert scan == sensitivity_scan(
        studio.plain, studio.groups, studio.scoring.scores("l2"), batches, RATIOS, progress=False
    )
    assert studio.scans == {"l2": scan}
    assert told == sorted(told)
    assert 0.9 < told[-1] <= 1
    assert scanner.saved == bundle / "sensitivity_l2.json"
    assert [path.name for path in bundle.iterdir()] == ["sensitivity_l2.json"]
    studio.scans.clear()
    again = Scanner(studio, bundle)
    assert again.restore() == ["l2"]
    assert studio.scans == {"l2": scan}
    assert list(studio.scans["l2"].curves) == [group.name for group in studio.groups]
    assert again.refused == {}


def test_the_test_part_is_never_looked_at(studio, data, snapshot):
    data.images.seen.clear()
    scanned(studio, criterion="taylor")
    job = FineTune(studio)
    job.start(snapshot, QUICK)
    assert job.settle().phase == "done"
    assert data.images.seen
    assert not data.images.seen & set(data.split.test.tolist())


def test_a_cancelled_scan_keeps_nothing(studio, bundle, home):
    asked = []
    with pytest.raises(Stopped):
        scanned(studio, bundle, watch=Watch(lambda: asked.append(1) or len(asked) > 20))
    assert studio.scans == {}
    assert list(bundle.iterdir()) == []
    assert not home.exists()


def test_the_scan_of_another_network_or_data_set_is_refused(studio, bundle, model, data, no_scan):
    _, scan = scanned(studio, bundle)
    path = bundle / "sensitivity_l2.json"
    other = create_model("resnet18_se", 4, width=0.125, seed=5).eval()
    stranger = Scanner(Studio(other, data, gates=studio.gates, images=32), bundle)
    assert stranger.restore() == []
    assert "another network" in stranger.refused["l2"]
    elsewhere = Studio(model, replace(data, content_hash="0" * 16), gates=studio.gates, images=32)
    moved = Scanner(elsewhere, bundle)
    assert moved.restore() == []
    assert "another data set" in moved.refused["l2"]
    assert elsewhere.scans == {}
    with pytest.raises(RspruneError, match="another criterion"):
        Scanner(studio, bundle).read(path, "l1")
    made = moved.scan("l2", images=8, ratios=RATIOS)  # replaces the file
    assert moved.refused == {}
    assert made.curves == scan.curves
    assert json.loads(path.read_text())["data"] == "0" * 16


def test_what_a_criterion_saw_counts_only_where_it_looks_at_images(studio, bundle, no_scan):
    scanned(studio, bundle)
    scanned(studio, bundle, "taylor")
    studio.trained.images, studio.scans = 16, {}
    scanner = Scanner(studio, bundle)
    assert scanner.restore() == ["l2"]
    assert "number of scored images" in scanner.refused["taylor"]


def harmed(**changes):
    return lambda saved: saved | {"scan": saved["scan"] | changes}


@pytest.mark.parametrize(
    "harm",
    [
        lambda saved: "{",
        lambda saved: "[]",
        lambda saved: "[" * 100_000,
        lambda saved: " " * 2_000_000,
        lambda saved: saved | {"version": 2},
        lambda saved: saved | {"scan": None},
        lambda saved: {key: value for key, value in saved.items() if key != "scan"},
        harmed(curves={"conv1": [0.9, 0.8, 0.7]}),
        harmed(curves=None),
        harmed(ratios=[0.9, 0.5, 0.0]),
        harmed(ratios=[]),
        harmed(ratios=None),
        harmed(ratios=[0.0, "much", 0.9]),
        harmed(dense="high"),
        harmed(dense=7),
        harmed(dense=float("nan")),
        harmed(n=0),
        harmed(criterion="l1"),
    ],
)
def test_a_broken_file_is_refused_in_a_sentence(studio, bundle, harm):
    scanner = Scanner(studio, bundle)
    path, scan = bundle / "sensitivity_l2.json", handmade(studio, {})
    saved = scanner._identity("l2") | {"scan": scan.to_dict()}
    path.write_text(json.dumps(saved))
    assert scanner.restore() == ["l2"]
    studio.scans.clear()
    broken = harm(saved)
    path.write_text(broken if isinstance(broken, str) else json.dumps(broken))
    assert scanner.restore() == []
    assert studio.scans == {}
    assert str(path) in scanner.refused["l2"]


def test_a_folder_that_cannot_be_written_leads_to_the_users_cache(studio, bundle, home, monkeypatch, no_scan):
    write = scans.write_json

    def guarded(path, obj):
        if path.parent == bundle:
            raise PermissionError("read-only")
        return write(path, obj)

    monkeypatch.setattr(scans, "write_json", guarded)
    scanner, scan = scanned(studio, bundle)
    assert scanner.saved.is_relative_to(home)
    assert list(bundle.iterdir()) == []
    studio.scans.clear()
    assert Scanner(studio, bundle).restore() == ["l2"]
    assert studio.scans["l2"] == scan
    monkeypatch.setattr(scans, "write_json", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    scanner, scan = scanned(studio, bundle, "l1")
    assert scanner.saved is None
    assert studio.scans["l1"] == scan


def test_without_a_bundle_or_when_it_is_gone_the_cache_is_used(studio, tmp_path, home, no_scan):
    for folder in (None, tmp_path / "gone"):
        scanner, _ = scanned(studio, folder)
        assert scanner.saved.is_relative_to(home)
    assert not (tmp_path / "gone").exists()


def test_a_scan_belongs_to_the_options_of_its_criterion(studio, bundle, home, no_scan):
    other = Setting("tmm", ratio=0.5, options_of={"tmm": {"k": 3}})
    scanner, usual = scanned(studio, bundle, "tmm")
    assert studio.scan_of(Setting("tmm")) == usual and studio.scan_of(other) is None
    assert "options" not in usual.to_dict()
    with pytest.raises(RspruneError, match="no sensitivity scan by tmm, k 3 yet"):
        guided_setting(studio, studio.apply(other), 0.02)
    made = scanner.scan("tmm", options=other.options, images=8, ratios=RATIOS)
    assert studio.scan_of(other) == made and studio.scan_of(Setting("tmm")) is None
    studio.scans.clear()
    assert "tmm" in Scanner(studio, bundle).restore() and studio.scan_of(other) == made
    with pytest.raises(PlanError, match="Expected a sensitivity scan"):
        Scan.from_dict(made.to_dict() | {"options": [1]})
    studio.scans.clear()


# guided ratios


def test_guided_ratios_follow_the_curve(studio):
    scan = handmade(studio, {"conv1": (0.9, 0.8, 0.4, 0.1), "layer1.0.conv1": (0.9, 0.91, 0.9, 0.88)})
    ratios = guided_ratios(scan, studio.groups, 0.05)
    assert ratios["conv1"] == pytest.approx(0.15, abs=1e-6)  # half of the way down to .8 at .3
    assert ratios["layer1.0.conv1"] == 0.9  # nothing was measured beyond
    assert guided_ratios(scan, studio.groups, 0.3)["conv1"] == pytest.approx(0.45, abs=1e-6)
    assert guided_ratios(scan, studio.groups, 0.0)["conv1"] == pytest.approx(0, abs=1e-6)
    assert guided_ratios(scan, studio.groups, 0.0)["layer1.0.conv1"] == pytest.approx(0.6, abs=1e-6)
    assert guided_ratios(scan, studio.groups, 0.05, locked=["conv1"])["conv1"] == 0


def test_a_curve_that_rises_again_is_not_trusted(studio):
    scan = handmade(studio, {"conv1": (0.9, 0.7, 0.9, 0.9)})
    assert guided_ratios(scan, studio.groups, 0.1)["conv1"] == pytest.approx(0.15, abs=1e-6)
    assert guided_ratios(scan, studio.groups, 0.2)["conv1"] == 0.9
    wide = handmade(studio, {}, ratios=(0.5, 0.99))
    assert set(guided_ratios(wide, studio.groups, 0.0).values()) == {0.95}


def test_more_may_be_lost_by_who_may_lose_more(studio):
    random = np.random.default_rng(0)
    for _ in range(20):
        scan = handmade(studio, {g.name: tuple(random.uniform(0.2, 1, 4)) for g in studio.groups})
        steps = [guided_ratios(scan, studio.groups, drop) for drop in np.linspace(0, 1, 15)]
        for name in scan.curves:
            own = [ratios[name] for ratios in steps]
            assert own == sorted(own)
            assert all(0 <= ratio <= 0.95 for ratio in own)


def test_a_macs_budget_is_met_and_used(studio):
    random = np.random.default_rng(1)
    names = [group.name for group in studio.groups]
    curves = [
        {name: tuple(sorted(random.uniform(0.2, 0.9, 4), reverse=True)) for name in names},
        {},  # flat: everything may go at once
        {name: (0.9, 0.9, 0.5, 0.5) for name in names},  # in jumps
    ]
    for own in curves:
        scan = handmade(studio, own)
        for share in (0.8, 0.4, 0.1):
            budget = share * studio.dense.cost.macs
            ratios, drop = ratios_within(scan, studio.groups, studio.trained.costs, budget)
            plan = choose(studio.scoring.scores("l2"), studio.groups, per_group=ratios)
            reached = plan_cost(studio.trained.costs, studio.groups, plan.keep).macs
            assert reached <= budget
            assert reached > 0.6 * budget  # channels are whole: groups of 8 leave gaps
            assert 0 <= drop <= 1
    whole, drop = ratios_within(scan, studio.groups, studio.trained.costs, 1e12)
    assert (set(whole.values()), drop) == ({0.0}, 0.0)


def test_what_cannot_be_reached_or_does_not_fit_is_said(studio, snapshot):
    scan = handmade(studio, {})
    with pytest.raises(PlanError, match="smallest possible"):
        ratios_within(scan, studio.groups, studio.trained.costs, 10.0)
    with pytest.raises(PlanError, match="smallest possible"):
        ratios_within(scan, studio.groups, studio.trained.costs, 1e5, locked=[g.name for g in studio.groups])
    with pytest.raises(PlanError, match="from 0 to 1"):
        guided_ratios(scan, studio.groups, 2.0)
    with pytest.raises(PlanError, match="scan this very network"):
        guided_ratios(replace(scan, curves={"conv9": (0.9,) * 4}), studio.groups, 0.1)
    with pytest.raises(RspruneError, match="no sensitivity scan by l2"):
        guided_setting(studio, snapshot)


def test_the_preset_has_as_many_macs_as_the_screen(studio):
    studio.scans["l2"] = handmade(studio, {"conv1": (0.9, 0.3, 0.2, 0.1), "layer3.0.conv1": (0.9, 0.85, 0.8, 0.7)})
    setting = Setting("l2", "global", amount="macs", macs=0.4, locked=("layer1.0.conv1",), recovery="none")
    shown = studio.apply(setting)
    guided = studio.apply(guided_setting(studio, shown))
    assert 0.85 * shown.cost.macs < guided.cost.macs <= shown.cost.macs
    assert guided.plan.widths["layer1.0.conv1"] == guided.plan.sizes["layer1.0.conv1"]
    assert guided.setting.locked == setting.locked
    removed = 1 - sum(guided.plan.widths.values()) / sum(guided.plan.sizes.values())
    assert guided.setting.ratio == pytest.approx(removed, abs=0.006)
    small = guided_setting(studio, shown, 0.1)
    assert small.own["conv1"] == pytest.approx(0.05, abs=1e-6)


# the view of the scan


@pytest.fixture
def asked():
    return []


@pytest.fixture
def scan_view(studio, bundle, asked, snapshot, no_scan):
    view = ScanView(studio, bundle, asked.append)
    view.settle()
    view.images.options = [("8 images", 8)]
    view.show(snapshot)
    view.active = True
    return view


def test_a_scan_is_run_drawn_and_asked_for_its_preset(scan_view, studio, asked, bundle):
    assert "No scan by l2 yet" in scan_view.hint.value
    assert scan_view.guided.disabled
    scan_view.run_button.click()
    scan_view.settle()
    assert (bundle / "sensitivity_l2.json").is_file()
    assert "Scanned by l2" in scan_view.status.value
    assert scan_view.curves.value.count("<svg") == len(studio.groups)
    assert scan_view.curves.value.count('stroke-width="2.6"') == len(studio.groups)
    assert scan_view.table.value.count("<tr>") == len(studio.groups) + 1
    assert (scan_view.run_button.disabled, scan_view.cancel_button.disabled) == (False, True)
    assert scan_view.hint.value == ""
    before = scan_view.table.value
    scan_view.drop.value = 15.0
    assert "within 15 points" in scan_view.table.value != before
    scan_view.guided.click()
    scan_view.guided_macs.click()
    assert asked[0].own == guided_ratios(studio.scans["l2"], studio.groups, 0.15)
    assert studio.apply(asked[1]).cost.macs <= scan_view.snapshot.cost.macs
    reopened = ScanView(studio, bundle)
    reopened.settle()
    assert reopened.children[4].layout.display == "none"  # nobody to hand a preset to


def test_a_scan_can_be_cancelled_and_a_second_one_is_refused(scan_view, studio, monkeypatch):
    gate, started = threading.Event(), threading.Event()
    scores = studio.scoring.scores
    monkeypatch.setattr(studio.scoring, "scores", lambda *a: started.set() or (gate.wait(60) and scores(*a)))
    scan_view.run()
    assert started.wait(60)
    assert scan_view.run_button.disabled
    assert not scan_view.cancel_button.disabled
    scan_view.run()
    assert "Already running a sensitivity scan" in scan_view.status.value
    scan_view.error = None
    scan_view.cancel_button.click()
    gate.set()
    scan_view.settle()
    assert "cancelled; nothing of it was kept" in scan_view.status.value
    assert studio.scans == {}
    assert scan_view.progress.layout.visibility == "hidden"


def test_a_failed_scan_is_a_sentence_and_the_last_one_stays(scan_view, studio, monkeypatch):
    scan_view.run()
    scan_view.settle()
    drawn = scan_view.curves.value
    monkeypatch.setattr(studio.scoring, "scores", lambda *a: 1 / 0)
    scan_view.run()
    with pytest.raises(ZeroDivisionError):
        scan_view.settle()
    assert "ZeroDivisionError: division by zero" in scan_view.status.value
    assert scan_view.curves.value == drawn
    monkeypatch.undo()


def test_a_view_at_the_back_draws_nothing_until_it_is_in_front(scan_view, studio, snapshot):
    scan_view.active = False
    studio.scans["l2"] = handmade(studio, {})
    scan_view.show(snapshot)
    assert scan_view.curves.value == ""
    scan_view.active = True
    assert "<svg" in scan_view.curves.value
    other = studio.apply(replace(snapshot.setting, criterion="l1"))
    scan_view.show(other)
    assert "No scan by l1 yet" in scan_view.hint.value
    assert scan_view.curves.value == ""


def test_opening_says_why_an_earlier_scan_does_not_count(studio, bundle, snapshot):
    (bundle / "sensitivity_l2.json").write_text("{}")
    view = ScanView(studio, bundle)
    view.settle()
    view.active = True
    view.show(snapshot)
    assert "made for another purpose" in view.hint.value
    view.close()


def test_a_preset_without_a_setting_is_a_sentence(studio, asked):
    view = ScanView(studio, None, asked.append)
    view.settle()
    view.ask(None)
    assert "no setting on the screen" in view.status.value
    view.show(studio.apply(Setting("l2", amount="ratio", ratio=0.9)))
    studio.scans["l2"] = handmade(studio, {}, ratios=(0.0, 0.1))
    view.ask(None)
    assert "smallest possible" in view.status.value
    assert asked == []


def test_fragile_groups_are_named(studio):
    scan = handmade(studio, {"conv1": (0.9, 0.3, 0.2, 0.1), "layer3.0.conv1": (0.9, 0.88, 0.8, 0.7)})
    table = fragility(studio, scan, 0.02)
    assert "): conv1. 10 of 12" in table
    assert "10 of 12 groups can lose at least 85%" in table
    assert "No group is fragile" in fragility(studio, scan, 0.8)
    assert "−0.0" not in table
    assert table.index(">conv1<") < table.index(">layer3.0.conv1<") < table.index(">layer1.0.conv1<")
    assert "−" not in scan_curves(scan).split("Rightwards")[0]


# fine-tuning


def test_options_are_checked():
    for bad in ({"loss": "magic"}, {"epochs": 0}, {"images": 1}, {"lr": 0.0}, {"lr": float("nan")}):
        with pytest.raises(RspruneError):
            TuneOptions(**bad)
    few = type("D", (), {"split": type("S", (), {"train": range(100)}), "masks": None})
    assert TuneOptions(images=65).limit(few) == 64


def test_a_run_does_what_the_library_does_and_is_kept(studio, snapshot, data):
    job, told = FineTune(studio), []
    job._heard = lambda: told.append(job.run.phase)
    before = {name: tensor.clone() for name, tensor in studio.networks.recovered(snapshot).state_dict().items()}
    job.start(snapshot, QUICK)
    run = job.settle()
    assert (run.phase, len(run.losses), run.total) == ("done", 2, 2)
    assert [step for step, _ in run.accuracies] == [0, 1, 2]
    assert run.doing == "Measuring the network as it is"
    assert list(dict.fromkeys(told)) == ["preparing", "training", "judging", "done"]
    again = fit(studio.networks.recovered(snapshot), data, QUICK.recipe(data), seed=0, progress=False)
    same = again.model.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in run.model.state_dict().items())
    assert all(
        torch.equal(before[name], tensor) for name, tensor in studio.networks.recovered(snapshot).state_dict().items()
    )
    result = run.result
    assert result.after.n == result.before.n == len(data.split.val)
    assert 100 * (result.after.accuracy - result.before.accuracy) == pytest.approx(
        100 * (result.paired.gained - result.paired.lost) / result.after.n
    )
    assert "points; 95 % interval" in result.sentence()
    model = run.model
    setting = job.keep()
    assert setting.recovery == "tuned"
    assert studio.network(snapshot.plan, "tuned") is model
    shown = studio.final(setting)
    assert shown.quality.accuracy == result.after.accuracy
    json.dumps(studio.networks.kept.tuned(snapshot.plan).note)
    with pytest.raises(RspruneError, match="no fine-tuned network to keep"):
        job.keep()
    with pytest.raises(RspruneError, match="fine-tuned already"):
        job.start(shown)


def test_a_run_is_discarded(studio, snapshot):
    job = FineTune(studio)
    job.discard()  # nothing there
    job.start(snapshot, QUICK)
    job.settle()
    job.discard()
    assert (job.run.phase, job.run.model) == ("discarded", None)
    assert not studio.networks.kept.has_tuned(snapshot.plan)
    with pytest.raises(RspruneError, match="to keep"):
        job.keep()


@pytest.mark.parametrize(("at", "phase", "epochs"), [(2, "stopped", 0), (6, "done", 1), (8, "done", 2)])
def test_a_run_stops_at_any_step_and_keeps_its_best_epoch(studio, snapshot, short_batches, at, phase, epochs):
    job = FineTune(studio, lambda: len(job.run.losses) == at and job.stop())
    job.start(snapshot, replace(QUICK, epochs=5))
    run = job.settle()
    assert (run.phase, len(run.losses)) == (phase, at)
    assert (run.result.epochs if run.result else 0) == epochs
    assert (run.model is not None) == (phase == "done")


def test_stopping_while_the_start_is_measured(studio, snapshot, monkeypatch):
    gate, recovered = threading.Event(), studio.networks.recovered
    monkeypatch.setattr(studio.networks, "recovered", lambda *a: gate.wait(60) and recovered(*a))
    job = FineTune(studio)
    job.start(snapshot, QUICK)
    job.stop()
    gate.set()
    assert job.settle().phase == "stopped"
    assert job.run.losses == []


def test_nan_is_a_sentence_and_nothing_is_kept(studio, snapshot, monkeypatch):
    monkeypatch.setattr(tuning, "make_loss", lambda *a, **k: lambda logits, _: logits.sum() * float("nan"))
    monkeypatch.setattr(tuning._Listening, "__init__", _listen_to_anything)
    job = FineTune(studio)
    job.start(snapshot, QUICK)
    with pytest.raises(TrainingError, match="nothing of this run is kept"):
        job.settle()
    assert (job.run.phase, job.run.model, job.run.result) == ("failed", None, None)
    assert "<svg" in tune_curves(job.run)
    assert not studio.networks.kept.has_tuned(snapshot.plan)
    monkeypatch.undo()
    job.start(snapshot, QUICK)
    assert job.settle().phase == "done"


def _listen_to_anything(self, loss, heard):
    torch.nn.Module.__init__(self)
    self.loss, self.heard = loss, heard


def test_two_at_once_are_refused_and_sliders_do_not_disturb(studio, snapshot):
    gate, at_work = threading.Event(), threading.Event()

    def heard():
        if job.run and job.run.losses:
            at_work.set()
            gate.wait(60)

    job = FineTune(studio, heard)
    job.start(snapshot, QUICK)
    assert at_work.wait(100)
    with pytest.raises(RspruneError, match="Already running a fine-tuning"):
        job.start(studio.apply(Setting("l1", ratio=0.3)), QUICK)
    with pytest.raises(RspruneError, match="to keep"):
        job.keep()
    moved = studio.final(Setting("l1", ratio=0.3, recovery="bn"))
    assert moved.complete
    gate.set()
    run = job.settle()
    assert run.snapshot is snapshot
    assert job.keep().criterion == "l2"
    assert not studio.networks.kept.has_tuned(moved.plan)


def test_a_closed_studio_gets_no_result(studio, snapshot, short_batches):
    job = FineTune(studio, lambda: job.run.losses and job.close())
    job.start(snapshot, QUICK)
    run = job.settle()
    assert (run.phase, run.model, len(run.losses)) == ("discarded", None, 1)
    with pytest.raises(RspruneError, match="has been closed"):
        job.start(snapshot, QUICK)
    with pytest.raises(RspruneError, match="to keep"):
        job.keep()


# the view of the fine-tuning


@pytest.fixture
def tune_view(studio, snapshot, asked):
    view = TuneView(studio, asked.append)
    view.active = True
    view.show(snapshot)
    view.epochs.value = 1
    return view


def test_a_run_is_started_watched_and_kept(tune_view, studio, asked, snapshot):
    assert tune_view.rate.value == GENTLE["bn"]
    tune_view.start_button.click()
    tune_view.settle()
    assert "points; 95 % interval" in tune_view.result.value
    assert "This run began with l2, 50% of the channels removed, BN re-estimation." in tune_view.belongs.value
    assert tune_view.curves.value.count("<circle") == 2
    assert not tune_view.keep_button.disabled
    assert (tune_view.start_button.disabled, tune_view.stop_button.disabled) == (False, True)
    tune_view.show(studio.apply(Setting("l2", ratio=0.2)))
    assert "moved since" in tune_view.belongs.value
    tune_view.keep_button.click()
    assert [setting.recovery for setting in asked] == ["tuned"]
    assert studio.networks.kept.has_tuned(snapshot.plan)
    assert "Kept" in tune_view.status.value
    assert tune_view.keep_button.disabled
    tune_view.show(studio.final(asked[0]))
    tune_view.start()
    assert "fine-tuned already" in tune_view.status.value


def test_stop_and_discard_from_the_view(tune_view, studio, snapshot, short_batches, monkeypatch):
    heard = tune_view.job._heard
    monkeypatch.setattr(
        tune_view.job,
        "_heard",
        lambda: heard() or (len(tune_view.job.run.losses) == 3 and tune_view.stop_button.click()),
    )
    tune_view.start()
    tune_view.settle()
    assert "nothing to keep" in tune_view.status.value
    assert tune_view.keep_button.disabled
    monkeypatch.setattr(tune_view.job, "_heard", heard)
    tune_view.start()
    tune_view.settle()
    tune_view.discard_button.click()
    assert "Discarded" in tune_view.status.value
    assert tune_view.discard_button.disabled


def test_the_rate_follows_the_recovery_until_a_person_moves_it(tune_view, studio, snapshot):
    tune_view.show(replace(snapshot, setting=replace(snapshot.setting, recovery="live")))
    assert tune_view.rate.value == GENTLE["live"]
    tune_view.rate.value = 0.01
    tune_view.show(snapshot)
    assert tune_view.rate.value == 0.01
    assert tune_view.options == TuneOptions("ce", 1, None, 0.01)


def test_failures_of_a_run_are_sentences(tune_view, studio, monkeypatch):
    monkeypatch.setattr(studio.networks, "recovered", lambda *a: 1 / 0)
    tune_view.start()
    with pytest.raises(ZeroDivisionError):
        tune_view.settle()
    assert "ZeroDivisionError: division by zero" in tune_view.status.value
    assert not tune_view.start_button.disabled
    fresh = TuneView(studio)
    fresh.active = True
    fresh.start()
    assert "no network on the screen yet" in fresh.status.value
    fresh.close()
    tune_view.close()
    tune_view.start()
    assert isinstance(tune_view.error, RspruneError)


def test_curves_are_drawn_a_few_times_a_second_only(tune_view, short_batches, monkeypatch):
    drawn, draw = [], tune_view._refresh
    monkeypatch.setattr(tune_view, "_refresh", lambda: drawn.append(tune_view.job.run.phase) or draw())
    monkeypatch.setattr("rsprune_studio.views.tune._PAUSE", 100.0)
    tune_view.epochs.value = 3
    tune_view.start()
    tune_view.settle()
    assert drawn == ["preparing", "training", "judging", "done"]


def test_a_run_at_the_back_is_drawn_when_it_comes_to_the_front(tune_view):
    tune_view.active = False
    tune_view.start()
    tune_view.settle()
    assert tune_view.curves.value == ""
    tune_view.active = True
    assert "<svg" in tune_view.curves.value
