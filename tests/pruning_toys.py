"""Small networks with every kind of coupling, and functions that the tests of pruning share."""

from functools import cache

import numpy as np
import torch
from torch import nn

from rsprune_lib.errors import Stopped
from rsprune_lib.models import NETWORKS as NETWORK_ENTRIES
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Plan, Scores, find_groups


class Unwanted(list):
    """Batches that are no longer wanted after so many checks."""

    def __init__(self, batches, checks):
        super().__init__(batches)
        self.left = checks

    def check(self):
        self.left -= 1
        if self.left < 0:
            raise Stopped("no longer wanted")

    def __iter__(self):
        for batch in super().__iter__():
            self.check()
            yield batch


def lively(model, seed=0):
    """Gives every norm statistics, scales and shifts that are not trivial, and returns the network in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.data.uniform_(0.3, 1.5, generator=generator)
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def course_model(name, seed=0):
    return lively(create_model(name, 4, width=0.25 if name == "densenet40" else 0.125, stem="small", seed=seed))


class Concat(nn.Module):
    """Two branches side by side, as a U-Net's skip or a dense block has them; the norm stands behind the join."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b = nn.Conv2d(3, 5, 1)
        self.bn = nn.BatchNorm2d(9)
        self.c = nn.Conv2d(9, 6, 3)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.bn(torch.cat([self.a(x), self.b(x)], 1)))
        return self.fc(torch.sigmoid(self.c(x)).mean((2, 3)))


class Flatten(nn.Module):
    """A convolution read by a linear layer pixel by pixel; a hidden linear layer of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.hidden = nn.Linear(4 * 16, 10)
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        return self.head(torch.sigmoid(self.hidden(torch.sigmoid(self.conv(x)).flatten(1))))


class Depthwise(nn.Module):
    """A depthwise separable convolution with slopes per channel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.depth = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.bn = nn.BatchNorm2d(6)
        self.slope = nn.PReLU(6)
        self.point = nn.Conv2d(6, 5, 1)
        self.one_slope = nn.PReLU()
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, x):
        x = self.slope(self.bn(self.depth(self.conv(x))))
        return self.head(self.one_slope(self.point(x)))


class Transposed(nn.Module):
    """An upsampling convolution, and an output that an operation without weights ends."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.bn = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        x = torch.nn.functional.gelu(self.bn(self.up(torch.relu(self.down(x)))))
        return nn.functional.interpolate(self.head(x), scale_factor=2)


class Unpool(nn.Module):
    """Max-unpooling with stored indices: ``middle`` must keep the channels that ``encode`` keeps."""

    def __init__(self, hidden=False, tied=False):
        super().__init__()
        self.hidden = hidden  # whether indices leave torch on their way, so that no graph follows them
        self.encode = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 7, 3, padding=1)
        self.middle = nn.Conv2d(7, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 3, padding=1)
        if tied:
            self.ties = lambda: [("middle", "encode")]

    def forward(self, x):
        x, places = nn.functional.max_pool2d(torch.relu(self.encode(x)), 2, return_indices=True)
        places = torch.from_numpy(places.numpy()) if self.hidden else places
        x = torch.relu(self.middle(torch.relu(self.inner(x))))
        return self.head(nn.functional.max_unpool2d(x, places, 2))


class Grouped(nn.Module):
    """Convolutions of few large groups (each loses the same share), of many small ones (whole groups go), norms too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.shares = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.few = nn.GroupNorm(2, 12)
        self.point = nn.Conv2d(12, 16, 1)
        self.whole = nn.Conv2d(16, 24, 3, padding=1, groups=8)
        self.many = nn.GroupNorm(8, 24)
        self.head = nn.Conv2d(24, 3, 1)

    def forward(self, x):
        x = torch.sigmoid(self.few(self.shares(torch.sigmoid(self.conv(x)))))
        return self.head(torch.relu(self.many(self.whole(torch.sigmoid(self.point(x))))))


class Tokens(nn.Module):
    """Channels in the last dimension: class token, position embedding, layer scale, layer norms, a gated MLP."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 10, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 10))
        self.positions = nn.Parameter(torch.randn(1, 17, 10))
        self.norm1, self.norm2 = nn.LayerNorm(10), nn.LayerNorm(10)
        self.fc1, self.fc2 = nn.Linear(10, 16), nn.Linear(8, 10)
        self.scale = nn.Parameter(torch.rand(10) + 0.5)
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        value, gate = self.fc1(self.norm1(x)).chunk(2, -1)
        x = x + self.scale * self.fc2(value * torch.sigmoid(gate))
        return self.head(self.norm2(x)[:, 0])


class Padded(nn.Module):
    """A CIFAR ResNet's shortcut without parameters: strided, and padded with zeros on both sides."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        short = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        x = torch.relu(self.bn2(self.conv2(torch.relu(self.conv1(x)))) + short)
        return self.head(x.mean((2, 3)))


class Shuffle(nn.Module):
    """A channel shuffle between two convolutions, and halves that go their own ways."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 24, 3, padding=1)
        self.one, self.other = nn.Conv2d(12, 5, 1), nn.Conv2d(12, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, x):
        x = torch.sigmoid(self.conv(x))
        b, c, h, w = x.shape
        x = x.view(b, 3, c // 3, h, w).transpose(1, 2).reshape(b, c, h, w)
        one, other = x.chunk(2, 1)
        return self.head(self.one(one) * torch.sigmoid(self.other(other)))


class Filter(nn.Module):
    """A learned complex filter of the spectrum (GFNet); real and imaginary part stand in the last dimension."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.weight = nn.Parameter(torch.randn(4, 3, 8, 2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        spectrum = torch.fft.rfft2(self.norm(x), dim=(1, 2), norm="ortho") * torch.view_as_complex(self.weight)
        x = x + torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")
        return self.head(x.mean((1, 2)))


class Standardised(nn.Conv2d):
    """A convolution that computes its weights: each filter has mean 0 and variance 1, and a gain."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)

    def forward(self, x):
        weight = self.weight
        mean, var = weight.mean((1, 2, 3), keepdim=True), weight.var((1, 2, 3), keepdim=True)
        return self._conv_forward(x, self.gain * (weight - mean) * (var + 1e-5).rsqrt(), self.bias)


class Weights(nn.Sequential):
    """Standardised weights: removed inputs must not count in their mean."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3), nn.Sigmoid(), Standardised(6, 8, 3), nn.Sigmoid(), nn.Conv2d(8, 3, 1))


TOYS = {
    cls.__name__: cls
    for cls in (
        Concat, Flatten, Depthwise, Transposed, Unpool, Grouped, Tokens, Padded, Shuffle, Filter, Weights
    )
}  # fmt: skip
_DEEP = (
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
)  # as resnet20, with more blocks
COURSE = [name for name, entry in NETWORK_ENTRIES.items() if name not in _DEEP and entry.stems]
TWO_STEMS = ("resnet18", "resnet18_se", "vgg16", "vgg16_se")
STEMS = [(name, "small") for name in COURSE] + [(name, "imagenet") for name in TWO_STEMS]
NETWORKS = [*COURSE, *TOYS]  # the longer ResNets are resnet20 again, with more blocks


@cache
def network(name):
    """A course network or a toy by name, lively, with the image size it is meant for; not to be changed."""
    if name in TOYS:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return lively(TOYS[name]()), 8
    return course_model(name), 32


@cache
def groups_of(name):
    return find_groups(*network(name))


def random_plan(groups, ratio=0.5, seed=0):
    """Keeps a random part of every group, in no particular place."""
    random = np.random.default_rng(seed)
    kept = {g.name: random.permutation(g.size)[: max(1, int(g.size * (1 - ratio)))].tolist() for g in groups}
    return Plan(groups.model, kept, groups.sizes(), {"criterion": "random"})


def random_scores(groups, seed=0, criterion="attention"):
    """Scores of a criterion that is not normalised by default."""
    random = np.random.default_rng(seed)
    return Scores(criterion=criterion, values={g.name: torch.tensor(random.random(g.size)) for g in groups})


def images(size, count=2, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
