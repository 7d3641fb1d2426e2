"""From a PyTorch module to an ONNX graph, by torch's own exporter; its reasons for not doing it in one sentence."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rsprune_lib.deploy.onnx_files import need
from rsprune_lib.errors import ModelError

if TYPE_CHECKING:
    import onnx

__all__ = ["DEFAULT_OPSET", "Graphs", "check_opset", "trace"]

OPSETS = range(18, 24)  # what torch's exporter writes; DFT (GFNet's transform) needs 20
DEFAULT_OPSET = 20
_PATTERNS = (  # of an exporter's message -> the reason
    (re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'"), "ONNX has no operation for {}"),
    (re.compile(r"(?:Not all values of )?(\w+) = .{0,80}?(?:specialized|marked as dynamic)"), "its {} is fixed inside"),
)


@dataclass(frozen=True)
class Graphs:
    """A network as one or several graphs, which are quantised one by one and then become one file.

    Attributes:
        parts: graphs in the order in which they run; the second output of one is the input of the next.
        join: from the parts, or quantised ones in their place, to the graph of the file.
        notes: what was decided, a sentence each.
    """

    parts: tuple[onnx.ModelProto, ...]
    join: Callable[[Sequence[onnx.ModelProto]], onnx.ModelProto]
    notes: tuple[str, ...] = ()


def check_opset(opset: int | None) -> int:
    """The opset that is meant.

    Raises:
        ModelError: the exporter does not write it.
    """
    if opset is None:
        return DEFAULT_OPSET
    if opset not in OPSETS:
        raise ModelError(
            f"Opset {opset} is not written; give one from {OPSETS[0]} to {OPSETS[-1]}, or leave --opset out "
            f"({DEFAULT_OPSET})."
        )
    return opset


def trace(
    network: nn.Module,
    example: Sequence[Tensor],
    names: tuple[Sequence[str], Sequence[str]],
    dynamic: Mapping[str, Mapping[int, Any]],
    opset: int | None = None,
) -> onnx.ModelProto:
    """Exports a module.

    Args:
        network: in evaluation mode, on the CPU.
        example: inputs; a dimension that is to stay dynamic should be 2 or more.
        names: of the inputs and of the outputs.
        dynamic: for each input of several sizes: dimension -> `torch.export.Dim`.
        opset: see `check_opset`.

    Raises:
        ModelError: an operation has no counterpart, or a dimension cannot be dynamic.
    """
    need("onnx"), need("onnxscript"), need("onnxruntime")
    wanted, (inputs, outputs) = check_opset(opset), names
    with torch.no_grad():
        network(*example)  # tables that a network keeps must not be made of the exporter's tensors without values
    shapes = tuple(dict(dynamic.get(name, {})) or None for name in inputs)
    with _quiet():
        try:
            program = torch.onnx.export(
                network, tuple(example), input_names=list(inputs), output_names=list(outputs), opset_version=wanted,
                dynamic_shapes=(shapes,) if _starred(network) else shapes, dynamo=True, external_data=False,
                verbose=False, optimize=True,
            )  # fmt: skip
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(f"It does not export: {_reason(error)}.") from error
    made = program.model_proto
    got = next(item.version for item in made.opset_import if item.domain in ("", "ai.onnx"))
    if got != wanted:
        raise ModelError(f"It needs opset {got}, not {wanted}; leave --opset out.")
    return _tidied(made)


def _tidied(made: onnx.ModelProto) -> onnx.ModelProto:
    """Calls layers by their modules, and leaves out what the exporter notes of its work: paths of this machine."""
    weights = {item.name for item in made.graph.initializer}
    taken = {node.name for node in made.graph.node}
    for node in made.graph.node:
        layer = next((name for name in node.input if name in weights and name.endswith(".weight")), None)
        name = layer and layer.removesuffix(".weight").rpartition("network.")[2]
        if name and name not in taken:
            node.name = name
            taken.add(name)
        node.doc_string = ""
        del node.metadata_props[:]
    for item in (made, made.graph, *made.graph.input, *made.graph.output, *made.graph.value_info, *made.functions):
        item.doc_string = ""
        del item.metadata_props[:]
    for item in made.graph.initializer:
        item.doc_string = ""
        del item.metadata_props[:]
    return made


def _starred(network: nn.Module) -> bool:
    """Whether ``forward`` takes its inputs as ``*inputs``: then their shapes come as one tuple."""
    return network.forward.__code__.co_flags & 0x04 != 0


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own insides and prints its steps."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The shortest true words of an exporter's message, which are pages with colours and advice."""
    chain, text = error, ""
    while chain is not None:
        text += f"\n{chain}"
        chain = chain.__cause__
    for pattern, words in _PATTERNS:
        if found := pattern.search(text):
            return words.format(found[1])
    lines = [line.strip() for line in re.sub(r"\x1b\[\d+m", "", str(error.__cause__ or error)).splitlines()]
    return next((line.rstrip(".")[:300] for line in lines if line), type(error).__name__)
