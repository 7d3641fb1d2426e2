"""A good network in seconds: the bundle that comes with the course, or a small one trained on the spot."""

from pathlib import Path

from torch import nn

from rsprune_lib.bundle import Bundle, load_bundle, save_bundle
from rsprune_lib.code_version import code_hash
from rsprune_lib.course.own_images import epochs_and_images
from rsprune_lib.course.profiles import Profile, equal_pixels, profile
from rsprune_lib.data import Batches, Dataset, measuring_batch
from rsprune_lib.data.notes import tell
from rsprune_lib.errors import unknown
from rsprune_lib.measure import measure, provenance
from rsprune_lib.models import create_model
from rsprune_lib.places import bundle_path, project_root
from rsprune_lib.pruning import Gates, Plan, gate_statistics, prune
from rsprune_lib.training import fit, recipe

__all__ = ["KINDS", "MASKS", "trained"]

# what the bundles in bundles/ are called behind the data set's name, the first that fits; the first is trained else
KINDS = {"dense": ("resnet18_se",), "pruned": ("resnet18_se_r70",)}
MASKS = {"dense": ("unet1", "ued_bes_sfm"), "pruned": ("unet1_k50", "ued_bes_sfm_k50")}


def trained(data: Dataset, kind: str = "dense", *, choice: Profile | None = None, progress: bool = True) -> Bundle:
    """Returns a trained bundle for a data set, so that a notebook never waits for a long training run.

    The one in ``bundles/`` is taken if it was made for the same images, classes and split. For any other data set, such
    as an own folder, a small network is trained for a few epochs and kept in ``runs/trained`` for the next time, until
    the library changes.

    Args:
        data: The data set.
        kind: ``"dense"`` (SE-ResNet-18 as trained) or ``"pruned"`` (its child at ratio 0.7, repaired and fine-tuned);
            of a data set with masks a UNet1 or UED, and its child with half of the channels, chosen for rare classes.
        choice: Profile of the short training; by default the current one.
        progress: Show progress bars.

    Raises:
        RspruneError: The kind is unknown, or a bundle is damaged.
    """
    if kind not in KINDS:
        raise unknown("kind of bundle", kind, KINDS)
    names = (KINDS if data.masks is None else MASKS)[kind]
    for folder in filter(None, (bundle_path(f"{data.name}_{name}") for name in names)):
        if _fits(bundle := load_bundle(folder), data):
            return bundle
    choice, code = choice or profile(), code_hash("rsprune_lib")
    place = project_root() / "runs" / "trained" / f"{data.name}_{data.content_hash[:12]}_{choice.name}" / names[0]
    if (place / "config.json").is_file():
        bundle = load_bundle(place)
        if _fits(bundle, data) and bundle.config["provenance"].get("code") == code:
            return _said(bundle, data)
    _train(data, kind, place, choice, progress, code)
    return _said(load_bundle(place), data)


def _said(bundle: Bundle, data: Dataset) -> Bundle:
    """The bundle, after a note where its network knows so little that pruning it means little."""
    right, chance = (bundle.config["measured"] or {}).get("val_accuracy") or 0.0, 1 / data.num_classes
    if data.masks is None and right < max(0.5, 2 * chance):
        note = (
            f"the network that was trained on these images here is right for {right:.0%} of the validation images (one "
            f"guess in {data.num_classes} is right by chance); what pruning does to it says little: train longer with "
            "the profile full, or add images"
        )
        tell(data.name, [note])
    return bundle


def _fits(bundle: Bundle, data: Dataset) -> bool:
    """Whether a bundle was trained on the training part of this data set."""
    seen = bundle.config["data"] or {}
    return (seen.get("content_hash"), seen.get("split_hash")) == (data.content_hash, data.split.hash)


def _train(data: Dataset, kind: str, place: Path, choice: Profile, progress: bool, code: str) -> None:
    """Trains the dense network, or prunes and fine-tunes it, into the folder ``place``."""
    make = _dense if kind == "dense" else _pruned
    model, plan, gates = make(data, choice, {"val_limit": choice.val_images, "progress": progress})
    row = measure(
        place.name,
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


Made = tuple[nn.Module, Plan | None, Gates | None]


def _dense(data: Dataset, choice: Profile, how: dict) -> Made:
    if data.masks is not None:
        model = create_model("unet1", data.num_classes, width=min(0.25, choice.width), seed=0)
        run, limit = recipe("segmentation", epochs=choice.train_epochs), equal_pixels(choice.train_images, data)
        return fit(model, data, run, limit=limit, **how).model, None, None
    model = create_model(KINDS["dense"][0], data.num_classes, width=choice.width, seed=0)
    epochs, limit = epochs_and_images(data, choice, choice.train_seconds)
    model = fit(model, data, recipe("strong", epochs=epochs), limit=limit, **how).model
    return model, None, gate_statistics(model, Batches(data, "train", 64, limit=choice.gate_images), how["progress"])


def _pruned(data: Dataset, choice: Profile, how: dict) -> Made:
    dense = trained(data, "dense", choice=choice, progress=how["progress"])
    images, run, asked = choice.calibration_images or 1024, "strong_finetune", {"ratio": 0.7}
    if data.masks is not None:
        images, run, asked = (
            equal_pixels(images, data),
            "segmentation_finetune",
            {"ratio": 0.5, "criterion": "class_taylor"},
        )
    small = prune(dense.model, data, gates=dense.gates, images=images, progress=how["progress"], **asked)
    epochs, limit = choice.finetune_epochs, choice.train_images
    if data.masks is not None:
        limit = equal_pixels(limit, data)
    elif choice.train_seconds:
        epochs, limit = epochs_and_images(data, choice, choice.train_seconds / 3)
    model = fit(small.model, data, recipe(run, epochs=epochs), limit=limit, **how).model
    return model, small.plan, None
