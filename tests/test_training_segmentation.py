"""Losses of segmentation: numbers computed by hand on tiny tensors, unknown pixels, body and edge heads."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.errors import TrainingError
from rsprune_lib.measure import edges_of
from rsprune_lib.tasks import IGNORE, TASKS, Parts
from rsprune_lib.training import fit, losses_for, make_loss, recipe
from rsprune_lib.training.segmentation_losses import BodyEdgeLoss, WeightedCE, _darker_sides


class _Spy(nn.Module):
    parts = False

    def forward(self, outputs, target):
        self.seen = outputs
        return target.sum()


def test_a_loss_of_all_parts_gets_them_and_another_the_class_logits():
    task, outputs = TASKS["body_edge"], Parts(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3), torch.ones(1, 3, 3))
    spy, target = _Spy(), torch.zeros(1, 3, 3)
    task.objective(spy, outputs, target)
    assert spy.seen is outputs.logits and task.final(outputs) is outputs.logits
    spy.parts = True
    task.objective(spy, outputs, target)
    assert spy.seen is outputs
    spy.parts = False
    task.objective(spy, outputs.logits, target)  # of a network whose other heads were dropped
    assert spy.seen is outputs.logits


def _logits(*shares):
    """(1, K, 1, P) logits whose softmax is a column of shares for each pixel."""
    return torch.tensor(shares).log().T[None, :, None]


@pytest.fixture(scope="module")
def scenes(tiny_data):
    """Images of 32 px whose left 24 columns are class 0, 6 are class 1, 2 unknown; class 2 occurs in no mask."""
    masks = np.zeros((len(tiny_data.labels), 32, 32), np.uint8)
    masks[:, :, 24:30], masks[:, :, 30:] = 1, 255
    images = tiny_data.images[:, :32, :32]
    return dataclasses.replace(
        tiny_data, images=images, masks=masks, classes=("a", "b", "c"), task=TASKS["segmentation"],
        palette=((0, 0, 255), (0, 255, 0), (255, 255, 255)),
    )  # fmt: skip


def test_class_weights_come_from_the_training_pixels(scenes):
    loss = make_loss("weighted_ce")
    with pytest.raises(TrainingError, match="prepare"):
        loss(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))
    loss.prepare(scenes)
    assert loss.weights.tolist() == pytest.approx([2 - 0.8, 2 - 0.2, 1])  # an absent class weighs 1
    log = make_loss("weighted_ce_log")
    log.prepare(scenes)
    assert log.weights.tolist() == pytest.approx([1 / math.log(1.10 + p) for p in (0.8, 0.2, 0)])
    even = make_loss("weighted_ce_balanced")
    even.prepare(scenes)
    assert even.weights.tolist() == pytest.approx([0.5 / 0.8, 0.5 / 0.2, 1])
    both = make_loss("weighted_focal_dice")
    both.prepare(scenes)
    assert both.of[0].weights.tolist() == loss.weights.tolist()


def test_weighted_cross_entropy_by_hand():
    logits, target = _logits((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    sums = 1.5 * -math.log(0.5) + 2 * -math.log(0.8)
    assert WeightedCE(weights=(1.5, 2))(logits, target).item() == pytest.approx(sums / 2)  # not by the weights' sum
    assert WeightedCE(weights=(1.5, 2), every_pixel=True)(logits, target).item() == pytest.approx(sums / 3)


def test_focal_of_masks_by_hand():
    logits, target = _logits((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    expected = (0.5**2 * -math.log(0.5) + 0.2**2 * -math.log(0.8)) / 2
    assert make_loss("focal")(logits, target).item() == pytest.approx(expected)


def test_dice_by_hand():
    logits, target = _logits((0.5, 0.4, 0.1), (0.2, 0.7, 0.1), (0.9, 0.1, 0.0)), torch.tensor([[[0, 1, IGNORE]]])
    dice = 2 * 0.5 / (0.5 + 0.2 + 1), 2 * 0.7 / (0.4 + 0.7 + 1)  # class 2 does not occur; pixel 3 is unknown
    expected = 1 - sum(dice) / 2
    logits = logits.clamp_min(-60)
    assert make_loss("dice")(logits, target).item() == pytest.approx(expected)
    both = expected + (-math.log(0.5) - math.log(0.7)) / 2
    assert make_loss("ce_dice")(logits, target).item() == pytest.approx(both)


def test_edges_are_symmetric_and_free_of_the_palette():
    masks = torch.tensor([[[0, 0, 0, 1, 1, IGNORE, 2]]]).repeat(1, 5, 1)
    assert edges_of(masks, 1)[0, 2].tolist() == [0, 0, 1, 1, 0, IGNORE, 0]  # the unknown pixel makes no edge
    assert edges_of(masks, 2)[0, 2].tolist() == [0, 1, 1, 1, 1, IGNORE, 1]  # 1 and 2 are two pixels apart
    swapped = torch.tensor([2, 1, 0])[masks.clamp_min(0)].masked_fill(masks == IGNORE, IGNORE)
    assert torch.equal(edges_of(masks, 2), edges_of(swapped, 2))
    assert torch.equal(edges_of(masks, 1).transpose(1, 2), edges_of(masks.transpose(1, 2), 1))
    assert masks.min() == IGNORE


def test_published_edges_lie_on_the_darker_side_only():
    grey, masks = torch.tensor([29.0, 255.0]), torch.zeros(1, 9, 12, dtype=torch.int64)
    masks[..., 6:] = 1
    row = _darker_sides(masks, grey)[0, 4].tolist()
    assert row == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0]  # dark column 5, blurred by two


def test_the_body_loss_is_relaxed_at_boundaries_and_skips_windows_with_unknown_pixels():
    loss = BodyEdgeLoss(weights=(1.25, 2.0))
    target = torch.zeros(1, 5, 6, dtype=torch.int64)
    target[..., 3:] = 1
    proportions = torch.tensor([[3 / 5, 2 / 5], [2 / 5, 3 / 5]])  # of the two windows
    flat = torch.full((1, 2, 5, 6), 0.5).log()
    relaxed = lambda row: sum(w * q * math.log(q / 0.5) for w, q in zip((1.25, 2), row, strict=True))  # noqa: E731
    assert loss.body(flat, target).item() == pytest.approx(sum(map(relaxed, proportions.tolist())) / 2, rel=1e-5)
    ragged = target.clone()
    ragged[:, :2, 2] = 1  # the windows hold whole columns: the answer may turn them upside down
    sure = torch.stack([1 - ragged.flip(1), ragged.flip(1)], 1) * 80.0
    assert loss.body(sure, ragged).item() == pytest.approx(0, abs=1e-6) and loss.classes(sure, ragged) > 1
    target[:, 0, 5] = IGNORE  # in the second window only
    first, second = relaxed((0.6, 0.4)), relaxed((0.4, 14 / 25))
    assert loss.body(flat, target).item() == pytest.approx(first, rel=1e-5)
    legacy = BodyEdgeLoss(weights=(1.25, 2.0), legacy=True)
    assert legacy.body(flat, target).item() == pytest.approx((first + second) / 30, rel=1e-5)


def test_the_edge_loss_weighs_both_sides_by_the_batch():
    target = torch.tensor([[[0, 0, 0, 1, IGNORE]]])
    logits = torch.tensor([[[0.0, 1.0, 2.0, -1.0, 9.0]]])
    loss, s = BodyEdgeLoss(radius=1, weights=(1, 1)), nn.Sigmoid()
    p = s(logits)[0, 0].tolist()  # edges: pixels 2 and 3 of four
    by_hand = 1.5 * (-math.log(1 - p[0]) - math.log(1 - p[1]) - math.log(p[2]) - math.log(p[3]))
    assert loss.edge(logits, target).item() == pytest.approx(by_hand / 4)
    rare = torch.tensor([[[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]])
    zeros = torch.zeros(1, 1, 10)
    expected = (2 * (1 + 0.8) + 8 * (1 + 0.2)) * math.log(2) / 10
    assert loss.edge(zeros, rare).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", losses_for(TASKS["body_edge"]))
def test_unknown_pixels_make_no_error_no_gradient_and_stay_in_the_targets(name, scenes):
    loss = make_loss(name, TASKS["body_edge"])
    if hasattr(loss, "prepare"):
        loss.prepare(scenes)
    target = torch.full((2, 8, 8), IGNORE)
    tensors = [torch.randn(2, 3, 8, 8, requires_grad=True) for _ in range(2)]
    edge = torch.randn(2, 8, 8, requires_grad=True)
    outputs = Parts(*tensors, edge)
    found = TASKS["body_edge"].objective(loss, outputs, target)
    found.backward()
    assert found.item() == 0 and not tensors[0].grad.any() and (target == IGNORE).all()
    target[:, :6] = torch.randint(0, 3, (2, 6, 8))
    before = target.clone()
    found = TASKS["body_edge"].objective(loss, outputs, target)
    found.backward()
    assert found.isfinite() and found > 0 and torch.equal(before, target)
    assert not tensors[0].grad[:, :, 6:].any() and tensors[0].grad[:, :, :6].any()
    if loss.__class__ is BodyEdgeLoss:
        assert tensors[1].grad.any() and edge.grad[:, :6].any() and not edge.grad[:, 6:].any()


def test_a_loss_that_does_not_fit_the_task_is_named(scenes):
    with pytest.raises(TrainingError, match=r"'body_edge' needs masks and parts.*segmentation.*weighted_ce"):
        make_loss("body_edge", TASKS["segmentation"])
    assert "mining" not in losses_for(TASKS["segmentation"]) and "dice" not in losses_for(TASKS["exits"])
    with pytest.raises(TrainingError, match="palette"):
        make_loss("body_edge_paper").prepare(dataclasses.replace(scenes, palette=None))


class _Heads(nn.Module):
    task = "body_edge"

    def __init__(self):
        super().__init__()
        self.stem, self.heads = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 7, 1)

    def forward(self, x):
        y = self.heads(self.stem(x).relu())
        return Parts(y[:, :3], y[:, 3:6], y[:, 6])


def test_fit_prepares_the_loss_and_trains_all_heads(scenes):
    torch.manual_seed(0)
    model, run = _Heads(), recipe("paper", epochs=1, batch_size=16, lr=0.1)
    done = fit(model, scenes, run, limit=32, val_limit=8, progress=False)
    moved = (done.model.heads.weight - model.heads.weight).flatten(1).abs().sum(1)
    assert (moved > 1e-6).all() and 0 <= done.history[0]["val_mIoU"] <= 1
    same = fit(model, scenes, run, loss="ce", limit=32, val_limit=8, progress=False).model
    assert torch.equal(same.heads.weight[3:], model.heads.weight[3:]) or run.weight_decay
