"""The folder ``run/`` beside an exported file: ten lines of Python that need neither PyTorch nor this library."""

from __future__ import annotations

from pathlib import Path

from rsprune_lib.deploy.facts import Facts
from rsprune_lib.files import atomic

__all__ = ["RUN_FILES", "write_runner"]

RUN_FILES = ("run/run.py", "run/README.md", "run/requirements.txt")
_CLASSES = '''\
"""The class of images: python run.py image.jpg ... (needs onnxruntime, Pillow and numpy, nothing else)."""
import json, pathlib, sys
import numpy, onnxruntime
from PIL import Image
network = onnxruntime.InferenceSession(pathlib.Path(__file__).resolve().parents[1] / "{model}")
about = {{key[8:]: json.loads(text) for key, text in network.get_modelmeta().custom_metadata_map.items()}}
for name in sys.argv[1:]:
    image = Image.open(name).convert("RGB").resize(about["size"][::-1], Image.Resampling.BILINEAR)
    pixels = numpy.asarray(image, numpy.float32).transpose(2, 0, 1)[None] / 255  # (1, 3, H, W) in [0, 1]
    {names} = network.run({outputs}, {{"image": pixels}})
    print(name, about["classes"][logits[0].argmax()]{more})
'''
_MAPS = '''\
"""A map of classes of images: python run.py image.png ... (needs onnxruntime, Pillow and numpy, nothing else)."""
import json, pathlib, sys
import numpy, onnxruntime
from PIL import Image
network = onnxruntime.InferenceSession(pathlib.Path(__file__).resolve().parents[1] / "{model}")
about = {{key[8:]: json.loads(text) for key, text in network.get_modelmeta().custom_metadata_map.items()}}
for name in sys.argv[1:]:
    pixels = numpy.asarray(Image.open(name).convert("RGB"), numpy.float32).transpose(2, 0, 1)[None] / 255
    classes = network.run(["logits"], {{"image": pixels}})[0][0].argmax(0)  # (H, W) class numbers
    Image.fromarray(classes.astype("uint8")).save(pathlib.Path(name).stem + "_classes.png")
    print(name, {{known: round(float((classes == number).mean()), 3) for number, known in enumerate(about["classes"])}})
'''
_README = """\
# {title}

`../{model}` is the whole network: graph, weights, normalisation, class names. `run.py` shows how to use it:

    python -m venv here && here/bin/pip install -r requirements.txt
    here/bin/python run.py image.jpg

Input `image`: (batch, 3, {height}, {width}) float32, RGB, pixels divided by 255; the graph normalises them itself.
{output}

Classes, in the order of the logits: {classes}.
{notes}
"""


def write_runner(folder: Path, model: str, facts: Facts) -> None:
    """Writes the files of `RUN_FILES`.

    Args:
        folder: that holds the model.
        model: name of its file.
        facts: of the file.
    """
    exits = facts.rule is not None
    code = (_MAPS if facts.dense else _CLASSES).format(
        model=model,
        names="logits, left" if exits else "[logits]",
        outputs='["logits", "exit"]' if exits else '["logits"]',
        more=', "left at exit", left[0] + 1' if exits else "",
    )
    output = (
        "Output `logits`: (batch, classes, height, width)." if facts.dense else "Output `logits`: (batch, classes)."
    )
    if exits:
        output += (
            " Output `exit`: (batch,) where each image left, from 0. The input `thresholds` is optional: one number "
            f"for each exit, the larger, the later images leave (rule {facts.rule['kind']}; without it "
            f"{facts.rule['thresholds']})."
        )
    height, width = ("height", "width") if facts.dense else facts.size
    notes = f"Weights and activations are {facts.precision}." if facts.precision != "float32" else ""
    if facts.synthetic:
        notes += " Trained on drawn (synthetic) images: its answers say nothing about real ones."
    readme = _README.format(
        title=facts.bundle or "A network", model=model, height=height, width=width, output=output,
        classes=", ".join(facts.classes), notes=notes,
    )  # fmt: skip
    for name, text in zip(RUN_FILES, (code, readme, "onnxruntime\npillow\nnumpy\n"), strict=True):
        with atomic(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
