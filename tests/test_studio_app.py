"""The app without a browser: picking networks, lessons, sessions, uploads and downloads."""

import base64
import io
import json
import re
import shutil
import time
import zipfile
from dataclasses import replace

import pytest

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.errors import PlanError, RspruneError
from rsprune_lib.measure import cost, provenance
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Plan, compose, find_groups, full_plan, gate_statistics
from rsprune_studio import Setting, Studio, lesson_panel
from rsprune_studio.engine import open_bundle
from rsprune_studio.engine.history import History, Point
from rsprune_studio.engine.session import Session
from rsprune_studio.views.app import SHARED, StudioApp, open_app
from rsprune_studio.views.kernel_alive import Pulse
from rsprune_studio.views.lessons import LESSONS
from rsprune_studio.views.takeaway import TakeAway, bundle_zip

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


def saved(html):
    """File name -> content of every download link."""
    links = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', html)
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
        ("tiny_resnet18", "other_classes", "The network tiny_resnet18 knows the classes"),
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


def test_a_damaged_bundle_is_refused(app, shelf, tmp_path):
    copy = shutil.copytree(shelf / "tiny_resnet18_se", tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"not this")
    app.bundle_folder.value = str(copy)
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
        found = [widget] if type(widget).__name__ == "Text" else []
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
    assert len(panel.parts) == len(lesson.parts)
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
    take.plan_file.value = [upload("plan.json", files["plan.json"])]
    got = app.panel.settle()
    assert (got.plan, got.cost, got.quality) == (wanted.plan, wanted.cost, wanted.quality)
    assert got.setting.amount == "plan" and "was loaded" in take.status.value


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
    }


@pytest.mark.parametrize(
    "name",
    ["empty", "no JSON", "binary", "a list", "another schema", "deep", "huge", "emptied group", "channel beyond",
     "another network", "a session"],
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
    assert app.panel.past == panel.past
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
        "unknown group": good | {"history": history | {"path": [{"criterion": "l2", "locked": ["conv99"]}]}},
        "accuracy beyond": good | {"history": history | {"points": [point | {"accuracy": 2.0}]}},
        "half a point": good | {"history": history | {"points": [{"plan": "x"}]}},
        "scan of others": good | {"scans": {"l2": {"criterion": "l2", "ratios": [0.5], "accuracy": {"a": [0.5]},
                                                   "dense": 0.9, "n": 10}}},
        "broken scan": good | {"scans": {"l2": {"criterion": "l2"}}},
    }  # fmt: skip


def test_a_bad_session_is_a_sentence_and_nothing_moves(app):
    take, before = part(app, TakeAway), app.panel.settle()
    points, now = list(app.panel.past), app.panel.setting
    for name, session in bad_sessions(app.opened.studio).items():
        take.session_file.value = [upload("s.json", json.dumps(session | {"x": name}).encode())]
        assert isinstance(take.error, RspruneError), name
        assert "⚠ s.json" in take.status.value, name
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
