"""Figures about exits."""

import numpy as np
import torch

from rsprune_lib import plots
from rsprune_lib.measure import ExitRule, oracle, outcome, sweep


def records():
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    logits = (
        torch.randn(60, 3, 3) + torch.nn.functional.one_hot(labels, 3)[:, None] * torch.tensor([1.0, 2.0, 4.0])[:, None]
    )
    return logits, labels


def texts(figure):
    return {t.get_text() for ax in figure.axes for t in [*ax.texts, ax.title]} | {
        label for ax in figure.axes for label in ax.get_legend_handles_labels()[1]
    }


def test_exit_curves_draw_every_rule_and_mark_what_was_chosen():
    logits, labels = records()
    costs = (1, 2, 4)
    curves = {kind: sweep(logits, labels, costs, kind) for kind in ("margin", "entropy")}
    chosen = outcome(logits, labels, costs, ExitRule("margin", (0.5, 0.5)))
    ideal = outcome(logits, labels, costs, oracle(logits, labels))
    alone = [(cost / 4, 0.5) for cost in costs]
    figure = plots.exit_curves(curves, alone=alone, oracle=ideal, chosen=chosen, synthetic=True)
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    assert np.allclose(lines["margin"].get_xdata(), [o.cost for o in curves["margin"]])
    assert np.allclose(lines["entropy"].get_ydata(), [o.accuracy for o in curves["entropy"]])
    assert lines["margin"].get_linestyle() != lines["entropy"].get_linestyle()  # not told apart by colour alone
    assert (lines["chosen threshold"].get_xdata(), lines["chosen threshold"].get_ydata()) == (
        chosen.cost,
        chosen.accuracy,
    )
    assert {"exit 1", "exit 2", "final"} <= texts(figure)
    assert "synthetic data" in ax.get_title(loc="left")


def test_exit_rates_put_the_class_first_that_leaves_earliest():
    rates = {"Late": (0.1, 0.2, 0.7), "Early": (0.8, 0.1, 0.1)}
    figure = plots.exit_rates(rates, accuracies={"Late": 0.9, "Early": 1.0})
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Early", "Late"]
    widths = [patch.get_width() for patch in ax.patches]
    assert np.allclose(widths, [0.8, 0.1, 0.1, 0.2, 0.1, 0.7])
    assert {"exit 1", "exit 2", "to the end", "90.0% right"} <= texts(figure)


def test_latency_front_has_a_panel_a_batch_size_and_time_an_image():
    points = [
        {"name": "dense", "series": "plain", "accuracy": 0.97, "ms": {"1": 8.0, "32": 96.0}},
        {"name": "dense, exits", "series": "exits", "accuracy": 0.969, "ms": {"1": 4.0, "32": 64.0}},
    ]
    one, many = plots.latency_front(points).axes
    assert [float(c.get_offsets()[0][0]) for c in one.collections] == [8.0, 4.0]
    assert [float(c.get_offsets()[0][0]) for c in many.collections] == [3.0, 2.0]
    assert "batch 1 " in one.get_xlabel() and "batch 32 " in many.get_xlabel()


def test_spectra_draw_numbers_and_pictures():
    figure = plots.spectra({"image": np.zeros((4, 4, 3), np.uint8), "amplitude": np.eye(4)})
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["image", "amplitude"]
