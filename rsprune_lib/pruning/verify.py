"""A network is cut only where cutting is right: groups are tried out before anyone relies on them.

A network whose code writes a number of channels down cannot run once they are fewer, and an operation that was
misunderstood computes something else. Both show when channels are cut from a copy and compared with the same channels
silenced. Groups that fail are left whole, and the reason is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.measure.cost import example_images
from rsprune_lib.models import channels_of, hooked
from rsprune_lib.pruning.cutting import kept_positions, silenced, small_copy
from rsprune_lib.pruning.layers import channels_left

__all__ = ["difference", "sound", "tensors_of"]

_ROOT = "the network"  # the place of a fault in no module but the whole
_LIMIT = 1e-3  # largest difference relative to the largest output: rounding stays below, a wrong cut is far above


def sound(model: nn.Module, groups: Sequence, image_size: int | tuple[int, int]) -> dict[str, str]:
    """Tries the groups of a network out.

    Args:
        model: the network; it is not touched.
        groups: its groups.
        image_size: height and width of the image that goes through, in pixels.

    Returns:
        Name of a group that must be left whole -> why.
    """
    with torch.inference_mode(False), torch.no_grad():
        trial = _Trial(model, image_size)
        failed: dict[str, str] = {}
        left = list(groups)
        while left and (fault := trial.run(left)):
            bad = _guilty(trial, left, fault)
            failed |= bad
            left = [group for group in left if group.name not in bad]
    return failed


class _Fault(NamedTuple):
    """What went wrong: how much had run before, in which module (none if it ran through), and a sentence."""

    ran: int
    where: str
    text: str


class _Trial:
    """A copy of a network with an image, to cut on; in double precision where single precision leaves a doubt."""

    def __init__(self, model: nn.Module, image_size: int | tuple[int, int]) -> None:
        self._model, self._size = model, image_size
        self._worker, self._image = _shaken(model, image_size, (torch.float32, torch.float64))
        self._exact = False
        self.modules = dict(model.named_modules())

    def run(self, groups: Sequence) -> _Fault | None:
        """Cuts a random part of each group and compares."""
        fault = _try(self._worker, groups, self._image)
        if fault is not None and not fault.where and not self._exact:
            self._worker, self._image = _shaken(self._model, self._size, (torch.float64, torch.float32))
            self._exact = True
            fault = _try(self._worker, groups, self._image)
        return fault


def _try(model: nn.Module, groups: Sequence, image: Tensor) -> _Fault | None:
    random = np.random.default_rng(0)
    keep = {}
    for group in groups:
        share = random.uniform(0.3, 0.9)
        keep[group.name] = np.sort(random.permutation(group.size)[: channels_left(group.size, 1 - share, 1)])
    cuts = kept_positions(groups, keep, model)
    small, ran = small_copy(model, cuts), []
    begun, done = (
        [(module, lambda *_, event=(side, name): ran.append(event)) for name, module in small.named_modules()]
        for side in ("in", "out")
    )
    try:
        with hooked(done, begun):
            got = small(image)
    except Exception as error:  # whatever the network raises
        stack: list[str] = []
        for event, name in ran:
            stack.append(name) if event == "in" else stack.pop()
        text = " ".join(str(error).split())
        return _Fault(len(ran), (stack[-1] if stack else "") or _ROOT, text if len(text) < 90 else text[:87] + "...")
    with silenced(model, cuts) as quiet:
        worst = difference(got, quiet(image))
    return None if worst < _LIMIT else _Fault(len(ran), "", f"cut and silenced differ by {worst:.1g}")


def _guilty(trial: _Trial, groups: list, fault: _Fault) -> dict[str, str]:
    """The groups that a fault is owed to, and the sentence about it."""

    def alone() -> list:
        return _halves(groups, lambda part: trial.run(part) is None) or groups

    if not fault.where:
        return {group.name: fault.text for group in alone()}
    reason = (
        f"{fault.where if fault.where == _ROOT else repr(fault.where)} writes a number of channels down ({fault.text})"
    )
    inside = "" if fault.where == _ROOT else f"{fault.where}."
    near = [g for g in groups if any(f"{m.layer}.".startswith(inside) for m in g.members)]
    for group in sorted(near, key=lambda g: len(g.members)):
        bad = _same_use(trial.modules, groups, group, fault.where)
        later = trial.run([g for g in groups if g.name not in bad])
        if later is None or later.ran > fault.ran:
            return dict.fromkeys(bad, reason)
    return {group.name: reason for group in near or alone()}


def _same_use(modules: dict[str, nn.Module], groups: list, group: Any, where: str) -> set[str]:  # noqa: ANN401
    """The groups that reach modules of one type in the same way as ``group`` reaches the module ``where``."""

    def use(each: Any, place: str) -> tuple[tuple[str, str], ...]:  # noqa: ANN401
        return tuple((m.layer[len(place) :], m.side) for m in each.members if f"{m.layer}.".startswith(f"{place}."))

    if type(modules.get(where)).__module__.startswith("torch.nn"):  # it only got what another module made
        return {group.name}
    places = [name for name, module in modules.items() if type(module) is type(modules.get(where))]
    wanted = use(group, where)
    return {group.name} | {g.name for g in groups if wanted and any(use(g, place) == wanted for place in places)}


def _halves(groups: list, passes: Callable[[list], bool]) -> list:
    """The groups that fail by themselves, found by halving."""
    if not groups or passes(groups):
        return []
    if len(groups) == 1:
        return groups
    half = len(groups) // 2
    return _halves(groups[:half], passes) + _halves(groups[half:], passes)


def difference(got: object, wanted: object) -> float:
    """Largest absolute difference of two outputs, relative to the largest value; infinite where they do not compare."""
    worst = 0.0
    pairs = list(zip(tensors_of(got), tensors_of(wanted), strict=False))
    for one, other in pairs:
        if one.shape != other.shape or not one.isfinite().all():
            return float("inf")
        worst = max(worst, float((one - other).detach().abs().max() / other.detach().abs().max().clamp_min(1e-30)))
    return worst if pairs else float("inf")


def tensors_of(value: object) -> Iterator[Tensor]:
    """Every tensor in a network's output: a tensor, or lists and dictionaries of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_of(each)


def _shaken(
    model: nn.Module, image_size: int | tuple[int, int], types: Sequence[torch.dtype]
) -> tuple[nn.Module, Tensor]:
    """A copy with random weights and an image of noise.

    So groups depend on the structure alone (a network that is being loaded has no weights yet), and no fault hides
    behind a constant, such as a gamma of zero.
    """
    image = example_images(model, image_size, in_channels=channels_of(model))
    for dtype in types:
        worker, generator = copy.deepcopy(model).eval().to(dtype), torch.Generator().manual_seed(0)
        for tensor in (*worker.parameters(), *_statistics(worker)):
            noise = torch.rand(tensor.shape, generator=generator)
            if tensor.dim() > 1:  # a matrix or kernel keeps the size of what goes through it
                noise = (noise - 0.5) * (12 / max(1, tensor[0].numel())) ** 0.5
            tensor.data = (noise if tensor.dim() > 1 else noise + 0.5).to(tensor)
        try:
            out = worker(image.to(dtype))
            if all(value.isfinite().all() for value in tensors_of(out)):
                return worker, image.to(dtype)
        except RuntimeError:
            continue
    raise ModelError(f"The network {type(model).__name__} gives no finite output for an image of {image_size} pixels.")


def _statistics(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            yield from (module.running_mean, module.running_var)
