"""Everything that leaves the house with a network: the checked file, and a folder that runs it without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rsprune_lib.bundle import Bundle
from rsprune_lib.data import Dataset
from rsprune_lib.data.sizes import Size
from rsprune_lib.data.synthetic import draw_scenes
from rsprune_lib.deploy.export import OnnxFile, export_onnx, pixels
from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.standalone import RUN_FILES, write_runner
from rsprune_lib.errors import unknown

__all__ = ["FORMATS", "Shipment", "drawn_pixels", "ship"]

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

    Raises:
        RspruneError: the format is unknown.
    """

    form: str = "onnx"
    batch: int | None = None
    size: Size | None = None
    opset: int | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise unknown("format", self.form, FORMATS)

    @property
    def model(self) -> str:
        """Name of the file that runs."""
        return "model.onnx"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of everything that is written."""
        return (self.model, *RUN_FILES)


def ship(
    bundle: Bundle,
    data: Dataset | None,
    folder: Path,
    wish: Shipment | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> OnnxFile:
    """Exports a bundle into a folder of its own.

    Args:
        bundle: of any task.
        data: what the bundle was made with; None compares on drawn images.
        folder: an empty one.
        wish: what is asked for.
        say: takes a line on what goes on.

    Raises:
        RspruneError: it does not export, is not the same network, or cannot be written.
    """
    wish = wish or Shipment()
    facts = Facts.of(bundle, wish.size)
    images = drawn_pixels(facts, COMPARED) if data is None else pixels(data, "val", COMPARED)
    say(f"Exporting {facts.bundle}; this takes some seconds.")
    made = export_onnx(bundle.model, facts, folder / wish.model, images, batch=wish.batch, opset=wish.opset)
    write_runner(folder, wish.model, made.facts)
    return made


def drawn_pixels(facts: Facts, count: int) -> Tensor:
    """Synthetic scenes (count, 3, H, W) float32 in [0, 1], where the images of a bundle are not at hand."""
    height, width = facts.size
    scenes = [image[:height, :width] for image, _ in draw_scenes(count, size=max(height, width))]
    return torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2).float().div_(255)
