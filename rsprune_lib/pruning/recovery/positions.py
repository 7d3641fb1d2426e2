"""Sampled positions: of a large map the closed form looks at some places only, and rare classes can have their share.

A map of 180 x 240 positions gives a layer of 3 x 3 x 128 inputs as many rows as a thousand small images do, nearly all
of them of the same few classes. Some places of every image are drawn once, in coordinates of the image, and every layer
is fitted to what it sees and sends on at these places. A layer's rows are the pixels of a map again, and the layer a
1 x 1 convolution over them, so the rest of the closed form is the same for them.

Masks only say where to look: no label enters a fit. ``"balanced"`` was ahead of ``"uniform"`` by 0.3 to 1.6 points of
mIoU in each of five repairs of a narrow UNet1 on CamVid at half its channels, but not in those of another one
(``results/segmentation_camvid.md``): compare both. Norms keep the statistics of all pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import unknown
from rsprune_lib.pruning.recovery.least_squares import Solution, patches
from rsprune_lib.pruning.recovery.relu_aware import Sample
from rsprune_lib.tasks import IGNORE

__all__ = ["POSITIONS", "Positions", "check_positions", "unrolled"]

POSITIONS = ("all", "uniform", "balanced")


class Positions:
    """Places of images at which layers are fitted.

    Args:
        masks: (B, H, W) of each batch, with `IGNORE` where unknown; or (B,) labels, which leave all positions in.
        how: ``"uniform"``: every pixel is as likely; ``"balanced"``: every class that an image shows is as likely, and
            within it every pixel; ``"all"``: no sampling.
        most: places of an image; a map that has no more is used whole, unless classes are balanced.

    Raises:
        RspruneError: there is no such way to draw.
    """

    def __init__(self, masks: Sequence[Tensor], how: str = "balanced", most: int = 1024) -> None:
        check_positions(how)
        self._how, self._most = how, most
        self._drawn: list[Tensor] = []  # (B, most, 3) of each batch: row and column in [0, 1), pixels it stands for
        if how != "all" and masks[0].dim() == 3:
            generator = torch.Generator().manual_seed(0)
            self._drawn = [torch.stack([self._draw(mask.cpu(), generator) for mask in batch]) for batch in masks]

    def _draw(self, mask: Tensor, generator: torch.Generator) -> Tensor:
        """(most, 3) places of one image, in the middle of pixels, and 1 / chance of each, 1 in the mean."""
        H, W = mask.shape
        chance = torch.ones(H * W)
        if self._how == "balanced" and (known := mask.flatten() != IGNORE).any():
            classes = mask.flatten().clamp_min(0)
            chance = known / torch.bincount(classes[known], minlength=int(classes.max()) + 1).clamp_min(1)[classes]
        flat = torch.multinomial(chance, self._most, replacement=True, generator=generator)
        pixels = 1 / chance[flat]
        return torch.stack([(flat // W + 0.5) / H, (flat % W + 0.5) / W, pixels / pixels.mean()], dim=1)

    def fitted(self, layer: nn.Module, out: Tensor) -> tuple[nn.Module, Callable[[Iterable[Sample]], Iterable[Sample]]]:
        """What is fitted, and to what: the layer to all positions, or a 1 x 1 convolution to rows at the drawn places.

        Args:
            layer: the layer.
            out: an output of it, (B, O, H', W').

        Returns:
            The layer, or in its place a convolution from its rows (see `patches`) to its outputs; and how samples
            (input (B, C, H, W), target (B, O, H', W'), what is added or None) become its own. A solution for
            rows has to be `unrolled`.
        """
        if not self._drawn or not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or self._small(out):
            return layer, lambda samples: samples
        width = layer.in_channels * layer.weight[0, 0].numel()
        worker = nn.Conv2d(width, layer.out_channels, 1, groups=layer.groups, bias=layer.bias is not None)
        if layer.bias is not None:
            worker.bias.data.copy_(layer.bias)

        def rows(samples: Iterable[Sample]) -> Iterator[Sample]:
            return (self._rows(layer, *each) for each in zip(self._drawn, samples, strict=True))

        return worker.to(layer.weight), rows

    def evened(self, fit: Solution, worker: nn.Conv2d, rows: Iterable[Sample]) -> Solution:
        """A solution for rows with mean and variance of its output over pixels, not over places, for the norm behind.

        Args:
            fit: the solution.
            worker: what was fitted.
            rows: its samples.
        """
        count, total, squares = 0.0, 0.0, 0.0
        for drawn, (x, _, _) in zip(self._drawn, rows, strict=True):
            y = F.conv2d(x, fit.weight.to(x), groups=worker.groups).double()[..., 0]  # (B, O, n)
            weight = drawn[:, None, : y.shape[2], 2].to(y)
            count, total = count + weight.sum(), total + (weight * y).sum((0, 2))
            squares = squares + (weight * y.square()).sum((0, 2))
        mean = total / count
        return replace(fit, mean=mean, var=(squares / count - mean.square()).clamp_min(0))

    def _small(self, out: Tensor) -> bool:
        places = out.shape[2] * out.shape[3]
        return places <= (1 if self._how == "balanced" else self._most)

    def _rows(self, layer: nn.Module, drawn: Tensor, sample: Sample) -> Sample:
        """What a batch shows of a layer at its drawn places."""
        x, target, added = sample
        height, width = target.shape[2:]
        drawn = drawn[:, : height * width]  # of a small map fewer places say as much
        row, column = (drawn[..., :2] * torch.tensor([height, width])).long().to(x.device).unbind(2)  # (B, n) each
        image = torch.arange(len(x), device=x.device)[:, None].expand_as(row)

        def pick(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[image, :, row, column].mT[..., None]

        seen = patches(layer, x, (image, row, column))[..., :-1]  # (B * n, G, D)
        return seen.reshape(*row.shape, -1).mT[..., None], pick(target), pick(added)


def check_positions(how: str) -> None:
    """Checks the name of a way to draw positions.

    Raises:
        RspruneError: there is no such way.
    """
    if how not in POSITIONS:
        raise unknown("way to draw positions", how, POSITIONS)


def unrolled(fit: Solution, layer: nn.Conv2d | nn.ConvTranspose2d) -> Solution:
    """A solution for a layer's rows in the shape of the layer itself."""
    turned = isinstance(layer, nn.ConvTranspose2d)
    outs, ins = (1, 0) if turned else (0, 1)
    shape = layer.weight.shape
    weight = fit.weight.reshape(shape[outs], *shape[2:], shape[ins]).movedim(-1, 1)
    return replace(fit, weight=weight.flip(2, 3).transpose(0, 1) if turned else weight)
