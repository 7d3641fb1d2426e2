"""``rsprune exits``: early exits for a trained network, and a rule that says when an image may leave."""

from typing import Annotated

import typer

from rsprune_lib.commands.common import (
    Bands,
    BundleFolder,
    Data,
    Force,
    Half,
    Json,
    Out,
    Resume,
    Seed,
    data_paths,
    emit,
    open_run,
)
from rsprune_lib.commands.leaving import Job, Wish, leaving_text
from rsprune_lib.commands.tracked import Track
from rsprune_lib.errors import unknown
from rsprune_lib.run_folder import RunFolder

__all__ = ["exits"]

STAGES = ("frozen", "dynn", "joint", "backbone_only")

Places = Annotated[str | None, typer.Option("--places", help="Modules behind which images may leave: layer1,layer2.")]
Count = Annotated[int, typer.Option("--exits", help="Without --places: how many, at equal shares of the work.")]
Norm = Annotated[str, typer.Option("--norm", help="Of the heads: own, shared (the network's last norm) or none.")]
Stages = Annotated[
    str,
    typer.Option(
        "--stages",
        help="frozen: heads in seconds, the network stays; dynn, joint or backbone_only: warm-up of the heads, then "
        "heads and gates in turn, all together, or the network alone.",
    ),
]
Trade = Annotated[
    float, typer.Option("--trade", min=0, help="Of gates: the loss that a whole network's work is worth.")
]
Rule = Annotated[str, typer.Option("--rule", help="When an image is sure enough: {rules}.")]
Promise = Annotated[
    float | None,
    typer.Option("--promise", help="Lose at most so many points of the images against the whole network, e.g. 0.5."),
]
Confidence = Annotated[float, typer.Option("--confidence", help="Of the promise, in (0, 1).")]
Accuracy = Annotated[float | None, typer.Option("--accuracy", help="Cheapest threshold of this accuracy, e.g. 0.95.")]
Budget = Annotated[
    float | None, typer.Option("--cost", help="Best threshold at this mean share of the MACs, e.g. 0.5.")
]
ProfileName = Annotated[str | None, typer.Option("--profile", help="smoke, quick or full.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Of each stage, in place of the profile's.")]


def exits(
    folder: BundleFolder, out: Out, places: Places = None, count: Count = 3, norm: Norm = "own",
    stages: Stages = "frozen", trade: Trade = 0.35, rule: Rule = "max_probability", promise: Promise = None,
    confidence: Confidence = 0.9, accuracy: Accuracy = None, cost: Budget = None, data: Data = None,
    bands: Bands = None, profile: ProfileName = None, epochs: Epochs = None, seed: Seed = 0, resume: Resume = False,
    force: Force = False, half: Half = False, track: Track = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Add early exits to a bundle, fit them, choose a threshold on validation images, and write a bundle into --out.

    Without --promise, --accuracy or --cost the threshold is the cheapest one that is as accurate as the whole network
    on the images that it is chosen on.
    """
    from rsprune_lib.measure import EXIT_RULES

    for what, value, known in (
        ("stages", stages, STAGES),
        ("rule", rule, EXIT_RULES),
        ("norm", norm, ("own", "shared", "none")),
    ):
        if value not in known:
            raise unknown(what, value, known)
    if sum(value is not None for value in (promise, accuracy, cost)) > 1:
        raise typer.BadParameter("give one of --promise, --accuracy and --cost")
    if force and resume:
        raise typer.BadParameter("give one of --force, which replaces a run, and --resume, which goes on with it")
    from rsprune_lib.course import profile as get_profile
    from rsprune_lib.models import add_exits

    how, wish = get_profile(profile), Wish(rule, promise, confidence, accuracy, cost)
    run = RunFolder(out, "exits", force=force, resume=resume, inputs=[folder, *data_paths(data)])
    bundle, loaded = open_run(folder, data, bands)
    run.apart_from(*data_paths(loaded.source))
    where = count if places is None else [name.strip() for name in places.split(",")]
    model = add_exits(bundle.model, where, norm={"own": True, "none": False}.get(norm, norm), seed=seed)
    job = Job(model, bundle, loaded, how, stages, trade, wish, seed, epochs, run, track, half)
    row, found = job.work()
    emit({"out": str(run.out), "exits": found, **row}, as_json, f"{leaving_text(found)}\nWritten to {run.out}")
