"""Copies of a network at slider speed."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import cache
from typing import Any

from torch import nn

__all__ = ["copied", "for_inference"]

_ATOMS = {int, float, str, bool, type(None), bytes}
_EMPTY = {dict, OrderedDict, set}
_OWN_WAYS = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__slots__")


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Returns ``copy.deepcopy(model, memo)`` in a quarter of the time.

    `copy.deepcopy` looks at each of the dozens of attributes of each module; nearly all are numbers, names and empty
    dictionaries of hooks. Those are dealt with here, everything else is left to it, with the same memo.

    Args:
        model: the network; tensors that ``memo`` knows are not copied.
        memo: id of an object -> what stands for it in the copy.
    """
    return _module(model, {} if memo is None else memo)


def for_inference(model: nn.Module) -> nn.Module:
    """A copy without the heads that only a loss reads (`Network.loss_heads`): what is deployed, and timed.

    Example:
        >>> for_inference(create_model("ued_bes_sfm", 6))(images).shape  # no longer `Parts`
        torch.Size([1, 6, 512, 512])
    """
    made = copied(model)
    for head in getattr(model, "loss_heads", ()):
        setattr(made, head, None)
    return made


def _module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    kind = type(module)
    if id(module) in memo or _copies_itself(kind) or "_compiled_call_impl" in module.__dict__:
        return copy.deepcopy(module, memo)
    made = memo[id(module)] = kind.__new__(kind)
    state = made.__dict__
    for name, value in module.__dict__.items():
        if type(value) in _ATOMS:
            state[name] = value
        elif name == "_modules":
            state[name] = {key: None if child is None else _module(child, memo) for key, child in value.items()}
        elif type(value) in _EMPTY and not value and id(value) not in memo:
            state[name] = type(value)()
        else:
            state[name] = copy.deepcopy(value, memo)
    return made


@cache
def _copies_itself(kind: type) -> bool:
    return any(name in vars(base) for base in kind.__mro__ if base not in (nn.Module, object) for name in _OWN_WAYS)
