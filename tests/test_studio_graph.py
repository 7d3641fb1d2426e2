"""The similarity graph as a view of the live tool: edges follow the cut, colours follow the plan."""

import re
from dataclasses import replace

import numpy as np
import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.models import create_model
from rsprune_lib.plots import graph_places
from rsprune_lib.pruning import SELECTORS, select
from rsprune_lib.pruning.similarity.selectors import Graph, nested
from rsprune_studio import Setting, Studio, lesson_panel
from rsprune_studio.draw.graph import SELECTOR_WORDS, graph
from rsprune_studio.views.graph import GraphView


@pytest.fixture(scope="module")
def studio(tiny_data):
    model = create_model("resnet18", tiny_data.num_classes, width=0.25, stem="small", seed=0).eval()
    return Studio(model, tiny_data, images=16, val_images=16, progress=False)


def drawn(text):
    """(edges, kept vertices, removed vertices) of a drawing."""
    return text.count("<path"), text.count("stays;"), text.count("goes;")


def test_edges_and_colours_follow_the_cut(studio):
    view = GraphView(studio)
    view.active = True
    seen = []
    for cut in (0.05, 0.3, 0.45):
        snapshot = studio.apply(Setting("similarity", amount="threshold", threshold=cut))
        view.show(snapshot)
        view.settle()
        edges, stay, go = drawn(view.picture.value)
        assert stay == snapshot.plan.widths["conv1"] and stay + go == 16
        values = studio.scoring.similar().values["conv1"].double().numpy()
        one = Graph.at(values, 1 - cut, values.sum(1))
        assert edges == one.edges.sum() // 2 and stay == max(1, nested(one).sum())
        assert f"similarity {1 - cut:.2f}" in view.picture.value
        seen.append((edges, stay))
    assert seen[0][0] < seen[1][0] < seen[2][0] and seen[0][1] > seen[2][1]


def test_every_selector_is_at_hand(studio):
    panel = lesson_panel(studio, "graph")
    panel.settle()
    assert panel.controls.selector.layout.display == "" and panel.controls.selector.value == "nested"
    panel.controls.threshold.value = 0.3
    kept = {}
    for name in SELECTORS:
        panel.controls.selector.value = name
        snapshot = panel.settle()
        panel.parts["Graph"].settle()
        kept[name] = drawn(panel.parts["Graph"].picture.value)[1]
        assert SELECTOR_WORDS[name] in panel.parts["Graph"].picture.value
        own = {"selector": name, "rank": studio.scoring.scores("l1") if name != "nested" else None}
        expected = select(studio.scoring.similar(), studio.groups, threshold=0.7, **own)
        assert snapshot.plan.hash == expected.hash and kept[name] == expected.widths["conv1"]
        assert Setting.from_dict(snapshot.setting.to_dict()) == snapshot.setting
        assert f"'selector': '{name}'" in studio.code(snapshot.setting)
    assert len(set(kept.values())) > 1
    panel.go(Setting("l1"))
    assert panel.controls.selector.layout.display == "none"
    with pytest.raises(RspruneError, match="dominating"):
        Setting("similarity", selector="dominatin")


def test_every_amount_and_scope_goes_by_the_selector(studio):
    budget = round(0.4 * studio.dense.cost.macs)
    ranked = studio.scoring.scores("l1")
    for name in set(SELECTORS) - {"nested"}:
        setting = Setting("similarity", amount="macs", macs=0.4, scope="global", selector=name)
        one = studio.apply(setting)
        given = {"macs": budget, "costs": studio.trained.costs, "selector": name, "rank": ranked}
        assert one.plan == select(studio.scoring.similar(), studio.groups, **given) and one.cost.macs <= budget
        assert not studio.scoring.knows(setting), "seconds, so it is left to a worker"
        same = studio.apply(replace(setting, scope="local"))
        widths = studio.apply(Setting("l1", amount="macs", macs=0.4)).plan.widths
        assert same.plan.widths == widths and same.plan.hash != one.plan.hash
        share = Setting("similarity", selector=name, ratio=0.5, own={"conv1": 0.25}, locked=("layer4.1.conv1",))
        kept = studio.apply(share).plan.widths
        assert kept["conv1"] == 12 and kept["layer4.1.conv1"] == 128 and kept["layer1.0.conv1"] == 8


@pytest.mark.parametrize("scope", ["global", "local"])
def test_the_drawing_has_the_edges_that_the_budget_led_to(studio, scope):
    panel = lesson_panel(studio, "graph")
    panel.go(Setting("similarity", amount="macs", macs=0.4, selector="scored", scope=scope))
    snapshot = panel.settle()
    view = panel.parts["Graph"]
    view.settle()
    values = studio.scoring.similar().values["conv1"].double().numpy()
    how = snapshot.plan.how
    at = how["threshold"] if scope == "global" else how["thresholds"]["conv1"]
    edges, stay, _ = drawn(view.picture.value)
    assert edges == Graph.at(values, at).edges.sum() // 2 and stay == snapshot.plan.widths["conv1"]
    assert SELECTOR_WORDS["scored"] in view.picture.value and not panel.controls.scope.disabled
    assert panel.controls.selector.layout.display == ""


def test_another_criterion_shows_its_own_colours_on_the_usual_edges(studio):
    view = GraphView(studio)
    snapshot = studio.apply(Setting("l1", ratio=0.5))
    view.show(snapshot)
    assert view.picture.value == "", "nothing is compared while the view is behind"
    view.active = True
    view.settle()
    assert drawn(view.picture.value)[1:] == (8, 8) and "another criterion" in view.picture.value
    assert "similarity 0.75" in view.picture.value
    view.group.value = "layer2.0.conv1"
    view.settle()
    assert drawn(view.picture.value)[1:] == (16, 16)


def test_layers_without_a_pattern_say_so(tiny_data):
    model = create_model("resnet18", tiny_data.num_classes, width=0.125, seed=0).eval()
    small = Studio(model, tiny_data, images=16, val_images=16, progress=False)
    view = GraphView(small)
    view.active = True
    view.group.value = "layer4.0.conv1"
    view.show(small.apply(Setting("l1")))
    view.settle()
    assert "layer4.0.conv1 is left out: its feature maps have one pixel" in view.picture.value


def test_what_goes_wrong_is_a_sentence_on_the_screen(studio, monkeypatch):
    view = GraphView(studio)
    view.active = True
    monkeypatch.setattr(studio.scoring, "similar", lambda *_: 1 / 0)
    view.show(studio.apply(Setting("l1")))
    with pytest.raises(ZeroDivisionError):
        view.settle()
    assert "ZeroDivisionError" in view.status.value


def test_lesson_begins_with_the_graph_in_front(studio):
    panel = lesson_panel(studio, "graph")
    assert panel.tabs.titles[panel.tabs.selected_index] == "Graph"
    panel.settle()
    view = panel.parts["Graph"]
    view.settle()
    before = drawn(view.picture.value)
    panel.controls.threshold.value = 0.4
    panel.settle()
    view.settle()
    assert drawn(view.picture.value)[0] > before[0]
    assert panel.snapshot.plan.widths["conv1"] == drawn(view.picture.value)[1]


def test_places_are_the_same_every_time_and_put_alike_near_alike():
    random = np.random.default_rng(0)
    kind = np.arange(40) % 4
    values = np.where(kind[:, None] == kind[None], 0.9, 0.5) + 0.02 * random.random((40, 40))
    values = (values + values.T) / 2
    np.fill_diagonal(values, 1)
    places = graph_places(values)
    assert np.array_equal(places, graph_places(values))
    assert places.shape == (40, 2) and places.min() == 0 and places.max() == 1
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    same = kind[:, None] == kind[None]
    assert apart[same].mean() < 0.6 * apart[~same].mean()
    for count in (1, 2, 3):
        assert graph_places(np.eye(count)).shape == (count, 2)


def test_drawing_is_limited_and_says_so():
    values = np.full((80, 80), 0.9)
    np.fill_diagonal(values, 1)
    text = graph(values, graph_places(values), np.arange(80) == 0, 0.75, "nested")
    assert drawn(text) == (900, 1, 79) and "3,160 edges" in text and "900 of the strongest" in text
    assert not re.search(r"nan|inf", text)
