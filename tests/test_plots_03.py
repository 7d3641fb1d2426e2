"""Figures of notebook 03: each can be drawn from plain data and says what it must say."""

import matplotlib as mpl
import numpy as np

from rsprune_lib import plots

RATIOS = (0.0, 0.5, 0.9)
GROUPS = {"conv1": (8, [("conv1", "out"), ("conv2", "in")]), "conv2": (4, [("conv2", "out"), ("fc", "in")])}


def texts(figure):
    assert plots.png(figure, dpi=40).startswith(b"\x89PNG")
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_residual_channels_follow_one():
    words = texts(plots.residual_channels(5, 3, title="toy"))
    assert "carries channel 3" in words
    assert "5 maps" in words


def test_coupling_map_names_sizes():
    words = texts(plots.coupling_map(GROUPS, ["conv1", "conv2", "fc"]))
    assert "conv1 (8)" in words
    assert "reads them" in words


def test_sensitivity_map_writes_every_cell():
    words = texts(plots.sensitivity_map(RATIOS, {"conv1": (0.9, 0.8, 0.11)}, dense=0.9, synthetic=True))
    assert "11%" in words
    assert "synthetic data" in words
    texts(plots.sensitivity_map(RATIOS, {"conv1": (0.9, 0.95, 1.0)}, dense=0.9))


def test_fit_says_how_much_is_explained():
    target = np.linspace(-1, 1, 20)
    words = texts(plots.fit_against_target(target, {"same": target, "nothing": np.zeros(20)}, title="toy"))
    assert "R² = 1.00" in words
    assert "R² = 0.00" in words


def test_ratio_curves_share_one_legend():
    lines = {"raw cut": (RATIOS, (0.8, 0.5, 0.1)), "closed form": (RATIOS, (0.9, 0.9, 0.7))}
    figure = plots.ratio_curves({"l2": lines, "random": lines}, dense=0.95, synthetic=True)
    assert "dense 95.0%" in texts(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["raw cut", "closed form"]


def test_speedups_have_a_line_to_be_compared_with():
    words = texts(plots.speedups({"batch 1": [(1, 1, "dense"), (10, 3, "70%")], "batch 32": [(1, 1, ""), (10, 8, "")]}))
    assert "time as MACs" in words
    assert "70%" in words
