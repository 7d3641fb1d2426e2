"""Trained networks at work: maps of whole scenes."""

from rsprune_lib.deploy.segment import Segmented, segment_scene
from rsprune_lib.deploy.segmenter import Segmenter, segment_array
from rsprune_lib.deploy.truth import check_labels, compare_maps

__all__ = ["Segmented", "Segmenter", "check_labels", "compare_maps", "segment_array", "segment_scene"]
