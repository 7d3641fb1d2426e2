"""The networks that give each pixel a class: counts of their papers, any image size, exact groups."""

import json
import sys
from functools import cache
from math import ceil

import pytest
import torch
from pruning_toys import lively, random_plan
from torch import nn
from torch.nn import functional as F

from rsprune_lib.bundle import load_bundle, save_bundle
from rsprune_lib.cli import main
from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.measure import cost, evaluate, latency, measure
from rsprune_lib.models import copied, create_model, for_inference, hooked, load_weights, units
from rsprune_lib.models.segmentation import GhostNet
from rsprune_lib.models.segmentation.ued import warp
from rsprune_lib.pruning import apply, choose, find_groups, masked, prune, score
from rsprune_lib.tasks import Parts
from rsprune_lib.training import fit, recipe

NAMES = ("ued", "ued_bes", "ued_bes_sfm", "unet1", "segnet")
UED_PARAMS = {
    1.0: (2_767_252, 2_822_393, 2_833_409),
    1.3: (4_638_004, 4_693_289, 4_704_305),
    1.5: (6_157_080, 6_212_437, 6_223_453),
}
UED_MACS = (1_380_437_824, 2_122_829_632, 2_302_136_128)  # at 512 x 512, width 1
KEPT = {  # keep rate -> millions of parameters and GMACs at 360 x 480 with 11 classes
    1.0: ((13.396, 81.57), (29.449, 106.29)),
    0.5: ((3.353, 20.50), (7.370, 26.92)),
    0.25: ((0.840, 5.18), (1.847, 6.90)),
    0.1: ((0.140, 0.94), (0.307, 1.26)),
    0.07: ((0.068, 0.47), (0.148, 0.65)),
}


def images(height, width, count=2):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@cache
def small(name):
    """A narrow network, not to be changed."""
    model = lively(create_model(name, 4, width=0.25 if name.startswith("ued") else 0.1, seed=0))
    if hasattr(model, "flow"):
        nn.init.normal_(
            model.flow.weight, std=0.5, generator=torch.Generator().manual_seed(2)
        )  # pixels, not hundredths
    return model


@cache
def groups_of(name):
    return find_groups(small(name), 64)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_ued_has_the_published_counts():
    with torch.device("meta"):
        for width, counts in UED_PARAMS.items():
            assert tuple(parameters(create_model(name, 6, width=width)) for name in NAMES[:3]) == counts
        assert parameters(GhostNet(0)) == 2_515_908
        assert parameters(GhostNet(1000)) == 2_515_908 + 155_520 + 1_230_080 + 1_281_000
    assert tuple(cost(create_model(name, 6), 512).macs for name in NAMES[:3]) == UED_MACS


@pytest.mark.parametrize("rate", KEPT)
def test_unet1_and_segnet_have_the_counts_of_each_keep_rate(rate):
    for name, (params, macs) in zip(("unet1", "segnet"), KEPT[rate], strict=True):
        with torch.device("meta"):
            found = cost(create_model(name, 11, width=rate), (360, 480))
        assert (round(found.params / 1e6, 3), round(found.macs / 1e9, 2)) == (params, macs)


@pytest.mark.parametrize("name", ["unet1", "segnet"])
def test_uniform_pruning_leaves_the_narrow_network(name):
    model = create_model(name, 11, width=0.125, seed=0)
    groups = find_groups(model, 32)
    for rate in (0.5, 0.25, 0.1):
        amounts = {g.name: 1 - ceil(rate * g.size) / g.size for g in groups}  # the table keeps F - floor(F (1 - rate))
        how = {"per_group": amounts} if rate == 0.1 else {"ratio": 1 - rate}
        cut = apply(model, choose(score(model, groups, "l2"), groups, **how), groups)
        with torch.device("meta"):
            narrow = create_model(name, 11, width=0.125 * rate)
        assert [p.shape for p in cut.parameters()] == [p.shape for p in narrow.parameters()]


@pytest.mark.parametrize("name", [*NAMES, "ghostnet"])
def test_units_are_listed_in_execution_order(name):
    model, order = small(name), []
    named = [(unit.layer, model.get_submodule(unit.layer)) for unit in units(model)]
    with torch.no_grad(), hooked((layer, lambda *_, n=layer_name: order.append(n)) for layer_name, layer in named):
        model(images(64, 64))
    assert order == [layer_name for layer_name, _ in named]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 64), (45, 78), (33, 32)])
def test_every_image_size_is_taken(name, size):
    model = small(name)
    for training in (False, True):
        with torch.no_grad():
            out = copied(model).train(training)(images(*size))
        assert isinstance(out, Parts) == name.startswith("ued_bes")
        if isinstance(out, Parts):
            assert out.body.shape == (2, 4, *size) and out.edge.shape == (2, *size)
        assert (out[0] if isinstance(out, Parts) else out).shape == (2, 4, *size)


@pytest.mark.parametrize(("name", "side"), [("unet1", 16), ("segnet", 32)])
def test_images_below_the_poolings_are_refused(name, side):
    model = small(name)
    assert model(images(side, side)).shape == (2, 4, side, side)
    with pytest.raises(ModelError, match=f"needs at least {side}x{side}; enlarge"):
        model(images(side, side - 1))


def test_a_flow_of_zero_moves_nothing_and_a_flow_of_two_one_pixel():
    x = images(7, 9)
    assert torch.allclose(warp(x, torch.zeros(2, 2, 7, 9)), x, atol=1e-5)
    flow = torch.zeros(2, 2, 7, 9)
    flow[:, 0] = 2  # half pixels, to the right
    assert torch.allclose(warp(x, flow), F.pad(x, (0, 1, 0, 0), "replicate")[..., 1:], atol=1e-5)
    model = copied(small("ued_bes"))
    nn.init.zeros_(model.flow.weight)
    seen = []
    with torch.no_grad(), hooked(in_front=[(model.edge, lambda _m, x: seen.append(x[0]))]):
        model(images(64, 64))
    assert seen[0].abs().max() < 1e-5


@pytest.mark.parametrize("name", [*NAMES, "ghostnet"])
@pytest.mark.parametrize(("ratio", "size"), [(0.3, (64, 64)), (0.6, (45, 78)), (0.9, (64, 32))])
@torch.no_grad()
def test_masked_equals_applied_on_every_output(name, ratio, size):
    model = small(name)
    groups = groups_of(name)
    plan, x = random_plan(groups, ratio, seed=3), images(*size)
    cut = apply(model, plan, groups)
    with masked(model, plan, groups) as quiet:
        silent = quiet(x)
    whole, got = model(x), cut(x)
    for one, other, dense in zip(
        *(out if isinstance(out, tuple) else (out,) for out in (got, silent, whole)), strict=True
    ):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()
        assert (one - dense).abs().max() > 1e-3 * dense.abs().max()
    assert parameters(cut) < (1 - ratio / 2) * parameters(model)


def test_groups_hold_what_must_stay_together():
    groups = {group.name: group for group in groups_of("segnet")}
    assert {"conv43", "conv51d"} <= {m.layer for m in groups["conv43"].members if m.side == "out"}
    assert {"conv12", "conv21d"} <= {m.layer for m in groups["conv12"].members if m.side == "out"}
    found = groups_of("ued_bes_sfm")
    assert "flow" in found.fixed and {"project", "body.1"} <= found.sizes().keys()
    assert "encoder.blocks.8.1.se.conv_reduce" in found.sizes()
    ghost = next(group for group in found if group.name == "encoder.blocks.0.0.ghost1.primary_conv.0")
    reader = next(m for m in ghost.members if m.layer == "encoder.blocks.0.0.ghost2.primary_conv.0")
    assert reader.fan == 2 and reader.positions[0] == (0, 2)  # a channel and its cheap twin
    assert {m.layer for m in groups["conv53"].members} == {"conv53", "conv53_bn", "conv53d"}


def test_the_names_are_those_of_timm():
    timm = pytest.importorskip("timm")
    other, model = lively(timm.create_model("ghostnet_100", num_classes=7)), create_model("ghostnet", 7).eval()
    model.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.allclose(model(images(64, 96)), other(images(64, 96)), atol=1e-6)


@torch.no_grad()
def test_what_is_deployed_has_no_heads_for_losses():
    model = small("ued_bes_sfm")
    bare, x = for_inference(model), images(45, 78)
    assert torch.equal(bare(x), model(x).logits) and model.body_head is not None
    gone = parameters(model.body_head) + parameters(model.edge_head)
    assert parameters(model) - parameters(bare) == gone and not [n for n in bare.state_dict() if n.startswith("edge_h")]
    assert [u.layer for u in units(model) if u.layer.split(".")[0] not in model.loss_heads] == [
        u.layer for u in units(bare)
    ]
    whole = measure("x", model, None, image_size=(45, 78), timed=False)
    assert whole.deployed == {"params": parameters(bare), "macs": cost(bare, (45, 78)).macs}
    assert whole.params == parameters(model) and whole.macs > whole.deployed["macs"]
    json.dumps(whole.to_dict())
    assert "deployed" not in measure("x", bare, None, image_size=64, timed=False).to_dict()
    runs = []
    with hooked([(model.body_head, lambda *_: runs.append(1)), (model.seg_head, lambda *_: runs.append(2))]):
        took = latency(model, 64, repeats=3, warmup=0)  # hooks go along with the copy
    assert took.median_ms > 0 and set(runs) == {2}


def test_a_network_with_parts_goes_through_the_chain(fields, tmp_path):
    run = recipe("strong", epochs=4, batch_size=8, lr=0.1, half_size=0, ema=0)
    model = fit(create_model("ued_bes_sfm", 3, width=0.1, seed=0), fields, run, seed=0, progress=False).model
    groups, val = find_groups(model, fields.image_size), Batches(fields, "val")
    raw, repaired = (
        prune(model, fields, criterion="l2", ratio=0.5, recovery=how, images=32, groups=groups, progress=False)
        for how in ("none", "closed_form")
    )
    dense, lost, found = (evaluate(net, val, progress=False).score for net in (model, raw.model, repaired.model))
    assert dense > 0.5 and found - lost > 0.5 * (dense - lost) > 0.05
    path = save_bundle(
        tmp_path / "b", repaired.model, plan=repaired.plan, data=fields.info(), provenance={}, measured={}
    )
    again, (x, _) = load_bundle(path).model, next(iter(val))
    with torch.no_grad():
        for one, other in zip(again.eval()(x), repaired.model.eval()(x), strict=True):
            assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()))
    assert again.config == model.config and parameters(again) < 0.5 * parameters(model)


def test_an_encoder_is_filled_from_the_file_of_a_classifier(tmp_path):
    source, model = (create_model(name, 4, width=0.1, seed=seed) for name, seed in (("ghostnet", 1), ("ued_bes", 2)))
    path, before = tmp_path / "ghostnet.pth", model.head[2].weight.clone()
    torch.save({"state_dict": {f"module.{key}": value for key, value in source.state_dict().items()}}, path)
    notes = load_weights(model, path)
    own = model.encoder.state_dict()
    assert all(torch.equal(source.state_dict()[key], value) for key, value in own.items())
    assert notes[0] == "blocks.9.0.bn1, blocks.9.0.conv, classifier, conv_head: no part of the encoder, left out"
    assert notes[1].startswith("d3, d2, d1, head, project") and torch.equal(model.head[2].weight, before)
    four = create_model("ued", 4, in_channels=4, width=0.1)
    assert load_weights(four, path)[0] == (
        "encoder.conv_stem.weight is (4, 3, 3, 3) there and (4, 4, 3, 3) here, stays fresh"
    )
    with pytest.raises(
        ModelError, match=r"does not fit the encoder: bn1.weight is \(4,\) there and \(8,\) here.* and \d+ more; take"
    ):
        load_weights(create_model("ued", 4, width=0.5), path)
    state = {key: value for key, value in source.state_dict().items() if key != "blocks.4.0.se.conv_reduce.weight"}
    torch.save(state, path)
    with pytest.raises(ModelError, match=r"does not fit the encoder: no blocks.4.0.se.conv_reduce.weight; take"):
        load_weights(model, path)
    with pytest.raises(ModelError, match="does not fit the encoder: no conv1.weight"):
        load_weights(create_model("ued_resnet18", 4, width=0.1), path)


@torch.no_grad()
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnets_are_encoders_too(depth):
    torchvision = pytest.importorskip("torchvision")
    name, x = f"ued_resnet{depth}", images(45, 78)
    with torch.device("meta"):
        keys = {key for key in getattr(torchvision.models, f"resnet{depth}")().state_dict() if key[:3] != "fc."}
        assert {
            key.removeprefix("encoder.") for key in create_model(name).state_dict() if key[:8] == "encoder."
        } == keys
    model = lively(create_model(name, 4, width=0.25, seed=0))
    groups = find_groups(model)
    plan = random_plan(groups, 0.5)
    with masked(model, plan, groups) as quiet:
        silent = quiet(x)
    found = apply(model, plan, groups)(x)
    assert found.shape == (2, 4, 45, 78) and (found - silent).abs().max() < 1e-5 * silent.abs().max()


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["smp:unet:tu-test_resnet", "smp:fpn:tu-test_resnet", "torchvision:lraspp_mobilenet_v3_large"]
)
def test_networks_of_other_libraries_segment_too(name, fields):
    pytest.importorskip("segmentation_models_pytorch" if name.startswith("smp") else "torchvision")
    model, x = lively(create_model(name, 3, seed=0)), images(45, 78)
    assert create_model(**json.loads(json.dumps(model.config))).config == model.config
    groups = find_groups(model, (45, 78))
    plan = random_plan(groups, 0.4)
    with masked(model, plan, groups) as quiet:
        silent = quiet(x)
    found = apply(model, plan, groups)(x)
    assert found.shape == (2, 3, 45, 78) and (found - silent).abs().max() < 1e-5 * silent.abs().max()
    done = prune(model, fields, criterion="l2", ratio=0.4, recovery="closed_form", images=8, progress=False)
    assert parameters(done.model) < 0.7 * parameters(model)
    assert evaluate(done.model, Batches(fields, "val"), progress=False).metric == "mIoU"


def test_names_of_smp_that_do_not_exist(monkeypatch):
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(RspruneError, match="network of smp 'unett'; did you mean 'unet'"):
        create_model("smp:unett:resnet18")
    with pytest.raises(RspruneError, match="encoder of smp 'resnet81'; did you mean 'resnet18'"):
        create_model("smp:unet:resnet81")
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ModelError, match="pip install segmentation-models-pytorch"):
        create_model("smp:unet")


def test_an_encoder_is_trained_before_on_class_folders(tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RSPRUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RSPRUNE_PROFILE", "smoke")
    out, given = tmp_path / "ghostnet", ["--data", str(tiny_folder), "--width", "0.1", "--recipe", "imagenet"]
    assert main(["train", "ghostnet", *given, "--size", "40x", "--out", str(out)]) == 2
    assert "a pair such as 180x240" in capsys.readouterr().err
    assert main(["train", "ghostnet", *given, "--size", "40", "--out", str(out)]) == 0
    bundle, model = load_bundle(out), create_model("ued_bes_sfm", 6, width=0.1)
    assert bundle.config["data"]["image_size"] == 40
    assert all(note.startswith(("blocks.9", "d3")) for note in load_weights(model, out / "model.safetensors"))
    assert torch.equal(model.encoder.conv_stem.weight, bundle.model.conv_stem.weight)
