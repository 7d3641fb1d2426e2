"""Heads and gates: what is fitted equals a plain solution, learns what it should, and the backbone stays as it was."""

import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.data import Batches
from rsprune_lib.errors import TrainingError
from rsprune_lib.measure import ExitRule, evaluate, outcome, predict
from rsprune_lib.measure.exit_rules import exit_features
from rsprune_lib.models import add_exits, create_model, hooked
from rsprune_lib.training import fit, fit_gates, fit_heads, gate_targets, recipe


@pytest.fixture(scope="module")
def dense(tiny_data):
    model = create_model("resnet18", 4, width=0.25, seed=0)
    return fit(model, tiny_data, recipe("strong", epochs=8, batch_size=16, lr=0.05), seed=0, progress=False).model


@pytest.fixture(scope="module")
def fitted(dense, tiny_data):
    return fit_heads(add_exits(dense, ["layer1", "layer2"]), Batches(tiny_data, "train"), progress=False)


def test_heads_learn_and_the_backbone_stays(dense, fitted, tiny_data):
    found = evaluate(fitted, Batches(tiny_data, "val"), progress=False)
    assert found.metrics["accuracy of exit 1"] > 0.6 and found.metrics["accuracy of exit 2"] > 0.6
    for name, value in dense.state_dict().items():
        assert torch.equal(value, fitted.state_dict()[name]), name


@pytest.mark.parametrize("taught", [0.0, 0.6])
def test_heads_are_at_the_minimum_of_their_loss(tiny_data, taught):
    """The gradient by the weights of standardised features, the decay included, and by the biases is zero."""
    decay, T, batches = 1e-2, 3.0, Batches(tiny_data, "train")
    bare = add_exits(create_model("resnet18", 4, width=0.125, seed=0), ["layer1"])
    before = bare.exits.heads[0].fc.weight.clone()
    model = fit_heads(bare, batches, decay=decay, taught=taught, temperature=T, progress=False)
    assert torch.equal(bare.exits.heads[0].fc.weight, before), "the copy alone has fitted heads"
    head, seen = model.exits.heads[0], []
    with hooked(in_front=[(head.fc, lambda _m, x: seen.append(x[0].detach().clone()))]):
        records, labels = predict(model, batches, progress=False)
    x = torch.cat(seen)
    std = x.std(0)
    own = records[:, 0].softmax(1) - F.one_hot(labels, 4)
    other = T * ((records[:, 0] / T).softmax(1) - (records[:, -1] / T).softmax(1))
    slope = ((1 - taught) * own + taught * other) / len(x)
    pull = 2 * decay * head.fc.weight.detach() * std
    assert slope.sum(0).abs().max() < 1e-4
    assert (slope.T @ ((x - x.mean(0)) / std) + pull).abs().max() < 0.05 * pull.abs().max()


def test_a_dead_channel_leaves_the_head_finite(tiny_data):
    model = create_model("resnet18", 4, width=0.125, seed=0)
    for norm in (model.bn1, model.layer1[0].bn2, model.layer1[1].bn2):
        norm.weight.data[0] = norm.bias.data[0] = 0
    model = fit_heads(add_exits(model, ["layer1"], norm=False), Batches(tiny_data, "train"), progress=False)
    assert model.exits.heads[0].fc.weight.isfinite().all()


def test_a_taught_head_says_what_the_final_one_says(dense, tiny_data):
    with torch.no_grad():
        dense.fc.weight.copy_(dense.fc.weight[[1, 0, 2, 3]]), dense.fc.bias.copy_(dense.fc.bias[[1, 0, 2, 3]])
    try:
        model = add_exits(dense, ["layer3"])
        taught = fit_heads(model, Batches(tiny_data, "train"), taught=1.0, progress=False)
        records, labels = predict(taught, Batches(tiny_data, "val"), progress=False)
        said = records[:, 0].argmax(1)
        assert (said == records[:, -1].argmax(1)).float().mean() > 0.6 > (said == labels).float().mean()
    finally:
        with torch.no_grad():
            dense.fc.weight.copy_(dense.fc.weight[[1, 0, 2, 3]]), dense.fc.bias.copy_(dense.fc.bias[[1, 0, 2, 3]])


def test_targets_by_hand():
    """First image: exit 0 is right and cheap. Second: only the final classifier is right."""
    records = torch.tensor([[[4.0, 0], [5, 0], [6, 0]], [[4.0, 0], [4, 0], [0, 6]]])
    labels = torch.tensor([0, 1])
    assert gate_targets(records, labels, (1, 2, 4), 0.5).tolist() == [[1, 1], [0, 0]]
    assert gate_targets(records, labels, (1, 2, 4), 0.0).tolist() == [[0, 0], [0, 0]]  # the surest is the last
    assert gate_targets(records, labels, (10, 20, 40), 0.02).tolist() == [[0, 1], [0, 0]], "costs count as shares"
    assert gate_targets(records, labels, (1, 2, 4), 1e6).tolist() == [[1, 1], [1, 1]]  # work is all that counts


def test_gates_know_easy_from_hard_and_cost_moves_them():
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2000,), generator=random)
    truth = F.one_hot(labels, 3)[:, None].float()
    easy = (torch.rand(2000, generator=random) < 0.5)[:, None, None]
    noise = torch.randn(2000, 2, 3, generator=random)
    strength = torch.where(easy, torch.tensor([6.0, 8.0])[:, None], torch.tensor([0.0, 8.0])[:, None])  # (N, 2, 1)
    records = strength * truth + noise
    rates = []
    for trade in (0.05, 0.35, 5.0):
        rule = ExitRule("gate", (0.5,), fit_gates(records, labels, (1.0, 4.0), trade))
        found = outcome(records, labels, (1.0, 4.0), rule)
        rates.append(found.rates[0])
        if trade == 0.35:
            left = rule.exits(records) == 0
            assert left[easy.flatten()].float().mean() > 0.9 > 0.2 > left[~easy.flatten()].float().mean()
            assert found.accuracy > 0.97
    assert rates[0] <= rates[1] <= rates[2] and rates[2] > 0.85


def test_gates_are_at_the_minimum_of_their_loss():
    """Both sides of each exit weigh the same, weights decay and biases do not: so the gradient is zero."""
    random, decay = torch.Generator().manual_seed(0), 1e-2
    labels = torch.randint(0, 3, (500,), generator=random)
    records = (
        2 * torch.randn(500, 3, 3, generator=random)
        + torch.tensor([1.0, 2, 3])[:, None] * F.one_hot(labels, 3)[:, None]
    )
    gates = fit_gates(records, labels, (1.0, 2.0, 4.0), 0.5, decay=decay).double()
    targets = gate_targets(records, labels, (1.0, 2.0, 4.0), 0.5)
    features = exit_features(records[:, :-1]).double()
    shares = targets.mean(0)
    assert 0.05 < shares.min() < 0.45, "sides of different size"
    said = ((features * gates[:, :4]).sum(2) + gates[:, 4]).sigmoid()
    slope = (said - targets) * torch.where(targets == 1, 0.5 / shares, 0.5 / (1 - shares)) / targets.numel()
    by_weights = torch.einsum("ne,nef->ef", slope, features) + 2 * decay * gates[:, :4]
    assert slope.sum(0).abs().max() < 1e-4 and by_weights.abs().max() < 1e-4 and gates.abs().max() > 0.1


def test_saturated_answers_give_finite_gates():
    records = torch.tensor([1e4, 0.0, 0.0]).expand(50, 2, 3)
    gates = fit_gates(records, torch.zeros(50, dtype=torch.int64), (1.0, 2.0))
    assert torch.isfinite(gates).all()


def test_what_cannot_be_fitted_is_refused(dense, tiny_data):
    with pytest.raises(TrainingError, match="no exits to fit"):
        fit_heads(dense, Batches(tiny_data, "train"))
    with pytest.raises(TrainingError, match="no image"):
        fit_heads(add_exits(dense, ["layer1"]), [])
