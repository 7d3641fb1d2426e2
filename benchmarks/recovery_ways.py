"""How deep a closed form goes: what each way is worth, alone and together, and beside the repairs of others.

Nothing is trained and no label is looked at. A row is kept as soon as it is measured, so a stopped run goes on where it
was. Ways are compared on validation; the test part is measured once a row, for the closing table. Writes
``results/recovery_ways.json`` and ``.md``.

Example:
    python benchmarks/recovery_ways.py ways bundles/eurosat_resnet18_se
    python benchmarks/recovery_ways.py others benchmarks/networks/cifar10_resnet20_s0 --mirror FOLDER_WITH_CIFAR10
    python benchmarks/recovery_ways.py networks bundles/camvid_ued_bes_sfm bundles/synthetic_aerial_unet1
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fair_table import Table
from recovery_rivals import consumer_ridge, fold_channels
from rows import RESULTS
from torch import nn

from rsprune_lib.bundle import Bundle, load_bundle
from rsprune_lib.data import Batches, Dataset, load_data
from rsprune_lib.measure import Cost, cost, evaluate, layer_costs, provenance
from rsprune_lib.pruning import (
    choose,
    find_groups,
    fold,
    gate_statistics,
    plan_cost,
    prune,
    reestimate_bn,
    score,
    sequential,
)
from rsprune_lib.pruning.criteria.gates import gated_norms
from rsprune_lib.sweeps.published import published

KEY = ("table", "network", "seed", "ratio", "way")
BEFORE, PLAN = "same share, l2", "error per MAC, reconstruction"
MORE = {"memory": 6e9}  # bytes; by default some 1,100 images of 64 pixels are paused, and more take many times as long
WAYS: dict[str, dict[str, Any]] = {  # way -> request of the library
    BEFORE: {"criterion": "l2"},
    "same share, l2, 2,048 images": {"criterion": "l2", "images": 2048, "repairing": MORE},
    "same share, reconstruction": {"criterion": "reconstruction"},
    "global, lamp": {"criterion": "lamp", "scope": "global"},
    PLAN: {"criterion": "reconstruction", "scope": "global"},
    f"{PLAN}, not ReLU-aware": {"criterion": "reconstruction", "scope": "global", "repairing": {"rectify": 0}},
    f"{PLAN}, 8 ReLU steps": {"criterion": "reconstruction", "scope": "global", "repairing": {"rectify": 8}},
    f"{PLAN}, ridge 1e-2": {"criterion": "reconstruction", "scope": "global", "repairing": {"ridge": 1e-2}},
    f"{PLAN}, widths in eights": {
        "criterion": "reconstruction",
        "scope": "global",
        "choosing": {"multiple_of": 8},
    },
    f"{PLAN}, 2,048 images": {"criterion": "reconstruction", "scope": "global", "images": 2048, "repairing": MORE},
}
OWN: dict[str, dict[str, Any]] = {
    "l1, BN": {"criterion": "l1", "recovery": "bn"},
    "l1, closed form": {"criterion": "l1"},
    "reconstruction, closed form": {"criterion": "reconstruction"},
    "reconstruction per MAC, closed form": {"criterion": "reconstruction", "scope": "global"},
}


Cell = tuple[float, str, int, Callable[[], nn.Module]]  # ratio, way, images, how to make the network


@dataclass
class Case:
    """A dense network, and what is made of it once.

    Attributes:
        bundle: where it comes from.
        model: the network that is pruned, and the target of the closed form.
        data: its data set.
        images: training images of each repair.
    """

    bundle: Bundle
    model: nn.Module
    data: Dataset
    images: int

    @cached_property
    def groups(self) -> list:
        """Groups of the plain network."""
        return find_groups(fold(self.model, self.gates) if self.gates else self.model, self.data.image_size)

    @cached_property
    def gates(self) -> Any:  # noqa: ANN401 - Gates or None
        """Gate statistics, None for a plain network."""
        if not gated_norms(self.model):
            return None
        return self.bundle.gates or gate_statistics(self.model, Batches(self.data, "train", 128), progress=False)

    def batches(self) -> Batches:
        """The images of a repair."""
        return Batches(self.data, "train", 64, limit=self.images)

    def prune(self, ratio: float, *, scope: str = "local", **asked: Any) -> nn.Module:  # noqa: ANN401
        """One call of the library; a scope other than local has the MACs that ``ratio`` of each group would leave."""
        amount = {"ratio": ratio} if scope == "local" else {"macs": self.same_share(ratio).macs}
        given = {"images": self.images, "gates": self.gates, "groups": self.groups, "progress": False}
        return prune(self.model, self.data, scope=scope, **amount, **given | asked)

    @cached_property
    def costs(self) -> list:
        """Costs of the plain network's layers."""
        return layer_costs(fold(self.model, self.gates) if self.gates else self.model, self.data.image_size)

    def same_share(self, ratio: float) -> Cost:
        """Cost of the network that loses the same share of all groups."""
        return plan_cost(self.costs, self.groups, self.prune(ratio, criterion="l1", recovery="none").plan.keep)

    def as_many_parameters(self, ratio: float) -> nn.Module:
        """Error per MAC, with the most MACs at which no more parameters are left than by the same share."""
        score_of = score(self.model, self.groups, "reconstruction", data=self.batches(), progress=False)
        limit, low = self.same_share(ratio).params, self.same_share(ratio).macs
        high = plan_cost(self.costs, self.groups, {group.name: group.size for group in self.groups}).macs
        best = None
        while best is None or high - low > 0.005 * high:
            macs = (low + high) / 2 if best else low
            plan = choose(score_of, self.groups, macs=macs, scope="global", costs=self.costs)
            fits = plan_cost(self.costs, self.groups, plan.keep).params <= limit
            best, low, high = (plan, macs, high) if fits or best is None else (best, low, macs)
        return self.prune(ratio, plan=best).model

    def folding(self, ratio: float) -> nn.Module:
        """Clusters of channels, and batch norms by the images."""
        widths = self.prune(ratio, criterion="l1", recovery="none").plan.widths
        return reestimate_bn(fold_channels(self.model, self.groups, widths), self.batches(), progress=False)

    def consumers(self, ratio: float) -> nn.Module:
        """Channels by l1, the layers that read them refitted, and batch norms by the images."""
        plan = self.prune(ratio, criterion="l1", recovery="none").plan
        small = consumer_ridge(self.model, self.groups, plan, self.batches())
        return reestimate_bn(small, self.batches(), progress=False)


def measured(case: Case, make: Callable[[], nn.Module], images: int, seed: int | None) -> dict[str, Any]:
    """The numbers of one row: what the repair costs and what the network is worth."""
    wall, processor = time.perf_counter(), time.process_time()
    model = make()
    seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}
    val, test = (evaluate(model, Batches(case.data, part, 128), progress=False) for part in ("val", "test"))
    low, high = test.ci
    return {
        "part": "test",
        "accuracy": test.score,
        "val_accuracy": val.score,
        "ci": [low, high],
        "metric": test.metric,
        "n": test.n,
        **vars(cost(model, case.data.image_size)),
        **seconds,
        "images": images,
        "provenance": provenance(case.data.info(), seed=seed, device=torch.device("cpu")),
    }


def fill(table: Table, case: Case, head: dict[str, Any], ways: Iterable[Cell]) -> None:
    """Measures the rows that are missing."""
    for ratio, way, images, make in ways:
        key = head | {"ratio": ratio, "way": way}
        if key not in table:
            table.add(key, measured(case, make, images, head["seed"]))


def ways_of(case: Case, name: str, ratios: Iterable[float]) -> Iterable[Cell]:
    """What is measured in one of the tables."""
    yield 0.0, "dense", 0, lambda: case.model
    for ratio in ratios:
        for way, asked in (WAYS if name == "ways" else OWN).items():
            images = asked.get("images", case.images)
            yield ratio, way, images, lambda asked=asked, ratio=ratio: case.prune(ratio, **asked).model
        if name == "ways":
            yield ratio, f"{PLAN}, same parameters", case.images, lambda ratio=ratio: case.as_many_parameters(ratio)
        if name == "others":
            yield ratio, "folding, BN", case.images, lambda ratio=ratio: case.folding(ratio)
            yield ratio, "l1, consumer-only ridge, BN", case.images, lambda ratio=ratio: case.consumers(ratio)


def opened(folder: Path, name: str, args: argparse.Namespace) -> tuple[Case, str]:
    """A case, and the name of its network; beside others a network with SE is made plain first, by closed form."""
    bundle = load_bundle(folder)
    data = load_data(bundle.config["data"]["name"], mirror=args.mirror)
    title = f"{bundle.config['model']['name']}, {data.name}"
    case = Case(bundle, bundle.model.eval(), data, args.images)
    if name == "others" and case.gates:
        plain = sequential(case.model, fold(case.model, case.gates), None, case.batches(), progress=False)
        case, title = Case(bundle, plain, data, args.images), f"{title}, its gates folded by closed form"
    return case, title


def per_cent(rows: list[dict], key: str) -> str:
    """Mean over the seeds, and their deviation."""
    values = [100 * row[key] for row in rows]
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def section(rows: list[dict]) -> list[str]:
    """The table of one network."""
    dense = next(row for row in rows if row["way"] == "dense")
    lines = [
        f"| removed | way | parameters | MACs | validation | test ({dense['metric']}) | images | processor seconds |",
        "|---" * 8 + "|",
    ]
    for ratio, way in dict.fromkeys((row["ratio"], row["way"]) for row in sorted(rows, key=lambda r: r["ratio"])):
        same = [row for row in rows if (row["ratio"], row["way"]) == (ratio, way)]
        share = [f"{statistics.mean(r[what] for r in same) / dense[what]:.1%}" for what in ("params", "macs")]
        numbers = [
            per_cent(same, "val_accuracy"),
            per_cent(same, "accuracy"),
            f"{same[0]['images']:,}" if ratio else "",
        ]
        seconds = f"{statistics.mean(row['cpu_seconds'] for row in same):.0f}" if ratio else ""
        lines.append("| " + " | ".join([f"{ratio:.0%}" if ratio else "", way, *share, *numbers, seconds]) + " |")
    return lines


def best_of(rows: list[dict]) -> str:
    """The way that is best on validation, at the MACs of the same share; all of them where several are equal."""
    rows = [row for row in rows if row["ratio"] and not row["way"].endswith("same parameters")]
    most = max(row["val_accuracy"] for row in rows)
    ways = "; ".join(f"{r['way']} (test {r['accuracy']:.2%})" for r in rows if r["val_accuracy"] == most)
    return f"Best on validation at equal MACs ({most:.2%}): {ways}."


def facts(rows: list[dict]) -> str:
    """What the rows of a network have in common, said once."""
    origin = rows[0]["provenance"]
    commits = sorted({row["provenance"]["git"]["commit"][:10] for row in rows if row["provenance"]["git"]})
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))
    return (
        f"Seed {seeds}; split {origin['data']['split_hash']}, {rows[0]['n']:,} test images"
        f"{' (synthetic)' if origin['data']['synthetic'] else ''}; {origin['device']}, {origin['threads']} thread(s), "
        f"torch {origin['versions']['torch']}, {origin['date'][:10]}, commits {', '.join(commits)}."
    )


def markdown(rows: list[dict]) -> str:
    """The page."""
    heads = {"ways": "Each way alone and together", "others": "Beside the repairs of others", "networks": "Others"}
    lines = ["# Closed-form recovery: how deep, and beside others", "", INTRODUCTION, ""]
    for name, title in heads.items():
        for network in dict.fromkeys(row["network"] for row in rows if row["table"] == name):
            found = [row for row in rows if (row["table"], row["network"]) == (name, network)]
            lines += [f"## {title}: {network}", "", facts(found), "", *section(found), ""]
            if name == "ways":
                lines += [best_of(found), "", LEFT_OUT, ""]
    return "\n".join([*lines, *published_lines()])


def published_lines() -> list[str]:
    """Published numbers, with their source."""
    rows = [row for row in published() if row["table"] == "closed_forms"]
    lines = ["## Published, on other networks and data", "", f"{rows[0]['protocol']}", ""]
    lines += ["| method | network | accuracy | source |", "|---|---|---|---|"]
    lines += [f"| {r['method']} | {r['name']} | {r['value']:.1%} | {r['origin']} |" for r in rows]
    return [*lines, "", rows[0]["explained"], ""]


INTRODUCTION = (
    "Nothing is trained, no label enters a fit; ways are compared on validation, test is the closing table. Same "
    "share: every group loses the same share of its channels. Per MAC and global: groups compete, at the MACs that the "
    "same share leaves. Processor seconds: score, cut and repair. Parameters and MACs: shares of the dense network's."
)
LEFT_OUT = (
    "Tried on validation and left out, because no gain showed beyond noise: the folded weights as prior of the ridge; "
    "mirrored images as further rows; plans by other powers of the error; a second sweep of full-batch "
    "natural-gradient steps on the dense network's logits (their error falls on the images seen, validation does not "
    "gain)."
)


def main() -> None:
    """Measures what is missing of one table and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("ways", "others", "networks"))
    parser.add_argument("bundles", nargs="*", type=Path, help="dense networks; none: write the page anew")
    parser.add_argument("--mirror", help="folder or URL of archives")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.7])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=RESULTS / "recovery_ways")
    args = parser.parse_args()
    table = Table(args.out.with_suffix(".json"), KEY)
    for folder in args.bundles:
        case, network = opened(folder, args.table, args)
        seed = case.bundle.config["provenance"]["seed"]
        head = {"table": args.table, "network": network, "seed": seed}
        with torch.no_grad():
            fill(table, case, head, ways_of(case, args.table, args.ratios))
    args.out.with_suffix(".md").write_text(markdown(table.rows), encoding="utf-8")
    print(args.out.with_suffix(".md"))


if __name__ == "__main__":
    main()
