"""``rsprune train`` and ``rsprune finetune``: from data to a trained bundle, interruptible at any moment."""

from collections.abc import Sequence
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
    Resume,
    Seed,
    data_paths,
    open_run,
    say,
)
from rsprune_lib.commands.fitting import Job, work
from rsprune_lib.commands.soft import Decay, HardEpochs, KeepNorms, Refresh, Soft, SoftRatio, soft_pruning
from rsprune_lib.commands.tracked import Track
from rsprune_lib.errors import ModelError, TrainingError
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.course import Profile
    from rsprune_lib.training import Distillation, Recipe

__all__ = ["finetune", "train"]

ProfileName = Annotated[
    str | None, typer.Option("--profile", help="smoke, quick or full; by default RSPRUNE_PROFILE, else quick.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Epochs in place of the profile's.")]
Stem = Annotated[
    str | None, typer.Option("--stem", help="imagenet, or small for images of 32 pixels; by default the usual one.")
]
Teacher = Annotated[
    list[Path] | None,
    typer.Option(
        "--teacher", metavar="DIR", help="Bundle that teaches; given several times, the mean of their answers."
    ),
]


def train(
    model: Annotated[
        str,
        typer.Argument(help="{networks}; or torchvision:NAME, timm:NAME, smp:NAME:ENCODER."),
    ],
    out: Out,
    data: Annotated[
        str, typer.Option("--data", help="Data set, or folder of class folders or of images and masks.")
    ] = "auto",
    bands: Bands = None,
    size: Annotated[
        str | None, typer.Option("--size", help="Pixels a side, or HEIGHTxWIDTH; the data set's own without.")
    ] = None,
    profile: ProfileName = None,
    recipe: Annotated[str, typer.Option("--recipe", help="{recipes}.")] = "strong",
    loss: Annotated[str | None, typer.Option("--loss", help="{losses}; by default ce, or body_edge.")] = None,
    epochs: Epochs = None,
    width: Annotated[float, typer.Option("--width", help="Factor on the channels of every layer.")] = 1.0,
    stem: Stem = None,
    patch: Annotated[
        int | None, typer.Option("--patch", help="Pixels a side of a token, for GFNets; 16 by default.", min=1)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", help="Start from this file: a state dict (.pt, read with weights_only) or safetensors."
        ),
    ] = None,
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
    half: Half = False,
    track: Track = False,
    as_json: Json = False,
) -> None:
    """Train a network and write it as a bundle (model.safetensors, config.json, history.json) into --out."""
    import torch

    from rsprune_lib.course import profile as get_profile
    from rsprune_lib.data import load_data
    from rsprune_lib.models import create_model, load_weights, takes_size
    from rsprune_lib.tasks import task_of

    how = get_profile(profile)
    chosen, sides = _recipe(recipe, epochs, how, how.train_epochs, loss), _sides(size)
    sized = takes_size(model)
    options = {"width": width, "stem": stem, "patch": patch}
    with torch.device("meta"):  # wrong ones are told before data are decoded; which patch fits depends on the images
        create_model(model, **options | ({"patch": None} if sized else {}))
    run = _run_folder(out, "train", force, resume, [*data_paths(data), *([weights] if weights else [])])
    if weights is not None and not weights.is_file():
        raise ModelError(f"Found no weights at {weights}; check the path.")
    loaded = load_data(data, image_size=sides, bands=bands)
    network = create_model(
        model, loaded.num_classes, image_size=loaded.image_size if sized else None, seed=seed, **options
    )
    for note in load_weights(network, weights) if weights is not None else ():
        say(f"{weights}: {note}.")
    loss = loss or task_of(network, loaded).loss
    work(Job(network, model, loaded, chosen, how, loss, seed, run, how.train_images, half=half, track=track), as_json)


def finetune(
    folder: BundleFolder,
    out: Out,
    data: Data = None,
    bands: Bands = None,
    profile: ProfileName = None,
    recipe: Annotated[str, typer.Option("--recipe", help="{recipes}.")] = "strong_finetune",
    loss: Annotated[
        str | None, typer.Option("--loss", help="{losses}; by default mining, of masks as for train.")
    ] = None,
    epochs: Epochs = None,
    teacher: Teacher = None,
    kind: Annotated[str, typer.Option("--kind", help="Of distillation: soft, hard or dkd.")] = "soft",
    spectral: Annotated[
        float, typer.Option("--spectral", min=0, help="Of distillation: weight of spectra of maps, e.g. 0.1.")
    ] = 0.0,
    soft: Soft = None,
    ratio: SoftRatio = None,
    decay: Decay = None,
    hard_epochs: HardEpochs = None,
    refresh: Refresh = None,
    keep_norms: KeepNorms = False,
    option: Options = None,
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
    half: Half = False,
    track: Track = False,
    as_json: Json = False,
) -> None:
    """Fine-tune a bundle, usually a pruned one, and write the result into --out.

    With --teacher the network also learns from the answers of other bundles, and from the labels by cross-entropy. With
    --soft it is pruned on the way.
    """
    from rsprune_lib.course import profile as get_profile
    from rsprune_lib.tasks import task_of

    how = get_profile(profile)
    chosen = _recipe(recipe, epochs, how, how.finetune_epochs, loss)
    numbers = {"ratio": ratio, "decay": decay, "hard_epochs": hard_epochs, "refresh": refresh}
    fading = soft_pruning(soft, option, keep_norms, how.finetune_images, seed, **numbers)
    run = _run_folder(out, "finetune", force, resume, [folder, *(teacher or []), *data_paths(data)])
    bundle, loaded = open_run(folder, data, bands)
    run.apart_from(*data_paths(loaded.source))
    before = (bundle.config.get("measured") or {}).get("name") or bundle.config["model"]["name"]
    objective = _distillation(teacher, loaded.classes, kind, spectral) if teacher else None
    task = task_of(bundle.model, loaded)
    loss = loss or ("mining" if "labels" in task.gives else task.loss)
    words = (f"{kind} distillation" if teacher else loss) + (f", softly pruned by {soft}" if soft else "")
    title, limit = f"{before}, fine-tuned ({words})", how.finetune_images
    fade = fading and fading(loaded)
    job = Job(
        bundle.model, title, loaded, chosen, how, loss, seed, run, limit, bundle.plan, half, track, objective, fade
    )  # fmt: skip
    work(job, as_json)


def _distillation(folders: list[Path], classes: Sequence[str], kind: str, spectral: float) -> "Distillation":
    """The objective of a student of some bundles, which must know its classes in its order."""
    from rsprune_lib.bundle import load_bundle
    from rsprune_lib.data.leftovers import listed
    from rsprune_lib.training import Distillation, Spectral

    teachers = []
    for folder in folders:
        bundle = load_bundle(folder)
        theirs = (bundle.config.get("data") or {}).get("classes")
        if theirs is not None and list(theirs) != list(classes):
            raise TrainingError(
                f"The teacher {folder} knows the classes {listed(theirs)}, the student {listed(classes)}; take a "
                "teacher that was trained on the same classes."
            )
        teachers.append(bundle.model)
    return Distillation(teachers, kind, spectral=Spectral(spectral) if spectral else None)


def _run_folder(out: Path, kind: str, force: bool, resume: bool, inputs: list[Path]) -> RunFolder:
    if force and resume:
        raise typer.BadParameter("give one of --force, which replaces a run, and --resume, which goes on with it")
    return RunFolder(out, kind, force=force, resume=resume, inputs=inputs)


def _sides(size: str | None) -> int | tuple[int, int] | None:
    """Pixels a side, or height and width."""
    numbers = [] if size is None else size.lower().split("x")
    if not all(number.isdecimal() for number in numbers) or len(numbers) > 2:
        raise typer.BadParameter(f"--size is {size!r}, but must be a number such as 224, or a pair such as 180x240")
    sides = tuple(map(int, numbers))
    return sides if len(sides) == 2 else sides[0] if sides else None


def _recipe(name: str, epochs: int | None, how: "Profile", few: int, loss: str | None) -> "Recipe":
    """The recipe with the epochs that were asked for; the full profile leaves the recipe its own number."""
    from rsprune_lib.training import make_loss, recipe

    if loss is not None:
        make_loss(loss)  # a wrong name is told before data are decoded
    if epochs is None and how.name != "full":
        epochs = few
    return recipe(name, epochs=epochs)
