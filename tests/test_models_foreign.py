"""Networks of torchvision and timm: built, filled, pruned and brought back; the tiny ones that timm tests with."""

import json
import sys

import pytest
import safetensors.torch
import torch
from pruning_toys import TOYS, images, random_plan
from torch import nn

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.cli import main
from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure import cost, layer_costs
from rsprune_lib.models import create_model, load_weights, units
from rsprune_lib.pruning import apply, find_groups, masked, plan_cost, prune
from rsprune_lib.pruning.recovery.live import Live
from rsprune_lib.pruning.recovery.sequential import sequential
from rsprune_lib.pruning.verify import difference

SIZES = {
    "torchvision:squeezenet1_1": None,
    "timm:test_resnet": None,
    "timm:test_efficientnet": None,
    "timm:test_convnext": None,
    "timm:test_vit": 64,
    "timm:test_nfnet": None,
}


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_foreign_networks_are_cut_as_they_are_silenced_and_repaired(name):
    pytest.importorskip("timm")
    model = create_model(name, 4, image_size=SIZES[name], seed=0).eval()
    for parameter in model.parameters():  # no constant may hide a fault
        parameter += 0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1))
    groups, x = find_groups(model, 64), images(64, 4)
    assert groups, groups.fixed
    plan = random_plan(groups)
    small = apply(model, plan, groups)
    with masked(model, plan, groups):
        assert difference(small(x), model(x)) < 1e-5
    assert plan_cost(layer_costs(model, 64), groups, plan.keep) == cost(small, 64)
    repaired = sequential(model, small, plan, [(x, torch.zeros(4))], groups=groups, ridge=1e-2, progress=False)
    raw, better = ((net(x) - model(x)).square().mean() for net in (small, repaired))
    assert better < 0.9 * raw


@pytest.mark.parametrize("name", ["Grouped", "Tokens", "Padded", "Transposed", "Filter", "Shuffle"])
def test_modules_of_ones_own_are_repaired(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TOYS[name]().eval()
    batches = [(images(8, 64, seed), torch.zeros(64)) for seed in range(3)]
    groups = find_groups(model, 8)
    plan = random_plan(groups, 0.3)
    small, x = apply(model, plan, groups), batches[0][0]
    live = Live(model, groups, batches, progress=False).solve(plan)
    done = sequential(model, small, plan, batches, groups=groups, progress=False)
    with torch.no_grad():
        raw, better, quick = ((net(x) - model(x)).square().mean() for net in (small, done, live))
    assert better < 0.7 * raw
    if name != "Tokens":  # the live form takes the dense network's inputs for granted; layer norms change them
        assert quick < 0.9 * raw


def test_prune_takes_a_module_that_create_model_did_not_make(tiny_data):
    class Own(nn.Sequential):
        def __init__(self):
            super().__init__(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 8, 3, groups=2), nn.GroupNorm(2, 8),
                nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
            )  # fmt: skip

    made = prune(Own(), tiny_data, criterion="taylor", ratio=0.5, images=16, progress=False)
    assert made.plan.model == {} and made.model[0].out_channels == 4
    images_, _ = next(iter(Batches(tiny_data, "val", 4)))
    assert made.model(images_).shape == (4, 4)


def test_units_are_seen_in_one_pass():
    found = units(create_model("torchvision:resnet18", 3, seed=0))
    assert [(u.layer, u.norm) for u in found[:2]] == [("conv1", "bn1"), ("layer1.0.conv1", "layer1.0.bn1")]
    assert (found[-1].layer, found[-1].norm) == ("fc", None)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_filled_in_and_what_does_not_fit_is_named(tmp_path, suffix):
    source = create_model("torchvision:squeezenet1_1", 7, seed=1)
    state = {key: value for key, value in source.state_dict().items() if key != "features.0.bias"}
    state["extra"] = torch.ones(1)
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    model = create_model("torchvision:squeezenet1_1", 4, seed=2)
    head = model.classifier[1].weight.clone()
    notes = load_weights(model, path)
    assert [note.split(":")[0] for note in notes] == [
        "classifier.1.bias",
        "classifier.1.weight",
        "extra",
        "features.0.bias",
    ]
    assert torch.equal(model.features[0].weight, source.features[0].weight)
    assert torch.equal(model.classifier[1].weight, head)


def test_files_that_are_no_weights_are_refused(tmp_path):
    model = create_model("torchvision:squeezenet1_1", 4, seed=0)
    pickled = tmp_path / "whole.pt"
    torch.save(nn.Linear(2, 2), pickled)
    with pytest.raises(ModelError, match="no pickled network"):
        load_weights(model, pickled)
    with pytest.raises(ModelError, match="Found no weights"):
        load_weights(model, tmp_path / "none.pt")
    other = tmp_path / "other.pt"
    torch.save({"x": torch.ones(2)}, other)
    with pytest.raises(ModelError, match="No weight in .* fits"):
        load_weights(model, other)


def test_names_and_options_that_do_not_exist(monkeypatch):
    with pytest.raises(RspruneError, match="did you mean 'torchvision'"):
        create_model("torchvison:resnet18")
    with pytest.raises(RspruneError, match="did you mean 'resnet18'"):
        create_model("torchvision:resnet81")
    with pytest.raises(ModelError, match="knows no width; leave it out"):
        create_model("torchvision:resnet18", width=0.5)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="pip install timm"):
        create_model("timm:resnet34")


def test_the_command_line_takes_a_foreign_network_through_the_chain(tiny_folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("timm")
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RSPRUNE_PROFILE", "smoke")
    torch.save(create_model("timm:test_resnet", 9, seed=1).state_dict(), tmp_path / "w.pt")
    dense, small = tmp_path / "dense", tmp_path / "small"
    train = ["train", "timm:test_resnet", "--weights", tmp_path / "w.pt", "--data", tiny_folder, "--epochs", 1]
    assert main([str(a) for a in (*train, "--out", dense)]) == 0
    assert "fc.weight: (9, 96) in the file, (4, 96) here, stays fresh" in capsys.readouterr().err
    assert main([str(a) for a in ("prune", dense, "--criterion", "l2", "--images", 16, "--out", small)]) == 0
    capsys.readouterr()
    assert main(["eval", str(small), "--json"]) == 0
    left = json.loads(capsys.readouterr().out)["params"]
    assert main(["cost", str(small), "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["params"]
        == left
        < 0.5 * json.loads((dense / "config.json").read_text())["measured"]["params"]
    )


def test_a_pruned_foreign_network_comes_back_from_its_bundle(tmp_path):
    pytest.importorskip("timm")
    model = create_model("timm:test_vit", 4, image_size=32, seed=0).eval()
    groups = find_groups(model, 32)
    plan = random_plan(groups)
    small = apply(model, plan, groups)
    save_bundle(tmp_path / "b", small, plan=plan, data=None, provenance={}, measured={})
    x = images(32)
    assert torch.equal(load_bundle(tmp_path / "b").model(x), small(x))
