"""Channels by hand: a plan that says so, in history, files, code, locks and presets; and the criterion beside it."""

import json

import numpy as np
import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.pruning import Plan
from rsprune_studio import Setting, Studio, lesson_panel
from rsprune_studio.draw.by_hand import brushed, choice_table, hand_sentence
from rsprune_studio.engine.by_hand import between, by_hand, hand_groups, locked_by_hand
from rsprune_studio.engine.choice_comparison import compare_choices
from rsprune_studio.engine.presets import PRESETS
from rsprune_studio.views.hand import SHOWN
from rsprune_studio.views.lessons import Lesson

START = Setting("l2", ratio=0.5, recovery="none")
STREAM = "conv1"  # of a ResNet: its channels stand in all layers of the first residual stream


@pytest.fixture(scope="module")
def studio(lively_se, tiny_data):
    return Studio(lively_se, tiny_data, images=16, val_images=8, first=4, batch_size=8, progress=False)


@pytest.fixture(scope="module")
def begun(studio):
    studio.scoring.scores("l2")
    return studio.apply(START)


@pytest.fixture
def panel(studio):
    panel = lesson_panel(studio, Lesson("", parts=("hand", "takeaway"), start={"criterion": "l2", "recovery": "none"}))
    panel.settle()
    panel.tabs.selected_index = panel.tabs.titles.index("By hand")
    yield panel
    panel.close()


def test_a_pick_is_a_plan_that_says_by_hand_and_keeps_the_rest(studio, begun):
    kept = begun.plan.keep[STREAM]
    setting = by_hand(begun, STREAM, kept[:2], "remove")
    now = studio.apply(setting)
    assert now.plan.keep == {**begun.plan.keep, STREAM: kept[2:]}
    assert hand_groups(setting) == (STREAM,) and hand_groups(START) is None
    assert now.plan.how == {"chosen": "by hand", "groups": [STREAM], "begun_with": begun.plan.how}
    assert now.cost.macs < begun.cost.macs
    other = studio.apply(by_hand(now, "layer1.0.conv1", [0, 1], "only"))
    assert other.plan.keep["layer1.0.conv1"] == (0, 1) and other.plan.keep[STREAM] == kept[2:]
    assert other.plan.how["groups"] == [STREAM, "layer1.0.conv1"] and other.plan.how["begun_with"] == begun.plan.how
    back = studio.apply(by_hand(other, STREAM, kept[:2], "add"))
    assert back.plan.keep[STREAM] == kept
    assert "Picked by hand: channels of conv1, layer1.0.conv1." in hand_sentence(back.setting)


def test_a_pick_of_a_stream_goes_through_all_its_layers(studio, begun):
    small = studio.network(studio.apply(by_hand(begun, STREAM, [0, 1, 2], "only")).plan)
    layers = ("conv1", "layer1.0.conv2", "layer1.1.conv2")
    assert {small.get_submodule(name).out_channels for name in layers} == {3}


@pytest.mark.parametrize(
    ("channels", "how", "sentence"),
    [(range(100), "remove", "No channel of conv1 would be left"), ([], "only", "No channel"), ([], "add", "Nothing")],
)
def test_what_cannot_be_picked_is_a_sentence(begun, channels, how, sentence):
    with pytest.raises(RspruneError, match=sentence):
        by_hand(begun, STREAM, channels, how)


def test_a_locked_group_stays_whole(studio):
    locked = studio.apply(Setting("l2", ratio=0.5, recovery="none", locked=(STREAM,)))
    with pytest.raises(RspruneError, match="conv1 is locked and stays whole; unlock it in the tab Groups"):
        by_hand(locked, STREAM, [0], "remove")
    picked = by_hand(locked, "layer1.0.conv1", [0], "only")
    assert picked.locked == (STREAM,) and len(picked.given.keep[STREAM]) == picked.given.sizes[STREAM]
    later = locked_by_hand(Setting.from_dict({**picked.to_dict(), "locked": ["layer1.0.conv1"]}))
    assert len(later.given.keep["layer1.0.conv1"]) == 8 and hand_groups(later) == ("layer1.0.conv1",)
    assert locked_by_hand(START) is START


def test_the_brush_holds_what_is_beyond_its_ends():
    values = np.array([-1.0, 0.2, 0.5, 0.9, 7.0])
    assert between(values, 0.1, 0.6, (0.0, 1.0)).tolist() == [1, 2]
    assert between(values, 0.0, 0.6, (0.0, 1.0)).tolist() == [0, 1, 2]
    assert between(values, 0.1, 1.0, (0.0, 1.0)).tolist() == [1, 2, 3, 4]
    picture = brushed(values, [1, 2], (0.0, 1.0), (0.1, 0.6), "a")
    assert "2 of 5 channels stay" in picture and 'x="48.0" y="0" width="240.0"' in picture


def test_the_criterion_answers_at_the_same_macs(studio, begun):
    worst = np.argsort(studio.scoring.values_of(START)[STREAM])[:2]
    mine = studio.final(by_hand(begun, STREAM, worst, "only"))  # the two least important ones
    found = compare_choices(studio, mine)
    assert found.by_criterion.cost.macs <= mine.cost.macs and found.by_criterion.setting.amount == "macs"
    assert found.by_criterion.cost.macs > 0.7 * mine.cost.macs and found.by_criterion.final
    assert found.shared < 1 and found.by_criterion.setting.recovery == "none"
    table = choice_table(found)
    assert "by hand" in table and "l2, local" in table and "validation images" in table
    same = compare_choices(studio, studio.final(by_hand(begun, STREAM, [begun.plan.keep[STREAM][0]], "remove")))
    assert same.paired.p_value >= 0.05 or "better here" in choice_table(same)


def test_presets_start_from_a_pick(studio, begun):
    picked = studio.apply(by_hand(begun, STREAM, begun.plan.keep[STREAM][:1], "remove"))
    setting = PRESETS["global"].make(studio, picked)
    assert setting.given is None and studio.apply(setting).cost.macs <= picked.cost.macs


def test_clicks_are_moves_that_can_be_undone_saved_and_copied(panel, studio):
    hand, before = panel.parts["By hand"], panel.snapshot.plan.keep
    assert hand.versus.disabled
    first = next(button for button in hand.strip if button.value)  # a channel that stays
    channel = int(first.description)
    first.value = False
    assert channel not in panel.snapshot.plan.keep[STREAM] and panel.controls.amount.label == "hand"
    assert first.icon == "times" and "Picked by hand" in panel.words.value
    panel.settle()
    text = studio.code(panel.setting)
    assert "by hand" in text and "Plan.from_json" in text
    panel.tabs.selected_index = panel.tabs.titles.index("Take away")
    history = type(panel.explorer.history).from_dict(json.loads(json.dumps(panel.explorer.history.to_dict())))
    assert hand_groups(history.now) == (STREAM,)
    again = Plan.from_json(panel.snapshot.plan.to_json())
    assert again.how["chosen"] == "by hand"
    panel.tabs.selected_index = panel.tabs.titles.index("By hand")
    panel.controls.locks[STREAM].value = True  # a lock brings the group back
    assert panel.snapshot.plan.widths[STREAM] == panel.snapshot.plan.sizes[STREAM]
    hand.buttons["remove"].click()
    assert "is locked" in hand.status.value and panel.snapshot.plan.widths[STREAM] == panel.snapshot.plan.sizes[STREAM]
    panel.explorer.undo()
    panel.explorer.undo()
    assert panel.snapshot.plan.keep == before and panel.setting.amount == "ratio"
    assert hand.versus.disabled and first.value


def test_the_brush_and_the_pages_of_the_strip(panel):
    hand = panel.parts["By hand"]
    kept = len(panel.snapshot.plan.keep[STREAM])
    hand.buttons["remove"].click()  # at first the brush holds a quarter of those that stay
    assert kept - len(panel.snapshot.plan.keep[STREAM]) == kept // 4
    panel.explorer.undo()
    hand.group.value = "layer4.0.conv1"  # 64 channels: two pages
    values = panel.studio.scoring.values_of(panel.setting)["layer4.0.conv1"]
    shown = [int(button.description) for button in hand.strip]
    assert shown == np.argsort(values, kind="stable")[:SHOWN].tolist()
    hand.forth.click()
    assert int(hand.strip[-1].description) == int(values.argmax()) and hand.forth.disabled
    hand.brush.value = (hand.brush.max / 2, hand.brush.max)
    above = np.flatnonzero(values >= hand.brush.max / 2)
    hand.buttons["only"].click()
    assert panel.snapshot.plan.keep["layer4.0.conv1"] == tuple(above.tolist())
    panel.settle()
    hand.compare()
    hand.settle()
    assert hand.compared is not None and "<table" in hand.result.value
    panel.explorer.undo()
    assert hand.compared is None and "<table" not in hand.result.value  # it was about another setting
