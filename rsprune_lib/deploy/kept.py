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
from rsprune_lib.deploy.int8 import export_int8, needs_reduced_range
from rsprune_lib.places import project_root

__all__ = ["kept_onnx"]

_CODE = (  # what an exported file depends on
    "export", "facts", "graphs", "onnx_files", "tracing", "int8", "quantiser", "exit_graph", "exit_join",
)  # fmt: skip
_COMPARED = 64  # images that a file is compared on


def kept_onnx(
    bundle: Bundle, data: Dataset, *, int8: bool = False, limit: int | None = None, reduced: bool | None = None
) -> Path:
    """The exported file of a bundle; made now if it was not made before from the same weights by the same code.

    Args:
        bundle: of any task.
        data: what it was trained on; its validation images compare, its training images calibrate.
        int8: whole-number weights; the float file is made along with it.
        reduced: 7-bit weights, safe on every machine and in a browser; by default where this processor needs them.
        limit: validation images at most on which int8 is compared with float.

    Returns:
        A file below ``runs/exported``.

    Raises:
        RspruneError: the network does not export, int8 costs a class too much, or a package is missing.
    """
    facts, reduced = Facts.of(bundle), needs_reduced_range() if reduced is None else reduced
    place = project_root() / "runs" / "exported" / f"{facts.bundle}_{_key(bundle, data)}"
    plain, whole = place / "model.onnx", place / f"model_int{7 if reduced else 8}_{limit or 'all'}.onnx"
    if not plain.is_file() or (int8 and not whole.is_file()):
        graphs = traced(Deployed(bundle.model, facts), facts)
        if not plain.is_file():
            export_onnx(bundle.model, facts, plain, pixels(data, "val", _COMPARED), graphs=graphs)
        if int8:
            export_int8(graphs, facts, whole, data, limit=limit, reduced=reduced)
    return whole if int8 else plain


def _key(bundle: Bundle, data: Dataset) -> str:
    """Changes with the weights, the structure, the data and the code."""
    files = {name: digest for name, digest in bundle.config["files"].items() if name != "gates.safetensors"}
    facts = [files, bundle.config["model"], bundle.config.get("exits"), data.content_hash, data.split.hash]
    facts += [code_hash("rsprune_lib/models", files=[Path(__file__).with_name(f"{name}.py") for name in _CODE])]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
