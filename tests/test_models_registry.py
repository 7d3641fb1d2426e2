"""What every network by name has in common: arguments, config, units in execution order."""

import copy
import json

import numpy as np
import pytest
import torch
from pruning_toys import COURSE, TWO_STEMS
from torch import nn

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.models import SqueezeExcite, create_model, model_names, plain_name

TINY = {"num_classes": 5, "width": 0.125}


def awake(model):
    """Give every norm a say: zero-init residual would hide the convolutions before it."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def test_names():
    small = ["vgg16_cifar", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "densenet40"]
    sizes = ["gfnet_ti", "gfnet_xs", "gfnet_s", "gfnet_b", "gfnet_h_ti", "gfnet_h_s", "gfnet_h_b"]
    pixels = [
        "ghostnet",
        "ued",
        "ued_bes",
        "ued_bes_sfm",
        "ued_resnet18",
        "ued_resnet34",
        "ued_resnet50",
        "unet1",
        "segnet",
    ]
    assert model_names() == ["resnet18", "resnet18_se", "vgg16", "vgg16_se", *small, *sizes, *pixels]
    assert {plain_name(name) for name in TWO_STEMS} == {"resnet18", "vgg16"}


@pytest.mark.parametrize("name", COURSE)
def test_config_rebuilds_the_network(name):
    model = awake(create_model(name, 5, in_channels=4, width=0.125, stem="small", seed=3))
    config = json.loads(json.dumps(model.config))
    assert config == {"name": name, "num_classes": 5, "in_channels": 4, "width": 0.125, "stem": "small"}
    again = create_model(**config)
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 4, 32, 32)
    assert torch.equal(model.eval()(x), again.eval()(x))
    assert copy.deepcopy(model).config == config


@pytest.mark.parametrize(
    ("name", "stem"),
    [(name, stem) for name in COURSE for stem in ("imagenet", "small") if stem == "small" or name in TWO_STEMS],
)
def test_units_come_in_execution_order(name, stem):
    """Forward hooks see each unit's layer, then its norm, then its gate, in the order of ``units()``."""
    model = create_model(name, stem=stem, **TINY).eval()
    called, inside_se = [], {f"{n}." for n, m in model.named_modules() if isinstance(m, SqueezeExcite)}
    for path, module in model.named_modules():
        norms = nn.BatchNorm2d if model.norms_behind_layers else SqueezeExcite
        if isinstance(module, nn.Conv2d | nn.Linear | norms | SqueezeExcite):
            if not any(path.startswith(prefix) for prefix in inside_se):
                module.register_forward_hook(lambda *_, path=path: called.append(path))
    model(torch.zeros(1, 3, 32, 32))
    expected = [part for unit in model.units() for part in (unit.layer, unit.norm, unit.gate) if part]
    assert called == expected
    assert model.units()[-1].layer == "fc"


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_plain_network_is_the_se_network_with_its_gates_out(name):
    """State of the SE network, less the SE blocks, fits the plain one; same units but for the gates."""
    with_se, plain = awake(create_model(f"{name}_se", seed=0, **TINY)), create_model(name, seed=1, **TINY)
    gates = [unit.gate for unit in with_se.units() if unit.gate]
    state = {k: v for k, v in with_se.state_dict().items() if not any(k.startswith(f"{g}.") for g in gates)}
    plain.load_state_dict(state)
    assert [(u.layer, u.norm) for u in with_se.units()] == [(u.layer, u.norm) for u in plain.units()]
    for gate in gates:
        with_se.set_submodule(gate, nn.Identity())
    assert with_se.units() == plain.units()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(with_se.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("name", COURSE)
def test_every_weight_learns(name):
    model = awake(create_model(name, seed=0, **TINY))
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_unknown_name_offers_the_nearest():
    with pytest.raises(RspruneError, match="resnet18_se"):
        create_model("resnet18se")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 2.5}, r"num_classes is 2\.5"),
        ({"num_classes": True}, "num_classes is True"),
        ({"in_channels": -3}, "in_channels is -3"),
        ({"width": 0}, "width is 0"),
        ({"width": float("nan")}, "width is nan"),
        ({"width": "wide"}, "width is 'wide'"),
        ({"width": 1e-3}, "leave every layer a channel"),
        ({"stem": "tiny"}, "stem is 'tiny'"),
    ],
)
def test_bad_arguments_are_one_clear_sentence(arguments, sentence):
    with pytest.raises(ModelError, match=sentence):
        create_model("resnet18", **arguments)


def test_numpy_numbers_are_welcome():
    config = create_model("vgg16", np.int64(3), width=np.float32(0.125)).config
    assert json.dumps(config) and type(config["num_classes"]) is int and type(config["width"]) is float


def test_small_networks_have_one_stem():
    assert (
        create_model("resnet20", 5).config["stem"] == "small"
        and create_model("resnet18", 5).config["stem"] == "imagenet"
    )
    with pytest.raises(ModelError, match="resnet20 has the stem 'small', but stem is 'imagenet'"):
        create_model("resnet20", stem="imagenet")


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 4, 32, 32), (2, 32, 32, 3)])
def test_wrongly_shaped_images_are_one_clear_sentence(shape):
    with pytest.raises(ModelError, match=r"expects \(batch, 3, height, width\)"):
        create_model("resnet18", **TINY)(torch.zeros(shape))
