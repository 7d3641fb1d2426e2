"""Copy as code: the library calls that do what a setting of the live tool stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsprune_studio.engine.setting import Setting

__all__ = ["as_code"]

_DOOR = {"none": "none", "bn": "none", "live": "none", "sequential": "closed_form"}
_SMALL = {"live": "Live(model, pruned.groups, batches).solve(plan)", "bn": "pruned.model"}


def as_code(
    setting: Setting,
    choosing: Mapping[str, Any],
    *,
    images: int,
    norm_images: int,
    batch_size: int,
    gates: bool,
    own_gates: bool,
    tuned: Mapping[str, Any] | None = None,
) -> str:
    """Writes a setting as Python code that needs ``model`` and ``data`` (and ``gates`` of a network with SE blocks).

    Args:
        setting: where the controls stand.
        choosing: the arguments of `rsprune_lib.pruning.choose` that it stands for.
        images: training images of criterion and recovery.
        norm_images: those of a batch-norm re-estimation.
        batch_size: images a batch.
        gates: the network has SE blocks.
        own_gates: their statistics were collected on these images.
        tuned: how the network was fine-tuned afterwards: ``loss``, ``epochs``, ``lr``, ``images``, ``seed`` and the
            ``recovery`` it began with.

    Returns:
        Code that ends with ``small`` (the network) and ``plan``.
    """
    recovery = tuned["recovery"] if tuned else setting.recovery
    arguments = _amount(setting, choosing) | {"recovery": _DOOR[recovery], "images": images, "batch_size": batch_size}
    live, collect = recovery == "live", gates and own_gates
    names = (["Live"] if live else []) + (["Plan"] if _as_plan(setting) else [])
    names += (["gate_statistics"] if collect else []) + ["prune"] + (["reestimate_bn"] if recovery in _SMALL else [])
    lines = ["from rsprune_lib.data import Batches"] if recovery in _SMALL or collect else []
    lines += [f"from rsprune_lib.pruning import {', '.join(names)}"]
    lines += ["from rsprune_lib.training import fit, recipe", ""] if tuned else [""]
    if live or collect:
        lines.append(f'batches = Batches(data, "train", {batch_size}, limit={images})')
    if collect:
        lines.append("gates = gate_statistics(model, batches)")
    lines += ["pruned = prune(", f"    model, data,{' gates=gates,' if gates else ''}"]
    lines += ['    plan=Plan.load("plan.json"),'] if _as_plan(setting) else []
    lines += [f"    {key}={_literal(value)}," for key, value in arguments.items()]
    lines += [")", "plan = pruned.plan"]
    if recovery in _SMALL:
        lines.append(f'few = Batches(data, "train", {batch_size}, limit={min(norm_images, images)})')
        lines.append(f"small = reestimate_bn({_SMALL[recovery]}, few, quick=True)")
    else:
        lines.append("small = pruned.model")
    return "\n".join([*lines, *_training(tuned), ""])


def _amount(setting: Setting, choosing: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `prune` that decide what stays."""
    if _as_plan(setting):
        return {}
    keys, options = ["per_group", "locked", "normalise", "clip"], {}
    if setting.by_graph:
        options = {"selector": setting.selector} | ({"rank": "l1"} if setting.selector in ("scored", "core") else {})
        if setting.amount == "threshold" or setting.scope == "global":  # one similarity for all layers
            keys = ["locked"]
    if setting.by_graph and setting.amount == "threshold":
        arguments = {"criterion": "similarity", "threshold": round(1 - choosing["threshold"], 9)}
    else:
        amount = {key: choosing[key] for key in ("ratio", "threshold", "macs") if choosing.get(key) is not None}
        arguments = {"criterion": setting.criterion, "scope": choosing.get("scope", "local"), **amount}
    extra = {key: choosing[key] for key in keys if choosing.get(key)}
    return arguments | ({"options": options} if options else {}) | ({"choosing": extra} if extra else {})


def _as_plan(setting: Setting) -> bool:
    """Whether no argument of `prune` says what stays: a given plan, or unlikeness on a scale that no graph has."""
    scaled = setting.by_graph and setting.amount == "threshold" and setting.normalise is not None
    return setting.amount == "plan" or scaled


def _training(tuned: Mapping[str, Any] | None) -> list[str]:
    if not tuned:
        return []
    how = f'recipe("strong_finetune", epochs={tuned["epochs"]}, lr={tuned["lr"]})'
    extra = f'loss="{tuned["loss"]}", seed={tuned["seed"]}, limit={tuned["images"]}'
    extra += f", val_limit={tuned['val_images']}" if "val_images" in tuned else ""
    return [f"run = {how}", f"small = fit(small, data, run, {extra}).model"]


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
