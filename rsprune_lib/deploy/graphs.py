"""From a network of any kind to ONNX graphs: sizes that stay free, Fourier transforms, exits."""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from rsprune_lib.deploy.exit_graph import trace_exits
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.onnx_files import OnnxNetwork, write_onnx
from rsprune_lib.deploy.tracing import Graphs, trace
from rsprune_lib.errors import ModelError
from rsprune_lib.measure import latencies
from rsprune_lib.models import GlobalFilter

if TYPE_CHECKING:
    import onnx

__all__ = ["traced"]

EXAMPLE_BATCH = 2  # of the export; files are tried at others


def traced(reference: Deployed, facts: Facts, *, batch: int | None = None, opset: int | None = None) -> Graphs:
    """The graphs of a network.

    Args:
        reference: the network as it is exported.
        facts: with the size of the images.
        batch: images of a batch; None leaves it free.
        opset: of ONNX.

    Raises:
        ModelError: it does not export.
    """
    random = torch.Generator().manual_seed(0)
    example = torch.rand(batch or EXAMPLE_BATCH, len(facts.mean), *facts.size, generator=random)
    if hasattr(reference.network, "exits"):
        return trace_exits(_with_transform(reference, "dft"), facts.exit_rule, example, opset, fixed=batch is not None)
    free: dict[int, torch.export.Dim] = {} if batch else {0: torch.export.Dim("batch", min=1)}
    if facts.dense:
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}

    def graph(network: nn.Module) -> onnx.ModelProto:
        return _named_sides(trace(network, [example], (["image"], ["logits"]), {"image": free}, opset))

    if any(isinstance(module, GlobalFilter) for module in reference.modules()):
        made, note = _faster_transform(reference, facts, graph, batch or 1)
        return Graphs((made,), lambda parts: parts[0], (note,))
    return Graphs((graph(reference),), lambda parts: parts[0])


def _named_sides(made: onnx.ModelProto) -> onnx.ModelProto:
    """Calls the free sides of an image height and width, where the exporter has numbered symbols."""
    dims = made.graph.input[0].type.tensor_type.shape.dim[2:]
    names = {dim.dim_param: name for dim, name in zip(dims, ("height", "width"), strict=True) if dim.dim_param}
    for value in (*made.graph.input, *made.graph.output, *made.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param)
    return made


def _with_transform(reference: Deployed, transform: str) -> Deployed:
    """The same network with Fourier transforms of one kind; itself if it has none."""
    if not any(isinstance(module, GlobalFilter) for module in reference.modules()):
        return reference
    made = copy.deepcopy(reference)
    for module in made.modules():
        if isinstance(module, GlobalFilter):
            module.transform = transform
    return made


def _faster_transform(
    reference: Deployed, facts: Facts, graph: Callable[[nn.Module], onnx.ModelProto], batch: int
) -> tuple[onnx.ModelProto, str]:
    """GFNet's Fourier transform as ONNX's own operation, or as products of small matrices: what is faster here."""
    made, refused = {}, None
    for transform in ("fft", "dft"):
        try:
            made[transform] = graph(_with_transform(reference, transform))
        except ModelError as error:  # below opset 20 there is no inverse transform of real values
            refused = error
    if len(made) < 2:
        if not made:
            raise refused
        return next(iter(made.values())), "Fourier transforms are products of small matrices: ONNX's own needs opset 20"
    with tempfile.TemporaryDirectory() as folder:
        files = [OnnxNetwork(write_onnx(made[name], facts, Path(folder) / name)) for name in made]
        found = latencies(files, facts.size, batch=batch, at_most_ms=500)
    times = {name: one.median_ms for name, one in zip(made, found, strict=True)}
    best = min(times, key=times.get)
    words = {"fft": "ONNX's own transform", "dft": "products of small matrices"}
    said = " and ".join(f"{times[name]:.2f} ms by {words[name]}" for name in times)
    return made[best], f"Fourier transforms, {batch} image(s): {said}; the file has the faster one"
