"""Which networks export: each is tried, at a quarter of its width where it has one (the graph is the same)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsprune_lib.deploy.export import export_onnx
from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.shipping import drawn_pixels
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.models import NETWORKS, create_model, takes_size

__all__ = ["Listed", "exportable"]

CLASSES, SIDE, WIDTH = 10, 64, 0.25


@dataclass(frozen=True)
class Listed:
    """One network.

    Attributes:
        name: of the network.
        exports: whether the file gave its answers.
        text: how close, or why not.
        seconds: of the export and the comparison.
    """

    name: str
    exports: bool
    text: str
    seconds: float


def exportable(names: Sequence[str] = ()) -> Iterator[Listed]:
    """Tries networks with fresh weights on drawn images.

    Args:
        names: as `create_model` takes them; all of the course by default.

    Raises:
        RspruneError: there is no such network.
    """
    for name in names:
        if ":" not in name and name not in NETWORKS:
            raise unknown("model", name, NETWORKS)
    for name in names or NETWORKS:
        began = time.perf_counter()
        try:
            good, text = True, _try(name)
        except RspruneError as error:
            good, text = False, str(error)
        yield Listed(name, good, text, time.perf_counter() - began)


def _try(name: str) -> str:
    """Exports one network and says how close the file comes."""
    options = NETWORKS[name].options if name in NETWORKS else {}
    size = SIDE if takes_size(name) else None
    more = {"patch": 8} if "patch" in options and options["patch"] > 8 else {}
    model = create_model(name, CLASSES, width=WIDTH if "width" in options else 1.0, image_size=size, seed=0, **more)
    dense = name.startswith("smp:") or (name in NETWORKS and "segmentation" in NETWORKS[name].summary)
    dense = dense or name.startswith("ued_bes")
    classes = tuple(f"class {number}" for number in range(CLASSES))
    task = "segmentation" if dense else "classification"
    facts = Facts(classes, (0.45,) * 3, (0.2,) * 3, (SIDE, SIDE), task, name)
    with tempfile.TemporaryDirectory() as folder:
        made = export_onnx(model.eval(), facts, Path(folder) / "model.onnx", drawn_pixels(facts, 16))
    return "; ".join([made.parity.text(), *made.notes])
