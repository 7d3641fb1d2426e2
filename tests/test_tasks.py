"""Tasks: records add up to the numbers worked out by hand, for classes, exits and masks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure import compare, evaluate, predict, quality
from rsprune_lib.tasks import IGNORE, TASKS, get_task, task_of


def mask_logits(answers, classes):
    """(B, K, H, W) logits that answer a mask with a margin of 2."""
    return 2.0 * torch.nn.functional.one_hot(answers, classes).permute(0, 3, 1, 2).float()


def test_segmentation_by_hand():
    """Two images of 2 x 3 pixels, three classes, class 2 nowhere; one pixel unknown."""
    truth = torch.tensor([[[0, 0, 1], [0, 1, IGNORE]], [[1, 1, 1], [1, 1, 1]]])
    answer = torch.tensor([[[0, 1, 1], [0, 1, 0]], [[1, 1, 1], [1, 1, 0]]])
    task = get_task("segmentation")
    records = task.record(mask_logits(answer, 3), truth)
    assert records.shape == (2, 10)
    found = task.quality(records, task.label(truth))
    assert found.confusion.tolist() == [[2, 1, 0], [1, 7, 0], [0, 0, 0]]
    assert found.accuracy == pytest.approx(9 / 11) and found.n == 2
    assert found.per_class[:2] == pytest.approx((2 / 4, 7 / 9)) and math.isnan(found.per_class[2])
    assert found.metric == "mIoU" and found.score == found.metrics["mIoU"] == pytest.approx((2 / 4 + 7 / 9) / 2)
    assert found.metrics["mF1"] == pytest.approx((2 * 2 / 6 + 2 * 7 / 16) / 2)
    right, wrong = -math.log(math.exp(2) / (math.exp(2) + 2)), -math.log(1 / (math.exp(2) + 2))
    assert found.nll == pytest.approx((9 * right + 2 * wrong) / 11, rel=1e-5)
    assert found.ci[0] <= found.score <= found.ci[1] and found.ci[0] < found.ci[1]
    row = found.to_dict()
    assert row["metric"] == "mIoU" and row["ece"] is None and row["per_class"][2] is None
    assert task.scores(records, None).tolist() == pytest.approx([4 / 5, 5 / 6])


def test_records_of_batches_add_up_to_the_whole():
    torch.manual_seed(0)
    task, logits = get_task("segmentation"), torch.randn(5, 4, 6, 7)
    truth = torch.randint(0, 4, (5, 6, 7)).masked_fill(torch.rand(5, 6, 7) < 0.1, IGNORE)
    parts = torch.cat([task.record(logits[i : i + 2], truth[i : i + 2]) for i in (0, 2, 4)])
    assert torch.equal(parts, task.record(logits, truth))


def test_most_frequent_class_of_a_mask():
    task = get_task("segmentation")
    masks = torch.tensor([[[2, 2, 0]], [[IGNORE, IGNORE, 1]], [[IGNORE] * 3]])
    assert task.label(masks).tolist() == [2, 1, IGNORE]
    assert task.label(torch.full((1, 1, 3), IGNORE)).tolist() == [IGNORE]


def test_an_image_without_a_known_pixel_counts_nowhere():
    task, truth = get_task("segmentation"), torch.tensor([[[0, 1]], [[IGNORE, IGNORE]]])
    records = task.record(mask_logits(torch.tensor([[[0, 1]], [[0, 0]]]), 2), truth)
    assert task.quality(records, task.label(truth)).score == 1
    assert math.isnan(task.scores(records, None)[1]) and math.isnan(task.losses(records, None)[1])


@pytest.mark.parametrize(
    "logits, masks, words",
    [
        (torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, dtype=torch.int64), "expected"),
        (torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), 2), "outside 0 to 1"),
        (torch.zeros(1, 2), torch.zeros(1, 2, 2, dtype=torch.int64), "expected"),
    ],
)
def test_masks_that_do_not_fit_are_refused(logits, masks, words):
    with pytest.raises(ModelError, match=words):
        get_task("segmentation").record(logits, masks)


class TwoExits(nn.Module):
    task = "exits"

    def forward(self, images):
        first = images.mean((2, 3))
        return [first, first * torch.tensor([1.0, 3.0, 1.0])]


def test_exits_lead_with_the_last_and_tell_the_others():
    images = torch.tensor([[3.0, 2.0, 0.0], [0.0, 1.0, 0.0]])[:, :, None, None].expand(-1, -1, 4, 4)
    batches = [(images, torch.tensor([1, 1]))]
    records, labels = predict(TwoExits(), batches, progress=False)
    assert records.shape == (2, 2, 3)
    found = evaluate(TwoExits(), batches, progress=False)
    assert found.accuracy == 1 and found.score == 1 and found.metrics == {"accuracy of exit 1": 0.5}
    task = task_of(TwoExits(), None)
    loss = task.objective(nn.CrossEntropyLoss(), TwoExits()(images), labels)
    each = [nn.functional.cross_entropy(records[:, e], labels) for e in (0, 1)]
    assert loss == pytest.approx(float(sum(each)) / 2)


def test_a_network_names_its_task_else_its_data_does():
    class Source:
        task = TASKS["segmentation"]

    assert task_of(TwoExits(), Source()).name == "exits"
    assert task_of(nn.Identity(), Source()).name == "segmentation"
    assert task_of(nn.Identity(), [1]).name == "classification"
    with pytest.raises(RspruneError, match="did you mean 'segmentation'"):
        get_task("segmentaton")


def test_two_segmenters_are_compared_image_by_image():
    truth = torch.zeros(4, 2, 2, dtype=torch.int64)
    good, bad = truth.clone(), truth.clone()
    bad[:3, 0, 0] = 1
    task = get_task("segmentation")
    one, other = (task.record(mask_logits(a, 2), truth) for a in (bad, good))
    found = compare(one, other, task.label(truth), task)
    assert (found.gained, found.lost, found.p_value) == (3, 0, 0.25)


def test_the_interval_of_miou_holds_what_other_draws_give():
    """Of 200 draws of 40 images, the interval of each holds the population's mIoU about nineteen times in twenty."""
    rng = np.random.default_rng(1)
    task = get_task("segmentation")
    right = rng.uniform(0.4, 1.0, (2000, 2))
    counts = np.zeros((2000, 2, 2))
    counts[:, 0, 0], counts[:, 0, 1] = 100 * right[:, 0], 100 * (1 - right[:, 0])
    counts[:, 1, 1], counts[:, 1, 0] = 100 * right[:, 1], 100 * (1 - right[:, 1])
    records = torch.cat([torch.tensor(counts).flatten(1), torch.zeros(2000, 1)], 1)
    whole, inside = task.quality(records, None).score, 0
    for _ in range(200):
        low, high = task.quality(records[rng.choice(2000, 40)], None).ci
        inside += low <= whole <= high
    assert 176 <= inside <= 199


def test_losses_and_scores_of_single_images():
    task, records = get_task("classification"), torch.tensor([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]]).log()
    assert task.losses(records, torch.zeros(3).long()).tolist() == pytest.approx(
        [-math.log(x) for x in (0.75, 0.25, 0.5)]
    )
    assert task.scores(records, torch.zeros(3).long()).tolist() == [1, 0, 1]
    truth, answer = torch.tensor([[[0, 1]], [[0, IGNORE]]]), torch.tensor([[[0, 0]], [[0, 0]]])
    task, right, wrong = get_task("segmentation"), math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    found = task.losses(task.record(mask_logits(answer, 2), truth), None)
    assert found.tolist() == pytest.approx([(right + wrong) / 2, right], rel=1e-5)


def one_class(shares):
    """Records of images of class 0 alone, of whose 1,000 pixels such a share is right: mIoU is half the mean share."""
    right = (1000 * torch.as_tensor(shares, dtype=torch.float64)).round()
    return torch.stack([right, 1000 - right, 0 * right, 0 * right, 0 * right], 1)


def test_the_interval_of_miou_has_a_confidence_of_95_percent():
    """Of a mean the interval is known: 1.96 standard errors to both sides (1.64 would be 90 %, 2.58 be 99 %)."""
    shares = np.random.default_rng(0).uniform(0.2, 1.0, 400)
    found = get_task("segmentation").quality(one_class(shares), None)
    half = 1.96 * shares.std() / 20 / 2
    assert found.score == pytest.approx(shares.mean() / 2, abs=1e-3)
    assert found.ci == pytest.approx((found.score - half, found.score + half), abs=0.1 * half)
    assert found.ci == get_task("segmentation").quality(one_class(shares), None).ci, "the same each time"


def test_the_interval_of_miou_is_around_it():
    """Seven images of a class each, all with a pixel that is taken for the next: most draws lack a class and score
    less, so that the value itself is beyond what 97.5 % of the draws give."""
    truth = torch.arange(7)[:, None, None].expand(7, 1, 40)
    answer = truth.clone()
    answer[:, 0, 0] = (truth[:, 0, 0] + 1) % 7
    task = get_task("segmentation")
    found = task.quality(task.record(mask_logits(answer, 7), truth), None)
    assert found.ci[0] < found.score <= found.ci[1]


def test_quality_takes_a_task_by_name():
    assert quality(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).metric == "accuracy"
    with pytest.raises(RspruneError, match="Unknown task"):
        quality(torch.zeros(1, 2), torch.tensor([0]), "regression")
