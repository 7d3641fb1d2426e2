"""Gate statistics and folding: exact, by name, training images only, and equal to the network with frozen gates."""

import pytest
import torch

from rsprune_lib.data import Batches
from rsprune_lib.errors import DataError, ModelError
from rsprune_lib.models import create_model
from rsprune_lib.pruning.criteria.gates import Gates, fold, gate_statistics, gated_norms, without_gates


def _gates_by_hand(model, images):
    """The SE gates of each image by itself: {norm: (N, C)}."""
    rows = {norm: [] for norm in gated_norms(model)}
    hooks = [
        model.get_submodule(gate).register_forward_pre_hook(
            lambda module, x, norm=norm: rows[norm].append(module.gate(x[0]).double())
        )
        for norm, gate in gated_norms(model).items()
    ]
    with torch.no_grad():
        for image in images:
            model(image[None])
    for hook in hooks:
        hook.remove()
    return {norm: torch.cat(values) for norm, values in rows.items()}


def test_statistics_are_exact_with_a_short_last_batch(tiny_se, tiny_data):
    batches = Batches(tiny_data, "train", 16)
    assert batches.size % 16, "the last batch must be short"
    gates = gate_statistics(tiny_se, batches, progress=False)
    by_hand = _gates_by_hand(tiny_se, torch.cat([images for images, _ in batches]))
    assert gates.count == batches.size
    assert list(gates.mean) == list(by_hand)
    for norm, rows in by_hand.items():
        torch.testing.assert_close(gates.mean[norm], rows.mean(0), rtol=0, atol=1e-7)
        torch.testing.assert_close(gates.var[norm], rows.var(0, correction=0), rtol=1e-3, atol=1e-10)


def test_every_gated_norm_is_found_by_name_and_shortcuts_are_not(tiny_se):
    names = gated_norms(tiny_se)
    assert len(names) == 17
    assert names["bn1"] == "se1" and names["layer2.0.bn2"] == "layer2.0.se2"
    assert not any("downsample" in norm for norm in names)


def test_statistics_leave_the_network_alone(tiny_se, tiny_data):
    tiny_se.train()
    tiny_se.layer1.eval()
    before = {name: value.clone() for name, value in tiny_se.state_dict().items()}
    gate_statistics(tiny_se, Batches(tiny_data, "train", 16), progress=False)
    assert tiny_se.training and not tiny_se.layer1.training
    assert all(torch.equal(value, before[name]) for name, value in tiny_se.state_dict().items())
    assert not any(module._forward_hooks for module in tiny_se.modules())


def test_only_training_images_are_allowed(tiny_se, tiny_data):
    with pytest.raises(DataError, match="not in the training split"):
        gate_statistics(tiny_se, Batches(tiny_data, "val"), progress=False)
    with pytest.raises(DataError, match="no image at all"):
        gate_statistics(tiny_se, [], progress=False)


@pytest.mark.parametrize("name", ["resnet18_se", "vgg16_se"])
def test_folded_equals_the_network_with_gates_frozen_at_their_mean(name):
    model = create_model(name, 4, width=0.125, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
    images = torch.randn(6, 3, 32, 32, generator=generator)
    gates = gate_statistics(model, [(images, torch.zeros(6))], progress=False)
    gates = Gates({k: v * torch.linspace(0.2, 1.5, len(v)) for k, v in gates.mean.items()}, gates.var, gates.count)
    folded = fold(model, gates)
    for norm, gate in gated_norms(model).items():
        model.get_submodule(gate).gate = lambda x, norm=norm: gates.mean[norm].float().expand(len(x), -1)
    with torch.no_grad():
        assert (folded(images) - model(images)).abs().max() < 1e-5


def test_folded_network_is_the_plain_one(tiny_se, tiny_data):
    gates = gate_statistics(tiny_se, Batches(tiny_data, "train", 16), progress=False)
    before = {name: value.clone() for name, value in tiny_se.state_dict().items()}
    folded = fold(tiny_se, gates)
    assert folded.config == {**tiny_se.config, "name": "resnet18"}
    create_model(**folded.config).load_state_dict(folded.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in tiny_se.state_dict().items())
    assert torch.equal(folded.layer2[0].downsample[1].weight, tiny_se.layer2[0].downsample[1].weight)
    torch.testing.assert_close(folded.bn1.weight, tiny_se.bn1.weight * gates.mean["bn1"].float())
    torch.testing.assert_close(folded.bn1.bias, tiny_se.bn1.bias * gates.mean["bn1"].float())
    assert torch.equal(without_gates(tiny_se).bn1.weight, tiny_se.bn1.weight)


def test_gates_of_another_network_are_refused(tiny_se, tiny_data):
    gates = gate_statistics(tiny_se, Batches(tiny_data, "train", 16), progress=False)
    wide = create_model("resnet18_se", 4, width=0.25, seed=0)
    with pytest.raises(ModelError, match="collect them again"):
        fold(wide, gates)
    with pytest.raises(ModelError, match="collect them again"):
        fold(tiny_se, Gates({k: v for k, v in gates.mean.items() if k != "bn1"}, gates.var, 1))
    with pytest.raises(ModelError, match="no live SE block"):
        gate_statistics(fold(tiny_se, gates), Batches(tiny_data, "train"), progress=False)


def test_gates_survive_the_disk(tiny_se, tiny_data, tmp_path):
    gates = gate_statistics(tiny_se, Batches(tiny_data, "train", 16), progress=False)
    back = Gates.load(gates.save(tmp_path / "gates.safetensors"))
    assert back.count == gates.count and back.mean.keys() == gates.mean.keys()
    assert all(torch.equal(back.mean[k], gates.mean[k]) and torch.equal(back.var[k], gates.var[k]) for k in gates.mean)


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 10])
def test_a_broken_file_of_gates_is_one_sentence(tmp_path, content):
    path = tmp_path / "gates.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="collect them again"):
        Gates.load(path)
