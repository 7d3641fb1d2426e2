"""``rsprune eval`` and ``rsprune cost``: how good a network is, and what it weighs."""

from pathlib import Path
from typing import Annotated

import typer

from rsprune_lib.commands.common import Bands, BundleFolder, Data, Json, emit, open_run, say
from rsprune_lib.commands.leaving import described, leaving_text
from rsprune_lib.errors import RspruneError, unknown

__all__ = ["cost", "evaluate"]


def evaluate(
    folder: BundleFolder,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    data: Data = None,
    bands: Bands = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most this many images, class-balanced.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a bundle on one part of its data: accuracy with its interval, each class, calibration, size."""
    from rsprune_lib.data import Batches
    from rsprune_lib.data.split import PARTS
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import cost as measure_cost
    from rsprune_lib.measure import exit_costs, outcome, predict
    from rsprune_lib.tasks import task_of

    if split not in PARTS:
        raise unknown("part", split, PARTS)
    device = pick_device()
    bundle, loaded = open_run(folder, data, bands)
    batches = Batches(loaded, split, 256, limit=limit, device=device)
    records, labels = predict(bundle.model.to(device), batches)
    quality = task_of(bundle.model, batches).quality(records, labels).to_dict()
    quality.pop("confusion")
    classes = dict(zip(loaded.classes, quality.pop("per_class"), strict=True))
    size = measure_cost(bundle.model, loaded.image_size)
    row = {"folder": str(folder), "data": loaded.name, "synthetic": loaded.synthetic, "split": split, **quality}
    row |= {"per_class": classes, "params": size.params, "macs": size.macs}
    low, high = row["ci"]
    head = (
        f"{loaded.title}, {split}, {row['n']:,} images: accuracy {row['accuracy']:.2%} (95 % {low:.2%} to {high:.2%})"
    )
    lines = [f"  {name:24} {'-' if value is None else f'{value:.1%}':>7}" for name, value in classes.items()]
    lines.append(f"{size.params:,} parameters, {size.macs:,} MACs an image")
    if (rule := bundle.rule) is not None:
        costs = exit_costs(bundle.model, loaded.image_size)
        row["exits"] = described(outcome(records, labels, costs, rule), records, labels) | {"costs": list(costs)}
        lines.append(leaving_text(row["exits"]))
    elif hasattr(bundle.model, "exits"):
        lines += [f"  {name:24} {value:7.1%}" for name, value in quality["metrics"].items()]
    emit(row, as_json, "\n".join([head, *lines]))


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
    from rsprune_lib.measure import layer_costs
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
    size = 64 if size is None else size
    model = model.eval().to("meta")  # shapes without values: counting takes no memory, however large the image
    found = measure_cost(model, size)
    norms = sum(layer.params for layer in layer_costs(model, size) if layer.kind == "norm")
    result = {"network": network, "params": found.params, "macs": found.macs, "image_size": size}
    result["params_without_norms"] = found.params - norms  # as some papers count
    if not as_json:
        say("MACs: multiply-accumulates of convolutions and linear layers for one image.")
    emit(result, as_json, f"{network}: {found.params:,} parameters, {found.macs:,} MACs at {size} x {size} pixels")
