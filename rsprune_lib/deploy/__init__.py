"""Trained networks at work: maps of whole scenes, files that run without PyTorch, and what they cost where they run.

`ship` does all of ``rsprune export``. Its steps, for benchmarks and pages::

    facts = Facts.of(bundle)                                # what travels in the file
    graphs = traced(Deployed(bundle.model, facts), facts)   # the slow step, some seconds; for the next two
    export_onnx(bundle.model, facts, "m.onnx", pixels(data, "val", 64), graphs=graphs)
    export_int8(graphs, facts, "m_int8.onnx", data)         # reduced=True: safe on every machine, also in a browser
    judged(OnnxNetwork("m_int8.onnx"), data, "val").accuracy

`OnnxNetwork(path)` runs a file as if it were a network, `Deployed(model, facts)` is the PyTorch network with the same
input: images (B, 3, H, W) in [0, 1], normalised inside; `rsprune_lib.measure.latencies` times both. `parity` compares
any two of them, `pixels` and `drawn_pixels` give images.
"""

from rsprune_lib.deploy.bench import BenchRow, Timing, fastest, in_turn, judge, timing_images
from rsprune_lib.deploy.budget import Trial, ratio_within
from rsprune_lib.deploy.conv_times import conv_times
from rsprune_lib.deploy.export import OnnxFile, export_onnx, pixels
from rsprune_lib.deploy.facts import Deployed, Facts
from rsprune_lib.deploy.graphs import traced
from rsprune_lib.deploy.int8 import Int8File, calibration_images, export_int8, judged, losses, needs_reduced_range
from rsprune_lib.deploy.kept import kept_onnx
from rsprune_lib.deploy.onnx_files import OnnxNetwork, Parity, parity
from rsprune_lib.deploy.runtimes import RUNTIMES, Candidate, Run, Runtime, usable
from rsprune_lib.deploy.segment import Segmented, segment_scene
from rsprune_lib.deploy.segmenter import Segmenter, segment_array
from rsprune_lib.deploy.shipping import Shipment, Shipped, drawn_pixels, ship
from rsprune_lib.deploy.truth import check_labels, compare_maps
from rsprune_lib.deploy.web_page import Shown, web_page, web_samples
from rsprune_lib.deploy.web_runtime import WebRuntime, web_runtime

__all__ = [
    "RUNTIMES",
    "BenchRow",
    "Candidate",
    "Deployed",
    "Facts",
    "Int8File",
    "OnnxFile",
    "OnnxNetwork",
    "Parity",
    "Run",
    "Runtime",
    "Segmented",
    "Segmenter",
    "Shipment",
    "Shipped",
    "Shown",
    "Timing",
    "Trial",
    "WebRuntime",
    "calibration_images",
    "check_labels",
    "compare_maps",
    "conv_times",
    "drawn_pixels",
    "export_int8",
    "export_onnx",
    "fastest",
    "in_turn",
    "judge",
    "judged",
    "kept_onnx",
    "losses",
    "needs_reduced_range",
    "parity",
    "pixels",
    "ratio_within",
    "segment_array",
    "segment_scene",
    "ship",
    "timing_images",
    "traced",
    "usable",
    "web_page",
    "web_runtime",
    "web_samples",
]
