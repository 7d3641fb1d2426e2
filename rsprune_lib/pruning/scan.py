"""Sensitivity scan: what is lost when one group alone is pruned, for every group and several ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rsprune_lib.errors import DataError, PlanError
from rsprune_lib.models import Unit, evaluating, hooked, placement, units
from rsprune_lib.pruning.calibration import wanted
from rsprune_lib.pruning.choose import choose
from rsprune_lib.pruning.groups import Group
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.scores import Scores
from rsprune_lib.pruning.surgery import apply
from rsprune_lib.tasks import task_of

__all__ = ["Scan", "sensitivity_scan"]


@dataclass(frozen=True)
class Scan:
    """The leading number of a network of which one group is pruned, and nothing else.

    Attributes:
        criterion: criterion that chose the channels.
        ratios: shares of the group's channels that were removed, increasing.
        curves: group name -> the number in [0, 1] at each ratio, in execution order of the groups.
        dense: that of the whole network on the same images.
        n: number of images.
        metric: which number it is, see `rsprune_lib.tasks`.
        options: of the criterion, as far as they were given.
    """

    criterion: str
    ratios: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]
    dense: float
    n: int
    metric: str = "accuracy"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fragile(self) -> list[str]:
        """Group names, the one that loses most (mean over the ratios) first."""
        return sorted(self.curves, key=lambda name: sum(self.curves[name]))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; without options if none were given."""
        rows = {"ratios": list(self.ratios), "curves": {k: list(v) for k, v in self.curves.items()}}
        return {key: value for key, value in (asdict(self) | rows).items() if key != "options" or value}

    @classmethod
    def from_dict(cls, values: object) -> Scan:
        """Reads what `to_dict` wrote.

        Raises:
            PlanError: it is no scan, or a number in it is impossible.
        """
        if isinstance(values, Mapping) and "accuracy" in values:  # as files from before tasks have it
            values = {"metric": "accuracy", "curves": values["accuracy"], **values}
            del values["accuracy"]
        keys = {"criterion", "ratios", "curves", "dense", "n", "metric"}
        options = values.get("options", {}) if isinstance(values, Mapping) else {}
        whole = isinstance(values, Mapping) and values.keys() - {"options"} == keys
        if not whole or not isinstance(values["curves"], Mapping) or not isinstance(options, Mapping):
            raise PlanError(f"Expected a sensitivity scan with {', '.join(sorted(keys))}, got {str(values)[:80]!r}.")
        ratios, curves, n = values["ratios"], values["curves"], values["n"]
        lists = all(isinstance(row, list | tuple) and len(row) == len(ratios) for row in (ratios, *curves.values()))
        shares = [*ratios, values["dense"], *(share for row in curves.values() for share in row)] if lists else [None]
        if not all(isinstance(s, int | float) and not isinstance(s, bool) and 0 <= s <= 1 for s in shares):
            raise PlanError("The sensitivity scan holds something that is no share in [0, 1]; scan again.")
        if not ratios or list(ratios) != sorted(set(ratios)) or ratios[-1] >= 1 or type(n) is not int or n < 1:
            raise PlanError(
                "The sensitivity scan's ratios must increase within [0, 1), on one image or more; scan again."
            )
        rows = {str(name): tuple(float(share) for share in row) for name, row in curves.items()}
        criterion, metric = str(values["criterion"]), str(values["metric"])
        return cls(criterion, tuple(map(float, ratios)), rows, float(values["dense"]), n, metric, dict(options))


@torch.no_grad()
def sensitivity_scan(
    model: nn.Module,
    groups: Sequence[Group],
    scores: Scores,
    batches: Iterable[tuple[Tensor, Tensor]],
    ratios: Sequence[float] = (0.0, 0.3, 0.5, 0.7, 0.9),
    *,
    progress: bool = True,
) -> Scan:
    """Prunes each group alone at each ratio, without recovery, and measures the task's leading number.

    Layers in front of a group's root compute what they computed before, so their outputs are kept from one pass of the
    whole network and not computed again: less than half of the work is left for a ResNet-18.

    Args:
        model: the network; left as it is.
        groups: `find_groups` of this very network.
        scores: one number a channel; the lowest go.
        batches: validation images and labels.
        ratios: shares of the channels to remove, in [0, 1); 0 costs nothing.
        progress: show a bar, one step a network and batch.

    Raises:
        PlanError: there is no ratio, or one is out of range.
        DataError: there was no image.
        Stopped: the batches, which are asked before each network, too, are no longer wanted.

    Example:
        >>> scan = sensitivity_scan(model, find_groups(model), score(model, groups, "l2"), Batches(data, "val"))
        >>> scan.fragile[0]
        'conv1'
    """
    if not ratios:
        raise PlanError("A sensitivity scan needs at least one ratio; give some, such as (0.5, 0.9).")
    ratios = tuple(sorted(float(ratio) for ratio in ratios))
    plans = {(g.name, r): choose(scores, groups, per_group={g.name: r}) for g in groups for r in ratios}
    task, (device, dtype) = task_of(model, batches), placement(model)
    seen, dense, records = [], [], {key: [] for key in plans}
    with evaluating(model), tqdm(total=0, desc="sensitivity", leave=False, disable=not progress) as bar:
        for images, labels in batches:
            labels, pruned = labels.to(device), _Pruned(model, groups, images.to(device, dtype))
            seen.append(task.label(labels).cpu())
            dense.append(task.record(pruned.whole, labels).cpu())
            bar.total = bar.n + len(plans)
            for key, plan in wanted(batches, plans.items()):
                cut = plan.widths[key[0]] < plan.sizes[key[0]]
                records[key].append(task.record(pruned.answers(key[0], plan), labels).cpu() if cut else dense[-1])
                bar.update()
    if not seen:
        raise DataError("A sensitivity scan got no image at all; give it batches of the validation part.")
    labels = torch.cat(seen)
    found = {key: task.quality(torch.cat(parts), labels).score for key, parts in records.items()}
    curves = {group.name: tuple(found[group.name, ratio] for ratio in ratios) for group in groups}
    whole = task.quality(torch.cat(dense), labels)
    return Scan(scores.criterion, ratios, curves, whole.score, whole.n, whole.metric)


class _Pruned:
    """What networks say about a batch of images of which one group is pruned.

    Attributes:
        whole: outputs of the unpruned network.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Group], images: Tensor) -> None:
        self._model, self._groups, self._images, self._chain = model, groups, images, units(model)
        self._first = {unit.layer: number for number, unit in enumerate(self._chain)}
        self._outputs: dict[str, Tensor] = {}  # what the network sends on behind each unit, as a copy
        with hooked((model.get_submodule(_last(unit)), partial(self._keep, _last(unit))) for unit in self._chain):
            self.whole = model(images)

    def _keep(self, name: str, _module: nn.Module, _x: object, y: Tensor) -> None:
        self._outputs[name] = y.clone()  # the network may go on in place

    def answers(self, name: str, plan: Plan) -> Any:  # noqa: ANN401 - as the network gives them
        """Outputs of the network of a plan that prunes this group alone."""
        small = apply(self._model, plan, self._groups)
        for unit in self._chain[: self._first[name]]:
            for part in {unit.layer, unit.norm, unit.gate} - {None}:
                # in front of the end of a unit anything small does: nothing reads it
                output = self._outputs[part] if part == _last(unit) else self._images[:1, :1, :1, :1]
                small.get_submodule(part).forward = lambda _x, output=output: output.clone()
        return small(self._images)


def _last(unit: Unit) -> str:
    """The module behind which a unit's output is complete."""
    return unit.gate or unit.norm or unit.layer
