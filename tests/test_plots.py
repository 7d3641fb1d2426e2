"""Figures: each can be drawn from plain data, says what it must say, and touches no global state."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.text import Text

from rsprune_lib import plots
from rsprune_lib.colours import DIVERGING_RAMP, shade, short, signed
from rsprune_lib.plots.style import axis_count, depth_colours, png, spread

RNG = np.random.default_rng(0)
CLASSES = ["Forest", "River", "HerbaceousVegetation"]
IMAGES = RNG.integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
SCORES = {"conv1": RNG.random(16), "layer1.0.conv1": RNG.random(24), "fc": np.zeros(4)}
SIZES = {name: len(values) for name, values in SCORES.items()}
KEPT = {name: size // 2 for name, size in SIZES.items()}
HISTORY = [{"epoch": e, "train_loss": 1 / e, "val_loss": 2 / e, "val_accuracy": 1 - 0.4 / e} for e in (1, 2, 3)]
POINTS = [
    {"name": n, "macs": m, "accuracy": a} for n, m, a in (("dense", 1e8, 0.97), ("small", 1e7, 0.95), ("bad", 2e7, 0.4))
]
P = np.linspace(0.01, 1, 50)

FIGURES = {
    "contact_sheet": lambda: plots.contact_sheet(IMAGES, CLASSES * 2, columns=3, title="t", synthetic=True),
    "contact_rows": lambda: plots.contact_sheet(IMAGES, columns=3, row_labels=["a", "b"], synthetic=True),
    "hard_samples": lambda: plots.hard_samples(IMAGES, CLASSES * 2, CLASSES[::-1] * 2, [0.9] * 6, synthetic=True),
    "training_curves": lambda: plots.training_curves(HISTORY, title="t", synthetic=True),
    "training_many": lambda: plots.training_curves({"a": HISTORY, "b": HISTORY[:1]}, synthetic=True),
    "training_empty": lambda: plots.training_curves([], epochs=5, synthetic=True),
    "confusion": lambda: plots.confusion(np.diag([3, 0, 2]), CLASSES, synthetic=True),
    "gate_heatmap": lambda: plots.gate_heatmap(RNG.random((3, 16)), CLASSES, synthetic=True),
    "gate_relative": lambda: plots.gate_heatmap(np.ones((3, 16)), CLASSES, relative=True, title="t", synthetic=True),
    "score_histograms": lambda: plots.score_histograms(SCORES, cuts={"conv1": 0.3}, synthetic=True),
    "kept_channels": lambda: plots.kept_channels(SIZES, KEPT, synthetic=True),
    "kept_plans": lambda: plots.kept_channels(SIZES, {"l1": KEPT, "random": SIZES}, synthetic=True),
    "sensitivity": lambda: plots.sensitivity([0, 0.5], {g: [0.9, 0.5] for g in SIZES}, dense=0.9, synthetic=True),
    "pareto": lambda: plots.pareto(POINTS, synthetic=True),
    "pareto_series": lambda: plots.pareto([p | {"series": p["name"]} for p in POINTS], synthetic=True),
    "ladder": lambda: plots.ladder([("dense", 0.97, (0.96, 0.98)), ("pruned", 0.41)], synthetic=True),
    "time_shares": lambda: plots.time_shares({"batch": 0.004, "step": 0.2}),
}


def settings():
    return {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"}  # reading that one would choose it


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_without_pyplot_or_global_settings(name):
    before = settings()
    assert png(FIGURES[name](), dpi=40).startswith(b"\x89PNG")
    assert settings() == before
    assert not Gcf.figs
    if name != "time_shares":
        assert "synthetic data" in texts(FIGURES[name]())


def test_a_notebook_can_show_a_figure_by_itself():
    assert plots.canvas()[0]._repr_png_().startswith(b"\x89PNG")


def test_cut_and_counts_agree():
    words = texts(plots.score_histograms({"conv1": np.array([0.1, 0.2, 0.3, 0.4])}, cuts=0.25))
    assert "2 of 4" in words
    assert "8 of 16 (50%)" in texts(plots.kept_channels(SIZES, KEPT))


def test_confusion_is_in_percent_of_the_true_class():
    words = texts(plots.confusion(np.array([[3, 1], [0, 4]]), ["a", "b"]))
    assert "75" in words
    assert "25" in words


def test_pareto_front_keeps_only_unbeaten_points():
    assert plots.pareto_front([3, 1, 2, 1], [0.9, 0.5, 0.4, 0.6]) == [3, 0]
    assert plots.pareto_front([1, 1], [0.5, 0.5]) == [0]


def test_pareto_labels_do_not_overlap():
    figure = plots.pareto(
        [{"name": f"net {i}", "macs": 1e7 * (1 + i / 50), "accuracy": 0.9 + i / 900} for i in range(8)]
    )
    figure.draw_without_rendering()
    labels = [t for t in figure.axes[0].texts if t.get_text()]
    boxes = [t.get_window_extent() for t in labels]
    assert len(labels) >= 2
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_numbers_are_short():
    assert [short(n) for n in (640, 999_552, 15_100_000, 148_050_000, 2e9)] == [
        "640",
        "1.00 M",
        "15.1 M",
        "148 M",
        "2.00 G",
    ]
    assert [axis_count(n) for n in (0, 5e6, 1e8)] == ["0", "5 M", "100 M"]
    assert signed(-2.04) == "−2.0"


def test_labels_are_spread_and_keep_their_order():
    placed = spread([0.5, 0.5, 0.1, 0.52], 0.1)
    assert np.all(np.diff(np.sort(placed)) >= 0.1 - 1e-6)
    assert placed[2] == min(placed)
    assert len(depth_colours(1)) == 1


def test_numbers_are_shaded_from_one_end_of_a_ramp_to_the_other():
    found = shade(DIVERGING_RAMP, np.array([[-1.0, 0.0, 0.5], [0.125, 1.0, 9.0]]))
    assert found.shape == (2, 3, 3) and found.dtype == np.uint8
    assert found[0, 0].tolist() == found[0, 1].tolist() == [0xB8, 0x4A, 0x00]
    assert found[0, 2].tolist() == [0xF7, 0xF7, 0xF5]
    assert found[1, 0].tolist() == [213, 126, 61]  # half-way between the first two stops
    assert found[1, 1].tolist() == found[1, 2].tolist() == [0x0A, 0x5A, 0x99]


def test_the_live_tool_starts_without_matplotlib():
    """It takes half a second of a kernel's start."""
    code = "import sys, rsprune_studio.views.app; assert 'matplotlib' not in sys.modules, 'matplotlib was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_dollar_in_a_name_begins_no_formula():
    figure = plots.class_counts({"train": np.array([3, 2])}, ["a$\\x$", "_%s{0}"], title="own $")
    labels = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert plots.png(figure).startswith(b"\x89PNG")
    assert {text.get_text() for text in labels} == {"a$\\x$", "own $"}
    assert not any(text.get_parse_math() for text in labels)
