"""Copy as code: the library calls that do what a setting of the live tool stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsprune_lib.studio.setting import Setting

__all__ = ["as_code"]

_DOOR = {"none": "none", "bn": "bn", "live": "none", "sequential": "closed_form"}


def as_code(
    setting: Setting,
    choosing: Mapping[str, Any],
    *,
    images: int,
    batch_size: int,
    gates: bool,
    own_gates: bool,
) -> str:
    """Writes a setting as Python code that needs ``model`` and ``data`` (and ``gates`` of a network with SE blocks).

    Args:
        setting: where the controls stand.
        choosing: the arguments of `rsprune_lib.pruning.choose` that it stands for.
        images: training images of criterion and recovery.
        batch_size: images a batch.
        gates: the network has SE blocks.
        own_gates: their statistics were collected on these images.

    Returns:
        Code that ends with ``small`` (the network) and ``plan``.
    """
    amount = {key: choosing[key] for key in ("ratio", "threshold", "macs") if choosing.get(key) is not None}
    extra = {key: choosing[key] for key in ("per_group", "normalise", "clip") if choosing.get(key)}
    arguments = {"criterion": setting.criterion, "scope": choosing.get("scope", "local"), **amount}
    arguments |= {"choosing": extra} if extra else {}
    arguments |= {"recovery": _DOOR[setting.recovery], "images": images, "batch_size": batch_size}
    live = setting.recovery == "live"
    names = ["Live"] if live else []
    names += ["gate_statistics"] if gates and own_gates else []
    lines = ["from rsprune_lib.data import Batches"] if live or (gates and own_gates) else []
    lines += [f"from rsprune_lib.pruning import {', '.join([*names, 'prune'])}", ""]
    if live or (gates and own_gates):
        lines.append(f'batches = Batches(data, "train", {batch_size}, limit={images})')
    if gates and own_gates:
        lines.append("gates = gate_statistics(model, batches)")
    lines += ["pruned = prune(", f"    model, data,{' gates=gates,' if gates else ''}"]
    lines += [f"    {key}={_literal(value)}," for key, value in arguments.items()]
    lines += [")", "plan = pruned.plan"]
    small = "Live(model, pruned.groups, batches).solve(plan, batches=batches)" if live else "pruned.model"
    return "\n".join([*lines, f"small = {small}", ""])


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
