"""SegNet: VGG-16 down, and its mirror up, where max-unpooling puts values back where they came from.

Paper: https://arxiv.org/abs/1511.00561. The indices of a pooling are those of its channels, so the decoder's channels
in front of an unpooling and the encoder's in front of the pooling are kept or removed together.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.models.blocks import Network, kaiming_init
from rsprune_lib.models.segmentation.unet1 import add_layer, rounded_up

__all__ = ["SegNet"]

_DOWN = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_UP = ((64, 0), (128, 64), (256, 256, 128), (512, 512, 256), (512, 512, 512))  # 0: the classifier


class SegNet(Network):
    """26 convolutions of 3 x 3; images of 32 x 32 pixels and more.

    Layers are called as in the paper's code: ``conv31`` is the first of the third block, ``conv33d`` its mirror.

    Args:
        num_classes: number K of classes.
        in_channels: image channels.
        width: factor on the channels of all hidden layers, rounded up.
    """

    min_size = 32

    def __init__(self, num_classes: int, in_channels: int = 3, *, width: float = 1.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        into = in_channels
        for block, widths in enumerate(_DOWN, 1):
            for number, out in enumerate(widths, 1):
                into = self._add(f"conv{block}{number}", into, rounded_up(out, width))
        for block, widths in reversed(list(enumerate(_UP, 1))):
            for number, out in zip(range(len(widths), 0, -1), widths, strict=True):
                if out:
                    into = self._add(f"conv{block}{number}d", into, rounded_up(out, width))
        self.conv11d = nn.Conv2d(into, num_classes, 3, padding=1)
        kaiming_init(self, "fan_in")

    def _add(self, name: str, into: int, out: int) -> int:
        add_layer(self, name, into, out)
        return out

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return F.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K, H, W)."""
        self.check_images(x)
        pooled = []
        for block, widths in enumerate(_DOWN, 1):
            for number in range(1, len(widths) + 1):
                x = self._layer(f"conv{block}{number}", x)
            size = x.shape[2:]
            x, places = F.max_pool2d(x, 2, return_indices=True)
            pooled.append((places, size))
        for block in range(len(_UP), 0, -1):
            places, size = pooled.pop()
            x = F.max_unpool2d(x, places, 2, output_size=size)
            for number in range(len(_UP[block - 1]), 1 if block == 1 else 0, -1):
                x = self._layer(f"conv{block}{number}d", x)
        return self.conv11d(x)
