"""``rsprune eval`` and ``rsprune cost``: how good a network is, and what it weighs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import Bands, BundleFolder, Data, Json, emit, open_run, say
from rsprune_lib.commands.leaving import described, leaving_text
from rsprune_lib.commands.quality_text import left_out, quality_text
from rsprune_lib.errors import RspruneError, unknown

if TYPE_CHECKING:
    from rsprune_lib.measure import Cost

__all__ = ["cost", "evaluate"]


def evaluate(
    folder: BundleFolder,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    data: Data = None,
    bands: Bands = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most this many images, class-balanced.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="CLASS", help="Of segmentation: leave this class out; may be repeated."),
    ] = None,
    exclude: Annotated[
        str, typer.Option("--exclude", help="How: truth (its pixels), or rowcol (answers of it too), as tables do.")
    ] = "truth",
    boundary: Annotated[
        int | None, typer.Option("--boundary", min=0, help="Of segmentation: boundary F1 within so many pixels.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a bundle on one part of its data: accuracy or IoU with its interval, each class, calibration, size."""
    from rsprune_lib.data import Batches, measuring_batch
    from rsprune_lib.data.split import PARTS
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import boundary_f1, deployed_cost, exit_costs, outcome, predict, provenance
    from rsprune_lib.measure import cost as measure_cost
    from rsprune_lib.tasks import task_of

    if split not in PARTS:
        raise unknown("part", split, PARTS)
    device = pick_device()
    bundle, loaded = open_run(folder, data, bands)
    batches = Batches(loaded, split, measuring_batch(loaded), limit=limit, device=device)
    task = task_of(bundle.model, batches)
    if (without or boundary is not None) and "masks" not in task.gives:
        raise RspruneError(f"{folder} does {task.name}; --without and --boundary are for segmentation: leave them out.")
    records, labels = predict(bundle.model.to(device), batches)
    found = left_out(task.quality(records, labels), loaded.classes, without or (), exclude, getattr(task, "rare", ()))
    if boundary is not None:
        found.metrics["boundary F1"] = boundary_f1(bundle.model, batches, boundary)[0]
    quality = found.to_dict()
    quality.pop("confusion")
    classes = dict(zip(loaded.classes, quality.pop("per_class"), strict=True))
    size = measure_cost(bundle.model, loaded.image_size)
    row = {"folder": str(folder), "data": loaded.name, "synthetic": loaded.synthetic, "split": split, **quality}
    row |= {"per_class": classes, "params": size.params, "macs": size.macs}
    row |= {"without": without, "exclude": exclude} if without else {}
    seed = (bundle.config.get("provenance") or {}).get("seed")
    row["provenance"] = provenance(loaded.info(), seed=seed, device=device)
    lines = [f"{loaded.title}, {split}, {quality_text(found, loaded.classes)}"]
    less = deployed_cost(bundle.model, loaded.image_size)
    row |= {} if less is None else {"deployed": asdict(less)}
    lines.append(f"{_words(size)} an image" + ("" if less is None else f"; deployed: {_words(less)}"))
    if (rule := bundle.rule) is not None:
        costs = exit_costs(bundle.model, loaded.image_size)
        row["exits"] = described(outcome(records, labels, costs, rule), records, labels) | {"costs": list(costs)}
        lines.append(leaving_text(row["exits"]))
    emit(row, as_json, "\n".join(lines))


Classes = Annotated[
    int | None, typer.Option("--classes", min=1, help="Number of classes; 10 for a name, its own for a bundle.")
]
Size = Annotated[
    int | None,
    typer.Option("--size", min=1, max=16_384, help="Pixels a side; the bundle's, or what the network is made for."),
]
Width = Annotated[
    float | None, typer.Option("--width", help="Of a name: factor on the channels of every layer, 1 without.")
]
Stem = Annotated[str | None, typer.Option("--stem", help="Of a name: imagenet or small; by default the usual one.")]


def cost(
    network: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A model's name, or a bundle's folder.")],
    classes: Classes = None, size: Size = None, width: Width = None, stem: Stem = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Count parameters and multiply-accumulates (convolutions and linear layers, one image)."""
    from rsprune_lib.measure import cost as measure_cost
    from rsprune_lib.measure import deployed_cost, layer_costs
    from rsprune_lib.models import create_model, model_names, takes_size

    if network and ":" not in network and network not in model_names() and (Path(network).exists() or "/" in network):
        from rsprune_lib.bundle import load_bundle

        bundle = load_bundle(Path(network))
        model, own = bundle.model, bundle.config["model"]
        for flag, key, value in (
            ("classes", "num_classes", classes),
            ("width", "width", width),
            ("stem", "stem", stem),
        ):
            if value not in (None, own.get(key)):
                raise RspruneError(f"Got --{flag} {value}, but {network} has {own.get(key)} there; leave the flag out.")
        size = size or (bundle.config.get("data") or {}).get("image_size")
    else:
        width = 1.0 if width is None else width
        fixed = (size or 224) if takes_size(network) else None
        classes = 10 if classes is None else classes
        model = create_model(network, classes, width=width, stem=stem, image_size=fixed, seed=0)
        size = 32 if size is None and stem is None and model.config.get("stem") == "small" else size or fixed
    size = 64 if size is None else tuple(size) if isinstance(size, list) else size
    model = model.eval().to("meta")  # shapes without values: counting takes no memory, however large the image
    found = measure_cost(model, size)
    norms = sum(layer.params for layer in layer_costs(model, size) if layer.kind == "norm")
    result = {"network": network, "params": found.params, "macs": found.macs, "image_size": size}
    result["params_without_norms"] = found.params - norms  # as some papers count
    less = deployed_cost(model, size)
    result |= {} if less is None else {"deployed": asdict(less)}
    if not as_json:
        say("MACs: multiply-accumulates of convolutions and linear layers for one image.")
    height, width = size if isinstance(size, tuple) else (size, size)
    line = f"{network}: {_words(found)} at {height} x {width} pixels"
    emit(result, as_json, line + ("" if less is None else f"; without heads for losses: {_words(less)}"))


def _words(size: Cost) -> str:
    return f"{size.params:,} parameters, {size.macs:,} MACs"
