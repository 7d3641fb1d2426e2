"""Copy as code: the library calls that do what a setting of the live tool stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsprune_lib.places import bundles_folder, project_root
from rsprune_lib.pruning import SELECTORS, Plan, Request
from rsprune_studio.engine.setting import LIVE, Setting

__all__ = ["Basis", "Origin", "as_code"]

_LIVE = "Live(model, pruned.groups, batches{}).solve(plan)"
_DOOR = {"bn": "none", "sequential": "closed_form"} | dict.fromkeys(LIVE, "none")  # what `prune` does of a recovery
_SMALL = {"bn": "pruned.model", "live": _LIVE.format(""), "live_balanced": _LIVE.format(', positions="balanced"')}


@dataclass(frozen=True)
class Origin:
    """Where the network and the images of a studio come from.

    Attributes:
        bundle: folder of the bundle.
        data: name of the data set, or its folder; None for the one that the network was trained on.
    """

    bundle: Path
    data: str | None = None

    def place(self) -> tuple[str, str | None]:
        """The folder as an expression that works wherever the project lies, and what it needs of `rsprune_lib.places`.

        A bundle from elsewhere is named by its full path.
        """
        folder = self.bundle.resolve()
        if folder.parent == bundles_folder().resolve():
            return f"bundles_folder() / {folder.name!r}", "bundles_folder"
        if folder.parent == (project_root() / "runs").resolve():
            return f'project_root() / "runs" / {folder.name!r}', "project_root"
        return repr(str(folder)), None


@dataclass(frozen=True)
class Basis:
    """What the code of every setting of a studio shares.

    Attributes:
        images: training images of criterion and recovery.
        norm_images: those of a batch-norm re-estimation.
        batch_size: images a batch.
        gates: the network has SE blocks.
        own_gates: their statistics were collected on these images.
        origin: where network and images come from; None for those that a notebook made, which the code then expects as
            ``model``, ``data`` and ``gates``.
    """

    images: int
    norm_images: int
    batch_size: int
    gates: bool
    own_gates: bool
    origin: Origin | None = None


def as_code(
    setting: Setting,
    choosing: Mapping[str, Any],
    plan: Plan,
    basis: Basis,
    tuned: Mapping[str, Any] | None = None,
) -> str:
    """Writes a setting as Python code that runs as it stands.

    Args:
        setting: where the controls stand.
        choosing: the arguments of `rsprune_lib.pruning.choose` that it stands for.
        plan: what it leads to; written out where no argument of `prune` says what stays.
        basis: what it begins with.
        tuned: how the network was fine-tuned afterwards: ``loss``, ``epochs``, ``lr``, ``images``, ``seed`` and the
            ``recovery`` it began with.

    Returns:
        Code that ends with ``small`` (the network) and ``plan``.
    """
    recovery = tuned["recovery"] if tuned else setting.recovery
    size, images = basis.batch_size, basis.images
    needs: dict[str, list[str]] = {"rsprune_lib.pruning": ["prune"]}
    lines = _begin(basis, needs)
    if recovery in LIVE or (basis.gates and basis.own_gates):
        needs.setdefault("rsprune_lib.data", []).append("Batches")
        lines.append(f'batches = Batches(data, "train", {size}, limit={images})')
    if basis.gates and basis.own_gates:
        needs["rsprune_lib.pruning"].append("gate_statistics")
        lines.append("gates = gate_statistics(model, batches)")
    as_plan = _as_plan(setting)
    if as_plan:
        needs["rsprune_lib.pruning"].append("Plan")
        lines.append(f"chosen = Plan.from_json({json.dumps(json.loads(plan.to_json()))!r})")
    arguments = _amount(setting, choosing) | {
        "recovery": _DOOR.get(recovery, recovery),
        "images": images,
        "batch_size": size,
    }
    Request(plan=plan if as_plan else None, **arguments)  # what is written is what `prune` takes
    lines += ["pruned = prune(", f"    model, data,{' gates=gates,' if basis.gates else ''}"]
    lines += ["    plan=chosen,"] if as_plan else []
    lines += [f"    {key}={_literal(value)}," for key, value in arguments.items()]
    lines += [")", "plan = pruned.plan"]
    if recovery in _SMALL:
        needs["rsprune_lib.pruning"] += ["reestimate_bn", *(["Live"] if recovery in LIVE else [])]
        needs.setdefault("rsprune_lib.data", []).append("Batches")
        lines.append(f'few = Batches(data, "train", {size}, limit={min(basis.norm_images, images)})')
        lines.append(f"small = reestimate_bn({_SMALL[recovery]}, few, quick=True)")
    else:
        lines.append("small = pruned.model")
    if tuned:
        needs["rsprune_lib.training"] = ["fit", "recipe", *(["SoftPruning"] if "decay" in tuned else [])]
        needs["rsprune_lib.pruning"] += ["Request"] if "decay" in tuned else []
        if "decay" in tuned and basis.gates:
            needs["rsprune_lib.pruning"].append("fold")
        lines += _training(tuned, "fold(model, gates)" if basis.gates else "model")
    imports = [f"from {module} import {', '.join(sorted(set(names)))}" for module, names in sorted(needs.items())]
    return "\n".join([*imports, "", *lines, ""])


def _begin(basis: Basis, needs: dict[str, list[str]]) -> list[str]:
    """The lines that load network, images and gates; adds to ``needs`` what they import."""
    if basis.origin is None:
        names = "model, data and gates are" if basis.gates and not basis.own_gates else "model and data are"
        return [f"# {names} those that the studio was made of"]
    place, helper = basis.origin.place()
    needs["rsprune_lib.bundle"], needs["rsprune_lib.data"] = ["load_bundle"], ["load_again"]
    if helper:
        needs["rsprune_lib.places"] = [helper]
    other = "" if basis.origin.data is None else f", {basis.origin.data!r}"
    gates = ", bundle.gates" if basis.gates and not basis.own_gates else ""
    return [
        f"bundle = load_bundle({place})",
        f'data = load_again(bundle.config["data"]{other})',
        f"model{', gates' if gates else ''} = bundle.model{gates}",
    ]


def _amount(setting: Setting, choosing: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `prune` that decide what stays."""
    if _as_plan(setting):
        return {}
    keys, options = ["per_group", "locked", "normalise", "multiple_of", "clip"], setting.options
    if setting.by_graph:
        ranked = {"rank": "l1"} if SELECTORS[setting.selector].needs else {}
        options = {"selector": setting.selector} | ranked | setting.map_options
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


def _training(tuned: Mapping[str, Any], whole: str) -> list[str]:
    batch = f", batch_size={tuned['batch_size']}" if "batch_size" in tuned else ""
    how = f'recipe("strong_finetune", epochs={tuned["epochs"]}, lr={tuned["lr"]}{batch})'
    extra = f'loss="{tuned["loss"]}", seed={tuned["seed"]}, limit={tuned["images"]}'
    extra += f", val_limit={tuned['val_images']}" if "val_images" in tuned else ""
    if "decay" not in tuned:
        return [f"run = {how}", f"small = fit(small, data, run, {extra}).model"]
    return [
        f"run = {how}",
        f"soft = SoftPruning(data, pruned.groups, decay={tuned['decay']}, request=Request(plan=plan))",
        f"small = soft.small(fit({whole}, data, run, {extra}, callbacks=[soft]).model)",
    ]


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
