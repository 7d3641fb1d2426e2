"""The parts of a network in 8 bits by ONNX Runtime's static quantiser, all layers or some."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.onnx_files import OnnxNetwork, need, write_onnx
from rsprune_lib.deploy.tracing import Graphs

if TYPE_CHECKING:
    import onnx

__all__ = ["Quantiser", "quiet_quantiser"]

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTISED = (  # operations that ONNX Runtime computes in 8 bits; others stay in float
    *_LAYERS, "Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize", "Pad",
    "Sigmoid", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten",
)  # fmt: skip


class Quantiser:
    """Quantises the parts of one network, each on what the part before it gives."""

    def __init__(
        self, graphs: Graphs, facts: Facts, images: Tensor, folder: Path, reduced: bool, batch: int | None
    ) -> None:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self.graphs, self.facts, self.folder, self.reduced = graphs, facts, folder, reduced
        self.batch = batch or (16 if not facts.dense else 2)
        whole = -(-len(images) // self.batch) * self.batch if batch else len(images)
        self.images = images[torch.arange(whole) % len(images)]  # a fixed batch is filled with the first ones again
        self.parts: list[Path] = []
        for number, part in enumerate(graphs.parts):
            self.parts.append(folder / f"part{number}.onnx")
            whole = folder / "whole.onnx"
            whole.write_bytes(part.SerializeToString())
            quant_pre_process(whole, self.parts[-1], skip_symbolic_shape=True)  # that fails on free sides and batches
        self.made: onnx.ModelProto | None = None
        self.feeds = [[{"image": some.numpy()} for some in self.images.split(self.batch)]]
        for part in self.parts[:-1]:
            self.feeds.append(list(self._onwards(part, self.feeds[-1])))

    def _onwards(self, part: Path, feeds: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        session = need("onnxruntime").InferenceSession(str(part), providers=["CPUExecutionProvider"])
        onwards = session.get_outputs()[1].name
        following = self.graphs.parts[len(self.feeds)].graph.input[0].name
        for feed in feeds:
            yield {following: session.run([onwards], feed)[0]}

    def layers(self) -> list[str]:
        """Names of the layers with weights, in the order in which they run."""
        onnx = need("onnx")
        return [node.name for part in self.parts for node in onnx.load(part).graph.node if node.op_type in _LAYERS]

    def quantised(self, exclude: Sequence[str] = (), only: Sequence[str] = ()) -> onnx.ModelProto:
        """The joined graph with layers left in float, or with some quantised only."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        onnx, made = need("onnx"), []
        for number, part in enumerate(self.parts):
            target = self.folder / "quantised.onnx"
            quantize_static(
                part, target, _Reader(self.feeds[number]), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=self.reduced,
                op_types_to_quantize=list(_QUANTISED), nodes_to_exclude=list(exclude),
                nodes_to_quantize=list(only) or None,
            )  # fmt: skip
            made.append(onnx.load(target))
        self.made = self.graphs.join(made)
        return self.made

    def file(self, made: onnx.ModelProto, name: str) -> Path:
        """A file of a graph, for a try."""
        return write_onnx(made, self.facts.quantised(), self.folder / name)

    def attempts(
        self, first: tuple[str, ...], plain: OnnxNetwork, say: Callable[[str], None]
    ) -> Iterator[tuple[str, ...]]:
        """Which layers stay in float: the given ones; then more, the most harmful first."""
        yield first
        known = [name for name in self.layers() if name not in first]
        say(f"Measuring what each of {len(known)} layers alone costs; this takes about a second a layer.")
        harm = self.harm(plain, known)
        worst = sorted(known, key=harm.get, reverse=True)
        count = 1
        while count <= max(1, len(known) // 2):
            yield (*first, *worst[:count])
            count *= 2

    def harm(self, plain: OnnxNetwork, known: Sequence[str]) -> dict[str, float]:
        """Mean squared change of the logits on calibration images when a layer alone is quantised."""
        images = self.images[: 4 * self.batch].split(self.batch)
        expected, found = [plain(some) for some in images], {}
        for name in known:
            network = OnnxNetwork(self.file(self.quantised(only=[name]), "one.onnx"))
            changes = [((network(some) - right) ** 2).mean() for some, right in zip(images, expected, strict=True)]
            found[name] = float(sum(changes) / len(changes))
        return found


class _Reader:
    """What the quantiser reads calibration batches from."""

    def __init__(self, feeds: Sequence[dict[str, np.ndarray]]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None behind the last one."""
        return next(self.feeds, None)


@contextmanager
def quiet_quantiser() -> Iterator[None]:
    """The quantiser logs advice for people who call it by hand."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
