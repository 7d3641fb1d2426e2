"""The small networks on which similarity-graph pruning was published: VGG-16 and ResNet-20 to 110 for 32x32 images.

As in Li et al., Pattern Recognition Letters 166, 2023 (https://doi.org/10.1016/j.patrec.2022.12.028): biases, order of
layers, shortcuts, dropout, and the batch norms of Keras (momentum 0.99, which is 0.01 here, and epsilon 1e-3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsprune_lib.models.blocks import Network

__all__ = ["CifarResNet", "CifarVGG", "keras_norm"]


def keras_norm(channels: int, dims: int = 2) -> nn.Module:
    """A batch norm with the settings of Keras, over feature maps (``dims=2``) or features (``dims=1``)."""
    return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm1d)(channels, eps=1e-3, momentum=0.01)


class CifarVGG(Network):
    """VGG-16 (https://arxiv.org/abs/1409.1556) with conv(bias)-ReLU-BN, dropout, and one hidden linear layer.

    Names as in `VGG`: ``conv3_2``, ``bn3_2``; ``hidden`` and ``fc`` are the linear layers. The norms stand *behind the
    ReLU*, so no unit has a norm. Behind the last convolution of a stage comes a max-pool, behind the others dropout.

    Differences from the publication: the last map is averaged, not flattened, which is the same for 32x32 images (the
    map has one pixel) and admits larger ones.

    Args:
        num_classes: number K of logits.
        in_channels: image channels.
        widths: channels of the five stages; the hidden layer has as many as the last.
        depths: convolutions in each stage.
    """

    norms_behind_layers = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        depths: tuple[int, ...] = (2, 2, 3, 3, 3),
    ) -> None:
        super().__init__()
        self.in_channels, self.min_size = in_channels, 2 ** len(widths)
        before = in_channels
        for stage, (channels, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            for number in range(1, depth + 1):
                label = f"{stage}_{number}"
                self.add_module(f"conv{label}", nn.Conv2d(before, channels, 3, padding=1))
                self.add_module(f"relu{label}", nn.ReLU(inplace=True))
                self.add_module(f"bn{label}", keras_norm(channels))
                if number < depth:
                    self.add_module(f"drop{label}", nn.Dropout(0.3 if stage == 1 else 0.4))
                before = channels
            self.add_module(f"pool{stage}", nn.MaxPool2d(2))
        self._feature_names = tuple(self._modules)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(before, before)
        self.relu = nn.ReLU(inplace=True)
        self.bn = keras_norm(before, dims=1)
        self.drop_hidden = nn.Dropout(0.5)
        self.fc = nn.Linear(before, num_classes)
        _keras_init(self, nn.init.xavier_uniform_)

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last feature map (B, C, H // 32, W // 32)."""
        self.check_images(x)
        for name in self._feature_names:
            x = getattr(self, name)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        x = self.drop(self.avgpool(self.features(x)).flatten(1))
        return self.fc(self.drop_hidden(self.bn(self.relu(self.hidden(x)))))


class CifarBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, add the shortcut, ReLU; convolutions have biases.

    The shortcut is the identity, or where the shape changes a 1x1 convolution with bias and *without* batch norm. It is
    computed first: so it is the root of its stage's residual stream, and the published method decides there.

    Args:
        in_channels: channels that come in.
        channels: channels that go out.
        stride: stride of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        same = stride == 1 and in_channels == channels
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(in_channels, channels, 1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
        self.bn1 = keras_norm(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = keras_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride))."""
        short = self.shortcut(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + short)


class CifarResNet(Network):
    """ResNet of depth 6 n + 2 for small images (https://arxiv.org/abs/1512.03385): three stages of n basic blocks.

    Args:
        num_classes: number K of logits.
        in_channels: image channels.
        depth: layers with weights on the main path; 20, 32, 44, 56, 110.
        widths: channels of the three stages; the stem has as many as the first.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 3, depth: int = 20, widths: tuple[int, ...] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.bn1 = keras_norm(widths[0])
        self.relu = nn.ReLU(inplace=True)
        for index, (before, channels) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            stage = [CifarBlock(before, channels, stride=1 if index == 0 else 2)]
            stage += [CifarBlock(channels, channels) for _ in range((depth - 2) // 6 - 1)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        _keras_init(self, nn.init.kaiming_normal_)

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last feature map (B, C, h, w)."""
        self.check_images(x)
        return self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        return self.fc(self.avgpool(self.features(x)).flatten(1))


@torch.no_grad()
def _keras_init(model: nn.Module, init: object) -> None:
    """Weights of convolutions and linear layers by ``init`` (fan-in), biases zero, as Keras does."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            (init if isinstance(module, nn.Conv2d) else nn.init.xavier_uniform_)(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
