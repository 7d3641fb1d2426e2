"""Pictures of masks, and the colours that they are painted in."""

import numpy as np

from rsprune_lib import plots
from rsprune_lib.colours import mistakes, painted

PALETTE = ((0, 255, 0), (255, 0, 0))
CLASSES = ("grass", "roof")


def labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_masks_are_painted_and_what_is_unknown_stays_white():
    picture = painted(np.array([[0, 1], [255, 2]], np.uint8), PALETTE)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[0, 255, 0], [255, 0, 0]], [[255] * 3, [255] * 3]]
    assert painted(np.array([[-100, 1]]), PALETTE).tolist() == [[[255] * 3, [255, 0, 0]]]


def test_mistakes_are_coloured_where_the_truth_is_known():
    image = np.full((1, 3, 3), 100, np.uint8)
    right, wrong, unknown = mistakes(image, np.array([[0, 1, 1]]), np.array([[0, 0, 255]]), 2)[0].tolist()
    assert right[0] == right[1] == right[2] < 255 and wrong[0] > wrong[2] + 50 and unknown == [255] * 3


def test_a_grid_of_masks_has_heads_above_and_classes_below():
    rows = [{"image": np.zeros((4, 6, 3), np.uint8), "truth": np.zeros((4, 6, 3), np.uint8)}] * 2
    figure = plots.mask_grid(rows, CLASSES, PALETTE, captions=("one", "two"), title="Masks", synthetic=True)
    axes = np.array(figure.axes).reshape(2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["image", "truth"] and [ax.get_title() for ax in axes[1]] == ["", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CLASSES)
    assert figure.get_suptitle() == "Masks · synthetic data"
    assert plots.png(figure).startswith(b"\x89PNG")
    assert np.allclose(*(axes[0, 0].get_window_extent().height, axes[1, 1].get_window_extent().height), rtol=0.02)


def test_pixels_of_classes_stand_in_order_with_rare_ones_marked():
    (ax,) = plots.class_pixels([10, 990], CLASSES, rare=(0,)).axes
    assert labels(ax) == ["roof", "grass"] and ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.texts] == ["99.00%", "1.00% · rare"]
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True]


def test_iou_of_classes_has_a_marker_for_each_network():
    spans = {"dense": [(0.4, 0.6), (0.7, 0.9)]}
    (ax,) = plots.class_iou(CLASSES, {"dense": (0.5, 0.8), "pruned": (0.1, np.nan)}, ranges=spans, rare=(1,)).axes
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["dense"].get_xdata().tolist() == [0.5, 0.8] and lines["pruned"].get_xdata()[0] == 0.1
    assert lines["dense"].get_marker() != lines["pruned"].get_marker()  # not told apart by colour alone
    assert labels(ax) == ["grass", "roof (rare)"]
    assert sorted(tuple(line.get_xdata()) for line in ax.lines if line.get_linestyle() == "-") == spans["dense"]


def test_channels_of_classes_are_shares_of_their_row_and_rules_say_what_stays():
    table = np.array([[1.0, 4.0, 2.0], [0.0, 0.0, 8.0]])
    top, strips, _bar = plots.class_channels(table, CLASSES, {"turns": [2, 1]}, order=(2, 1, 0)).axes
    assert top.images[0].get_array().tolist() == [[0.5, 1.0, 0.25], [1.0, 0.0, 0.0]]
    assert labels(strips) == ["turns: 2 stay"] and [text.get_text() for text in strips.texts] == ["×"]
    assert strips.texts[0].get_position()[0] == 2  # the last one in this order, channel 0, goes
    assert len(plots.class_channels(table, CLASSES).axes) == 2
