"""Soft pruning: the weakest channels are shrunk after every epoch of training, and zero in the last ones.

A channel that was chosen wrongly can grow back as long as it is only shrunk, and the others take over its work while it
fades. Papers: MCAG (the schedule: decay .7, then hard zeros), https://arxiv.org/abs/1808.06866 (SFP: decay 0, chosen
anew after every epoch), https://arxiv.org/abs/1811.00250 (FPGM). What differs from their code:

- All layers of a group fade together: filters, biases, gamma and beta of every branch.
- In the hard epochs the columns that read a removed channel are zero too, and so is its state in the optimiser. The
  network then *is* the smaller one, bit for bit up to rounding, whatever activation it has.
- Only hard epochs can be the best one: a network whose filters are merely small is still the dense one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.data import Batches, Dataset
from rsprune_lib.errors import TrainingError
from rsprune_lib.measure import layer_costs
from rsprune_lib.pruning import Group, Plan, Request, apply, find_groups
from rsprune_lib.pruning.criteria.registry import usual_criterion
from rsprune_lib.pruning.cutting import gone_slices, kept_positions
from rsprune_lib.pruning.layers import kind_of, mixes
from rsprune_lib.pruning.prune import decide
from rsprune_lib.training.callback import Callback

__all__ = ["SoftPruning"]


class SoftPruning(Callback):
    """Shrinks channels while `fit` trains; `small` makes the small network of the result.

    Args:
        data: scored on its training images.
        groups: `find_groups` of the network; found if None.
        decay: factor on the chosen channels' weights after every epoch before the hard ones, in [0, 1).
        hard_epochs: last epochs, after which the chosen channels are zero for good; None: a sixth of them. What is
            chosen when they begin stays chosen.
        refresh: epochs between two scorings; 0: once, after the first epoch.
        norms: let gamma and beta fade too before the hard epochs; without, a filter of zeros grows back (SFP).
        request: how to score and choose; or give its fields by name.
        **asked: fields of `rsprune_lib.pruning.Request`, in place of it or of some of its fields.

    Attributes:
        plan: what stays by the last scoring; None before the first.
        hard: whether the channels that go are zero.

    Raises:
        TrainingError: a number is out of its range; in `fit`, a layer of the network computes with all of its channels
            at once, so that a zero is not the same to it as a channel that is gone.

    Example:
        >>> soft = SoftPruning(data, criterion="class_taylor", ratio=0.5, decay=0.7)
        >>> found = fit(model, data, recipe("strong", epochs=60), callbacks=[soft])
        >>> small = soft.small(found.model)
    """

    def __init__(
        self,
        data: Dataset,
        groups: Sequence[Group] | None = None,
        *,
        decay: float = 0.7,
        hard_epochs: int | None = None,
        refresh: int = 0,
        norms: bool = True,
        request: Request | None = None,
        **asked: Any,  # noqa: ANN401 - fields of Request
    ) -> None:
        if not 0 <= decay < 1 or refresh < 0 or (hard_epochs is not None and hard_epochs < 1):
            raise TrainingError(
                f"Got decay={decay}, hard_epochs={hard_epochs}, refresh={refresh}; expected a factor from 0 to below "
                "1, at least 1 hard epoch, and 0 or more epochs between two scorings."
            )
        self._request = Request(**asked) if request is None else replace(request, **asked)
        self._data, self._groups = data, groups
        self._decay, self._hard_epochs, self._refresh, self._norms = decay, hard_epochs, refresh, norms
        self.plan: Plan | None = None
        self.hard = False

    @classmethod
    def sfp(cls, data: Dataset, groups: Sequence[Group] | None = None, **asked: Any) -> SoftPruning:  # noqa: ANN401
        """Soft filter pruning: after every epoch, the filters that have the smallest L2 norm by then become zero."""
        how = {"criterion": "l2", "options": {"consumers": False}, "decay": 0.0, "refresh": 1, "norms": False}
        return cls(data, groups, **how | asked)

    @classmethod
    def fpgm(cls, data: Dataset, groups: Sequence[Group] | None = None, **asked: Any) -> SoftPruning:  # noqa: ANN401
        """The same with the filters nearest to all others, the geometric median."""
        return cls(data, groups, **{"criterion": "fpgm", "decay": 0.0, "refresh": 1, "norms": False} | asked)

    def identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one."""
        how = {"decay": self._decay, "hard_epochs": self._hard_epochs, "refresh": self._refresh, "norms": self._norms}
        return how | {"request": str(self._request)}

    def on_start(self, model: nn.Module) -> None:
        """Finds the groups and forgets an earlier run."""
        self.plan, self.hard = None, False
        if self._groups is None:
            self._groups = find_groups(model, self._data.image_size)
        modules = dict(model.named_modules())
        for layer in {member.layer for group in self._groups for member in group.members} & modules.keys():
            if mixes(modules[layer]):
                raise TrainingError(
                    f"Layer {layer!r} ({kind_of(modules[layer])}) computes with all its channels at once, so a channel "
                    "of zeros is not one that is gone; prune first and fine-tune then."
                )
        if self._request.criterion is None:
            self._request = replace(self._request, criterion=usual_criterion(model))
        self._costs = None if self._request.macs is None else layer_costs(model, self._data.image_size)

    def on_trained(
        self, epoch: int, epochs: int, networks: Sequence[nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        """Chooses, if it is time, and shrinks or removes what goes, in every copy of the network."""
        if self.plan is None or (self._refresh and (epoch - 1) % self._refresh == 0 and not self.hard):
            self.plan = self._choose(networks[-1])
        self.hard = epoch > epochs - (self._hard_epochs or max(1, epochs // 6))
        for network in networks:
            self._remove(network, optimizer) if self.hard else self._shrink(network)

    def may_keep(self) -> bool:
        """Whether what is validated is the small network."""
        return self.hard

    def on_validation(self, row: dict[str, Any], records: Tensor, labels: Tensor, model: nn.Module) -> None:
        """Adds the factor on what goes to the history."""
        row["decay"] = 0.0 if self.hard else self._decay

    def state(self) -> dict[str, Any]:
        """The plan, and whether it is final."""
        return {"plan": self.plan.to_json(), "hard": self.hard}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts them back."""
        self.plan, self.hard = Plan.from_json(state["plan"]), state["hard"]

    def small(self, model: nn.Module) -> nn.Module:
        """The small network of what `fit` returned; it answers as that one does, up to rounding.

        Raises:
            TrainingError: training was stopped before its first hard epoch.
        """
        if not self.hard:
            raise TrainingError("Training ended before the first hard epoch, so no channel is gone; train all epochs.")
        return apply(model, self.plan, self._groups)

    def _choose(self, model: nn.Module) -> Plan:
        request, device = self._request, next(model.parameters()).device
        batches = Batches(self._data, "train", request.batch_size, limit=request.images, device=device)
        given = {"data": batches, "gates": None, "seed": request.seed, "progress": False}
        return decide(model, self._groups, request, self._costs, given)[0]

    @torch.no_grad()
    def _shrink(self, network: nn.Module) -> None:
        """Multiplies what makes the chosen channels by the decay."""
        cuts, modules = kept_positions(self._groups, self.plan.keep, network), dict(network.named_modules())
        for (layer, side, axis), kept in cuts.items():
            norm = layer in modules and kind_of(modules[layer]) == "norm"
            if side == "out" and (self._norms or not norm):
                for tensor, dim, gone in gone_slices(network, {(layer, side, axis): kept}):
                    tensor.index_copy_(dim, gone, tensor.index_select(dim, gone) * self._decay)

    @torch.no_grad()
    def _remove(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Sets to zero what makes or reads the chosen channels, and what the optimiser remembers of it."""
        for tensor, dim, gone in gone_slices(network, kept_positions(self._groups, self.plan.keep, network)):
            memory = optimizer.state.get(tensor, {}).values()
            for each in (tensor, *(m for m in memory if isinstance(m, Tensor) and m.shape == tensor.shape)):
                each.index_fill_(dim, gone, 0)
