"""DenseNet for small images, as similarity-graph pruning was published on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsprune_lib.models.blocks import Network
from rsprune_lib.models.cifar import keras_norm

__all__ = ["DenseNet"]


class DenseLayer(nn.Module):
    """BN-ReLU-conv-dropout; the new channels are put behind the old ones.

    Args:
        in_channels: channels that come in.
        growth: channels that come to them.
        dropout: share of values that are dropped in training.
    """

    def __init__(self, in_channels: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.bn = keras_norm(in_channels)
        self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, in_channels + growth, H, W)."""
        return torch.cat([x, self.drop(self.conv(torch.relu(self.bn(x))))], dim=1)


class Transition(nn.Module):
    """BN-ReLU-conv 1x1-dropout-average pool: as many channels (compression 1), half the side.

    Args:
        channels: channels that come in and go out.
        dropout: share of values that are dropped in training.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.bn = keras_norm(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H // 2, W // 2)."""
        return nn.functional.avg_pool2d(self.drop(self.conv(torch.relu(self.bn(x)))), 2)


class DenseNet(Network):
    """DenseNet (https://arxiv.org/abs/1608.06993) of three blocks without bottlenecks; depth 40 has twelve layers each.

    As in Li et al., Pattern Recognition Letters 166, 2023 (https://doi.org/10.1016/j.patrec.2022.12.028): no biases but
    the classifier's, dropout behind every convolution of the blocks and transitions, compression 1, norms of Keras.
    Norms stand in front of the convolutions and see several layers' channels, so no unit has a norm.

    Args:
        num_classes: number K of logits.
        in_channels: image channels.
        layers: convolutions in a block.
        growth: channels that each of them adds.
        initial: channels of the stem.
        dropout: share of values that are dropped in training.
    """

    norms_behind_layers = False
    min_size = 4

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        layers: int = 12,
        growth: int = 12,
        initial: int = 16,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, initial, 3, padding=1, bias=False)
        width = initial
        for block in (1, 2, 3):
            stage = [DenseLayer(width + number * growth, growth, dropout) for number in range(layers)]
            self.add_module(f"block{block}", nn.Sequential(*stage))
            width += layers * growth
            if block < 3:
                self.add_module(f"transition{block}", Transition(width, dropout))
        self.bn = keras_norm(width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last feature map (B, C, H // 4, W // 4)."""
        self.check_images(x)
        x = self.transition1(self.block1(self.conv1(x)))
        return self.bn(self.block3(self.transition2(self.block2(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        return self.fc(self.avgpool(torch.relu(self.features(x))).flatten(1))
