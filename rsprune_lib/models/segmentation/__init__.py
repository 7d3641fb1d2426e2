"""Networks that give each pixel a class."""

from rsprune_lib.models.segmentation.ghostnet import GhostNet
from rsprune_lib.models.segmentation.segnet import SegNet
from rsprune_lib.models.segmentation.ued import UED, BodyEdgeUED
from rsprune_lib.models.segmentation.unet1 import UNet1

__all__ = ["UED", "BodyEdgeUED", "GhostNet", "SegNet", "UNet1"]
