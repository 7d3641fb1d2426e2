"""GhostNet: half of each layer's channels come from a cheap depthwise convolution of the other half.

Paper: https://arxiv.org/abs/1911.11907. Modules have the names of the published checkpoint (``ghostnet_x1.0.pth``) and
of timm's ``ghostnet_100``, so that `rsprune_lib.models.load_weights` reads both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.models.blocks import Network

__all__ = ["GhostNet", "divisible", "normed"]

# (hidden channels, output channels, kernel, stride, SE) of each bottleneck of each stage
_STAGES: tuple[tuple[tuple[int, int, int, int, bool], ...], ...] = (
    ((16, 16, 3, 1, False),),
    ((48, 24, 3, 2, False),),
    ((72, 24, 3, 1, False),),
    ((72, 40, 5, 2, True),),
    ((120, 40, 5, 1, True),),
    ((240, 80, 3, 2, False),),
    (
        (200, 80, 3, 1, False), (184, 80, 3, 1, False), (184, 80, 3, 1, False),
        (480, 112, 3, 1, True), (672, 112, 3, 1, True),
    ),
    ((672, 160, 5, 2, True),),
    ((960, 160, 5, 1, False), (960, 160, 5, 1, True), (960, 160, 5, 1, False), (960, 160, 5, 1, True)),
)  # fmt: skip
_TAPPED = {2: 24, 4: 40, 6: 112, 8: 160}  # stage whose output the pyramid holds -> its channels


def divisible(channels: float) -> int:
    """The multiple of 4 nearest to a number of channels (ties round up), at least 4 and not below nine tenths of it."""
    rounded = max(4, int(channels + 2) // 4 * 4)
    return rounded + 4 if rounded < 0.9 * channels else rounded


def normed(into: int, out: int, kernel: int, *, relu: bool = True, **options: int | bool) -> nn.Sequential:
    """A convolution that keeps the size (over its stride), its batch norm and, by default, a ReLU.

    Args:
        into: input channels.
        out: output channels.
        kernel: odd side of the kernel.
        relu: whether a ReLU follows.
        options: ``stride``, ``groups``, ``bias`` (False by default) of the convolution.
    """
    conv = nn.Conv2d(into, out, kernel, padding=kernel // 2, **{"bias": False, **options})
    return nn.Sequential(conv, nn.BatchNorm2d(out), *[nn.ReLU(inplace=True)] * relu)


class HardGate(nn.Module):
    """Squeeze-and-excitation by two 1x1 convolutions with a hard sigmoid, as in MobileNetV3.

    Its layers are ordinary convolutions: their channels are pruned like those of all others.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = divisible(channels / 4)
        self.conv_reduce = nn.Conv2d(channels, hidden, 1)
        self.conv_expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        squeezed = F.relu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.conv_expand(squeezed))


class Ghost(nn.Module):
    """``primary`` 1x1 convolution to half of the channels, ``cheap`` 3x3 depthwise of these: side by side."""

    def __init__(self, into: int, out: int, *, relu: bool = True) -> None:
        super().__init__()
        half = (out + 1) // 2
        self.primary_conv = normed(into, half, 1, relu=relu)
        self.cheap_operation = normed(half, half, 3, relu=relu, groups=half)
        self.cut = out if out % 2 else None  # of an odd number the last cheap channel is left out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H, W)."""
        x = self.primary_conv(x)
        x = torch.cat([x, self.cheap_operation(x)], 1)
        return x if self.cut is None else x[:, : self.cut]


class GhostBottleneck(nn.Module):
    """Ghost - (strided depthwise) - (SE) - Ghost without ReLU, plus the shortcut; no ReLU behind the sum."""

    def __init__(self, into: int, hidden: int, out: int, kernel: int, stride: int, se: bool) -> None:
        super().__init__()
        self.ghost1 = Ghost(into, hidden)
        strided = {"stride": stride, "padding": kernel // 2, "bias": False}
        self.conv_dw = nn.Conv2d(hidden, hidden, kernel, groups=hidden, **strided) if stride > 1 else nn.Identity()
        self.bn_dw = nn.BatchNorm2d(hidden) if stride > 1 else nn.Identity()
        self.se = HardGate(hidden) if se else nn.Identity()
        self.ghost2 = Ghost(hidden, out, relu=False)
        self.shortcut = nn.Sequential()
        if into != out or stride > 1:
            depthwise = normed(into, into, kernel, relu=False, stride=stride, groups=into)
            self.shortcut = nn.Sequential(*depthwise, *normed(into, out, 1, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) -> (B, out, ceil(H / stride), ceil(W / stride))."""
        return self.ghost2(self.se(self.bn_dw(self.conv_dw(self.ghost1(x))))) + self.shortcut(x)


class GhostNet(Network):
    """The classifier, or the encoder of a segmentation network.

    Args:
        num_classes: number K of logits; 0 leaves the tail out, which a pyramid does not need.
        in_channels: image channels.
        width: factor on all channels, which become multiples of 4.

    Attributes:
        channels: channels of the four maps of `pyramid`.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, *, width: float = 1.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = tuple(divisible(channels * width) for channels in _TAPPED.values())
        into = divisible(16 * width)
        self.conv_stem = nn.Conv2d(in_channels, into, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(into)
        self.blocks = nn.Sequential()
        for stage in _STAGES:
            rows = [(divisible(hidden * width), divisible(out * width), *rest) for hidden, out, *rest in stage]
            blocks = [
                GhostBottleneck(before, *row)
                for before, row in zip([into, *(row[1] for row in rows)], rows, strict=False)
            ]
            self.blocks.append(nn.Sequential(*blocks))
            into = rows[-1][1]
        if num_classes:
            last, hidden = divisible(960 * width), 1280
            self.blocks.append(nn.Sequential(_Tail(into, last)))
            self.conv_head = nn.Conv2d(last, hidden, 1)
            self.classifier = nn.Linear(hidden, num_classes)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Images (B, in_channels, H, W) -> maps at 1/4, 1/8, 1/16 and 1/32 of their size, rounded up."""
        x, maps = F.relu(self.bn1(self.conv_stem(x))), []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in _TAPPED:
                maps.append(x)
        return maps

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last feature map (B, C, h, w)."""
        self.check_images(x)
        return self.blocks(F.relu(self.bn1(self.conv_stem(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        x = F.relu(self.conv_head(self.features(x).mean((2, 3), keepdim=True)))
        return self.classifier(F.dropout(x.flatten(1), 0.2, self.training))


class _Tail(nn.Module):
    """The last 1x1 convolution in front of the pooling; apart, because of its names in the checkpoint."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, h, w) -> (B, out, h, w)."""
        return F.relu(self.bn1(self.conv(x)))
