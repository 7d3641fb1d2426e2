"""What a plan costs, counted without building the network: fast enough for a slider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsprune_lib.errors import PlanError
from rsprune_lib.measure import Cost, LayerCost
from rsprune_lib.pruning.groups import Group

__all__ = ["CostModel", "plan_cost"]

_UNCOUNTED = ("prelu", "parameter", "layernorm")  # without MACs; their parameters are the groups' bare ones


class CostModel:
    """Parameters and MACs of a network as a function of the widths of its groups.

    A layer's cost is a product of its channel counts, and each removed channel of a group takes a fixed number of
    positions (the fan) from each of the group's members; so two small matrices hold all there is to know.

    Args:
        costs: `layer_costs` of the unpruned network; its image size is the one that counts.
        groups: `find_groups` of the same network.

    Raises:
        PlanError: the groups name a layer that the costs do not.

    Example:
        >>> count = CostModel(layer_costs(model, 64), groups)
        >>> count([19, 19, 19, 38, 38, 38, 76, 76, 76, 153, 153, 153])
        Cost(params=999552, macs=15096454)
    """

    def __init__(self, costs: Sequence[LayerCost], groups: Sequence[Group]) -> None:
        row = {layer.name: number for number, layer in enumerate(costs)}
        self._sizes = np.array([group.size for group in groups], dtype=np.int64)
        self._fans = {side: np.zeros((len(costs), len(groups)), dtype=np.int64) for side in ("in", "out")}
        bare = getattr(groups, "bare_params", {})
        self._bare = np.array([bare.get(group.name, 0) for group in groups], dtype=np.int64)
        for number, group in enumerate(groups):
            for member in group.members:
                if member.layer in row:
                    self._fans[member.side][row[member.layer], number] += member.fan
                elif member.kind not in _UNCOUNTED:
                    raise PlanError(
                        f"The costs have no row for {member.layer!r}; give layer_costs of the network of these groups."
                    )
        columns = [(c.in_channels, c.out_channels, c.groups, c.kernel_area, c.out_positions, c.extra) for c in costs]
        self._in, self._out, self._split, self._area, self._positions, self._extra = np.array(columns, np.int64).T
        self._other = getattr(groups, "other_params", 0)

    def __call__(self, widths: Sequence[int]) -> Cost:
        """Counts.

        Args:
            widths: channels that each group keeps, in the order of the groups.
        """
        widths = np.asarray(widths, dtype=np.int64)
        removed = self._sizes - widths
        into, out = self._in - self._fans["in"] @ removed, self._out - self._fans["out"] @ removed
        weights = into * out // self._split * self._area  # whole groups: into and split stay, so many inputs a channel
        params = weights.sum() + (out * self._extra).sum() + self._bare @ widths + self._other
        return Cost(int(params), int((weights * self._positions).sum()))


def plan_cost(costs: Sequence[LayerCost], groups: Sequence[Group], keep: Mapping[str, Sequence[int] | int]) -> Cost:
    """Parameters and MACs of the network that a plan leaves; equal to ``cost(apply(model, plan), image_size)``.

    Args:
        costs: `layer_costs` of the unpruned network.
        groups: `find_groups` of the same network.
        keep: group name -> kept channels (``plan.keep``) or their number (``plan.widths``).

    Returns:
        All parameters, and MACs for one image (convention: `rsprune_lib.measure.cost`).

    Raises:
        PlanError: a group is missing, or keeps more channels than it has or none.
    """
    widths = []
    for group in groups:
        kept = keep.get(group.name, 0)
        width = kept if isinstance(kept, int) else len(kept)
        if not 1 <= width <= group.size:
            raise PlanError(f"Group {group.name!r} cannot keep {width} channels; give a number from 1 to {group.size}.")
        widths.append(width)
    return CostModel(costs, groups)(widths)
