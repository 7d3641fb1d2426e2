"""``rsprune export``: a bundle as one file that runs without PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsprune_lib.commands.common import Bands, Data, Force, Json, data_paths, emit, needed, open_run, say
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder

if TYPE_CHECKING:
    from rsprune_lib.bundle import Bundle
    from rsprune_lib.data import Dataset
    from rsprune_lib.deploy import OnnxFile

__all__ = ["export"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that train, prune, finetune or exits wrote.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder to write, new or empty; the file and run/.", show_default=False)
]
Form = Annotated[str, typer.Option("--format", help="onnx, or openvino.")]
Batch = Annotated[str, typer.Option("--batch", help="dynamic, or how many images a batch has.")]
Size = Annotated[
    str | None, typer.Option("--size", help="Pixels a side, or HEIGHTxWIDTH; by default what the network saw.")
]
Opset = Annotated[int | None, typer.Option("--opset", help="Version of ONNX's operations; 20 by default.")]


def export(
    folder: Folder, out: Out = None, form: Form = "onnx", batch: Batch = "dynamic", size: Size = None,
    opset: Opset = None, data: Data = None, bands: Bands = None, force: Force = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Write a bundle as one ONNX file, compare it with the network on real images, and add a folder that runs it."""
    from rsprune_lib.deploy import Shipment, ship
    from rsprune_lib.deploy.tracing import check_opset

    if out is None:
        raise typer.BadParameter("give --out, a folder to write")
    wish = Shipment(form, _batch(batch), _size(size), opset)
    check_opset(opset)
    run = RunFolder(out, "export", force=force, inputs=[folder, *data_paths(data)])
    bundle, loaded = _opened(folder, data, bands)
    with run.open(wish.files, needed=needed(bundle.model, 3), resumable=False) as place:
        made = ship(bundle, loaded, place, wish, say)
    emit(_row(made, run.out), as_json, "\n".join([*_lines(made), f"Written to {run.out}"]))


def _opened(folder: Path, data: str | None, bands: str | None) -> "tuple[Bundle, Dataset | None]":
    """A bundle and its data; None where that is not at hand, which an export alone can do without."""
    from rsprune_lib.bundle import load_bundle
    from rsprune_lib.data import at_hand, get_card, is_card

    if data is None:
        bundle = load_bundle(folder)
        source = (bundle.config.get("data") or {}).get("source") or (bundle.config.get("data") or {}).get("name")
        missing = not source or not ((is_card(source) and at_hand(get_card(source))) or Path(source).exists())
        if missing:
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


def _row(made: "OnnxFile", out: Path) -> dict[str, object]:
    same = vars(made.parity) | {"shapes": [list(shape) for shape in made.parity.shapes]}
    row = {"out": str(out), "file": made.path.name, "bytes": made.size, "opset": made.opset, "parity": same}
    row |= {"shapes": {name: list(dims) for name, dims in made.shapes.items()}, "seconds": round(made.seconds, 1)}
    return row | {"facts": vars(made.facts), "notes": list(made.notes)}


def _lines(made: "OnnxFile") -> list[str]:
    shapes = "; ".join(f"{name} ({', '.join(map(str, dims))})" for name, dims in made.shapes.items())
    head = f"{made.path.name}: {made.size / 1e6:.2f} MB, opset {made.opset}, {made.facts.precision}; {shapes}"
    return [head, f"Against the network: {made.parity.text()}", *(f"Note: {note}" for note in made.notes)]
