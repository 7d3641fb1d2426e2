"""Training on images so small that the last strided convolution sees one pixel."""

import subprocess
import sys

import numpy as np
import torch
from torch import nn

from rsprune_lib.data import load_data
from rsprune_lib.models import create_model
from rsprune_lib.models.strides import strides_outside
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


NARROW = """
import torch
from torch import nn
from rsprune_lib.models.strides import strides_outside
model = strides_outside(nn.Conv2d(3, 6, 1, stride=2)).to(memory_format=torch.channels_last)
for _ in range(20):
    images = torch.randn(60, 3, 16, 16).to(memory_format=torch.channels_last)
    model(images).sum().backward()
"""


def test_narrow_strided_convolutions_write_into_their_own_memory():
    """Without the cure the process ends with "double free or corruption" on processors without AVX-512."""
    subprocess.run([sys.executable, "-c", NARROW], check=True, capture_output=True)


def test_strides_outside_change_no_number():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 1, stride=(2, 3)), nn.Conv2d(6, 8, 3, stride=2), nn.Conv2d(8, 9, 1, stride=2))
    images = torch.randn(2, 3, 33, 31)
    wanted = model(images)
    assert torch.allclose(strides_outside(model)(images), wanted, atol=1e-6)
    assert [layer.stride for layer in model] == [(1, 1), (2, 2), (2, 2)]  # only where few channels come in


def test_fit_takes_narrow_strides_outside(tiny_data):
    """The network that trains has none; the one that is returned is as it was."""
    model = create_model("resnet20", 4, width=0.1875, seed=0)
    narrow = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.in_channels < 8]
    assert [m.stride for m in narrow] == [(2, 2)] * len(narrow) != []
    seen = []

    def objective(network, images, labels):
        seen.append({m.stride for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)})
        return nn.functional.cross_entropy(network(images), labels)

    how = recipe("paper", epochs=1, batch_size=8)
    trained = fit(model, tiny_data, how, objective=objective, limit=8, val_limit=4, progress=False).model
    assert seen == [{(1, 1), (2, 2)}] or seen == [{(1, 1)}]
    assert [m.stride for m in trained.modules() if isinstance(m, nn.Conv2d)] == [
        m.stride for m in model.modules() if isinstance(m, nn.Conv2d)
    ]
