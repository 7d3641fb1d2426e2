"""ONNX files: written whole with their facts inside, run by ONNX Runtime, and compared with the network they stand for.

An exported file is run through `OnnxNetwork`, which is a `torch.nn.Module`: everything that measures a network
(`rsprune_lib.measure.evaluate`, `latencies`) measures the file in the same way.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.deploy.facts import Facts
from rsprune_lib.errors import ModelError, RspruneError
from rsprune_lib.files import atomic

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxNetwork", "Parity", "need", "parity", "read_onnx", "write_onnx"]

_EXTRAS = {"onnx": "deploy", "onnxruntime": "deploy", "onnxscript": "deploy", "openvino": "openvino"}
Network = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]
TOLERANCE = 1e-3  # of the largest logit; the networks of the house differ by 1e-6 to 1e-5


def need(package: str) -> ModuleType:
    """Imports a package of an extra.

    Raises:
        RspruneError: it is not installed; the sentence says how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        extra = _EXTRAS[package]
        raise RspruneError(
            f"{package} is not installed, and this needs it; run: pip install 'rsprune[{extra}]' (or pip install "
            f"{package})."
        ) from None


def write_onnx(model: onnx.ModelProto, facts: Facts, path: str | Path) -> Path:
    """Writes one file that holds everything: graph, weights, and `Facts` as metadata.

    Raises:
        RspruneError: the disk is full.
        ModelError: it is no valid graph.
    """
    onnx, path = need("onnx"), Path(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts.to_metadata())
    try:
        onnx.checker.check_model(model)
        data = model.SerializeToString()
    except (onnx.checker.ValidationError, ValueError) as error:  # also of 2 GB and more
        raise ModelError(f"The export of {facts.bundle or 'the network'} is no valid ONNX file ({error}).") from None
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return path


def read_onnx(path: str | Path) -> onnx.ModelProto:
    """Reads a file; it refers to no other file.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    onnx = need("onnx")
    try:
        return onnx.load_model_from_string(Path(path).read_bytes())
    except FileNotFoundError:
        raise ModelError(f"Found no ONNX file {path}; make one with `rsprune export`.") from None
    except Exception as error:  # the parser raises its own kinds
        raise ModelError(f"Cannot read {path} as an ONNX file ({error}); export it again.") from None


class OnnxNetwork(nn.Module):
    """An ONNX file in ONNX Runtime, to be called like a network.

    Args:
        path: a file that `rsprune export` wrote.
        threads: of one call; by default as many as PyTorch uses.

    Attributes:
        facts: what the file says about itself.

    Raises:
        ModelError: there is no such file, or ONNX Runtime does not load it.

    Example:
        >>> network = OnnxNetwork("runs/shipped/model.onnx")
        >>> network(images)  # (B, 3, H, W) float32 in [0, 1] -> logits
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        super().__init__()
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 4  # its errors are raised anyway
        if not Path(path).is_file():
            raise ModelError(f"Found no ONNX file {path}; make one with `rsprune export`.")
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no class
            words = str(error).strip().splitlines()[0][:300]
            raise ModelError(f"ONNX Runtime does not load {path} ({words}); export it again.") from None
        self.facts = Facts.from_metadata(self.session.get_modelmeta().custom_metadata_map, path)
        self.has_exits = any(output.name == "exit" for output in self.session.get_outputs())
        self.batch = self.session.get_inputs()[0].shape[0]  # a name where it is free

    def __deepcopy__(self, memo: dict) -> OnnxNetwork:
        """Itself: a session does not change, so that `rsprune_lib.measure.latencies` can time it."""
        return self

    def answers(self, images: Tensor, thresholds: Sequence[float] | None = None) -> dict[str, Tensor]:
        """All outputs by name.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            thresholds: of each exit, in place of those in the file.
        """
        more = {} if thresholds is None else {"thresholds": np.asarray(thresholds, np.float32)}
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self._run(names, images, more), strict=True))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) float32 in [0, 1] -> logits; of a network with exits those where each image left."""
        return self._run(["logits"], images, {})[0]

    def _run(self, names: list[str], images: Tensor, more: dict[str, np.ndarray]) -> list[Tensor]:
        if isinstance(self.batch, int) and len(images) != self.batch:
            return self._in_batches(names, images, more)
        feed = {"image": np.ascontiguousarray(images.numpy(), dtype=np.float32)}
        try:
            return [torch.from_numpy(found) for found in self.session.run(names, feed | more)]
        except Exception as error:  # its exceptions share no class
            words = str(error).strip().splitlines()[0][-300:]
            raise ModelError(f"ONNX Runtime does not run the file on images {tuple(images.shape)} ({words}).") from None

    def _in_batches(self, names: list[str], images: Tensor, more: dict[str, np.ndarray]) -> list[Tensor]:
        """Batches of the one size that the file takes; the last one is filled up, and cut again."""
        whole = -(-len(images) // self.batch) * self.batch
        filled = images[torch.arange(whole) % len(images)]
        found = [self._run(names, some, more) for some in filled.split(self.batch)]
        return [torch.cat(values)[: len(images)] for values in zip(*found, strict=True)]


@dataclass(frozen=True)
class Parity:
    """How close a file comes to the network that it stands for.

    Attributes:
        difference: largest absolute difference of a logit.
        scale: largest absolute logit of the network.
        agreement: share of answers (images, or pixels) that are the same, in [0, 1].
        images: number of images.
        shapes: shapes of the batches it was tried with.
    """

    difference: float
    scale: float
    agreement: float
    images: int
    shapes: tuple[tuple[int, ...], ...]

    @property
    def good(self) -> bool:
        """Whether the file may be shipped."""
        return self.difference <= TOLERANCE * max(self.scale, 1e-6) and self.agreement > 0.995

    def text(self) -> str:
        """For people."""
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return (
            f"max abs difference {self.difference:.2g} (largest logit {self.scale:.3g}), agreement "
            f"{self.agreement:.2%} on {self.images} images in batches of {shapes}"
        )


@torch.inference_mode()
def parity(reference: Network, network: Network, batches: Iterable[Tensor]) -> Parity:
    """Compares a file with the network.

    Args:
        reference: from images in [0, 1] to logits, see `rsprune_lib.deploy.Deployed`; with exits to logits and the
            exit (B,) of each image.
        network: an `OnnxNetwork` or another such module.
        batches: (B, 3, H, W) float32 in [0, 1] each, in several batch sizes (and image sizes).

    Raises:
        ModelError: the shapes of the answers differ, or one is not finite.
    """
    difference, scale, same, answers, count, shapes = 0.0, 0.0, 0, 0, 0, []
    for images in batches:
        expected, got = (_pair(call(images)) for call in (reference, network))
        if expected[0].shape != got[0].shape:
            raise ModelError(
                f"The exported file gives {tuple(got[0].shape)} for images {tuple(images.shape)}, the network "
                f"{tuple(expected[0].shape)}; it is not usable at that size."
            )
        if not bool(expected[0].isfinite().all() and got[0].isfinite().all()):
            raise ModelError("A logit is not finite, so file and network cannot be compared; train the network again.")
        together = expected[1] == got[1]  # (B,) logits of different exits are not compared
        differs = (expected[0] - got[0])[together].abs()
        difference = max(difference, float(differs.max()) if differs.numel() else 0.0)
        scale = max(scale, float(expected[0].abs().max()))
        agree = (expected[0].argmax(1) == got[0].argmax(1))[together]
        same, answers, count = same + int(agree.sum()), answers + expected[0][:, 0].numel(), count + len(images)
        if tuple(images.shape) not in shapes:
            shapes.append(tuple(images.shape))
    return Parity(difference, scale, same / max(1, answers), count, tuple(shapes))


def _pair(outputs: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits and where each image left; a network without exits has one place for all."""
    return outputs if isinstance(outputs, tuple) else (outputs, torch.zeros(len(outputs), dtype=torch.int64))
