"""Labels that travel through a network with its tensors, and say of each value which channel it belongs to.

Every output channel of every layer, every input channel, and every value of a bare parameter gets a number, its label.
While one image goes through the network each operation does to the labels what it does to the values: what moves values
(a transposition, a slice, a shuffle) moves the labels in the same way, and an addition notes that the labels of its two
operands are *tied*: channels that must be kept or removed together. Where a channel cannot be removed (a softmax over
channels, padding of a fixed width) its label is *locked*. What an unknown operation gets is locked, so that the outcome
can be too careful, but not wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from rsprune_lib.pruning.layers import kind_of

__all__ = ["LOCK", "Labels", "vary"]

LOCK = 1  # the label of what cannot be removed
Label = Tensor | None  # int64, in the shape of the value; None where no value belongs to a channel


def vary(label: Tensor, dim: int) -> bool:
    """Whether the labels differ along a dimension."""
    if label.shape[dim] < 2 or label.stride(dim) == 0:
        return False
    return bool((label != label.narrow(dim, 0, 1)).any())


class Labels(TorchDispatchMode):
    """Follows labels through everything that runs inside; use it in inference mode, where operations arrive whole.

    Args:
        model: its modules give the layers that labels are made for.

    Attributes:
        slots: (layer, side, axis) -> (C,) labels of that side's channels, in the order of the first use.
        bare: name of a parameter or buffer that no known layer owns -> labels in its shape.
        ties: pairs of label vectors that are tied element by element.
        locks: (labels, reason) pairs.
        stack: names of the modules that are running, the outermost first.
    """

    def __init__(self, model: nn.Module, rule_of: Callable[..., Any]) -> None:
        super().__init__()
        self._rule_of = rule_of
        self.modules = dict(model.named_modules())
        self.slots: dict[tuple[str, str, int], Tensor] = {}
        self.bare: dict[str, Tensor] = {}
        self.ties: list[tuple[Tensor, Tensor]] = []
        self.locks: list[tuple[Tensor, str]] = []
        self.stack: list[str] = [""]
        self.silent = False  # inside of a layer that answers for itself
        self.count = LOCK + 1
        self._of = WeakTensorKeyDictionary()
        self._loose: list[tuple[int, int]] = []
        self._owner: dict[int, tuple[str, nn.Module | None]] = {}
        for name, module in self.modules.items():
            known = module if kind_of(module) or isinstance(module, nn.MultiheadAttention) else None
            for own, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                self._owner[id(tensor)] = (name if known is not None else f"{name}.{own}".lstrip("."), known)

    # -- labels of tensors -------------------------------------------------------------------------------------------

    def get(self, value: object) -> Label:
        """Returns the labels of a value; a bare parameter gets its own when it is first used."""
        if not isinstance(value, Tensor):
            return None
        if value in self._of:
            return self._of[value]
        name, known = self._owner.get(id(value), ("", None))
        if not name or known is not None or not value.is_floating_point() or value.numel() < 2:
            return None
        self.bare[name] = self._of[value] = self.fresh(value.numel()).view(value.shape)
        self._loose.append((self.count - value.numel(), self.count))
        return self._of[value]

    def loose(self, label: Tensor) -> bool:
        """Whether labels are those of a bare parameter, each value having its own until it meets channels."""
        first = int(label.flatten()[0])
        return any(low <= first < high for low, high in self._loose)

    def set(self, value: object, label: Label) -> None:
        """Gives a value its labels, spread to its shape."""
        if isinstance(value, Tensor):
            if label is None:
                self._of.pop(value, None)
            else:
                self._of[value] = label.expand(value.shape)

    def fresh(self, size: int) -> Tensor:
        """Returns new labels, (size,)."""
        self.count += size
        return torch.arange(self.count - size, self.count)

    def slot(self, layer: str, side: str, axis: int, size: int) -> Tensor:
        """Returns the labels of one side of a layer, (size,)."""
        if (layer, side, axis) not in self.slots:
            self.slots[layer, side, axis] = self.fresh(size)
        return self.slots[layer, side, axis]

    def tie(self, one: Tensor, other: Tensor) -> None:
        """Notes that labels stand and fall together, element by element."""
        one, other = torch.broadcast_tensors(one, other)
        self.ties.append((one.reshape(-1).clone(), other.reshape(-1).clone()))

    def lock(self, label: Label, reason: str) -> None:
        """Notes that labels cannot be removed."""
        if label is not None:
            self.locks.append((_slim(label).unique(), f"{reason} in {self.stack[-1]!r}" if self.stack[-1] else reason))

    def level(self, label: Tensor, dims: Iterable[int]) -> Tensor:
        """Ties labels along dimensions; returns them with these dimensions of size 1."""
        for dim in dims:
            first = label.narrow(dim, 0, 1)
            if vary(label, dim):
                self.tie(_slim(label, keep=dim), _slim(first))
            label = first
        return label

    def along(self, label: Tensor, dim: int) -> Tensor:
        """Ties labels along all other dimensions; returns a vector."""
        dim %= label.dim()
        return self.level(label, [d for d in range(label.dim()) if d != dim]).reshape(-1)

    def blend(self, values: Sequence[object], shape: Sequence[int]) -> Label:
        """Labels of an operation element by element, with broadcasting."""
        parts = []
        for value in values:
            if isinstance(value, Tensor) and value.dim():
                full, label = (1,) * (len(shape) - value.dim()) + tuple(value.shape), self.get(value)
                parts.append((full, None if label is None else _slim(label.reshape(full))))
        return self.join(parts, len(shape))

    def join(self, parts: Sequence[tuple[Sequence[int], Label]], dims: int) -> Label:
        """Ties the labels of several values that are combined element by element: (shape, labels) of each."""
        live: list[tuple[Sequence[int], Tensor]] = [(s, lab) for s, lab in parts if lab is not None]
        moving = {d for _, lab in live for d in range(dims) if vary(lab, d)}
        stay = []
        for shape, lab in live:
            if any(shape[d] == 1 and any(vary(o, d) for _, o in live if o is not lab) for d in moving):
                self.lock(lab, "one channel serves several")
            else:
                stay.append(lab)
        for shape, lab in parts:
            if lab is None and any(shape[d] > 1 for d in moving):
                for other in stay:
                    self.lock(other, "channels meet values that have none")
        if not stay:
            return None
        best = min(stay, key=Tensor.numel)  # the one that says most: what it spreads over is one channel
        for other in stay:
            if other is not best:
                self.tie(best, other)
        return best

    # -- running -----------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # noqa: ANN401
        """Runs an operation, and does to the labels what it does to the values."""
        kwargs = kwargs or {}
        if self.silent:
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        rule = self._rule_of(name, func)
        tensors = [t for a in (*args, *kwargs.values()) for t in (a if isinstance(a, list | tuple) else [a])]
        labelled = [label for t in tensors if (label := self.get(t)) is not None]
        if rule is None and labelled:
            with self:  # in smaller operations, if it consists of some
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if not labelled and not getattr(rule, "makes", False):
            return out
        if rule is not None:
            rule(self, name, out, args, kwargs)
            return out
        for label in labelled:
            self.lock(label, f"{name} is not understood")
        for each in out if isinstance(out, list | tuple) else [out]:
            self.set(each, None)
        return out

    def layer_of(self, weight: object) -> tuple[str, nn.Module | None]:
        """The known layer that owns a weight; else the running one (whose weight is computed from its own)."""
        name, known = self._owner.get(id(weight), ("", None))
        if known is None and kind_of(self.modules.get(self.stack[-1])):
            return self.stack[-1], self.modules[self.stack[-1]]
        return name, known


def _slim(label: Tensor, keep: int | None = None) -> Tensor:
    """The labels without repetitions that only spread them."""
    for dim in range(label.dim()):
        if dim != keep and label.shape[dim] > 1 and label.stride(dim) == 0:
            label = label.narrow(dim, 0, 1)
    return label


def split_blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Matches the dimensions of two shapes of one tensor: blocks of equal products."""
    blocks, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        a, b, p, q = [], [], 1, 1
        if i < len(before):
            a, p, i = [i], before[i], i + 1
        if j < len(after):
            b, q, j = [j], after[j], j + 1
        while p != q:
            if p < q and i < len(before):
                a.append(i)
                p, i = p * before[i], i + 1
            elif j < len(after):
                b.append(j)
                q, j = q * after[j], j + 1
            else:
                break
        blocks.append((a, b))
    return blocks
