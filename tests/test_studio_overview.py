"""The first screen: the network as a picture, a few images with both answers, and when each of them follows."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest

from rsprune_lib.measure import layer_costs
from rsprune_lib.models import create_model
from rsprune_lib.pruning import find_groups
from rsprune_studio import Setting, Studio, lesson_panel
from rsprune_studio.draw.network import in_one_line, network
from rsprune_studio.draw.theme import DARK, INK
from rsprune_studio.draw.tiles import tiles
from rsprune_studio.engine.comparison import Answer
from rsprune_studio.engine.examples import Examples
from rsprune_studio.engine.inside import Inside
from rsprune_studio.engine.mask_answers import MaskAnswer
from rsprune_studio.engine.outline import outline
from rsprune_studio.views.lessons import LESSONS

START = Setting("l2", ratio=0.5, recovery="none")


@pytest.fixture(scope="module")
def studio(lively_se, tiny_data):
    return Studio(lively_se, tiny_data, images=16, val_images=8, first=4, batch_size=8, progress=False)


@pytest.fixture(scope="module")
def snapshot(studio):
    return studio.final(START)


@pytest.fixture(scope="module")
def stages(studio):
    return outline(studio.groups, studio.trained.costs, (32, 32))


def drawn(name, size, **config):
    model = create_model(name, 4, **config)
    return outline(find_groups(model, size), layer_costs(model, size), (size, size))


def test_a_resnet_is_four_stages_with_a_stream_each(stages, studio):
    assert [stage.title for stage in stages] == ["8 × 8", "4 × 4", "2 × 2", "vector"]
    for stage in stages:
        assert sum(piece.stream for piece in stage.pieces) == 1 and len(stage.columns) == 1
    assert [piece.name for stage in stages for piece in stage.pieces] == [group.name for group in studio.groups]


def test_a_plain_network_has_no_stream_and_a_decoder_comes_back_up():
    assert not any(piece.stream for stage in drawn("vgg16", 64, width=0.125) for piece in stage.pieces)
    titles = [stage.title for stage in drawn("unet1", 64, width=1 / 16)]
    assert titles == titles[::-1] and titles[0] == "64 × 64"


def test_a_squeeze_belongs_to_the_stage_around_it():
    stages = drawn("ghostnet", 64, width=0.5)
    assert "vector" not in [stage.title for stage in stages[:-1]]
    assert all(stages[k].title != stages[k + 1].title for k in range(len(stages) - 1))


def test_the_blue_part_of_a_frame_is_the_share_that_stays(stages, studio, snapshot):
    for kept in (snapshot, studio.apply(replace(START, ratio=0.25))):
        text = network(stages, kept, 4)
        group = text.split("<title>layer4.0.conv1: ")[1].split("</g>")[0]
        frame, blue = (float(one) for one in re.findall(r'height="([\d.]+)"', group)[:2])
        assert blue / frame == pytest.approx(kept.plan.widths["layer4.0.conv1"] / 64, abs=0.01)
        assert "residual stream" not in group and "conv1: residual stream, " in text


def test_it_is_one_line_for_a_screen_reader_and_the_narrowest_is_marked(stages, studio):
    plan = studio.apply(replace(START, own={"layer3.0.conv1": 0.9})).plan
    shown = replace(studio.apply(START), plan=plan)
    text, line = network(stages, shown, 4), in_one_line(stages, shown)
    assert f'role="img" aria-label="{line}"' in text
    assert "The narrowest group is layer3.0.conv1 with 3 of 32 channels." in line and "2 × 2 36%" in line
    assert text.count("; the narrowest group</title>") == 1 and text.count("▲ 3<") == 1


def test_images_are_chosen_by_the_dense_network_alone(studio, snapshot):
    examples = Examples(Inside(studio))
    answers = examples.answers(snapshot)
    assert len(set(examples.images)) == 6 and set(examples.images) <= set(studio.validation.indices)
    first = examples.images
    assert [answer.image for answer in answers] == list(first)
    again = Examples(Inside(studio))
    again.answers(studio.final(replace(START, ratio=0.8)))
    assert again.images == first
    sure = {answer.image: answer.confidence[0] for answer in answers}
    rest = set(studio.validation.indices) - set(first)
    inside = Inside(studio)
    labels = studio.data.labels
    free = [image for image in rest if labels[image] not in {labels[one] for one in first[:3]}]
    for image in free:  # none of a class that was still free is less sure
        assert inside.answer(snapshot, image).confidence[0] >= min(sure[one] for one in first[3:])


def test_a_changed_answer_is_marked_by_more_than_colour(tiny_data):
    right, wrong = np.array([0.7, 0.1, 0.1, 0.1]), np.array([0.1, 0.6, 0.2, 0.1])
    images = np.flatnonzero(tiny_data.labels == 0)
    pairs = [(right, wrong), (wrong, right), (right, right), (wrong, np.array([0.1, 0.2, 0.6, 0.1]))]
    text = tiles([Answer(*pair, 0, int(images[k])) for k, pair in enumerate(pairs)], tiny_data)
    cells = text.split('role="listitem"')[1:]
    assert ["≠ lost" in cells[0], "≠ won" in cells[1], "≠" in cells[2], "≠ changed" in cells[3]] == [1, 1, 0, 1]
    assert "✗&nbsp;forest" in cells[0] and "60%" in cells[0] and "✓&nbsp;field" in cells[0]
    assert '"rsprune-pruned"><div' in text.split("Pruning changed the answer to 3 of them.")[0][-200:]  # goes with it


def test_a_segmenters_images_show_both_masks(fields):
    truth = fields.masks[0]
    worse = truth.copy()
    worse[:20] = 1 - (truth[:20] > 0)
    text = tiles([MaskAnswer(truth, worse, truth, 0), MaskAnswer(truth, truth, truth, 0)], fields)
    first, second = text.split('role="listitem"')[1:]
    assert first.count("<img") == 3 and "of the pixels lost" in first and "of the pixels lost" not in second
    assert "classes of the pruned network" in first


def test_the_picture_follows_at_once_and_the_images_with_the_last_accuracy(studio):
    panel = lesson_panel(studio, replace(LESSONS["free"], parts=(), start={"criterion": "l2", "recovery": "none"}))
    panel.settle()
    overview = panel.top[1]
    overview.settle()
    before, said = overview.network.value, overview.images.value
    assert "<img" in said and "rsprune-waiting" not in overview.images._dom_classes
    panel.explorer._worker.close()  # nothing is measured any more
    panel.controls.ratio.value = 0.8
    assert overview.network.value != before
    assert "rsprune-waiting" in overview.images._dom_classes  # hides what was said of the setting before
    assert overview.images.value == said  # and sends no image
    panel.explorer.undo()
    overview.settle()
    assert overview.network.value == before and "rsprune-waiting" not in overview.images._dom_classes
    panel.close()


def test_a_panel_that_has_settled_shows_its_images(studio, monkeypatch):
    """A cell that waits for the panel ends with them on the screen, and its still holds them."""
    right = Examples.answers

    def slow(self, *given):
        time.sleep(0.5)
        return right(self, *given)

    monkeypatch.setattr(Examples, "answers", slow)
    panel = lesson_panel(studio, replace(LESSONS["free"], parts=(), start={"criterion": "l2", "recovery": "none"}))
    panel.settle()
    assert "<img" in panel.top[1].images.value
    panel.close()


def test_only_the_whole_tool_shows_them(studio):
    for name in ("structure", "recovery"):
        panel = lesson_panel(studio, name)
        assert panel.top == ()
        panel.close()


def test_a_challenge_moves_to_its_start_and_is_judged(studio):
    panel = lesson_panel(studio, replace(LESSONS["free"], parts=(), start={"criterion": "l2", "recovery": "none"}))
    panel.settle()
    bar = panel.top[0]
    assert bar.box.layout.display == "none" and bar.best.layout.display == "none"
    names = [name for _, name in bar.chosen.options]
    assert names[:2] == ["", "budget"]
    bar.chosen.value = "budget"
    panel.settle()
    assert panel.setting.ratio == 0.3 and "Not yet" in bar.box.value and "budget" in bar.state.best
    panel.controls.ratio.value = 0.9
    panel.settle()
    panel.controls.ratio.value = 0.2
    bar.best.click()
    best = bar.state.best["budget"].setting
    assert panel.setting == best
    panel.explorer.undo()
    bar.chosen.value = ""
    assert bar.box.value == "" and bar.state.open is None
    panel.close()


def test_quiet_colours_follow_the_page():
    assert INK == "var(--rsprune-ink,#1F2933)" and "--rsprune-ink:#" in DARK
