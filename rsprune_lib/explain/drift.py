"""How far a changed network has drifted from the one it was made from, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models import evaluating, hooked, placement
from rsprune_lib.pruning.criteria.gates import gated_norms

__all__ = ["Drift", "drift"]


@dataclass(frozen=True)
class Drift:
    """How a block's output differs from that of the reference, over all images, channels and positions.

    Attributes:
        scale: root mean square of the output as a multiple of the reference's; 1 where nothing drifts.
        error: root mean square of the difference, as a share of the reference's root mean square.
        floor: the same after the best possible scale and shift of each channel: what no batch norm can repair.
    """

    scale: float
    error: float
    floor: float


@torch.no_grad()
def drift(
    reference: nn.Module, models: Mapping[str, nn.Module], batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, dict[str, Drift]]:
    """Compares what every gated block sends on with what it sends on in the reference, on the same images.

    Args:
        reference: network with live SE blocks.
        models: name -> the same network changed but not pruned: gates folded away or not, other weights.
        batches: images (labels are not used).

    Returns:
        Model name -> batch-norm name -> drift of ``gate * norm(conv(x))`` (behind the ReLU where one stands before the
        gate), in execution order.

    Raises:
        ModelError: the reference has no SE block, there is no image, or a network has other channels.
    """
    places = gated_norms(reference)
    if not places:
        raise ModelError("The reference has no live SE block to compare at; use the network as trained.")
    sums: dict[tuple[str, str], Tensor] = {}
    device, dtype = placement(reference)
    with evaluating(reference, *models.values()):
        for images, _ in batches:
            images = images.to(device, dtype)
            right = _outputs(reference, places, images)
            for name, model in models.items():
                for norm, got in _outputs(model, places, images).items():
                    sums[name, norm] = sums.get((name, norm), 0) + _sums(got, right[norm])
    if not sums and models:
        raise ModelError("There is no image to compare on; give batches of a part that has images.")
    return {name: {norm: _drift(sums[name, norm]) for norm in places} for name in models}


def _outputs(model: nn.Module, places: Mapping[str, str], images: Tensor) -> dict[str, Tensor]:
    """Output of every gate's place (an SE block, or the identity that stands there instead): (B, C, H, W) each."""
    found: dict[str, Tensor] = {}
    with hooked(
        (model.get_submodule(place), lambda _m, _x, out, norm=norm: found.update({norm: out}))
        for norm, place in places.items()
    ):
        model(images)
    return found


def _sums(got: Tensor, right: Tensor) -> Tensor:
    """(6, C) float64: count, and sums of a, b, aa, bb, (a - b)² over images and positions."""
    if got.shape != right.shape:
        raise ModelError(
            f"A block sends on {tuple(got.shape[1:])} values an image and {tuple(right.shape[1:])} in the reference; "
            "compare networks that were not pruned."
        )
    a, b = got.transpose(0, 1).flatten(1), right.transpose(0, 1).flatten(1)  # (C, N)
    count = torch.full_like(a[:, 0], a.shape[1])
    return torch.stack(
        [count, a.sum(1), b.sum(1), a.square().sum(1), b.square().sum(1), (a - b).square().sum(1)]
    ).double()


def _drift(sums: Tensor) -> Drift:
    count, a, b, aa, bb, apart = sums
    power, error = bb.sum().clamp_min(1e-30), apart.sum()
    var_a, var_b = (aa - a * a / count).clamp_min(0), (bb - b * b / count).clamp_min(0)
    shared = (aa + bb - apart) / 2 - a * b / count  # covariance, times count
    explained = torch.where(var_a > 1e-7 * aa, shared.square() / var_a.clamp_min(1e-30), 0)
    floor = (var_b - explained).clamp_min(0).sum().minimum(error)  # rounding must not lift it above the error
    return Drift(*((value / power).sqrt().item() for value in (aa.sum(), error, floor)))
