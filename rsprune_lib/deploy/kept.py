"""Exported files that are kept for the next time: an export takes seconds, and many things look at the same one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rsprune_lib.bundle import Bundle
from rsprune_lib.code_version import code_hash
from rsprune_lib.data import Dataset
from rsprune_lib.deploy.export import export_onnx, pixels
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.graphs import traced
from rsprune_lib.deploy.int8 import export_int8
from rsprune_lib.places import project_root

__all__ = ["kept_onnx"]

_CODE = ("export", "facts", "graphs", "onnx_files", "tracing", "int8", "exit_graph")  # what an exported file depends on
_COMPARED = 64  # images that a file is compared on


def kept_onnx(bundle: Bundle, data: Dataset, *, int8: bool = False) -> Path:
    """The exported file of a bundle; made now if it was not made before from the same weights by the same code.

    Args:
        bundle: of any task.
        data: what it was trained on; its validation images compare, its training images calibrate.
        int8: whole-number weights.

    Returns:
        A file below ``runs/exported``.

    Raises:
        RspruneError: the network does not export, or a package is missing.
    """
    facts = Facts.of(bundle)
    place = project_root() / "runs" / "exported" / f"{facts.bundle}_{_key(bundle, data)}"
    path = place / ("model_int8.onnx" if int8 else "model.onnx")
    if path.is_file():
        return path
    graphs = traced(Deployed(bundle.model, facts), facts)
    plain = place / "model.onnx"
    if not plain.is_file():
        export_onnx(bundle.model, facts, plain, pixels(data, "val", _COMPARED), graphs=graphs)
    return export_int8(graphs, facts, path, data).file.path if int8 else plain


def _key(bundle: Bundle, data: Dataset) -> str:
    """Changes with the weights, the structure, the data and the code."""
    files = {name: digest for name, digest in bundle.config["files"].items() if name != "gates.safetensors"}
    facts = [files, bundle.config["model"], bundle.config.get("exits"), data.content_hash, data.split.hash]
    here = Path(__file__).parent
    facts += [
        code_hash("rsprune_lib/models", files=[here / f"{name}.py" for name in _CODE if (here / f"{name}.py").exists()])
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
