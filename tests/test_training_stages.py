"""Two stages of exits: scripted accuracies freeze heads for good, gates weigh losses, turns go on over epochs."""

import math

import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.errors import RspruneError, TrainingError
from rsprune_lib.measure import evaluate, exit_costs
from rsprune_lib.models import add_exits, create_model
from rsprune_lib.training import Callback, SecondStage, StopTraining, WarmUp, fit, fit_gates, gate_targets, recipe
from rsprune_lib.training.second_stage import exit_probabilities, gate_balance

QUICK = {"batch_size": 16, "lr": 0.05}


@pytest.fixture
def model():
    return add_exits(create_model("resnet18", 4, width=0.125, seed=0), ["layer1", "layer2"])


def answers(*rights):
    """Records (20, E + 1, 2) of label 0 whose exits are right as often as they are told."""
    records = torch.zeros(20, len(rights), 2)
    for number, right in enumerate(rights):
        records[:, number, 1] = 1.0
        records[: round(20 * right), number, 0] = 2.0
    return records, torch.zeros(20, dtype=torch.int64)


def train_once(model, stage, optimizer, seed):
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    stage(model, images, torch.arange(6) % 4).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_scripted_accuracies_freeze_heads_with_their_best_weights(model):
    """Exit 1 peaks in epoch 2 and is frozen after epoch 4; exit 2 gets better until epoch 5, frozen after epoch 7."""
    stage = WarmUp(patience=2)
    stage.on_start(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    backbone, history, peaks = weights(model.layer1) | {"n": model.bn1.running_mean.clone()}, [], {}
    script = [(0.3, 0.2), (0.6, 0.3), (0.6, 0.4), (0.5, 0.5), (0.9, 0.6), (0.9, 0.6), (0.9, 0.6)]
    for epoch, (first, second) in enumerate(script, 1):
        model.train()
        stage.on_epoch_start(epoch - 1, model)
        for step in range(2):
            train_once(model, stage, optimizer, 10 * epoch + step)
        now = [weights(head) for head in model.exits.heads]
        peaks |= {0: now[0]} if epoch == 2 else {1: now[1]} if epoch == 5 else {}
        row = {}
        stage.on_validation(row, *answers(first, second, 0.9), model)
        history.append(row["exits_frozen"])
        assert row["val_accuracy_exit1"] == pytest.approx(first)
        assert epoch < 2 or same(weights(model.exits.heads[0]), peaks[0]) == (epoch != 3)
    assert history == [0, 0, 0, 1, 1, 1, 2]
    assert same(weights(model.exits.heads[1]), peaks[1])
    assert same(backbone, weights(model.layer1) | {"n": model.bn1.running_mean})
    with pytest.raises(StopTraining):
        stage.on_epoch_start(7, model)


def test_a_warm_up_that_ends_with_its_recipe_puts_the_best_weights_of_each_head_back(model):
    stage, after = WarmUp(patience=9), []
    stage.on_start(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch, rights in enumerate(((0.6, 0.2), (0.3, 0.5), (0.4, 0.4))):
        stage.on_epoch_start(epoch, model)
        train_once(model, stage, optimizer, epoch)
        after.append([weights(head) for head in model.exits.heads])
        stage.on_validation({}, *answers(*rights, 0.9), model)
    stage.on_end(model)
    assert same(weights(model.exits.heads[0]), after[0][0]) and same(weights(model.exits.heads[1]), after[1][1])
    assert not same(after[2][0], after[0][0]) and not same(after[2][1], after[1][1])


def test_a_warm_up_of_fit_returns_the_best_of_each_head_and_stops_early(tiny_data):
    dense = create_model("resnet18", 4, width=0.125, seed=0)
    start = add_exits(dense, ["layer1", "layer2"])
    found = fit(start, tiny_data, recipe("exits_warmup", epochs=20, **QUICK), objective=WarmUp(1), progress=False)
    assert found.stopped and 2 < len(found.history) < 20 and found.history[-1]["exits_frozen"] == 2
    best = [max(row[f"val_accuracy_exit{n}"] for row in found.history) for n in (1, 2)]
    from rsprune_lib.data import Batches

    measured = evaluate(found.model, Batches(tiny_data, "val"), progress=False).metrics
    assert [measured[f"accuracy of exit {n}"] for n in (1, 2)] == pytest.approx(best, abs=0.13)  # bfloat16 in training
    before = start.state_dict()
    moved = {name for name, value in found.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("exits.heads.") for name in moved)
    assert all(p.requires_grad for p in found.model.parameters())


class _Stop(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch(self, history, model):
        if history[-1]["epoch"] == self.epoch:
            raise StopTraining


@pytest.mark.parametrize(
    "make", [lambda: WarmUp(1), lambda: SecondStage((1, 2, 4), period=3)], ids=["warm-up", "second"]
)
def test_a_stage_goes_on_after_a_kill_to_the_same_numbers(model, tiny_data, tmp_path, make):
    run = recipe("exits_warmup", epochs=5, **QUICK)
    whole, stage = fit(model, tiny_data, run, objective=make(), progress=False), make()
    fit(model, tiny_data, run, objective=make(), out=tmp_path, callbacks=[_Stop(2)], progress=False)
    again = fit(model, tiny_data, run, objective=stage, out=tmp_path, resume=True, progress=False)
    timed = ("seconds", "images_per_second")
    kept = [[{k: v for k, v in row.items() if k not in timed} for row in found.history] for found in (whole, again)]
    assert kept[0] == kept[1] and same(whole.model.state_dict(), again.model.state_dict())


def test_shares_by_hand_and_saturated_gates():
    gates = torch.tensor([[0.5, 0.2, 0.1], [0.7, 0.7, 0.7], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    wanted = [[0.5, 0.2, 0.1, 0.2], [0.7, 0.3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert torch.allclose(exit_probabilities(gates), torch.tensor(wanted, dtype=torch.float32), atol=1e-6)
    random = torch.rand(500, 6)
    shares = exit_probabilities(random)
    assert torch.allclose(shares.sum(1), torch.ones(500)) and (shares >= 0).all()


def test_gates_weigh_the_losses_and_the_published_form_does_not():
    logits = torch.randn(8, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(8) % 5
    shares = exit_probabilities(torch.tensor([[0.7, 0.2]]).expand(8, 2))

    def gradient(loss):
        return torch.autograd.grad(loss, logits, retain_graph=True)[0]

    def stage(reweight):
        return SecondStage((1, 2, 4), reweight=reweight)

    each = stage("detached").losses(logits.unbind(1), labels)
    uniform = gradient(each[:, :-1].mean())
    assert torch.allclose(gradient(stage("legacy_uniform").weighed(each, shares)), uniform, atol=1e-7)
    mine = gradient(stage("detached").weighed(each, shares))
    ratio = (each.sum(1) / (shares * each).sum(1)).detach().clamp(max=3)[:, None, None]
    assert 0 < (ratio < 3).sum() < 8  # the bound holds for some images
    hand = (
        torch.cat([gradient(each[:, n].mean())[:, n : n + 1] for n in range(3)], 1) * shares[0][None, :, None] * ratio
    )
    assert torch.allclose(mine, hand, atol=1e-6)
    assert mine[:, 2].abs().sum() > 0 and (mine[:, :2] - uniform[:, :2]).abs().max() > 1e-2


def test_balance_counts_the_targets_and_the_published_one_the_best_exits():
    """Ten images: best exit 0 of five, 1 of three, final of two."""
    targets = torch.tensor([[1.0, 1.0]] * 5 + [[0.0, 1.0]] * 3 + [[0.0, 0.0]] * 2)
    assert gate_balance(targets).tolist() == pytest.approx([5 / 5, 2 / 8])
    assert gate_balance(targets, "legacy").tolist() == pytest.approx([5 / 5, 7 / 3])
    assert gate_balance(torch.zeros(10, 2)).tolist() == [5, 5]


def test_turns_go_on_over_the_ends_of_epochs(model):
    """26 batches an epoch and turns of 60 steps: exits for 60 steps, then gates, whatever the epoch."""
    stage, phases = SecondStage((1, 2, 4), period=60), []
    stage.on_start(model)
    for epoch in range(6):
        model.train()
        stage.on_epoch_start(epoch, model)
        for _ in range(26):
            phases.append(stage.phase)
            stage._steps += 1
        saved = stage.state()
        stage = SecondStage((1, 2, 4), period=60)  # killed after every epoch
        stage.on_start(model)
        stage.restore(saved)
    assert phases == ["exits"] * 60 + ["gates"] * 60 + ["exits"] * 36


@pytest.mark.parametrize("mode", ["dynn", "joint", "backbone_only"])
def test_each_mode_moves_what_it_says(model, mode):
    stage = SecondStage((1, 2, 4), mode, period=1)
    stage.on_start(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    moved = []
    for step in range(2):
        model.train()
        stage.on_epoch_start(0, model)
        before = weights(model)
        train_once(model, stage, optimizer, step)
        now = weights(model)
        changed = {name for name, value in now.items() if not torch.equal(value, before[name])}
        moved.append(
            {"gates" if n == "exits.gates" else "heads" if n.startswith("exits") else "network" for n in changed}
        )
    wanted = {"dynn": [{"heads"}, {"gates"}], "joint": [{"heads", "gates", "network"}] * 2}
    assert moved == wanted.get(mode, [{"network"}] * 2)
    stage.on_end(model)
    assert "exits.gates" not in model.state_dict() and stage.rule.gates.shape == (2, 5)


def test_the_epoch_that_is_kept_has_least_loss_and_cost(model):
    """By hand: with open gates everything leaves at exit 1 and costs 1 / 4; with closed ones at the end."""
    records, labels = answers(0.5, 0.5, 0.9)
    scores = {}
    for name, bias in (("open", 9.0), ("closed", -9.0)):
        stage = SecondStage((1, 2, 4), trade=0.4, gates=torch.tensor([[0, 0, 0, 0, bias]] * 2))
        stage.on_start(model)
        row = {}
        stage.on_validation(row, records, labels, model)
        scores[name] = stage.score(records, labels)
        taken = records[:, 0 if name == "open" else 2]
        cost = 0.25 if name == "open" else 1.0
        assert scores[name] == pytest.approx(-float(F.cross_entropy(taken, labels)) - 0.4 * cost)
        assert row["val_cost"] == pytest.approx(cost)
        assert row["val_gated_accuracy"] == pytest.approx(0.5 if name == "open" else 0.9)
        stage.on_end(model)


def test_joint_training_learns_with_saturated_gates(tiny_data, model):
    """Gates that are shut, and some that are wide open, give finite losses and a network that learns."""
    first = torch.tensor([[0, 0, 0, 0, -80.0], [0, 0, 0, 0, 80.0]])
    stage = SecondStage((1, 2, 4), "joint", gates=first)
    found = fit(model, tiny_data, recipe("strong", epochs=6, **QUICK), objective=stage, progress=False)
    losses = [row["train_loss"] for row in found.history]
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]
    assert torch.isfinite(stage.rule.gates).all() and found.best_epoch >= 1


def test_gates_of_a_stage_begin_with_fitted_ones(model):
    records, labels = answers(0.5, 0.7, 0.9)
    gates = fit_gates(records, labels, (1, 2, 4))
    stage = SecondStage((1, 2, 4), gates=gates)
    stage.on_start(model)
    stage.on_end(model)
    assert torch.equal(stage.rule.gates, gates)


def test_a_taught_exit_is_judged_against_the_final_answer():
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3])
    half = WarmUp(taught=0.5, temperature=2.0).losses(logits.unbind(1), labels)
    own = F.cross_entropy(logits[:, 0], labels, reduction="none")
    said, wanted = (logits[:, 0] / 2).log_softmax(1), (logits[:, 2] / 2).log_softmax(1)
    gap = F.kl_div(said, wanted, reduction="none", log_target=True).sum(1)
    assert torch.allclose(half[:, 0], 0.5 * own + 0.5 * 4 * gap, atol=1e-6)
    assert torch.allclose(half[:, 2], F.cross_entropy(logits[:, 2], labels, reduction="none"))


def test_costs_of_the_published_exits(size=128):
    model = create_model("gfnet_xs", 45, image_size=size)
    model = add_exits(model, [f"stages.0.block{n}" for n in (3, 5, 7, 9)], pool="mean", check=False)
    costs = exit_costs(model, size)
    assert [cost / costs[-1] for cost in costs] == pytest.approx([0.347, 0.510, 0.673, 0.837, 1], abs=0.01)
    assert costs[-1] == pytest.approx(0.93e9, rel=0.015)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: WarmUp(0), "patience=0"),
        (lambda: WarmUp(taught=2), "share in"),
        (lambda: SecondStage((1, 2), "jiont"), "did you mean 'joint'"),
        (lambda: SecondStage((1, 2), reweight="none"), "Unknown reweighting"),
        (lambda: SecondStage((1, 2), period=0), "at least 1 step"),
        (lambda: gate_balance(torch.zeros(1, 1), "x"), "Unknown balance"),
        (lambda: gate_targets(torch.zeros(1, 3, 2), torch.tensor([0]), (1, 2), 0.1), "2 costs for 2 exits"),
    ],
)
def test_wrong_arguments_are_refused(make, words):
    with pytest.raises(RspruneError, match=words):
        make()


def test_what_cannot_be_trained_is_refused(model, monkeypatch):
    with pytest.raises(TrainingError, match="no exits to train"):
        WarmUp().on_start(create_model("resnet18", 4, width=0.125, seed=0))
    with pytest.raises(TrainingError, match="2 costs for 2 exits"):
        SecondStage((1, 2)).on_start(model)
    with pytest.raises(TrainingError, match=r"shape \(1, 5\) for 2 exits"):
        SecondStage((1, 2, 4), gates=torch.zeros(1, 5)).on_start(model)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="one process"):
        WarmUp().on_start(model)
