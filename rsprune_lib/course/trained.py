"""A good network in seconds: the bundle that comes with the course, or a small one trained on the spot."""

from pathlib import Path

from rsprune_lib.bundle import Bundle, load_bundle, save_bundle
from rsprune_lib.code_version import code_hash
from rsprune_lib.course.profiles import Profile, profile
from rsprune_lib.data import Batches, Dataset, measuring_batch
from rsprune_lib.errors import unknown
from rsprune_lib.measure import measure, provenance
from rsprune_lib.models import create_model
from rsprune_lib.places import bundle_path, project_root
from rsprune_lib.pruning import gate_statistics, prune
from rsprune_lib.training import fit, recipe

__all__ = ["KINDS", "trained"]

KINDS = {"dense": "resnet18_se", "pruned": "resnet18_se_r70"}


def trained(data: Dataset, kind: str = "dense", *, choice: Profile | None = None, progress: bool = True) -> Bundle:
    """Returns a trained bundle for a data set, so that a notebook never waits for a long training run.

    The one in ``bundles/`` is taken if it was made for the same images, classes and split. For any other data set, such
    as an own folder, a small network is trained for a few epochs and kept in ``runs/trained`` for the next time, until
    the library changes.

    Args:
        data: The data set.
        kind: ``"dense"`` (SE-ResNet-18 as trained) or ``"pruned"`` (its child at ratio 0.7, repaired and fine-tuned).
        choice: Profile of the short training; by default the current one.
        progress: Show progress bars.

    Raises:
        RspruneError: The kind is unknown, or a bundle is damaged.
    """
    if kind not in KINDS:
        raise unknown("kind of bundle", kind, KINDS)
    folder = bundle_path(f"{data.name}_{KINDS[kind]}")
    if folder is not None and _fits(bundle := load_bundle(folder), data):
        return bundle
    choice, code = choice or profile(), code_hash("rsprune_lib")
    place = project_root() / "runs" / "trained" / f"{data.name}_{data.content_hash[:12]}_{choice.name}" / KINDS[kind]
    if (place / "config.json").is_file():
        bundle = load_bundle(place)
        if _fits(bundle, data) and bundle.config["provenance"].get("code") == code:
            return bundle
    _train(data, kind, place, choice, progress, code)
    return load_bundle(place)


def _fits(bundle: Bundle, data: Dataset) -> bool:
    """Whether a bundle was trained on the training part of this data set."""
    seen = bundle.config["data"] or {}
    return (seen.get("content_hash"), seen.get("split_hash")) == (data.content_hash, data.split.hash)


def _train(data: Dataset, kind: str, place: Path, choice: Profile, progress: bool, code: str) -> None:
    """Trains the dense network, or prunes and fine-tunes it, into the folder ``place``."""
    limits = {"limit": choice.train_images, "val_limit": choice.val_images, "progress": progress}
    plan = gates = None
    if kind == "dense":
        model = create_model(KINDS["dense"], data.num_classes, width=choice.width, seed=0)
        model = fit(model, data, recipe("strong", epochs=choice.train_epochs), **limits).model
        gates = gate_statistics(model, Batches(data, "train", 64, limit=choice.gate_images), progress)
    else:
        dense = trained(data, "dense", choice=choice, progress=progress)
        images = choice.calibration_images or 1024
        small = prune(dense.model, data, ratio=0.7, gates=dense.gates, images=images, progress=progress)
        run, plan = recipe("strong_finetune", epochs=choice.finetune_epochs), small.plan
        model = fit(small.model, data, run, **limits).model
    row = measure(
        KINDS[kind],
        model,
        Batches(data, "val", measuring_batch(data), limit=choice.val_images),
        timed=False,
        progress=progress,
    )
    origin = provenance(data.info(), seed=0, profile=choice.name) | {"code": code}
    save_bundle(
        place,
        model,
        plan=plan,
        gates=gates,
        data=data.info(),
        provenance=origin,
        measured={"val_accuracy": row.accuracy, "params": row.params, "macs": row.macs},
        command=f"rsprune_lib.course.trained({data.name!r}, {kind!r}) in profile {choice.name}",
    )
