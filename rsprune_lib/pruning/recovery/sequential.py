"""Recovery without labels and without training: batch-norm re-estimation, and the closed form layer by layer.

After surgery, and after the SE gates were folded away, every layer gets inputs that it was not trained on. `sequential`
goes through the pruned network and refits each layer by least squares to what the *dense network with its live gates*
sends on at that place, given the inputs that the already repaired layers before it really produce. For each layer in
execution order, X is what the repaired network feeds it and T what the dense one sends on there, ``gate * BN(conv(x))``
(a positive gate commutes with the ReLU): the layer becomes the ridge regression of T on X, its batch norm is rebuilt.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rsprune_lib.errors import DataError, ModelError
from rsprune_lib.measure import lean
from rsprune_lib.models import Unit, evaluating, placement, units
from rsprune_lib.pruning.calibration import feed, wanted
from rsprune_lib.pruning.criteria.gates import without_gates
from rsprune_lib.pruning.cutting import kept_positions
from rsprune_lib.pruning.flow import Flow, trace_flow
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.layers import axis_of, channels, kind_of, mixes
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.recovery.least_squares import Gram, accumulate, factorise, install, movable, solve
from rsprune_lib.pruning.recovery.positions import Positions, unrolled
from rsprune_lib.pruning.recovery.relu_aware import Sample, rectified
from rsprune_lib.pruning.recovery.walk import Walk, activation_bytes

__all__ = ["kept_channels", "rebuildable", "reestimate_bn", "sequential", "settle_norms"]

Batched = Iterable[tuple[Tensor, Tensor]]
MEMORY = 2 * 2**30  # bytes of paused activations
RIDGE, STEPS = 1e-4, 3  # see `sequential`


@torch.no_grad()
def reestimate_bn(
    model: nn.Module,
    batches: Batched,
    progress: bool = True,
    *,
    quick: bool = False,
) -> nn.Module:
    """Replaces the running statistics of every batch norm by those of the images (cumulative average, no labels).

    The images are mixed first, always in the same way: data sets are often sorted by class, and the variance within a
    batch of one class is far smaller than that of the data (it cost ResNet-18 five to eight points on EuroSAT).

    Args:
        model: the network; its statistics change in place (and only if all went well), nothing else does.
        batches: training images; at least two values a channel and batch.
        progress: show a bar.
        quick: let a `rsprune_lib.measure.lean` copy see the images; the statistics differ by its rounding.

    Returns:
        The same network.

    Raises:
        DataError: an image is not in the training split, or there is none.
        Stopped: the batches are no longer wanted.
    """
    worker = lean(model) if quick else copy.deepcopy(model).eval()
    try:
        settle_norms(worker, batches, progress)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError("A batch norm sees one value of a channel only; give at least two images.") from None
    for name, norm in _norms(worker).items():
        model.get_submodule(name).load_state_dict(norm.state_dict())
    return model


@torch.no_grad()
def settle_norms(worker: nn.Module, batches: Batched, progress: bool = True) -> nn.Module:
    """As `reestimate_bn`, in place; the network is left half-updated on failure.

    Args:
        worker: the network, in evaluation mode; as `rsprune_lib.measure.lean` makes it, for instance.
        batches: training images.
        progress: show a bar.

    Returns:
        The same network.
    """
    norms = _norms(worker).values()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    dtype = placement(worker)[1]
    seen = [x for x, _ in feed(batches, worker, "batch norm", progress=progress)]
    for images in wanted(batches, _mixed(seen)):
        worker(images.to(dtype))
    for norm in norms:
        norm.eval()
    return worker


def _norms(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if _keeps_statistics(module)}


def _keeps_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats


def _mixed(batches: Sequence[Tensor]) -> list[Tensor]:
    """The same images in an order that depends only on their number, in batches of the first one's size."""
    images = torch.cat(list(batches))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(images.device)
    count = max(1, round(len(images) / len(batches[0])))  # even batches: a short last one would count as much
    return [images[part] for part in order.tensor_split(count)]


@torch.no_grad()
def sequential(
    dense: nn.Module,
    small: nn.Module,
    plan: Plan | None,
    batches: Batched,
    *,
    groups: Sequence[Group] | None = None,
    ridge: float = RIDGE,
    rectify: int = STEPS,
    positions: str = "balanced",
    memory: float = MEMORY,
    progress: bool = True,
) -> nn.Module:
    """Repairs a pruned network layer by layer, in closed form.

    Args:
        dense: the trained network, with live SE blocks if it has them: the target. Left untouched.
        small: ``apply(fold(dense, gates), plan)``, or any network with these layers and fewer channels. Left untouched.
        plan: the plan ``small`` was made with; None if nothing was pruned (repairs the folding alone).
        batches: training images; a few hundred are enough. Of masks only ``positions`` sees something.
        groups: groups of the plain network, found anew if None.
        ridge: relative to the mean variance of a layer's inputs.
        rectify: steps that let a layer in front of a ReLU be wrong where the ReLU cuts, see `rectified`.
        positions: with masks, where large maps are fitted: ``"uniform"``, ``"balanced"``, ``"all"``; see `Positions`.
        memory: bytes of paused activations that may be held; above, each layer runs the networks anew.
        progress: show a bar, one step a layer.

    Returns:
        A new network of the structure of ``small``, in its mode.

    Raises:
        RecoveryError: a layer has no finite solution.
        PlanError: the plan does not belong to ``small``.
        DataError: an image is not in the training split, or there is none.
    """
    images, labels = zip(*feed(batches, dense, "closed form: images", progress=progress), strict=True)
    places = Positions(labels, positions)
    if groups is None:
        groups = find_groups(without_gates(dense), tuple(images[0].shape[2:])) if plan is not None else ()
    repaired, kept = copy.deepcopy(small), kept_channels(dense, plan, groups)
    chain = _targets(dense, repaired, tuple(images[0].shape[2:]))

    def pick(layer: str, value: Tensor) -> Tensor:
        return value.index_select(axis_of(dense.get_submodule(layer)), kept(layer, "out"))  # a copy

    with evaluating(dense, repaired):
        flows = trace_flow(repaired, chain, images[0][:1])
        partners = [flow.partner for flow in flows.values() if flow.partner]
        paused = 6 * activation_bytes(dense, chain, images[0][:1]) * sum(map(len, images)) <= memory
        with Walk(repaired, images, paused=paused) as inputs, Walk(dense, images, paused=paused) as targets:
            inputs.note([replace(unit, gate=None) for unit in chain], partners, lambda _, value: value.clone())
            inputs.watch_inputs(chain)
            targets.note(chain, partners, pick)
            targets.watch_outputs(chain, pick)
            for unit in tqdm(chain, "closed form", leave=False, disable=not progress):
                flow = flows[unit.layer]
                samples = partial(_samples, batches, inputs, targets, unit.layer, flow, pick)
                samples = partial(list, list(samples())) if paused else samples
                _refit(repaired, unit, samples, places, ridge, rectify if flow.rectified else 0)
    return repaired


def _samples(
    batches: Batched,
    inputs: Walk,
    targets: Walk,
    layer: str,
    flow: Flow,
    pick: Callable[[str, Tensor], Tensor],
) -> Iterator[Sample]:
    """Yields the batches of one layer: its input, its target, and the shortcut that the repaired network adds.

    Where a shortcut is added, the target is what makes the *sum* right: it takes back the error of the shortcut.
    """
    for x, target in wanted(batches, zip(inputs.at(layer, "in"), targets.at(layer, "out"), strict=True)):
        if flow.partner is None:
            yield x, target, None
            continue
        have, goal = inputs.recall(flow.partner), targets.recall(flow.partner)
        if flow.partner[1] == "in":
            goal = pick(layer, goal)
        yield x, target + (goal - have), have


def _refit(
    model: nn.Module,
    unit: Unit,
    samples: Callable[[], Iterable[Sample]],
    places: Positions,
    ridge: float,
    steps: int,
) -> None:
    """Solves one layer of ``model`` in place."""
    layer, norm = model.get_submodule(unit.layer), model.get_submodule(unit.norm) if unit.norm else None
    worker, rows_of = places.fitted(layer, next(iter(samples()))[1])

    def rows() -> Iterable[Sample]:
        return rows_of(samples())

    gram: Gram | None = None
    for x, target, _ in rows():
        gram = accumulate(gram, worker, x, target)
    free = movable(layer, unit.norm)
    moments = gram.moments(free)
    factor = factorise(moments, ridge)
    steps = steps if free and not isinstance(layer, nn.ConvTranspose2d) else 0  # what a ReLU cuts has its own mean
    fit = rectified(solve(moments, worker, ridge, factor), moments, factor, worker, rows, steps)
    if worker is not layer:
        fit = unrolled(places.evened(fit, worker, rows()) if norm else fit, layer)
    install(fit, layer, norm)


def kept_channels(dense: nn.Module, plan: Plan | None, groups: Sequence[Group]) -> Callable[[str, str], Tensor]:
    """Returns the function ``(layer, "in" or "out") -> kept channels`` of a plan: ascending, int64, on the device.

    Args:
        dense: the unpruned network.
        plan: what to keep; None for everything.
        groups: its groups.

    Raises:
        PlanError: the plan is for another network.
    """
    modules = dict(dense.named_modules())
    if plan is not None:
        plan.check(groups)
    cuts = {} if plan is None else kept_positions(groups, plan.keep, dense)
    stays = {(layer, side): kept for (layer, side, _), kept in cuts.items()}

    def kept(layer: str, side: str) -> Tensor:
        module = modules[layer]
        side = "out" if kind_of(module) == "depthwise" else side  # what comes in goes out
        positions = stays.get((layer, side), range(channels(module, side)))
        return torch.as_tensor(positions, dtype=torch.int64, device=module.weight.device)

    return kept


def rebuildable(model: nn.Module) -> list[Unit]:
    """Returns the units of a network that can be refitted.

    One whose norm is no batch norm (but a layer norm) is refitted in front of it; a layer that computes its weights, or
    calls a function of its own, stays as it is.
    """
    found = []
    for unit in units(model):
        if kind_of(layer := model.get_submodule(unit.layer)) is None or mixes(layer) or _odd(layer):
            continue
        norm = model.get_submodule(unit.norm) if unit.norm else None
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.weight is None or norm.running_mean is None:
            unit = replace(unit, norm=None)
        found.append(unit)
    return found


def _odd(layer: nn.Module) -> bool:
    """A layer of one or three dimensions; for these there are no patches."""
    return isinstance(layer, nn.modules.conv._ConvNd) and not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)


def _targets(dense: nn.Module, small: nn.Module, image_size: tuple[int, int]) -> list[Unit]:
    """Units of the dense network, each without its gate where the small network has that gate too."""
    for model in (dense, small):
        units(model, image_size)  # seen at this size, if it has to be seen
    own = {unit.layer: unit for unit in rebuildable(small)}
    wanted = [unit.layer for unit in rebuildable(dense)]
    found = [replace(unit, norm=own[unit.layer].norm) for unit in units(dense) if unit.layer in own]
    if [unit.layer for unit in found] != wanted or len(found) != len(own):
        raise ModelError("The pruned network has other layers than the dense one; prune a copy of the same network.")
    return [replace(unit, gate=None) if own[unit.layer].gate else unit for unit in found]
