"""Every classification and segmentation network of torchvision (one size a family) and 40 families of timm.

For each network: the groups and how long they take, the relative difference of masked and applied at ratio 0.5, what is
left, whether the closed form works, and what Torch-Pruning does on its own. Weights are random, images are noise: it is
the structure that is tested. Each network has a process and a time limit of its own, and finished rows are kept.

``python benchmarks/architectures.py --seconds 500`` goes on where it stopped; ``--write`` makes the page of the rows.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from rsprune_lib.errors import RspruneError
from rsprune_lib.measure import cost, layer_costs
from rsprune_lib.models import create_model
from rsprune_lib.pruning import Groups, Plan, apply, choose, find_groups, masked, plan_cost, score
from rsprune_lib.pruning.recovery.sequential import sequential
from rsprune_lib.pruning.verify import difference, tensors_of

HERE = Path(__file__).parent
ROWS = HERE / "architectures.jsonl"
PAGE = HERE.parent / "results" / "architectures.md"
LIMIT = 150  # seconds a network
TORCHVISION = {  # network -> image size
    "alexnet": 64, "convnext_tiny": 64, "densenet121": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64,
    "googlenet": 64, "inception_v3": 128, "maxvit_t": 224, "mnasnet1_0": 64, "mobilenet_v2": 64,
    "mobilenet_v3_small": 64, "regnet_x_400mf": 64, "regnet_y_400mf": 64, "resnet18": 64, "resnet50": 64,
    "resnext50_32x4d": 64, "shufflenet_v2_x1_0": 64, "squeezenet1_1": 64, "swin_t": 64, "swin_v2_t": 64,
    "vgg11": 64, "vgg11_bn": 64, "vit_b_16": 64, "wide_resnet50_2": 64,
    "deeplabv3_mobilenet_v3_large": 64, "deeplabv3_resnet50": 64, "fcn_resnet50": 64, "lraspp_mobilenet_v3_large": 64,
}  # fmt: skip
TIMM = {
    "beit_base_patch16_224": 224, "botnet26t_256": 256, "cait_xxs24_224": 224,
    "convmixer_768_32": 64, "convnext_atto": 64, "convnextv2_atto": 64,
    "cspresnet50": 64, "dla34": 64,
    "dpn68": 64, "edgenext_xx_small": 64, "efficientformerv2_s0": 224,
    "efficientvit_b0": 64, "fastvit_t8": 64, "focalnet_tiny_srf": 224, "ghostnet_100": 64, "hgnet_tiny": 64,
    "hrnet_w18_small": 64, "inception_next_atto": 64, "inception_v4": 128, "levit_128s": 224,
    "mixer_s32_224": 224, "mobilenetv3_large_100": 64, "mobileone_s0": 64,
    "mobilevit_xxs": 256, "nf_regnet_b0": 64, "pit_ti_224": 224, "poolformer_s12": 64,
    "repghostnet_050": 64, "repvgg_a0": 64, "repvit_m0_9": 64,
    "res2net50_14w_8s": 64, "resnest14d": 64, "resnet34": 64, "resnetv2_50": 64, "resnetv2_50x1_bit": 64,
    "rexnet_100": 64, "selecsls42": 64, "skresnet18": 64, "swin_tiny_patch4_window7_224": 224,
    "tresnet_m": 64, "vgg11": 64, "visformer_tiny": 224, "vit_tiny_patch16_224": 224,
    "vovnet39a": 64, "xception41": 64, "xcit_nano_12_p16_224": 224,
}  # fmt: skip
NETWORKS = {f"torchvision:{n}": s for n, s in TORCHVISION.items()} | {f"timm:{n}": s for n, s in TIMM.items()}


def build(name: str, size: int) -> nn.Module:
    made_for_one_size = name.startswith("torchvision:vit") or name.startswith("torchvision:maxvit")
    model = create_model(name, 10, seed=0, **({"image_size": size} if made_for_one_size else {})).eval()
    with torch.no_grad():  # constants would hide faults: a layer scale of 1e-6, a gamma of zero
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            if bool((parameter == parameter.flatten()[0]).all()):
                parameter += 0.3 * torch.rand(parameter.shape, generator=generator)
    return model


def row(name: str, size: int) -> dict[str, Any]:
    """What is measured of one network."""
    model = build(name, size)
    found: dict[str, Any] = {"name": name, "size": size, "engine": engine(name, size)}
    start = time.perf_counter()
    try:
        groups = find_groups(model, size)
    except RspruneError as error:
        return found | {"refused": str(error)}
    found["seconds"] = time.perf_counter() - start
    found |= {"groups": len(groups), "channels": sum(groups.sizes().values()), "fixed": dict(groups.fixed)}
    if not groups:
        return found | {"refused": f"nothing can be removed: {Counter(groups.fixed.values()).most_common(1)}"}
    images = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    plan = choose(score(model, groups, "l2"), groups, ratio=0.5)
    with torch.no_grad():
        small = apply(model, plan, groups).eval()
        with masked(model, plan, groups):
            wanted = model(images)
        found["difference"] = difference(small(images), wanted)
        before, after = cost(model, size), cost(small, size)
        counted = plan_cost(layer_costs(model, size), groups, plan.keep)
    found |= {"params": before.params, "macs": before.macs, "params_left": after.params, "macs_left": after.macs}
    found["counted"] = counted == after
    return found | {"closed_form": repaired(model, small, plan, groups, images)}


def repaired(model: nn.Module, small: nn.Module, plan: Plan, groups: Groups, images: Tensor) -> str:
    """Whether the closed form brings the outputs nearer to those of the whole network."""
    try:
        done = sequential(
            model, small, plan, [(images, torch.zeros(len(images)))], groups=groups, ridge=1e-2, progress=False
        )
    except RspruneError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"broken: {type(error).__name__}: {error}"
    with torch.no_grad():
        wanted, raw, better = (next(tensors_of(m(images))) for m in (model, small, done))
    error = [float((got - wanted).square().mean() / wanted.square().mean()) for got in (raw, better)]
    return f"{error[0]:.2g} -> {error[1]:.2g}"


def engine(name: str, size: int) -> dict[str, Any]:
    """Torch-Pruning called directly: seconds for all groups, and whether the network it leaves runs."""
    warnings.simplefilter("ignore")
    model, image = build(name, size), torch.rand(1, 3, size, size)
    start = time.perf_counter()
    try:
        graph = torch_pruning.DependencyGraph().build_dependency(model, image)
        count = len(list(graph.get_all_groups()))
        seconds = time.perf_counter() - start
        last = [m for m in model.modules() if getattr(m, "out_features", getattr(m, "out_channels", 0)) == 10]
        pruner = torch_pruning.pruner.BasePruner(
            model, image, torch_pruning.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=last
        )
        pruner.step()
        with torch.no_grad():
            model(image)
    except Exception as error:
        return {"fails": f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"}
    return {"groups": count, "seconds": seconds, "params_left": sum(p.numel() for p in model.parameters())}


def kept() -> dict[str, dict[str, Any]]:
    """The finished rows."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {each["name"]: each for each in map(json.loads, lines)}


def run(seconds: float, names: list[str], jobs: int) -> None:
    """Measures what has no row yet, each network in a process of its own."""
    end, lock = time.monotonic() + seconds, threading.Lock()

    def one(name: str) -> None:
        if time.monotonic() > end:
            return
        command = [sys.executable, __file__, "--one", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=os.environ, check=False)
            text = done.stdout.strip().splitlines()[-1] if done.returncode == 0 else ""
            found = json.loads(text) if text else {"broken": done.stderr.strip().splitlines()[-1][:300]}
        except subprocess.TimeoutExpired:
            found = {"broken": f"took more than {LIMIT} s"}
        with lock:
            rows = kept() | {name: {"name": name, "size": NETWORKS[name]} | found}
            ROWS.write_text("".join(json.dumps(rows[n]) + "\n" for n in NETWORKS if n in rows))
        print(name, json.dumps({k: v for k, v in found.items() if k not in ("fixed", "name")}), flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, names or [n for n in NETWORKS if n not in kept()]))


def page(rows: dict[str, dict[str, Any]]) -> str:
    """The table as Markdown."""
    refused = [each for each in rows.values() if "refused" in each]
    slow = [each for each in rows.values() if "took more" in each.get("broken", "")]
    broken = [each for each in rows.values() if "broken" in each and each not in slow]
    waiting = [name for name in NETWORKS if name not in rows]
    done = [each for each in rows.values() if "difference" in each]
    exact = [each for each in done if each["difference"] < 1e-5]
    worse = [each["name"] for each in rows.values() if "fails" in each.get("engine", {})]
    lines = [
        "# Any network: what can be pruned, and is it right?",
        "",
        f"`benchmarks/architectures.py`, {len(rows)} networks of torchvision and timm with random weights, images of "
        "noise, evaluation mode, float32. Exact: the largest difference between the network that was cut at ratio 0.5 "
        "(l2, local) and the same network with these channels silenced is below 1e-5 of its largest output.",
        "",
        f"**{len(exact)} of {len(rows)} exact, {len(refused)} refused in one sentence, "
        f"{len(done) - len(exact) + len(broken)} wrong or broken,** {len(slow)} not finished within {LIMIT} s"
        + (
            f"; {len(waiting)} of the list have no row yet (`benchmarks/architectures.py` goes on). "
            if waiting
            else ". "
        )
        + "Torch-Pruning 1.6.1 called directly "
        f"(`BasePruner`, ratio 0.5) leaves a network that does not run, or stops, for {len(worse)} of them.",
        "",
        "Left whole: layers whose channels cannot be removed, because the code of the network writes a number of "
        "channels down, or an operation needs them all; the reasons are below. Closed form: mean squared error of the "
        "outputs relative to their mean square, cut and then repaired on the same 4 images (few equations, so the fit "
        "is closer than on other images). Seconds: "
        "on a busy machine; they compare within a row only. Ours include the trial, which cuts a copy and silences it.",
        "",
        "| network | px | groups | left whole | difference | parameters | MACs | counted right | closed form | s | "
        "Torch-Pruning: s, parameters |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows.values():
        engine = each.get("engine", {})
        theirs = "stops" if "fails" in engine else "-" if not engine else f"{engine['seconds']:.1f}"
        if "fails" not in engine and engine:
            whole = each.get("params", 0)
            theirs += f", {engine['params_left'] / whole:.0%}" if whole else ""
        if "difference" not in each:
            why = f"refused: {each['refused']}" if "refused" in each else each.get("broken", "")
            lines.append(f"| {each['name']} | {each['size']} | {why} | | | | | | | | {theirs} |")
            continue
        left = [f"{each[f'{what}_left'] / each[what]:.0%}" for what in ("params", "macs")]
        lines.append(
            f"| {each['name']} | {each['size']} | {each['groups']} | {len(each['fixed']) - 1} | "
            f"{each['difference']:.0e} | {left[0]} | {left[1]} | {'yes' if each['counted'] else 'no'} | "
            f"{each['closed_form']} | {each['seconds']:.1f} | {theirs} |"
        )
    lines += ["", "## What is left whole, and why", ""]
    for each in done:
        why = Counter(re.sub(r" in '.*|\(.*|'[^']*' ", "", reason).strip() for reason in each["fixed"].values())
        why.pop("the network's output", None)
        if why:
            lines.append(f"- {each['name']}: " + "; ".join(f"{reason} ({count})" for reason, count in why.items()))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--one")
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(row(options.one, NETWORKS[options.one])))
    elif options.write:
        PAGE.write_text(page(kept()))
    else:
        run(options.seconds, options.names, options.jobs)
