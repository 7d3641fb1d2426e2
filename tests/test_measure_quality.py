"""Quality: golden numbers by hand, absent classes, and a network left as it was."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rsprune_lib.errors import ModelError
from rsprune_lib.measure import evaluate, predict, quality, wilson
from rsprune_lib.models import create_model, evaluating


def logits_of(probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log()


def test_golden_numbers_by_hand():
    """Four images, three classes; class 2 has no image, and nobody answers 2."""
    logits = logits_of([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]])
    found = quality(logits.float(), torch.tensor([0, 0, 1, 1]))
    assert found.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert found.accuracy == 0.75 and found.n == 4
    assert found.per_class[:2] == (1.0, 0.5) and math.isnan(found.per_class[2])
    assert found.nll == pytest.approx(-np.log([0.9, 0.6, 0.7, 0.2]).mean(), rel=1e-6)
    # bins of width 1/15: 0.9 alone, 0.6 alone (right), both 0.7 together (one right of two)
    assert found.ece == pytest.approx(0.25 * 0.1 + 0.25 * 0.4 + 0.5 * 0.2, rel=1e-5)
    assert found.ci == wilson(3, 4)


def test_perfect_and_confident():
    found = quality(100 * torch.eye(5), torch.arange(5))
    assert found.accuracy == 1 and found.ece < 1e-6 and found.nll < 1e-12
    assert found.ci[0] < 1 and found.ci[1] == 1


def test_certain_answers_share_the_last_bin():
    """Confidence 1 and wrong, 0.96 and right: one bin, |0.5 - 0.98|; in two bins it would be 0.52."""
    logits = torch.tensor([[0.0, 200.0], [math.log(0.96), math.log(0.04)]])
    assert quality(logits, torch.tensor([0, 0])).ece == pytest.approx(0.48, abs=1e-5)


def test_calibration_has_fifteen_bins():
    """Confidences .68 (right) and .72 (wrong) lie in one of fifteen bins, |.5 - .7|; in two of ten it would be .52."""
    logits = logits_of([[0.68, 0.32], [0.72, 0.28]])
    assert quality(logits, torch.tensor([0, 1])).ece == pytest.approx(0.2, abs=1e-5)


def test_uniform_answers_cost_log_k():
    found = quality(torch.zeros(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert found.nll == pytest.approx(math.log(3))
    assert found.ece == pytest.approx(0, abs=1e-6)  # confidence 1/3, right 1/3 of the time
    assert found.confusion[:, 0].tolist() == [2, 2, 2]  # the first of equals is the answer


def test_wilson_textbook_values():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    lower, upper = wilson(7857, 8100)
    assert lower < 0.97 < upper and upper - lower == pytest.approx(2 * 1.96 * math.sqrt(0.97 * 0.03 / 8100), rel=0.01)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**31))
def test_invariants(classes, images, seed):
    """Confusion sums to the images, its diagonal is the accuracy, and the order of the images does not matter."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    found = quality(logits, labels)
    assert found.confusion.sum() == images and found.confusion.trace() == round(found.accuracy * images)
    assert np.array_equal(found.confusion.sum(1), np.bincount(labels, minlength=classes))
    assert 0 <= found.ci[0] <= found.accuracy <= found.ci[1] <= 1 and 0 <= found.ece <= 1
    order = torch.randperm(images, generator=generator)
    again = quality(logits[order], labels[order])
    assert again.accuracy == found.accuracy and again.nll == pytest.approx(found.nll)
    assert again.ece == pytest.approx(found.ece, abs=1e-5)


def test_json_has_no_nan():
    row = json.loads(json.dumps(quality(torch.eye(3)[:2], torch.tensor([0, 1])).to_dict(), allow_nan=False))
    assert not {"metric", "metrics"} & row.keys(), "a plain classifier has one number that leads"
    assert row["per_class"] == [1.0, 1.0, None] and row["confusion"][2] == [0, 0, 0] and len(row["ci"]) == 2


@pytest.fixture
def model():
    model = create_model("resnet18_se", 4, width=0.125, seed=0).train()
    nn.init.ones_(model.layer4[1].bn2.weight)
    model.bn1.eval()
    return model


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(7, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    return list(zip(images.split(3), labels.split(3), strict=True))


def test_predict_in_order_and_in_eval_mode(model, batches):
    logits, labels = predict(model, batches, progress=False)
    assert logits.shape == (7, 4) and logits.dtype == torch.float32 and labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert model.training and model.layer1.training and not model.bn1.training
    with evaluating(model), torch.no_grad():
        torch.testing.assert_close(logits, torch.cat([model(images) for images, _ in batches]))
    (logits * torch.ones(4, requires_grad=True)).sum().backward()  # an inference tensor would refuse


def test_predict_restores_the_mode_when_the_network_fails(model, batches):
    handle = model.fc.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(model, batches, progress=False)
    handle.remove()
    assert model.training and not model.bn1.training


def test_predict_sends_batches_to_the_type_of_the_network(model, batches):
    logits, _ = predict(model.double(), batches, progress=False)
    assert logits.dtype == torch.float32


def test_progress_is_shown_and_can_be_silenced(model, batches, capsys):
    predict(model, batches, progress=False)
    assert capsys.readouterr().err == ""
    predict(model, batches)
    assert "predict" in capsys.readouterr().err


def test_evaluate_is_quality_of_predict(model, batches):
    assert evaluate(model, batches, progress=False) == quality(*predict(model, batches, progress=False))


@pytest.mark.parametrize(
    ("logits", "labels", "sentence"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), "Label 3 does not fit a network of 3 classes"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "Label -1 does not fit"),
        (torch.tensor([[0.0, math.nan], [0.0, 1.0]]), torch.tensor([0, 1]), "NaN or infinite logits for 1 of 2 images"),
        (torch.zeros(2, 3), torch.tensor([0]), r"labels of shape \(1,\)"),
        (torch.zeros(0, 3), torch.tensor([], dtype=torch.int64), "at least one image"),
        (torch.zeros(2, 1), torch.tensor([0, 0]), "two classes"),
    ],
)
def test_bad_input_is_one_clear_sentence(logits, labels, sentence):
    with pytest.raises(ModelError, match=sentence):
        quality(logits, labels)


def test_no_batches_is_one_clear_sentence(model):
    with pytest.raises(ModelError, match="no image to predict"):
        predict(model, [], progress=False)
