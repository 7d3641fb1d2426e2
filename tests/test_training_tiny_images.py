"""Training on images so small that the last strided convolution sees one pixel."""

import numpy as np
import torch

from rsprune_lib.data import load_data
from rsprune_lib.models import create_model
from rsprune_lib.training import fit, recipe


def test_taps_that_meet_padding_alone_do_not_move(tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    for name, colour in (("dark", 90), ("light", 160)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(5):
            pixels = (colour + random.normal(0, 40, (16, 16, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{number}.png")
    data = load_data(tmp_path / "own", root=tmp_path / "home", progress=False)
    model = create_model("resnet18", 2, width=0.125, seed=0)
    how = recipe("strong", epochs=8, weight_decay=0.0, ema=0)
    trained = fit(model, data, how, progress=False).model
    before, after = (net.layer4[0].conv1.weight.detach() for net in (model, trained))
    outer = torch.ones(3, 3, dtype=torch.bool)
    outer[1, 1] = False
    assert torch.equal(before[:, :, outer], after[:, :, outer])
    assert not torch.equal(before[:, :, ~outer], after[:, :, ~outer])


def test_runs_of_either_precision_follow_each_other_in_one_process(tiny_data, monkeypatch):
    model = create_model("resnet18_se", 4, width=0.125, seed=0)
    for half in (False, True, False):
        monkeypatch.setattr("rsprune_lib.training.loop.supports_bf16", lambda device, half=half: half)
        fit(model, tiny_data, recipe("paper", epochs=1, batch_size=8), limit=8, val_limit=4, progress=False)
