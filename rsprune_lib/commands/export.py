"""``rsprune export``: a bundle as one file that runs without PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import Bands, Data, Force, Json, data_paths, emit, needed, open_run, say
from rsprune_lib.commands.web import export_page
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.bundle import Bundle
    from rsprune_lib.data import Dataset
    from rsprune_lib.deploy import Int8File, OnnxFile, Shipped

__all__ = ["export"]

Folders = Annotated[
    list[str] | None,
    typer.Argument(metavar="DIR", help="Folder that train, prune, finetune or exits wrote; of --list names."),
]
Listing = Annotated[
    bool, typer.Option("--list", help="Try to export the networks of the course, or the named ones; some 10 s each.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder to write, new or empty; the file and run/.", show_default=False)
]
Form = Annotated[str, typer.Option("--format", help="onnx, or openvino.")]
Batch = Annotated[str, typer.Option("--batch", help="dynamic, or how many images a batch has.")]
Size = Annotated[
    str | None, typer.Option("--size", help="Pixels a side, or HEIGHTxWIDTH; by default what the network saw.")
]
Opset = Annotated[int | None, typer.Option("--opset", help="Version of ONNX's operations; 20 by default.")]
Int8 = Annotated[bool, typer.Option("--int8", help="8-bit weights and activations; fails if a class loses 2 points.")]
Images = Annotated[int, typer.Option("--images", min=2, help="Of --int8: training images for the ranges.")]
Calibration = Annotated[
    str | None,
    typer.Option("--calibration", help="Of --int8: a data set or folder of the same classes for the ranges."),
]
KeepFloat = Annotated[
    list[str] | None,
    typer.Option("--keep-float", metavar="LAYER", help="Of --int8: leave this layer in float; may be repeated."),
]
Reduced = Annotated[
    bool | None,
    typer.Option(
        "--reduce-range/--full-range",
        help="Of --int8: 7-bit weights, for processors without VNNI; by default what this processor needs.",
    ),
]
Web = Annotated[
    bool, typer.Option("--web", help="One HTML page with the int8 network inside, which opens offline in a browser.")
]
Beside = Annotated[
    Path | None, typer.Option("--beside", metavar="DIR", help="Of --web: a second bundle to compare with.")
]
WebFolder = Annotated[
    Path | None,
    typer.Option("--runtime", metavar="DIR", help="Of --web: a folder of onnxruntime-web; by default npm fetches it."),
]


def export(
    folders: Folders = None, out: Out = None, form: Form = "onnx", batch: Batch = "dynamic", size: Size = None,
    opset: Opset = None, int8: Int8 = False, images: Images = 200, calibration: Calibration = None,
    keep_float: KeepFloat = None, reduced: Reduced = None, data: Data = None, bands: Bands = None,
    web: Web = False, beside: Beside = None, runtime: WebFolder = None, force: Force = False,
    listing: Listing = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Write a bundle as one ONNX file, compare it with the network on real images, and add a folder that runs it."""
    from rsprune_lib.deploy import Shipment, ship

    if listing:
        _list(folders or (), as_json)
        return
    if len(folders or ()) != 1:
        raise typer.BadParameter("give one folder of a bundle, or --list")
    if out is None:
        raise typer.BadParameter("give --out, a folder to write")
    folder = Path(folders[0])
    if not web and (beside or runtime):
        raise typer.BadParameter("--beside and --runtime belong to --web")
    if web:
        export_page(folder, beside, out, runtime=runtime, data=data, bands=bands, force=force, as_json=as_json)
        return
    if calibration is not None and not int8:
        raise typer.BadParameter("--calibration belongs to --int8")
    wish = Shipment(form, _batch(batch), _size(size), opset, int8, images, tuple(keep_float or ()), reduced)
    run = RunFolder(out, "export", force=force, inputs=[folder, *data_paths(data), *data_paths(calibration)])
    bundle, loaded = open_run(folder, data, bands) if int8 else _opened(folder, data, bands)
    other = open_run(folder, calibration, bands)[1] if calibration is not None else None
    _hint_at_widths(bundle)
    with run.open(wish.files, needed=needed(bundle.model, 3), resumable=False) as place:
        made = ship(bundle, loaded, place, wish, calibration=other, say=say)
    classes = made.file.facts.classes
    emit(_row(made, classes) | {"out": str(run.out)}, as_json, "\n".join([*_lines(made), f"Written to {run.out}"]))


def _list(names: Sequence[str], as_json: bool) -> None:
    """Tries networks, one line each as soon as it is known."""
    from rsprune_lib.deploy.listing import exportable

    rows = []
    for row in exportable(names):
        rows.append(vars(row))
        if not as_json:
            print(f"{row.name:16} {'exports' if row.exports else 'NOT':8} {row.seconds:6.1f} s  {row.text}", flush=True)
    good = sum(row["exports"] for row in rows)
    emit({"networks": rows}, as_json, f"{good} of {len(rows)} networks export.")
    if good < len(rows):
        raise typer.Exit(1)


def _hint_at_widths(bundle: "Bundle") -> None:
    """Says that other widths would be faster, where those of the plan are not the ones that are usual for a file."""
    from rsprune_lib.pruning.layers import deployed_multiple

    if bundle.plan is None:
        return
    step, widths = deployed_multiple(bundle.plan.sizes.values()), bundle.plan.widths
    odd = sum(width % step != 0 for name, width in widths.items() if bundle.plan.sizes[name] >= step)
    if odd:
        say(
            f"{odd} of {len(widths)} groups have a number of channels that is no multiple of {step}; a network from "
            f"rsprune prune --multiple-of {step} answers faster at about the same accuracy (results/deploy_widths.md)."
        )


def _opened(folder: Path, data: str | None, bands: str | None) -> "tuple[Bundle, Dataset | None]":
    """A bundle and its data; None where that is not at hand, which a float file can do without."""
    from rsprune_lib.bundle import load_bundle
    from rsprune_lib.data import at_hand, get_card, is_card
    from rsprune_lib.data.sizes import checked_size

    if data is None:
        bundle = load_bundle(folder)
        info = bundle.config.get("data") or {}
        source, size = info.get("source") or info.get("name") or "", checked_size(info.get("image_size"))
        if not (at_hand(get_card(source), size) if is_card(source) else source and Path(source).exists()):
            say(f"The images of {folder} are not at hand; file and network are compared on synthetic (drawn) ones.")
            return bundle, None
    return open_run(folder, data, bands)


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 4096:
        raise RspruneError(f"Got --batch {text!r:.40}; expected dynamic, or a number of images from 1 to 4096.")
    return int(text)


def _size(text: str | None) -> int | tuple[int, int] | None:
    from rsprune_lib.data.sizes import checked_size

    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise RspruneError(f"Got --size {text!r:.40}; expected pixels a side, such as 64, or HEIGHTxWIDTH.")
    return checked_size(int(parts[0]) if len(parts) == 1 else tuple(map(int, parts)))


def _row(made: "Shipped", classes: Sequence[str]) -> dict[str, object]:
    file = made.file
    row = {"file": file.path.name, "bytes": file.size, "opset": file.opset, "parity": vars(made.exact)}
    row |= {"shapes": {name: list(dims) for name, dims in file.shapes.items()}, "facts": vars(file.facts)}
    row |= {"notes": list(file.notes)}
    if made.int8 is None:
        return row
    before, after = made.int8.before, made.int8.after
    each = {name: [one, other] for name, one, other in zip(classes, before.per_class, after.per_class, strict=True)}
    found = {"metric": before.metric, "before": before.score, "after": after.score, "per_class": each, "n": before.n}
    found |= {"bytes_before": made.int8.float_size, "float_layers": list(made.int8.float_layers)}
    found |= {"calibration_images": made.int8.calibration, "reduced_range": made.int8.reduced}
    return row | {"int8": found | {"agreement": file.parity.agreement}}


def _lines(made: "Shipped") -> list[str]:
    file = made.file
    shapes = "; ".join(f"{name} ({', '.join(map(str, dims))})" for name, dims in file.shapes.items())
    head = f"{file.path.name}: {file.size / 1e6:.2f} MB, opset {file.opset}, {file.facts.precision}; {shapes}"
    lines = [head, f"Float file against the network: {made.exact.text()}", *(f"Note: {note}" for note in file.notes)]
    return lines if made.int8 is None else lines + _class_lines(made.int8, file)


def _class_lines(int8: "Int8File", file: "OnnxFile") -> list[str]:
    """Size and accuracy before and after, class by class."""
    from rsprune_lib.tasks import headline

    weights = "7-bit weights, because this processor has no VNNI" if int8.reduced else "8-bit weights"
    lines = [
        f"int8, {weights}, ranges from {int8.calibration} training images: {int8.float_size / 1e6:.2f} to "
        f"{file.size / 1e6:.2f} MB, {file.parity.agreement:.2%} of the answers stay"
    ]
    if int8.float_layers:
        lines.append(f"Left in float: {', '.join(int8.float_layers)}")
    name = headline(int8.before.metric)
    lines.append(f"  {name + f' on {int8.before.n:,} validation images':44} float    int8")
    rows = [("all", int8.before.score, int8.after.score)]
    rows += zip(file.facts.classes, int8.before.per_class, int8.after.per_class, strict=True)
    return lines + [f"  {label:44} {one:7.2%} {other:7.2%}" for label, one, other in rows]
