"""Parameters and MACs, of a whole network and of each layer.

One convention for the whole course: a MAC is one multiply-accumulate of a convolution, a linear layer or a matrix
product, for one image. Norms, activations, pooling, additions and biases are not counted. So the MACs are half of what
PyTorch's FlopCounterMode calls FLOPs, and somewhat fewer than Torch-Pruning reports. Parameters are all parameters,
norms and biases included, buffers not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rsprune_lib.errors import RspruneError
from rsprune_lib.models import evaluating, for_inference, hooked, placement, plain_attention

__all__ = ["COUNTED", "Cost", "LayerCost", "cost", "deployed_cost", "example_images", "layer_costs"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
COUNTED = (nn.modules.conv._ConvNd, nn.Linear, *_NORMS)


@dataclass(frozen=True)
class Cost:
    """What a network weighs.

    Attributes:
        params: number of parameters.
        macs: multiply-accumulates for one image.
    """

    params: int
    macs: int


@dataclass(frozen=True)
class LayerCost:
    """What one layer weighs, and what that follows from.

    Attributes:
        name: module name.
        kind: ``"conv"``, ``"linear"``, ``"norm"`` (a norm has parameters but no MACs: its kernel area is 0), or
            ``"product"`` for all matrix products outside of layers together (attention; MACs but no parameters).
        in_channels: input channels or features.
        out_channels: output channels or features.
        groups: convolution groups.
        kernel_area: weights per pair of an input and an output channel, such as 9.
        out_positions: positions the kernel is applied at for one image: output pixels, tokens, or input pixels of a
            transposed convolution; all calls together if the layer is called more than once.
        extra: parameters per output channel besides the kernel: 1 for a bias, 2 for an affine norm.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    groups: int
    kernel_area: int
    out_positions: int
    extra: int

    @property
    def weights(self) -> int:
        """Weights of the kernel."""
        return self.in_channels * self.out_channels // self.groups * self.kernel_area

    @property
    def params(self) -> int:
        """Parameters."""
        return self.weights + self.out_channels * self.extra

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.weights * self.out_positions


def example_images(
    model: nn.Module, image_size: int | tuple[int, int], *, batch: int = 1, in_channels: int | None = None
) -> Tensor:
    """Noise that fits a network: (batch, C, H, W) in [0, 1), with the device and type of its weights, always the same.

    Args:
        model: its attribute ``in_channels`` says how many channels an image has (3 where it has none).
        image_size: pixels a side, or (height, width).
        batch: number of images.
        in_channels: overrides the model's own.

    Raises:
        RspruneError: a number is below 1.
    """
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    channels = in_channels or getattr(model, "in_channels", 3)
    if min(batch, channels, height, width) < 1:
        raise RspruneError(
            f"An example of {batch} images with {channels} channels and {height}x{width} pixels is impossible; "
            "give whole numbers of at least 1."
        )
    device, dtype = placement(model)
    if device.type == "meta":  # counting needs shapes only
        return torch.empty(batch, channels, height, width, device=device, dtype=dtype)
    noise = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0))
    return noise.to(device, dtype)


def cost(model: nn.Module, image_size: int | tuple[int, int], in_channels: int | None = None) -> Cost:
    """Parameters of a network and its MACs for one image, counted by PyTorch's dispatcher during a forward pass.

    Matrix products outside of layers (attention) are counted too; transforms without a matrix product (FFT) are not.

    Args:
        model: any network of `torch.nn` modules that takes images; it is left as it is.
        image_size: pixels a side, or (height, width).
        in_channels: channels of an image; the model's own by default.

    Example:
        >>> cost(create_model("resnet18"), 64)
        Cost(params=11181642, macs=148050944)
    """
    images = example_images(model, image_size, in_channels=in_channels)
    with evaluating(model), plain_attention(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    return Cost(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)


def deployed_cost(model: nn.Module, image_size: int | tuple[int, int]) -> Cost | None:
    """Cost without the heads that only a loss reads (`for_inference`); None where there are none."""
    there = any(getattr(model, head) is not None for head in getattr(model, "loss_heads", ()))
    return cost(for_inference(model), image_size) if there else None


def layer_costs(model: nn.Module, image_size: int | tuple[int, int], in_channels: int | None = None) -> list[LayerCost]:
    """What each convolution, linear layer and norm costs for one image, in order of their first call.

    Computed from the shapes that layers and functions see, independently of `cost`; all products outside of layers
    (attention) are the last row, if there are any. Layers that are not used do not appear.

    Args:
        model: any network of `torch.nn` modules that takes images; it is left as it is.
        image_size: pixels a side, or (height, width).
        in_channels: channels of an image; the model's own by default.
    """
    rows: dict[str, LayerCost] = {}

    def record(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before = rows[name].out_positions if name in rows else 0
        rows[name] = _row(name, module, inputs[0], output, before)

    images = example_images(model, image_size, in_channels=in_channels)
    counted = [(m, partial(record, n)) for n, m in model.named_modules() if isinstance(m, COUNTED)]
    apart = _Functions(model)
    with evaluating(model), plain_attention(), torch.inference_mode(), hooked(counted), apart:
        model(images)
    for name, (x, out) in apart.linear.items():  # attention calls functions with the weights of layers
        if name not in rows:
            record(name, model.get_submodule(name), (x,), out)
    found = list(rows.values())
    if apart.products:
        found.append(LayerCost("", "product", 1, 1, 1, 1, apart.products, -1))  # no parameters: 1 weight - 1
    return found


class _Functions(TorchDispatchMode):
    """Sees products outside of layers; in inference mode, where operations arrive whole.

    Attributes:
        linear: layer -> input and output of a linear function that ran with its weight.
        products: MACs of all other matrix products.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._owner = {id(m.weight): name for name, m in model.named_modules() if isinstance(m, nn.Linear)}
        self.linear: dict[str, tuple[Tensor, Tensor]] = {}
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # noqa: ANN401
        """Runs an operation and notes its products."""
        name = func._schema.name.removeprefix("aten::")
        if name in ("matmul", "einsum", "scaled_dot_product_attention", "_scaled_dot_product_attention_math"):
            with self:
                return func.decompose(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if name == "linear" and id(args[1]) in self._owner:
            self.linear[self._owner[id(args[1])]] = (args[0], out)
        elif name == "linear":
            self.products += args[0].numel() * len(args[1])
        elif name in ("mm", "bmm", "addmm", "baddbmm"):
            one, other = args[-2:]
            self.products += one.numel() * other.shape[-1]
        return out


def _row(name: str, module: nn.Module, x: Tensor, out: Tensor, before: int) -> LayerCost:
    """One layer's row; x and out are what went in and came out for a batch of one."""
    if isinstance(module, _NORMS):
        channels = _norm_channels(module)
        extra = sum(p.numel() for p in module.parameters(recurse=False)) // channels
        return LayerCost(name, "norm", channels, channels, 1, 0, before + x.numel() // channels, extra)
    outs = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    extra = sum(p.numel() for name, p in module.named_parameters(recurse=False) if name != "weight") // outs
    if isinstance(module, nn.Linear):
        ins = module.in_features
        return LayerCost(name, "linear", ins, outs, 1, 1, before + out.numel() // outs, extra)
    ins = module.in_channels
    positions = x.numel() // ins if isinstance(module, _TRANSPOSED) else out.numel() // outs
    return LayerCost(name, "conv", ins, outs, module.groups, math.prod(module.kernel_size), before + positions, extra)


def _norm_channels(module: nn.Module) -> int:
    if isinstance(module, nn.LayerNorm):
        return math.prod(module.normalized_shape)
    return module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
