"""Every criterion: shape, determinism, and its own definition on a tiny network."""

import pytest
import torch
import torch_pruning
from torch.nn import functional as F

from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.models import add_exits, create_model
from rsprune_lib.pruning.criteria.gates import fold, gate_statistics
from rsprune_lib.pruning.criteria.registry import CRITERIA, score
from rsprune_lib.pruning.groups import find_groups
from rsprune_lib.tasks import IGNORE


@pytest.fixture
def batches(tiny_data):
    return Batches(tiny_data, "train", 16)


@pytest.fixture
def plain():
    model = create_model("resnet18", 4, width=0.125, seed=3).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 1.5, generator=torch.Generator().manual_seed(module.num_features))
    return model


@pytest.mark.parametrize("criterion", CRITERIA)
def test_one_finite_score_a_channel_the_same_every_time(criterion, tiny_se, batches):
    groups = find_groups(tiny_se, 32)
    before = {name: value.clone() for name, value in tiny_se.state_dict().items()}
    state = torch.random.get_rng_state()
    first = score(tiny_se, groups, criterion, data=batches, progress=False)
    again = score(tiny_se, groups, criterion, data=batches, progress=False)
    assert first.criterion == criterion and list(first.values) == [group.name for group in groups]
    for group in groups:
        assert first.values[group.name].shape == (group.size,)
        assert first.values[group.name].dtype == torch.float32
        assert torch.equal(first.values[group.name], again.values[group.name])
        assert len(set(first.values[group.name].tolist())) > 1
    assert all(torch.equal(value, before[name]) for name, value in tiny_se.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in tiny_se.parameters())


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_groups_of_the_plain_network_give_the_same_scores(criterion, tiny_se, batches):
    gates = gate_statistics(tiny_se, batches, progress=False)
    options = {"data": batches, "gates": gates, "progress": False}
    own = score(tiny_se, find_groups(tiny_se, 32), criterion, **options)
    plain = score(tiny_se, find_groups(fold(tiny_se, gates), 32), criterion, **options)
    assert all(torch.equal(own.values[name], plain.values[name]) for name in plain.values)


@pytest.mark.parametrize(
    ("criterion", "engine"),
    [
        ("l1", {"cls": "GroupMagnitudeImportance", "p": 1}),
        ("l2", {"cls": "GroupMagnitudeImportance", "p": 2}),
        ("lamp", {"cls": "LAMPImportance"}),
        ("bn_scale", {"cls": "BNScaleImportance"}),
    ],
)
def test_what_the_engine_does_right_is_what_it_does(criterion, engine, plain):
    importance = getattr(torch_pruning.importance, engine["cls"])(**{k: v for k, v in engine.items() if k != "cls"})
    if criterion != "lamp":
        importance.normalizer = None
    if criterion != "bn_scale":
        importance.target_types = [torch.nn.Conv2d, torch.nn.Linear]
    graph = torch_pruning.DependencyGraph().build_dependency(plain, torch.zeros(1, 3, 32, 32))
    ours = score(plain, find_groups(plain, 32), criterion).values
    for name, values in ours.items():
        conv = plain.get_submodule(name)
        group = graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, list(range(conv.out_channels)))
        torch.testing.assert_close(values, importance(group))


def test_l1_without_consumers_is_the_norm_of_the_filters(plain):
    values = score(plain, find_groups(plain, 32), "l1", consumers=False).values["layer1.0.conv1"]
    torch.testing.assert_close(values, plain.layer1[0].conv1.weight.detach().abs().sum((1, 2, 3)))


def test_attention_of_a_gated_norm_is_gamma_times_mean_gate(tiny_se, batches):
    gates = gate_statistics(tiny_se, batches, progress=False)
    values = score(tiny_se, find_groups(tiny_se, 32), "attention", gates=gates).values["layer2.0.conv1"]
    wanted = tiny_se.layer2[0].bn1.weight.detach().abs() * gates.mean["layer2.0.bn1"]
    torch.testing.assert_close(values, wanted.float())


def test_attention_modes_treat_the_shortcut_norm_differently(tiny_se, batches):
    gates = gate_statistics(tiny_se, batches, progress=False)
    groups = [group for group in find_groups(tiny_se, 32) if group.name == "layer2.0.conv2"]
    blocks = tiny_se.layer2
    first, second = (b.bn2.weight.detach().abs() * gates.mean[f"layer2.{i}.bn2"] for i, b in enumerate(blocks))
    shortcut = blocks[0].downsample[1].weight.detach().abs().double()
    wanted = {
        "drop": (first + second) / 2,
        "paper": (first + second + shortcut) / 3,
        "normalise": (first / first.mean() + second / second.mean() + shortcut / shortcut.mean()) / 3,
    }
    for mode, values in wanted.items():
        got = score(tiny_se, groups, "attention", gates=gates, mode=mode).values["layer2.0.conv2"]
        torch.testing.assert_close(got, values.float(), msg=mode)


def test_attention_as_in_the_paper_is_bn_scale_of_the_folded_network(tiny_se, batches):
    gates = gate_statistics(tiny_se, batches, progress=False)
    groups = find_groups(tiny_se, 32)
    paper = score(tiny_se, groups, "attention", gates=gates, mode="paper").values
    slimming = score(fold(tiny_se, gates), groups, "bn_scale").values
    for name in paper:
        torch.testing.assert_close(paper[name], slimming[name])


def test_fpgm_finds_the_filter_in_the_middle_and_tells_signs_apart(plain):
    weight = plain.layer1[0].conv1.weight.data
    weight[:] = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    weight[1] = -weight[0]
    weight[5] = weight.mean(0)
    values = score(plain, find_groups(plain, 32), "fpgm").values["layer1.0.conv1"]
    assert values.argmin() == 5
    filters = weight.flatten(1)
    torch.testing.assert_close(values, torch.stack([(filters - f).norm(dim=1).sum() for f in filters]))


def test_taylor_and_hessian_are_the_derivatives_of_each_image(tiny_se, batches):
    groups = find_groups(tiny_se, 32)
    taylor = score(tiny_se, groups, "taylor", data=batches, progress=False).values["layer1.1.conv1"]
    hessian = score(tiny_se, groups, "hessian", data=batches, progress=False).values["layer1.1.conv1"]
    norm, rows = tiny_se.layer1[1].bn1, []
    for images, labels in batches:
        for image, label in zip(images, labels, strict=True):
            loss = F.cross_entropy(tiny_se(image[None]), label[None])
            by_gamma, by_beta = torch.autograd.grad(loss, [norm.weight, norm.bias])
            rows.append(norm.weight * by_gamma + norm.bias * by_beta)  # d loss / d (factor on the channel)
    slope = torch.stack(rows).detach()
    torch.testing.assert_close(taylor, slope.abs().mean(0), rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(hessian, slope.square().mean(0) / 2, rtol=1e-3, atol=1e-9)


def test_taylor_of_a_segmenter_is_that_of_the_mean_over_the_labelled_pixels_of_each_image():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.BatchNorm2d(5), torch.nn.ReLU(), torch.nn.Conv2d(5, 4, 1)
    ).eval()
    model.task, norm = "segmentation", model[1]
    norm.bias.data.uniform_(-0.5, 0.5)
    images, masks = torch.randn(3, 3, 6, 6), torch.randint(0, 4, (3, 6, 6))
    masks[0, 1:], masks[2] = IGNORE, IGNORE  # six pixels are known of the first image, none of the third
    slopes = [torch.zeros(5)]
    for image, mask in zip(images[:2], masks[:2], strict=True):
        loss = F.cross_entropy(model(image[None]), mask[None], ignore_index=IGNORE)
        by_gamma, by_beta = torch.autograd.grad(loss, [norm.weight, norm.bias])
        slopes.append((norm.weight * by_gamma + norm.bias * by_beta).detach())
    wanted = torch.stack(slopes)
    for criterion, value in (("taylor", wanted.abs().mean(0)), ("hessian", wanted.square().mean(0) / 2)):
        found = score(model, find_groups(model, 6), criterion, data=[(images, masks)], progress=False).values["0"]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-7)


def test_taylor_of_a_network_with_exits_is_that_of_all_of_them(tiny_se):
    batches = [(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(3))]
    model = add_exits(tiny_se, ["layer1"]).eval()
    groups = [group for group in find_groups(model, 32) if group.name == "layer1.1.conv1"]
    found = score(model, groups, "taylor", data=batches, progress=False).values["layer1.1.conv1"]
    norm, rows = model.layer1[1].bn1, []
    for images, labels in batches:
        for image, label in zip(images, labels, strict=True):
            loss = sum(F.cross_entropy(logits, label[None]) for logits in model(image[None])) / 2
            by_gamma, by_beta = torch.autograd.grad(loss, [norm.weight, norm.bias])
            rows.append((norm.weight * by_gamma + norm.bias * by_beta).abs().detach())
    torch.testing.assert_close(found, torch.stack(rows).mean(0), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("criterion", ["taylor", "hessian"])
def test_a_channel_that_nobody_reads_has_no_effect_on_the_loss(criterion, tiny_se, batches):
    tiny_se.layer1[0].conv2.weight.data[:, 3] = 0
    values = score(tiny_se, find_groups(tiny_se, 32), criterion, data=batches, progress=False).values
    others = values["layer1.0.conv1"]
    assert others[3] <= 1e-3 * others.max()  # its own SE gate reads it still
    assert others[3] == others.min()


def test_random_depends_on_the_seed_only(plain):
    groups = find_groups(plain, 32)
    one, two = (score(plain, groups, "random", seed=seed).values for seed in (1, 2))
    alone = score(plain, groups[3:4], "random", seed=1).values
    assert not torch.equal(one["conv1"], two["conv1"])
    assert torch.equal(alone[groups[3].name], one[groups[3].name])


def test_errors_say_what_to_do(plain, tiny_se, batches):
    groups = find_groups(plain, 32)
    with pytest.raises(RspruneError, match="did you mean 'taylor'"):
        score(plain, groups, "tailor")
    with pytest.raises(RspruneError, match="needs training images"):
        score(plain, groups, "taylor")
    with pytest.raises(RspruneError, match="give gates=, or data="):
        score(tiny_se, groups, "attention")
    with pytest.raises(ModelError, match="live SE blocks"):
        score(plain, groups, "attention", data=batches)
    with pytest.raises(RspruneError, match="option of criterion l1"):
        score(plain, groups, "l1", mode="paper")
    with pytest.raises(RspruneError, match="attention mode"):
        score(tiny_se, groups, "attention", data=batches, mode="papr", progress=False)
    plain.layer1[0].conv1.weight.data[2] = float("nan")
    with pytest.raises(RspruneError, match=r"not finite numbers in 'conv1'|in 'layer1.0.conv1'"):
        score(plain, groups, "l2")


def test_data_criteria_refuse_validation_images(tiny_se, tiny_data):
    with pytest.raises(RspruneError, match="not in the training split"):
        score(tiny_se, find_groups(tiny_se, 32), "taylor", data=Batches(tiny_data, "val"), progress=False)


def test_a_group_without_batch_norm_cannot_be_judged_by_its_scale():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    model(torch.zeros(1, 3, 8, 8))
    groups = find_groups(model, 8)
    with pytest.raises(ModelError, match="no batch norm"):
        score(model, groups, "bn_scale")
    assert score(model, groups, "l2").values[groups[0].name].shape == (4,)
