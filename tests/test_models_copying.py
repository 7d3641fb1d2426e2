"""A quick copy is the copy that `copy.deepcopy` makes, for networks of any habit."""

import copy

import pytest
import torch
from torch import nn

from rsprune_lib.models import copied, create_model


class Odd(nn.Module):
    """Everything that a module may hold beside its layers."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.same = self.one
        self.tied = nn.Linear(3, 3, bias=False)
        self.tied.weight = self.one.weight
        self.listed = [self.tied, {"deep": self.one}]
        self.config, self.none, self.empty = {"widths": [1, 2]}, None, nn.Sequential()
        self.register_buffer("seen", torch.zeros(2))
        self.register_module("later", None)
        self.rnn = nn.GRU(3, 3)  # copies itself in its own way

    def forward(self, x):
        return self.same(self.listed[0](self.listed[1]["deep"](x)))


@pytest.mark.parametrize("make", [Odd, lambda: create_model("resnet18_se", 4, width=0.125)], ids=["odd", "resnet18_se"])
def test_it_is_the_copy_that_deepcopy_makes(make):
    model = make().eval()
    ours, theirs = copied(model), copy.deepcopy(model)
    assert repr(ours) == repr(theirs) and type(ours) is type(theirs) and not ours.training
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert vars(ours).keys() == vars(theirs).keys()
    for (name, one), two in zip(ours.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(one, two) and one.data_ptr() != two.data_ptr(), name


def test_what_is_one_object_stays_one_object_and_apart_from_the_original():
    model = Odd()
    ours = copied(model)
    assert ours.same is ours.one is ours.listed[1]["deep"] is not model.one
    assert ours.listed[0] is ours.tied and ours.tied.weight is ours.one.weight
    assert isinstance(ours.one.weight, nn.Parameter) and ours.one.weight.requires_grad
    ours.config["widths"].append(3)
    ours.one.weight.data.zero_()
    ours.one._forward_hooks[0] = print
    assert model.config == {"widths": [1, 2]} and model.one.weight.abs().sum() > 0 and not model.one._forward_hooks


def test_a_known_tensor_is_taken_and_a_known_module_too():
    model = Odd()
    weight, other = nn.Parameter(torch.ones(3, 3)), nn.Identity()
    ours = copied(model, {id(model.one.weight): weight, id(model.rnn): other})
    assert ours.one.weight is ours.tied.weight is weight and ours.rnn is other


def test_hooks_are_copied_as_deepcopy_does():
    model, seen = nn.Sequential(nn.Identity()), []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    copied(model)(torch.zeros(1))
    assert seen == [1]
