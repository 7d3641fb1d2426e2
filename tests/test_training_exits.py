"""Heads and gates: what is fitted equals a plain solution, learns what it should, and the backbone stays as it was."""

import pytest
import torch
from torch.nn import functional as F

from rsprune_lib.data import Batches
from rsprune_lib.errors import TrainingError
from rsprune_lib.measure import ExitRule, evaluate, outcome, predict
from rsprune_lib.models import add_exits, create_model
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


def test_heads_are_at_the_minimum(fitted, tiny_data):
    """No step helps: the mean error of each class is zero, and a Gauss-Newton step gains next to nothing."""
    seen = []
    head = fitted.exits.heads[0]
    hook = head.fc.register_forward_pre_hook(lambda _m, x: seen.append(x[0].detach()))
    records, labels = predict(fitted, Batches(tiny_data, "train"), progress=False)
    hook.remove()
    x = torch.cat(seen)
    gap = records[:, 0].softmax(1) - F.one_hot(labels, 4)
    loss = F.cross_entropy(records[:, 0], labels)
    assert gap.mean(0).abs().max() < 0.02 and loss < 0.5  # the gradient by the biases, which do not decay
    step = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), gap).solution
    other = head.fc.weight - 0.1 * step[:-1].T, head.fc.bias - 0.1 * step[-1]
    assert F.cross_entropy(F.linear(x, *other), labels) > loss - 0.02


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


def test_saturated_answers_give_finite_gates():
    records = torch.tensor([1e4, 0.0, 0.0]).expand(50, 2, 3)
    gates = fit_gates(records, torch.zeros(50, dtype=torch.int64), (1.0, 2.0))
    assert torch.isfinite(gates).all()


def test_what_cannot_be_fitted_is_refused(dense, tiny_data):
    with pytest.raises(TrainingError, match="no exits to fit"):
        fit_heads(dense, Batches(tiny_data, "train"))
    with pytest.raises(TrainingError, match="no image"):
        fit_heads(add_exits(dense, ["layer1"]), [])
