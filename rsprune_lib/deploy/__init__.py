"""Trained networks at work: maps of whole scenes, files that run without PyTorch, and what they cost where they run.

`ship` does all of ``rsprune export``. Its steps, for benchmarks and pages: `Facts.of(bundle)` says what travels in the
file, `export_onnx(model, facts, path, images)` writes and checks a file, `OnnxNetwork(path)` runs one as if it were a
network (images in [0, 1]; normalisation is in the graph), `Deployed(model, facts)` is the PyTorch network with the same
input, and `parity` compares any two of them. `pixels` and `drawn_pixels` give images.
"""

from rsprune_lib.deploy.bench import BenchRow, Timing, fastest, in_turn, judge, timing_images
from rsprune_lib.deploy.export import OnnxFile, export_onnx, pixels
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.kept import kept_onnx
from rsprune_lib.deploy.onnx_files import OnnxNetwork, Parity, parity
from rsprune_lib.deploy.runtimes import RUNTIMES, Candidate, Run, Runtime, usable
from rsprune_lib.deploy.segment import Segmented, segment_scene
from rsprune_lib.deploy.segmenter import Segmenter, segment_array
from rsprune_lib.deploy.ship import Shipment, drawn_pixels, ship
from rsprune_lib.deploy.truth import check_labels, compare_maps
from rsprune_lib.deploy.web_page import Shown, web_page, web_samples
from rsprune_lib.deploy.web_runtime import WebRuntime, web_runtime

__all__ = [
    "RUNTIMES",
    "BenchRow",
    "Candidate",
    "Deployed",
    "Facts",
    "OnnxFile",
    "OnnxNetwork",
    "Parity",
    "Run",
    "Runtime",
    "Segmented",
    "Segmenter",
    "Shipment",
    "Shown",
    "Timing",
    "WebRuntime",
    "check_labels",
    "compare_maps",
    "drawn_pixels",
    "export_onnx",
    "fastest",
    "in_turn",
    "judge",
    "kept_onnx",
    "parity",
    "pixels",
    "segment_array",
    "segment_scene",
    "ship",
    "timing_images",
    "usable",
    "web_page",
    "web_runtime",
    "web_samples",
]
