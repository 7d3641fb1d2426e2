"""Soft pruning: what fades, what is gone in the end, what may be kept; a killed run ends with the same numbers."""

import dataclasses

import pytest
import torch
from torch import nn

from rsprune_lib.data import Augment, Batches
from rsprune_lib.errors import TrainingError
from rsprune_lib.pruning import find_groups, masked
from rsprune_lib.training import Callback, SoftPruning, fit, recipe

RUN = recipe("strong", epochs=4, batch_size=16, lr=0.05, ema=0.5, half_size=0.0, augment=Augment())
STILL = dataclasses.replace(RUN, lr=1e-12, ema=0.0, weight_decay=0.0)


class Net(nn.Module):
    """Two convolutions, one after the other, added; the second has a bias and no norm."""

    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), norm(8)
        self.two, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x):
        y = torch.relu(self.norm(self.one(x)))
        return self.fc(torch.sigmoid(self.two(y) + y).mean((2, 3)))  # sigmoid(0) is not 0


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


class Watch(Callback):
    """Copies of weights and momentum after each epoch; may end the process."""

    def __init__(self, die=None):
        self.seen, self.memory, self.die = [], [], die

    def on_trained(self, epoch, epochs, networks, optimizer):
        self.seen.append([{k: v.clone() for k, v in one.state_dict().items()} for one in networks])
        parameters = dict(networks[0].named_parameters())
        self.memory.append({k: optimizer.state[p]["momentum_buffer"].clone() for k, p in parameters.items()})

    def on_epoch(self, history, model):
        if len(history) == self.die:
            raise KeyboardInterrupt


class Worse:
    """Cross-entropy; each validation seems worse than the one before."""

    def __init__(self):
        self.validations = 0

    def __call__(self, model, images, labels):
        return nn.functional.cross_entropy(model(images), labels)

    def score(self, records, labels):
        self.validations += 1
        return -self.validations


def test_only_the_small_network_is_kept_and_it_answers_the_same(net, tiny_data):
    soft, watch = SoftPruning(tiny_data, criterion="taylor", ratio=0.5, hard_epochs=2), Watch()
    found = fit(net, tiny_data, RUN, objective=Worse(), callbacks=[soft, watch], progress=False)
    assert [row["decay"] for row in found.history] == [0.7, 0.7, 0.0, 0.0] and found.best_epoch == 3
    small, images = soft.small(found.model), next(iter(Batches(tiny_data, "val", 16)))[0]
    with torch.no_grad():
        assert (small(images) - found.model(images)).abs().max() < 1e-5
        with masked(found.model, soft.plan) as quiet:
            assert torch.equal(quiet(images), found.model(images)), "nothing of what goes is left"
    assert small.one.out_channels == 4 and not small.training
    gone = sorted(set(range(8)) - set(soft.plan.keep["one"]))
    for state in watch.seen[-1]:
        for name in ("one.weight", "norm.weight", "norm.bias", "two.weight", "two.bias"):
            assert not state[name][gone].any() and state[name].any(), name
    assert not watch.memory[2]["one.weight"][gone].any() and watch.memory[1]["one.weight"][gone].any()
    assert watch.memory[3]["two.bias"].any() and not watch.memory[3]["fc.weight"][:, gone].any()


@pytest.mark.parametrize("norms", [True, False])
def test_what_goes_fades_and_the_rest_stays(net, tiny_data, norms):
    soft, watch = SoftPruning(tiny_data, ratio=0.25, decay=0.5, hard_epochs=1, norms=norms), Watch()
    fit(net, tiny_data, STILL, callbacks=[soft, watch], progress=False)
    keep = list(soft.plan.keep["one"])
    gone = sorted(set(range(8)) - set(keep))
    before, after = net.state_dict(), [seen[0] for seen in watch.seen]
    for name in ("one.weight", "two.weight", "two.bias", "norm.weight"):
        factor = 1.0 if name.startswith("norm") and not norms else 0.25
        torch.testing.assert_close(after[1][name][gone], factor * before[name][gone])
        if name != "two.weight":
            torch.testing.assert_close(after[3][name][keep], before[name][keep])
    assert torch.equal(after[1]["fc.weight"], after[0]["fc.weight"]), "what reads a channel is left alone until the end"
    assert not after[3]["fc.weight"][:, gone].any()


def test_a_killed_run_ends_with_the_same_numbers(net, tiny_data, tmp_path, monkeypatch):
    make = lambda **how: SoftPruning(tiny_data, ratio=0.5, hard_epochs=2, **how)  # noqa: E731
    whole = fit(net, tiny_data, RUN, callbacks=[soft := make()], progress=False)
    for epoch in (1, 3):
        out = tmp_path / str(epoch)
        with pytest.raises(KeyboardInterrupt):
            fit(net, tiny_data, RUN, callbacks=[make(), Watch(epoch)], out=out, progress=False)
        with pytest.raises(TrainingError, match=r"another run: its SoftPruning is decay=0.7, this run's is decay=0.1;"):
            fit(net, tiny_data, RUN, callbacks=[make(decay=0.1)], out=out, resume=True, progress=False)
        with monkeypatch.context() as patch:
            patch.setattr("rsprune_lib.training.soft_pruning.decide", lambda *_: pytest.fail("chosen a second time"))
            found = fit(net, tiny_data, RUN, callbacks=[again := make()], out=out, resume=True, progress=False)
        assert again.plan == soft.plan and again.hard and found.best_epoch == whole.best_epoch
        pairs = zip(found.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("refresh", "times"), [(0, [1]), (1, [1, 2, 3]), (2, [1, 3])])
def test_channels_are_chosen_anew_until_they_are_gone(net, tiny_data, monkeypatch, refresh, times):
    from rsprune_lib.training import soft_pruning

    chosen, decide, watch = [], soft_pruning.decide, Watch()
    monkeypatch.setattr(soft_pruning, "decide", lambda *a: chosen.append(len(watch.seen) + 1) or decide(*a))
    soft = SoftPruning(tiny_data, find_groups(net, 32), ratio=0.5, hard_epochs=2, refresh=refresh)
    fit(net, tiny_data, RUN, callbacks=[soft, watch], progress=False)
    assert chosen == times


def test_zero_filters_grow_back_where_norms_stay(net, tiny_data):
    before, after, soft = Watch(), Watch(), SoftPruning.sfp(tiny_data, ratio=0.5, hard_epochs=1)
    fit(net, tiny_data, RUN, callbacks=[before, soft, after], progress=False)
    filters = [seen[0]["one.weight"].flatten(1).any(1) for seen in (after.seen[0], before.seen[1], after.seen[3])]
    assert [int(alive.sum()) for alive in filters] == [4, 8, 4] and after.seen[0][0]["norm.weight"].all()
    assert soft.identity()["request"] != SoftPruning.fpgm(tiny_data, ratio=0.5).identity()["request"]


def test_what_cannot_be_done_is_said(net, tiny_data):
    with pytest.raises(TrainingError, match=r"decay=1.0"):
        SoftPruning(tiny_data, ratio=0.5, decay=1.0)
    with pytest.raises(TrainingError, match=r"'norm' \(groupnorm\) computes with all its channels"):
        soft = SoftPruning(tiny_data, ratio=0.5)
        fit(Net(lambda size: nn.GroupNorm(2, size)), tiny_data, RUN, callbacks=[soft], progress=False)
    with pytest.raises(TrainingError, match="before the first hard epoch"):
        SoftPruning(tiny_data, ratio=0.5).small(net)
