"""A network with early exits as one ONNX graph that really stops: what left is not computed any further.

The network is cut at its exits. Behind each one the graph decides which images stay (``NonZero``), and where some do
(``If``), gathers them, runs the next part on them alone, and scatters its answers back over those of the exit:

    part 0 -> leaves? -> If any stays: Gather -> part 1 -> leaves? -> If ... -> ScatterND
                         else: the answers of the exit

The thresholds are an input with those of the stored rule as its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rsprune_lib.deploy.exit_join import Joiner
from rsprune_lib.deploy.facts import Deployed
from rsprune_lib.deploy.onnx_files import need
from rsprune_lib.deploy.tracing import Graphs, trace
from rsprune_lib.errors import ModelError
from rsprune_lib.measure import ExitRule
from rsprune_lib.models import Early, run_early
from rsprune_lib.models.places import watched

if TYPE_CHECKING:
    import onnx

__all__ = ["early", "trace_exits"]


@torch.no_grad()
def early(reference: Deployed, images: Tensor, rule: ExitRule) -> Early:
    """Where images in [0, 1] leave the PyTorch network, and with which logits."""
    return run_early(reference.network, (images - reference.mean) / reference.std, rule.leave())


def trace_exits(
    reference: Deployed, rule: ExitRule | None, example: Tensor, opset: int | None = None, *, fixed: bool = False
) -> Graphs:
    """Cuts a network at its exits.

    Args:
        reference: a network with exits.
        rule: by which images leave.
        example: images (B, 3, H, W) in [0, 1].
        opset: of ONNX.
        fixed: the file takes batches of the example's size only.

    Returns:
        One graph per part, ``image`` or ``tokens`` -> ``logits`` (and what goes on), and how they become one file.

    Raises:
        ModelError: there is no rule, or something does not export.
    """
    if rule is None:
        raise ModelError("The exits of this network have no rule yet; calibrate them with `rsprune exits`.")
    exits, count = reference.network.exits, len(reference.network.exits.heads)
    seen: dict[str, Tensor] = {}
    with torch.no_grad():
        watched(reference.network, exits.places, (example - reference.mean) / reference.std, seen)
    patient = rule.kind == "patience"
    inputs, outputs, examples = ["image"], [], [example]
    free = {} if fixed else {"image": {0: torch.export.Dim("batch", min=1)}}

    def add(name: str, value: Tensor, size: str | None = None) -> None:
        inputs.append(name)
        examples.append(value)
        if size:
            free[name] = {0: torch.export.Dim(size, min=1)}

    for number, place in enumerate(exits.places):
        left = f"left{number + 1}"
        add(f"x{number + 1}", seen[place].clone(), left)
        add(f"cut{number}", torch.tensor(float(rule.thresholds[number])))
        if patient and number + 1 < count:
            add(f"said{number + 1}", torch.zeros(len(example), dtype=torch.int64), left)
            add(f"agreed{number + 1}", torch.ones(len(example), dtype=torch.int64), left)
        outputs += [f"logits{number}", f"y{number}", f"leaves{number}"]
        outputs += [f"answer{number}", f"agreeing{number}"] if patient else []
    outputs.append(f"logits{count}")
    whole = trace(_Staged(reference, rule, tuple(inputs)).eval(), examples, (inputs, outputs), free, opset)
    parts = tuple(_cut(whole, ["image" if not n else f"x{n}"], _ends(n, count)) for n in range(count + 1))
    decisions = tuple(_decision(whole, number, patient) for number in range(count))
    thresholds = tuple(map(float, rule.thresholds))
    return Graphs(parts, lambda made: Joiner(tuple(made), decisions, thresholds, whole, patient).graph(), ())


def _ends(number: int, count: int) -> list[str]:
    return [f"logits{number}", *([f"y{number}"] if number < count else [])]


class _Stop(BaseException):
    """The part that is traced ends here."""


@dataclass
class _Part:
    """Runs one part of a network inside its own forward pass; see `rsprune_lib.models.exits.Exits`.

    Attributes:
        number: of the part.
        x: what comes in; None for images.
    """

    number: int
    x: Tensor | None
    logits: Tensor | None = None
    y: Tensor | None = None

    def step(self, number: int, logits: Tensor, y: Tensor) -> Tensor | None:
        """What goes on behind an exit."""
        if number == self.number:
            self.logits, self.y = logits, y
            raise _Stop
        return self.x.clone() if number == self.number - 1 else None


class _Staged(nn.Module):
    """All parts side by side: each computes from an input of its own, so that the graph falls apart between them."""

    def __init__(self, reference: Deployed, rule: ExitRule, names: tuple[str, ...]) -> None:
        super().__init__()
        self.reference, self.rule, self.names = reference, rule, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Values of the inputs, in the order of their names -> of the outputs."""
        given, outputs = dict(zip(self.names, inputs, strict=True)), []
        exits = self.reference.network.exits
        for number in range(len(exits.heads)):
            part = self._run(number, given)
            outputs += [part.logits, part.y]
            agreed, answer = None, part.logits.argmax(1)
            if self.rule.kind == "patience":
                agreed = torch.ones_like(answer)
                if number:
                    before, length = given[f"said{number}"], given[f"agreed{number}"]
                    agreed = torch.where(answer == before, length + 1, 1)
            outputs.append(self.rule.decides(number, part.logits, given[f"cut{number}"], agreed))
            outputs += [answer, agreed] if agreed is not None else []
        return (*outputs, self._run(len(exits.heads), given).logits)

    def _run(self, number: int, given: dict[str, Tensor]) -> _Part:
        image, network = given["image"], self.reference.network
        part = _Part(number, given.get(f"x{number}"))
        if number:  # the layers before the part run on nothing, and are no part of the graph
            image = part.x.new_zeros(part.x.shape[0], *image.shape[1:])
        network.exits._early = part
        try:
            part.logits = network((image - self.reference.mean) / self.reference.std)
        except _Stop:
            pass
        finally:
            network.exits._early = None
        return part


def _cut(whole: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph between some tensors.

    Raises:
        ModelError: something else flows into it.
    """
    onnx = need("onnx")
    made_by = {name: node for node in whole.graph.node for name in node.output}
    weights = {item.name: item for item in whole.graph.initializer}
    used, waiting, nodes = set(), list(outputs), set()
    while waiting:
        name = waiting.pop()
        if name in used or name in inputs or not name:
            continue
        used.add(name)
        if name in made_by:
            nodes.add(id(made_by[name]))
            waiting += made_by[name].input
        elif name not in weights:
            raise ModelError(
                f"The part of the network behind {inputs[0]} also needs {name}, so it cannot be cut there."
            )
    values = {value.name: value for value in (*whole.graph.input, *whole.graph.output)}
    graph = onnx.helper.make_graph(
        [node for node in whole.graph.node if id(node) in nodes], "part", [values[name] for name in inputs],
        [values[name] for name in outputs], [item for name, item in weights.items() if name in used],
        value_info=[value for value in whole.graph.value_info if value.name in used],
    )  # fmt: skip
    made = onnx.helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    made.functions.extend(whole.functions)
    return made


def _decision(whole: onnx.ModelProto, number: int, patient: bool) -> onnx.ModelProto:
    inputs, outputs = [f"logits{number}", f"cut{number}"], [f"leaves{number}"]
    if patient:
        inputs += [f"said{number}", f"agreed{number}"] if number else []
        outputs += [f"answer{number}", f"agreeing{number}"]
    return _cut(whole, inputs, outputs)
