"""OpenVINO: an ONNX file turned into its two files, with the facts inside, and run like a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rsprune_lib.deploy.facts import Facts
from rsprune_lib.deploy.onnx_files import need, read_onnx
from rsprune_lib.errors import ModelError

__all__ = ["OPENVINO_FILES", "OpenVinoNetwork", "write_openvino"]

OPENVINO_FILES = ("model.xml", "model.bin")


class OpenVinoNetwork(nn.Module):
    """A network in OpenVINO, to be called like `rsprune_lib.deploy.OnnxNetwork`.

    Args:
        path: ``model.xml`` with its ``model.bin`` beside it.
        threads: of one call; by default as many as PyTorch uses.
        precision: ``"f32"`` computes in float32; ``"bf16"`` where the processor has it.

    Raises:
        ModelError: OpenVINO does not load it.
    """

    def __init__(self, path: str | Path, threads: int | None = None, precision: str = "f32") -> None:
        super().__init__()
        openvino = need("openvino")
        if not Path(path).is_file():
            raise ModelError(f"Found no OpenVINO file {path}; make one with `rsprune export --format openvino`.")
        settings = {
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        try:
            model = openvino.Core().read_model(str(path))
            found = model.get_rt_info(["rsprune"]).value
            self.facts = Facts.from_metadata({f"rsprune.{key}": value for key, value in found.items()}, path)
            self.request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        except ModelError:
            raise
        except Exception as error:  # its exceptions share no class
            words = str(error).strip().splitlines()[0][:300]
            raise ModelError(f"OpenVINO does not load {path} ({words}); export it again.") from None
        self.exits = [] if self.facts.rule is None else list(self.facts.rule["thresholds"])

    def __deepcopy__(self, memo: dict) -> OpenVinoNetwork:
        """Itself: a compiled network does not change."""
        return self

    def answers(self, images: Tensor, thresholds: list[float] | tuple[float, ...] | None = None) -> dict[str, Tensor]:
        """All outputs by name.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            thresholds: of each exit, in place of those of the rule.
        """
        feed = {"image": np.ascontiguousarray(images.numpy(), dtype=np.float32)}
        if self.exits:
            feed["thresholds"] = np.asarray(thresholds or self.exits, np.float32)
        try:
            found = self.request.infer(feed)
        except Exception as error:
            words = str(error).strip().splitlines()[0][-300:]
            raise ModelError(f"OpenVINO does not run the file on images {tuple(images.shape)} ({words}).") from None
        return {output.get_any_name(): torch.from_numpy(value.copy()) for output, value in found.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) float32 in [0, 1] -> logits."""
        return self.answers(images)["logits"]


def write_openvino(source: Path, folder: Path, facts: Facts) -> Path:
    """Converts an ONNX file.

    Args:
        source: the ONNX file.
        folder: where `OPENVINO_FILES` go.
        facts: of the file.

    Returns:
        The path of ``model.xml``.

    Raises:
        RspruneError: OpenVINO is not installed.
        ModelError: it does not take the graph.
    """
    openvino, onnx = need("openvino"), need("onnx")
    made = read_onnx(source)
    defaults = [item for item in made.graph.initializer if item.name == "thresholds"]
    for item in defaults:  # OpenVINO takes an input with a default for a constant
        made.graph.initializer.remove(item)
    plain = source.with_name(f"plain-{source.name}")
    onnx.save(made, plain)
    try:
        model = openvino.convert_model(str(plain))
        for key, text in facts.to_metadata().items():
            model.set_rt_info(text, ["rsprune", key.removeprefix("rsprune.")])
        openvino.save_model(model, str(folder / OPENVINO_FILES[0]), compress_to_fp16=False)
    except Exception as error:  # its exceptions share no class
        words = str(error).strip().splitlines()[0][:300]
        raise ModelError(f"OpenVINO does not take the network ({words}); export it as onnx.") from None
    finally:
        plain.unlink()
    return folder / OPENVINO_FILES[0]
