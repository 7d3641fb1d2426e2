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
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rsprune_lib.errors import ModelError
from rsprune_lib.models.blocks import NORMS, SqueezeExcite
from rsprune_lib.models.hooks import hooked
from rsprune_lib.models.mode import evaluating, placement

__all__ = ["Early", "ExitHead", "Exits", "add_exits", "exit_places", "run_early"]

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


class _Hook:
    """A hook that is copied with the network it hangs on; a closure would keep calling the original's heads."""

    def __init__(self, exits: Exits, method: str, *given: int) -> None:
        self.exits, self.method, self.given = exits, method, given

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 - what hooks get
        return getattr(self.exits, self.method)(*self.given, *arguments)


def exit_places(model: nn.Module) -> list[str]:
    """Names of the modules behind which exits can stand: everything that the network computes later passes through.

    Stages, blocks, activations and poolings; found by running three images and dropping one behind each candidate.

    Raises:
        ModelError: there is none.
    """
    images = _example(model, 3)
    with evaluating(model), torch.no_grad():
        whole = _logits(model(images))
        names = [name for name, module in model.named_modules() if name and not _is_trivial(name, module)]
        found = [name for name in names if _dominates(model, name, images, whole)]
    if not found:
        raise ModelError(f"Found no place for an exit in {type(model).__name__}; it has no chain of blocks.")
    return found


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
    places = _by_cost(made, places) if isinstance(places, int) else list(places)
    images = _example(made, 3)
    seen: dict[str, Tensor] = {}
    with evaluating(made), torch.no_grad():
        whole, order = _logits(_watched(made, places, images, seen)), list(seen)
        for place in places:
            if place not in dict(made.named_modules()) or place not in seen:
                known = ", ".join(exit_places(made))
                raise ModelError(f"The network has no module {place!r} to hang an exit on; possible places: {known}.")
            if check and not _dominates(made, place, images, whole):
                raise ModelError(
                    f"Something flows past {place!r}, so an image could not leave there; take the end of a stage, one "
                    f"of: {', '.join(exit_places(made))}."
                )
    if order != places or len(set(places)) != len(places):
        raise ModelError(
            f"Exits must be given in execution order, each once: {', '.join(order)}; got {', '.join(places)}."
        )
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


def _logits(outputs: Any) -> Tensor:  # noqa: ANN401 - whatever a network returns
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        raise ModelError("Exits stand on classifiers, which return logits (B, K); this network returns something else.")
    return outputs


def _example(model: nn.Module, count: int) -> Tensor:
    """Random images of the size that the network is made for."""
    size = getattr(model, "image_size", None) or max(64, getattr(model, "min_size", 1))
    height, width = (size, size) if isinstance(size, int) else size
    device, dtype = placement(model)
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, getattr(model, "in_channels", 3), height, width, generator=random).to(device, dtype)


def _is_trivial(name: str, module: nn.Module) -> bool:
    """Modules in the middle of something: a layer whose norm or activation is still to come, a gate."""
    return name.startswith("exits.") or isinstance(module, (nn.Conv2d, nn.Linear, nn.Identity, SqueezeExcite, *NORMS))


def _dominates(model: nn.Module, name: str, images: Tensor, whole: Tensor) -> bool:
    """Whether dropping an image behind a module drops it from everything that follows."""
    keep = torch.tensor([0, 2], device=images.device)

    def drop(_module: nn.Module, _x: Any, y: Any) -> Any:  # noqa: ANN401
        return y[keep] if isinstance(y, Tensor) and y.dim() > 2 and len(y) == len(images) else y

    try:
        with hooked([(model.get_submodule(name), drop)]):
            found = model(images)
    except (RuntimeError, IndexError, ValueError):  # shapes that no longer fit: something flows past
        return False
    return found.shape == whole[keep].shape and torch.allclose(
        found, whole[keep], rtol=1e-3, atol=1e-3 * float(whole.abs().max())
    )


def _watched(model: nn.Module, places: Sequence[str], images: Tensor, seen: dict[str, Tensor]) -> Any:  # noqa: ANN401
    """Runs the network and notes the outputs of some modules, in execution order."""
    modules = dict(model.named_modules())

    def note(name: str, _module: nn.Module, _x: Any, y: Tensor) -> None:  # noqa: ANN401
        seen[name] = y

    with hooked((modules[name], partial(note, name)) for name in places if name in modules):
        return model(images)


def _head(model: nn.Module, place: str, y: Tensor, classes: int, pool: str, norm: bool | nn.Module) -> ExitHead:
    """A head for a module's output; the last layer inside says where its channels stand."""
    layers = [m for m in model.get_submodule(place).modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.LayerNorm)]
    last = layers[-1] if layers else None
    dims = (1, -1) if last is None or isinstance(last, nn.Conv2d) else (-1, 1)
    width = getattr(last, "out_channels", None) or getattr(last, "out_features", None) or y.shape[dims[0]]
    dim = next((d for d in dims if y.shape[d] == width), dims[0])
    return ExitHead(y.shape[dim], classes, dim, pool=pool, norm=norm)


def _by_cost(model: nn.Module, count: int) -> list[str]:
    """The places nearest to equal shares of the work: parameters times positions stand for it."""
    if count < 1:
        raise ModelError(f"Got {count} exits; expected at least 1.")
    places, images = exit_places(model), _example(model, 1)
    done, at = 0.0, {}

    def add(module: nn.Module, _x: Any, y: Tensor) -> None:  # noqa: ANN401
        nonlocal done
        done += y.numel() * module.weight[0].numel()

    def mark(name: str, *_: Any) -> None:  # noqa: ANN401
        at[name] = done

    modules = dict(model.named_modules())
    counted = [(module, add) for module in modules.values() if isinstance(module, nn.Conv2d | nn.Linear)]
    marked = [(modules[name], partial(mark, name)) for name in places]
    with evaluating(model), torch.no_grad(), hooked(counted + marked):
        model(images)
    last = {work: name for name, work in at.items()}  # of several modules at one depth the outermost, which ends last
    inner = [name for work, name in sorted(last.items()) if work < 0.95 * done]
    if len(inner) < count:
        raise ModelError(f"Got {count} exits, but the network has {len(inner)} places for one: {', '.join(inner)}.")
    chosen: list[str] = []
    for number in range(1, count + 1):
        left = [name for name in inner if name not in chosen and (not chosen or at[name] > at[chosen[-1]])]
        spare = len(left) - (count - number)  # so that enough stay for the exits behind
        chosen.append(min(left[:spare], key=lambda name: abs(at[name] / done - number / (count + 1))))
    return chosen
