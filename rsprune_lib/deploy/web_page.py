"""One HTML file that runs exported classifiers in a browser, without a server and without a network.

Everything is inside: ONNX Runtime for browsers, the networks, ten images, style and script. A policy in the page
forbids it to load anything from elsewhere. Names travel as JSON and are shown as text, never as HTML.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from rsprune_lib.data import Dataset
from rsprune_lib.data.batches import balanced
from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.web_runtime import PACKAGE, WebRuntime
from rsprune_lib.errors import ModelError
from rsprune_lib.files import atomic

__all__ = ["Shown", "web_page", "web_samples"]

_PARTS = Path(__file__).with_name("web")
_LICENCE = (
    "MIT License. Copyright (c) Microsoft Corporation. Permission is hereby granted, free of charge, to any person "
    "obtaining a copy of this software and associated documentation files (the “Software”), to deal in the Software "
    "without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, "
    "sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do "
    "so, subject to the following conditions: The above copyright notice and this permission notice shall be "
    "included in all copies or substantial portions of the Software. The Software is provided “as is”, without "
    "warranty of any kind, express or implied, including but not limited to the warranties of merchantability, "
    "fitness for a particular purpose and noninfringement. In no event shall the authors or copyright holders be "
    "liable for any claim, damages or other liability, whether in an action of contract, tort or otherwise, arising "
    "from, out of or in connection with the Software or the use or other dealings in the Software."
)


@dataclass(frozen=True)
class Shown:
    """A network of a page.

    Attributes:
        title: above its answers.
        path: its exported file.
        facts: what the file says about itself.
        details: name -> text, shown beside its time: parameters, size, accuracy.
        what: a line under the title.
    """

    title: str
    path: Path
    facts: Facts
    details: Mapping[str, str]
    what: str = ""


def web_samples(data: Dataset, part: str = "test", count: int = 10) -> list[tuple[np.ndarray, int]]:
    """Images for a page, the classes in turn.

    Args:
        data: the data set.
        part: to take them from.
        count: how many.

    Returns:
        (H, W, 3) uint8 images with their class.
    """
    chosen = balanced(data.labels, data.part(part), count)
    order = np.argsort(data.labels[chosen], kind="stable")
    return [(np.asarray(data.images[n]), int(data.labels[n])) for n in chosen[order]]


def web_page(
    out: str | Path, shown: Sequence[Shown], samples: Sequence[tuple[np.ndarray, int]], runtime: WebRuntime, *,
    title: str, origin: str = "",
) -> Path:  # fmt: skip
    """Writes the page.

    Args:
        out: the HTML file.
        shown: one or two classifiers with the same classes and image size; the first one is compared with the second.
        samples: images inside, see `web_samples`.
        runtime: see `rsprune_lib.deploy.web_runtime`.
        title: of the page.
        origin: a line at its foot: where the networks come from.

    Returns:
        The file.

    Raises:
        ModelError: a network segments, or the two do not know the same classes.
        RspruneError: the disk is full.
    """
    first = _alike(shown)
    facts = {
        "classes": list(first.classes), "size": list(first.size),
        "networks": [_described(one, number) for number, one in enumerate(shown)],
        "samples": [{"label": label, "png": _png(image)} for image, label in samples],
    }  # fmt: skip
    blobs = {f"network-{number}": one.path.read_bytes() for number, one in enumerate(shown)}
    blobs |= {"runtime-js": runtime.script, "runtime-wasm": runtime.wasm}
    several = len(shown) > 1
    texts = {
        "title": title + (" (synthetic data)" if first.synthetic and "synthetic" not in title.lower() else ""),
        "lead": f"{'Two networks answer' if several else 'A network answers'} inside this page, on this device. "
        f"Nothing is sent anywhere. {'They know' if several else 'It knows'} {len(first.classes)} classes and nothing "
        "else: whatever the image, one of these is the answer.",
        "they": "both say" if several else "it says",
        "waiting": "The networks are being unpacked …",
        "origin": origin,
        "runtime": f"{PACKAGE} {runtime.version}",
        "licence": _LICENCE,
    }
    page = Template(_part("page.html")).substitute(
        {name: html.escape(text) for name, text in texts.items()},
        css=_part("page.css"), script=_part("page.js"), facts=_json(facts),
        blobs="\n".join(
            f'<script type="application/octet-stream" id="{name}">{_packed(content)}</script>'
            for name, content in blobs.items()
        ),
    )  # fmt: skip
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(out)


def _alike(shown: Sequence[Shown]) -> Facts:
    """What all networks of a page have in common."""
    first = shown[0].facts
    for one in shown:
        if one.facts.dense:
            raise ModelError(
                f"{one.title} gives a class to each pixel; the page shows classifiers: use `rsprune segment` for maps."
            )
        if (one.facts.classes, one.facts.size) != (first.classes, first.size):
            raise ModelError(
                f"{one.title} knows other classes or another image size than {shown[0].title}; show networks of the "
                "same data beside one another."
            )
    return first


def _described(one: Shown, number: int) -> dict[str, Any]:
    details = [list(row) for row in one.details.items()]
    return {"id": f"network-{number}", "title": one.title, "what": one.what, "facts": details}


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8").rstrip()


def _json(value: object) -> str:
    """JSON that no HTML parser takes for markup."""
    text = json.dumps(value, ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
