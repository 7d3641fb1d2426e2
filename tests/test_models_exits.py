"""Exits: stopping early gives what a full pass would have chosen, computes less, and hangs on any network."""

import copy

import pytest
import torch
from torch import nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import create_model
from rsprune_lib.models.exits import add_exits, exit_places, run_early, without_exits
from rsprune_lib.models.gfnet import GFNet, Size
from rsprune_lib.tasks import task_of


def gfnet():
    torch.manual_seed(0)
    return GFNet(5, size=Size((12,), (5,)), image_size=32, patch=8)


NETWORKS = {
    "resnet18_se": lambda: create_model("resnet18_se", 5, width=0.125, seed=0),
    "vgg16": lambda: create_model("vgg16", 5, width=0.125, seed=0),
    "resnet20": lambda: create_model("resnet20", 5, width=0.5, seed=0),
    "gfnet": gfnet,
}


@pytest.fixture(scope="module")
def images():
    return torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=NETWORKS)
def made(request, images):
    return add_exits(NETWORKS[request.param](), 3).eval()


def by_confidence(outputs):
    """A rule that lets about half of the rest leave at each exit."""
    cuts = [logits.softmax(1).amax(1).median() for logits in outputs]
    return lambda number, logits, rows: logits.softmax(1).amax(1) > cuts[number]


def test_stopping_early_equals_choosing_afterwards(made, images):
    with torch.no_grad():
        outputs = made(images)
    leave = by_confidence(outputs)
    wanted = torch.full((len(images),), 3)
    for number in (2, 1, 0):
        wanted[leave(number, outputs[number], None)] = number
    found = run_early(made, images, leave)
    assert torch.equal(found.exit, wanted) and len(set(wanted.tolist())) > 2
    chosen = torch.stack(outputs, 1)[torch.arange(len(images)), wanted]
    assert torch.allclose(found.logits, chosen, atol=1e-5) and torch.equal(found.logits.argmax(1), chosen.argmax(1))
    assert len(made(images)) == 4  # afterwards it is as it was


def test_what_left_is_not_computed(images):
    model, counts = add_exits(NETWORKS["resnet18_se"](), ["layer1", "layer2"]).eval(), {}
    for name in ("layer1", "layer2", "layer3", "fc"):
        model.get_submodule(name).register_forward_pre_hook(lambda _m, x, name=name: counts.update({name: len(x[0])}))
    run_early(model, images, lambda number, logits, rows: torch.arange(len(logits)) < (4, 5)[number])
    assert counts == {"layer1": 12, "layer2": 8, "layer3": 3, "fc": 3}
    counts.clear()
    found = run_early(model, images, lambda number, logits, rows: torch.ones(len(logits), dtype=torch.bool))
    assert counts == {"layer1": 12} and found.exit.eq(0).all()
    found = run_early(model, images, lambda number, logits, rows: rows % 3 == number)  # places in the whole batch
    assert torch.equal(found.exit, torch.arange(12) % 3)


def test_the_network_is_left_alone_and_its_final_logits_stay(made, images):
    bare = without_exits(made)
    with torch.no_grad():
        assert torch.allclose(bare(images), made(images)[-1], atol=1e-6)
    assert not hasattr(bare, "exits") and task_of(bare).name == "classification" and task_of(made).name == "exits"
    assert len(add_exits(made, 1).eval()(images)) == 2  # exits it had are replaced


def test_heads_depend_on_the_seed_alone():
    network, before = NETWORKS["vgg16"](), torch.get_rng_state()
    one, again, other = (add_exits(network, 2, seed=seed).exits.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["heads.0.fc.weight"], other["heads.0.fc.weight"])


def test_a_copy_has_heads_of_its_own(made, images):
    other = copy.deepcopy(made)
    nn.init.zeros_(other.exits.heads[0].fc.weight), nn.init.ones_(other.exits.heads[0].fc.bias)
    with torch.no_grad():
        assert (other(images)[0] == 1).all() and not (made(images)[0] == 1).all()


def test_heads_are_trained_and_the_network_gets_gradients(made, images):
    model = copy.deepcopy(made).train()
    torch.stack([logits.square().mean() for logits in model(images)]).sum().backward()
    assert all(p.grad is not None for p in model.exits.parameters())


def test_an_error_in_the_rule_leaves_the_network_usable(made, images):
    with pytest.raises(ZeroDivisionError):
        run_early(made, images, lambda number, logits, rows: 1 / 0)
    assert len(made(images)) == 4


def test_a_shared_norm_is_the_networks_own(images):
    model = add_exits(gfnet(), ["stages.0.block1", "stages.0.block3"], pool="mean", norm="shared")
    heads = sum(p.numel() for p in model.exits.parameters())
    assert heads == 2 * (12 * 5 + 5)  # linear layers only
    with torch.no_grad():
        before = model.eval()(images)[0]
        model.norm.bias += 1
        assert not torch.allclose(model(images)[0], before)


@pytest.mark.parametrize(
    "places, words",
    [
        (["layer9"], "no module 'layer9'.*possible places: .*layer1"),
        (["layer1.0.conv1"], "flows past 'layer1.0.conv1'"),
        (["layer2", "layer1"], "execution order"),
        (["layer1", "layer1"], "each once"),
        (0, "at least 1"),
        (99, "has .* places"),
    ],
)
def test_bad_places_are_refused(places, words):
    with pytest.raises(ModelError, match=words):
        add_exits(NETWORKS["resnet18_se"](), places)


def test_exits_by_equal_shares_of_the_work_are_in_order():
    model = NETWORKS["resnet18_se"]()
    places = add_exits(model, 3).exits.places
    assert sorted(places, key=exit_places(model).index) == list(places) and len(set(places)) == 3
    assert {"layer1", "layer2", "layer3", "layer4"} <= set(exit_places(model))
    with pytest.raises(ModelError, match="has no exits"):
        run_early(model, torch.zeros(1, 3, 32, 32), None)


def test_a_head_sees_channels_also_where_maps_are_as_wide_as_deep():
    """16 channels of 16 x 16 pixels, and the last layer inside is an SE gate's: once the head pooled over columns."""
    made = add_exits(create_model("resnet18_se", 2, width=0.25).eval(), ["layer1", "layer2"], pool="mean")
    shown = {}
    made.layer1.register_forward_hook(lambda _m, _x, y: shown.update(y=y))
    head = made.exits.heads[0]
    for side in (64, 16):
        logits = made(torch.randn(2, 3, side, side))[0]
        assert shown["y"].shape[1] == 16 and torch.allclose(head.pooled(shown["y"]), shown["y"].mean((2, 3)))
        assert logits.shape == (2, 2)


def test_only_a_network_with_a_last_norm_can_share_it():
    with pytest.raises(ModelError, match="no last layer norm to share"):
        add_exits(NETWORKS["resnet18_se"](), ["layer1"], norm="shared")
    with pytest.raises(ModelError, match="pool is 'max'"):
        add_exits(NETWORKS["resnet18_se"](), ["layer1"], pool="max")
