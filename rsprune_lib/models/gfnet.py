"""GFNet: tokens are mixed by a learned filter in the Fourier domain, then each token by an MLP.

Paper: https://arxiv.org/abs/2107.00645. Parameters equal the published ones; different from the reference code, height
and width of the token grid are known (it takes the square root of the number of tokens), tokens stay a map
(B, H, W, C), and any image size that the patch divides is taken: filters and position embedding are resized on the fly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import ModelError, unknown
from rsprune_lib.models.blocks import Network

__all__ = ["GFNET_SIZES", "GFNet", "GlobalFilter", "resize_filter"]

TRANSFORMS = ("fft", "dft")
RESIZE_MODES = ("bicubic", "bilinear", "spatial")


@dataclass(frozen=True)
class Size:
    """Widths and depths of one GFNet.

    Attributes:
        widths: channels of each stage.
        depths: blocks of each stage.
        patch: pixels a side of one token of the first stage.
        drop_path: share of the blocks that the last block drops in training; it grows linearly with depth.
        scale: start of the layer scale; None for a network without.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    patch: int = 16
    drop_path: float = 0.0
    scale: float | None = None


GFNET_SIZES = {
    "gfnet_ti": Size((256,), (12,)),
    "gfnet_xs": Size((384,), (12,)),
    "gfnet_s": Size((384,), (19,), drop_path=0.15),
    "gfnet_b": Size((512,), (19,), drop_path=0.25),
    "gfnet_h_ti": Size((64, 128, 256, 512), (3, 3, 10, 3), 4, 0.1, 1e-3),
    "gfnet_h_s": Size((96, 192, 384, 768), (3, 3, 10, 3), 4, 0.2, 1e-5),
    "gfnet_h_b": Size((96, 192, 384, 768), (3, 3, 27, 3), 4, 0.4, 1e-6),
}


class GlobalFilter(nn.Module):
    """Multiplies the two-dimensional spectrum of every channel by a learned complex filter: a circular convolution.

    Args:
        channels: number C of channels.
        grid: height and width of the token grid the filter is made for.
        transform: ``"fft"``, or ``"dft"``: the same as small dense real products, which exports everywhere.

    Attributes:
        weight: (H, W // 2 + 1, C, 2) real and imaginary part.
    """

    def __init__(self, channels: int, grid: tuple[int, int], transform: str = "fft") -> None:
        super().__init__()
        if transform not in TRANSFORMS:
            raise unknown("transform", transform, TRANSFORMS)
        height, width = grid
        self.grid, self.transform = (height, width), transform
        self.weight = nn.Parameter(0.02 * torch.randn(height, width // 2 + 1, channels, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C); in float32 also under autocast."""
        grid = x.shape[1], x.shape[2]
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight.float()
            if grid != self.grid:
                weight = resize_filter(weight, self.grid, grid)
            apply = _by_fft if self.transform == "fft" else _by_products
            return apply(x.float(), weight).to(x.dtype)


def _by_fft(x: Tensor, weight: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(weight.contiguous())
    return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")


def _by_products(x: Tensor, weight: Tensor) -> Tensor:
    """The same with real matrix products only."""
    H, W = x.shape[1:3]
    (ch, sh), (cw, sw), (iw, jw) = (table.to(x) for table in _cosines(H)), *_half_cosines(W, x)
    real, imag = torch.einsum("wf,bhwc->bhfc", cw, x), torch.einsum("wf,bhwc->bhfc", -sw, x)
    real, imag = (
        torch.einsum("hg,bhfc->bgfc", ch, real) + torch.einsum("hg,bhfc->bgfc", sh, imag),
        torch.einsum("hg,bhfc->bgfc", ch, imag) - torch.einsum("hg,bhfc->bgfc", sh, real),
    )
    a, b = weight.unbind(-1)  # (H, F, C)
    real, imag = real * a - imag * b, real * b + imag * a
    real, imag = (
        torch.einsum("gh,bgfc->bhfc", ch, real) - torch.einsum("gh,bgfc->bhfc", sh, imag),
        torch.einsum("gh,bgfc->bhfc", ch, imag) + torch.einsum("gh,bgfc->bhfc", sh, real),
    )
    return torch.einsum("fw,bhfc->bhwc", iw, real) - torch.einsum("fw,bhfc->bhwc", jw, imag)


@lru_cache(maxsize=32)
def _cosines(n: int) -> tuple[Tensor, Tensor]:
    """Cos and sin of 2 pi j k / n, (n, n) each, over sqrt(n)."""
    j = torch.arange(n, dtype=torch.float64)
    angle = 2 * torch.pi * torch.outer(j, j) / n
    return (angle.cos() / n**0.5).float(), (angle.sin() / n**0.5).float()


def _half_cosines(n: int, like: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Forward tables (n, n // 2 + 1) and inverse ones (n // 2 + 1, n), where each inner frequency counts twice."""
    half = n // 2 + 1
    cos, sin = (table[:, :half].to(like) for table in _cosines(n))
    twice = torch.full((half, 1), 2.0).to(like)
    twice[0] = 1
    if n % 2 == 0:
        twice[-1] = 1
    return (cos, sin), (twice * cos.T, twice * sin.T)


def resize_filter(weight: Tensor, old: tuple[int, int], new: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """A filter for another token grid.

    Args:
        weight: (H, W // 2 + 1, C, 2) of the old grid.
        old: height and width of the old grid.
        new: of the new one.
        mode: ``"bicubic"`` or ``"bilinear"`` interpolate the spectrum, as the authors do; ``"spatial"`` pads or cuts
            the kernel that the spectrum stands for, around its centre: a small kernel keeps its size in tokens.

    Returns:
        (new H, new W // 2 + 1, C, 2).

    Raises:
        RspruneError: there is no such mode.
    """
    if mode not in RESIZE_MODES:
        raise unknown("resize mode", mode, RESIZE_MODES)
    if old == new:
        return weight
    if mode == "spatial":
        kernel = torch.fft.irfft2(torch.view_as_complex(weight.contiguous()), s=old, dim=(0, 1), norm="ortho")
        for axis, (before, after) in enumerate(zip(old, new, strict=True)):
            kernel = _recentred(kernel, axis, before, after)
        gain = (new[0] * new[1] / (old[0] * old[1])) ** 0.5  # "ortho" scales the product by the square root of the area
        return torch.view_as_real(gain * torch.fft.rfft2(kernel, dim=(0, 1), norm="ortho"))
    C = weight.shape[2]
    flat = weight.permute(2, 3, 0, 1).reshape(1, 2 * C, *weight.shape[:2])  # (1, 2C, H, F)
    flat = F.interpolate(flat, size=(new[0], new[1] // 2 + 1), mode=mode, align_corners=True)
    return flat.view(C, 2, *flat.shape[2:]).permute(2, 3, 0, 1)


def _recentred(kernel: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Pads or cuts a circular kernel along an axis, keeping offsets from -size / 2 to size / 2."""
    common = min(before, after)
    front, back = (common + 1) // 2, common // 2
    pieces = [kernel.narrow(axis, 0, front)]
    if after > common:
        shape = list(kernel.shape)
        shape[axis] = after - common
        pieces.append(kernel.new_zeros(shape))
    if back:
        pieces.append(kernel.narrow(axis, before - back, back))
    return torch.cat(pieces, dim=axis)


class DropPath(nn.Module):
    """In training drops a whole branch for some images, and scales the others up (https://arxiv.org/abs/1603.09382)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.share == 0:
            return x
        keep = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.share
        return x * keep / (1 - self.share)


class LayerScale(nn.Module):
    """Multiplies every channel by a learned factor (https://arxiv.org/abs/2103.17239)."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return x * self.weight


class Block(nn.Module):
    """One residual around filter and MLP: ``x + drop(scale(mlp(norm2(filter(norm1(x))))))``."""

    def __init__(
        self, channels: int, grid: tuple[int, int], drop_path: float, scale: float | None, transform: str
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.filter = GlobalFilter(channels, grid, transform)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * channels, channels)
        self.scale = nn.Identity() if scale is None else LayerScale(channels, scale)
        self.drop = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        mixed = self.norm2(self.filter(self.norm1(x)))
        return x + self.drop(self.scale(self.fc2(self.act(self.fc1(mixed)))))


class Patches(nn.Module):
    """Cuts maps into patches by one strided convolution: (B, C, H, W) -> (B, h, w, C')."""

    def __init__(self, in_channels: int, channels: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H / patch, W / patch, C')."""
        return self.conv(x).permute(0, 2, 3, 1)


class Positions(nn.Module):
    """Adds a learned vector to each token; resized bicubically for another grid."""

    def __init__(self, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, *grid, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        weight = self.weight
        if x.shape[1:3] != weight.shape[1:3]:
            maps = weight.permute(0, 3, 1, 2)
            weight = F.interpolate(maps, size=x.shape[1:3], mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
        return x + weight


class GFNet(Network):
    """GFNet, isotropic (one stage) or hierarchical (four stages with a 2 x 2 convolution of stride 2 between them).

    Args:
        num_classes: number K of logits.
        in_channels: image channels.
        size: widths and depths.
        image_size: pixels a side, or (height, width), that filters and positions are made for.
        patch: pixels a side of one token of the first stage; None takes the published one.
        transform: see `GlobalFilter`.

    Raises:
        ModelError: the patches do not divide the image.
    """

    norms_behind_layers = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        size: Size,
        image_size: int | tuple[int, int] = 224,
        patch: int | None = None,
        transform: str = "fft",
    ) -> None:
        super().__init__()
        self.in_channels, self.patch = in_channels, patch or size.patch
        self.step = self.patch * 2 ** (len(size.widths) - 1)  # an image side must be a multiple of it
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self._check_side(height, width)
        self.image_size, self.min_size = (height, width), self.step
        blocks = sum(size.depths)
        rates = iter(size.drop_path * number / max(1, blocks - 1) for number in range(blocks))
        self.stages = nn.ModuleList()
        for number, (channels, depth) in enumerate(zip(size.widths, size.depths, strict=True)):
            step = self.patch * 2**number
            grid = height // step, width // step
            before = in_channels if number == 0 else size.widths[number - 1]
            stage = nn.Sequential()
            stage.add_module("patches", Patches(before, channels, self.patch if number == 0 else 2))
            if number == 0:
                stage.add_module("positions", Positions(channels, grid))
            for place in range(depth):
                stage.add_module(f"block{place}", Block(channels, grid, next(rates), size.scale, transform))
            self.stages.append(stage)
        self.norm = nn.LayerNorm(size.widths[-1], eps=1e-6)
        self.fc = nn.Linear(size.widths[-1], num_classes)
        self._initialise()

    @property
    def least_side(self) -> int:
        """Side of the smallest images that are worth training on: filters are made for one size."""
        return min(self.image_size)

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, Positions):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def _check_side(self, height: int, width: int) -> None:
        if min(height, width) < self.step or height % self.step or width % self.step:
            raise ModelError(
                f"The network cuts images into patches of {self.patch} pixels, so both sides must be multiples of "
                f"{self.step}, but an image has {height} x {width} pixels; resize the images or choose another patch."
            )

    def features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> the last tokens as a map (B, C, h, w)."""
        self.check_images(x)
        self._check_side(*x.shape[2:])
        for number, stage in enumerate(self.stages):
            x = stage(x if number == 0 else x.permute(0, 3, 1, 2))
        return self.norm(x).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W), normalised -> logits (B, K)."""
        return self.fc(self.features(x).mean((2, 3)))
