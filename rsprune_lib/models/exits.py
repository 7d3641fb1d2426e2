"""Early exits on any network: small classifiers at chosen depths, and a forward pass that really stops.

`add_exits` hangs heads behind modules of a network by forward hooks, so the network's own code, its layer names, its
plans and its weights stay what they were. The network then returns the logits of every exit, the final ones last.
`run_early` lets a rule decide behind each exit which images are done; only the others go on, so that batches get
faster too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models.hooks import NetworkHook
from rsprune_lib.models.mode import evaluating, placement
from rsprune_lib.models.places import channel_dim, dominates, example, exit_places, logits_of, spread_places, watched

__all__ = ["Early", "ExitHead", "Exits", "add_exits", "run_early", "without_exits"]

POOLS = ("mean", "mean_max")
Leave = Callable[[int, Tensor, Tensor], Tensor]  # (exit, logits (b, K), rows (b,) in the batch) -> (b,) bool: leaves


class ExitHead(nn.Module):
    """Pools a map over its positions, normalises and classifies.

    Args:
        channels: number C of channels of the map.
        num_classes: number K of logits.
        channel_dim: where the channels stand: 1 in maps (B, C, H, W), -1 in tokens (B, ..., C).
        pool: ``"mean"``, or ``"mean_max"`` for mean and maximum side by side.
        norm: ``True`` gives the head a layer norm of its own, ``False`` none. A module is shared: it is called, and
            belongs to the network (GFNet-Dynn shares the network's last norm).
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        channel_dim: int = 1,
        *,
        pool: str = "mean_max",
        norm: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        self.channel_dim, self.pool = channel_dim, pool
        features = channels * (2 if pool == "mean_max" else 1)
        shared = isinstance(norm, nn.Module)
        self.norm = nn.LayerNorm(features) if norm is True else nn.Identity()
        self._shared = (norm,) if shared else ()  # in a tuple: not registered a second time
        self.fc = nn.Linear(features, num_classes)

    def pooled(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, ..., C) -> (B, C) or (B, 2C)."""
        for norm in self._shared:
            x = norm(x.movedim(self.channel_dim, -1)).movedim(-1, self.channel_dim)
        positions = tuple(range(2, x.dim()) if self.channel_dim == 1 else range(1, x.dim() - 1))
        mean = x.mean(positions)
        return mean if self.pool == "mean" else torch.cat([mean, x.amax(positions)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """A map -> logits (B, K)."""
        return self.fc(self.norm(self.pooled(x)))


class _AllLeft(BaseException):
    """No image is left to go on with; ends the forward pass."""


class Exits(nn.Module):
    """The heads of a network and where they hang; made by `add_exits`.

    Attributes:
        heads: one `ExitHead` per place, in execution order.
        places: names of the modules whose output each head sees.
    """

    def __init__(self, heads: Sequence[ExitHead], places: Sequence[str]) -> None:
        super().__init__()
        self.heads, self.places = nn.ModuleList(heads), tuple(places)
        self._said: list[Tensor] = []
        self._early: _Run | None = None

    def _begin(self, _model: nn.Module, _images: Any) -> None:  # noqa: ANN401 - what hooks get
        self._said = []

    def _behind(self, number: int, _module: nn.Module, _x: Any, y: Tensor) -> Tensor | None:  # noqa: ANN401
        logits = self.heads[number](y)
        if self._early is None:
            self._said.append(logits)
            return None
        return self._early.step(number, logits, y)

    def _end(self, _model: nn.Module, _images: Any, logits: Tensor) -> Any:  # noqa: ANN401
        if self._early is not None:
            return logits
        said, self._said = self._said, []
        return [*said, logits]


class _Hook(NetworkHook):
    """A hook that is copied with the network it hangs on; a closure would keep calling the original's heads."""

    def __init__(self, exits: Exits, method: str, *given: int) -> None:
        self.exits, self.method, self.given = exits, method, given

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 - what hooks get
        return getattr(self.exits, self.method)(*self.given, *arguments)


def add_exits(
    model: nn.Module,
    places: Sequence[str] | int,
    *,
    pool: str = "mean_max",
    norm: bool | str = True,
    seed: int = 0,
    check: bool = True,
) -> nn.Module:
    """Returns a copy of a classifier with exits; the network itself is left as it is.

    Args:
        model: returns logits (B, K). Exits that it has already are replaced.
        places: names of modules (see `exit_places`) in execution order, or how many exits are wanted: then they stand
            where equal shares of the multiply-accumulates are done.
        pool: see `ExitHead`.
        norm: see `ExitHead`; ``"shared"`` calls the network's module ``norm`` (the published form of GFNet-Dynn).
        seed: of the heads' weights.
        check: try out that images can leave there; a network that is only being rebuilt has no weights to try it with.

    Returns:
        A network with ``task = "exits"`` and the heads in ``exits``.

    Raises:
        ModelError: a place is not there or something flows past it, or an option is unknown.
    """
    if pool not in POOLS:
        raise ModelError(f"pool is {pool!r} but must be one of {', '.join(map(repr, POOLS))}.")
    if norm == "shared" and not isinstance(getattr(model, "norm", None), nn.LayerNorm):
        raise ModelError(f"{type(model).__name__} has no last layer norm to share; take norm=True.")
    made = without_exits(model)
    places = spread_places(made, places) if isinstance(places, int) else list(places)
    whole, seen = _at_places(made, places, check)
    shared = made.get_submodule("norm") if norm == "shared" else bool(norm)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        heads = [_head(made, place, seen[place], whole.shape[1], pool, shared) for place in places]
    device, dtype = placement(made)
    made.exits, made.task = Exits(heads, places).to(device, dtype), "exits"
    made.register_forward_pre_hook(_Hook(made.exits, "_begin"))
    made.register_forward_hook(_Hook(made.exits, "_end"))
    for number, place in enumerate(places):
        made.get_submodule(place).register_forward_hook(_Hook(made.exits, "_behind", number))
    if hasattr(made, "config"):
        made.config = dict(made.config) | {"exits": {"places": list(places), "pool": pool, "norm": norm}}
    return made


def _at_places(made: nn.Module, places: Sequence[str], check: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of some images and what the places send on, after a check that exits can hang there."""
    images = example(made, 3)
    seen: dict[str, Tensor] = {}
    with evaluating(made), torch.no_grad():
        whole, order = logits_of(watched(made, places, images, seen)), list(seen)
        for place in places:
            if place not in dict(made.named_modules()) or place not in seen:
                known = ", ".join(exit_places(made))
                raise ModelError(f"The network has no module {place!r} to hang an exit on; possible places: {known}.")
            if check and not dominates(made, place, images, whole):
                raise ModelError(
                    f"Something flows past {place!r}, so an image could not leave there; take the end of a stage, one "
                    f"of: {', '.join(exit_places(made))}."
                )
    if order != places:  # also one that is named twice
        raise ModelError(
            f"Exits must be given in execution order, each once: {', '.join(order)}; got {', '.join(places)}."
        )
    return whole, seen


def without_exits(model: nn.Module) -> nn.Module:
    """A copy of a network without its exits."""
    made = copy.deepcopy(model)
    if not hasattr(made, "exits"):
        return made
    for module in made.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if isinstance(hook, _Hook)]:
                del hooks[key]
    del made.exits, made.task
    if hasattr(made, "config"):
        made.config = {key: value for key, value in made.config.items() if key != "exits"}
    return made


@dataclass(frozen=True)
class Early:
    """Where each image of a batch left.

    Attributes:
        logits: (B, K) of the exit where it left.
        exit: (B,) int64 number of that exit, from 0; the number of exits for the final one.
    """

    logits: Tensor
    exit: Tensor


class _Run:
    """One early pass: which images are still on their way, and what those that left were told."""

    def __init__(self, count: int, leave: Leave, last: int) -> None:
        self.leave, self.last = leave, last
        self.rest: Tensor | None = None
        self.count, self.logits, self.exit = count, None, None

    def note(self, number: int, rows: Tensor, logits: Tensor) -> None:
        if self.logits is None:
            self.logits = logits.new_zeros(self.count, logits.shape[1])
            self.exit = torch.full((self.count,), self.last, device=logits.device)
        self.logits[rows] = logits
        self.exit[rows] = number

    def step(self, number: int, logits: Tensor, y: Tensor) -> Tensor | None:
        if self.rest is None:
            self.rest = torch.arange(self.count, device=logits.device)
        done = self.leave(number, logits, self.rest)
        if not done.any():
            return None
        self.note(number, self.rest[done], logits[done])
        self.rest = self.rest[~done]
        if len(self.rest) == 0:
            raise _AllLeft
        return y[~done]


@torch.no_grad()
def run_early(model: nn.Module, images: Tensor, leave: Leave) -> Early:
    """A forward pass in which images leave at exits; what left is not computed any further.

    Args:
        model: a network with exits, in eval mode.
        images: (B, C, H, W) on its device.
        leave: from the number of an exit, its logits (b, K) and the places (b,) of these images in the batch to (b,)
            bool: what leaves there. `rsprune_lib.measure.ExitRule` makes them.

    Returns:
        Logits and exits in the order of the images: the same as if all had gone through and `leave` had chosen.

    Raises:
        ModelError: the network has no exits.
    """
    exits = getattr(model, "exits", None)
    if exits is None:
        raise ModelError(f"{type(model).__name__} has no exits; add some with add_exits.")
    run = _Run(len(images), leave, len(exits.heads))
    exits._early = run
    try:
        logits = model(images)
        run.note(run.last, torch.arange(len(images), device=logits.device) if run.rest is None else run.rest, logits)
    except _AllLeft:
        pass
    finally:
        exits._early = None
    return Early(run.logits, run.exit)


def _head(model: nn.Module, place: str, y: Tensor, classes: int, pool: str, norm: bool | nn.Module) -> ExitHead:
    """A head for a module's output."""
    dim = channel_dim(model, place, y)
    return ExitHead(y.shape[dim], classes, dim, pool=pool, norm=norm)
