"""A network as one ONNX file: pixels in [0, 1] in, logits out, normalisation and facts inside, checked before use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.data.dataset import Dataset
from rsprune_lib.deploy.exit_graph import early
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.graphs import traced
from rsprune_lib.deploy.onnx_files import OnnxNetwork, Parity, parity, read_onnx, write_onnx
from rsprune_lib.deploy.openvino_files import OpenVinoNetwork
from rsprune_lib.deploy.tracing import Graphs, check_opset
from rsprune_lib.errors import ModelError

__all__ = ["OnnxFile", "check_close", "compared", "described", "export_onnx", "pixels", "try_batches"]


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
    graphs: Graphs | None = None,
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
        graphs: what `traced` made of the network, where that was needed for something else too.

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
    graphs = graphs or traced(reference, facts, batch=batch, opset=opset)
    unproven = path.with_name(f".tmp-{path.name}")
    try:
        write_onnx(graphs.join(graphs.parts), facts, unproven)
        found = compared(reference, OnnxNetwork(unproven), list(try_batches(images, facts, batch)))
        check_close(found, facts)
        unproven.replace(path)
    finally:
        unproven.unlink(missing_ok=True)
    return described(path, facts, found, time.perf_counter() - began, graphs.notes)


def check_close(found: Parity, facts: Facts) -> None:
    """Refuses a file that is not the network.

    Raises:
        ModelError: it is not.
    """
    if not found.good:
        raise ModelError(
            f"The exported file does not give the answers of {facts.bundle or 'the network'}: {found.text()}; nothing "
            "was written: try another --opset."
        )


def compared(reference: Deployed, network: OnnxNetwork | OpenVinoNetwork, batches: Sequence[Tensor]) -> Parity:
    """How close a file comes to the network; of one with exits at three strictnesses, and where images leave."""
    rule = network.facts.exit_rule
    if rule is None:
        return parity(reference, network, batches)
    found, strict = [], float(len(rule.thresholds) + 2)
    for thresholds in (rule.thresholds, (strict,) * len(rule.thresholds), (0.0,) * len(rule.thresholds)):
        now = replace(rule, thresholds=thresholds)
        expected = lambda images, now=now: tuple(vars(early(reference, images, now)).values())  # noqa: E731
        got = lambda images, now=now: tuple(network.answers(images, now.thresholds).values())  # noqa: E731
        found.append(parity(expected, got, batches))
    return Parity(
        max(one.difference for one in found), max(one.scale for one in found), min(one.agreement for one in found),
        found[0].images, found[0].shapes,
    )  # fmt: skip


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
            part = images[number % len(images) :: 3][: batch or 3 - number]  # of few images the first ones again
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
