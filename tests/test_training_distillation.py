"""Distillation: losses worked out by hand, several teachers, and a student that learns from answers alone."""

import math

import pytest
import torch
from torch import nn

from rsprune_lib.data import Batches
from rsprune_lib.errors import RspruneError, TrainingError
from rsprune_lib.models import create_model
from rsprune_lib.training import Distillation, fit, recipe
from rsprune_lib.training.distillation import decoupled, hard, soft


def logits_of(*probabilities):
    return torch.tensor([probabilities], dtype=torch.float64).log()


def test_soft_by_hand():
    student, teacher = logits_of(0.5, 0.5), logits_of(0.8, 0.2)
    wanted = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert soft(student, teacher, None, 1.0) == pytest.approx(wanted)
    p = 0.8**0.5 / (0.8**0.5 + 0.2**0.5)  # at temperature 2 the teacher is less sure
    assert soft(student, teacher, None, 2.0) == pytest.approx(4 * (p * math.log(2 * p) + (1 - p) * math.log(2 - 2 * p)))
    assert soft(teacher, teacher, None, 3.0) == pytest.approx(0, abs=1e-12)


def test_hard_is_the_teachers_answer():
    assert hard(logits_of(0.1, 0.9), logits_of(0.7, 0.3), torch.tensor([1])) == pytest.approx(-math.log(0.1))


def test_decoupled_by_hand():
    """Right class 0: (.6 | .4) against (.5 | .5), and among the others (.75, .25) against (.5, .5)."""
    student, teacher, label = logits_of(0.5, 0.25, 0.25), logits_of(0.6, 0.3, 0.1), torch.tensor([0])
    first = 0.6 * math.log(0.6 / 0.5) + 0.4 * math.log(0.4 / 0.5)
    second = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert decoupled(student, teacher, label, 1.0, 1.0, 0.0) == pytest.approx(first, abs=1e-6)
    assert decoupled(student, teacher, label, 1.0, 2.0, 8.0) == pytest.approx(2 * first + 8 * second, abs=1e-5)


def test_decoupled_with_the_teachers_doubt_is_soft():
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(1, 5), torch.randn(1, 5), torch.tensor([2])
    doubt = 1 - float((teacher / 2).softmax(1)[0, 2])
    assert decoupled(student, teacher, labels, 2.0, 1.0, doubt) == pytest.approx(float(soft(student, teacher, labels)))


class Says(nn.Module):
    """A teacher with fixed probabilities."""

    def __init__(self, *probabilities):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, images):
        return self.weight.expand(len(images), -1)


def test_teachers_speak_with_the_mean_of_their_probabilities():
    taught = Distillation([Says(0.8, 0.2), Says(0.4, 0.6)])
    assert torch.allclose(taught.opinion(torch.zeros(3, 1, 2, 2)).exp(), torch.tensor([[0.6, 0.4]]).expand(3, 2))


def test_share_weighs_labels_against_the_teacher():
    student, teacher, labels = Says(0.25, 0.75), Says(0.9, 0.1), torch.tensor([0, 1])
    images = torch.zeros(2, 1, 2, 2)
    own = -(math.log(0.25) + math.log(0.75)) / 2
    assert Distillation([teacher], share=0.0)(student, images, labels).item() == pytest.approx(own, rel=1e-5)
    only = 0.9 * math.log(0.9 / 0.25) + 0.1 * math.log(0.1 / 0.75)
    both = Distillation([teacher], share=0.75, temperature=1.0)(student, images, labels).item()
    assert both == pytest.approx(0.25 * own + 0.75 * only, rel=1e-5)


def test_settings_reach_the_loss_and_the_name_of_the_run():
    student, teacher, labels = Says(0.25, 0.5, 0.25), Says(0.7, 0.2, 0.1), torch.tensor([0, 1])
    images = torch.zeros(2, 1, 2, 2)
    smooth = Distillation([teacher], share=0.0, label_smoothing=0.3)
    own = nn.functional.cross_entropy(student(images), labels, label_smoothing=0.3)
    assert smooth(student, images, labels).item() == pytest.approx(own.item())
    apart = Distillation([teacher], "dkd", share=1.0, temperature=3.0, options={"alpha": 2.0, "beta": 8.0})
    wanted = decoupled(student(images), teacher(images), labels, 3.0, 2.0, 8.0)
    assert apart(student, images, labels).item() == pytest.approx(wanted.item(), rel=1e-5)
    plain = Distillation([teacher])
    others = (
        smooth,
        apart,
        Distillation([teacher], "dkd", share=1.0, temperature=3.0),
        Distillation([teacher], temperature=3.0),
        Distillation([nn.Flatten(), teacher]),
    )
    assert len({str(one) for one in (plain, *others)}) == 6


def test_every_exit_is_taught():
    class TwoExits(nn.Module):
        def forward(self, images):
            return [torch.zeros(len(images), 2), torch.tensor([[3.0, 0.0]]).expand(len(images), 2)]

    taught, images, labels = Distillation([Says(0.9, 0.1)]), torch.zeros(2, 1, 2, 2), torch.tensor([0, 1])
    each = [taught.lesson(logits, taught.opinion(images), labels) for logits in TwoExits()(images)]
    assert taught(TwoExits(), images, labels).item() == pytest.approx(float(sum(each)) / 2)


def test_a_student_learns_from_answers_alone(tiny_data):
    """With share 1 the labels count for nothing: a student of a teacher that mixes up two classes mixes them up."""
    teacher = create_model("resnet18", 4, width=0.125, seed=0)
    teacher = fit(teacher, tiny_data, recipe("strong", epochs=12, batch_size=16, lr=0.05), seed=0, progress=False).model
    swapped = nn.Sequential(teacher, nn.Linear(4, 4, bias=False))
    swapped[1].weight.data = torch.eye(4)[[1, 0, 2, 3]]
    taught = Distillation([swapped], share=1.0)
    student = create_model("resnet18", 4, width=0.125, seed=1)
    how = recipe("strong", epochs=12, batch_size=16, lr=0.05)
    student = fit(student, tiny_data, how, objective=taught, seed=0, progress=False).model
    x, labels = next(iter(Batches(tiny_data, "train", 100)))
    with torch.no_grad():
        agree = (student(x).argmax(1) == swapped(x).argmax(1)).float().mean()
        true = (student(x).argmax(1) == labels).float().mean()
    assert agree > 0.5 and agree > true + 0.15, (agree, true)


@pytest.mark.parametrize(
    "how, words",
    [
        ({"kind": "sfot"}, "did you mean 'soft'"),
        ({"share": 1.5}, "share in"),
        ({"temperature": 0}, "above 0"),
    ],
)
def test_bad_arguments_are_refused(how, words):
    with pytest.raises(RspruneError, match=words):
        Distillation([Says(0.5, 0.5)], **how)
    with pytest.raises(TrainingError, match="no teacher"):
        Distillation([])


def test_other_classes_are_refused():
    with pytest.raises(TrainingError, match="3 classes, the teacher 2"):
        Distillation([Says(0.5, 0.5)])(Says(0.2, 0.3, 0.5), torch.zeros(1, 1, 2, 2), torch.tensor([0]))
