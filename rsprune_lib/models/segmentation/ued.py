"""UED, UED+BES and UED+BES+SFM: light segmentation of high-resolution imagery on a GhostNet encoder.

Paper: IGARSS 2021, https://doi.org/10.1109/IGARSS47720.2021.9554244. Parameters and convolution MACs equal those of its
code. Different from it: the ImageNet tail that never runs is left out, all resizing has one convention
(``align_corners=False``), and a warp by a flow of zero gives the map back (pixel centres, border padding).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.models.blocks import Network
from rsprune_lib.models.segmentation.ghostnet import GhostNet, normed
from rsprune_lib.tasks import Parts

__all__ = ["UED", "BodyEdgeUED", "resized", "warp"]

_WIDE = 24  # channels of everything behind the decoder that separates body and edge, whatever the width


def resized(x: Tensor, like: Tensor) -> Tensor:
    """A map, bilinearly resized to the height and width of another."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Each pixel is read where the flow points, bilinearly; positions are float32.

    Args:
        x: (B, C, H, W).
        flow: (B, 2, H, W), offset to the right and down in half pixels.

    Returns:
        (B, C, H, W); what lies outside is the nearest pixel of the border.
    """
    H, W = x.shape[2:]
    across, down = ((torch.arange(n, device=x.device) * 2 + 1) / n - 1 for n in (W, H))  # pixel centres in [-1, 1]
    shift = flow.float() / torch.tensor([W, H], device=x.device).view(2, 1, 1)
    grid = torch.stack([across.expand(H, W), down[:, None].expand(H, W)]) + shift  # (B, 2, H, W)
    grid = grid.permute(0, 2, 3, 1)
    moved = F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.to(x.dtype)


class Combination(nn.Module):
    """Brings a small deep map to the size and the channels of a larger one, and both together."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low = normed(low, high, 3, bias=True)
        self.both = normed(2 * high, high, 1, bias=True)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, low, h, w) and (B, high, H, W) -> (B, high, H, W)."""
        return self.both(torch.cat([high, self.low(resized(low, high))], 1))


class UED(Network):
    """Encoder and decoder with three skips; any image size.

    Args:
        num_classes: number K of classes.
        in_channels: image channels.
        width: factor on the encoder's channels, which become multiples of 4.
        encoder: a network with ``pyramid`` and ``channels``; by default a `GhostNet`.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 3, *, width: float = 1.0, encoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.encoder = GhostNet(0, in_channels, width=width) if encoder is None else encoder
        c1, c2, c3, c4 = self.encoder.channels
        self.d3, self.d2, self.d1 = Combination(c4, c3), Combination(c3, c2), Combination(c2, c1)
        self.head = _head(c1, self._features(num_classes), layers=2, bias=False)

    def _features(self, num_classes: int) -> int:
        """Channels behind the decoder."""
        return num_classes

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> what the decoder gives, (B, K, H / 4, W / 4), rounded up."""
        self.check_images(x)
        c1, c2, c3, c4 = self.encoder.pyramid(x)
        return self.head(self.d1(self.d2(self.d3(c4, c3), c2), c1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K, H, W)."""
        return resized(self.features(x), x)


def _head(into: int, out: int, *, layers: int, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(*(normed(into, into, 3) for _ in range(layers)), nn.Conv2d(into, out, 1, bias=bias))


def _refined() -> nn.Sequential:
    return nn.Sequential(normed(_WIDE, _WIDE, 3), nn.Conv2d(_WIDE, _WIDE, 3, padding=1))


class BodyEdgeUED(UED):
    """UED+BES: features are separated into bodies, moved along a flow, and edges, what that changed.

    Args:
        num_classes: number K of classes.
        in_channels: image channels.
        width: factor on the encoder's channels.
        score: fuse body and edge by a learned map of weights (SFM), not by their sum. The map depends on means over
            height and width, so images should have the size of those in training.
        encoder: see `UED`.
    """

    task = "body_edge"
    loss_heads = ("body_head", "edge_head")

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        width: float = 1.0,
        score: bool = False,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, width=width, encoder=encoder)
        self.project = nn.Conv2d(_WIDE, _WIDE, 1)
        strided = [normed(_WIDE, _WIDE, 3, relu=False, stride=2, bias=True) for _ in range(2)]
        self.coarse = nn.Sequential(*strided, nn.Conv2d(_WIDE, _WIDE, 1))
        self.flow = nn.Conv2d(2 * _WIDE, 2, 3, padding=1, bias=False)
        self.body, self.edge = _refined(), _refined()
        self.fusion = Score(_WIDE) if score else None
        self.seg_head = _head(_WIDE, num_classes, layers=2)
        self.body_head = _head(_WIDE, num_classes, layers=1)
        self.edge_head = _head(_WIDE, 1, layers=1)

    def _features(self, num_classes: int) -> int:
        return _WIDE

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, in_channels, H, W) -> features of bodies and of edges, (B, 24, H / 4, W / 4) each."""
        whole = self.project(self.features(x))
        flow = self.flow(torch.cat([whole, resized(self.coarse(whole), whole)], 1))
        body = warp(whole, flow)
        return self.body(body), self.edge(whole - body)

    def forward(self, x: Tensor) -> Parts | Tensor:
        """Images (B, in_channels, H, W), normalised -> logits of segmentation, bodies and edges.

        Without the last two heads (`rsprune_lib.models.for_inference`) the first alone.
        """
        body, edge = self.split(x)
        fused = body + edge if self.fusion is None else self.fusion(body, edge)
        logits = resized(self.seg_head(fused), x)
        if self.body_head is None:
            return logits
        return Parts(logits, resized(self.body_head(body), x), resized(self.edge_head(edge), x).squeeze(1))


class Score(nn.Module):
    """SFM: the share of the body in each value, from an outer product of a profile along y and one along x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rows = nn.Conv2d(channels, channels, 3, padding=1)
        self.columns = nn.Conv2d(channels, channels, 3, padding=1)
        self.pixels = nn.Conv2d(channels, channels, 1)

    def scores(self, body: Tensor, edge: Tensor) -> Tensor:
        """(B, C, H, W) twice -> (B, C, H, W) in (0, 1)."""
        both = body + edge
        outer = self.rows(both).mean(3, keepdim=True) * self.columns(both).mean(2, keepdim=True)
        return torch.sigmoid(outer + self.pixels(both))

    def forward(self, body: Tensor, edge: Tensor) -> Tensor:
        """(B, C, H, W) twice -> (B, C, H, W)."""
        share = self.scores(body, edge)
        return share * body + (1 - share) * edge
