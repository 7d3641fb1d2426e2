"""``rsprune explain``: where a network, or two of them, find what they say; pictures and numbers."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsprune_lib.commands.common import BundleFolder, Data, Force, Json, Out, data_paths, emit, open_run
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.files import write_json
from rsprune_lib.places import absolute
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy as np

    from rsprune_lib.bundle import Bundle
    from rsprune_lib.explain import ClassMaps
    from rsprune_lib.plots import Picture

__all__ = ["explain"]

Images = Annotated[
    list[Path] | None, typer.Argument(metavar="[IMAGE]...", help="Image files; without, validation images of the data.")
]
Beside = Annotated[
    Path | None, typer.Option("--beside", help="Bundle of another network of the same classes, shown beside it.")
]
Method = Annotated[str, typer.Option("--method", help="How channels and places are weighted: {maps}.")]
Layer = Annotated[str | None, typer.Option("--layer", help="Whose output is weighted; by default one that is fine.")]
Label = Annotated[
    str | None, typer.Option("--class", help="What the maps speak for; by default what the network says.")
]
Count = Annotated[int, typer.Option("--count", min=1, max=64, help="Validation images, where no file is given.")]


def explain(
    folder: BundleFolder, out: Out, images: Images = None, beside: Beside = None, method: Method = "gradcam",
    layer: Layer = None, label: Label = None, count: Count = 8, data: Data = None, force: Force = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Draw class maps of images into maps.png, and write their numbers into maps.json."""
    from rsprune_lib.bundle import load_bundle
    from rsprune_lib.explain import METHODS
    from rsprune_lib.plots import png

    if method not in METHODS:
        raise unknown("method", method, METHODS)
    files = [absolute(path) for path in images or ()]
    if files and data is not None:
        raise typer.BadParameter("give image files, or --data whose validation images are taken, not both")
    inputs = [folder, *([beside] if beside else []), *files, *data_paths(data)]
    run = RunFolder(out, "explain", force=force, inputs=inputs)
    own, first = folder.resolve().name, load_bundle(folder)  # resolved: the name of "." is empty
    bundles, classes = {own: first}, first.knows("classes", "image_size", "mean", "std")["classes"]
    if beside is not None:
        name = beside.resolve().name
        name = name if name != own else f"{name}, beside"
        bundles[name] = load_bundle(beside)
        if bundles[name].knows("classes", "mean", "std")["classes"] != classes:
            raise RspruneError(f"{beside} knows other classes than {folder}; compare networks of the same classes.")
    names, pixels = _read(first, files) if files else _validation(folder, data, count)
    maps = _maps(bundles, pixels, None if label is None else _number(label, classes), method, layer)
    rows = _rows(names, classes, maps)
    figure, head = _drawn(pixels, rows, maps, method, first.config["data"].get("synthetic") and not files)
    found = next(iter(maps.values()))
    about = {"bundles": [str(one) for one in (folder, beside) if one], "method": method, "layer": found.layer}
    about |= {"grid": list(found.grid), "images": rows}
    with run.open(["maps.png", "maps.json"], needed=20_000_000, resumable=False) as place:
        (place / "maps.png").write_bytes(png(figure))
        write_json(place / "maps.json", about)
    lines = [f"  {row['image']}: {row['class']}{_words(row)}" for row in rows]
    emit(about | {"out": str(run.out)}, as_json, "\n".join([head, *lines, f"Written to {run.out}"]))


def _number(label: str, classes: list[str]) -> int:
    if label not in classes:
        raise unknown("class", label, classes)
    return classes.index(label)


def _read(bundle: "Bundle", files: list[Path]) -> "tuple[list[str], np.ndarray]":
    """The images of files at the size that the network saw."""
    import numpy as np

    from rsprune_lib.data.upload import MAX_BYTES, read_upload

    info, pixels = bundle.config["data"], []
    size = info["image_size"] if isinstance(info["image_size"], int) else tuple(info["image_size"])
    for path in files:
        if not path.is_file():
            raise RspruneError(f"There is no image file {path}; give files, PNG or JPEG say.")
        with path.open("rb") as file:
            pixels.append(read_upload(path.name, file.read(MAX_BYTES + 1), size, info.get("bands")))
    return [path.name for path in files], np.stack(pixels)


def _validation(folder: Path, data: str | None, count: int) -> "tuple[list[str], np.ndarray]":
    """Some validation images of the data, as many of each class where images have one."""
    from rsprune_lib.data import Batches

    loaded = open_run(folder, data)[1]
    indices = Batches(loaded, "val", count, limit=count).indices
    return [loaded.files[index] for index in indices], loaded.images[indices]


def _maps(
    bundles: "dict[str, Bundle]", pixels: "np.ndarray", label: int | None, method: str, layer: str | None
) -> "dict[str, ClassMaps]":
    """Maps of each network, all for the classes of the first."""
    import torch

    from rsprune_lib.explain import class_maps

    maps: dict[str, ClassMaps] = {}
    for name, bundle in bundles.items():
        mean, std = (torch.tensor(bundle.config["data"][key]) for key in ("mean", "std"))
        x = ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(0, 3, 1, 2)
        wanted = next(iter(maps.values())).classes.tolist() if maps else label
        taken = next(iter(maps.values())).layer if maps else layer
        maps[name] = class_maps(bundle.model, x, wanted, method=method, layer=taken)
    return maps


def _rows(names: list[str], classes: list[str], maps: "dict[str, ClassMaps]") -> list[dict[str, Any]]:
    """One row an image: its class, whether its maps are blank, and how they correlate."""
    from rsprune_lib.explain import map_agreement

    found = list(maps.values())
    alike = map_agreement(*found) if len(found) == 2 else [math.nan] * len(names)
    return [
        {
            "image": name,
            "class": classes[int(found[0].classes[row])],
            "blank": [bool(one.blank[row]) for one in found],
            "correlation": None if math.isnan(alike[row]) else round(float(alike[row]), 4),
        }
        for row, name in enumerate(names)
    ]


def _words(row: dict[str, Any]) -> str:
    blank = ", blank" if any(row["blank"]) else ""
    return blank if row["correlation"] is None else f", correlation {row['correlation']:.2f}"


def _drawn(
    pixels: "np.ndarray", rows: list[dict[str, Any]], maps: "dict[str, ClassMaps]", method: str, synthetic: bool
) -> "tuple[Picture, str]":
    """The figure, and the line that stands above the numbers."""
    from rsprune_lib.explain import METHODS
    from rsprune_lib.plots import class_map_grid

    found, captions = next(iter(maps.values())), [f"{row['class']}{_words(row)}" for row in rows]
    title = f"{METHODS[method].title} at {found.layer}"
    pair = tuple(maps) if len(maps) == 2 else None
    figure = class_map_grid(pixels, maps, captions, difference=pair, title=title, synthetic=synthetic)
    blank = f"{int(found.blank.sum())} of {len(rows)} maps are blank"
    return figure, f"{title}, {found.grid[0]} x {found.grid[1]} positions; {blank}"
