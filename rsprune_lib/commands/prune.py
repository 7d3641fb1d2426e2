"""``rsprune prune``: from a trained bundle to a smaller, repaired one."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import (
    Bands,
    BundleFolder,
    Data,
    Force,
    Half,
    Json,
    Options,
    Out,
    RecoveryOptions,
    Seed,
    amount,
    data_paths,
    emit,
    named_options,
    needed,
    open_run,
    row_text,
    say,
)
from rsprune_lib.commands.finish import finish
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.bundle import Bundle
    from rsprune_lib.data import Dataset
    from rsprune_lib.pruning import Request

__all__ = ["prune"]


Criterion = Annotated[
    str | None,
    typer.Option("--criterion", help="{criteria}; by default attention where the network has SE gates, else l2."),
]
Scope = Annotated[str, typer.Option("--scope", help="{scopes}.")]
Ratio = Annotated[
    float | None, typer.Option("--ratio", help="Share of the channels to remove; 0.7 if no amount is given.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="Remove channels with a lower normalised score; with criterion similarity: join channels that are at "
        "least as alike, and let --selector decide.",
    ),
]
Selector = Annotated[
    str | None,
    typer.Option(
        "--selector",
        help="Of criterion similarity: {selectors}; some need --rank. With --ratio or --macs, --scope global "
        "is one threshold for all layers, local the same share of each.",
    ),
]
Rank = Annotated[
    str | None, typer.Option("--rank", help="Of criterion similarity: the criterion that says which of two is better.")
]
Least = Annotated[
    float | None,
    typer.Option("--least", help="Of a selector: least share of its channels that a layer keeps, e.g. 0.1."),
]
Macs = Annotated[str | None, typer.Option("--macs", help="Most MACs that may be left, e.g. 15M.")]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="Replay a plan.json; nothing is scored then.")]
Recovery = Annotated[str, typer.Option("--recovery", help="{recoveries}.")]
Images = Annotated[int, typer.Option("--images", min=1, help="Training images for scores and recovery.")]
MultipleOf = Annotated[
    int | None,
    typer.Option(
        "--multiple-of", min=1,
        help="Channel counts are multiples of this; by default 8 with --budget-ms (what is deployed is faster so), "
        "else 1, as published.",
    ),
]  # fmt: skip
BudgetMs = Annotated[
    float | None,
    typer.Option(
        "--budget-ms",
        help="Most milliseconds an image, one thread, ONNX Runtime; exported networks are measured until one fits.",
    ),
]


def prune(
    folder: BundleFolder, out: Out, criterion: Criterion = None, scope: Scope = "local", ratio: Ratio = None,
    threshold: Threshold = None, macs: Macs = None, plan: PlanFile = None, recovery: Recovery = "closed_form",
    images: Images = 1024, multiple_of: MultipleOf = None, selector: Selector = None, rank: Rank = None,
    least: Least = None, option: Options = None, recovery_option: RecoveryOptions = None, data: Data = None,
    bands: Bands = None, budget_ms: BudgetMs = None, seed: Seed = 0, force: Force = False, half: Half = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Prune a trained network, repair it without labels, and write model, plan and numbers into --out."""
    amounts = {"ratio": ratio, "threshold": threshold, "macs": amount(macs) if macs is not None else None}
    given = [key for key, value in (*amounts.items(), ("plan", plan), ("ms", budget_ms)) if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"give one of --ratio, --threshold, --macs, --budget-ms and --plan, not {len(given)}")
    amounts |= {"ratio": 0.7} if not given or budget_ms is not None else {}
    named, repairing = named_options(option), named_options(recovery_option, "--recovery-option")
    own = {key: value for key, value in (("selector", selector), ("rank", rank)) if value is not None}
    belongs = f"belongs to --criterion similarity, not to {criterion or 'another'}"
    if own and criterion != "similarity":
        raise typer.BadParameter(f"--{next(iter(own))} {belongs}")
    if least is not None and criterion != "similarity":
        raise typer.BadParameter(f"--least {belongs}")
    more = {"multiple_of": multiple_of or 1}
    if least is not None:
        own, more = {"selector": "dominating", **own}, {**more, "least": least}
    from rsprune_lib.bundle_files import FILES
    from rsprune_lib.device import pick_device
    from rsprune_lib.pruning import SELECTORS, Plan, Request
    from rsprune_lib.pruning.criteria.registry import usual_criterion
    from rsprune_lib.pruning.prune import prune as prune_network

    if selector in SELECTORS and SELECTORS[selector].needs and rank is None:
        raise typer.BadParameter(f"--selector {selector} keeps the best of what is alike; say by what, e.g. --rank l1")
    run = RunFolder(out, "prune", force=force, inputs=[folder, *([plan] if plan else []), *data_paths(data)])
    request = Request(
        criterion, scope=scope, plan=Plan.load(plan) if plan else None, recovery=recovery, images=images,
        options=own | named, choosing=more, repairing=repairing, seed=seed, **amounts,
    )  # fmt: skip
    pick_device()  # a wrong RSPRUNE_DEVICE is told now
    bundle, loaded = open_run(folder, data, bands)
    run.apart_from(*data_paths(loaded.source))
    if budget_ms is not None:
        request = _within(budget_ms, request if multiple_of else _in_eights(request, bundle, loaded), bundle, loaded)
    if criterion is None and plan is None and (taken := usual_criterion(bundle.model)) != "attention":
        say(f"No criterion was named, and the network has no SE gates: its channels are judged by {taken}.")
    with run.open(FILES, needed=needed(bundle.model, 2), resumable=False) as place:
        result = prune_network(bundle.model, loaded, request, first=bundle.plan, gates=bundle.gates)
        step = request.choosing["multiple_of"]
        if narrow := sum(group.size < step for group in result.groups):
            say(f"{narrow} of {len(result.groups)} groups have fewer than {step} channels and stay whole.")
        if sum(map(len, result.plan.keep.values())) == sum(group.size for group in result.groups):
            say("No channel was removed; ask for a larger --ratio, a higher --threshold or fewer --macs.")
        how, dense = result.plan.how, bundle.config.get("measured") or {}
        how = how.get("steps", [how])[-1]
        title = f"{bundle.config['model']['name']} pruned ({how.get('criterion', 'plan')}, {recovery})"
        extra = {"recovery": recovery, "repairing": repairing, "images": images, "parent": dense.get("name")}
        row = finish(place, result.model, title, loaded, seed=seed, plan=result.plan, extra=extra, half=half)
    if dense.get("macs") and dense.get("params"):
        less = ", ".join(f"{1 - row[what] / dense[what]:.1%} less {what}" for what in ("macs", "params"))
        say(f"Compared with {folder}: {less}.")
    emit({"out": str(run.out), "how": how, **row}, as_json, f"{row_text(row)}\nWritten to {run.out}")


def _in_eights(request: "Request", bundle: "Bundle", data: "Dataset") -> "Request":
    """The same request with the widths of what is deployed, where its scope can keep them."""
    from rsprune_lib.pruning import find_groups
    from rsprune_lib.pruning.criteria.gates import without_gates
    from rsprune_lib.pruning.layers import deployed_multiple

    if request.by_graph and request.scope == "global":  # one threshold for all layers
        return request
    groups = find_groups(without_gates(bundle.model), data.image_size)
    step = deployed_multiple(group.size for group in groups)
    if step > 1:
        say(f"Channel counts are multiples of {step}, which runtimes compute faster; --multiple-of 1 leaves that out.")
    return replace(request, choosing={**request.choosing, "multiple_of": step})


def _within(budget_ms: float, request: "Request", bundle: "Bundle", data: "Dataset") -> "Request":
    """The same request with the ratio that fits a budget."""
    from rsprune_lib.deploy import Facts, ratio_within

    say(f"Looking for a network that takes {budget_ms:g} ms an image; each try is exported, which takes some seconds.")
    tried = ratio_within(budget_ms, bundle.model, data, Facts.of(bundle), request, gates=bundle.gates, say=say)
    say(f"Taken: ratio {tried[-1].ratio:.3f}, {tried[-1].ms:.3g} ms.")
    return replace(request, ratio=tried[-1].ratio)
