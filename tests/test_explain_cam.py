"""Class activation maps: against Grad-CAM by hand, on every kind of network, and what they leave behind."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.explain import (
    METHODS,
    ClassMapper,
    cam_layer,
    cam_layers,
    class_maps,
    erasing,
    map_agreement,
    pointing,
    road,
)
from rsprune_lib.models import add_exits, create_model, hooked


class Small(nn.Module):
    """Two convolutions, the second followed by a ReLU in place, and a mean over the map."""

    in_channels = 3

    def __init__(self, dense=False):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Conv2d(5, 3, 1) if dense else nn.Linear(5, 3)
        self.dense = dense
        if dense:
            self.task = "segmentation"

    def forward(self, x):
        maps = self.relu(self.conv2(self.relu(self.conv1(x))))
        if self.dense:
            return F.interpolate(self.fc(maps), size=x.shape[2:])
        return self.fc(maps.mean((2, 3)))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def upright(maps):
    maps = F.interpolate(maps[:, None].clamp_min(0), size=(16, 16), mode="bilinear", align_corners=False)[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-7)


def test_grad_cam_is_what_it_is_by_hand_also_before_a_relu_in_place(small, images):
    value = small.conv2(small.relu(small.conv1(images)))  # what conv2 sends on, before the ReLU changes it
    behind = value.clone()
    by_mean = small.fc.weight[2][:, None, None] / behind[0, 0].numel()
    weights = by_mean * (behind > 0)  # gradient of the logit by each position
    by_hand = upright((weights.mean((2, 3), keepdim=True) * value).sum(1).detach())
    found = class_maps(small, images, 2, layer="conv2")
    assert found.grid == (8, 8) and found.classes.tolist() == [2, 2, 2]
    spread = (by_hand.amax((1, 2)) > 0.5).numpy()
    assert spread.any() and (found.blank == ~spread).all()
    gap = np.abs(found.maps - by_hand.numpy())[spread]
    assert gap.max() < 0.12 and gap.mean() < 0.02  # two ways to enlarge a map differ a little at its border


@pytest.mark.parametrize("method", METHODS)
def test_nothing_stays_on_the_network_also_after_an_error(small, images, method):
    small.train()
    before = {name: value.clone() for name, value in small.state_dict().items()}
    assert class_maps(small, images, method=method, layer="conv2").maps.shape == (3, 16, 16)
    for wrong in ({"layer": "conv9"}, {"classes": 3}, {"classes": [0]}, {"exit": 0}, {"pixels": torch.ones(16, 16)}):
        with pytest.raises(RspruneError):
            class_maps(small, images, method=method, **wrong)
    small.fc = nn.Linear(4, 3)  # the forward pass fails half way
    with pytest.raises(RuntimeError):
        class_maps(small, images, method=method, layer="conv2")
    assert small.training and all(p.grad is None and p.requires_grad for p in small.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in small.modules())
    assert all(
        torch.equal(value, before[name])
        for name, value in small.state_dict().items()
        if name in before and "fc" not in name
    )


def test_the_layer_is_fine_enough_to_be_seen():
    model = create_model("resnet18_se", 4, width=0.1, seed=0)
    layers = cam_layers(model, 64)
    assert layers["layer4"] == (2, 2) and layers["layer2"] == (8, 8) and not any("se" in name for name in layers)
    assert cam_layer(model, 64) == "layer2" and cam_layer(model, 256) == "layer4"
    assert cam_layer(model, 64, least=20) == "layer1"  # none is so fine; of the finest ones the outermost
    assert cam_layers(model, (64, 96))["layer2"] == (8, 12)


@pytest.mark.parametrize(
    ("name", "options", "size", "layer"),
    [
        ("vgg16", {"width": 0.1}, 64, "bn4_3"),
        ("densenet40", {"width": 0.3}, 32, "block3"),
        ("gfnet_ti", {"width": 0.1, "image_size": 64, "patch": 8}, 64, "stages.0"),
        ("torchvision:swin_t", {}, 64, "features.3"),
        ("torchvision:mobilenet_v3_small", {}, 64, None),
    ],
)
def test_networks_of_maps_and_of_tokens(name, options, size, layer):
    model = create_model(name, 4, seed=0, **options)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = class_maps(model, x, method="layercam")
    assert layer in (None, found.layer) and min(found.grid) >= 7 and found.maps.shape == (2, size, size)
    assert found.maps.min() >= 0 and found.maps.max() <= 1


class Tokens(nn.Module):
    """A class token and 4 x 6 patches; the answer reads the class token alone, or the patches."""

    def __init__(self, reads_class):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.zeros(1, 1, 6))
        self.block = nn.Sequential(nn.Linear(6, 6), nn.GELU())
        self.mix, self.last = nn.Sequential(nn.Linear(25, 25)), nn.Sequential(nn.Linear(6, 6), nn.ReLU())
        self.fc, self.reads_class = nn.Linear(6, 3), reads_class

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))
        tokens = self.last(self.mix(tokens.transpose(1, 2)).transpose(1, 2))
        return self.fc(tokens[:, 0] if self.reads_class else tokens[:, 1:].mean(1))


def test_a_class_token_is_left_out_and_a_map_that_nobody_reads_is_not_offered():
    torch.manual_seed(0)
    assert cam_layers(Tokens(False), (16, 24))["last"] == (4, 6)
    model = Tokens(True)
    layers = cam_layers(model, (16, 24))
    assert layers["block"] == (4, 6) and "last" not in layers
    with pytest.raises(ModelError, match="does not depend on the map of last"):
        class_maps(model, torch.randn(2, 3, 16, 24), layer="last")


def test_a_map_without_evidence_is_blank(small, images):
    with torch.no_grad():
        small.conv2.weight.abs_(), small.conv1.weight.abs_(), small.fc.weight[1].fill_(-1.0)
        small.conv2.bias.fill_(1.0)
    found = class_maps(small, images.abs(), 1, layer="conv2")
    assert found.blank.all() and not found.maps.any()
    assert np.isnan(map_agreement(found, found)).all()


def test_every_exit_has_its_own_maps():
    model = add_exits(create_model("resnet18", 4, width=0.1, seed=0), ["layer1", "layer3"])
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert "layer2" in cam_layers(model, 64) and "layer2" not in cam_layers(model, 64, exit=0)
    first, final = class_maps(model, x, 1, exit=0, layer="layer1"), class_maps(model, x, 1, layer="layer1")
    assert not np.allclose(first.maps, final.maps)
    with pytest.raises(ModelError, match="2 exits"):
        class_maps(model, x, exit=2)


def test_a_segmenter_is_asked_about_pixels(images):
    torch.manual_seed(0)
    model = Small(dense=True)
    left = torch.zeros(16, 16, dtype=torch.bool)
    left[:, :6] = True
    maps = {
        side: class_maps(model, images, 1, method="layercam", layer="conv1", pixels=where).maps
        for side, where in (("left", left), ("right", ~left))
    }
    near, far = maps["left"][:, :, :8].sum(), maps["left"][:, :, 10:].sum()
    assert near > 0 and far == 0  # what lies apart from the pixels that were asked for has no gradient
    assert maps["right"][:, :, 10:].sum() > 0
    own = class_maps(model, images, layer="conv1")
    said = model(images).argmax(1)
    for row, label in enumerate(own.classes.tolist()):  # without pixels: those that get the class
        asked = class_maps(model, images[row : row + 1], label, layer="conv1", pixels=said[row] == label)
        assert np.allclose(own.maps[row], asked.maps[0], atol=1e-5)
    assert own.classes.tolist() == model(images).argmax(1).flatten(1).mode().values.tolist()
    with pytest.raises(ModelError, match="shape"):
        class_maps(model, images, 1, pixels=torch.ones(8, 8))


def test_agreement_pointing_and_erasing(small, images):
    found = class_maps(small, images, 0, method="layercam", layer="conv2")
    assert not found.blank.any() and np.allclose(map_agreement(found, found), 1)
    turned = dataclasses.replace(found, maps=1 - found.maps)
    assert np.allclose(map_agreement(found, turned), -1)
    with pytest.raises(ModelError, match="same classes"):
        map_agreement(found, dataclasses.replace(found, classes=found.classes + 1))
    top = found.maps >= found.maps.max((1, 2), keepdims=True)
    on = pointing(found, top)
    assert on.hit.tolist() == [1, 1, 1] and (on.inside > on.area).all()
    off = pointing(found, ~top)
    assert off.hit.tolist() == [0, 0, 0] and np.allclose(off.inside + on.inside, 1)
    assert np.isnan(pointing(found, np.zeros_like(top)).hit).all()
    seen = pointing(dataclasses.replace(found, blank=np.array([False, True, False])), top)  # a blank map points nowhere
    assert np.isnan(seen.hit).tolist() == np.isnan(seen.inside).tolist() == [False, True, False]
    gone, come = erasing(small, images, found), erasing(small, images, found, insert=True)
    with torch.no_grad():
        whole = small.eval()(images).softmax(1)[:, 0].numpy()
    assert np.allclose(gone[0], whole, atol=1e-6) and np.allclose(come[-1], whole, atol=1e-6)
    assert np.allclose(gone[-1], come[0], atol=1e-6)  # all pixels blurred


def test_erasing_what_matters_costs_more_than_erasing_the_rest():
    class Bright(nn.Module):
        """Says class 1 as far as the upper left corner is bright."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1, bias=False)
            with torch.no_grad():
                self.conv.weight.copy_(torch.tensor([0.0, 4.0])[:, None, None, None].expand(2, 3, 1, 1))

        def forward(self, x):
            return self.conv(x)[:, :, :6, :6].mean((2, 3))

    model = Bright()
    x = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 0.1
    x[:, :, :6, :6] += 1
    found = class_maps(model, x, 1, method="hirescam", layer="conv")
    assert found.maps[:, :6, :6].min() > 0.3 and found.maps[:, 10:].max() < 0.05
    wrong = dataclasses.replace(found, maps=1 - found.maps)
    assert (erasing(model, x, found).mean(0) < erasing(model, x, wrong).mean(0)).all()
    assert (erasing(model, x, found, insert=True).mean(0) > erasing(model, x, wrong, insert=True).mean(0)).all()
    assert (road(model, x, found, percentiles=(50,)) > road(model, x, wrong, percentiles=(50,))).all()


def test_a_mapper_gives_the_same_maps_and_follows_the_weights(small, images):
    mapper = ClassMapper(small, 16)
    assert mapper.layers == cam_layers(small, 16) and mapper.layer == cam_layer(small, 16)
    once = class_maps(small, images, 1, layer="conv2")
    assert np.array_equal(mapper.maps(images, 1, layer="conv2").maps, once.maps)
    with torch.no_grad():
        small.conv2.weight.neg_()
    assert np.array_equal(mapper.maps(images, 1, layer="conv2").maps, class_maps(small, images, 1, layer="conv2").maps)
    assert not np.array_equal(mapper.maps(images, 1, layer="conv2").maps, once.maps)
    with pytest.raises(ModelError, match=r"expected \(B, 3, 16, 16\)"):
        mapper.maps(images[:, :, :8], 1)


def test_maps_start_from_the_whole_gradient_whatever_hooks_an_exit_has():
    model = add_exits(create_model("resnet18", 3, width=0.1, seed=1), ["layer2"])
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen = []
    with hooked([(model.layer2, lambda _m, _x, y: seen.append(y))]):
        final = model.eval()(x)[-1]
    (gradient,) = torch.autograd.grad(final[:, 1].sum(), seen[0])
    by_hand = (gradient * seen[0]).sum(1).clamp_min(0).detach()
    found = class_maps(model, x, 1, method="hirescam", layer="layer2")
    assert found.maps.reshape(2, -1).argmax(1).tolist() != [0, 0]
    small = F.interpolate(torch.from_numpy(found.maps)[:, None], size=by_hand.shape[1:], mode="area")[:, 0]
    assert torch.corrcoef(torch.stack([small.flatten(), by_hand.flatten()]))[0, 1] > 0.9
