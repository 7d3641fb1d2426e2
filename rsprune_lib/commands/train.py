"""``rsprune train`` and ``rsprune finetune``: from data to a trained bundle, interruptible at any moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import (
    Bands,
    Data,
    Force,
    Half,
    Json,
    Out,
    Resume,
    RunFolder,
    Seed,
    claim,
    emit,
    leads,
    open_run,
    row_text,
    say,
)
from rsprune_lib.commands.finish import finish

if TYPE_CHECKING:
    from torch import nn

    from rsprune_lib.course import Profile
    from rsprune_lib.data import Dataset
    from rsprune_lib.pruning import Plan
    from rsprune_lib.training import Recipe

__all__ = ["finetune", "train"]

ProfileName = Annotated[
    str | None, typer.Option("--profile", help="smoke, quick or full; by default RSPRUNE_PROFILE, else quick.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Epochs in place of the profile's.")]
Stem = Annotated[
    str | None, typer.Option("--stem", help="imagenet, or small for images of 32 pixels; by default the usual one.")
]


def train(
    model: Annotated[
        str,
        typer.Argument(
            help="resnet18, resnet18_se, vgg16, vgg16_se; vgg16_cifar, resnet20, 32, 44, 56, 110, densenet40."
        ),
    ],
    out: Out,
    data: Annotated[str, typer.Option("--data", help="Data set or folder of class folders.")] = "auto",
    bands: Bands = None,
    profile: ProfileName = None,
    recipe: Annotated[str, typer.Option("--recipe", help="strong or paper.")] = "strong",
    loss: Annotated[str, typer.Option("--loss", help="ce, mining, mining_code or focal.")] = "ce",
    epochs: Epochs = None,
    width: Annotated[float, typer.Option("--width", help="Factor on the channels of every layer.")] = 1.0,
    stem: Stem = None,
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
    half: Half = False,
    as_json: Json = False,
) -> None:
    """Train a network and write it as a bundle (model.safetensors, config.json, history.json) into --out."""
    from rsprune_lib.course import profile as get_profile
    from rsprune_lib.data import load_data
    from rsprune_lib.models import create_model

    how = get_profile(profile)
    chosen = _recipe(recipe, epochs, how, how.train_epochs)
    claim(out, force=force, resume=resume)
    loaded = load_data(data, bands=bands)
    network = create_model(model, loaded.num_classes, width=width, stem=stem, seed=seed)
    _run(_Job(network, model, loaded, chosen, how, loss, seed, out, how.train_images, half=half), resume, as_json)


def finetune(
    folder: RunFolder,
    out: Out,
    data: Data = None,
    bands: Bands = None,
    profile: ProfileName = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="strong_finetune, paper_finetune, strong or paper.")
    ] = "strong_finetune",
    loss: Annotated[str, typer.Option("--loss", help="ce, mining, mining_code or focal.")] = "mining",
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
    half: Half = False,
    as_json: Json = False,
) -> None:
    """Fine-tune a bundle, usually a pruned one, and write the result into --out."""
    from rsprune_lib.course import profile as get_profile

    how = get_profile(profile)
    chosen = _recipe(recipe, epochs, how, how.finetune_epochs)
    claim(out, force=force, resume=resume)
    bundle, loaded = open_run(folder, data, bands)
    title = f"{bundle.config['measured'].get('name') or bundle.config['model']['name']}, fine-tuned ({loss})"
    limit = how.finetune_images
    job = _Job(bundle.model, title, loaded, chosen, how, loss, seed, out, limit, bundle.plan, half)
    _run(job, resume, as_json)


def _recipe(name: str, epochs: int | None, how: "Profile", few: int) -> "Recipe":
    """The recipe with the epochs that were asked for; the full profile leaves the recipe its own number."""
    from rsprune_lib.training import recipe

    if epochs is None and how.name != "full":
        epochs = few
    return recipe(name, epochs=epochs)


@dataclass(frozen=True)
class _Job:
    """One run of training or fine-tuning."""

    model: "nn.Module"
    title: str
    data: "Dataset"
    recipe: "Recipe"
    profile: "Profile"
    loss: str
    seed: int
    out: Path
    limit: int | None
    plan: "Plan | None" = None
    half: bool = False


def _run(job: _Job, resume: bool, as_json: bool) -> None:
    """Fits, measures on the test part and writes the bundle."""
    from rsprune_lib.files import write_json
    from rsprune_lib.training import fit

    if job.data.synthetic:
        say("Synthetic data: the images are drawn, and the numbers say nothing about real scenes.")
    limits = {"limit": job.limit, "val_limit": job.profile.val_images}
    try:
        result = fit(
            job.model, job.data, job.recipe, loss=job.loss, seed=job.seed, out=job.out, resume=resume, **limits
        )
    except KeyboardInterrupt:
        say(f"Stopped; every finished epoch is kept in {job.out}. Run the same command with --resume to go on.")
        raise
    if not leads():
        return
    row = finish(
        job.out, result.model, job.title, job.data, seed=job.seed, plan=job.plan,
        profile=job.profile.name, limit=job.profile.test_images, half=job.half,
        extra={"recipe": job.recipe.to_dict(), "loss": job.loss, "train_images": job.limit},
    )  # fmt: skip
    write_json(job.out / "history.json", {"schema": 1, "best_epoch": result.best_epoch, "epochs": result.history})
    text = f"{row_text(row)}\nBest epoch {result.best_epoch}; written to {job.out}"
    emit({"out": str(job.out), "best_epoch": result.best_epoch, **row}, as_json, text)
