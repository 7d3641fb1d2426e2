"""What notebook 04 stands on: pulls of losses, its panel, its checks, its figures."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsprune_lib import plots
from rsprune_lib.course import CheckFailed, LossPanel, Passed
from rsprune_lib.course.checks.notebook_04 import check_hardest_class, check_logit_pull
from rsprune_lib.course.widgets.loss_panel import LOSS_PRESETS, loss_sentence, shaped_losses
from rsprune_lib.errors import TrainingError
from rsprune_lib.training import loss_curve, make_loss, pull_shares, sample_pulls

P = np.array([0.02, 0.3, 0.5, 0.9, 0.99])


@pytest.fixture(scope="module")
def answers():
    """Logits of 400 samples, from hopeless to certain, with their labels."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(400, 10, generator=generator), torch.arange(400) % 10
    logits[torch.arange(400), labels] += torch.linspace(-4, 8, 400)
    return logits, labels


def test_cross_entropy_by_hand():
    curve = loss_curve(make_loss("ce"), P)
    np.testing.assert_allclose(curve.value, -np.log(P), rtol=1e-5)
    np.testing.assert_allclose(curve.slope, -1 / P, rtol=1e-5)
    np.testing.assert_allclose(curve.pull, 1 - P, rtol=1e-4)


def test_mining_by_formula():
    d = 1 - P
    curve = loss_curve(make_loss("mining"), P)
    np.testing.assert_allclose(-curve.slope, (1 + 2 * d) * np.exp(d + d * d) + 0.4 / P, rtol=1e-4)
    np.testing.assert_allclose(curve.pull, -curve.slope * P * d, rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 10, 21])
def test_code_preset_pulls_at_easy_samples(classes):
    ratio = loss_curve(make_loss("mining_code"), P, classes).pull / loss_curve(make_loss("ce"), P, classes).pull
    if classes > 2:
        assert (np.diff(ratio) > 0).all()
    assert ratio[-1] == pytest.approx(1 + 2 / classes, abs=0.05)


def test_pull_of_a_sample_is_the_gradient_on_its_logits(answers):
    logits, labels = answers
    p = logits.softmax(1)
    expected = (p - F.one_hot(labels, 10)).norm(dim=1)
    torch.testing.assert_close(sample_pulls(make_loss("ce"), logits, labels), expected, rtol=1e-4, atol=1e-5)
    assert not logits.requires_grad


def test_shares_sum_to_one_and_follow_difficulty(answers):
    logits, labels = answers
    hard = F.cross_entropy(logits, labels, reduction="none")
    shares = {n: pull_shares(sample_pulls(make_loss(n), logits, labels), hard) for n in ("ce", "focal")}
    assert all(s.sum().item() == pytest.approx(1) for s in shares.values())
    assert (shares["ce"].diff() > 0).all()
    assert shares["focal"][0] < shares["ce"][0]
    assert pull_shares(torch.ones(3), torch.tensor([3.0, 1.0, 2.0]), 3).tolist() == pytest.approx([1 / 3] * 3)
    assert pull_shares(torch.ones(3), torch.ones(3)).tolist() == pytest.approx([1 / 3] * 3)  # a bin each
    with pytest.raises(TrainingError, match="no sample"):
        pull_shares(torch.ones(0), torch.ones(0))


@pytest.mark.parametrize("p", [[0.0, 0.5], [0.5, 1.0], [math.nan]])
def test_probabilities_are_inside_zero_and_one(p):
    with pytest.raises(TrainingError, match="between 0 and 1"):
        loss_curve(make_loss("ce"), np.array(p))


def test_the_figure_preset_draws_the_published_figure():
    d = np.array([0.02, 0.40, 0.60, 0.70, 0.80, 0.90])
    read = np.array([1.48, 3.85, 6.81, 9.24, 12.97, 19.31])
    slope = -loss_curve(make_loss("mining"), 1 - d).slope
    assert (np.abs(slope / read - 1) < 0.02).all()
    assert (np.abs(-loss_curve(make_loss("mining", r2=1.0), 1 - d).slope / read - 1)[3:] > 0.1).all()


def test_panel_moves_figure_and_sentence():
    panel = LossPanel()
    before, said = bytes(panel.picture.value), panel.sentence.value
    assert before.startswith(b"\x89PNG")
    assert "hard" in said
    panel.gamma.value = 4.0
    assert bytes(panel.picture.value) != before
    panel.set("paper's code")
    assert panel.setting == LOSS_PRESETS["paper's code"]
    assert "already easy" in panel.sentence.value
    panel.r1.value = 0.0
    assert "cross-entropy times a constant" in panel.sentence.value
    panel.r2.value = 0.0
    assert len(panel.figure().axes) == 3


def test_every_preset_has_words():
    for setting in LOSS_PRESETS.values():
        assert loss_sentence(shaped_losses(**setting)).endswith(".")


def by_sum(losses, labels):
    return torch.zeros(int(labels.max()) + 1).index_add(0, labels, losses).argmax()


@pytest.mark.parametrize("wrong", [by_sum, lambda losses, labels: "Forest", lambda losses, labels: None])
def test_hardest_class_refuses(wrong):
    with pytest.raises(CheckFailed):
        check_hardest_class(wrong)


def slope(p):
    return (3 - 2 * p) * torch.exp((1 - p) * (2 - p))


@pytest.mark.parametrize(
    ("wrong", "hint"), [(slope, "Chain rule"), (lambda p: -slope(p) * p * (1 - p), "positive"), (lambda p: 1, "shape")]
)
def test_logit_pull_refuses(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check_logit_pull(wrong)


def test_logit_pull_accepts():
    assert isinstance(check_logit_pull(lambda p: slope(p) * p * (1 - p)), Passed)


def test_figures_draw(answers):
    logits, labels = answers
    shares = {"ce": pull_shares(sample_pulls(make_loss("ce"), logits, labels), -logits[:, 0]).tolist()}
    d = np.linspace(0, 0.9, 10)
    nan = float("nan")
    figures = [
        plots.distance_toy([0.5, 0.3, 0.2], 1, ["a", "b", "c"], title="toy"),
        plots.slope_match([0.1, 0.5], [1.0, 2.0], {"formula": (d, 1 + d)}, title="match"),
        plots.pull_bars(shares, title="pull", synthetic=True),
        plots.recovery_curves({"raw": {"ce": ([0, 1], [0.2, 0.6])}, "solved": {"ce": ([0, 1], [0.8, 0.7])}}, dense=0.9),
        plots.class_recovery(["a", "b"], [0.9, nan], [0.5, nan], [0.8, nan]),
    ]
    assert all(plots.png(figure).startswith(b"\x89PNG") for figure in figures)
    assert "synthetic data" in figures[2].axes[0].get_title(loc="left")
