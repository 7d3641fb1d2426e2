"""Criterion that looks at the reconstruction: how well the layers behind a channel can do without it.

After the cut, least squares rebuild each layer from the channels that are left. So a channel is worth what the others
do not know of it, weighted by how much it is read. Of a layer that reads a group, with weights W_o of each kernel
offset o, the error of a set of kept channels is

    sum over o of |W_o (x - best linear prediction of x from the kept channels)|^2,  relative to all kept channels gone.

Channels are eliminated one by one, always the one that adds the least to the sum over the readers; a channel's score is
what its turn added. A turn is a rank-one step on the inverse covariance.

Related: optimal brain surgeon (https://papers.nips.cc/paper/647), which removes weights by the same formula. What
differs: whole channels of all readers together; kernel offsets count as independent, so that the matrices have the size
of the group; and by default the error is counted per MAC, so that groups can compete (``scope="global"``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.errors import unknown
from rsprune_lib.measure import layer_costs
from rsprune_lib.models import hooked, units
from rsprune_lib.pruning.calibration import feed
from rsprune_lib.pruning.costs import CostModel
from rsprune_lib.pruning.criteria.gates import gated_norms, without_gates
from rsprune_lib.pruning.criteria.weights import READERS, members_of
from rsprune_lib.pruning.groups import Group, Member

__all__ = ["PER", "reconstruction"]

PER = ("macs", "channel")
_RIDGE = 1e-4  # of the mean variance, as in the closed form


class _Reader:
    """What one layer gets of one group, and what it does with it.

    Args:
        layer: the layer.
        member: its side of the group.
        use: (size, size) products of the weights of two channels, summed over outputs and kernel offsets.
    """

    def __init__(self, layer: nn.Module, member: Member, use: Tensor) -> None:
        self.layer, self.name, self.inside, self.use = layer, member.layer, member.side == "in", use
        self._axis, self._index = member.axis, torch.as_tensor(member.index, device=layer.weight.device)
        self._sums: Tensor | float = 0.0  # (size + 1, size + 1), of the channels and a one

    def see(self, x: Tensor) -> None:
        """Adds a batch of the layer's input, or of its output where it only makes the group."""
        rows = x.movedim(self._axis, -1)[..., self._index].transpose(-1, -2)  # (..., fan, size)
        rows = F.pad(rows.reshape(-1, rows.shape[-1]), (0, 1), value=1.0)
        self._sums = self._sums + (rows.T @ rows).double()

    def covariance(self) -> Tensor:
        """(size, size) covariance of the channels."""
        sums = self._sums / self._sums[-1, -1]
        return sums[:-1, :-1] - torch.outer(sums[-1, :-1], sums[-1, :-1])


@torch.no_grad()
def reconstruction(
    model: nn.Module,
    groups: Sequence[Group],
    data: Iterable[tuple[Tensor, Tensor]],
    per: str = "macs",
    progress: bool = True,
) -> dict[str, Tensor]:
    """Error that the elimination of each channel adds, as a share of what the layers that read it send on.

    Args:
        model: the network, with live SE blocks if it has them; not changed.
        groups: groups of the plain network.
        data: training batches; no label is looked at.
        per: ``"macs"``: for 1 % of the network's MACs, by what a channel of the group costs in the whole network;
            ``"channel"``: as it is. Within a group both give the same order.
        progress: show a bar.

    Returns:
        Group name -> (size,) float64; a channel that goes later has at least the score of those before it.

    Raises:
        RspruneError: ``per`` is unknown.
    """
    if per not in PER:
        raise unknown("unit of the reconstruction's error", per, PER)
    readers, image_size = _collect(model, groups, data, progress)
    prices = _prices(model, groups, image_size) if per == "macs" else np.ones(len(groups))
    return {g.name: _eliminate(readers[g.name], g.size) / price for g, price in zip(groups, prices, strict=True)}


def _collect(
    model: nn.Module, groups: Sequence[Group], data: Iterable[tuple[Tensor, Tensor]], progress: bool
) -> tuple[dict[str, list[_Reader]], tuple[int, int]]:
    """The readers of each group after a pass over the images, and the images' size."""
    norms = {unit.layer: unit.norm for unit in units(model)}
    found = {group.name: _readers(model, group, norms) for group in groups}
    all_readers = [reader for readers in found.values() for reader in readers]
    front = [(r.layer, lambda _m, x, r=r: r.see(x[0])) for r in all_readers if r.inside]
    behind = [(r.layer, lambda _m, _x, y, r=r: r.see(y)) for r in all_readers if not r.inside]
    with hooked(behind, front):
        for images, _ in feed(data, model, "reconstruction", progress=progress):
            model(images)
    return found, tuple(images.shape[2:])


def _readers(model: nn.Module, group: Group, norms: Mapping[str, str | None]) -> list[_Reader]:
    """The layers that read a group; one that makes it, where none does."""
    found = []
    for member in members_of(model, group, *READERS):
        layer, norm = model.get_submodule(member.layer), norms.get(member.layer)
        found.append(_Reader(layer, member, _use(layer, member, model.get_submodule(norm) if norm else None)))
    if not found:
        maker = group.makers[0]
        found.append(_Reader(model.get_submodule(maker.layer), maker, torch.eye(group.size, dtype=torch.float64)))
    return found


def _use(layer: nn.Module, member: Member, norm: nn.Module | None) -> Tensor:
    """(size, size) products of the weights with which a layer reads two channels; outputs on the scale of its norm."""
    weight = layer.weight.transpose(0, 1) if member.kind == "deconv" else layer.weight
    if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_var is not None:
        gamma = 1.0 if norm.weight is None else norm.weight
        scale = gamma / (norm.running_var + norm.eps).sqrt()
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    weight = weight.flatten(2).transpose(1, 2) if weight.dim() > 2 else weight[:, None]  # (O, offsets, C)
    read = weight[..., torch.as_tensor(member.index, device=weight.device)]  # (O, offsets, size, fan)
    read = read.transpose(-1, -2).reshape(-1, read.shape[-2]).double()
    return read.T @ read


def _prices(model: nn.Module, groups: Sequence[Group], image_size: tuple[int, int]) -> np.ndarray:
    """(groups,) what a channel costs, in % of the network's MACs."""
    gates = tuple(f"{gate}." for gate in gated_norms(model).values())  # they are folded away before the cut
    plain = [replace(g, members=tuple(m for m in g.members if not m.layer.startswith(gates))) for g in groups]
    count = CostModel(layer_costs(without_gates(model), image_size), plain)
    sizes = np.array([group.size for group in groups])
    whole = count(sizes).macs
    less = [count(sizes - (np.arange(len(groups)) == number)).macs for number in range(len(groups))]
    return np.maximum(100 * (whole - np.array(less)) / whole, 1e-9)


def _eliminate(readers: Sequence[_Reader], size: int) -> Tensor:
    """(size,) what each channel's turn adds to the error, made to rise from turn to turn."""
    states = []
    for reader in readers:
        covariance = reader.covariance()
        sent = (reader.use * covariance).sum().clamp_min(1e-30)
        damping = _RIDGE * covariance.diagonal().mean().clamp_min(1e-12)
        inverse = torch.linalg.inv(covariance + damping * torch.eye(size).to(covariance))
        states.append((inverse, (reader.use / sent).to(covariance)))
    left = torch.ones(size, dtype=torch.bool, device=states[0][0].device)
    scores, highest = torch.zeros(size, dtype=torch.float64), 0.0
    for _ in range(size):
        added = sum(use.diagonal() / inverse.diagonal() for inverse, use in states)
        number = int(added.where(left, torch.inf).argmin())
        highest = max(highest, float(added[number]))
        scores[number], left[number] = highest, False
        for inverse, use in states:
            _without(inverse, use, number)
    return scores


def _without(inverse: Tensor, use: Tensor, number: int) -> None:
    """Takes a channel out, in place: what it gave is predicted from those that are left, which are used the more.

    Args:
        inverse: (size, size) of the covariance of the channels that are left.
        use: (size, size) of their use.
        number: the channel.
    """
    column, own = inverse[number].clone(), inverse[number, number].clone()
    share = column / own  # minus the coefficients of its prediction; 1 at itself
    half = use[number] - use[number, number] / 2 * share
    use.addr_(share, half, alpha=-1).addr_(half, share, alpha=-1)
    inverse.addr_(column, share, alpha=-1)
    inverse[number, number] = own  # its row is 0 from now on; kept apart from 0 / 0
