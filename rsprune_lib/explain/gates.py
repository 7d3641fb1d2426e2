"""What SE gates say about images: every gate of every image, and the network with some gates held still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rsprune_lib.errors import ModelError, unknown
from rsprune_lib.models import evaluating, hooked, placement
from rsprune_lib.pruning.criteria.gates import Gates, gated_norms

__all__ = ["GateSpread", "GateValues", "frozen", "gate_values"]


@dataclass(frozen=True)
class GateSpread:
    """How much the gates of one layer differ, between channels and between images.

    Attributes:
        mean: mean gate over images and channels.
        channels: deviation of the channels' mean gates from one another.
        images: deviation of a channel's gate from image to image (root mean square over the channels).
        classes: share in [0, 1] of the variance over images that lies between class means; the rest is within classes.
            0 where the gates do not vary at all.
    """

    mean: float
    channels: float
    images: float
    classes: float


@dataclass(frozen=True)
class GateValues:
    """Every gate of every image.

    Attributes:
        values: batch-norm name -> (N, C) float32 in (0, 1), in execution order.
        labels: (N,) int64, classes of the images.
    """

    values: dict[str, Tensor]
    labels: Tensor

    def by_class(self, norm: str, classes: int) -> Tensor:
        """Mean gate of each class: (K, C) float64, NaN for a class without an image."""
        gates = self.values[norm].double()
        one_hot = nn.functional.one_hot(self.labels, classes).double()  # (N, K)
        return one_hot.T @ gates / one_hot.sum(0)[:, None]

    def spread(self, norm: str) -> GateSpread:
        """How much the gates of one layer differ."""
        gates = self.values[norm].double()
        mean = gates.mean(0)
        total = (gates - mean).square().mean()
        own = self.by_class(norm, int(self.labels.max()) + 1)[self.labels]  # (N, C) mean of the image's class
        between = (own - mean).square().mean()
        share = (between / total).item() if total > 0 else 0.0
        return GateSpread(mean.mean().item(), mean.std(correction=0).item(), total.sqrt().item(), share)


@torch.no_grad()
def gate_values(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], progress: bool = True) -> GateValues:
    """Collects every gate of every image: to look at them, not to decide by them, so any part of the data will do.

    Args:
        model: a network with live SE blocks.
        batches: images and labels.
        progress: show a bar.

    Raises:
        ModelError: the network has no SE block, or there is no image.

    Example:
        >>> gate_values(model, Batches(data, "val", limit=500)).values["bn1"].shape
        torch.Size([500, 64])
    """
    names = _names(model)
    found: dict[str, list[Tensor]] = {norm: [] for norm in names}
    labels = []
    hooks = [
        (model.get_submodule(gate).sigmoid, lambda _m, _x, out, rows=found[norm]: rows.append(out.float().cpu()))
        for norm, gate in names.items()
    ]
    device, dtype = placement(model)
    with evaluating(model), hooked(hooks):
        for images, target in tqdm(batches, "gates", leave=False, disable=not progress):
            model(images.to(device, dtype))
            labels.append(target.cpu())
    if not labels:
        raise ModelError("There is no image to look at; give batches of a part that has images.")
    return GateValues({norm: torch.cat(parts) for norm, parts in found.items()}, torch.cat(labels))


@contextmanager
def frozen(model: nn.Module, gates: Gates, only: Iterable[str] | None = None) -> Iterator[nn.Module]:
    """Holds SE gates at their means inside the block, whatever the image; afterwards they are live again.

    With all gates frozen the network computes what ``fold(model, gates)`` computes.

    Args:
        model: a network with live SE blocks.
        gates: its gate statistics.
        only: batch-norm names of the gates to freeze; None freezes all.

    Yields:
        The same network.

    Raises:
        RspruneError: the network has no gate behind one of the names.

    Example:
        >>> with frozen(model, gates, only=["layer1.0.bn1"]):
        ...     evaluate(model, batches).accuracy
    """
    names = _names(model)
    chosen = list(names if only is None else only)
    for norm in chosen:
        if norm not in names or norm not in gates.mean:
            raise unknown("gated batch norm", norm, [n for n in names if n in gates.mean])
    frozen_at = {model.get_submodule(names[norm]).sigmoid: gates.mean[norm] for norm in chosen}
    with hooked((gate, lambda _m, _x, out, mean=mean: mean.to(out).expand_as(out)) for gate, mean in frozen_at.items()):
        yield model


def _names(model: nn.Module) -> dict[str, str]:
    names = gated_norms(model)
    if not names:
        raise ModelError("The network has no live SE block, so no gate to look at; use resnet18_se, say.")
    return names
