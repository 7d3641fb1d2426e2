"""Bundles: a trained network on disk as plain data, rebuilt by name. Nothing in it is ever executed or unpickled.

``model.safetensors`` holds the weights, ``plan.json`` what was pruned, ``config.json`` everything else: the arguments
of `create_model`, the data, the provenance, the measured numbers, the command, and the SHA-256 of the other files.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rsprune_lib.bundle_files import (
    CONFIG,
    FILES,
    GATES,
    PLAN,
    SCHEMA,
    VERSION,
    WEIGHTS,
    read_config,
    refuse_foreign,
    verified,
)
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.files import commit, sha256, write_json
from rsprune_lib.measure import ExitRule
from rsprune_lib.models import add_exits, create_model
from rsprune_lib.pruning.criteria.gates import Gates
from rsprune_lib.pruning.plan import Plan
from rsprune_lib.pruning.surgery import apply

__all__ = ["FILES", "Bundle", "load_bundle", "save_bundle", "to_half"]


@dataclass(frozen=True)
class Bundle:
    """What `load_bundle` returns.

    Attributes:
        model: the network, float32, in evaluation mode, on the CPU.
        plan: what was pruned, None for an unpruned network.
        config: the content of ``config.json``: ``model``, ``data``, ``provenance``, ``measured``, ``command`` ...
        gates: SE gate statistics of the network it came from, if they were kept.
        path: the folder.
    """

    model: nn.Module
    plan: Plan | None
    config: dict[str, Any]
    gates: Gates | None
    path: Path

    def knows(self, *keys: str) -> dict[str, Any]:
        """What it says of its data, which must hold these entries.

        Raises:
            ModelError: it lacks one.
        """
        data = self.config.get("data") or {}
        if missing := [key for key in keys if not data.get(key)]:
            raise ModelError(f"The bundle {self.path} lacks {', '.join(missing)} of its data; make it again.")
        return data

    @property
    def rule(self) -> ExitRule | None:
        """By which images leave a network with exits; None for another, or one that was not calibrated.

        Raises:
            ModelError: it is broken, or was made for another number of exits.
        """
        exits = getattr(self.model, "exits", None)
        if exits is None or not self.config.get("exits"):
            return None
        rule = ExitRule.from_dict(self.config["exits"].get("rule", {}))
        if len(rule.thresholds) != len(exits.heads):
            raise ModelError(
                f"The rule of {self.path} has {len(rule.thresholds)} thresholds, but the network has "
                f"{len(exits.heads)} exits; calibrate them again."
            )
        return rule


def save_bundle(
    folder: str | Path,
    model: nn.Module,
    *,
    plan: Plan | None = None,
    data: dict[str, Any] | None,
    provenance: dict[str, Any],
    measured: dict[str, Any],
    gates: Gates | None = None,
    exits: dict[str, Any] | None = None,
    half: bool = False,
    command: str = "",
) -> Path:
    """Writes a bundle; killed at any moment, it leaves the old bundle or the new one, never a mixture.

    Other files in the folder (a training history, checkpoints) are left alone.

    Args:
        folder: where; made if it is not there.
        model: the network, made by `create_model` and possibly pruned.
        plan: the plan it was pruned with, None if it was not.
        data: `Dataset.info`.
        provenance: `rsprune_lib.measure.provenance`.
        measured: numbers by name, JSON-able.
        gates: SE gate statistics to keep with it.
        exits: of a network with exits: ``rule`` (`ExitRule.to_dict`), ``costs`` of each exit, how it was chosen.
        half: store weight matrices in half precision, for half the size; vectors stay float32, see `_halved`.
        command: the command line that made it.

    Returns:
        The folder.

    Raises:
        ModelError: the network was not made by `create_model`, the plan does not describe it, or the folder holds
            files of these names that belong to no bundle.
    """
    folder = Path(folder)
    refuse_foreign(folder)
    if not getattr(model, "config", None):
        raise ModelError("A bundle needs a network with a config; make it with create_model (and prune it with apply).")
    state = {name: _full(tensor.detach().cpu()).contiguous() for name, tensor in model.state_dict().items()}
    _check_state(state, _structure(model.config, plan), "The network to be saved")
    state = {name: _halved(tensor) if half else tensor for name, tensor in state.items()}
    head = {"schema": SCHEMA, "version": VERSION, "model": model.config, "precision": "half" if half else "float32"}
    tail = {"data": data, "provenance": provenance, "measured": measured, "command": command}
    folder.mkdir(parents=True, exist_ok=True)
    with commit(folder) as fresh:
        (fresh / WEIGHTS).write_bytes(safetensors.torch.save(state, metadata={"format": "pt"}))  # with the usual mode
        if plan is not None:
            plan.save(fresh / PLAN)
        if gates is not None:
            gates.save(fresh / GATES)
        files = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        try:
            write_json(fresh / CONFIG, head | tail | ({"exits": exits} if exits else {}) | {"files": files})
        except (TypeError, ValueError) as error:
            raise ModelError(f"The bundle's description is no JSON ({error}); give plain values.") from None
    for name in {PLAN, GATES} - files.keys():
        (folder / name).unlink(missing_ok=True)  # of an earlier bundle; the new config does not name it
    return folder


def load_bundle(folder: str | Path) -> Bundle:
    """Rebuilds the network of a bundle: `create_model` by name, the plan's structure, then the weights, strictly.

    Args:
        folder: a folder written by `save_bundle`.

    Raises:
        ModelError: there is no bundle, a file is missing or damaged, the weights do not fit the structure, or it is a
            pickled network, which would run code of its author's when loaded.
        PlanError: the plan is broken or does not fit the network.

    Example:
        >>> bundle = load_bundle("bundles/eurosat_resnet18_cap70")
        >>> bundle.model(images).argmax(1), bundle.config["measured"]
    """
    folder = Path(folder)
    config = read_config(folder)
    paths = {name: verified(folder, name, digest) for name, digest in config["files"].items()}
    plan = Plan.load(paths[PLAN]) if PLAN in paths else None
    gates = Gates.load(paths[GATES]) if GATES in paths else None
    try:
        state = safetensors.torch.load_file(paths[WEIGHTS])
    except (SafetensorError, OSError):
        raise ModelError(
            f"Cannot read the weights of bundle {folder}: they are damaged; copy or make it again."
        ) from None
    state = {name: _full(tensor) for name, tensor in state.items()}
    try:
        model = _structure(config["model"], plan)
    except RspruneError:
        raise
    except Exception as error:  # a foreign description can hold anything
        raise ModelError(f"The config of bundle {folder} does not fit create_model ({error}); make it again.") from None
    classes = (config.get("data") or {}).get("classes")
    if classes is not None and len(classes) != model.config["num_classes"]:
        raise ModelError(
            f"The bundle {folder} names {len(classes)} classes, but its network has {model.config['num_classes']} "
            "outputs; make it again."
        )
    _check_state(state, model, f"The bundle {folder}")
    model.load_state_dict(state, strict=True, assign=True)
    return Bundle(model.eval(), plan, config | {"model": model.config}, gates, folder)


class _NoInitialisation(TorchFunctionMode):
    """Skips drawing random weights, which would take most of the time and advance the global generator."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # noqa: ANN401
        """Hands everything on but initialisation, whose tensor stays as it is."""
        kwargs = kwargs or {}
        drawn = func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == "torch.nn.init"
        if drawn:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _structure(config: dict[str, Any], plan: Plan | None) -> nn.Module:
    """The network with whatever its memory held in place of weights; exits may have been added after pruning."""
    later = config.get("exits") if plan is not None and "exits" not in plan.model else None
    with _NoInitialisation():
        model = create_model(**{key: value for key, value in config.items() if key != "exits" or later is None})
        model = model if plan is None else apply(model, plan)
        return model if later is None else add_exits(model, **{**later, "check": False})


def _check_state(state: dict[str, Tensor], model: nn.Module, what: str) -> None:
    """Compares names, types and shapes of weights with a structure."""
    expected = model.state_dict()
    for name in (*expected, *state):
        got, wanted = (
            f"{str(found[name].dtype).removeprefix('torch.')} {tuple(found[name].shape)}"
            if name in found
            else "missing"
            for found in (state, expected)
        )
        if got != wanted:
            raise ModelError(
                f"{what} does not fit its own config and plan: {name!r} is {got} but should be {wanted}; "
                "use the plan that the network was pruned with."
            )


def to_half(model: nn.Module) -> nn.Module:
    """Returns a copy of a network with the values that a bundle with ``half=True`` gives back, still as float32."""
    copied = copy.deepcopy(model)
    copied.load_state_dict({name: _full(_halved(tensor)) for name, tensor in model.state_dict().items()})
    return copied


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _halved(tensor: Tensor) -> Tensor:
    """Half precision for matrices and kernels whose values it can hold."""
    if not tensor.is_floating_point() or tensor.dim() < 2:
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor
