"""Ways to run one and the same network on a CPU: PyTorch in four manners, ONNX Runtime, OpenVINO.

Every way is loaded as a `Run`, which takes images (B, 3, H, W) float32 in [0, 1] and returns the logits as a tensor. So
all of them do the same work: the normalisation, which exported files hold, is part of the others too.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.bundle_files import WEIGHTS
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.onnx_files import OnnxNetwork, need
from rsprune_lib.device import supports_bf16
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.measure import EarlyExit, lean
from rsprune_lib.models import for_inference
from rsprune_lib.tasks import task_of

__all__ = ["RUNTIMES", "Candidate", "Run", "Runtime", "usable"]


@dataclass(frozen=True)
class Candidate:
    """A network with everything that a runtime may load.

    Attributes:
        name: for tables.
        model: the network, in evaluation mode; an `EarlyExit` if images leave it early.
        facts: what it needs around it: normalisation, classes, size.
        folder: of its bundle.
        onnx: exported file of float weights, None if none was made.
        int8: exported file of whole-number weights, likewise.
    """

    name: str
    model: nn.Module
    facts: Facts
    folder: Path
    onnx: Path | None = None
    int8: Path | None = None


class Run:
    """A network as it runs somewhere.

    Args:
        call: images (B, 3, H, W) float32 in [0, 1] -> logits.
        size: bytes of the file that it was loaded from.
        clock: seconds of computing so far, where other threads than the caller's compute; else the caller's.
    """

    def __init__(
        self, call: Callable[[Tensor], Tensor], size: int, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self.call, self.size, self.clock = call, size, clock

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> logits, without gradients."""
        with torch.inference_mode():
            return self.call(images)


@dataclass(frozen=True)
class Runtime:
    """One way.

    Attributes:
        title: for tables and figures.
        file: what it loads: ``"bundle"``, ``"onnx"`` or ``"int8"``.
        missing: why it cannot run on this machine; None if it can.
        load: (candidate, threads) -> `Run`.
    """

    title: str
    file: str
    missing: Callable[[], str | None]
    load: Callable[[Candidate, int], Run]


def usable(names: Sequence[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Which runtimes can run here, and why the others cannot.

    Args:
        names: keys of `RUNTIMES`; None stands for all.

    Raises:
        RspruneError: a name is unknown, or one that was asked for by name cannot run here.
    """
    for name in names or ():
        if name not in RUNTIMES:
            raise unknown("runtime", name, RUNTIMES)
    reasons = {name: RUNTIMES[name].missing() for name in names or RUNTIMES}
    missing = {name: why for name, why in reasons.items() if why}
    if names and missing:
        name, why = next(iter(missing.items()))
        raise RspruneError(f"The runtime {name} cannot run here: {why}")
    return [name for name in reasons if name not in missing], missing


def _torch_run(
    candidate: Candidate, model: nn.Module, layout: torch.memory_format, dtype: torch.dtype | None = None
) -> Run:
    """A PyTorch network behind the normalisation, which stays in float32 where the network takes another type."""
    network, final = Deployed(model, candidate.facts).to(memory_format=layout), task_of(model).final
    if dtype is not None:
        network.network.register_forward_pre_hook(lambda _network, given: (given[0].to(dtype), *given[1:]))

    def call(images: Tensor) -> Tensor:
        return final(network(images.to(memory_format=layout))).float()

    return Run(call, (candidate.folder / WEIGHTS).stat().st_size)


def _eager(candidate: Candidate, _threads: int) -> Run:
    return _torch_run(candidate, candidate.model, torch.contiguous_format)


def _channels_last(candidate: Candidate, _threads: int) -> Run:
    return _torch_run(candidate, candidate.model, torch.channels_last)


def _bf16(candidate: Candidate, _threads: int) -> Run:
    model = candidate.model
    lighter = EarlyExit(lean(model.model), model.rule) if isinstance(model, EarlyExit) else lean(for_inference(model))
    return _torch_run(candidate, lighter, torch.channels_last, torch.bfloat16)


def _compiled(candidate: Candidate, _threads: int) -> Run:
    network = Deployed(candidate.model, candidate.facts).to(memory_format=torch.channels_last)
    compiled, final = torch.compile(network, dynamic=False), task_of(candidate.model).final

    def call(images: Tensor) -> Tensor:
        return final(compiled(images.to(memory_format=torch.channels_last)))

    return Run(call, (candidate.folder / WEIGHTS).stat().st_size)


def _onnx(candidate: Candidate, threads: int, file: str) -> Run:
    path = getattr(candidate, file)
    network = OnnxNetwork(path, threads)
    return Run(network, path.stat().st_size, time.thread_time if threads == 1 else time.process_time)


def _openvino(candidate: Candidate, threads: int, file: str) -> Run:
    core, path = need("openvino").Core(), getattr(candidate, file)
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()

    def call(images: Tensor) -> Tensor:
        found = request.infer({0: np.ascontiguousarray(images.numpy())}, share_inputs=True)
        return torch.from_numpy(np.array(found[0]))

    return Run(call, path.stat().st_size, time.process_time)


def _here() -> None:
    return None


def _without(module: str, extra: str) -> Callable[[], str | None]:
    return lambda: None if find_spec(module) else f"{module} is not installed; run: pip install '{extra}'"


def _no_bf16() -> str | None:
    if supports_bf16(torch.device("cpu")):
        return None
    return "this processor does not compute in bfloat16, and imitating it is slower than float32."


def _no_compiler() -> str | None:
    if any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "c++", "clang++", "cl")):
        return None
    return "torch.compile needs a C++ compiler, and none was found."


_ORT, _OV = _without("onnxruntime", "rsprune[deploy]"), _without("openvino", "rsprune[openvino]")
RUNTIMES: dict[str, Runtime] = {
    "eager": Runtime("PyTorch, as it is", "bundle", _here, _eager),
    "channels_last": Runtime("PyTorch, channels-last", "bundle", _here, _channels_last),
    "bf16": Runtime("PyTorch, bfloat16", "bundle", _no_bf16, _bf16),
    "compile": Runtime("torch.compile", "bundle", _no_compiler, _compiled),
    "onnx": Runtime("ONNX Runtime", "onnx", _ORT, partial(_onnx, file="onnx")),
    "onnx_int8": Runtime("ONNX Runtime, int8", "int8", _ORT, partial(_onnx, file="int8")),
    "openvino": Runtime("OpenVINO", "onnx", _OV, partial(_openvino, file="onnx")),
    "openvino_int8": Runtime("OpenVINO, int8", "int8", _OV, partial(_openvino, file="int8")),
}
