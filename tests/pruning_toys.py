"""Small networks with every kind of coupling, and functions that the tests of pruning share."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from rsprune_lib.models import create_model, model_names
from rsprune_lib.pruning import Plan, find_groups


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

    def __init__(self, tied=True, middle=4):
        super().__init__()
        self.encode = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 7, 3, padding=1)
        self.middle = nn.Conv2d(7, middle, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 3, padding=1)
        if tied:
            self.ties = lambda: [("middle", "encode")]

    def forward(self, x):
        x, places = nn.functional.max_pool2d(torch.relu(self.encode(x)), 2, return_indices=True)
        x = torch.relu(self.middle(torch.relu(self.inner(x))))
        return self.head(nn.functional.max_unpool2d(x[:, :4], places, 2))


TOYS = {cls.__name__: cls for cls in (Concat, Flatten, Depthwise, Transposed, Unpool)}
COURSE = [name for name in model_names() if name not in ("resnet32", "resnet44", "resnet56", "resnet110")]
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
    return SimpleNamespace(criterion=criterion, values={g.name: torch.tensor(random.random(g.size)) for g in groups})


def images(size, count=2, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
