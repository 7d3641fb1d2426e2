"""The panel over class maps, mosaics, and means with their intervals, without a kernel."""

import numpy as np
import pytest
import torch

from rsprune_lib.course import ClassMapPanel, mean_text
from rsprune_lib.data import Batches
from rsprune_lib.errors import ModelError
from rsprune_lib.explain import mean_interval, mosaic_pointing, mosaics


@pytest.fixture(scope="module")
def images(tiny_data):
    part = Batches(tiny_data, "val", 8, limit=8)
    return part.indices, next(iter(part))[0]


def test_the_panel_follows_its_controls(lively_se, tiny_data, images):
    indices, x = images
    asked = []

    def pruned(ratio):
        asked.append(ratio)
        return lively_se

    panel = ClassMapPanel(lively_se, pruned, tiny_data, indices, x, ratios=(0.3, 0.7), hard={"hard: a": 3})
    panel.settle()
    first = bytes(panel.picture.value)
    assert first.startswith(b"\x89PNG") and panel.label.index == 0 and "Dense:" in panel.words.value
    panel.method.value, panel.label.value = "layercam", 1
    panel.settle()
    assert bytes(panel.picture.value) != first
    _, words = panel.figure()
    assert "correlate by 1.00" in words or "blank" in words  # both are one network
    panel.hard[0].click()
    panel.settle()
    assert panel.view.image == 3 and panel.view.label is None and panel.view.method == "layercam"
    panel.ratio.value = 0.3
    panel.settle()
    panel.go(panel.start)
    panel.settle()
    assert panel.view == panel.start and asked == [0.7, 0.3]  # each network is made once
    assert all(p.grad is None for p in lively_se.parameters())


def test_a_map_that_follows_the_object_points_at_its_quarter():
    class Bright(torch.nn.Module):
        """The logit of class k is how much of colour k there is."""

        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 1, bias=False)
            torch.nn.init.eye_(self.conv.weight[:, :, 0, 0])
            self.in_channels = 4

        def forward(self, x):
            return self.conv(x).mean((2, 3))

    labels = torch.arange(4).repeat(3)
    x = torch.nn.functional.one_hot(labels, 4)[:, :, None, None].expand(-1, -1, 8, 8).float()
    made = mosaics(x, labels, 5, seed=1)
    assert made.images.shape == (5, 4, 16, 16) and all(len(set(row)) == 4 for row in made.classes.tolist())
    assert torch.equal(labels[made.members], made.classes)
    for n, place in enumerate(made.places):  # each quarter shows the class that is said to be there
        own = made.images[torch.arange(5), made.classes[:, n]]
        assert own[:, torch.from_numpy(place)].min() == 1 and own[:, ~torch.from_numpy(place)].max() == 0
    found = mosaic_pointing(Bright(), made, method="layercam", layer="conv")
    assert found.hit.tolist() == [1] * 20 and np.allclose(found.area, 0.25) and found.inside.min() > 0.95
    with pytest.raises(ModelError, match="four"):
        mosaics(x[:3], labels[:3], 2)


def test_intervals_hold_the_mean_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        values = random.normal(2, 1, 8)
        values[0] = np.nan
        _, low, high = mean_interval(values)
        held += low < 2 < high
    assert 0.92 < held / 400 < 0.98
    assert all(np.isnan(mean_interval(np.array([1.0, np.nan]))))
    assert mean_text([1.0, 1.0, 1.0, 0.8], within=(-1, 1)).endswith("to 1.00)") and mean_text([np.nan]) == "–"
