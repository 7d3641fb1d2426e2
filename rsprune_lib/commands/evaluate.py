"""``rsprune eval`` and ``rsprune cost``: how good a network is, and what it weighs."""

from pathlib import Path
from typing import Annotated

import typer

from rsprune_lib.commands.common import Data, Json, RunFolder, emit, open_run, say
from rsprune_lib.errors import RspruneError

__all__ = ["cost", "evaluate"]


def evaluate(
    folder: RunFolder,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    data: Data = None,
    limit: Annotated[int | None, typer.Option("--limit", help="At most this many images, class-balanced.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a bundle on one part of its data: accuracy with its interval, each class, calibration, size."""
    from rsprune_lib.data import Batches
    from rsprune_lib.device import pick_device
    from rsprune_lib.measure import cost as measure_cost
    from rsprune_lib.measure import evaluate as measure_quality

    bundle, loaded, _ = open_run(folder, data)
    batches = Batches(loaded, split, 256, limit=limit, device=pick_device())
    quality = measure_quality(bundle.model.to(pick_device()), batches).to_dict()
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
    emit(row, as_json, "\n".join([head, *lines, f"{size.params:,} parameters, {size.macs:,} MACs an image"]))


def cost(
    network: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A model's name, or a bundle's folder.")],
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes; 10 for a name.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Pixels a side; the bundle's, or what the network is made for.")
    ] = None,
    width: Annotated[float, typer.Option("--width", help="Factor on the channels of every layer.")] = 1.0,
    stem: Annotated[str | None, typer.Option("--stem", help="imagenet or small; by default the usual one.")] = None,
    as_json: Json = False,
) -> None:
    """Count parameters and multiply-accumulates (convolutions and linear layers, one image)."""
    from rsprune_lib.measure import cost as measure_cost
    from rsprune_lib.measure import layer_costs
    from rsprune_lib.models import create_model, model_names

    if network not in model_names() and (Path(network).exists() or "/" in network):
        from rsprune_lib.bundle import load_bundle

        bundle = load_bundle(Path(network))
        model, mine = bundle.model, bundle.config["model"]["num_classes"]
        if classes not in (None, mine):
            raise RspruneError(
                f"Got --classes {classes}, but {network} tells {mine} classes apart; leave the flag out."
            )
        size = size or (bundle.config.get("data") or {}).get("image_size")
    else:
        model = create_model(network, 10 if classes is None else classes, width=width, stem=stem, seed=0)
        size = 32 if size is None and stem is None and model.config["stem"] == "small" else size
    size = 64 if size is None else size
    if size < 1:
        raise typer.BadParameter(f"got --size {size}; expected a number of pixels")
    found = measure_cost(model.eval(), size)
    norms = sum(layer.params for layer in layer_costs(model, size) if layer.kind == "norm")
    result = {"network": network, "params": found.params, "macs": found.macs, "image_size": size}
    result["params_without_norms"] = found.params - norms  # as some papers count
    if not as_json:
        say("MACs: multiply-accumulates of convolutions and linear layers for one image.")
    emit(result, as_json, f"{network}: {found.params:,} parameters, {found.macs:,} MACs at {size} x {size} pixels")
