"""How ``rsprune train`` and ``rsprune finetune`` run: fit, measure on the validation part, write the bundle."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsprune_lib.commands.common import emit, needed, row_text, say
from rsprune_lib.commands.finish import finish
from rsprune_lib.commands.tracked import TRACKED, keep_artefacts, tracked
from rsprune_lib.errors import TrainingError
from rsprune_lib.run_folder import RunFolder, leads

if TYPE_CHECKING:
    from torch import nn

    from rsprune_lib.course import Profile
    from rsprune_lib.data import Dataset
    from rsprune_lib.pruning import Plan
    from rsprune_lib.training import Distillation, Recipe, SoftPruning

__all__ = ["Job", "work"]


@dataclass(frozen=True)
class Job:
    """One run of training or fine-tuning."""

    model: "nn.Module"
    title: str
    data: "Dataset"
    recipe: "Recipe"
    profile: "Profile"
    loss: str
    seed: int
    run: RunFolder
    limit: int | None
    plan: "Plan | None" = None
    half: bool = False
    track: bool = False
    objective: "Distillation | None" = None
    soft: "SoftPruning | None" = None

    def finished(self, model: "nn.Module") -> "tuple[nn.Module, Plan | None]":
        """What a bundle keeps of the best network: itself, or its small one, and what was pruned altogether."""
        if self.soft is None:
            return model, self.plan
        from rsprune_lib.pruning import compose

        plan = self.soft.plan if self.plan is None else compose(self.plan, self.soft.plan)
        return self.soft.small(model), plan


def work(job: Job, as_json: bool) -> None:
    """Fits, measures on the validation part and writes the bundle."""
    from rsprune_lib.bundle_files import CONFIG, FILES
    from rsprune_lib.files import write_json
    from rsprune_lib.training import CHECKPOINT, fit

    if job.data.synthetic:
        say("Synthetic data: the images are drawn, and the numbers say nothing about real scenes.")
    limits, out = {"limit": job.limit, "val_limit": job.profile.val_images}, job.run.out
    room = needed(job.model, 10)  # two checkpoints at a time, each with momentum and averages; the bundle
    names = [*FILES, "history.json", CHECKPOINT, *(TRACKED if job.track else ())]
    params = {"recipe": job.recipe.to_dict(), "loss": job.loss, "seed": job.seed, "profile": job.profile.name}
    params |= {"model": job.model.config, "train_images": job.limit}
    params |= {} if job.objective is None else {"loss": str(job.objective)}
    params |= {} if job.soft is None else {"soft": job.soft.identity()}
    with job.run.open(names, needed=room) as folder:
        if job.run.resume and (folder / CONFIG).exists() and not (folder / CHECKPOINT).exists():
            raise TrainingError(
                f"The run in {out} has ended and its checkpoint is gone; leave it, or replace it by --force."
            )
        try:
            with tracked(job.track, folder, job.run, job.title, job.data, params) as trackers:
                result = fit(
                    job.model, job.data, job.recipe, loss=job.loss, seed=job.seed, out=folder, resume=job.run.resume,
                    callbacks=[*([job.soft] if job.soft else []), *trackers], objective=job.objective, **limits,
                )  # fmt: skip
        except KeyboardInterrupt:
            if (folder / CHECKPOINT).exists():
                say(f"Stopped; every finished epoch is kept in {out}. Run the same command with --resume to go on.")
            raise
        if not leads():
            return
        network, plan = job.finished(result.model)
        row = finish(
            folder, network, job.title, job.data, seed=job.seed, plan=plan,
            profile=job.profile.name, limit=job.profile.val_images, half=job.half,
            extra={key: params[key] for key in ("recipe", "loss", "train_images", "soft") if key in params},
        )  # fmt: skip
        history = {"schema": 1, "best_epoch": result.best_epoch, "epochs": result.history}
        write_json(folder / "history.json", history)
    keep_artefacts(job.run, trackers, ["history.json", CONFIG])
    text = f"{row_text(row)}\nBest epoch {result.best_epoch}; written to {out}"
    emit({"out": str(out), "best_epoch": result.best_epoch, **row}, as_json, text)
