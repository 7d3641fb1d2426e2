"""Parts of a network with exits, and the decisions between them, joined into one graph; see `exit_graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsprune_lib.deploy.onnx_files import need

if TYPE_CHECKING:
    import onnx

__all__ = ["Joiner"]


@dataclass
class Joiner:
    """Puts parts, quantised or not, into one graph.

    Attributes:
        parts: of `trace_exits`.
        decisions: one per exit.
        thresholds: defaults of the input.
        whole: the traced graph, for opset and shapes.
        patient: images carry how often exits agreed.
    """

    parts: tuple[onnx.ModelProto, ...]
    decisions: tuple[onnx.ModelProto, ...]
    thresholds: tuple[float, ...]
    whole: onnx.ModelProto
    patient: bool

    def graph(self) -> onnx.ModelProto:
        """``image``, ``thresholds`` -> ``logits``, ``exit``."""
        onnx = need("onnx")
        h, F, I = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64  # noqa: E741
        nodes, weights = self._stage(0, "image")
        nodes += [h.make_node("Identity", [f"{name}@0"], [name]) for name in ("logits", "exit")]
        found = next(value for value in self.whole.graph.output if value.name == "logits0")
        rows, classes = (dim.dim_param or dim.dim_value for dim in found.type.tensor_type.shape.dim)
        cuts = h.make_tensor("thresholds", F, [len(self.thresholds)], self.thresholds)
        graph = h.make_graph(
            nodes, "exits",
            [self.parts[0].graph.input[0], h.make_tensor_value_info("thresholds", F, [len(self.thresholds)])],
            [h.make_tensor_value_info("logits", F, [rows, classes]),
             h.make_tensor_value_info("exit", I, [rows])],
            [cuts, *weights],
        )  # fmt: skip
        opsets = {item.domain: item for part in (self.whole, *self.parts) for item in part.opset_import}
        made = h.make_model(graph, opset_imports=list(opsets.values()), ir_version=self.whole.ir_version)
        made.functions.extend(self.whole.functions)
        return made

    def _stage(self, number: int, x: str, said: str = "", agreed: str = "") -> tuple[list, list]:
        """Nodes and weights from a part's input to ``logits@number`` and ``exit@number`` of its images."""
        onnx = need("onnx")
        h, mark, last = onnx.helper, f"s{number}/", number == len(self.decisions)
        logits, y, state = f"{mark}logits", f"{mark}y", {"image": x, f"x{number}": x}
        nodes, weights = _renamed(self.parts[number], mark, state | {f"logits{number}": logits, f"y{number}": y})
        weights += [h.make_tensor(f"{mark}{name}", onnx.TensorProto.INT64, [len(value)], value) for name, value in
                    (("first", [0]), ("second", [1]), ("all", [-1]))]  # fmt: skip
        nodes += [
            h.make_node("Shape", [logits], [f"{mark}rows"], start=0, end=1),
            h.make_node(
                "ConstantOfShape", [f"{mark}rows"], [f"{mark}exit"],
                value=h.make_tensor("", onnx.TensorProto.INT64, [1], [number]),
            ),
        ]  # fmt: skip
        if last:
            ends = ((logits, f"logits@{number}"), (f"{mark}exit", f"exit@{number}"))
            return nodes + [h.make_node("Identity", [one], [other]) for one, other in ends], weights
        weights.append(h.make_tensor(f"{mark}number", onnx.TensorProto.INT64, [], [number]))
        nodes.append(h.make_node("Gather", ["thresholds", f"{mark}number"], [f"{mark}cut"]))
        names = {f"logits{number}": logits, f"cut{number}": f"{mark}cut", f"leaves{number}": f"{mark}leaves"}
        names |= {f"said{number}": said, f"agreed{number}": agreed}
        names |= {f"answer{number}": f"{mark}answer", f"agreeing{number}": f"{mark}agreeing"}
        more, constants = _renamed(self.decisions[number], f"{mark}rule/", names)
        nodes += [
            *more,
            h.make_node("Not", [f"{mark}leaves"], [f"{mark}stays"]),
            h.make_node("NonZero", [f"{mark}stays"], [f"{mark}places"]),
            h.make_node("Reshape", [f"{mark}places", f"{mark}all"], [f"{mark}staying"]),
            h.make_node("Size", [f"{mark}staying"], [f"{mark}count"]),
            h.make_node("Cast", [f"{mark}count"], [f"{mark}some"], to=onnx.TensorProto.BOOL),
            h.make_node(
                "If", [f"{mark}some"], [f"logits@{number}", f"exit@{number}"], name=f"behind exit {number}",
                then_branch=self._rest(number, mark), else_branch=self._leave(number, mark),
            ),
        ]  # fmt: skip
        return nodes, weights + constants

    def _rest(self, number: int, mark: str) -> onnx.GraphProto:
        """What happens to images that stay: the next part, and its answers in the places of the exit's."""
        h, inner = need("onnx").helper, f"s{number + 1}/"
        carried = [(f"{mark}y", f"{inner}x")]
        if self.patient:
            carried += [(f"{mark}answer", f"{inner}said"), (f"{mark}agreeing", f"{inner}agreed")]
        nodes = [h.make_node("Gather", [one, f"{mark}staying"], [other], axis=0) for one, other in carried]
        more, weights = self._stage(number + 1, f"{inner}x", f"{inner}said", f"{inner}agreed")
        places = f"{mark}targets"
        nodes += [*more, h.make_node("Unsqueeze", [f"{mark}staying", f"{mark}second"], [places])]
        ends = []
        for name in ("logits", "exit"):
            ends.append(f"{mark}whole {name}")
            nodes.append(h.make_node("ScatterND", [f"{mark}{name}", places, f"{name}@{number + 1}"], [ends[-1]]))
        return h.make_graph(nodes, f"stay {number}", [], self._ends(ends), weights)

    def _leave(self, number: int, mark: str) -> onnx.GraphProto:
        """Nobody stays: the answers of the exit."""
        h = need("onnx").helper
        ends = {name: f"{mark}only {name}" for name in ("logits", "exit")}
        nodes = [h.make_node("Identity", [f"{mark}{name}"], [end]) for name, end in ends.items()]
        return h.make_graph(nodes, f"leave {number}", [], self._ends(ends.values()))

    @staticmethod
    def _ends(names: Iterable[str]) -> list:
        onnx = need("onnx")
        logits, exits = names
        value: Callable = onnx.helper.make_tensor_value_info
        return [value(logits, onnx.TensorProto.FLOAT, None), value(exits, onnx.TensorProto.INT64, None)]


def _renamed(part: onnx.ModelProto, mark: str, names: dict[str, str]) -> tuple[list, list]:
    """Copies of nodes and weights whose names begin with a mark, but for those that have new ones."""
    onnx = need("onnx")
    copied = onnx.ModelProto()
    copied.CopyFrom(part)
    known = {name: new for name, new in names.items() if new}

    def new(name: str) -> str:
        return known.get(name, mark + name) if name else ""

    for node in copied.graph.node:
        node.name = mark + node.name
        for values in (node.input, node.output):
            values[:] = [new(name) for name in values]
    for item in copied.graph.initializer:
        item.name = new(item.name)
    return list(copied.graph.node), list(copied.graph.initializer)
