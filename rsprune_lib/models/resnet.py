"""ResNet with and without squeeze-and-excitation."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from rsprune_lib.models.blocks import Network, SqueezeExcite, kaiming_init

__all__ = ["BasicBlock", "BottleneckBlock", "ResNet"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: conv-BN-ReLU-SE-conv-BN-SE, add the shortcut, ReLU.

    The shortcut is the identity, or a 1x1 convolution with BN (never an SE block) where the shape changes.
    Modules are registered in execution order.

    Args:
        in_channels: channels that come in.
        channels: channels that go out.
        stride: stride of the first convolution and of the shortcut.
        se: put `SqueezeExcite` behind both norms (``nn.Identity`` stands there otherwise).
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, se: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.se1 = SqueezeExcite(channels) if se else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se2 = SqueezeExcite(channels) if se else nn.Identity()
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride))."""
        out = self.se1(self.relu(self.bn1(self.conv1(x))))
        out = self.se2(self.bn2(self.conv2(out)))
        return self.relu(out + self.downsample(x))


class BottleneckBlock(nn.Module):
    """1x1 convolution, 3x3 with the stride, 1x1 to four times the channels, each with BN; then as in `BasicBlock`.

    Args:
        in_channels: channels that come in.
        channels: channels inside.
        stride: of the 3x3 convolution and of the shortcut.
    """

    widening = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 channels, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        return self.relu(self.bn3(self.conv3(out)) + self.downsample(x))


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution with BN where the shape changes."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class ResNet(Network):
    """ResNet of basic blocks (https://arxiv.org/abs/1512.03385), optionally with SE behind every norm of the main path.

    With SE it is the network of RemoteTrimmer (https://arxiv.org/abs/2412.12603): one SE block in the stem and two in
    each basic block, 17 in ResNet-18. The last norm of each block starts at zero (zero-init residual,
    https://arxiv.org/abs/1706.02677), so an untrained block passes its input on.

    Args:
        num_classes: number K of logits; 0 leaves the classifier out, which `pyramid` does not need.
        in_channels: image channels.
        widths: channels of the four stages; the stem has as many as the first.
        blocks: blocks in each stage.
        stem: ``"imagenet"`` is a 7x7 convolution of stride 2 and a max-pool (images shrink 32-fold in all), ``"small"``
            a 3x3 convolution of stride 1 without pooling (8-fold).
        se: use SE blocks.
        bottleneck: blocks are `BottleneckBlock`, so the stages have four times the channels (and no SE blocks).

    Attributes:
        channels: channels of the maps of `pyramid`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        stem: str = "imagenet",
        *,
        se: bool = False,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        block = BottleneckBlock if bottleneck else partial(BasicBlock, se=se)
        self.channels = tuple(4 * width if bottleneck else width for width in widths)
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(in_channels, widths[0], kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.se1 = SqueezeExcite(widths[0]) if se else nn.Identity()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem == "imagenet" else nn.Identity()
        for index, (before, channels, depth) in enumerate(
            zip((widths[0], *self.channels), widths, blocks, strict=False)
        ):
            stage = [block(before, channels, stride=1 if index == 0 else 2)]
            stage += [block(self.channels[index], channels) for _ in range(depth - 1)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        if num_classes:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(self.channels[-1], num_classes)
        kaiming_init(self)
        for module in self.modules():
            if isinstance(module, BasicBlock | BottleneckBlock):
                nn.init.zeros_((module.bn3 if bottleneck else module.bn2).weight)

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last feature map (B, C, h, w)."""
        self.check_images(x)
        return self.pyramid(x)[-1]

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Images (B, in_channels, H, W) -> the maps of the four stages; the first has the size of the stem's output."""
        maps = [self.maxpool(self.se1(self.relu(self.bn1(self.conv1(x)))))]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps[1:]

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        return self.fc(self.avgpool(self.features(x)).flatten(1))
