"""Spectra as lessons: what they see and what they do not, by hand, and a student whose maps come nearer."""

import math

import pytest
import torch
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import TrainingError
from rsprune_lib.models import add_exits, create_model
from rsprune_lib.pruning import prune
from rsprune_lib.training import Distillation, Spectral, fit, recipe
from rsprune_lib.training.spectral import as_map, map_places, radial_weight, spectral_gap, watching


@pytest.fixture
def maps():
    return torch.randn(3, 5, 8, 6, generator=torch.Generator().manual_seed(0))


def test_a_gap_sees_scales_and_not_where_things_are(maps):
    assert spectral_gap(maps, maps) == pytest.approx(0, abs=1e-10)
    assert spectral_gap(maps.roll((3, 2), (2, 3)), maps) == pytest.approx(0, abs=1e-9)
    assert spectral_gap(maps[:, [3, 1, 4, 0, 2]], maps) == pytest.approx(0, abs=1e-10)  # channels are averaged
    smooth = torch.nn.functional.avg_pool2d(maps, 3, 1, 1)
    assert spectral_gap(smooth, maps) > 0.1


def test_a_gap_by_hand(maps):
    student = maps.flip(0) * torch.rand(8, 6, generator=torch.Generator().manual_seed(1))

    def bins(x):
        amplitude = torch.fft.fft2(x)[..., :4].abs() / math.sqrt(48)
        logs = (1 + amplitude).log().mean(1)
        return (logs - logs.mean((1, 2), keepdim=True)) / logs.std((1, 2), keepdim=True, correction=0)

    weight = torch.tensor([[math.hypot(min(r, 8 - r) / 4, c / 3) for c in range(4)] for r in range(8)]).mul(-2).exp()
    wanted = (weight / weight.mean() * (bins(student) - bins(maps)) ** 2).mean()
    assert spectral_gap(student, maps, low_pass=2.0) == pytest.approx(float(wanted), rel=1e-4)


def test_weights_of_frequencies():
    assert torch.allclose(radial_weight(6, 8, 0.0, torch.zeros(1)), torch.ones(6, 5))
    low = radial_weight(6, 8, 3.0, torch.zeros(1))
    assert low.mean() == pytest.approx(1) and low[0, 0] == low.max() and low[3, 4] == low.min()
    assert low[1].tolist() == low[5].tolist()


def test_maps_of_other_widths_and_sizes_are_compared(maps):
    """The same smooth picture on two grids has nearly the same spectrum; noise of that size has not."""
    line = torch.linspace(0, 2 * math.pi, 33)[:-1]
    fine = (line.sin()[:, None] + line.cos()[None]).expand(2, 7, 32, 32)
    coarse = torch.nn.functional.avg_pool2d(fine, 2)[:, :3]
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert spectral_gap(coarse, fine) < 0.05 * spectral_gap(noise, fine)


@pytest.mark.parametrize("tokens, side", [(49, 7), (50, 7)])
def test_tokens_become_a_map(tokens, side):
    y = torch.randn(2, tokens, 6)
    found = as_map(y, -1, "block")
    assert found.shape == (2, 6, side, side)
    assert torch.equal(found[:, :, 0, 1], y[:, 1 + tokens - side * side])
    assert as_map(torch.randn(2, 4, 5, 6), -1, "block").shape == (2, 6, 4, 5)
    with pytest.raises(TrainingError, match="The 48 tokens of 'block' are no square"):
        as_map(torch.randn(2, 48, 6), -1, "block")


@pytest.fixture(scope="module")
def teacher(tiny_data):
    model = create_model("resnet18", 4, width=0.25, seed=0)
    return fit(model, tiny_data, recipe("strong", epochs=4, batch_size=16, lr=0.05), seed=0, progress=False).model


@pytest.mark.parametrize("projector", [False, True])
@pytest.mark.parametrize("name", ["gfnet_ti", "resnet18"])
def test_students_of_another_kind_get_gradients_from_spectra_alone(teacher, name, projector):
    options = {"image_size": 32, "patch": 4} if name == "gfnet_ti" else {}
    student = create_model(name, 4, width=0.125, seed=1, **options)
    taught = Distillation([teacher], share=0.0, spectral=Spectral(weight=1.0, ramp=0, projector=projector))
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6) % 4
    taught.on_start(student)
    bare = Distillation([teacher], share=0.0)
    gap = taught(student.eval(), images, labels) - bare(student, images, labels)
    assert gap > 0.01
    gap.backward()
    assert sum(float(p.grad.abs().sum()) for n, p in student.named_parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in teacher.parameters())
    if projector:
        assert all(p.grad.abs().sum() > 0 for p in student.spectral.parameters())


def test_the_term_grows_over_the_ramp():
    how = Spectral(weight=0.5, ramp=5)
    assert [round(how.strength(epoch), 3) for epoch in range(7)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
    assert Spectral(weight=0.5, ramp=0).strength(0) == 0.5


@pytest.mark.parametrize("projector", [False, True])
def test_a_students_spectra_come_nearer(teacher, tiny_data, projector):
    """Trained by fit: the gap shrinks, the ramp is heard, and nothing of the projectors stays."""
    student = add_exits(create_model("resnet18", 4, width=0.125, seed=1), ["layer2"])
    x, _ = next(iter(Batches(tiny_data, "train", 100)))

    def gap(model):
        model = model.eval()
        with torch.no_grad():
            seen = []
            for network in (model, teacher):
                with watching(network, map_places(network, 3)) as maps:
                    network(x)
                seen.append(maps)
        return float(sum(spectral_gap(*pair) for pair in zip(*seen, strict=True)))

    def trained(spectral):
        taught = Distillation([teacher], spectral=spectral)
        run = recipe("strong", epochs=6, batch_size=16, lr=0.05)
        return fit(student, tiny_data, run, objective=taught, progress=False).model, taught

    (logits, _), (spectra, taught) = trained(None), trained(Spectral(3.0, 2, projector=projector))
    assert spectra.state_dict().keys() == student.state_dict().keys()
    assert taught._strength == 3.0
    if not projector:
        assert gap(spectra) < 0.8 * gap(logits)


def test_a_narrower_student_that_begins_with_its_teachers_weights_is_a_pruned_teacher(tiny_data):
    teacher = create_model("gfnet_ti", 4, width=0.125, image_size=32, patch=8, seed=0)
    found = prune(teacher, tiny_data, criterion="l2", ratio=0.5, recovery="none", images=16, progress=False)
    keep = found.plan.keep
    block, small = teacher.stages[0].block3, found.model.stages[0].block3
    tokens = next(list(kept) for name, kept in keep.items() if found.plan.sizes[name] == 32)
    hidden = list(keep["stages.0.block3.fc1"])
    assert small.filter.weight.shape[2] == 16
    assert torch.equal(small.filter.weight, block.filter.weight[:, :, tokens])
    assert torch.equal(small.fc1.weight, block.fc1.weight[hidden][:, tokens])


def test_wrong_numbers_are_refused():
    for wrong in ({"layers": 0}, {"weight": -1}, {"ramp": -1}, {"low_pass": -0.1}):
        with pytest.raises(TrainingError, match="at least one layer, and nothing below 0"):
            Spectral(**wrong)
    assert isinstance(Distillation([nn.Linear(1, 1)]), object)
