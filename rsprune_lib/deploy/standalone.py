"""The folder ``run/`` beside an exported file: ten lines of Python that need neither PyTorch nor this library."""

from __future__ import annotations

import html
from pathlib import Path
from string import Template

from rsprune_lib.deploy.facts import Facts
from rsprune_lib.errors import visible
from rsprune_lib.files import atomic

__all__ = ["RUN_FILES", "write_runner"]

RUN_FILES = ("run/run.py", "run/README.md", "run/requirements.txt")
_CODE = '''\
"""$what: python run.py image.png ... (needs $package, Pillow and numpy, nothing else)."""
import json, pathlib, sys
import numpy, $package
from PIL import Image
$opened
for name in sys.argv[1:]:
    image = Image.open(name).convert("RGB")$resized
    pixels = (numpy.asarray(image, numpy.float32).transpose(2, 0, 1)[None] / 255)$repeated  # (B, 3, H, W) in [0, 1]
    $answers
    $told
'''
_OPENED = {
    "onnxruntime": """\
network = onnxruntime.InferenceSession(pathlib.Path(__file__).resolve().parents[1] / "$model")
about = {key[8:]: json.loads(text) for key, text in network.get_modelmeta().custom_metadata_map.items()}""",
    "openvino": """\
file = openvino.Core().read_model(pathlib.Path(__file__).resolve().parents[1] / "$model")
network = openvino.Core().compile_model(file, "CPU")
about = {key: json.loads(text) for key, text in file.get_rt_info(["rsprune"]).value.items()}""",
}
_MAP = """\
Image.fromarray(logits[0].argmax(0).astype("uint8")).save(pathlib.Path(name).stem + "_classes.png")
    print(name, {c: float((logits[0].argmax(0) == k).mean().round(3)) for k, c in enumerate(about["classes"])})"""
_README = """\
# $title

`../$model` is the whole network: graph, weights, normalisation, class names$beside. `run.py` shows how to use it:

    python -m venv here && here/bin/pip install -r requirements.txt
    here/bin/python run.py image.png

Input `image`: ($batch, 3, $height, $width) float32, RGB, pixels divided by 255; the graph normalises them itself.
Output `logits`: ($batch, classes$sides).$exits

Classes, in the order of the logits: $classes.
$notes
"""


def write_runner(folder: Path, model: str, facts: Facts, batch: int | None = None) -> None:
    """Writes the files of `RUN_FILES`.

    Args:
        folder: that holds the model.
        model: name of its file; ``.xml`` is OpenVINO's.
        facts: of the file.
        batch: images of a batch where the file takes no other.
    """
    package = "openvino" if model.endswith(".xml") else "onnxruntime"
    code = Template(_CODE).substitute(_code_parts(package, facts, batch)).replace("$model", model)
    height, width = ("height", "width") if facts.dense else facts.size
    readme = Template(_README).substitute(
        title=_plain(facts.bundle) or "A network", model=model, height=height, width=width, batch=batch or "batch",
        beside=" (weights in `model.bin` beside it)" if package == "openvino" else "",
        sides=", height, width" if facts.dense else "", exits=_exits_text(facts, package),
        classes=", ".join(map(_plain, facts.classes)), notes=_notes(facts),
    )  # fmt: skip
    for name, text in zip(RUN_FILES, (code, readme, f"{package}\npillow\nnumpy\n"), strict=True):
        with atomic(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _plain(name: str) -> str:
    """A name that begins no line, no markup and no colour of a terminal: it may come from a bundle of somebody else."""
    return html.escape(visible(" ".join(name.split())), quote=False).replace("`", "'")


def _code_parts(package: str, facts: Facts, batch: int | None) -> dict[str, str]:
    exits, names = facts.rule is not None, ["logits", "exit"] if facts.rule else ["logits"]
    told = _MAP if facts.dense else 'print(name, about["classes"][logits[0].argmax()])'
    if exits:
        told = told.removesuffix(")") + ', "left at exit", left[0] + 1)'
    if package == "onnxruntime":
        answers = f'{"logits, left" if exits else "[logits]"} = network.run({names}, {{"image": pixels}})'
    else:
        cuts = ', "thresholds": numpy.float32(about["rule"]["thresholds"])' if exits else ""
        answers = f'found = network({{"image": pixels{cuts}}})\n    logits = found["logits"]'
        answers += '\n    left = found["exit"]' if exits else ""
    return {
        "what": "A map of classes of each image" if facts.dense else "The class of each image",
        "package": package, "opened": _OPENED[package], "answers": answers, "told": told,
        "resized": "" if facts.dense else '.resize(about["size"][::-1], Image.Resampling.BILINEAR)',
        "repeated": f".repeat({batch}, 0)" if batch and batch > 1 else "",
    }  # fmt: skip


def _exits_text(facts: Facts, package: str) -> str:
    if facts.rule is None:
        return ""
    needed = "The input `thresholds` is optional" if package == "onnxruntime" else "The input `thresholds`"
    return (
        f" Output `exit`: (batch,) where each image left, from 0. {needed}: one number for each exit, the larger, the "
        f"later images leave (rule {facts.rule['kind']}, as calibrated {facts.rule['thresholds']})."
    )


def _notes(facts: Facts) -> str:
    notes = ["Weights and activations have 8 bits."] if facts.precision == "int8" else []
    if facts.synthetic:
        notes.append("Trained on drawn (synthetic) images: its answers say nothing about real ones.")
    return " ".join(notes)
