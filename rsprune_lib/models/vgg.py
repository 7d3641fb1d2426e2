"""VGG-16 with batch norm for small images, with and without squeeze-and-excitation."""

from __future__ import annotations

from torch import Tensor, nn

from rsprune_lib.models.blocks import Network, SqueezeExcite, kaiming_init

__all__ = ["VGG"]


class VGG(Network):
    """VGG-16 (https://arxiv.org/abs/1409.1556) with batch norm: thirteen 3x3 convolutions in five stages.

    Names are the usual ones: ``conv3_2``, ``bn3_2``, ``relu3_2``, ``se3_2`` belong to the second convolution of the
    third stage, and ``pool3`` closes that stage. The order conv-BN-ReLU-SE puts the 13 SE blocks behind the ReLUs of
    torchvision's ``vgg16_bn``; RemoteTrimmer (https://arxiv.org/abs/2412.12603) published no definition, and its script
    deletes the ReLU together with the SE block. Here an SE block leaves and its ReLU stays.

    Differences from torchvision: no conv biases (a norm follows each), and global average pooling with one linear layer
    instead of 7x7 pooling with three. That fits images of 32 and 64 pixels: 14.7 million weights instead of 134.

    Args:
        num_classes: number K of logits.
        in_channels: image channels.
        widths: channels of the five stages.
        depths: convolutions in each stage.
        stem: ``"imagenet"`` pools behind every stage (images shrink 32-fold and have at least 32 pixels a side);
            ``"small"`` not behind the first (16-fold, at least 16 pixels).
        se: use SE blocks.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        depths: tuple[int, ...] = (2, 2, 3, 3, 3),
        stem: str = "imagenet",
        *,
        se: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.min_size = 2 ** (len(widths) - (stem == "small"))
        before = in_channels
        for stage, (channels, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            for number in range(1, depth + 1):
                self._add_layer(f"{stage}_{number}", before, channels, se)
                before = channels
            pools = stage > 1 or stem == "imagenet"
            self.add_module(f"pool{stage}", nn.MaxPool2d(2) if pools else nn.Identity())
        self._feature_names = tuple(self._modules)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, num_classes)
        kaiming_init(self)

    def _add_layer(self, label: str, before: int, channels: int, se: bool) -> None:
        self.add_module(f"conv{label}", nn.Conv2d(before, channels, 3, padding=1, bias=False))
        self.add_module(f"bn{label}", nn.BatchNorm2d(channels))
        self.add_module(f"relu{label}", nn.ReLU(inplace=True))
        self.add_module(f"se{label}", SqueezeExcite(channels) if se else nn.Identity())

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last feature map (B, C, H // min_size, W // min_size)."""
        self.check_images(x)
        for name in self._feature_names:
            x = getattr(self, name)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        return self.fc(self.avgpool(self.features(x)).flatten(1))
