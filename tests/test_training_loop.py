import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from rsprune_lib.errors import RspruneError, TrainingError
from rsprune_lib.measure import predict, quality
from rsprune_lib.models import create_model
from rsprune_lib.training import Callback, StopTraining, fit, recipe
from rsprune_lib.training.checkpoint import restore_checkpoint, save_checkpoint


def _same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture
def small():
    return create_model("resnet18_se", 4, width=0.125, seed=0)


QUICK = {"batch_size": 16, "ema": 0.5, "lr": 0.05}


def test_learns_and_leaves_its_input_alone(small, tiny_data):
    before = {k: v.clone() for k, v in small.state_dict().items()}
    result = fit(small, tiny_data, recipe("strong", epochs=8, **QUICK), progress=False)
    assert all(torch.equal(v, small.state_dict()[k]) for k, v in before.items())
    assert result.history[-1]["train_loss"] < 0.7 * result.history[0]["train_loss"]
    assert [row["epoch"] for row in result.history] == list(range(1, 9))
    assert not result.model.training and result.model.config == small.config


def test_keeps_the_epoch_that_is_best_on_validation(small, tiny_data):
    from rsprune_lib.data import Batches

    result = fit(small, tiny_data, recipe("strong", epochs=6, **QUICK), progress=False)
    best = max(result.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert result.best_epoch == best["epoch"]
    measured = quality(*predict(result.model, Batches(tiny_data, "val", 64), progress=False))
    assert measured.accuracy == pytest.approx(
        best["val_accuracy"], abs=0.2
    )  # validated in bfloat16 where there is some


def test_any_number_of_images_from_two_on_trains(small, tiny_data):
    """At 32 px the last maps of this network have one pixel: batch norm cannot take a batch of one image there."""
    for images in (2, 3, 9, 17):
        result = fit(
            small, tiny_data, recipe("paper", epochs=1, batch_size=8), limit=images, val_limit=4, progress=False
        )
        assert math.isfinite(result.history[0]["train_loss"])
    for images, batch in ((1, 8), (8, 1)):
        with pytest.raises(TrainingError, match=f"{images} training image.* batches of {batch},.*needs two"):
            fit(small, tiny_data, recipe("paper", epochs=1, batch_size=batch), limit=images, progress=False)


_CHILD = """
import sys, torch
from rsprune_lib.data import load_data
from rsprune_lib.models import create_model
from rsprune_lib.training import fit, recipe
torch.set_num_threads(1)
data = load_data(sys.argv[1], root=sys.argv[2], progress=False)
fit(create_model("vgg16_cifar", 4, width=0.125, seed=0), data, recipe("strong", epochs=40, batch_size=16),
    out=sys.argv[3], progress=False)
"""


def test_killed_process_resumes_to_the_same_numbers(tiny_folder, tiny_data, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", _CHILD, str(tiny_folder), str(tmp_path / "cache"), str(out)]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[1], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint" / "state.pt").exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    run = recipe("strong", epochs=40, batch_size=16)
    state = torch.load(out / "checkpoint" / "state.pt", weights_only=True)
    assert 1 <= state["epoch"] < 40, "killed before it could finish"

    class StopSoon(Callback):
        def __init__(self, epoch):
            self.epoch = epoch

        def on_epoch(self, history, model):
            if history[-1]["epoch"] >= self.epoch:
                raise StopTraining

    until, model = state["epoch"] + 2, create_model("vgg16_cifar", 4, width=0.125, seed=0)  # it has dropout
    resumed = fit(model, tiny_data, run, out=out, resume=True, callbacks=[StopSoon(until)], progress=False)
    whole = fit(model, tiny_data, run, callbacks=[StopSoon(until)], progress=False)
    assert resumed.history[-1]["train_loss"] == whole.history[-1]["train_loss"]
    assert resumed.history[-1]["val_loss"] == whole.history[-1]["val_loss"]  # of the averaged network
    assert _same(whole.model, resumed.model) and whole.stopped and resumed.stopped


def test_resume_refuses_another_run_and_a_broken_file(small, tiny_data, tmp_path):
    run = recipe("strong", epochs=1, batch_size=16)
    fit(small, tiny_data, run, out=tmp_path, progress=False)
    with pytest.raises(TrainingError, match="its seed is 0, this run's is 1"):
        fit(small, tiny_data, run, seed=1, out=tmp_path, resume=True, progress=False)
    with pytest.raises(TrainingError, match="its recipe is"):
        fit(small, tiny_data, recipe("strong", epochs=2, batch_size=16), out=tmp_path, resume=True, progress=False)
    (tmp_path / "checkpoint" / "state.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(TrainingError, match="delete it to start anew"):
        fit(small, tiny_data, run, out=tmp_path, resume=True, progress=False)
    with pytest.raises(TrainingError, match="pass out="):
        fit(small, tiny_data, run, resume=True, progress=False)


def test_checkpoint_runs_no_code_of_others(small, tiny_data, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pwned"),))

    (tmp_path / "checkpoint").mkdir()
    torch.save({"run": Evil()}, tmp_path / "checkpoint" / "state.pt")
    with pytest.raises(TrainingError, match="damaged, cut off, or none of ours; delete it"):
        fit(small, tiny_data, recipe("strong", epochs=1), out=tmp_path, resume=True, progress=False)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("kept", [0, 1, 500, -1])
def test_a_checkpoint_that_was_cut_off_is_a_sentence_of_ours(tmp_path, kept):
    path = save_checkpoint(tmp_path, {"a": 1}, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TrainingError) as raised:
        restore_checkpoint(tmp_path, {"a": 1}, lambda state: None)
    assert str(raised.value).endswith("is damaged, cut off, or none of ours; delete it to start anew.")


def test_nan_stops_with_a_sentence_and_keeps_the_last_good_state(small, tiny_data, tmp_path):
    class Breaks(nn.Module):
        calls = 0

        def forward(self, logits, target):
            Breaks.calls += 1
            return nn.functional.cross_entropy(logits, target) * (math.nan if Breaks.calls > 6 else 1)

    with pytest.raises(TrainingError, match="became nan in epoch 2.*state after epoch 1 is kept: lower lr"):
        fit(small, tiny_data, recipe("strong", epochs=4, batch_size=16), loss=Breaks(), out=tmp_path, progress=False)
    state = torch.load(tmp_path / "checkpoint" / "state.pt", weights_only=True)
    assert state["epoch"] == 1 and all(torch.isfinite(v).all() for v in state["best"].values())


def test_callback_stops_and_hears_progress(small, tiny_data):
    heard = []

    class Listen(Callback):
        def on_step(self, done, total, loss):
            heard.append((done, total, loss))

        def on_epoch(self, history, model):
            if len(history) == 2:
                raise StopTraining

    result = fit(small, tiny_data, recipe("strong", epochs=5, batch_size=16), callbacks=[Listen()], progress=False)
    assert result.stopped and len(result.history) == 2
    assert heard[-1][0] < heard[-1][1] and all(math.isfinite(loss) for *_, loss in heard)


def test_objective_replaces_the_loss(small, tiny_data):
    seen = []

    def objective(model, images, labels):
        seen.append(images.shape)
        return nn.functional.cross_entropy(model(images), labels)

    run = recipe("strong", epochs=1, batch_size=16, label_smoothing=0)
    result = fit(small, tiny_data, run, objective=objective, progress=False)
    plain = fit(small, tiny_data, run, progress=False)
    assert seen and seen[0][1:] == (3, 32, 32)
    assert result.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-3)


def test_the_weights_of_the_best_epoch_are_kept(small, tiny_data):
    """Scores are made up, so that neither the first nor the last epoch is the best."""
    weights, scores = [], iter((0.1, 0.6, 0.3, 0.2))

    class Objective:
        def __call__(self, model, images, labels):
            return nn.functional.cross_entropy(model(images), labels)

        def score(self, records, labels):
            return next(scores)

    class Keep(Callback):
        def on_validation(self, row, records, labels, model):
            weights.append({name: value.clone() for name, value in model.state_dict().items()})

    how = recipe("strong", epochs=4, **QUICK)
    result = fit(small, tiny_data, how, objective=Objective(), callbacks=[Keep()], progress=False)
    assert result.best_epoch == 2
    assert all(torch.equal(value, weights[1][name]) for name, value in result.model.state_dict().items())
    assert not all(torch.equal(value, weights[3][name]) for name, value in result.model.state_dict().items())


def test_schedules():
    from rsprune_lib.training.optimise import make_optimizer, make_schedule

    model = nn.Linear(2, 2)

    def rates(run, steps=10):
        optimizer = make_optimizer(model, run)
        schedule, seen = make_schedule(optimizer, run, steps), []
        for _ in range(run.epochs * steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return seen

    paper = rates(recipe("paper"), 1)
    assert paper[0] == paper[79] == 0.01 and paper[80] == pytest.approx(1e-3) and paper[120] == pytest.approx(1e-4)
    strong = rates(recipe("strong", epochs=8, lr=0.1, warmup=0.25))
    assert max(strong) == strong[20] == pytest.approx(0.1) and strong[0] < 0.005 and strong[-1] < 0.001


def test_weight_decay_spares_norms_and_biases():
    from rsprune_lib.training.optimise import make_optimizer

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    decayed, spared = make_optimizer(model, recipe("strong")).param_groups
    assert [p.ndim for p in decayed["params"]] == [4] and decayed["weight_decay"] == recipe("strong").weight_decay
    assert all(p.ndim == 1 for p in spared["params"]) and spared["weight_decay"] == 0


def test_weight_decay_spares_the_gates():
    from rsprune_lib.training.optimise import make_optimizer

    model = create_model("resnet18_se", 10, width=0.25)
    groups = make_optimizer(model, recipe("strong")).param_groups
    decayed, spared = ({id(p) for p in group["params"]} for group in groups)
    gates = {id(p) for name, p in model.named_parameters() if ".fc1." in name or ".fc2." in name}
    assert len(gates) == 4 * 17 and gates <= spared and id(model.fc.weight) in decayed
    assert not decayed & spared and len(decayed | spared) == len(list(model.parameters()))
    (everything,) = make_optimizer(model, recipe("paper", decay_all=True)).param_groups
    assert len(everything["params"]) == len(list(model.parameters()))


def test_early_epochs_see_half_the_side():
    from rsprune_lib.data import load_data

    data = load_data("synthetic")
    sides, rows = [], []

    def objective(model, images, labels):
        sides.append(images.shape[-1])
        return nn.functional.cross_entropy(model(images), labels)

    class Watch(Callback):
        def on_epoch(self, history, model):
            rows.append((sides[-1], history[-1]["val_accuracy"]))

    model = create_model("resnet18", data.num_classes, width=0.25)
    run = recipe("strong", epochs=4, half_size=0.5, batch_size=16)
    fit(model, data, run, objective=objective, callbacks=[Watch()], limit=32, val_limit=8, progress=False)
    assert [side for side, _ in rows] == [32, 32, 64, 64] and set(sides) == {32, 64}
    assert all(accuracy is not None for _, accuracy in rows)


def test_small_images_are_halved_only_for_networks_that_are_made_for_them(tiny_data):
    sides = set()

    def objective(model, images, labels):
        sides.add(images.shape[-1])
        return nn.functional.cross_entropy(model(images), labels)

    model = create_model("resnet18", tiny_data.num_classes, width=0.25)
    run = recipe("strong", epochs=1, half_size=0.9)
    fit(model, tiny_data, run, objective=objective, limit=16, val_limit=8, progress=False)
    assert tiny_data.image_size == 32 and sides == {32}
    for name, expected in (("resnet20", {16}), ("vgg16_cifar", {32})):  # five poolings need all of 32 pixels
        sides.clear()
        model = create_model(name, tiny_data.num_classes, width=0.125)
        fit(model, tiny_data, run, objective=objective, limit=16, val_limit=8, progress=False)
        assert sides == expected


def test_recipes_refuse_nonsense():
    assert recipe("strong", epochs=None).epochs == recipe("strong").epochs
    with pytest.raises(RspruneError, match="did you mean 'strong'"):
        recipe("stron")
    with pytest.raises(RspruneError, match="Unknown field of a recipe 'learning_rate'"):
        recipe("strong", learning_rate=1)
    for field, value in (("epochs", 0), ("lr", -1.0), ("label_smoothing", 1.5), ("schedule", "cosine")):
        with pytest.raises(RspruneError):
            recipe("strong", **{field: value})
