"""Recovery at slider speed: Gram matrices of the dense network once, then any plan is a few small solves.

If the inputs are those of the *dense* network, X'X and X'T do not depend on the plan: a plan only picks rows and
columns of them. One pass over the images collects them; after that a repaired network is a Cholesky factorisation a
layer, and the statistics of its batch norms follow from the same matrices. The price: a layer is not told that the
layers before it were pruned, so `rsprune_lib.pruning.sequential` is better, and batch-norm re-estimation is
needed afterwards. Wide layers keep only the leading directions of their inputs, see `low_rank`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, repeat

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rsprune_lib.models import Unit, evaluating, units
from rsprune_lib.pruning.calibration import feed, wanted
from rsprune_lib.pruning.criteria.gates import without_gates
from rsprune_lib.pruning.groups import Group, find_groups
from rsprune_lib.pruning.layers import kind_of
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.recovery.least_squares import Gram, Moments, accumulate, install, movable, solve
from rsprune_lib.pruning.recovery.low_rank import LowRank, low_rank
from rsprune_lib.pruning.recovery.positions import Positions
from rsprune_lib.pruning.recovery.sequential import MEMORY, Batched, kept_channels, rebuildable, reestimate_bn
from rsprune_lib.pruning.recovery.walk import Walk, activation_bytes
from rsprune_lib.pruning.surgery import apply

__all__ = ["Live"]


class Live:
    """Everything a plan needs to become a repaired network at once.

    Args:
        dense: the trained network, with live SE blocks if it has them. Left untouched.
        groups: groups of the plain network, found anew if None.
        batches: training images. Of masks only ``positions`` sees something.
        rank: directions to keep of a layer with more than ten times as many inputs; None solves every layer exactly.
            128 answers for ResNet-18 in a tenth of the time, with a fifth of the memory and the same accuracy.
        ridge: relative to the mean variance of a layer's inputs.
        positions: as for `sequential`. With ``"balanced"`` the norms get their scale from balanced places too, so a
            re-estimation moves them: better on CamVid, worse where a class is not learned.
        memory: bytes of paused activations that may be held while collecting.
        progress: show a bar, one step a layer.

    Attributes:
        nbytes: memory the matrices take, in bytes: about 4 D (D + O) for an exact layer of D = k * k * C inputs and O
            outputs, 4 D (rank + O) for the others.

    Raises:
        DataError: an image is not in the training split, or there is none.
        Stopped: the batches are no longer wanted.

    Example:
        >>> live = Live(dense, groups, Batches(data, "train", limit=1024))
        >>> repaired = live.solve(choose(scores, groups, ratio=0.5))
    """

    @torch.no_grad()
    def __init__(
        self,
        dense: nn.Module,
        groups: Sequence[Group] | None,
        batches: Batched,
        *,
        rank: int | None = 128,
        ridge: float = 1e-4,
        positions: str = "uniform",
        memory: int = MEMORY,
        progress: bool = True,
    ) -> None:
        title = "live recovery: images"
        images, labels = zip(*feed(batches, dense, title, progress=progress), strict=True)
        places = Positions(labels, positions)
        self._dense, self._plain = dense, without_gates(dense).eval()
        self._groups = find_groups(self._plain, tuple(images[0].shape[2:])) if groups is None else groups
        for model in (dense, self._plain):
            units(model, tuple(images[0].shape[2:]))  # seen at this size, if it has to be seen
        norms = {unit.layer: unit.norm for unit in rebuildable(self._plain)}
        layers = [replace(unit, norm=norms[unit.layer]) for unit in units(dense) if unit.layer in norms]
        self._units, self._moments, self._ridge = layers, {}, ridge
        with evaluating(dense):
            paused = 2 * activation_bytes(dense, layers, images[0][:1]) * sum(map(len, images)) <= memory
            with Walk(dense, images, paused=paused) as walk:
                walk.watch_inputs(layers)
                walk.watch_outputs(layers, lambda _, value: value.clone())
                for unit in tqdm(layers, "live recovery", leave=False, disable=not progress):
                    moments = _collect(batches, walk, unit, dense.get_submodule(unit.layer), places)
                    wide = rank is not None and moments.mean_x.shape[1] > 10 * rank
                    self._moments[unit.layer] = low_rank(moments, rank, ridge) if wide else moments

    @property
    def nbytes(self) -> int:
        """Memory of the matrices, in bytes."""
        return sum(value.nbytes for moments in self._moments.values() for value in vars(moments).values())

    @torch.no_grad()
    def solve(self, plan: Plan, *, batches: Batched | None = None, progress: bool = False) -> nn.Module:
        """Returns the pruned and repaired network of a plan.

        Args:
            plan: what to keep.
            batches: training images for a batch-norm re-estimation afterwards, None for none.
            progress: show its bar.

        Raises:
            PlanError: the plan is for another network.
            RecoveryError: a layer has no finite solution.
        """
        small = self.refit(apply(self._plain, plan, self._groups), plan)
        return small if batches is None else reestimate_bn(small, batches, progress)

    @torch.no_grad()
    def refit(self, small: nn.Module, plan: Plan) -> nn.Module:
        """Repairs ``apply(fold(dense, gates), plan)`` in place, whatever its weights are by now, and returns it.

        Args:
            small: the pruned network.
            plan: what it was made with.

        Raises:
            PlanError: the plan is for another network.
            RecoveryError: a layer has no finite solution.
        """
        kept = kept_channels(self._dense, plan, self._groups)
        for unit in self._units:
            layer, norm = small.get_submodule(unit.layer), small.get_submodule(unit.norm) if unit.norm else None
            part = self._cut(unit, kept)
            fit = part.solve(layer) if isinstance(part, LowRank) else solve(part, layer, self._ridge)
            install(fit, layer, norm)
        return small

    def _cut(self, unit: Unit, kept: Callable[[str, str], Tensor]) -> Moments | LowRank:
        """The rows and columns of a layer's moments that belong to kept channels."""
        moments, layer = self._moments[unit.layer], self._dense.get_submodule(unit.layer)
        into, out = kept(unit.layer, "in"), kept(unit.layer, "out")
        if (count := len(moments.mean_x)) > 1:  # one system a group of the convolution
            each = layer.out_channels // count
            if kind_of(layer) == "depthwise":
                return type(moments)(*(value[(out[::each] // each)] for value in vars(moments).values()))
            into, out = into[into < layer.in_channels // count], out[out < each]
        area = layer.weight[0, 0].numel()  # patches are ordered (row, column, channel)
        offsets = torch.arange(area, device=into.device) * (moments.mean_x.shape[1] // area)
        return moments.cut((offsets[:, None] + into).flatten(), out)


def _collect(batches: Batched, walk: Walk, unit: Unit, layer: nn.Module, places: Positions) -> Moments:
    """Moments of one layer over all images: collected in float64, kept in float32."""
    gram: Gram | None = None
    pairs = zip(walk.at(unit.layer, "in"), walk.at(unit.layer, "out"), repeat(None))  # of one batch after the other
    first = next(pairs)
    worker, rows_of = places.fitted(layer, first[1])
    samples = chain([first], pairs)
    for x, target, _ in wanted(batches, rows_of(samples)):
        gram = accumulate(gram, worker, x, target)
    return gram.moments(movable(layer, unit.norm)).to(torch.float32)
