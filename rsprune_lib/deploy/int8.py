"""A network in 8 bits: calibrated on training images, compared class by class, layers that hurt left in float.

Weights are signed and have one scale per output channel, activations are unsigned, and quantisation stands in the graph
as pairs of QuantizeLinear and DequantizeLinear, which runtimes fuse with the layers between them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.data import Batches, Dataset, measuring_batch
from rsprune_lib.deploy.export import OnnxFile, described, pixels, try_batches
from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.onnx_files import OnnxNetwork, parity, write_onnx
from rsprune_lib.deploy.quantiser import Quantiser, quiet_quantiser
from rsprune_lib.deploy.tracing import Graphs
from rsprune_lib.errors import DataError, ModelError, unknown
from rsprune_lib.measure import evaluate
from rsprune_lib.tasks import Quality

if TYPE_CHECKING:
    pass

__all__ = ["Int8File", "calibration_images", "export_int8", "judged", "losses", "needs_reduced_range"]

LIMIT = 2.0  # points of a class (accuracy, IoU) that int8 may cost


@dataclass(frozen=True)
class Int8File:
    """What `export_int8` made.

    Attributes:
        file: as for a float file; its parity is that of int8 with float.
        before: quality of the float file.
        after: quality of this one on the same images.
        float_layers: layers that were left in float.
        calibration: number of training images that the ranges come from.
        reduced: weights have 7 bits, for processors without VNNI.
        float_size: bytes of the float file.
    """

    file: OnnxFile
    before: Quality
    after: Quality
    float_layers: tuple[str, ...]
    calibration: int
    reduced: bool
    float_size: int


@cache
def needs_reduced_range() -> bool:
    """Whether this processor adds pairs of 8-bit products in 16 bits, which overflow: x86 without VNNI.

    Weights then have 7 bits (https://github.com/microsoft/onnxruntime/issues/28415).
    """
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    return "avx" in flags and "avx512_vnni" not in flags and "avx_vnni" not in flags


def calibration_images(data: Dataset, count: int) -> tuple[Tensor, np.ndarray]:
    """Training images in a random order, as many of each class as there are.

    Returns:
        (N, 3, H, W) float32 in [0, 1], and (N,) classes.

    Raises:
        DataError: the training part lacks a class.
    """
    from rsprune_lib.data.batches import balanced

    if data.masks is None and (missing := set(range(data.num_classes)) - set(data.labels[data.split.train].tolist())):
        names = ", ".join(data.classes[label] for label in sorted(missing))
        raise DataError(
            f"The training part of {data.title} has no image of {names}, so int8 cannot be calibrated on it."
        )
    chosen = np.random.default_rng(0).permutation(balanced(data.labels, data.split.train, count))
    return torch.from_numpy(data.images[chosen]).permute(0, 3, 1, 2).float().div_(255), data.labels[chosen]


def check_calibration(images: Tensor, labels: np.ndarray) -> None:
    """Refuses images that ranges should not come from.

    Raises:
        DataError: there are too few, or they are sorted by class.
    """
    if len(images) < 2:
        raise DataError(f"Got {len(images)} image(s) to calibrate int8 on; give some hundred training images.")
    changes = int((np.diff(labels) != 0).sum())
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    expected = len(labels) * (1 - (shares**2).sum())  # changes from one image to the next in a random order
    if expected >= 8 and changes < expected / 4:
        raise DataError(
            f"The {len(labels)} calibration images are sorted by class (the class changes {changes} times, in a random "
            f"order some {expected:.0f}); shuffle them: ranges that move from class to class cost accuracy."
        )


def judged(network: OnnxNetwork, data: Dataset, part: str = "val", limit: int | None = None) -> Quality:
    """Quality of a file on a part of a data set.

    Args:
        network: the file; its pixels are in [0, 1].
        data: with any normalisation.
        part: only closing tables use ``"test"``.
        limit: class-balanced images at most.
    """
    plain = replace(data, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return evaluate(network, Batches(plain, part, measuring_batch(data), limit=limit), progress=False)


def losses(before: Quality, after: Quality, classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Classes that lost more than `LIMIT` points, and more than one image: name -> before and after, in percent."""
    counts = before.confusion.sum(1)
    found = {}
    for name, one, other, count in zip(classes, before.per_class, after.per_class, counts, strict=True):
        slack = LIMIT if before.metric != "accuracy" else max(LIMIT, 100 / max(1, count))
        if not math.isnan(one) and 100 * (one - (0 if math.isnan(other) else other)) > slack + 1e-9:
            found[name] = (100 * one, 0.0 if math.isnan(other) else 100 * other)
    return found


def export_int8(
    graphs: Graphs,
    facts: Facts,
    path: str | Path,
    data: Dataset,
    *,
    images: int = 200,
    calibrate: tuple[Tensor, np.ndarray] | None = None,
    keep_float: Sequence[str] = (),
    reduced: bool | None = None,
    batch: int | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Int8File:
    """Writes the int8 file of a network, if every class keeps its accuracy.

    All layers are quantised first. If a class then loses more than `LIMIT` points on the validation part, each layer is
    quantised alone, and those that move the answers on training images most are left in float, in growing number.

    Args:
        graphs: of `rsprune_lib.deploy.graphs.traced`.
        facts: of the float file.
        path: where.
        data: what the network was made with; the classes are compared on its validation part.
        images: calibration images from its training part.
        calibrate: images (N, 3, H, W) in [0, 1] and their classes (N,), shuffled, in place of these.
        keep_float: layers to leave in float, by the names of their modules.
        reduced: 7-bit weights; by default where this processor needs them. A file that leaves for other machines is
            safe with them.
        batch: of the file; None is free.
        limit: validation images at most.
        say: takes a line on what goes on.

    Raises:
        ModelError: a class loses too much whatever is left in float; nothing is written.
        DataError: the calibration images are too few, or sorted.
    """
    path = Path(path)
    pixels_, labels = calibrate if calibrate is not None else calibration_images(data, images)
    check_calibration(pixels_, labels)
    reduced = needs_reduced_range() if reduced is None else reduced
    with tempfile.TemporaryDirectory() as folder, quiet_quantiser():
        job = Quantiser(graphs, facts, pixels_, Path(folder), reduced, batch)
        plain = OnnxNetwork(write_onnx(graphs.join(graphs.parts), facts, Path(folder) / "float.onnx"))
        before = judged(plain, data, limit=limit)
        floats, network, after = _kept(job, plain, before, data, keep_float, limit, say)
        close = parity(plain, network, try_batches(pixels(data, "val", 64), facts, batch))
        path.parent.mkdir(parents=True, exist_ok=True)
        written = write_onnx(job.made, facts.quantised(), path)
        float_size = (Path(folder) / "float.onnx").stat().st_size
    file = described(written, facts.quantised(), close, 0.0, graphs.notes)
    return Int8File(file, before, after, tuple(floats), len(pixels_), reduced, float_size)


def _kept(
    job: Quantiser,
    plain: OnnxNetwork,
    before: Quality,
    data: Dataset,
    keep_float: Sequence[str],
    limit: int | None,
    say: Callable[[str], None],
) -> tuple[Sequence[str], OnnxNetwork, Quality]:
    """The first attempt in which every class keeps its accuracy: layers in float, the network, its quality."""
    known = job.layers()
    for name in keep_float:
        if name not in known:
            raise unknown("layer", name, known)
    for floats in job.attempts(tuple(keep_float), plain, say):
        network = OnnxNetwork(job.file(job.quantised(exclude=floats), "int8.onnx"))
        after = judged(network, data, limit=limit)
        bad = losses(before, after, job.facts.classes)
        if not bad:
            return floats, network, after
        say(f"With {len(floats)} layers in float, int8 costs too much: {_listed(bad)}.")
    raise ModelError(
        f"int8 costs more than {LIMIT:g} points of {_listed(bad)}, also with {len(floats)} of {len(known)} "
        "layers in float; nothing was written: keep this network in float."
    )


def _listed(bad: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} ({one:.1f} to {other:.1f} %)" for name, (one, other) in bad.items())
