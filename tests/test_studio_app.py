"""The app without a browser: picking networks, lessons, sessions, uploads and downloads."""

import base64
import html
import io
import itertools
import json
import re
import shutil
import threading
import time
import zipfile
from dataclasses import replace

import pytest
import torch

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.errors import PlanError, RspruneError
from rsprune_lib.measure import cost, provenance
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Plan, compose, find_groups, full_plan, gate_statistics
from rsprune_studio import Setting, Studio, lesson_panel
from rsprune_studio.draw import html as markup
from rsprune_studio.engine import open_bundle
from rsprune_studio.engine.history import History, Point
from rsprune_studio.engine.session import Session
from rsprune_studio.views.app import SHARED, StudioApp, open_app
from rsprune_studio.views.kernel_alive import Pulse
from rsprune_studio.views.lessons import LESSONS
from rsprune_studio.views.scan import ScanView
from rsprune_studio.views.takeaway import TakeAway, bundle_zip
from rsprune_studio.views.tune import TuneView

OPTIONS = {"images": 16, "val_images": 24, "first": 8, "batch_size": 24}


@pytest.fixture(scope="module")
def shelf(tiny_folder, tiny_data, tmp_path_factory):
    """A folder of two bundles on the tiny data: one with SE blocks, one without."""
    from rsprune_lib.data import Batches

    shelf = tmp_path_factory.mktemp("bundles")
    for name, seed in (("resnet18_se", 0), ("resnet18", 1)):
        model = create_model(name, 4, width=0.125, seed=seed).eval()
        gates = gate_statistics(model, Batches(tiny_data, "train", 8, limit=16), False) if name.endswith("se") else None
        save_bundle(
            shelf / f"tiny_{name}", model, gates=gates, data=tiny_data.info() | {"source": str(tiny_folder)},
            provenance=provenance(tiny_data.info(), seed=0), measured={"params": cost(model, 32).params},
        )  # fmt: skip
    return shelf


@pytest.fixture(autouse=True)
def at_home(shelf, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("RSPRUNE_BUNDLES", str(shelf))
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path_factory.getbasetemp() / "app_home"))
    monkeypatch.setattr(open_bundle, "project_root", lambda: shelf)
    opened = open_bundle.open_studio
    monkeypatch.setattr("rsprune_studio.views.app.open_studio", lambda b=None, d=None: opened(b, d, **OPTIONS))


@pytest.fixture
def app():
    app = StudioApp("tiny_resnet18_se")
    app.panel.go(replace(app.panel.setting, recovery="none"))
    app.settle()
    return app


def part(app, kind):
    return next(part for part in app.panel.parts.values() if isinstance(part, kind))


def saved(text):
    """File name -> content of every download link."""
    links = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', text)
    return {name: base64.b64decode(content) for name, content in links}


def test_bundles_are_listed_and_other_folders_left_out(shelf):
    (shelf / "no_bundle").mkdir(exist_ok=True)
    (shelf / "broken").mkdir(exist_ok=True)
    (shelf / "broken" / "config.json").write_text("{")
    assert [choice.name for choice in open_bundle.bundles()] == ["tiny_resnet18", "tiny_resnet18_se"]
    assert all("parameters" in choice.title for choice in open_bundle.bundles())


def test_the_favourite_is_what_has_its_images_at_hand(shelf, monkeypatch):
    choices = [replace(open_bundle.bundles()[0], name=name, data=name) for name in ("synthetic", "eurosat")]
    monkeypatch.setattr(open_bundle, "at_hand", lambda card: True)
    assert open_bundle.favourite(choices).name == "eurosat"
    monkeypatch.setattr(open_bundle, "at_hand", lambda card: False)
    assert open_bundle.favourite(choices).name == "synthetic"
    with pytest.raises(RspruneError, match="Found no trained network for synthetic"):
        open_bundle.favourite(choices[1:])


def test_another_network_opens_behind_the_one_that_is_there(app):
    first = app.panel
    app.bundle.value = "tiny_resnet18"
    assert app.panel is first
    app.open_button.click()
    app.settle()
    assert app.panel is not first and app.opened.bundle.path.name == "tiny_resnet18"
    assert "attention" not in app.opened.studio.criteria and app.panel.setting.criterion == "l2"
    assert app.status.value == ""


@pytest.mark.parametrize(
    ("bundle", "data", "sentence"),
    [
        ("nowhere", None, "Unknown bundle 'nowhere'"),
        ("tiny_resnet18", "no_such_set", "no_such_set"),
        ("tiny_resnet18", "/no/such/folder", "There is no folder /no/such/folder"),
        ("tiny_resnet18", "/", "all files of this machine"),
        ("~nosuchuser/x", None, "no path here"),
        ("x" * 5000, None, "no path here"),
        ("tiny_resnet18", "auto", "(synthetic|eurosat) has AnnualCrop"),  # what is at hand
        ("tiny_resnet18", "other_classes", "The network knows the classes"),
    ],
)
def test_what_cannot_be_opened_is_a_sentence_and_the_old_stays(app, bundle, data, sentence, tiny_folder, tmp_path):
    before = app.panel
    if data == "other_classes":
        data = shutil.copytree(tiny_folder, tmp_path / data)
        for number, folder in enumerate(sorted(data.iterdir())):
            folder.rename(data / f"class_{number}")
    app.pick(bundle, data)
    with pytest.raises(RspruneError, match=sentence):
        app.settle()
    assert app.panel is before and "What was open stays: tiny_resnet18_se." in app.status.value
    app.bundle.value = "tiny_resnet18"
    assert app.status.value == ""  # the warning is about what was chosen before


def test_a_damaged_bundle_is_refused(app, shelf, tmp_path):
    copy = shutil.copytree(shelf / "tiny_resnet18_se", tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"not this")
    app.bundle_folder.value = f' "{copy}" '  # as a file manager copies it
    app.open_button.click()
    with pytest.raises(RspruneError, match="SHA-256 differs"):
        app.settle()


def test_only_the_last_pick_is_shown(app):
    for name in ("tiny_resnet18", "tiny_resnet18_se", "nowhere", "tiny_resnet18"):
        app.pick(name)
    app.settle()
    assert app.opened.bundle.path.name == "tiny_resnet18" and app.error is None


def test_where_strangers_come_no_folder_can_be_named(monkeypatch):
    def texts(widget):
        found = [widget] if getattr(widget, "placeholder", "") == "path on this machine" else []
        return found + [text for child in getattr(widget, "children", ()) for text in texts(child)]

    assert len(texts(StudioApp("tiny_resnet18"))) == 2
    monkeypatch.setenv(SHARED, "1")
    app = StudioApp("tiny_resnet18")
    assert texts(app) == []
    app.bundle_folder.value = "/etc"  # as a forged message would
    app.open_button.click()
    with pytest.raises(RspruneError, match="only what the lists offer"):
        app.settle()
    app.bundle_folder.value = ""
    app.bundle.value = "tiny_resnet18_se"
    app.open_button.click()
    app.settle()
    assert app.opened.bundle.path.name == "tiny_resnet18_se"


def test_the_door_answers_with_a_sentence():
    assert "Unknown lesson" in open_app("leson").value
    assert "Unknown bundle" in open_app(bundle="nowhere").value
    assert isinstance(open_app(bundle="tiny_resnet18"), StudioApp)


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_opens_with_its_start(name, app):
    panel = lesson_panel(app.opened.studio, name)
    lesson = LESSONS[name]
    for field, value in lesson.start.items():
        assert getattr(panel.start, field) == value
    assert len(panel.parts) == len(set(lesson.parts) - {"votes"})  # classifiers have no class x filter map
    for control in set(lesson.hide) - {"own", "presets"}:
        assert getattr(panel.controls, control).layout.display == "none"
    assert (panel.presets in panel.children[1].children[0].children) == ("presets" not in lesson.hide)
    assert lesson.task[:20] in panel.children[0].value
    panel.settle()


def test_a_plan_goes_out_and_comes_back(app):
    take = part(app, TakeAway)
    app.panel.controls.ratio.value = 0.7
    wanted = app.panel.settle()
    assert take.links.value == ""  # behind, it does nothing
    app.panel.tabs.selected_index = list(app.panel.tabs.children).index(take)
    files = saved(take.links.value)
    assert set(files) == {"plan.json", "session.json"}
    assert Plan.from_json(files["plan.json"].decode()) == wanted.plan
    assert "prune(" in take.code.value
    app.panel.controls.ratio.value = 0.2
    app.panel.settle()
    take.plan_file.value = [upload("plan.json", "\ufeff".encode() + files["plan.json"])]  # as Notepad saves it
    got = app.panel.settle()
    assert (got.plan, got.cost, got.quality) == (wanted.plan, wanted.cost, wanted.quality)
    assert got.setting.amount == "plan" and "plan was loaded" in take.status.value


def upload(name, content):
    import datetime

    return {
        "name": name, "type": "application/json", "size": len(content), "content": memoryview(content),
        "last_modified": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    }  # fmt: skip


def bad_plans(studio):
    plan = studio.apply(Setting("l2")).plan
    raw = json.loads(plan.to_json())
    other = create_model("resnet18", 4, width=0.25, seed=0).eval()
    return {
        "empty": b"",
        "no JSON": b"{",
        "binary": b"\xff\xfe\x00",
        "a list": b"[]",
        "another schema": b'{"schema": "else"}',
        "deep": b"[" * 100_000,
        "huge": b" " * 6_000_000,
        "emptied group": json.dumps(raw | {"keep": raw["keep"] | {"conv1": []}}).encode(),
        "channel beyond": json.dumps(raw | {"keep": raw["keep"] | {"conv1": [99]}}).encode(),
        "another network": full_plan(find_groups(other, 32)).to_json().encode(),
        "a session": Session.of(studio, History(Setting("l2"))).to_json().encode(),
        "400 digits": plan.to_json().replace('"ratio": 0.5', f'"ratio": {"9" * 400}').encode(),
    }


@pytest.mark.parametrize(
    "name",
    ["empty", "no JSON", "binary", "a list", "another schema", "deep", "huge", "emptied group", "channel beyond",
     "another network", "a session", "400 digits"],
)  # fmt: skip
def test_a_bad_plan_is_a_sentence_and_nothing_moves(app, name):
    take, before = part(app, TakeAway), app.panel.settle()
    take.plan_file.value = [upload("p.json", bad_plans(app.opened.studio)[name])]
    assert isinstance(take.error, RspruneError) and "⚠ p.json" in take.status.value
    assert "Traceback" not in take.status.value
    assert app.panel.settle() is before


def test_a_session_restores_everything_on_the_bundle_it_belongs_to(app):
    studio, panel = app.opened.studio, app.panel
    panel.controls.ratio.value = 0.7
    panel.settle()
    panel.controls.locks["conv1"].value = True
    panel.controls.own["layer4.0.conv1"].value = 0.9
    wanted = panel.settle()
    panel.controls.scope.value = "global"
    panel.settle()
    panel.undo.click()
    panel.settle()
    text = Session.of(studio, panel.explorer.history, "tiny_resnet18_se").to_json()
    assert len(text) < 20_000
    app.pick("tiny_resnet18")
    app.settle()
    part(app, TakeAway).load_session(text)
    app.settle()
    assert app.opened.bundle.path.name == "tiny_resnet18_se"
    got = app.panel.settle()
    assert (got.setting, got.plan, got.cost, got.quality) == (wanted.setting, wanted.plan, wanted.cost, wanted.quality)
    untimed = [[replace(p, latency_ms=1.0, clear=True) for p in side.past] for side in (app.panel, panel)]
    assert untimed[0] == untimed[1]  # an unclear time may have been measured again meanwhile
    assert not app.panel.redo.disabled
    app.panel.redo.click()
    assert app.panel.settle().setting.scope == "global"


def bad_sessions(studio):
    good = json.loads(Session.of(studio, History(Setting("l2"))).to_json())
    history = good["history"]
    point = Point.of(studio.final(Setting("l2", recovery="none"))).to_dict()
    return {
        "another version": good | {"version": 2},
        "another network": good | {"network": "0" * 64},
        "other images": good | {"data": "else"},
        "no history": good | {"history": None},
        "place beyond": good | {"history": history | {"place": 7}},
        "unknown field": good | {"history": history | {"path": [{"colour": 1}]}},
        "unknown criterion": good | {"history": history | {"path": [{"criterion": "best"}]}},
        "criterion is a list": good | {"history": history | {"path": [{"criterion": ["l2"]}]}},
        "ratio beyond": good | {"history": history | {"path": [{"criterion": "l2", "ratio": 3}]}},
        "ratio is text": good | {"history": history | {"path": [{"criterion": "l2", "ratio": "0.5"}]}},
        "own is a list": good | {"history": history | {"path": [{"criterion": "l2", "own": [1]}]}},
        "endless path": good | {"history": history | {"path": [{"criterion": "l2"}] * 20_001}},
        "endless name": good | {"history": history | {"path": [{"criterion": "l2", "recovery": "x" * 100_000}]}},
        "not for this network": good | {"history": history | {"start": {"criterion": "hessian"}}},
        "unknown group": good | {"history": history | {"path": [{"criterion": "l2", "locked": ["conv99"]}]}},
        "accuracy beyond": good | {"history": history | {"points": [point | {"score": 2.0}]}},
        "half a point": good | {"history": history | {"points": [{"plan": "x"}]}},
        "scan of others": good | {"scans": {"l2": {"criterion": "l2", "ratios": [0.5], "curves": {"a": [0.5]},
                                                   "dense": 0.9, "n": 10}}},
        "broken scan": good | {"scans": {"l2": {"criterion": "l2"}}},
    }  # fmt: skip


def test_a_bad_session_is_a_sentence_and_nothing_moves(app, monkeypatch):
    take, before = part(app, TakeAway), app.panel.settle()
    points, now = list(app.panel.past), app.panel.setting
    sessions = bad_sessions(app.opened.studio)
    known = [name for name in app.opened.studio.criteria if name != "hessian"]
    monkeypatch.setattr(Studio, "criteria", known)
    for name, session in sessions.items():
        take.session_file.value = [upload("s.json", json.dumps(session | {"x": name}).encode())]
        assert isinstance(take.error, RspruneError), name
        assert "⚠ s.json" in take.status.value and len(take.status.value) < 2500, name
        assert (app.panel.settle(), app.panel.setting, app.panel.past) == (before, now, points), name


def test_the_bundle_that_is_taken_away_is_the_network_on_the_screen(app, tmp_path):
    take = part(app, TakeAway)
    app.panel.go(Setting("l2", ratio=0.6, recovery="bn"))
    snapshot = app.panel.settle()
    take.pack.click()
    (content,) = saved(take.packed.value).values()
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path)
    again = load_bundle(tmp_path)
    assert again.plan == snapshot.plan and cost(again.model, 32) == snapshot.cost
    assert again.config["measured"]["accuracy"] == snapshot.quality.accuracy
    studio = app.opened.studio
    right = sum(int((again.model(x).argmax(1) == y).sum()) for x, y in studio.validation)
    assert abs(right / snapshot.quality.n - snapshot.quality.accuracy) <= 1 / snapshot.quality.n  # half precision


def test_a_pruned_network_can_be_pruned_on_and_taken_away(app, tmp_path, tiny_data):
    studio = app.opened.studio
    first = studio.final(Setting("l2", ratio=0.4, recovery="none"))
    again = Studio(studio.network(first.plan), tiny_data, progress=False, **OPTIONS)
    second = again.final(Setting("l2", ratio=0.5, recovery="none"))
    whole = compose(first.plan, second.plan)
    assert whole.widths == second.plan.widths and whole.sizes == first.plan.sizes
    zipfile.ZipFile(io.BytesIO(bundle_zip(again, second, first.plan))).extractall(tmp_path)
    assert cost(load_bundle(tmp_path).model, 32) == second.cost
    with pytest.raises(PlanError, match="not for the network that the first one leaves"):
        compose(second.plan, first.plan)


def test_settings_survive_json_and_defaults_stay_out(app):
    plan = app.opened.studio.apply(Setting("l2")).plan
    for setting in (
        Setting("l2"),
        Setting("fpgm", "global", "macs", macs=0.1, normalise="max", locked=("conv1",), recovery="bn"),
        Setting("l1", amount="plan", given=plan, own={"conv1": 0.25}),
        Setting("attention", amount="threshold", threshold=0.3),
    ):
        assert Setting.from_dict(json.loads(json.dumps(setting.to_dict()))) == setting
    assert Setting().to_dict() == {}


def wait_until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_kernel_calls_itself_alive_until_nobody_uses_the_page():
    pulse = Pulse(awake=60, every=0.02)
    first = pulse.value
    wait_until(lambda: pulse.beats > 4)
    assert "rsprune-lost" in pulse.value and "Reload" in pulse.value and "max-height:0" in pulse.value
    assert first.removesuffix("1-->") == pulse.value[:-4]  # only the comment changes, which puts the element there anew
    pulse._touched -= 100
    wait_until(lambda: "not been used" in pulse.value)
    beats = pulse.beats
    time.sleep(0.1)
    assert pulse.beats == beats  # silent, so the server can end it
    pulse.touch()
    assert "rsprune-lost" in pulse.value and pulse.beats == beats + 1
    pulse._touched -= 100
    wait_until(lambda: "not been used" in pulse.value)
    pulse.get_state("value")
    assert pulse.asleep
    assert "rsprune-lost" in pulse.get_state()["value"]  # a page that opens asks for everything
    pulse.close()
    beats = pulse.beats
    time.sleep(0.1)
    assert pulse.beats == beats


def test_a_move_keeps_the_app_awake(app):
    app.pulse._touched -= 10_000
    app.panel.go(replace(app.panel.setting, ratio=0.63))
    app.panel.settle()
    assert not app.pulse.asleep


# what a person could trip over


def test_a_share_is_typed_in_percent(app):
    ratio, macs = app.panel.controls.ratio, app.panel.controls.macs
    for typed, share in (("33", 0.33), ("40 %", 0.4), ("12,5", 0.125), ("99", 0.95), ("0", 0.0)):
        ratio.percent.value = typed
        assert app.panel.setting.ratio == share and ratio.slider.value == share
        assert ratio.percent.value == f"{100 * share:.3g} %"
    for nonsense in ("", "a third", "nan", "1e400", "inf", "9" * 400 + "%"):
        ratio.percent.value = nonsense
        assert app.panel.setting.ratio == 0.0 and ratio.percent.value == "0 %"
    ratio.slider.value = 0.5  # as it is dragged
    assert ratio.percent.value == "50 %" and app.panel.setting.ratio == 0.5
    app.panel.controls.own["conv1"].percent.value = "25"
    assert app.panel.setting.own == {"conv1": 0.25}
    app.panel.go(replace(app.panel.setting, ratio=0.97, own={"conv1": 0.99}))  # as a file may have it
    assert ratio.percent.value == "97 %" and app.panel.controls.own["conv1"].percent.value == "99 %"
    app.panel.controls.amount.value = "macs"
    macs.percent.value = "60"
    assert app.panel.setting.macs == 0.6
    app.panel.settle()


def test_what_cannot_be_packed_is_a_sentence(app, small_files):
    take = part(app, TakeAway)
    take.pack.click()
    assert saved(take.packed.value)
    with small_files:
        take.pack.click()
    assert "⚠ Cannot write" in take.status.value and take.packed.value == ""
    take.pack.click()
    assert saved(take.packed.value) and take.status.value == ""


def test_what_was_left_out_of_a_folder_is_said(app):
    note = "96 images in 4 classes taken; left out: 2 empty files (field/\u202e.png)."
    app.opened = replace(app.opened, data=replace(app.opened.data, notes=(note,)))
    assert "left out: 2 empty files (field/\\u202e.png)" in app._notice()


def test_nothing_removed_says_what_became_of_the_gates(app):
    app.panel.controls.ratio.value = 0.0
    app.panel.settle()
    assert (
        "SE gates are folded into the weights" in app.panel.words.value
        and "with its SE gates" in app.panel.gauges.value
    )
    app.panel.controls.ratio.value = 0.5
    app.panel.settle()
    assert "SE gates" not in app.panel.words.value + app.panel.gauges.value
    app.pick("tiny_resnet18")
    app.settle()
    app.panel.controls.ratio.value = 0.0
    app.panel.settle()
    assert "SE gates" not in app.panel.words.value + app.panel.gauges.value


@pytest.fixture
def gate(app, monkeypatch):
    """Scores that have not been computed yet wait for this."""
    gate, studio, compute = threading.Event(), app.opened.studio, app.opened.studio.scoring.scores

    def scores(name, *watch, **options):
        assert studio.scoring.knows(Setting(name)) or gate.wait(20)
        return compute(name, *watch, **options)

    monkeypatch.setattr(studio.scoring, "scores", scores)
    yield gate
    gate.set()
    app.panel.settle()


def test_nothing_of_another_setting_is_shown_or_taken_while_a_criterion_is_scored(app, gate):
    take, tune, scan = part(app, TakeAway), part(app, TuneView), part(app, ScanView)
    for view in (tune, scan, take):
        app.panel.tabs.selected_index = list(app.panel.tabs.children).index(view)
    assert saved(take.links.value)
    app.panel.controls.criterion.value = "taylor"
    panel = app.panel
    shown = [panel.gauges, panel.words, panel.bars, panel.scores, panel.classes, take.links, take.code]
    assert panel.gauges.value.count("…") == 4
    assert not any(re.search(r"\d of \d|channels stay|points\)|download", view.value) for view in shown)
    take.pack.click()
    assert "still being measured" in take.status.value and take.packed.value == ""
    tune.start()
    assert tune.job.run is None and "no network on the screen yet" in str(tune.error)
    scan.run()
    assert scan.running is None and scan.run_button.disabled
    gate.set()
    snapshot = panel.settle()
    assert snapshot.setting.criterion == "taylor" and saved(take.links.value)
    assert f"{snapshot.quality.accuracy:.1%}" in panel.gauges.value
    assert take.status.value == "" and tune.error is None  # what was said holds no longer
    assert not scan.run_button.disabled


def test_a_setting_without_an_answer_shows_no_numbers(app):
    panel = app.panel
    panel.go(replace(panel.setting, amount="macs", macs=1e-6))
    assert "smallest possible" in panel.status.value and panel.gauges.value.count("…") == 4
    panel.undo.click()
    assert "…" not in panel.gauges.value and panel.status.value == ""
    with_own = replace(panel.setting, ratio=0.45)
    panel.presets.buttons["sensitivity"].click()  # there is no scan: a search that finds nothing moves nothing
    with pytest.raises(RspruneError):
        panel.settle()
    assert "…" not in panel.gauges.value
    panel.go(with_own)
    panel.settle()
    assert panel.status.value == ""


def test_the_same_file_can_be_loaded_again(app):
    take = part(app, TakeAway)
    plan = app.opened.studio.apply(Setting("l2", ratio=0.8)).plan.to_json().encode()
    for _ in range(2):
        take.plan_file.value = [upload("plan.json", plan)]
        assert app.panel.setting.amount == "plan"
        assert take.plan_file.value == ()  # else the second time would be no change
        app.panel.controls.amount.value = "ratio"
    app.panel.settle()


def poisoned(studio):
    """A session with a number in it that is a number for JSON only."""
    point = Point.of(studio.final(Setting("l2", recovery="none"))).to_dict()
    good = json.loads(Session.of(studio, History(Setting("l2"))).to_json())
    long, history = "9" * 400, good["history"]
    for key in ("params", "macs", "dense_macs", "n", "latency_ms", "score"):
        text = json.dumps(good | {"history": history | {"points": [point | {key: -1}]}})
        yield text.replace(f'"{key}": -1', f'"{key}": {long}')
    for key in ("ratio", "macs", "threshold"):
        yield json.dumps(good | {"history": history | {"path": [{"criterion": "l2", key: -1}]}}).replace(
            f'"{key}": -1', f'"{key}": {long}'
        )
    for text in ("1e999", "Infinity", "NaN", "1" * 30):
        yield json.dumps(good | {"history": history | {"points": [point | {"latency_ms": -1}]}}).replace(
            '"latency_ms": -1', f'"latency_ms": {text}'
        )
    yield json.dumps(good | {"history": history | {"place": 7}}).replace('"place": 7', f'"place": {long}')


def test_a_number_of_400_digits_is_a_sentence_and_poisons_nothing(app):
    take, before = part(app, TakeAway), app.panel.settle()
    for text in poisoned(app.opened.studio):
        take.session_file.value = [upload("s.json", text.encode())]
        assert isinstance(take.error, RspruneError) and "⚠ s.json" in take.status.value, text[-300:]
        assert app.panel.settle() is before
    with pytest.raises(RspruneError, match="expected a number"):
        Setting("l2", ratio=10**400)


def tuned_session(app):
    """A session that ends with a fine-tuned network, and what is on the screen then."""
    tune = part(app, TuneView)
    app.panel.go(Setting("l2", ratio=0.5, recovery="bn"))
    app.panel.settle()
    tune.images.value, tune.epochs.value = None, 1
    tune.start()
    tune.settle()
    tune.keep()
    wanted = app.panel.settle()
    assert wanted.recovered == "tuned"
    take = part(app, TakeAway)
    app.panel.tabs.selected_index = list(app.panel.tabs.children).index(take)
    return saved(take.links.value)["session.json"], wanted


def test_a_session_that_ended_fine_tuned_comes_back(app):
    text, wanted = tuned_session(app)
    for name in ("tiny_resnet18", "tiny_resnet18_se"):
        app.pick(name)
        app.settle()
        part(app, TakeAway).session_file.value = [upload("session.json", text)]
        app.settle()
        got = app.panel.settle()
        assert (got.setting, got.plan, got.quality) == (wanted.setting, wanted.plan, wanted.quality)
        assert "session was loaded" in part(app, TakeAway).status.value
    raw = json.loads(text)
    del raw["tuned"]  # as one was written whose network is too large
    app.pick("tiny_resnet18_se")
    app.settle()
    take = part(app, TakeAway)
    take.session_file.value = [upload("session.json", json.dumps(raw).encode())]
    got = app.panel.settle()
    assert got.plan == wanted.plan and got.setting.recovery == "live" and "go on from before" in take.status.value


def test_a_fine_tuned_network_in_a_session_is_not_trusted(app):
    raw = json.loads(tuned_session(app)[0])
    tuned, take, before = raw["tuned"], part(app, TakeAway), app.panel.settle()
    for harm in (
        {"weights": tuned["weights"][:-400]},
        {"weights": "not base64"},
        {"weights": "nöt base64"},
        {"weights": base64.b64encode(b"\x80\x04pickle").decode()},
        {"note": tuned["note"] | {"loss": 'ce"); print("run'}},
        {"note": tuned["note"] | {"recovery": "tuned"}},
        {"note": tuned["note"] | {"images": "8"}},
        {"note": {}},
        {"plan": raw["history"]},
        {"plan": json.loads(app.opened.studio.apply(Setting("l2", ratio=0.1)).plan.to_json())},
    ):
        take.session_file.value = [upload("s.json", json.dumps(raw | {"tuned": tuned | harm}).encode())]
        assert isinstance(take.error, RspruneError), harm
        assert app.panel.settle() is before


@pytest.mark.parametrize("setting", [
    Setting("l2", ratio=0.6, recovery="none"),
    Setting("attention", ratio=0.5, recovery="live"),
    Setting("similarity", amount="threshold", threshold=0.3, normalise="mean", selector="scored", recovery="bn"),
    "plan",
    "tuned",
])  # fmt: skip
def test_copied_code_runs_as_it_stands(app, setting):
    studio = app.opened.studio
    if setting == "plan":
        setting = Setting("l2", amount="plan", given=studio.apply(Setting("random", ratio=0.7)).plan, recovery="none")
    shown = tuned_session(app)[1] if setting == "tuned" else None
    if shown is None:
        app.panel.go(setting)
        shown = app.panel.settle()
    app.panel.code_button.value = True
    text = html.unescape(re.search(r"<pre[^>]*>(.*)</pre>", app.panel.code.value, re.DOTALL)[1])
    space = {}
    exec(text, space)  # nothing but what was pasted
    assert space["plan"].hash == shown.plan.hash
    images, _ = next(iter(studio.trained.batches("val", None)))
    with torch.no_grad():
        expected = studio.networks.recovered(shown)(images)
        torch.testing.assert_close(space["small"](images), expected, rtol=1e-3, atol=1e-3)
    assert "navigator.clipboard.writeText" in html.unescape(app.panel.code.value)


def test_two_bundles_of_one_name_open_as_the_line_that_was_chosen(app, shelf):
    other = shelf / "runs" / "tiny_resnet18_se"
    shutil.copytree(shelf / "tiny_resnet18", other)
    try:
        choices = open_bundle.bundles()
        assert len({choice.title for choice in choices}) == len({choice.key for choice in choices}) == 3
        again = StudioApp("tiny_resnet18")
        for choice in choices:
            again.bundle.value = choice.key
            again.open_button.click()
            again.settle()
            assert again.opened.bundle.path == choice.path and again.bundle.value == choice.key
        again.pick(str(other))
        again.settle()
        session = Session.of(again.opened.studio, again.panel.explorer.history, "tiny_resnet18_se").to_json()
        again.pick(next(choice.key for choice in choices if choice.path == shelf / "tiny_resnet18_se"))
        again.settle()
        part(again, TakeAway).load_session(session)
        again.settle()
        assert again.opened.bundle.path == other  # of the two that have its name, the one it belongs to
        again.close()
    finally:
        shutil.rmtree(shelf / "runs")


def test_synthetic_images_are_named_whatever_else_is_said(app):
    app.opened = replace(app.opened, data=replace(app.opened.data, synthetic=True))
    app.pick("nowhere")
    with pytest.raises(RspruneError):
        app.settle()
    assert "Unknown bundle" in app.status.value and "Synthetic scenes" in app.status.value
    app.bundle.value = "tiny_resnet18"
    assert "Unknown bundle" not in app.status.value and "Synthetic scenes" in app.status.value


def test_a_bundle_from_elsewhere_gets_a_line_and_the_last_choice_counts(app, shelf, tmp_path):
    copy = shutil.copytree(shelf / "tiny_resnet18", tmp_path / "elsewhere")
    app.bundle_folder.value = str(copy)
    app.open_button.click()
    app.settle()
    assert app.opened.bundle.path == copy and app.bundle.label.startswith("elsewhere")
    app.bundle_folder.value = str(copy)
    app.bundle.value = "tiny_resnet18_se"
    app.open_button.click()
    app.settle()
    assert app.opened.bundle.path.name == "tiny_resnet18_se"


def test_the_map_has_round_ticks_ends_at_its_last_point_and_its_list_follows(app):
    panel = app.panel
    for ratio in (0.7, 0.3, 0.5):
        panel.controls.ratio.value = ratio
        panel.settle()
        place = panel.explorer.history.place(panel.snapshot)
        assert panel.trail.chosen.value == place
    panel.trail.chosen.value = 0
    panel.undo.click()
    panel.settle()
    assert panel.trail.chosen.value == panel.explorer.history.place(panel.snapshot)
    chart = panel.trail.chart.value
    right = max(float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart))
    line = re.search(r'<path d="([^"]+)"', chart)[1]
    assert max(float(x) for x in re.findall(r"[MH]([\d.]+)", line)) <= right
    for low in (0.0, 0.1, 0.3, 0.6, 0.7, 0.8, 0.9):
        levels = [round(100 * level, 6) for level in markup.ticks(low, 1.0)]
        assert 3 <= len(levels) <= 7 and {round(b - a, 6) for a, b in itertools.pairwise(levels)} <= {1, 2, 5, 10, 20}
        assert all(level % 1 == 0 for level in levels)
