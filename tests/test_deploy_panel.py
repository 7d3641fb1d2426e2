"""A budget picks a network; the panel shows what was picked; widths, figures and closing rows of notebook 08."""

import numpy as np
import pytest

from rsprune_lib.course import DeployPanel, bench_results, bench_table
from rsprune_lib.course.widgets.deploy_panel import within_budget
from rsprune_lib.deploy import BenchRow, Timing, conv_times
from rsprune_lib.measure import Latency
from rsprune_lib.models import create_model
from rsprune_lib.plots import deployed_front, line_chart, number_line, png
from rsprune_lib.tasks import Quality

SPEEDS = {
    ("dense", "eager"): (9, 50),
    ("dense", "onnx"): (4, 30),
    ("small", "eager"): (2, 9),
    ("small", "onnx"): (1, 5),
}
SIZES = {("dense", "eager"): 23, ("dense", "onnx"): 46, ("small", "eager"): 2, ("small", "onnx"): 4}


def latency(ms, busy=False):
    rounds = (ms, ms, ms)
    return Latency(ms, 0.0, 1, 1, "cpu", 3, rounds, busy, tuple(one / 2 for one in rounds))


def bench_rows(busy=False):
    found = []
    for (network, runtime), times in SPEEDS.items():
        accuracy = 0.97 if network == "dense" else 0.96
        judged = Quality(accuracy, (accuracy - 0.01, accuracy + 0.01), (accuracy,) * 2, 0.0, 0.1, 100, np.eye(2))
        own = {
            b: Timing.of(latency(ms, busy), latency(9 if b == 1 else 50, busy))
            for b, ms in zip((1, 32), times, strict=True)
        }
        found.append(BenchRow(network, runtime, SIZES[network, runtime] * 10**6, own, judged))
    return found


ROWS = [row.to_dict() for row in bench_rows()]


@pytest.mark.parametrize(
    ("budget", "batch", "wanted"),
    [
        (100, "1", ("dense", "eager")),  # as accurate as in ONNX Runtime, and its file is smaller
        (4, "1", ("dense", "onnx")),
        (3.9, "1", ("small", "eager")),
        (1, "1", ("small", "onnx")),
        (29, "32", ("small", "eager")),
        (0.9, "1", None),
    ],
)
def test_a_budget_takes_the_most_accurate_that_fits_then_the_smaller_file(budget, batch, wanted):
    row = within_budget(ROWS, budget, batch)
    assert (row and (row["network"], row["runtime"])) == wanted


def test_on_a_busy_machine_a_budget_counts_milliseconds_of_computing():
    rows = [row.to_dict() for row in bench_rows(busy=True)]
    assert within_budget(rows, 2, "1")["runtime"] == "onnx" and within_budget(rows, 2, "1")["network"] == "dense"


def test_the_panel_answers_every_control():
    panel = DeployPanel({1: ROWS, 2: ROWS[:3]}, title="toy")
    panel.budget.value = 1.2
    assert (panel.network.value, panel.runtime.value) == ("small", "onnx")
    assert "Within 1.2 ms" in panel.sentence.value and "4.00 MB, accuracy 96.0%" in panel.sentence.value
    before = panel.picture.value
    panel.network.value = "dense"
    assert "dense in ONNX Runtime: 4 ms for an image, 46.00 MB" in panel.sentence.value
    assert panel.picture.value != before  # the ring is elsewhere
    panel.batch.value = "32"
    assert "30 ms for 32 images" in panel.sentence.value
    panel.network.value, panel.threads.value = "small", 2
    assert panel.sentence.value == "This pair was not measured."
    panel.budget.value = 0.1
    assert "Nothing fits into 0.1 ms" in panel.sentence.value


def test_names_of_networks_are_text():
    rows = [row | {"network": "<b>x</b>"} for row in ROWS[:2]]
    assert "<b>" not in DeployPanel({1: rows}).sentence.value


def test_tables_and_closing_rows():
    text = str(bench_table(ROWS, "a note"))
    assert "batch 32: ms" in text and "2.2 times as fast" in text and "96.00%" in text and text.endswith("a note")
    assert "| dense | PyTorch, as it is | 23.00 |" in bench_table(ROWS).markdown()
    models = {name: create_model("resnet18", 2, width=0.125) for name in ("dense", "small")}
    rows = bench_results(bench_rows(), models, "08", {"data": {"image_size": 32}})
    assert rows[0].speed is None and rows[3].speed == "9.0 times as fast" and rows[3].latency_ms == 1
    assert rows[1].name == "08 dense, ONNX Runtime" and rows[1].part == "test"


def test_a_convolution_is_timed_at_each_width():
    found = conv_times([8, 64], side=8, rounds=3, passes=3)
    assert list(found) == [8, 64] and found[64] > 2 * found[8] > 0


def test_figures_are_drawn():
    assert png(deployed_front(ROWS, chosen=ROWS[1])).startswith(b"\x89PNG")
    ax = line_chart({"one": [1, 2], "other": [2, 3]}, ["a", "b"], xlabel="x", ylabel="y", log=True).axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"] and len(ax.lines) == 2
    ax = number_line([0.0, 0.6], [0.0, 0.5, 1.0]).axes[0]
    assert [point[0] for point in ax.collections[-1].get_offsets()] == [0.0, 0.5]
