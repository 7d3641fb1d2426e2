"""A network as one ONNX file: pixels in [0, 1] in, logits out, normalisation and facts inside, checked before use."""

from __future__ import annotations

import copy
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.data.dataset import Dataset
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.onnx_files import OnnxNetwork, Parity, parity, read_onnx, write_onnx
from rsprune_lib.deploy.tracing import check_opset, trace
from rsprune_lib.errors import ModelError
from rsprune_lib.measure import latencies
from rsprune_lib.models import GlobalFilter

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxFile", "export_onnx", "pixels", "try_batches"]

EXAMPLE_BATCH = 2  # of the export; parity is tried at others


@dataclass(frozen=True)
class OnnxFile:
    """What `export_onnx` made.

    Attributes:
        path: the file.
        facts: what it says about itself.
        parity: how close it comes to the network.
        opset: version of ONNX's operations.
        shapes: input or output -> its dimensions, a name for one that is free.
        size: bytes.
        seconds: what it took.
        notes: what was decided, a sentence each.
    """

    path: Path
    facts: Facts
    parity: Parity
    opset: int
    shapes: dict[str, tuple[int | str, ...]]
    size: int
    seconds: float
    notes: tuple[str, ...] = ()


def export_onnx(
    model: nn.Module,
    facts: Facts,
    path: str | Path,
    images: Tensor,
    *,
    batch: int | None = None,
    opset: int | None = None,
) -> OnnxFile:
    """Writes a network as one ONNX file, after it has given the network's answers.

    The file's input is ``image`` (B, 3, H, W) float32 in [0, 1], its output ``logits`` (B, K), or (B, K, H, W) of a
    segmentation network, which takes images of any size. A network with exits gives ``exit`` (B,) int64 too, and takes
    ``thresholds`` (E,), by default those of its rule; see `rsprune_lib.deploy.exit_graph`.

    Args:
        model: a network of the course or of another library; it is left alone.
        facts: see `Facts.of`.
        path: where; an old file is replaced when the new one is right.
        images: (N, 3, H, W) float32 in [0, 1] to compare with, real ones; see `pixels`.
        batch: images of a batch; None leaves it free.
        opset: from 18 to 23; 20 by default.

    Raises:
        ModelError: it does not export, or the file does not give the network's answers; nothing is written.
        RspruneError: a package is missing, or the disk is full.

    Example:
        >>> bundle = load_bundle("bundles/eurosat_resnet18_se_r70")
        >>> export_onnx(bundle.model, Facts.of(bundle), "r70.onnx", pixels(data, "val", 64)).parity.agreement
        1.0
    """
    check_opset(opset)
    path, began = Path(path), time.perf_counter()
    path.parent.mkdir(parents=True, exist_ok=True)
    reference = Deployed(model, facts)
    made, notes = _traced(reference, facts, images, batch, opset)
    unproven = path.with_name(f".tmp-{path.name}")
    try:
        write_onnx(made, facts, unproven)
        found = parity(reference, OnnxNetwork(unproven), try_batches(images, facts, batch))
        if not found.good:
            raise ModelError(
                f"The exported file does not give the answers of {facts.bundle or 'the network'}: {found.text()}; "
                "nothing was written: try another --opset."
            )
        unproven.replace(path)
    finally:
        unproven.unlink(missing_ok=True)
    return described(path, facts, found, time.perf_counter() - began, notes)


def described(path: Path, facts: Facts, found: Parity, seconds: float, notes: tuple[str, ...] = ()) -> OnnxFile:
    """What is known of a file that was written."""
    made = read_onnx(path)
    fixed = {item.name for item in made.graph.initializer}
    values = [*(value for value in made.graph.input if value.name not in fixed - {"thresholds"}), *made.graph.output]
    shapes = {
        value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
    }
    opset = next(item.version for item in made.opset_import if item.domain in ("", "ai.onnx"))
    return OnnxFile(path, facts, found, opset, shapes, path.stat().st_size, seconds, notes)


def _traced(
    reference: Deployed, facts: Facts, images: Tensor, batch: int | None, opset: int | None
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The graph, and what was decided."""
    example = torch.rand(
        batch or EXAMPLE_BATCH, images.shape[1], *facts.size, generator=torch.Generator().manual_seed(0)
    )
    free: dict[int, torch.export.Dim] = {} if batch else {0: torch.export.Dim("batch", min=1)}
    if facts.dense:
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}

    def graph(network: nn.Module) -> onnx.ModelProto:
        return _named_sides(trace(network, [example], (["image"], ["logits"]), {"image": free}, opset))

    if any(isinstance(module, GlobalFilter) for module in reference.modules()):
        return _faster_transform(reference, facts, graph)
    return graph(reference), ()


def _named_sides(made: onnx.ModelProto) -> onnx.ModelProto:
    """Calls the free sides of an image height and width, where the exporter has numbered symbols."""
    dims = made.graph.input[0].type.tensor_type.shape.dim[2:]
    names = {dim.dim_param: name for dim, name in zip(dims, ("height", "width"), strict=True) if dim.dim_param}
    for value in (*made.graph.input, *made.graph.output, *made.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param)
    return made


def _faster_transform(
    reference: Deployed, facts: Facts, graph: Callable[[nn.Module], onnx.ModelProto]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """GFNet's Fourier transform as ONNX's own operation, or as products of small matrices: what is faster here."""
    made, refused = {}, None
    for transform in ("fft", "dft"):
        network = copy.deepcopy(reference)
        for module in network.modules():
            if isinstance(module, GlobalFilter):
                module.transform = transform
        try:
            made[transform] = graph(network)
        except ModelError as error:  # below opset 20 there is no inverse transform of real values
            refused = error
    if len(made) < 2:
        if not made:
            raise refused
        return next(iter(made.values())), (f"the transform is {next(iter(made))}: the other does not export",)
    with tempfile.TemporaryDirectory() as folder:
        files = [OnnxNetwork(write_onnx(made[name], facts, Path(folder) / name)) for name in made]
        found = latencies(files, facts.size, at_most_ms=500)
    times = {name: one.median_ms for name, one in zip(made, found, strict=True)}
    best = min(times, key=times.get)
    words = {"fft": "ONNX's own transform", "dft": "products of small matrices"}
    said = " and ".join(f"{times[name]:.2f} ms by {words[name]}" for name in times)
    return made[best], (f"Fourier transforms, an image: {said}; the file has the faster one",)


def pixels(data: Dataset, part: str, count: int) -> Tensor:
    """Images of a part of a data set as an exported file takes them, the classes in turn.

    Returns:
        (N, 3, H, W) float32 in [0, 1].
    """
    from rsprune_lib.data.batches import balanced

    chosen = balanced(data.labels, data.part(part), count)
    return torch.from_numpy(data.images[chosen]).permute(0, 3, 1, 2).float().div_(255)


def try_batches(images: Tensor, facts: Facts, batch: int | None) -> Iterator[Tensor]:
    """Batches to compare a file with its network: of other sizes than the export's, where they are free.

    Args:
        images: (N, 3, H, W) in [0, 1].
        facts: of the file.
        batch: that was asked for.
    """
    if facts.dense:
        height, width = facts.size
        for number, size in enumerate([facts.size, (height * 3 // 4 + 1, width + 9), (height + 22, width * 2 // 3)]):
            part = images[number::3][: batch or 3 - number]
            yield _filled(F.interpolate(part, size, mode="bilinear", align_corners=False).clamp(0, 1), batch)
        return
    if tuple(images.shape[2:]) != tuple(facts.size):
        images = F.interpolate(images, facts.size, mode="bilinear", align_corners=False).clamp(0, 1)
    for part in images.split(batch) if batch else (images[:1], *images[1:].split(7)):
        if len(part):
            yield _filled(part, batch)


def _filled(images: Tensor, batch: int | None) -> Tensor:
    """As many images as a batch needs; the first ones again where there are too few."""
    return images if batch is None else images[torch.arange(batch) % len(images)]
