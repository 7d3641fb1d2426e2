"""What a pruned network is worth before any training: raw, batch norm re-estimated, repaired in closed form.

For every dense network given: what folding the SE gates costs, and for several ratios and criteria what is left after
the cut and after each recovery. Nothing is fine-tuned. Every number is kept as soon as it is there, so a run that was
broken off goes on where it was. Writes ``results/closed_form_recovery.json`` and ``.md`` (mean and deviation over the
networks).

Networks can be measured side by side, each into a file of its own, and joined afterwards.

Example:
    python benchmarks/recovery_table.py --bundles runs/dense_s0 runs/dense_s1 runs/dense_s2
    python benchmarks/recovery_table.py --join rec_s0.json rec_s1.json rec_s2.json
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rows import RESULTS
from torch import nn

from rsprune_lib.bundle import load_bundle
from rsprune_lib.data import Batches, load_data
from rsprune_lib.device import pick_device
from rsprune_lib.files import read_json, sha256, write_json
from rsprune_lib.measure import cost, evaluate, provenance
from rsprune_lib.pruning import (
    Gates,
    Live,
    Plan,
    apply,
    choose,
    find_groups,
    fold,
    gate_statistics,
    reestimate_bn,
    score,
    sequential,
)

Cell = tuple[str, Callable[[], nn.Module]]  # its name, and how to make the network


class Bench:
    """One dense network and everything that is made from it only once."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.args, self.device = folder, args, pick_device()
        self.bundle = load_bundle(folder)
        self.dense = self.bundle.model.to(self.device)
        name = args.data or self.bundle.config["data"]["name"]
        self.data = load_data(name, mirror=args.mirror)

    def batches(self, count: int) -> Batches:
        """Class-balanced training images."""
        return Batches(self.data, "train", 64, limit=count, device=self.device)

    @cached_property
    def gates(self) -> Gates:
        """Gate statistics over the training split."""
        return self.bundle.gates or gate_statistics(self.dense, Batches(self.data, "train", 128, device=self.device))

    @cached_property
    def folded(self) -> nn.Module:
        """The plain network, gates folded in at their mean."""
        return fold(self.dense, self.gates)

    @cached_property
    def groups(self) -> list:
        """Groups of the plain network."""
        return find_groups(self.folded, self.data.image_size)

    @cached_property
    def live(self) -> Live:
        """Gram matrices of the dense network."""
        return Live(self.dense, self.groups, self.batches(1024))

    def plan(self, criterion: str, ratio: float, scope: str = "local") -> Plan:
        """The plan of a cell."""
        scores = score(self.dense, self.groups, criterion, gates=self.gates, data=self.batches(1024))
        return choose(scores, self.groups, ratio=ratio, scope=scope)

    def accuracy(self, model: nn.Module) -> float:
        """Accuracy on the judged part, in [0, 1]."""
        return evaluate(model, Batches(self.data, self.args.part, 128, device=self.device)).accuracy


def cells(bench: Bench) -> Iterator[Cell]:
    """Every cell of the tables for one dense network, in order; nothing is computed before it is called."""
    dense, count = bench.dense, bench.batches
    yield "dense", lambda: dense
    yield "folded", lambda: bench.folded
    yield "folded, bn", lambda: reestimate_bn(copy.deepcopy(bench.folded), count(2048))
    yield "folded, closed form", lambda: sequential(dense, bench.folded, None, count(512))
    for ratio in bench.args.ratios:
        for criterion in bench.args.criteria:
            yield from pruned(bench, ratio, criterion)


def pruned(bench: Bench, ratio: float, criterion: str) -> Iterator[Cell]:
    """The cells of one plan."""
    held: list = []

    def made() -> tuple[Plan, nn.Module]:
        if not held:
            plan = bench.plan(criterion, ratio)
            held.extend((plan, apply(bench.folded, plan, bench.groups)))
        return tuple(held)

    def closed(target: Callable[[], nn.Module], images: int, **options: float) -> nn.Module:
        plan, small = made()
        return sequential(target(), small, plan, bench.batches(images), groups=bench.groups, **options)

    def live(images: int) -> nn.Module:
        plan, collected = made()[0], bench.live
        model = collected.solve(plan)
        return reestimate_bn(model, bench.batches(images)) if images else model

    head = f"{ratio:.0%}, {criterion}"
    yield f"{head}, raw", lambda: made()[1]
    yield f"{head}, bn", lambda: reestimate_bn(copy.deepcopy(made()[1]), bench.batches(2048))
    yield f"{head}, closed form to folded, 512", lambda: closed(lambda: bench.folded, 512)
    yield f"{head}, closed form, 512", lambda: closed(lambda: bench.dense, 512)
    yield f"{head}, closed form, 1024", lambda: closed(lambda: bench.dense, 1024)
    yield f"{head}, live", lambda: live(0)
    yield f"{head}, live, bn", lambda: live(512)


def run(bench: Bench, found: dict[str, dict], save: Callable[[], None]) -> None:
    """Fills in the cells that are missing in ``found``."""
    for name, make in cells(bench):
        if name in found:
            continue
        model = make()
        origin = provenance(None, seed=None, device=bench.device)
        measured = {"commit": (origin["git"] or {}).get("commit"), "date": origin["date"]}
        size = vars(cost(model, bench.data.image_size))
        found[name] = {"accuracy": bench.accuracy(model), **size, **measured}
        print(f"{bench.folder.name}: {name}: {found[name]['accuracy']:.2%}", flush=True)
        save()


def join(found: dict[str, Any], other: dict[str, Any]) -> None:
    """Takes over the cells of another run that ``found`` does not have yet; the networks must be of one kind."""
    for key in ("model", "part"):
        if found.setdefault(key, other[key]) != other[key]:
            raise SystemExit(f"Tables of {key} {found[key]!r} and {other[key]!r} cannot be joined: measure them apart.")
    found.setdefault("provenance", other["provenance"])
    for key, network in other["networks"].items():
        mine = found["networks"].setdefault(key, network | {"cells": {}})
        mine["folder"] = network["folder"]
        mine["cells"] |= {name: cell for name, cell in network["cells"].items() if name not in mine["cells"]}
    found["networks"] = dict(sorted(found["networks"].items(), key=lambda item: item[1]["folder"]))


def summary(networks: list[dict[str, dict]], name: str) -> str:
    """Mean and deviation of a cell's accuracy over the networks, in per cent; empty if there is none."""
    values = [100 * network[name]["accuracy"] for network in networks if name in network]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    fewer = f" ({len(values)})" if len(values) < len(networks) else ""
    return f"{statistics.mean(values):.1f}{spread}{fewer}"


def markdown(found: dict[str, Any]) -> str:
    """The tables as text."""
    networks = [network["cells"] for network in found["networks"].values()]
    seeds, origin = len(networks), found["provenance"]
    data = origin["data"]
    commits = {cell["commit"][:10] for network in networks for cell in network.values() if cell.get("commit")}
    older = any("commit" not in cell for network in networks for cell in network.values())
    commits |= {str((origin["git"] or {}).get("commit", "unknown"))[:10]}
    lines = [
        "# Recovery without labels and without training",
        "",
        f"{found['model']} on {data['name']} ({found['part']} part, split {data['split_hash']}), "
        f"{seeds} dense network(s); accuracy in %, mean{' ± deviation over the seeds' if seeds > 1 else ''}; "
        "in brackets the number of networks behind a value, where it is not all of them. "
        f"Local scope, no fine-tuning. {origin['device']}, {origin['threads']} thread(s), {origin['date'][:10]}, "
        f"commits {', '.join(sorted(commits))}{'; cells that name none are older' if older else ''}.",
        "",
        "| step | accuracy |",
        "|---|---|",
    ]
    steps = {
        "dense": "dense network",
        "folded": "SE folded into BN, nothing pruned",
        "folded, bn": "the same + BN re-estimation, 2,048 images",
        "folded, closed form": "the same by closed form, 512 images",
    }
    lines += [f"| {title} | {summary(networks, name)} |" for name, title in steps.items()]
    columns = {
        "raw": "raw",
        "bn": "+ BN re-estimation",
        "closed form to folded, 512": "closed form, target folded net, 512",
        "closed form, 512": "closed form, target SE net, 512",
        "closed form, 1024": "closed form, target SE net, 1,024",
        "live": "live form, rank 128",
        "live, bn": "live form, rank 128 + BN, 512",
    }
    lines += [
        "",
        "| removed | criterion | parameters | MACs | " + " | ".join(columns.values()) + " |",
    ]
    lines += ["|---" * (len(columns) + 4) + "|"]
    heads = dict.fromkeys(name.rsplit(", raw", 1)[0] for name in networks[0] if name.endswith(", raw"))
    for head in sorted(heads):  # by what was removed, then by the criterion
        base, cut = networks[0]["folded"], networks[0][f"{head}, raw"]
        row = [*head.split(", "), *(f"{cut[key] / base[key]:.1%}" for key in ("params", "macs"))]
        row += [summary(networks, f"{head}, {column}") for column in columns]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads the arguments, fills the table, writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, nargs="+", default=[], help="dense networks, one a seed")
    parser.add_argument(
        "--join", type=Path, nargs="+", default=[], help="tables measured elsewhere, to take cells from"
    )
    parser.add_argument("--data", help="data set; by default the one that the first bundle names")
    parser.add_argument("--mirror", help="folder or URL of archives")
    parser.add_argument("--part", default="val", choices=("val", "test"), help="images that are judged")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--criteria", nargs="+", default=["attention", "l2", "random"])
    parser.add_argument("--out", type=Path, default=RESULTS / "closed_form_recovery")
    args = parser.parse_args()
    path = args.out.with_suffix(".json")
    found = read_json(path, "recovery tables") if path.exists() else {"networks": {}}
    if not args.bundles and not args.join:
        parser.error("nothing to measure and nothing to join: name networks with --bundles, or tables with --join")
    for other in args.join:
        join(found, read_json(other, "recovery tables"))
    for folder in args.bundles:
        bench = Bench(folder, args)
        found["model"], found["part"] = bench.dense.config["name"], args.part
        found["provenance"] = provenance(bench.data.info(), seed=None, device=bench.device)
        key = sha256(folder / "model.safetensors")[:16]
        network = found["networks"].setdefault(key, {"folder": folder.name, "cells": {}})
        with torch.no_grad():
            run(bench, network["cells"], lambda: write_json(path, found))
    write_json(path, found)
    path.with_suffix(".md").write_text(markdown(found), encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
