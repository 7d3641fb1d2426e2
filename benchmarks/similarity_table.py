"""Similarity-graph pruning beside other criteria at equal MACs: everything that a sweep file says, one row a cell.

At every point of the sweep: the published sweep at the published threshold (its MACs are what they are), then every
graph at the point's MACs, by one threshold for all layers (with scope "local" at the widths of the other criteria),
then every other criterion at the same MACs, local scope; and last criteria that choose whom, where the graph (selector
"dominating", one threshold) has chosen how many.
Each plan is cut, repaired in closed form, and fine-tuned; where the sweep names ``teachers``, against their mean
opinion ("taught"). Criteria and closed form see training images only, the epoch is chosen on validation, the test part
is looked at once a cell. Rows are kept as soon as they are measured, so a run that was stopped goes on where it was;
with ``--join`` tables that were measured side by side become one.

Example:
    python benchmarks/similarity_table.py benchmarks/sweeps/similarity_cifar10.json
    python benchmarks/similarity_table.py benchmarks/sweeps/similarity_eurosat.json --networks runs/d_s0 --epochs 0
"""

import argparse
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from fair_table import Table, measured
from rows import RESULTS
from torch import Tensor, nn
from torch.nn import functional as F

from rsprune_lib.bundle import Bundle, load_bundle
from rsprune_lib.data import Dataset, load_data
from rsprune_lib.device import pick_device
from rsprune_lib.files import read_json
from rsprune_lib.measure import layer_costs
from rsprune_lib.pruning import prune
from rsprune_lib.training import fit, recipe

STAGES = ("raw", "closed form", "fine-tuned")  # what is measured, unless the sweep names others
TRAINED = ("fine-tuned", "taught")  # stages of so many epochs
SOFT, TEMPERATURE = 0.9, 4.0  # share of the teachers in the loss of "taught", and its temperature
KEY = ("seed", "method", "budget", "threshold", "stage", "epochs")  # what no two rows share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="what to measure, a file of benchmarks/sweeps")
    parser.add_argument("--networks", nargs="+", type=Path, help="trained bundles in place of the sweep's")
    parser.add_argument("--epochs", type=int, help="of fine-tuning, in place of the sweep's; 0 leaves it out")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="measure these methods of the sweep and no others")
    parser.add_argument("--name", help="of the table in results/; by default the sweep's")
    parser.add_argument("--join", nargs="+", type=Path, help="tables measured elsewhere; nothing is measured then")
    arguments = parser.parse_args()
    sweep = read_json(arguments.sweep, "a sweep")
    methods = {key["method"] for key, _ in cells(sweep)}
    wanted = set(arguments.only or methods)
    if not wanted <= methods:
        parser.error(f"unknown method {min(wanted - methods)!r}; this sweep has: {'; '.join(sorted(methods))}")
    name = arguments.name or arguments.sweep.stem
    table = Table(RESULTS / f"{name}.json", KEY)
    for path in arguments.join or ():
        table.join(path)
    if not arguments.join:
        epochs = sweep["epochs"] if arguments.epochs is None else arguments.epochs
        data = load_data(sweep["data"])
        for seed, folder in enumerate(arguments.networks or map(Path, sweep["networks"])):
            measure_network(trained(folder, sweep["train"], seed), data, sweep, wanted, epochs, table)
    (RESULTS / f"{name}.md").write_text(page(table.rows, sweep), encoding="utf-8")
    print(RESULTS / f"{name}.md")


def trained(folder: Path, command: str, seed: int) -> Bundle:
    """The bundle; trained first if it is not there."""
    if not (folder / "config.json").is_file():
        program, *arguments = shlex.split(command.format(seed=seed, network=folder))
        subprocess.run([sys.executable, "-m", f"{program}_lib.cli", *arguments], check=True)
    return load_bundle(folder)


def measure_network(bundle: Bundle, data: Dataset, sweep: dict, methods: set[str], epochs: int, table: Table) -> None:
    """Fills in the rows of one network that are missing, of these methods."""
    seed = bundle.config["provenance"]["seed"]
    dense = {"seed": seed, "method": "dense", "stage": "dense"}
    if dense not in table:
        table.add(dense, _row(bundle.model, data, seed, "dense"))
    for key, options in cells(sweep):
        if key["method"] not in methods:
            continue
        key = {"seed": seed, **key}
        stages = [stage for stage in sweep.get("stages", STAGES) if epochs or stage not in TRAINED]
        wanted = {stage: key | {"stage": stage} | ({"epochs": epochs} if stage in TRAINED else {}) for stage in stages}
        wanted = {stage: row for stage, row in wanted.items() if row not in table}
        if not wanted:
            continue
        given = {"gates": bundle.gates, "seed": seed, "progress": False}
        look = sweep["images"] if options["criterion"] == "similarity" else 1024  # what each one's users would give
        if "widths_of" in options:
            graph = options.pop("widths_of")
            plan = prune(bundle.model, data, images=sweep["images"], recovery="none", **graph, **given).plan
            options["choosing"] = {
                "per_group": {name: 1 - plan.widths[name] / size for name, size in plan.sizes.items()}
            }
        cut = prune(bundle.model, data, images=look, recovery="none", **options, **given)
        how = {"how": cut.plan.how, "widths": cut.plan.widths}
        if "raw" in wanted:
            table.add(wanted["raw"], _row(cut.model, data, seed, "raw") | how)
        small = prune(bundle.model, data, plan=cut.plan, **given).model
        if "closed form" in wanted:
            table.add(wanted["closed form"], _row(small, data, seed, "closed form") | how)
        for stage in (stage for stage in TRAINED if stage in wanted):
            run = recipe("strong_finetune", epochs=epochs, **sweep.get("finetune", {}))
            objective = taught(sweep["teachers"]) if stage == "taught" else None
            best = fit(small, data, run, objective=objective, seed=seed, progress=False)
            row = _row(best.model, data, seed, stage) | how | {"recipe": run.to_dict(), "best_epoch": best.best_epoch}
            table.add(wanted[stage], row | ({"teachers": sweep["teachers"]} if objective else {}))


def taught(teachers: Sequence[str], soft: float = SOFT, temperature: float = TEMPERATURE) -> Callable:
    """Distillation (https://arxiv.org/abs/1503.02531): ``soft`` of the loss is what the teachers say on average."""
    device = pick_device()
    models = [load_bundle(Path(path)).model.to(device, memory_format=torch.channels_last).eval() for path in teachers]

    def objective(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            opinion = sum((m(images).float() / temperature).softmax(1) for m in models) / len(models)  # (B, K)
        logits = model(images).float()
        agreement = F.cross_entropy(logits / temperature, opinion) * temperature**2
        return soft * agreement + (1 - soft) * F.cross_entropy(logits, labels)

    return objective


def cells(sweep: dict) -> Iterator[tuple[dict, dict]]:
    """Every cell: what it is called in the table, and the arguments of `prune`."""
    graph = {"criterion": "similarity", "scope": "global"}  # one threshold for all layers, as published
    for point in sweep["points"]:
        if "threshold" in point:
            key = {"method": "similarity, as published", "budget": None, "threshold": point["threshold"]}
            yield key, graph | {"threshold": point["threshold"], "options": {"selector": "paper"}}
        for options in sweep["graphs"]:
            words = ["no mean term" if name == "mean_term" else value for name, value in options.items()]
            key = {"method": f"similarity, {', '.join(words)}", "budget": point["macs"], "threshold": None}
            own = {name: value for name, value in options.items() if name != "scope"}
            yield key, graph | {"scope": options.get("scope", "global"), "macs": point["macs"], "options": own}
        for criterion in sweep["against"]:
            key = {"method": criterion, "budget": point["macs"], "threshold": None}
            yield key, {"criterion": criterion, "macs": point["macs"], "scope": "local"}
        for criterion in sweep.get("at_graph_widths", ()):
            key = {"method": f"{criterion}, at the widths of similarity", "budget": point["macs"], "threshold": None}
            widths = graph | {"macs": point["macs"], "options": {"selector": "dominating"}}
            yield key, {"criterion": criterion, "scope": "local", "widths_of": widths}


def _row(model: object, data: Dataset, seed: int, name: str) -> dict:
    layers = layer_costs(model, data.image_size)
    return measured(model, data, seed, name) | {"params_paper": sum(c.params for c in layers if c.kind != "norm")}


def page(rows: list[dict], sweep: dict) -> str:
    """Markdown: a table a point, the published numbers beside; best first, by the last stage that every method has."""
    lines = [
        f"# {sweep['title']}",
        "",
        f"{origin(rows, sweep)} Similarities from {sweep['images']} training images, other scores and the closed form "
        "from 1,024; test accuracy in %, mean and deviation, in brackets the number of seeds. Parameters in brackets "
        "without norms, as the paper counts. Graphs have one threshold for all layers, as published; with 'local' "
        "every layer is as wide as under the other criteria, and the graph only says which channels stay."
        + _training(rows),
        "",
        f"Dense: {_accuracy([row for row in rows if row['stage'] == 'dense'])}.",
    ]
    if any("published" in point for point in sweep["points"]):
        lines += [
            "",
            "Published numbers are the best *test* accuracy over 160 epochs of fine-tuning after 200 of training; ours "
            "is the test accuracy of the epoch that is best on validation, after far fewer.",
        ]
    for point in sweep["points"]:
        lines += ["", *_point(rows, point)]
    return "\n".join(lines) + "\n"


def _training(rows: list[dict]) -> str:
    """How networks were trained after the cut, a sentence a stage."""
    text = ""
    for stage in TRAINED:
        row = next((row for row in rows if row["stage"] == stage), None)
        if row:
            run = row["recipe"]
            text += f" {stage.capitalize()}: {run['name']}, peak {run['lr']}, batch {run['batch_size']}"
            text += f", {run['half_size']:.0%} of the epochs at half the image side" if run["half_size"] else ""
            count = len(row.get("teachers", ()))
            text += f"; {SOFT:.0%} of the loss is the mean opinion of {count} teachers" if count else ""
            text += f" at temperature {TEMPERATURE:g}." if count else "."
    return text


def origin(rows: list[dict], sweep: dict) -> str:
    """Where the rows of a page come from, in two sentences."""
    first = rows[0]["provenance"]
    commits = sorted({str((row["provenance"]["git"] or {}).get("commit", "unknown"))[:10] for row in rows})
    return (
        f"Data {first['data']['name']} (split {first['data']['split_hash']}, test n = {rows[0]['n']}), seeds "
        f"{sorted({row['seed'] for row in rows})}, {first['device']}, torch {first['versions']['torch']}, commits "
        f"{', '.join(commits)}. Trained with: `{sweep['train']}`."
    )


def _point(rows: list[dict], point: dict) -> list[str]:
    title = f"## {point['macs'] / 1e6:.2f} M MACs"
    if "published" in point:
        title += f" (published: {100 * point['published']:.2f} % at threshold {point['threshold']})"
    stages = [(stage, None) for stage in STAGES[:2] if any(row["stage"] == stage for row in rows)]
    lengths = {stage: sorted({row["epochs"] for row in rows if row["stage"] == stage}) for stage in TRAINED}
    stages += [(stage, epochs) for stage in TRAINED for epochs in lengths[stage]]
    heads = [stage if epochs is None else f"{stage}, {epochs} ep." for stage, epochs in stages]
    heads = ["method", "threshold", "parameters", "MACs", *heads]
    lines = [title, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    here = [
        row
        for row in rows
        if row.get("budget") == point["macs"]
        or (row.get("threshold") is not None and row["threshold"] == point.get("threshold"))
    ]
    groups: dict[tuple, list[dict]] = {}
    for row in here:
        groups.setdefault((row["method"], row["threshold"]), []).append(row)
    split = {
        key: [[row for row in cell if (row["stage"], row.get("epochs")) == stage] for stage in stages]
        for key, cell in groups.items()
    }
    common = max(n for n in range(len(stages)) if all(parts[n] for parts in split.values()))
    found = []
    for method, threshold in groups:
        by_stage = split[method, threshold]
        used = [row["how"]["threshold"] for row in by_stage[common] if "threshold" in row["how"]]
        at = f"{statistics.mean(used):.3f}" + (" (given)" if threshold else "") if used else ""
        params, paper, macs = (
            statistics.mean(row[k] for row in by_stage[common]) for k in ("params", "params_paper", "macs")
        )
        text = f"| {method} | {at} | {params:,.0f} ({paper:,.0f}) | {macs / 1e6:.2f} M | "
        text += " | ".join(_accuracy(part) for part in by_stage) + " |"
        found.append((-statistics.mean(row["accuracy"] for row in by_stage[common]), text))
    return lines + [text for _, text in sorted(found)]


def _accuracy(rows: list[dict]) -> str:
    if not rows:
        return ""
    values = [100 * row["accuracy"] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} ({len(values)})"


if __name__ == "__main__":
    main()
