"""SE attention as a statistic: what every gate is on average, and the network with that average folded in (CAP).

Method: RemoteTrimmer, https://arxiv.org/abs/2412.12603. What differs from its code: only training images are seen, in
eval mode; sums are float64 and the divisor is the exact number of images, the short last batch included; a gate finds
its batch norm by name, not by its place in a list.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.files import atomic
from rsprune_lib.models import SqueezeExcite, evaluating, hooked, plain_name, units
from rsprune_lib.pruning.calibration import feed

__all__ = ["Gates", "fold", "gate_statistics", "gated_norms", "without_gates"]


@dataclass(frozen=True)
class Gates:
    """Mean and variance of every SE gate over ``count`` images.

    Attributes:
        mean: batch-norm name -> (C,) float64, the average gate of each channel, in (0, 1).
        var: batch-norm name -> (C,) float64, its population variance over the images.
        count: number of images.
    """

    mean: dict[str, Tensor]
    var: dict[str, Tensor]
    count: int

    def save(self, path: str | Path) -> Path:
        """Writes one safetensors file, atomically. Returns its path."""
        tensors = {f"mean/{k}": v.contiguous() for k, v in self.mean.items()}
        tensors |= {f"var/{k}": v.contiguous() for k, v in self.var.items()}
        with atomic(path) as temporary:
            temporary.write_bytes(safetensors.torch.save(tensors, metadata={"count": str(self.count)}))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Gates:
        """Reads what `save` wrote.

        Raises:
            ModelError: the file is missing, broken, or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                count = int((file.metadata() or {})["count"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ModelError(f"Cannot read SE gate statistics from {path} ({error}); collect them again.") from None
        pick = {kind: {k.removeprefix(kind): v for k, v in tensors.items() if k.startswith(kind)} for kind in _KINDS}
        mean, var = pick["mean/"], pick["var/"]
        shapes = [{name: tensor.shape for name, tensor in kind.items()} for kind in (mean, var)]
        good = all(t.dim() == 1 and t.is_floating_point() and ((t >= 0) & (t <= 1)).all() for t in tensors.values())
        if shapes[0] != shapes[1] or not good or count < 1:
            raise ModelError(f"{path} holds no mean and variance in [0, 1] for each SE gate; collect them again.")
        return cls(mean, var, count)


_KINDS = ("mean/", "var/")


def gated_norms(model: nn.Module) -> dict[str, str]:
    """Returns batch-norm name -> name of the live SE block that scales the same channels, in execution order."""
    if not any(isinstance(module, SqueezeExcite) for module in model.modules()):
        return {}
    return {unit.norm: unit.gate for unit in units(model) if unit.gate and unit.norm}


@torch.no_grad()
def gate_statistics(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], progress: bool = True) -> Gates:
    """Averages every SE gate over the images, exactly: s[l, c] = (1/N) sum_n g[l, c](x_n), and its variance.

    Args:
        model: a network with live SE blocks.
        batches: training images, without augmentation (then the result is deterministic).
        progress: show a bar.

    Returns:
        The statistics, keyed by the batch norm that each gate belongs to.

    Raises:
        ModelError: the network has no SE block.
        DataError: an image is not in the training split.
    """
    names = gated_norms(model)
    if not names:
        raise ModelError("The network has no live SE block, so no gate to average; use resnet18_se, say.")
    first, second, count = {}, {}, 0

    def collect(norm: str, gate: Tensor) -> None:
        gate = gate.cpu().double()  # (B, C)
        first[norm] = first.get(norm, 0) + gate.sum(0)
        second[norm] = second.get(norm, 0) + gate.square().sum(0)

    hooks = [
        (model.get_submodule(gate).sigmoid, lambda _m, _x, out, norm=norm: collect(norm, out))
        for norm, gate in names.items()
    ]
    with evaluating(model), hooked(hooks):
        for images, _ in feed(batches, model, "SE gates", progress=progress):
            model(images)
            count += len(images)
    mean = {norm: total / count for norm, total in first.items()}
    var = {norm: (second[norm] / count - mean[norm].square()).clamp_min(0) for norm in mean}
    return Gates(mean, var, count)


def without_gates(model: nn.Module) -> nn.Module:
    """Returns a copy of the network whose SE blocks are gone and whose configuration is that of the plain network.

    Nothing makes up for the missing gates; see `fold`.
    """
    plain = copy.deepcopy(model)
    for unit in units(model) if gated_norms(model) else ():
        if unit.gate:
            plain.set_submodule(unit.gate, nn.Identity())
    if getattr(model, "config", None):
        plain.config = {**model.config, "name": plain_name(model.config["name"])}
    return plain


@torch.no_grad()
def fold(model: nn.Module, gates: Gates) -> nn.Module:
    """Returns the plain network in which every gate is frozen at its mean, folded into the batch norm before it.

    gamma and beta are both multiplied: a mean gate s is positive, so s ReLU(gamma x + beta) = ReLU(s gamma x + s beta).
    The result therefore equals the SE network with frozen gates *exactly*; it does not equal the SE network, whose
    gates move with the image.

    Args:
        model: a network with live SE blocks; left untouched.
        gates: its `gate_statistics`.

    Returns:
        The plain network (``config`` says ``"resnet18"`` where it said ``"resnet18_se"``), in the same mode and on the
        same device.

    Raises:
        ModelError: the statistics belong to another network.
    """
    names = gated_norms(model)
    for norm in names.keys() | gates.mean.keys():
        channels = model.get_submodule(norm).num_features if norm in names else 0
        got = len(gates.mean.get(norm, ()))
        if got != channels:
            raise ModelError(
                f"The gate statistics have {got} gates for {norm!r}, but the network has {channels} there; "
                "collect them again from this network."
            )
    plain = without_gates(model)
    for norm, mean in gates.mean.items():
        module, scale = plain.get_submodule(norm), mean
        for parameter in (module.weight, module.bias):
            parameter.copy_(parameter.cpu().double() * scale)
    return plain
