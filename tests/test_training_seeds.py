"""One seed, one result: two runs of every network, and a run that was interrupted, agree bit by bit."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from rsprune_lib.device import seeded
from rsprune_lib.models import NETWORKS, create_model
from rsprune_lib.training import Callback, fit, recipe

CPU = torch.device("cpu")
RUN = recipe("strong", epochs=2, batch_size=4)


class _Interrupt(Callback):
    """Stops in the middle of the last epoch, as a kill does: nothing is saved on the way out."""

    def on_step(self, done, total, loss):
        if done == total:
            raise KeyboardInterrupt


def _saved(out):
    """Every tensor and number of a checkpoint by its path; the clock's are left out."""
    found = {}

    def collect(path, value):
        if isinstance(value, dict | list | tuple):
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                collect(f"{path}.{key}", inner)
        elif not path.endswith(("seconds", "images_per_second")):
            found[path] = value

    collect("", torch.load(out / "checkpoint" / "state.pt", weights_only=True))
    return found


def _equal(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


NAMES = [name for name, entry in NETWORKS.items() if entry.stems] + ["gfnet_h_ti"]  # one GFNet stands for all


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(name, tiny_data, tmp_path):
    data, options = tiny_data, {"limit": 8, "val_limit": 4, "progress": False}
    model = create_model(name, 4, width=0.0625, seed=0)
    fit(model, data, RUN, out=tmp_path / "whole", **options)
    torch.manual_seed(99)  # another process has drawn other numbers
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, RUN, out=tmp_path / "again", callbacks=[_Interrupt()], **options)
    assert _saved(tmp_path / "again")[".epoch"] == 1
    torch.manual_seed(100)
    fit(model, data, RUN, out=tmp_path / "again", resume=True, **options)
    whole, again = _saved(tmp_path / "whole"), _saved(tmp_path / "again")
    assert whole[".epoch"] == 2 and whole.keys() == again.keys()
    assert [path for path, value in whole.items() if not _equal(value, again[path])] == []


def test_dropout_depends_on_seed_and_epoch_and_leaves_the_global_generator(tiny_data):
    masks = []

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.fc = nn.Dropout(0.5), nn.Linear(3, 4)
            self.drop.register_forward_hook(lambda m, _x, y: masks.append(y != 0) if m.training else None)

        def forward(self, x):
            return self.fc(self.drop(x.mean((2, 3))))

    model, before = Dropping(), torch.get_rng_state()
    for seed in (0, 0, 1):
        fit(model, tiny_data, recipe("paper", epochs=2, batch_size=64), seed=seed, progress=False)
    first, second, again, _, other, _ = masks
    assert torch.equal(first, again) and not torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_draws_depend_on_every_number_of_the_key_and_nothing_stays():
    def draw(*key):
        with seeded(CPU, *key):
            return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002

    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    found = {key: draw(*key) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))}
    assert draw(0, 1, 0) == found[0, 1, 0]
    for library in range(3):
        assert len({tuple(values[library]) for values in found.values()}) == len(found)
    with pytest.raises(ZeroDivisionError), seeded(CPU, 5):
        1 / 0  # noqa: B018
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all() and random.getstate() == before[2]  # noqa: NPY002
