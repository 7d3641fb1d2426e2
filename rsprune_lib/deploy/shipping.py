"""Everything that leaves the house with a network: the checked file, and a folder that runs it without PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.bundle import Bundle
from rsprune_lib.data import Dataset
from rsprune_lib.data.sizes import Size, sides, size_text
from rsprune_lib.data.synthetic import draw_scenes
from rsprune_lib.deploy.export import OnnxFile, check_close, compared, export_onnx, pixels, try_batches
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.graphs import traced
from rsprune_lib.deploy.int8 import Int8File, calibration_images, export_int8
from rsprune_lib.deploy.onnx_files import OnnxNetwork, Parity, need, parity
from rsprune_lib.deploy.openvino_files import OPENVINO_FILES, OpenVinoNetwork, write_openvino
from rsprune_lib.deploy.standalone import RUN_FILES, write_runner
from rsprune_lib.deploy.tracing import check_opset
from rsprune_lib.errors import RspruneError, unknown

__all__ = ["FORMATS", "Shipment", "Shipped", "drawn_pixels", "ship"]

FORMATS = ("onnx", "openvino")
COMPARED = 64  # images that a file is compared on


@dataclass(frozen=True)
class Shipment:
    """What is asked of an export.

    Attributes:
        form: one of `FORMATS`.
        batch: images of a batch; None leaves it free.
        size: of the images, in place of the bundle's.
        opset: of ONNX; None takes the usual one.
        int8: quantised, see `rsprune_lib.deploy.int8`.
        images: calibration images.
        keep_float: layers that are left in float.
        reduced: 7-bit weights; None where this processor needs them.

    Raises:
        RspruneError: the format is unknown, or an option belongs to int8.
    """

    form: str = "onnx"
    batch: int | None = None
    size: Size | None = None
    opset: int | None = None
    int8: bool = False
    images: int = 200
    keep_float: tuple[str, ...] = ()
    reduced: bool | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise unknown("format", self.form, FORMATS)
        check_opset(self.opset)
        if self.form == "openvino":
            need("openvino")
        if not self.int8 and (self.keep_float or self.reduced is not None):
            raise RspruneError("Layers in float and 7-bit weights belong to int8; ask for int8 (--int8) too.")

    @property
    def model(self) -> str:
        """Name of the file that runs."""
        if self.form == "openvino":
            return OPENVINO_FILES[0]
        return "model_int8.onnx" if self.int8 else "model.onnx"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of everything that is written."""
        return (*(OPENVINO_FILES if self.form == "openvino" else (self.model,)), *RUN_FILES)


@dataclass(frozen=True)
class Shipped:
    """What `ship` wrote.

    Attributes:
        file: the file; of an int8 one its parity is that with the float file.
        exact: how close the float file comes to the network.
        int8: accuracy class by class before and after, and what was left in float; None for a float file.
    """

    file: OnnxFile
    exact: Parity
    int8: Int8File | None = None


def ship(
    bundle: Bundle,
    data: Dataset | None,
    folder: Path,
    wish: Shipment | None = None,
    *,
    calibration: Dataset | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Shipped:
    """Exports a bundle into a folder of its own.

    Args:
        bundle: of any task.
        data: what the bundle was made with; None compares on drawn images, which int8 cannot do.
        folder: an empty one.
        wish: what is asked for.
        calibration: of int8, in place of ``data``: images of the same classes; its training part is used.
        say: takes a line on what goes on.

    Raises:
        RspruneError: it does not export, is not the same network, loses a class, or cannot be written.
    """
    wish = wish or Shipment()
    facts = Facts.of(bundle, wish.size)
    if wish.int8 and data is None:
        raise RspruneError(f"int8 needs the images of {bundle.path}; fetch them, or name their place (--data).")
    if wish.int8 and not facts.dense and facts.size != sides(data.image_size):
        raise RspruneError(
            f"int8 is judged on the images of {data.title}, which have {size_text(data.image_size)} pixels a side, not "
            f"{size_text(facts.size)}; leave --size out."
        )
    calibrate = calibration_images(calibration or data, wish.images) if wish.int8 else None
    images = drawn_pixels(facts, COMPARED) if data is None else pixels(data, "val", COMPARED)
    say(f"Exporting {facts.bundle}; this takes some seconds.")
    graphs = traced(Deployed(bundle.model, facts), facts, batch=wish.batch, opset=wish.opset)
    with tempfile.TemporaryDirectory(prefix=".tmp-export-", dir=folder) as beside:
        path = Path(beside) / "model.onnx"
        how = {"batch": wish.batch, "opset": wish.opset, "graphs": graphs}
        made, int8 = export_onnx(bundle.model, facts, path, images, **how), None
        exact = made.parity
        if wish.int8:
            int8 = export_int8(
                graphs, facts, path, data, calibrate=calibrate, keep_float=wish.keep_float, reduced=wish.reduced,
                batch=wish.batch, say=say,
            )  # fmt: skip
            made = int8.file
        if wish.form == "openvino":
            made = _as_openvino(path, made, folder, bundle, list(try_batches(images, facts, wish.batch)))
        else:
            path.replace(folder / wish.model)
    made = replace(made, path=folder / wish.model)
    write_runner(folder, wish.model, made.facts, wish.batch)
    return Shipped(made, exact, int8)


def _as_openvino(path: Path, made: OnnxFile, folder: Path, bundle: Bundle, batches: Sequence[Tensor]) -> OnnxFile:
    """OpenVINO's two files: a float one is compared with the network, an int8 one with the ONNX file."""
    written = OpenVinoNetwork(write_openvino(path, folder, made.facts))
    if made.facts.precision == "float32":
        found = compared(Deployed(bundle.model, made.facts), written, batches)
        check_close(found, made.facts)
    else:
        found = parity(OnnxNetwork(path), written, batches)
    size = sum((folder / name).stat().st_size for name in OPENVINO_FILES)
    return replace(made, parity=found, size=size)


def drawn_pixels(facts: Facts, count: int) -> Tensor:
    """Synthetic scenes (count, 3, H, W) float32 in [0, 1], where the images of a bundle are not at hand."""
    height, width = facts.size
    scenes = [image[:height, :width] for image, _ in draw_scenes(count, size=max(height, width))]
    return torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2).float().div_(255)
