"""The one door to torch-pruning's dependency graph: which positions of which layers hang on a layer's outputs.

Paper: https://arxiv.org/abs/2301.12900 (DepGraph). The engine always gets a copy of the network, because it puts it
into evaluation mode and asks every parameter for gradients, and fresh arguments, because it writes into its defaults.
Of its pruners nothing is used: they skip groups silently, round down to nothing, and forget the original indices.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import nn

from rsprune_lib.errors import ModelError
from rsprune_lib.pruning.layers import KINDS, kind_of

__all__ = ["WEIGHTED", "Touch", "coupled_outputs"]

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


class Touch(NamedTuple):
    """One side of a layer that a set of output channels reaches; fields as in `rsprune_lib.pruning.Member`."""

    layer: str
    kind: str
    side: str
    positions: tuple[tuple[int, ...], ...]


def coupled_outputs(model: nn.Module, image_size: int) -> Iterator[list[Touch]]:
    """Yields, for each convolution and linear layer in execution order, everything that its outputs are coupled to.

    The first item of each list is the layer itself, the others stand in the order of registration. Layers whose outputs
    are the network's output are left out, and so are layers that came up in an earlier list.

    Args:
        model: a network; it is not touched.
        image_size: height and width of the traced image, in pixels.

    Raises:
        ModelError: the network does not run, or the channels reach a layer that surgery does not know.
    """
    graph, ran = _trace(model, image_size)
    names = {module: name for name, module in graph.model.named_modules()}
    order = {name: number for number, name in enumerate(names.values())}
    ends = {node for node in graph.module2node.values() if not node.outputs}
    seen: set[str] = set()
    for root in ran:
        if names[root] in seen or root not in graph.module2node:
            continue
        cut = graph.get_pruner_of_module(root).prune_out_channels
        channels = root.out_features if isinstance(root, nn.Linear) else root.out_channels
        items = list(graph.get_pruning_group(root, cut, list(range(channels))))
        if any(item.dep.target in ends and _side(graph, item) == "out" for item in items):
            continue
        first, *rest = [touch for item in items if (touch := _touch(graph, names, names[root], item))]
        touches = [first, *sorted(rest, key=lambda touch: (order[touch.layer], touch.side))]
        seen.update(touch.layer for touch in touches if touch.side == "out")
        yield touches


def _trace(model: nn.Module, image_size: int) -> tuple[torch_pruning.DependencyGraph, list[nn.Module]]:
    """Builds the engine's graph of a copy; also returns the copy's convolutions and linear layers as they ran."""
    ran: dict[nn.Module, None] = {}
    with torch.inference_mode(False), torch.enable_grad():
        shadow = copy.deepcopy(model).float().requires_grad_(True)
        layers = [module for module in shadow.modules() if isinstance(module, WEIGHTED)]
        if not layers:
            raise ModelError(f"The network {type(model).__name__} has no convolution and no linear layer to prune.")
        for layer in layers:
            layer.register_forward_pre_hook(lambda module, _: ran.setdefault(module))
        channels = getattr(model, "in_channels", getattr(layers[0], "in_channels", 3))
        image = torch.zeros(1, channels, image_size, image_size, device=layers[0].weight.device)
        graph = torch_pruning.DependencyGraph()
        try:
            graph.build_dependency(shadow, image, ignored_params=[], verbose=False)
        except ModelError:
            raise
        except Exception as error:  # the engine lets through whatever the network raises
            raise ModelError(
                f"The network {type(model).__name__} could not be traced with an image of {image_size} pixels "
                f"({error}); give the image_size it is used with."
            ) from error
    return graph, list(ran)


def _side(graph: torch_pruning.DependencyGraph, item: Any) -> str:  # noqa: ANN401 - the engine's item
    cut = item.dep.handler  # for norms and depthwise convolutions both sides share one function
    return "in" if graph.is_in_channel_pruning_fn(cut) and not graph.is_out_channel_pruning_fn(cut) else "out"


def _touch(
    graph: torch_pruning.DependencyGraph,
    names: dict[nn.Module, str],
    root: str,
    item: Any,  # noqa: ANN401 - the engine's item
) -> Touch | None:
    """Reads one of the engine's items; None for an operation without channels of its own, such as an addition."""
    module, side = item.dep.target.module, _side(graph, item)
    if isinstance(module, nn.Parameter):
        raise ModelError(
            f"The channels of {root!r} reach a bare parameter of shape {tuple(module.shape)}, which surgery cannot "
            "cut; put it into a layer of its own."
        )
    if module not in names or not _has_channels(module):
        return None
    kind = kind_of(module)
    if kind is None or (side == "in" and not KINDS[kind].into):
        raise ModelError(
            f"The channels of {root!r} reach {names[module]!r}, a {module}, which surgery cannot cut; it knows "
            f"{', '.join(KINDS)} layers."
        )
    return Touch(names[module], kind, side, _positions(item, root, names[module]))


def _has_channels(module: nn.Module) -> bool:
    """False for an activation, and for a PReLU with one slope for all channels."""
    if isinstance(module, nn.PReLU):
        return module.num_parameters > 1
    return kind_of(module) is not None or any(True for _ in module.parameters(recurse=False))


def _positions(item: Any, root: str, layer: str) -> tuple[tuple[int, ...], ...]:  # noqa: ANN401 - the engine's item
    """Sorts the engine's flat indices by the root's channel: (size, fan)."""
    rows: dict[int, list[int]] = {}
    for channel, position in zip(item.root_idxs, item.idxs, strict=True):
        rows.setdefault(-1 if channel is None else int(channel), []).append(int(position))
    positions = tuple(tuple(sorted(rows[channel])) for channel in sorted(rows))
    if sorted(rows) != list(range(len(rows))) or len({len(row) for row in positions}) != 1:
        raise ModelError(f"The channels of {root!r} cannot be followed into {layer!r}; this layout is not supported.")
    return positions
