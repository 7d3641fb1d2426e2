"""What a run is resumed by: everything that decides about its numbers, and nothing that does not."""

import functools
import itertools
import os

import pytest
import torch
from torch import nn

from rsprune_lib.errors import RspruneError, TrainingError
from rsprune_lib.models import create_model
from rsprune_lib.training import LOSSES, Distillation, FocalLoss, MiningLoss, fit, make_loss, recipe, run_identity
from rsprune_lib.training.run_identity import settings


def agreement(model, images, labels, teacher, share):
    return share * (model(images) - teacher(images)).square().mean()


def taught(teacher, share):
    def objective(model, images, labels):
        return agreement(model, images, labels, teacher, share)

    return objective


def test_losses_differ_by_their_settings():
    weights = [None, torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])]
    teachers = [create_model("resnet18", 4, width=0.125, seed=seed) for seed in (0, 1)]
    several = [
        *(make_loss(name, label_smoothing=smoothing) for name in LOSSES for smoothing in (0, 0.1)),
        *(MiningLoss(distance, r1, r2) for distance in ("tv", "mean") for r1 in (2.0, 3.0) for r2 in (0.4, 0.5)),
        *(FocalLoss(gamma) for gamma in (0.5, 1.0)),
        *(nn.CrossEntropyLoss(weight, label_smoothing=0.2) for weight in weights),
        *(functools.partial(agreement, teacher=t, share=s) for t in teachers for s in (0.1, 0.2)),
        *(taught(t, s) for t in teachers for s in (0.1, 0.2)),
        lambda model, images, labels: 0.1 * model(images).mean(),
        lambda model, images, labels: 0.2 * model(images).mean(),
        *(nn.ModuleDict({"a": MiningLoss(r1=r1)}) for r1 in (1.0, 2.0)),
    ]
    for one, other in itertools.combinations(several, 2):
        assert settings(one) != settings(other), (one, other)


def test_settings_are_the_same_in_every_process():
    teacher = create_model("resnet18", 4, width=0.125, seed=0)
    again = create_model("resnet18", 4, width=0.125, seed=0)
    for make in (taught, lambda t, s: functools.partial(agreement, teacher=t, share=s)):
        assert settings(make(teacher, 0.1)) == settings(make(again, 0.1))
        assert " at 0x" not in str(settings(make(teacher, object())))


@pytest.fixture(scope="module")
def begun(tiny_data, tmp_path_factory):
    """The folder of a run of one epoch, and what makes it what it is."""
    how = {
        "model": create_model("resnet18", 4, width=0.125, seed=0), "data": tiny_data, "loss": MiningLoss(),
        "recipe": recipe("strong", epochs=1, batch_size=16),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("begun")
    fit(**how, out=folder, progress=False)
    return folder, how


def test_a_run_goes_on_only_as_itself(begun, tiny_folder, tmp_path_factory):
    from rsprune_lib.data import load_data

    folder, how = begun
    resplit = load_data(tiny_folder, split_seed=3, root=tmp_path_factory.mktemp("resplit"), progress=False)
    for change, what in (
        ({"model": create_model("resnet18", 4, width=0.125, seed=1)}, "start weights are '"),
        ({"objective": Distillation([how["model"]])}, "loss is kind='MiningLoss', distance='tv'"),
        ({"loss": MiningLoss(r2=1.0)}, "loss is r2=0.4, this run's is r2=1.0"),
        ({"loss": MiningLoss("mean")}, "loss is distance='tv', this run's is distance='mean'"),
        ({"loss": "ce"}, "loss is kind='MiningLoss'"),
        ({"recipe": recipe("strong", epochs=1, batch_size=16, lr=0.5)}, "recipe is lr=0.08, this run's is lr=0.5"),
        ({"data": resplit}, "data is"),
        ({"seed": 2}, "seed is 0"),
    ):
        with pytest.raises(TrainingError, match=f"belongs to another run: its {what}") as caught:
            fit(**how | change, out=folder, resume=True, progress=False)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600 + len(str(folder))
    assert len(fit(**how, out=folder, resume=True, progress=False).history) == 1


def test_a_run_of_other_code_does_not_go_on(begun, monkeypatch):
    folder, how = begun
    monkeypatch.setattr(run_identity, "code_version", lambda *packages: "another")
    with pytest.raises(TrainingError, match="its code is 'rsprune .*, source .*, torch .*', this run's is 'another'"):
        fit(**how, out=folder, resume=True, progress=False)


def test_a_full_disk_is_a_sentence_and_leaves_the_old_checkpoint(begun, small_files):
    folder, how = begun
    path = folder / "checkpoint" / "state.pt"
    before = path.read_bytes()
    with small_files, pytest.raises(RspruneError, match=r"Cannot write .*state.pt \(.*\); make room there"):
        fit(**how, out=folder, progress=False)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["state.pt"]


def test_a_checkpoint_that_does_not_fit_its_own_run_is_a_sentence(begun, tmp_path):
    folder, how = begun
    state = torch.load(folder / "checkpoint" / "state.pt", weights_only=True)
    (tmp_path / "checkpoint").mkdir()
    for broken in (
        {key: value for key, value in state.items() if key != "average"},
        state | {"model": {}},
        state | {"optimizer": 7},
    ):
        torch.save(broken, tmp_path / "checkpoint" / "state.pt")
        with pytest.raises(TrainingError, match="does not fit its own run: .*delete it to start anew"):
            fit(**how, out=tmp_path, resume=True, progress=False)
