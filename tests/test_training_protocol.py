"""What a training run sees, averages and keeps: each part where it belongs, augmented, the averaged weights."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsprune_lib.data import Augment, Batches
from rsprune_lib.device import supports_bf16
from rsprune_lib.training import RECIPES, Callback, fit, recipe
from rsprune_lib.training.optimise import warm_average

NUMBERS = ("train_loss", "val_accuracy", "val_loss")


class _Linear(nn.Module):
    """The smallest classifier with a batch norm."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = nn.BatchNorm2d(3), nn.Linear(3 * 16, 4)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.norm(x), 4).flatten(1))


def _watched(seen):
    """An objective that notes every training batch and the weights in front of the step."""

    def objective(model, images, labels):
        seen.append((images.clone(), labels.clone(), {k: v.clone() for k, v in model.state_dict().items()}))
        return F.cross_entropy(model(images), labels)

    return objective


def _with_noise(data, part):
    images = np.array(data.images)
    images[data.part(part)] = np.random.default_rng(0).integers(0, 256, images[data.part(part)].shape, dtype=np.uint8)
    return dataclasses.replace(data, images=images)


def test_training_reads_the_training_part_and_validation_the_validation_part(tiny_data):
    torch.manual_seed(0)
    model, run = _Linear(), recipe("strong", epochs=2, batch_size=16)

    def numbers(data):
        return [[row[name] for name in NUMBERS] for row in fit(model, data, run, progress=False).history]

    whole = numbers(tiny_data)
    assert numbers(_with_noise(tiny_data, "test")) == whole
    other = numbers(_with_noise(tiny_data, "val"))
    assert [row[0] for row in other] == [row[0] for row in whole]
    assert all(a[2] != b[2] for a, b in zip(other, whole, strict=True))
    assert all(a[0] != b[0] for a, b in zip(numbers(_with_noise(tiny_data, "train")), whole, strict=True))


def test_training_batches_go_through_the_augmentation_of_the_recipe(tiny_data):
    run, seen = recipe("strong", epochs=2, batch_size=16, half_size=0.0), []
    fit(_Linear(), tiny_data, run, objective=_watched(seen), seed=3, progress=False)
    augmented = Batches(tiny_data, "train", 16, augment=run.augment, shuffle=True, seed=3)
    plain = Batches(tiny_data, "train", 16, shuffle=True, seed=3)
    wanted = [batch for epoch in (0, 1) for batch in augmented.epoch(epoch)]
    bare = [batch for epoch in (0, 1) for batch in plain.epoch(epoch)]
    assert len(seen) == len(wanted)
    for (images, labels, _), (expected, classes), (without, _) in zip(seen, wanted, bare, strict=True):
        assert torch.equal(images, expected) and torch.equal(labels, classes)
        assert not torch.allclose(images, without, atol=0.1)


def test_strong_recipes_augment_and_the_papers_do_not():
    for name in ("strong", "strong_finetune"):
        augment = RECIPES[name].augment
        assert augment.dihedral and augment.shift > 0 and augment.brightness > 0
    assert RECIPES["paper"].augment == RECIPES["paper_finetune"].augment == Augment()


class _Kept(Callback):
    def __init__(self):
        self.states = []

    def on_epoch(self, history, model):
        self.states.append({key: value.clone() for key, value in model.state_dict().items()})


@pytest.mark.parametrize("ema", [0.9, 0.25])
def test_the_averaged_network_is_validated_and_kept(tiny_data, tmp_path, ema):
    run, seen, kept = recipe("strong", epochs=1, batch_size=8, ema=ema, lr=0.5), [], _Kept()
    model = _Linear()
    result = fit(model, tiny_data, run, objective=_watched(seen), callbacks=[kept], out=tmp_path, progress=False)
    last = torch.load(tmp_path / "checkpoint" / "state.pt", weights_only=True)["model"]
    after = [state for _, _, state in seen[1:]] + [last]  # the weights behind each step
    average = {key: value.double() for key, value in after[0].items()}
    for count, state in enumerate(after[1:], 1):
        decay = min(ema, (1 + count) / (10 + count))  # rises: what it began with is soon forgotten
        average = {key: decay * average[key] + (1 - decay) * value for key, value in state.items()}
    for key in ("fc.weight", "fc.bias", "norm.weight", "norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(result.model.state_dict()[key].double(), average[key], rtol=1e-4, atol=1e-6)
        assert torch.equal(result.model.state_dict()[key], kept.states[0][key])
        assert not torch.allclose(result.model.state_dict()[key], last[key], rtol=1e-3)
    assert result.model.norm.num_batches_tracked == len(seen)
    logits = torch.cat([result.model(x) for x, _ in Batches(tiny_data, "val", 64)])
    labels = torch.cat([y for _, y in Batches(tiny_data, "val", 64)])
    assert result.history[0]["val_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=0.05)


def test_without_averaging_the_last_weights_are_kept(tiny_data, tmp_path):
    result = fit(_Linear(), tiny_data, recipe("paper", epochs=1, batch_size=8), out=tmp_path, progress=False)
    last = torch.load(tmp_path / "checkpoint" / "state.pt", weights_only=True)["model"]
    assert all(torch.equal(value, last[key]) for key, value in result.model.state_dict().items())


def test_the_average_warms_up():
    for count, weight in ((1, 9 / 11), (5, 9 / 15), (90, 0.09), (10_000, 0.01)):
        averaged, steps = [torch.zeros(2)], [torch.zeros((), dtype=torch.int64)]
        warm_average(0.99)(averaged, [torch.ones(2)], torch.tensor(count))
        warm_average(0.99)(steps, [torch.tensor(count)], count)
        assert averaged[0].tolist() == pytest.approx([weight] * 2) and steps[0] == count


def _by_hand(model, data, run, rate):
    """The same training as a plain loop: SGD with ``rate(step)``, no decay of norms and biases."""
    model, smooth = copy.deepcopy(model).train(), nn.CrossEntropyLoss(label_smoothing=run.label_smoothing)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    spared = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": run.weight_decay}, {"params": spared, "weight_decay": 0}]
    optimizer = torch.optim.SGD(groups, lr=1, momentum=run.momentum, nesterov=run.momentum > 0)
    batches, step = Batches(data, "train", run.batch_size, augment=run.augment, shuffle=True, seed=5), 0
    for epoch in range(run.epochs):
        for images, labels in batches.epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            with torch.autocast("cpu", torch.bfloat16, enabled=supports_bf16(torch.device("cpu"))):
                logits = model(images)
            optimizer.zero_grad()
            smooth(logits.float(), labels).backward()
            optimizer.step()
            step += 1
    return model.state_dict()


@pytest.mark.parametrize("name", ["strong", "paper"])
def test_the_loop_does_what_a_plain_loop_does(tiny_data, tmp_path, name):
    torch.manual_seed(0)
    model, changes = _Linear(), {"weight_decay": 0.05, "label_smoothing": 0.2, "half_size": 0.0, "batch_size": 16}
    run = recipe(name, epochs=4, lr=0.2, **changes)
    steps = math.ceil(len(tiny_data.split.train) / 16)

    def rate(step):
        if name == "paper":  # a tenth from half the epochs on, a hundredth from three quarters on
            return 0.2 * 0.1 ** sum(step >= drop for drop in (2 * steps, 3 * steps))
        if step < steps:  # a quarter of four epochs
            return 0.2 * (0.04 + 0.96 * step / steps)
        return 0.1 * (1 + math.cos(math.pi * (step - steps) / (3 * steps)))

    history = fit(model, tiny_data, run, seed=5, out=tmp_path, progress=False).history
    found = torch.load(tmp_path / "checkpoint" / "state.pt", weights_only=True)["model"]
    for key, value in _by_hand(model, tiny_data, run, rate).items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    assert [row["lr"] for row in history] == pytest.approx([rate(steps * epoch) for epoch in (1, 2, 3, 4)], abs=1e-6)
