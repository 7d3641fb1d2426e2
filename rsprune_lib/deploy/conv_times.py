"""How long a convolution takes in ONNX Runtime, width by width: kernels compute channels in blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from rsprune_lib.background import at_rest
from rsprune_lib.deploy.onnx_files import need

__all__ = ["conv_times"]

_DEPTH = 4  # layers in a row: alone, a layer pays for the change of the memory layout before and behind it


def conv_times(widths: Sequence[int], *, side: int = 16, rounds: int = 15, passes: int = 20) -> dict[int, float]:
    """Times a 3 x 3 convolution with as many channels out as in, among its like, all widths in turn, on one thread.

    Args:
        widths: channels.
        side: pixels a side of the map.
        rounds: how often each has its turn.
        passes: of one turn.

    Returns:
        Width -> median over the rounds of the microseconds of computing of one layer with its ReLU.

    Raises:
        RspruneError: a package is missing.
    """
    runtime, options = need("onnxruntime"), need("onnxruntime").SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {n: runtime.InferenceSession(_convs(n, side), options) for n in widths}
    images = {n: {"x": np.ones((1, n, side, side), np.float32)} for n in widths}
    times: dict[int, list[float]] = {n: [] for n in widths}
    with at_rest():
        for _ in range(rounds):
            for n, session in sessions.items():
                session.run(None, images[n])
                start = time.thread_time()
                for _ in range(passes):
                    session.run(None, images[n])
                times[n].append(1e6 * (time.thread_time() - start) / passes / _DEPTH)
    return {n: float(np.median(own)) for n, own in times.items()}


def _convs(channels: int, side: int) -> bytes:
    """Layers one behind the other, each with its ReLU, as an ONNX graph."""
    onnx = need("onnx")
    make, values, shape = onnx.helper, "x", [1, channels, side, side]
    weight = 0.1 * np.random.default_rng(0).normal(size=(channels, channels, 3, 3)).astype(np.float32)
    nodes = []
    for k in range(_DEPTH):
        nodes.append(make.make_node("Conv", [values, "w"], [f"conv{k}"], pads=[1, 1, 1, 1]))
        values = f"relu{k}"
        nodes.append(make.make_node("Relu", [f"conv{k}"], [values]))
    ends = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", values)]
    graph = make.make_graph(nodes, "convs", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weight, "w")])
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10).SerializeToString()
